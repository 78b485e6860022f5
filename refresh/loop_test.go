package refresh

import (
	"context"
	"crypto"
	"io"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/merge"
)

// another returns a zone like that of the world, with another name and key.
func (w *world) another(name string) *Zone {
	z := *w.zone
	z.Name = name
	k := w.newKey(name, 257)
	back := &chainZone{name: name, serial: 1, ns: []string{ourNS}, keys: []*keys.Key{k}, signers: []*keys.Key{k}}
	z.Ask = back.ask
	return &z
}

func TestPanicOfOneZoneCostsTheOthersNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.join()
		bad := w.another("example.com.")
		bad.Fetcher = fetcherFunc(func(context.Context, string, string, merge.Announcement) fetch.Result { panic("in a task") })
		bad.CNS = []string{theirNS}
		w.more = append(w.more, bad)
		w.startSlow()
		w.pass(day)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		if n := w.log.count("Internal error", "example.com.", "in a task"); n == 0 || n > 50 {
			t.Errorf("Expected some log lines, got %d", n)
		}
	})
}

func TestZoneWhoseDecisionsPanicIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.start()
		e.loop.done <- func() { e.zones[0].fetching = []*collection{{host: "nobody.test."}} } // a defect: what ends it panics
		w.chain.change(true, func(c *chainZone) { c.cns = []string{ourNS, theirNS} })
		w.pass(time.Hour)
		w.expectReady(e, false)
		w.expectKeys(with(w.ksk, w.zsk.ID()), with(w.ksk))
		if n := w.log.count("Internal error"); n != maxPanics {
			t.Errorf("Expected %d attempts, got %d", maxPanics, n)
		}
	})
}

// panicker is a private half that makes whoever signs with it panic.
type panicker struct{ crypto.Signer }

func (panicker) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { panic("in a signature") }

func TestZoneThatCannotBeSignedCostsTheOthersOfItsCommitNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.join()
		bad := w.another("example.com.")
		w.more = append(w.more, bad)
		e := w.start()
		was := text(w.out.apexes[bad])
		e.loop.done <- func() {
			for _, z := range e.zones {
				z.open().signAt, z.apex, z.made, z.open().facts.state.Signatures = e.loop.now, nil, nil, nil // all of it is due
				e.loop.dirty[z] = true
			}
			defect := *e.zones[1].open().facts.files[0]
			defect.Signer = panicker{defect.Signer}
			e.zones[1].open().facts.files = []*keys.Key{&defect}
		}
		w.pass(time.Second)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		if text(w.out.apexes[bad]) != was {
			t.Errorf("Expected what was served last, got %v", w.out.apexes[bad])
		}
		if w.log.count("example.com.", "in a signature") == 0 {
			t.Error("Expected the zone's error in the log")
		}
		w.expectReady(e, false)
	})
}

func TestCommitThatPanicsIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.start()
		leases := e.leases.byPath
		e.loop.done <- func() { e.leases.byPath = nil } // a defect: what writes panics
		p := w.join()
		w.pass(5 * time.Minute)
		e.loop.done <- func() { e.leases.byPath = leases }
		w.pass(5 * time.Minute)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		w.expectReady(e, true)
		w = w.crash()
		w.start()
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
	})
}

type fetchFunc func(ctx context.Context, zone, host string, known merge.Announcement) fetch.Result

// fetcher is a function as a Fetcher.
type fetcher struct{ fetch fetchFunc }

func fetcherFunc(f fetchFunc) Fetcher { return &fetcher{f} }

// Fetch implements the Fetcher interface.
func (f *fetcher) Fetch(ctx context.Context, zone, host string, known merge.Announcement) fetch.Result {
	return f.fetch(ctx, zone, host, known)
}

func TestOneCollectionAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.join()
		running, most := 0, 0
		w.zone.Fetcher = fetcherFunc(func(ctx context.Context, _, _ string, _ merge.Announcement) fetch.Result {
			w.peers.mu.Lock()
			running++
			most = max(most, running)
			w.peers.mu.Unlock()
			select { // a resolver that never answers
			case <-time.After(10 * time.Minute):
			case <-ctx.Done():
			}
			w.peers.mu.Lock()
			running--
			w.peers.mu.Unlock()
			return fetch.Result{Verdict: fetch.Unreachable}
		})
		w.start()
		for range 30 {
			w.chain.change(true, func(c *chainZone) {})
			w.pass(time.Minute)
		}
		if most != 1 {
			t.Errorf("Expected one collection of a zone and host at a time, got %d", most)
		}
	})
}

func TestFleetsArePolledLessOften(t *testing.T) {
	for zones, want := range map[int]time.Duration{1: time.Second, 1000: time.Second, 50_000: 15 * time.Second, 100_000: 30 * time.Second, 1_000_000: 30 * time.Second} {
		if got := pollEvery(zones); got != want {
			t.Errorf("Expected %v between polls of %d zones, got %v", want, zones, got)
		}
	}
}

func TestLoopEndsWhenItKeepsPanicking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.start()
		e.loop.done <- func() { e.zones[0].Zone = nil } // a defect: nothing can be said or done
		w.pass(time.Hour)
		w.expectReady(e, false)
		w.expectKeys(with(w.ksk, w.zsk.ID()), with(w.ksk))
		select {
		case <-e.ctx.Done():
		default:
			t.Error("Expected the work to have ended")
		}
	})
}

// A pool that is left out would not go on after the clock was wrong.
func TestEveryPoolIsOneOfThePools(t *testing.T) {
	var l loop
	known := make(map[*pool]bool)
	for _, p := range l.pools() {
		known[p] = true
	}
	v := reflect.ValueOf(&l).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Type() == reflect.TypeFor[pool]() && !known[(*pool)(f.Addr().UnsafePointer())] {
			t.Errorf("Expected %s among the pools", v.Type().Field(i).Name)
		}
	}
}
