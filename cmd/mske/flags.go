package main

import (
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/coredns-mske/mske/cns"
	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/validate"
)

const (
	exitUsage         = 2
	defaultResolvConf = "/etc/resolv.conf"
)

// networkArgs is what the commands that ask the network have in common.
type networkArgs struct {
	resolvers []string
	anchors   []string
	port      uint
	cnsType   uint
	timeout   time.Duration
	json      bool
}

// define adds the flags to fs.
func (a *networkArgs) define(fs *flag.FlagSet, timeout time.Duration) {
	fs.Func("resolver", "recursive resolver: `ADDR` (IP, IP:PORT, tls://IP@NAME) or a resolv.conf file, may be repeated (default "+defaultResolvConf+")",
		func(s string) error { a.resolvers = append(a.resolvers, s); return nil })
	fs.Func("trust-anchor", "`FILE` with DS or DNSKEY records, may be repeated (default IANA's root anchors)",
		func(s string) error { a.anchors = append(a.anchors, s); return nil })
	fs.UintVar(&a.port, "port", 53, "port `N` where nameservers are asked directly")
	fs.UintVar(&a.cnsType, "cns-type", uint(cns.DefaultType), "type number `N` of CNS")
	fs.DurationVar(&a.timeout, "timeout", timeout, "how long `D`, as 10s, it may take")
	fs.BoolVar(&a.json, "json", false, "print one JSON object instead of text")
}

// check says what is wrong with the flags' values.
func (a networkArgs) check() error {
	switch {
	case a.port < 1 || a.port > 65535:
		return fmt.Errorf("--port %d: not a number from 1 to 65535", a.port)
	case a.cnsType < 1 || a.cnsType > 65535:
		return fmt.Errorf("--cns-type %d: not a number from 1 to 65535", a.cnsType)
	case a.timeout <= 0:
		return fmt.Errorf("--timeout %s: has to be more than nothing, as in 10s", a.timeout)
	}
	if err := cns.CheckType(uint16(a.cnsType)); err != nil { // #nosec G115 -- checked
		return fmt.Errorf("--cns-type %d: %w", a.cnsType, err)
	}
	return nil
}

// newFetcher returns the fetcher that the command line asks for. It says on
// stderr which resolvers turn out to be unusable.
func (a networkArgs) newFetcher(command string, stderr io.Writer) (*fetch.Fetcher, error) {
	if len(a.resolvers) == 0 {
		a.resolvers = []string{defaultResolvConf}
	}
	client, err := fetch.NewClient(a.resolvers, fetch.ClientOptions{Try: fetch.TryFor(a.timeout)})
	if err != nil {
		return nil, err
	}
	anchors := validate.RootAnchors()
	if len(a.anchors) > 0 {
		if anchors, err = validate.ReadAnchors(a.anchors...); err != nil {
			return nil, fmt.Errorf("trust anchor: %w", err)
		}
	}
	return fetch.New(client, anchors, fetch.Options{
		Port:    uint16(a.port), // #nosec G115 -- checked
		Timeout: a.timeout,
		Unfit: func(r fetch.Resolver, why error) {
			fmt.Fprintf(stderr, "mske %s: resolver %s is not used: %v\n", command, r, why)
		},
	}), nil
}

// parseWords parses flags anywhere among the other arguments, which it
// returns. Asked for help it prints text and the flags.
func parseWords(fs *flag.FlagSet, args []string, text string, stderr io.Writer) ([]string, error) {
	fs.SetOutput(io.Discard)
	words, err := parseAnywhere(fs, args)
	if err == flag.ErrHelp {
		fmt.Fprint(stderr, text)
		fs.SetOutput(stderr)
		fs.PrintDefaults()
	}
	return words, err
}

// parseAnywhere parses flags before, between and after the other arguments,
// which it returns. What follows "--" is no flag.
func parseAnywhere(fs *flag.FlagSet, args []string) (words []string, err error) {
	for len(args) > 0 {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		rest := fs.Args()
		if parsed := len(args) - len(rest); parsed > 0 && args[parsed-1] == "--" {
			return append(words, rest...), nil
		}
		if len(rest) == 0 {
			break
		}
		words, args = append(words, rest[0]), rest[1:]
	}
	return words, nil
}
