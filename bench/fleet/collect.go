package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/validate"
)

// inFlight is how many announcements are collected at a time, as by mske.
const inFlight = 64

// collect collects every announcement twice, and says what that cost. The second
// time nothing has changed.
func (f *fleet) collect() error {
	client, err := fetch.NewClient([]string{net.JoinHostPort(worldAddr, f.port)}, fetch.ClientOptions{})
	if err != nil {
		return err
	}
	anchors, err := validate.ReadAnchors(filepath.Join(f.dir, "anchor.ds"))
	if err != nil {
		return err
	}
	by := fetch.New(client, anchors, fetch.Options{})
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	for p := range f.hosts { // the chain is to be warm, as that of a server is
		if r := by.Fetch(ctx, zoneName(p), hostName(p), merge.Announcement{}); r.Verdict != fetch.Secure {
			return fmt.Errorf("%s: %s: %s", r.Host, r.Verdict, r.Reason)
		}
	}
	for _, pass := range []string{"first", "again"} {
		began, used := time.Now(), cpu()
		var next, failed atomic.Int64
		var wg sync.WaitGroup
		for range inFlight {
			wg.Go(func() {
				for n := next.Add(1) - 1; n < int64(2*f.zones); n = next.Add(1) - 1 {
					i := int(n / 2)
					host := hostName(f.peers(i)[n%2])
					if r := by.Fetch(ctx, zoneName(i), host, merge.Announcement{}); r.Verdict != fetch.Secure {
						failed.Add(1)
					}
				}
			})
		}
		wg.Wait()
		took, spent, questions := time.Since(began), cpu()-used, 6*f.zones
		fmt.Printf("%s %d %d %.0f %.1f\n", pass, questions, failed.Load(), float64(questions)/took.Seconds(), float64(spent.Microseconds())/float64(questions))
	}
	return nil
}

// cpu returns the CPU time that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
