package refresh

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/observe"
	"github.com/coredns-mske/mske/store"
)

func TestDelegationIsWhatThePhaseAllows(t *testing.T) {
	const a, b, c = "ns1.example.net.", "ns1.example.org.", "ns1.example.com."
	read := func(ns ...string) lifecycle.State {
		return lifecycle.State{NSAt: time.Unix(1, 0), ParentNS: ns, DSStatus: observe.DSPresent}
	}
	published := store.Delegation{NS: []string{a, b}, Chain: []string{a}, CSYNC: true}
	for _, tc := range []struct {
		name string
		f    delegable
		want store.Delegation
	}{
		{"nothing to change", delegable{report: lifecycle.Report{NS: []string{a}}, life: read(a), chain: []string{a}, signs: true}, store.Delegation{}},
		{"a host is added", delegable{report: lifecycle.Report{MayAdd: true, NS: []string{b, a}}, life: read(a), chain: []string{a}, signs: true},
			store.Delegation{NS: []string{b, a}, Chain: []string{a}, CSYNC: true}},
		{"the parent has followed, in another order", delegable{report: lifecycle.Report{MayAdd: true, NS: []string{b, a}}, life: read(a, b), chain: []string{a}, signs: true},
			store.Delegation{NS: []string{b, a}, Chain: []string{a}}},
		{"the parent has not been read", delegable{report: lifecycle.Report{MayAdd: true, NS: []string{a, b}}, chain: []string{a}, signs: true},
			store.Delegation{NS: []string{a, b}, Chain: []string{a}}},
		{"the parent has no DS", delegable{report: lifecycle.Report{MayAdd: true, NS: []string{a, b}}, life: lifecycle.State{NSAt: time.Unix(1, 0), ParentNS: []string{a}, DSStatus: observe.DSDenied},
			chain: []string{a}, signs: true}, store.Delegation{NS: []string{a, b}, Chain: []string{a}}},
		{"the owner changed NS behind us", delegable{report: lifecycle.Report{MayAdd: true, NS: []string{a, b}}, life: read(a), chain: []string{a, b}, signs: true},
			store.Delegation{NS: []string{a, b}, Chain: []string{a, b}, CSYNC: true}},
		{"and the parent", delegable{report: lifecycle.Report{MayAdd: true, NS: []string{a, b}}, life: read(a, b), chain: []string{a, b}, signs: true}, store.Delegation{}},
		{"a host is removed, which never waits", delegable{report: lifecycle.Report{NS: []string{a}}, life: read(a, b), chain: []string{a, b}, signs: true},
			store.Delegation{NS: []string{a}, Chain: []string{a, b}, CSYNC: true}},
		{"NS has more than the parent and may not gain hosts", delegable{report: lifecycle.Report{NS: []string{a, b}}, life: read(a), chain: []string{a, b}, signs: true}, store.Delegation{}},
		{"a swap at the parent waits", delegable{report: lifecycle.Report{NS: []string{a, b}}, life: read(a, c), chain: []string{a}, signs: true},
			store.Delegation{NS: []string{a, b}, Chain: []string{a}}},
		{"nobody signs", delegable{report: lifecycle.Report{MayAdd: true, NS: []string{a, b, c}}, life: read(a), chain: []string{a}, last: published}, published},
		{"nothing is known", delegable{signs: true}, store.Delegation{}},
	} {
		slices.Sort(tc.want.NS)
		if got := decideDelegation(tc.f); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: expected %+v, got %+v", tc.name, tc.want, got)
		}
	}
}

// expectNS holds that NS is answered so, nil for the chain's, and whether there
// is CSYNC.
func (w *world) expectNS(csync bool, hosts ...string) {
	w.t.Helper()
	a := w.apex()
	if got := nsOf(a); !slices.Equal(got, hosts) || (a.CSYNC != nil) != csync {
		w.t.Errorf("Expected NS %v and CSYNC %v, got %v and %v", hosts, csync, got, a.CSYNC != nil)
	}
}

func TestNSFollowsTheTargetOnceDSIsSynced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.zone.Auto = true
		n := w.online()
		p := w.join()
		n.serves(theirNS, p)
		e := w.startMinutely()
		w.until(e, lifecycle.Converged, time.Hour)
		w.expectNS(false)
		n.change(func(n *internet) { n.ds = digestsOf(w.ksk.ID(), p.ksk) })
		for w.report(e).Phase == lifecycle.Converged {
			w.expectNS(false) // never before every wait has passed
			w.pass(time.Minute)
		}
		w.pass(time.Minute)
		w.expectNS(true, ourNS, theirNS)
		expectSigned(t, w.apex().Set(2), w.zsk)
		if got := w.apex().NS.RRs()[0].Header().Ttl; got != 3600 {
			t.Errorf("Expected the TTL of the chain's NS, got %d", got)
		}
		n.change(func(n *internet) { n.ns = []string{theirNS, ourNS} })
		w.until(e, lifecycle.Complete, 2*time.Hour)
		w.pass(time.Minute)
		w.expectNS(false, ourNS, theirNS)

		// The owner removes CNS: what was published is the zone's own NS.
		w.chain.change(true, func(c *chainZone) { c.cns = nil })
		w.pass(3 * time.Hour)
		w.expectNS(false, ourNS, theirNS)
		w.expectPhase(e, lifecycle.Complete)
		expectLog(t, w.log, 1, "CSYNC asks the parent")
	})
}

// together makes the zone one of two providers, with NS published by us.
func (w *world) together(n *internet) (*Engine, provider) {
	w.t.Helper()
	w.zone.Auto = true
	p := w.join()
	n.serves(theirNS, p)
	n.change(func(n *internet) { n.ds, n.ns = digestsOf(w.ksk.ID(), p.ksk), []string{ourNS, theirNS} })
	e := w.startMinutely()
	w.until(e, lifecycle.Complete, 5*time.Hour)
	w.pass(time.Minute)
	w.expectNS(false, ourNS, theirNS)
	return e, p
}

func TestAHostThatLeavesIsOutOfNSAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		e, p := w.together(n)
		w.chain.change(true, func(c *chainZone) { c.cns = []string{ourNS} })
		w.pass(3 * time.Minute)
		if ns := nsOf(w.apex()); !slices.Equal(ns, []string{ourNS}) || w.apex().CSYNC == nil {
			t.Fatalf("Expected NS without the leaver, and CSYNC, got %v", ns)
		}
		n.change(func(n *internet) { n.ns = []string{ourNS} })
		w.pass(2 * time.Hour)
		w.expectNS(false) // as behind us
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		if r := w.report(e); len(r.Leaving) != 1 {
			t.Errorf("Expected the leaver's keys to be held, got %+v", r)
		}
	})
}

func TestNSPublishedSurvivesARestartAndEndsWithTheChains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		e, _ := w.together(n)
		w.chain.change(true, func(c *chainZone) { c.cns = nil })
		w.pass(2 * time.Minute)
		was := w.apex().NS.Sigs()[0].Signature
		e.Stop()
		next := w.crash()
		ne := next.startOnly()
		if got := next.apex(); !slices.Equal(nsOf(got), []string{ourNS, theirNS}) || got.NS.Sigs()[0].Signature != was {
			t.Errorf("Expected NS as it was served, got %v", nsOf(got))
		}
		ne.Stop()

		e = w.startMinutely()
		w.pass(time.Hour)
		w.expectNS(false, ourNS, theirNS)
		w.expectPhase(e, lifecycle.Complete)
		w.chain.change(true, func(c *chainZone) { c.ns = []string{ourNS, theirNS, theirNS2} })
		w.pass(3 * time.Minute)
		w.expectNS(false) // the owner has the last word
	})
}

func TestWithoutAutoNSIsTheChains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		p := w.join()
		n.serves(theirNS, p)
		n.change(func(n *internet) { n.ds = digestsOf(w.ksk.ID(), p.ksk) })
		e := w.startMinutely()
		w.until(e, lifecycle.Synced, 5*time.Hour)
		w.pass(time.Hour)
		w.expectNS(false)
	})
}

func TestAutoTurnedOffGivesNSBackToTheChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		e, _ := w.together(n)
		e.Stop()
		w.zone.Auto = false
		w.startMinutely()
		w.pass(time.Hour)
		w.expectNS(false)
	})
}

// Nobody has taken the other provider out of anything. What it published last is not
// forgotten, but for as long as the option is off NS is the chain's, and that is said.
func TestAutoTurnedOffAndOnAgainEvictsNobody(t *testing.T) {
	for _, unread := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			n := w.online()
			e, _ := w.together(n)
			w.chain.change(true, func(c *chainZone) { c.cns = nil })
			w.pass(10 * time.Minute)
			e.Stop()
			w.zone.Auto = false
			e = w.startMinutely()
			w.pass(time.Hour)
			w.expectNS(false)
			expectLog(t, w.log, 1, "WARNING", "NS is "+ourNS+" again, as behind us, without "+theirNS+", to which the parent delegates")
			e.Stop()
			w.zone.Auto = true
			w.chain.mu.Lock()
			if unread {
				w.chain.down = errSilent
			}
			w.chain.mu.Unlock()
			w.startMinutely()
			w.expectNS(false, ourNS, theirNS)
			for range 300 {
				w.pass(time.Minute)
				w.expectNS(false, ourNS, theirNS)
			}
		})
	}
}

func TestNSStaysWhileItCannotBeStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.zone.Auto = true
		n := w.online()
		p := w.join()
		n.serves(theirNS, p)
		n.change(func(n *internet) { n.ds = digestsOf(w.ksk.ID(), p.ksk) })
		e := w.startMinutely()
		w.until(e, lifecycle.Converged, time.Hour)
		path := filepath.Join(w.dir, "mske.db")
		if err := os.Rename(path, path+".away"); err != nil { // every write fails from here
			t.Fatal(err)
		}
		w.until(e, lifecycle.Synced, 5*time.Hour)
		w.pass(30 * time.Minute)
		w.expectNS(false)
		if err := os.Rename(path+".away", path); err != nil {
			t.Fatal(err)
		}
		w.pass(10 * time.Minute)
		w.expectNS(true, ourNS, theirNS)
	})
}
