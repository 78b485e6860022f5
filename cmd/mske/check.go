package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/observe"
)

const checkUsage = `Usage: mske check [flags] ZONE

Looks at ZONE from outside: its CNS and NS, what every nameserver announces and serves, asked at each address over UDP and TCP, and
the parent's DS and NS. Prints the keys by nameserver, what is missing where, and what to do next.
Exit status: 0 converged or later, 1 not converged, 2 usage, or nothing could be seen.

Flags:
`

// checkArgs is what the command line of `mske check` says.
type checkArgs struct {
	networkArgs
	zone  string
	watch bool
}

// runCheck looks at a zone and returns the exit status.
func runCheck(args []string, stdout, stderr io.Writer) int {
	a, err := parseCheck(args, stderr)
	if err == flag.ErrHelp {
		return exitOK
	}
	var c *checker
	if err == nil {
		c, err = newChecker(a, stderr)
	}
	if err != nil {
		return checkError(stderr, err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	p := &checkPrinter{w: stdout, json: a.json, colour: hasColours(stdout)}
	status, err := watch(ctx, a.watch, c.look, p.print)
	if err != nil {
		return checkError(stderr, err)
	}
	return status
}

func checkError(stderr io.Writer, err error) int {
	fmt.Fprintf(stderr, "mske check: %v\n", err)
	return exitUsage
}

// parseCheck reads the command line. The error is flag.ErrHelp if all that was
// asked for is help, which it prints.
func parseCheck(args []string, stderr io.Writer) (checkArgs, error) {
	var a checkArgs
	fs := flag.NewFlagSet("check", flag.ContinueOnError)
	a.define(fs, observe.DefaultTimeout)
	fs.BoolVar(&a.watch, "watch", false, "look again until the zone is converged, and print what changes")
	words, err := parseWords(fs, args, checkUsage, stderr)
	if err == flag.ErrHelp {
		return a, err
	}
	if err != nil {
		return a, fmt.Errorf("%w: see mske check -h", err)
	}
	if len(words) != 1 {
		return a, fmt.Errorf("expected one ZONE, got %d arguments: see mske check -h", len(words))
	}
	if a.zone, err = parseZone(words[0]); err != nil {
		return a, err
	}
	return a, a.networkArgs.check()
}

// The time between two looks of --watch: short after a change, longer and
// longer while nothing happens.
const (
	watchMin = 5 * time.Second
	watchMax = time.Minute
)

// watch has a look printed, and if again is set looks until the zone is
// converged or the context ends. It returns the exit status.
func watch(ctx context.Context, again bool, look func(context.Context) assessment, print func(assessment) (changed bool, err error)) (int, error) {
	for pause := watchMin; ; pause = min(2*pause, watchMax) {
		a := look(ctx)
		if ctx.Err() != nil {
			return exitFailed, nil // what was seen is half of it
		}
		changed, err := print(a)
		if err != nil {
			return exitUsage, fmt.Errorf("writing the result: %w", err)
		}
		if status := a.exitStatus(); !again || status == exitOK {
			return status, nil
		}
		if changed {
			pause = watchMin
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return exitFailed, nil
		}
	}
}

// checker looks at one zone.
type checker struct {
	zone     string
	fetcher  *fetch.Fetcher
	observer *observe.Observer
	memory   *memory
}

func newChecker(a checkArgs, stderr io.Writer) (*checker, error) {
	network := a.networkArgs
	network.timeout = min(a.timeout, fetch.DefaultTimeout) // for one announcement
	fetcher, err := network.newFetcher("check", stderr)
	if err != nil {
		return nil, err
	}
	return &checker{
		zone: a.zone, fetcher: fetcher, memory: newMemory(),
		observer: observe.New(fetcher, observe.Options{
			CNSType: uint16(a.cnsType), // #nosec G115 -- checked
			Timeout: a.timeout,
		}),
	}, nil
}

// maxFetches is how many announcements are collected at the same time.
const maxFetches = 8

// look returns what is to be said of the zone now.
func (c *checker) look(ctx context.Context) assessment {
	sight := c.observer.Explore(ctx, c.zone)
	announced := make([]fetch.Result, len(sight.Servers))
	slots := make(chan struct{}, maxFetches)
	var wg sync.WaitGroup
	for i, server := range sight.Servers {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			announced[i] = c.fetcher.Fetch(ctx, c.zone, server.Host, merge.Announcement{})
		})
	}
	wg.Wait()
	a := assess(sight, announced)
	a.recall(c.memory)
	return a
}
