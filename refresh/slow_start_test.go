package refresh

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/serve"
)

// manyKeys is more key files than a start waits for.
const manyKeys = 5000

// crowd puts so many key files beside those of the world that reading them all is
// left for later. None of them can be read.
func (w *world) crowd() {
	w.t.Helper()
	for tag := range manyKeys {
		name := filepath.Join(w.dir, fmt.Sprintf("K%s+013+%05d.key", zoneName, tag))
		f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if os.IsExist(err) {
			continue
		}
		if err != nil {
			w.t.Fatal(err)
		}
		f.Close()
	}
}

func TestManyKeysAreReadWhileStoredSignaturesAreServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withSignaling()
		w.start()
		p := w.join()
		w.pass(3 * time.Second)
		served := text(w.apex())

		n := w.crash()
		n.crowd()
		n.startOnly()
		n.out.mu.Lock()
		first := n.out.history[0]
		n.out.mu.Unlock()
		if got := text(first); got != served || len(first.Data) > 0 {
			t.Errorf("Expected first what was served last, by no key:\n%s\ngot, by %d keys:\n%s", served, len(first.Data), got)
		}
		n.pass(2 * time.Second)
		n.expectKeys(with(n.ksk, n.zsk.ID(), p.zsk), with(n.ksk, p.ksk))
		if a := n.apex(); text(a) != served || len(a.Data) != 1 {
			t.Errorf("Expected the same, and a key to sign denials with, got %d:\n%s", len(a.Data), text(a))
		}
		n.expectAnnounced(dns.TypeDNSKEY, n.zsk.ID())
	})
}

// Stored signatures are not enough for a zone that is to serve something else, or
// was down for so long that they have expired: its own keys are read first.
func TestManyKeysDoNotKeepAZoneFromBeingSigned(t *testing.T) {
	for name, edit := range map[string]func(w *world){
		"CDS is to ask for no DS": func(w *world) { w.zone.DeleteDS = true },
		"a long time has passed":  func(*world) { time.Sleep(30 * 24 * time.Hour) },
		"nothing is stored":       func(w *world) { os.Remove(filepath.Join(w.dir, "mske.db")) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.withSignaling()
				w.start().Stop()
				n := w.crash()
				n.chain.down = nil
				n.crowd()
				edit(n)
				n.startOnly()
				if a := n.apex(); a.DNSKEY.Answer != serve.Served || a.CDS.Answer != serve.Served || len(a.Data) != 1 {
					t.Errorf("Expected DNSKEY and CDS when the server begins, got %v, %v and %d keys", a.DNSKEY.Answer, a.CDS.Answer, len(a.Data))
				}
				n.pass(3 * time.Second)
				expectLog(t, n.log, 0, "Internal error")
			})
		})
	}
}

func TestADirectoryThatVanishesWhileKeysAreReadHoldsUpNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		p := w.join()
		w.pass(3 * time.Second)
		n := w.crash()
		n.crowd()
		gone := filepath.Join(t.TempDir(), "gone")
		c := n.config()
		n.zone.Keys = keys.NewWatcher(keys.Source{Dirs: []string{gone}})
		e := New(c)
		if err := os.Symlink(n.dir, gone); err != nil {
			t.Fatal(err)
		}
		first := true
		n.out.onPublish = func() {
			if first {
				first = false
				os.Remove(gone)
			}
		}
		if err := e.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Stop)
		n.pass(3 * time.Second)
		n.expectKeys(with(n.ksk, n.zsk.ID(), p.zsk), with(n.ksk, p.ksk))
		n.expectReady(e, false)
		if err := os.Symlink(n.dir, gone); err != nil {
			t.Fatal(err)
		}
		n.chain.change(false, func(c *chainZone) { c.down = nil })
		n.pass(10 * time.Second)
		n.expectKeys(with(n.ksk, n.zsk.ID(), p.zsk), with(n.ksk, p.ksk))
		n.expectReady(e, true)
	})
}

func TestManyKeysThatCannotBeReachedAreAnErrorAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.crowd()
		c := w.config()
		w.zone.Keys = keys.NewWatcher(keys.Source{Dirs: []string{w.dir, filepath.Join(w.dir, "none")}})
		if err := New(c).Start(); err == nil {
			t.Error("Expected a directory that is not there to be an error")
		}
	})
}

// runFleet runs an engine for a fleet of n zones that it adds to c, for a minute. It
// returns the directory of their keys, and how many names were announced then.
func (w *world) runFleet(c *Config, n int) (dir string, announced int) {
	w.t.Helper()
	dir = w.fleet(c, n)
	w.startWith(*c).Stop()
	return dir, len(w.subtree().Changed(nil))
}

// startWith starts an engine for c that reads keys once, and lets a minute pass.
func (w *world) startWith(c Config) *Engine {
	w.t.Helper()
	e := New(c)
	e.scanEvery = time.Hour
	if err := e.Start(); err != nil {
		w.t.Fatalf("Expected the engine to start, got %v", err)
	}
	w.t.Cleanup(e.Stop)
	w.pass(time.Minute)
	return e
}

// rereads lets the next engine for c read all keys, those of the fleet in dir.
func (w *world) rereads(c Config, dir string) {
	ours, fleets := keys.NewWatcher(keys.Source{Dirs: []string{w.dir}}), keys.NewWatcher(keys.Source{Dirs: []string{dir}})
	for _, z := range c.Zones {
		if z.Keys = fleets; z == w.zone || z.Whole {
			z.Keys = ours
		}
	}
}

// A fleet is decided about some at a time after its keys were read. What had not been
// decided about would be denied, so that all is announced at once.
func TestAFleetIsAnnouncedAsAWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withSignaling()
		c := w.config()
		dir, all := w.runFleet(&c, maxBatch+1)
		if all <= maxBatch {
			t.Fatalf("Expected every zone to be announced, got %d names", all)
		}

		w.crowd()
		w.rereads(c, dir)
		published := w.expectWhole(all)
		e := w.startWith(c)
		if *published == 0 {
			t.Error("Nothing was announced")
		}
		w.expectReady(e, true)
		expectLog(t, w.log, 0, "Internal error")
	})
}

// What changes while a fleet is decided about does not wait for the end of that.
func TestAKeyThatComesGoesBeforeTheRestOfAFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.config()
		w.fleet(&c, maxBatch+1)
		e := New(c)
		e.readClock()
		e.undecide()
		last := e.zones[len(e.zones)-1]
		e.loop.dirty[last] = true
		e.jobs()
		if e.loop.dirty[last] || len(e.loop.undecided) < maxBatch/2 {
			t.Errorf("Expected it to be decided about first, got %t, %d zones left", !e.loop.dirty[last], len(e.loop.undecided))
		}
		turns := 0
		for ; len(e.loop.undecided) > 0; turns++ {
			if at := e.writeDue(); at.IsZero() || at.After(e.loop.now) {
				t.Fatalf("Expected the rest to be decided about at once, got %v", at)
			}
			e.jobs()
		}
		if turns < 2 {
			t.Errorf("Expected to hear what else there is in between, got %d turns", turns)
		}
		for _, z := range e.zones {
			e.loop.dirty[z] = true
		}
		if e.jobs(); len(e.loop.dirty) != len(e.zones)-maxBatch {
			t.Errorf("Expected %d of %d zones to be decided about at once, got %d left", maxBatch, len(e.zones), len(e.loop.dirty))
		}
	})
}

// What others announce is judged by our keys, which are not known before.
func TestAZoneIsDecidedAboutBeforeItIsLookedAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.engine()
		defer e.Stop()
		e.readClock()
		e.undecide()
		z := e.zones[0]
		e.loop.due.Push(z)
		if e.attend(z); z.asking || len(e.loop.dirty) > 0 {
			t.Fatal("Expected a decision first, in turn")
		}
		if e.answer(z); !e.loop.dirty[z] {
			t.Error("Expected it to be decided about next after a NOTIFY")
		}
		e.jobs()
		if z.work.After(e.loop.now) {
			t.Fatalf("Expected the zone to be looked after at once then, got in %v", z.work.Sub(e.loop.now))
		}
		if e.attend(z); !z.asking {
			t.Error("Expected it to be looked after then")
		}
	})
}

// A disk that is full does not keep what is stored from being announced.
func TestAFleetIsAnnouncedThoughTheDiskIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.engine()
		e.readClock()
		e.undecide()
		e.reportStore(errDiskFull)
		e.reportStore(errDiskFull)
		if at := e.writeDue(); at.After(e.loop.now) || e.loop.writeFails != 1 {
			t.Errorf("Expected the zones to be decided about at once, got in %v, and %d failures", at.Sub(e.loop.now), e.loop.writeFails)
		}
		e.jobs()
		e.endStart()
		e.loop.dirty[e.zones[0]] = true
		e.reportStore(errDiskFull)
		if at := e.writeDue(); !at.After(e.loop.now) {
			t.Error("Expected the disk to be tried again later")
		}
	})
}

var errDiskFull = errors.New("no space left on device")

// expectWhole fails the test if ever less is announced than all.
func (w *world) expectWhole(all int) (published *int) {
	published = new(int)
	w.out.onSubtree = func(s *serve.Subtree) {
		*published++
		if n := len(s.Changed(nil)); n != all {
			w.t.Errorf("Expected %d names that are announced, got %d", all, n)
		}
	}
	return published
}

// A zone that is not announced is denied, with proof.
func TestNothingIsDeniedWhenTheClockBecomesRight(t *testing.T) {
	for _, slow := range []bool{false, true} {
		t.Run(fmt.Sprintf("slow %t", slow), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				back := &chainZone{name: "example.net.", serial: 1, ns: []string{ourNS}}
				ksk, zsk := w.newKey(back.name, 257), w.newKey(back.name, 256)
				back.keys, back.signers = []*keys.Key{ksk, zsk}, []*keys.Key{zsk}
				z := *w.zone
				z.Name, z.Ask = back.name, back.ask
				w.more, w.subs = append(w.more, &z), append(w.subs, &Subtree{NS: ourNS, Zone: &z})
				w.start().Stop()
				published := w.expectWhole(len(w.subtree().Changed(nil)))
				w.setClock(-2 * day)
				w.built = time.Now()
				if slow {
					w.crowd()
				}
				e := w.engine()
				e.scanEvery = time.Hour
				if err := e.Start(); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(e.Stop)
				w.pass(time.Minute)
				w.setClock(0)
				for range 1200 {
					w.pass(100 * time.Millisecond)
					if e.Status().Ready && *published == 0 {
						t.Fatal("Ready before anything is announced")
					}
				}
				w.expectReady(e, true)
				if *published == 0 {
					t.Error("Nothing is announced")
				}
			})
		})
	}
}

func TestNothingIsDeniedAfterAStartWithoutAStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withSignaling()
		c := w.config()
		dir, all := w.runFleet(&c, maxBatch+maxBatch/2)
		published := w.expectWhole(all)
		time.Sleep(40 * day) // all is to be signed, and so written
		path, away := c.Zones[0].Store, false
		w.out.onPublish = func() {
			if !away {
				away = true
				if err := os.Rename(path, path+".away"); err != nil {
					t.Error(err)
				}
			}
		}
		w.rereads(c, dir)
		w.startWith(c)
		if *published == 0 || w.log.count("ERROR", "none is removed until it can be written") == 0 {
			t.Errorf("Expected all to be announced though nothing can be written, got it %d times", *published)
		}
	})
}

// A signaling domain that is given up holds up what is said of all others.
func TestABrokenZoneDoesNotHoldUpTheStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withSignaling()
		e := w.engine()
		e.readClock()
		sub := e.subtrees[0]
		sub.running = true
		if !e.beginning() {
			t.Error("Expected the status to wait for what is announced")
		}
		sub.zone.panics = maxPanics
		if e.beginning() {
			t.Error("Expected the status not to wait for what never comes")
		}
	})
}

func TestSubtreesAreNotLookedAtBeforeTheyMayBeBuilt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withSignaling()
		e := w.engine()
		e.readClock()
		sub := e.subtrees[0]
		sub.renewAt, e.loop.buildAt = e.loop.now.Add(-time.Second), e.loop.now.Add(time.Minute)
		if at := e.buildDue(); !at.Equal(e.loop.buildAt) {
			t.Errorf("Expected the loop to sleep until then, got %v", at.Sub(e.loop.now))
		}
	})
}

// What a NOTIFY says before a host was asked at all since the start is not answered
// from a cache either.
func TestTheFirstCollectionKnowsOfANotify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.engine()
		e.readClock()
		z := e.zones[0]
		c := new(collection)
		if z.schedule(c, theirNS, e.loop.now); c.notified {
			t.Error("Nobody said that there is something new")
		}
		z.notified.Store(true)
		if z.schedule(c, theirNS, e.loop.now); !c.notified {
			t.Error("Expected it to be collected past all caches")
		}
	})
}

func TestAClockThatBecomesRightDoesNotEndTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.setClock(-2 * day)
		e := w.engine()
		e.loop.clock = e.config.Clock.takeOver(time.Now())
		e.loop.starting = true
		e.readClock()
		if s := e.Status(); !s.Behind {
			t.Errorf("Expected the clock to be wrong, got %q", s.Problems)
		}
		w.setClock(0)
		w.pass(time.Minute)
		e.readClock()
		if s := e.Status(); !e.loop.clock.right() || s.Ready {
			t.Errorf("Expected a clock that is right, got %t, and zones that have not been decided about, got ready %t", e.loop.clock.right(), s.Ready)
		}
	})
}
