package refresh

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/merge"
)

// fresh are peers that tell when they were asked past caches.
type fresh struct {
	*peers
	direct map[string]int
}

// FetchFresh implements the FreshFetcher interface.
func (f *fresh) FetchFresh(ctx context.Context, zone, host string, known merge.Announcement) fetch.Result {
	f.mu.Lock()
	f.direct[host]++
	f.mu.Unlock()
	return f.Fetch(ctx, zone, host, known)
}

func TestNotifyIsAnsweredByACollectionAsSoonAsAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f := &fresh{peers: w.peers, direct: make(map[string]int)}
		w.zone.Fetcher = f
		e := w.start()
		p := w.join()
		w.pass(3 * time.Second)
		first := w.peers.times(theirNS)
		if len(first) != 1 || f.direct[theirNS] != 0 {
			t.Fatalf("Expected one collection as always, got %v", first)
		}
		rolled := newProvider(t)
		w.peers.set(theirNS, announces(rolled.announcement()))
		for range 1000 { // a flood, at different times
			e.Notified(zoneName)
			w.pass(10 * time.Millisecond)
		}
		if got := w.peers.times(theirNS); len(got) != 1 {
			t.Fatalf("Expected no host to be asked twice within MIN, got %v", got)
		}
		w.pass(time.Minute)
		got := w.peers.times(theirNS)
		if len(got) != 2 || got[1].Sub(first[0]) > w.zone.RefreshMin+2*time.Second || f.direct[theirNS] != 1 {
			t.Fatalf("Expected one more collection, past caches, when MIN was over, got %v", got)
		}
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk, rolled.zsk), with(w.ksk, rolled.ksk))

		w.pass(5 * time.Minute)
		if got := w.peers.times(theirNS); len(got) != 2 {
			t.Errorf("Expected the flood to be over, got %v", got)
		}
		began := time.Now()
		e.Notified(zoneName)
		w.pass(time.Second)
		if got := w.peers.times(theirNS); len(got) != 3 || got[2].Sub(began) > time.Second {
			t.Errorf("Expected a collection at once, got %v after %v", got, began)
		}
	})
}

// Whoever notifies while a collection is under way may know of something that
// it missed.
func TestNotifyDuringACollectionLeadsToAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.start()
		w.join()
		says := w.peers.says[theirNS]
		w.peers.set(theirNS, func() fetch.Result {
			e.Notified(zoneName)
			return says()
		})
		w.pass(3 * time.Second)
		w.peers.set(theirNS, says)
		w.pass(61 * time.Second)
		if got := w.peers.times(theirNS); len(got) != 2 {
			t.Errorf("Expected a second collection, got %v", got)
		}
	})
}

func TestNotifyOfUnknownZonesAndBeforeTheStartDoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.engine()
		e.Notified(zoneName)
		e.Notified("example.com.")
		e.Stop()
		for range 2 * maxNotified {
			e.Notified(zoneName)
		}
	})
}

func TestNotifyNeitherWaitsNorAllocates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.start()
		for range 10 { // nobody is collected from, and the loop has to answer all the same
			e.Notified(zoneName)
			w.pass(2 * time.Second)
		}
		if n := testing.AllocsPerRun(1000, func() { e.Notified(zoneName) }); n > 0 {
			t.Errorf("Expected no allocation, got %v", n)
		}
	})
}

// A flood for all zones of a fleet has no more collections begin than the limit
// for all of them allows.
func TestNotifiesOfAFleetAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 200
		w := newWorld(t)
		c := w.config()
		w.fleet(&c, n, ourNS, theirNS)
		w.peers.set(theirNS, func() fetch.Result { return fetch.Result{Verdict: fetch.Absent, TTL: 24 * time.Hour, At: time.Now()} })
		for _, z := range c.Zones {
			z.Store, z.RefreshMax = c.Zones[0].Store, 24*time.Hour
		}
		e := New(c)
		if err := e.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Stop)
		w.pass(3 * time.Minute)
		before := len(w.peers.times(theirNS))
		if before < n {
			t.Fatalf("Expected every zone to be collected once, got %d", before)
		}
		const seconds = 2
		for range seconds {
			for i := range n {
				e.Notified(fmt.Sprintf("z%d.example.org.", i))
			}
			w.pass(time.Second)
		}
		w.pass(2 * time.Second)
		if got := len(w.peers.times(theirNS)) - before; got == 0 || got > (seconds+1)*notifiedPerSecond {
			t.Errorf("Expected at most %d collections a second, got %d in %d seconds", notifiedPerSecond, got, seconds)
		}
	})
}
