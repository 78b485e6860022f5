package refresh

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	bolt "go.etcd.io/bbolt"

	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/serve"
	"github.com/coredns-mske/mske/store"
)

func TestCrashAndRestartWithNobodyThereServesTheSameOctets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.startSlow()
		p := w.join()
		w.chain.change(true, func(c *chainZone) { c.ns = []string{ourNS, theirNS} })
		w.pass(time.Hour)
		want := text(w.apex())

		n := w.crash()
		n.startSlow()
		if got := text(n.apex()); got != want {
			t.Errorf("Expected the same octets before anybody is asked, got\n%s\nwant\n%s", got, want)
		}
		n.pass(6 * time.Hour)
		if got := text(n.apex()); got != want {
			t.Errorf("Expected the same octets later, got\n%s\nwant\n%s", got, want)
		}
		n.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
	})
}

func TestWhatIsPublishedIsStoredBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		p := w.join()
		for !slices.Contains(served(w.apex()), p.zsk) {
			w.pass(10 * time.Millisecond)
		}
		n := w.crash()
		n.startOnly()
		if got, want := text(n.apex()), text(w.apex()); got != want {
			t.Errorf("Expected what was served to be stored, got\n%s\nwant\n%s", got, want)
		}
	})
}

// served returns the keys in a's DNSKEY RRset.
func served(a *serve.Apex) []merge.Key {
	var ks []merge.Key
	if a.DNSKEY.RRset != nil {
		for _, rr := range a.DNSKEY.RRset.RRs() {
			ks = append(ks, keyOf(rr))
		}
	}
	return ks
}

func TestFailingStoreLetsAdditionsThroughAndRemovalsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.startSlow()
		p, q := w.join(), newProvider(t)
		w.pass(2 * time.Hour)
		path := filepath.Join(w.dir, "mske.db")
		if err := os.Rename(path, path+".away"); err != nil { // every write fails from here
			t.Fatal(err)
		}
		w.peers.set(theirNS, announces(q.announcement()))
		w.pass(2 * time.Hour)
		all := with(w.ksk, w.zsk.ID(), p.zsk, q.zsk)
		w.expectKeys(all, with(w.ksk, p.ksk, q.ksk)) // p's would have left CDS
		w.expectReady(e, false)
		expectLog(t, w.log, 1, "ERROR", "none is removed until")
		w.pass(day + 2*time.Hour)
		w.expectKeys(all, with(w.ksk, p.ksk, q.ksk))

		if err := os.Rename(path+".away", path); err != nil {
			t.Fatal(err)
		}
		w.pass(2 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), q.zsk), with(w.ksk, q.ksk))
		w.expectReady(e, true)
		n := w.crash()
		n.startOnly()
		n.expectKeys(with(w.ksk, w.zsk.ID(), q.zsk), with(w.ksk, q.ksk))
	})
}

func TestRecordThatCannotBeStoredHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.config()
		other := &chainZone{name: "example.org.", serial: 1, ns: []string{ourNS}}
		zsk := w.newKey("example.org.", 256)
		w.newKey("example.org.", 257)
		other.keys, other.signers = []*keys.Key{zsk}, []*keys.Key{zsk}
		z := *w.zone
		z.Name, z.Ask = "example.org.", other.ask
		z.Nameservers = []string{ourNS, "NOT.CANONICAL."} // such a record is refused
		c.Zones = append(c.Zones, &z)
		e := New(c)
		if err := e.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Stop)
		w.pass(time.Minute)
		w.expectKeys(with(w.ksk, w.zsk.ID()), with(w.ksk))
		w.expectReady(e, false)
		expectLog(t, w.log, 1, "ERROR", `"example.org."`, "cannot be stored")
		n := w.crash()
		n.startOnly()
		n.expectKeys(with(w.ksk, w.zsk.ID()), with(w.ksk))
	})
}

func TestDamagedStoreStopsTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		if err := os.WriteFile(filepath.Join(w.dir, "mske.db"), []byte("no store"), 0o600); err != nil {
			t.Fatal(err)
		}
		e := New(w.config())
		if err := e.Start(); err == nil || !strings.Contains(err.Error(), "mske.db") {
			t.Errorf("Expected an error that names the file, got %v", err)
		}
		e.Stop()
		w.expectNothing()
	})
}

func (w *world) expectNothing() {
	w.t.Helper()
	if a := w.apex(); a != nil {
		w.t.Errorf("Expected nothing to be published, got\n%s", text(a))
	}
}

func TestOverlappingEnginesDuringAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		old := w.start()
		p := w.join()
		w.pass(time.Minute)
		before := w.apex()

		young := w.startOnly() // a reload: both are there
		if got := text(w.apex()); got != text(before) {
			t.Errorf("Expected the new engine to publish the same, got\n%s", got)
		}
		w.pass(time.Second)
		select {
		case <-old.ctx.Done():
		default:
			t.Error("Expected the old engine to end by itself")
		}
		asked := len(w.peers.times(theirNS))
		old.Stop()
		q := newProvider(t)
		a := p.announcement()
		a.DNSKEY = append(a.DNSKEY, q.zsk)
		w.peers.set(theirNS, announces(a))
		w.pass(2 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk, q.zsk), with(w.ksk, p.ksk))
		if n := len(w.peers.times(theirNS)) - asked; n > 4 {
			t.Errorf("Expected one engine to collect, got %d collections", n)
		}
		w.expectReady(young, true)

		// A reload that fails late: the failed engine is stopped, and the old
		// configuration gets an engine again.
		failed := w.startOnly()
		failed.Stop()
		again := w.startOnly()
		w.pass(2 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk, q.zsk), with(w.ksk, p.ksk))
		w.expectReady(again, true)
	})
}

func TestFailedReloadWhoseEngineIsNeverStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		failed := New(w.config())
		if err := failed.Start(); err != nil {
			t.Fatal(err)
		}
		again := w.startOnly() // caddy tells the old configuration, never the failed one
		w.pass(time.Minute)
		select {
		case <-failed.ctx.Done():
		default:
			t.Error("Expected the failed engine to end by itself") // and the bubble ends only if it did
		}
		w.expectReady(again, true)
		again.Stop()
		db, err := bolt.Open(filepath.Join(w.dir, "mske.db"), 0o600, &bolt.Options{Timeout: time.Nanosecond})
		if err != nil {
			t.Fatalf("Expected the state file to be free, got %v", err)
		}
		db.Close()
	})
}

func TestStopEndsEverythingAndMayBeRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.join()
		e := w.start()
		e.Stop()
		e.Stop()
		asked := w.chain.asked
		w.pass(time.Hour)
		if w.chain.asked != asked {
			t.Error("Expected no work after Stop")
		}
		w.expectKeys(served(w.apex()), entriesOf(w.apex())) // what was published stays
		l, err := store.Acquire(filepath.Join(w.dir, "mske.db"))
		if err != nil {
			t.Fatal(err)
		}
		l.Release()
		New(w.config()).Stop() // before Start
	})
}

func TestMoreNameserversDoNotMakeAZoneCold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.startSlow()
		p := w.join()
		w.chain.change(true, func(c *chainZone) { c.ns = []string{ourNS, theirNS} })
		w.pass(time.Hour)
		n := w.crash()
		n.zone.Nameservers = []string{ourNS, "ns2.example.net."}
		n.startOnly()
		n.pass(time.Minute)
		n.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))

		m := n.crash() // and back: the newest state counts
		m.zone.Nameservers = []string{ourNS}
		m.startOnly()
		m.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
	})
}

func TestHostThatBecomesOursLeavesItsDataKeysForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.startSlow()
		p := w.join()
		w.pass(time.Hour)
		n := w.crash()
		n.chain.down = nil
		n.zone.Nameservers = []string{ourNS, theirNS}
		n.startSlow()
		n.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk))
		n.pass(25 * time.Hour)
		n.expectKeys(with(w.ksk, w.zsk.ID()), with(w.ksk))
	})
}

// Those that it no longer announced, too.
func TestHostThatBecomesOursLeavesItsRetiringKeysForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.startSlow()
		p := w.join()
		w.pass(2 * time.Hour)
		rolled := provider{p.ksk, newPublic(t, 256)}
		w.peers.set(theirNS, announces(rolled.announcement()))
		w.pass(2 * time.Hour)
		all := with(w.ksk, w.zsk.ID(), p.zsk, rolled.zsk)
		w.expectKeys(all, with(w.ksk, p.ksk))
		n := w.crash()
		n.chain.down = nil
		n.zone.Nameservers = []string{ourNS, theirNS}
		n.startSlow()
		n.expectKeys(all, with(w.ksk))
		n.pass(23 * time.Hour)
		n.expectKeys(all, with(w.ksk))
		n.pass(2 * time.Hour)
		n.expectKeys(with(w.ksk, w.zsk.ID()), with(w.ksk))
	})
}

func TestProvidersOfOneZoneDoNotShareState(t *testing.T) {
	a := newZone(&Zone{Name: zoneName, Nameservers: []string{ourNS}})
	b := newZone(&Zone{Name: zoneName, Nameservers: []string{theirNS}})
	adopt([]*zone{a, b}, map[string]record{
		a.key:                                   {Zone: &store.Zone{Name: zoneName, Nameservers: a.Nameservers, Target: []string{"a.example.org."}}},
		store.Key(zoneName, []string{theirNS2}): {Zone: &store.Zone{Name: zoneName, Nameservers: []string{theirNS2}, Target: []string{"c.example.org."}}},
	})
	if !a.known || b.known || len(b.open().facts.state.Target) != 0 {
		t.Error("Expected the state to go to the provider that stored it, and to no other")
	}
}

func TestSignaturesAreRenewedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.startSlow()
		w.chain.change(false, func(c *chainZone) { c.down = errNotYet }) // nothing else happens
		for range 4 {
			w.pass(5 * day)
			w.expectKeys(with(w.ksk, w.zsk.ID()), with(w.ksk))
			if left := time.Until(e.Status().Expires); left < 2*day {
				t.Errorf("Expected signatures with days left, got %v", left)
			}
		}
	})
}

func TestSignaturesRenewedAtTheStartAreStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.startSlow()
		w.join()
		w.pass(time.Hour)
		e.Stop()
		w.pass(12 * day) // the server was off
		n := w.crash()
		n.startOnly()
		m := n.crash()
		for _, k := range []*keys.Key{w.ksk, w.zsk} {
			gone := *k
			gone.Base = filepath.Join(m.dir, filepath.Base(k.Base))
			m.removeKey(&gone)
		}
		m.startOnly()
		if got, want := text(m.apex()), text(n.apex()); got != want || got == text(w.apex()) {
			t.Errorf("Expected the new signatures, got\n%s\nwant\n%s", got, want)
		}
	})
}

func TestAThousandZones(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := newProvider(t)
		w.peers.set(theirNS, announces(merge.Announcement{DNSKEY: []merge.Key{p.zsk}, CDNSKEY: []merge.Key{p.ksk}, TTL: time.Hour}))
		c := w.config()
		w.fleet(&c, 1000, ourNS, theirNS)
		e := New(c)
		if err := e.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Stop)
		w.pass(5 * time.Second)
		s := e.Status()
		if s.Phases[string(lifecycle.Joint)] != 1000 || !s.Ready { // the world's own zone is single
			t.Errorf("Expected 1000 zones with the peer's keys, got %v, %q", s.Phases, s.Problems)
		}
	})
}

func TestZoneThatMovesToAnotherFileIsWrittenThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		p := w.join()
		w.pass(time.Minute)
		n := w.crash()
		c := n.config()
		c.Zones[0].Store = filepath.Join(n.dir, "second.db")
		stays := *n.zone // a zone that stays in the first file
		stays.Name, stays.Store = "example.org.", filepath.Join(n.dir, "mske.db")
		c.Zones = append(c.Zones, &stays)
		for range 2 {
			e := New(c)
			if err := e.Start(); err != nil {
				t.Fatal(err)
			}
			n.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
			n.pass(time.Minute)
			e.Stop()
			c.Zones = c.Zones[:1] // the first file is gone from the configuration
			n.zone.Keys = keys.NewWatcher(keys.Source{Dirs: []string{n.dir}})
			n.out.apexes = make(map[*Zone]*serve.Apex)
		}
	})
}

// Of two keys with one tag that only digests of unlike types name, neither is taken away.
func TestWhatIsServedInAdditionTakesNoDigestAway(t *testing.T) {
	k := newPublic(t, 257)
	first, _ := k.DS(zoneName, dns.SHA256)
	second, _ := k.DS(zoneName, dns.SHA384)
	was, is := merge.Joint{Unmatched: []merge.DS{first}, CDS: []merge.DS{first}}, merge.Joint{Unmatched: []merge.DS{second}, CDS: []merge.DS{second}}
	if sum := plus(zoneName, was, is); len(sum.CDS) != 2 || len(sum.Unmatched) != 2 {
		t.Errorf("Expected both digests, got %+v", sum)
	}
}
