// Program fleet measures mske with many zones: it is a CoreDNS with mske that
// serves them, and all of the DNS around it.
//
//	fleet write -dir DIR -zones 100000   writes keys, Corefiles and questions
//	fleet warm -dir DIR                  writes the state file of a fleet in its steady state
//	fleet world -dir DIR                 answers for the rest of the DNS
//	fleet collect -dir DIR               collects all announcements, twice
//	fleet -conf DIR/Corefile             is CoreDNS
package main

import (
	"flag"
	"log"
	"os"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/metrics"
	_ "github.com/coredns/coredns/plugin/pprof"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/root"

	_ "github.com/coredns-mske/mske"
)

func main() {
	dnsserver.Directives = []string{"root", "bind", "ready", "pprof", "prometheus", "errors", "mske", backendName}
	f := new(fleet)
	commands := map[string]func() error{"write": f.write, "warm": f.warm, "world": f.serveWorld, "collect": f.collect}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		coremain.Run()
		return
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	flags.StringVar(&f.dir, "dir", ".", "where the files are")
	flags.IntVar(&f.zones, "zones", 100_000, "how many zones there are")
	flags.IntVar(&f.hosts, "hosts", 40, "how many external nameservers, of which each zone has two")
	flags.StringVar(&f.port, "port", "5391", "port of all servers")
	_ = flags.Parse(os.Args[2:])
	if err := commands[os.Args[1]](); err != nil {
		log.Fatal(err)
	}
}
