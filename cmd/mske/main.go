// Program mske is the command line of multi-signer key exchange: it makes
// keys, prints what a provider announces, and looks at what others do.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/coredns-mske/mske/cns"
)

const usage = `Usage: mske COMMAND [flags] ARGUMENTS

Commands:
  status    ask our server how far its zones are: what is waited for, when keys may sign or go
  check     look at a zone from outside: which key is missing where, what to do next
  fetch     collect what a nameserver announces for a zone, and validate it
  announce  print what we announce for a zone, for a server that is not ours
  keygen    make keys for a zone

"mske COMMAND -h" describes the flags of a command.
`

// Exit statuses besides exitUsage; those of fetch say more.
const (
	exitOK     = 0
	exitFailed = 1
)

// commands are what the first argument may be. Each returns the exit status.
var commands = map[string]func(args []string, stdout, stderr io.Writer) int{
	"status":   runStatus,
	"check":    runCheck,
	"fetch":    runFetch,
	"announce": runAnnounce,
	"keygen":   runKeygen,
}

func main() {
	cns.Register()
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return exitUsage
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		fmt.Fprint(stdout, usage)
		return exitOK
	}
	command, ok := commands[args[0]]
	if !ok {
		fmt.Fprintf(stderr, "mske: unknown command %.100q: write status, check, fetch, announce or keygen\n", args[0])
		return exitUsage
	}
	return command(args[1:], stdout, stderr)
}
