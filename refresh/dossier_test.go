package refresh

import (
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coredns-mske/mske/fetch"
)

// reopen shuts z's dossier and opens it again, after which everything is as it was.
func reopen(t *testing.T, z *zone) {
	t.Helper()
	was, told := *z.open(), z.summary()
	z.shut()
	if z.filed.open != nil || z.looked() != was.facts.looked || !reflect.DeepEqual(z.summary(), told) {
		t.Errorf("Expected what is told of a shut dossier to be what was of the open one, got %+v, not %+v", z.summary(), told)
	}
	if is := *z.open(); !reflect.DeepEqual(is, was) {
		t.Errorf("Expected a dossier to be as before it was shut, got\n%+v\nnot\n%+v", is, was)
	}
}

// inLoop has f run where the zones may be touched.
func inLoop(e *Engine, f func()) {
	done := make(chan struct{})
	e.loop.done <- func() {
		defer close(done)
		f()
	}
	<-done
}

func TestDossierIsTheSameWhenOpenedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.startSlow()
		checked := 0
		check := func() {
			w.pass(3 * time.Hour)
			inLoop(e, func() {
				z := e.zones[0]
				reopen(t, z)
				if z.filed.open.facts.state.Signatures != nil {
					checked++
				}
			})
		}
		check()
		p := w.join()
		check()
		w.peers.set(theirNS, func() fetch.Result { return fetch.Result{Verdict: fetch.Unreachable, At: time.Now()} })
		check()
		next := newProvider(t)
		p.zsk = next.zsk
		w.peers.set(theirNS, announces(p.announcement()))
		check()
		if checked < 4 {
			t.Errorf("Expected the zone to be signed each time, was %d times", checked)
		}
	})
}

// What is not among the last to be opened is shut, in time: the loop does not stop
// for it.
func TestFewDossiersAreOpen(t *testing.T) {
	const zones, limit = 3 * maxShut, 10
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.config()
		w.fleet(&c, zones, ourNS)
		e := New(c)
		e.desk.limit = limit
		e.pollEvery, e.scanEvery = time.Minute, time.Minute
		open := func() (n int) {
			for _, z := range e.zones {
				if z.filed.open != nil {
					n++
				}
			}
			return n
		}
		if n := open(); n != zones+1 {
			t.Fatalf("Expected all dossiers to be open before the start, got %d", n)
		}
		if err := e.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Stop)
		w.pass(10 * time.Minute)
		if n := e.Status().Phases["single"]; n != zones+1 {
			t.Errorf("Expected all zones to have no other providers, got %d: %v", n, e.Status())
		}
		inLoop(e, func() {
			before := open()
			if before != limit || len(e.desk.zones) != limit {
				t.Errorf("Expected %d open dossiers, got %d of which the desk knows %d", limit, before, len(e.desk.zones))
			}
			for range 2 { // the second time nothing is opened
				for _, z := range e.zones {
					z.open()
				}
			}
			e.clearDesk()
			if n := open(); n != zones+1-maxShut || len(e.desk.zones) != n {
				t.Errorf("Expected %d open dossiers, got %d of which the desk knows %d", zones+1-maxShut, n, len(e.desk.zones))
			}
			if e.zones[0].filed.open != nil && e.zones[1].filed.open != nil && e.zones[2].filed.open != nil {
				t.Error("Expected those to be shut that have been open for longest")
			}
		})
	})
}

// A zone that nothing was decided about is about to be.
func TestDossierOfUndecidedZoneStaysOpen(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.clearDesk()
	if e.zones[0].filed.open == nil {
		t.Error("Expected the dossier to be open")
	}
	e.zones[0].decided = true
	e.clearDesk()
	if e.zones[0].filed.open != nil || len(e.desk.zones) > 0 {
		t.Error("Expected the dossier to be shut")
	}
}
