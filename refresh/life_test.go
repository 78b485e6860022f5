package refresh

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
)

func TestAProviderJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		e := w.startMinutely()
		w.expectPhase(e, lifecycle.Single)

		w.peers.set(theirNS, verdict(fetch.Absent))
		w.chain.change(true, func(c *chainZone) { c.cns = []string{ourNS, theirNS} })
		w.pass(2 * time.Minute)
		w.expectPhase(e, lifecycle.Collecting)

		p := newProvider(t)
		n.alone(theirNS, p)
		w.peers.set(theirNS, announces(p.announcement()))
		w.until(e, lifecycle.Joint, 2*time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		if r := w.report(e); r.MayAdd || !slices.Equal(r.NS, []string{ourNS}) {
			t.Errorf("Expected NS not to gain hosts yet, got %+v", r)
		}

		n.serves(theirNS, p)
		w.until(e, lifecycle.Converged, time.Hour)
		n.change(func(n *internet) { n.ds = digestsOf(w.ksk.ID(), p.ksk) })
		if took := w.until(e, lifecycle.Synced, 5*time.Hour); took < time.Hour {
			t.Errorf("Expected to wait for the TTLs of DS and DNSKEY, took %v", took)
		}
		if r := w.report(e); !r.MayAdd || !slices.Equal(r.NS, []string{ourNS, theirNS}) {
			t.Errorf("Expected NS to be allowed to gain hosts, got %+v", r)
		}
		n.delegate(ourNS, theirNS)
		w.until(e, lifecycle.Complete, 2*time.Hour)
		for _, phase := range []string{"collecting", "joint", "converged", "ds-synced", "complete"} {
			expectLog(t, w.log, 1, "INFO", " is "+phase)
		}
		before := len(w.log.lines)
		w.pass(24 * time.Hour)
		for _, line := range w.log.lines[before:] {
			t.Errorf("Expected nothing to be said on a steady day, got %q", line)
		}
	})
}

func TestAZoneLivesOnAfterARestartInTheMiddleOfEveryWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		p := w.join()
		n.serves(theirNS, p)
		n.change(func(n *internet) { n.ds = digestsOf(w.ksk.ID(), p.ksk) })
		e := w.startMinutely()
		w.until(e, lifecycle.Converged, time.Hour)
		from := w.report(e).Next
		restart := func() {
			e.Stop()
			w.pass(time.Minute)
			e = w.startMinutely()
		}
		w.pass(30 * time.Minute)
		restart()
		w.expectPhase(e, lifecycle.Converged)
		if again := w.report(e).Next; !again.Equal(from) {
			t.Errorf("Expected the wait to end at %v still, got %v", from, again)
		}
		expectLog(t, w.log, 1, " is converged") // a start says nothing anew
		w.until(e, lifecycle.Synced, 2*time.Hour)
		if now := time.Now(); now.Before(from) || now.After(from.Add(10*time.Minute)) {
			t.Errorf("Expected ds-synced soon after %v, got it at %v", from, now)
		}
		restart()
		w.expectPhase(e, lifecycle.Synced)
		n.delegate(ourNS, theirNS)
		w.until(e, lifecycle.Complete, 2*time.Hour)

		w.chain.change(true, func(c *chainZone) { c.cns = []string{ourNS} })
		n.delegate(ourNS)
		w.pass(2 * time.Hour)
		leaving := w.report(e).Leaving
		if len(leaving) != 1 {
			t.Fatalf("Expected %s to be leaving, got %+v", theirNS, w.report(e))
		}
		restart()
		if again := w.report(e).Leaving; len(again) != 1 || !again[0].Until.Equal(leaving[0].Until) {
			t.Errorf("Expected the hold-down to end at %v still, got %v", leaving[0].Until, again)
		}
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		w.pass(time.Until(leaving[0].Until) - time.Second)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		w.pass(5 * time.Minute)
		w.expectKeys(with(w.ksk, w.zsk.ID()), with(w.ksk))
		w.expectPhase(e, lifecycle.Single)
		expectLog(t, w.log, 1, "is leaving")
		expectLog(t, w.log, 1, "has left")
	})
}

// Whoever leaves is kept for as long as a parent that cannot be read may still
// name it.
func TestNobodyLeavesWhileTheParentCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		e, p := w.complete(n)
		n.change(func(n *internet) { n.down = true })
		w.chain.change(true, func(c *chainZone) { c.cns, c.ns = []string{ourNS}, []string{ourNS} })
		w.pass(4 * 24 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		expectLog(t, w.log, 1, "WARNING", "cannot be read")
		n.change(func(n *internet) { n.down, n.ns = false, []string{ourNS} })
		w.pass(2 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		w.pass(26 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID()), with(w.ksk))
		w.expectReady(e, true)
	})
}

func TestAProviderThatIsAwayForADayIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		e, p := w.complete(n)
		w.peers.set(theirNS, verdict(fetch.Unreachable))
		n.change(func(n *internet) { n.hosts[theirNS].silent = true })
		w.pass(24 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		w.expectPhase(e, lifecycle.Joint)
		w.peers.set(theirNS, announces(p.announcement()))
		n.change(func(n *internet) { n.hosts[theirNS].silent = false })
		w.until(e, lifecycle.Complete, 5*time.Hour)
	})
}

func TestCNSRemovedFromASteadyZoneChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		e, p := w.complete(n)
		w.chain.change(true, func(c *chainZone) { c.cns = nil })
		w.pass(48 * time.Hour)
		w.expectPhase(e, lifecycle.Complete)
		// New keys still count: the host was in CNS.
		q := newProvider(t)
		a := p.announcement()
		a.DNSKEY = append(a.DNSKEY, q.zsk)
		w.peers.set(theirNS, announces(a))
		w.pass(2 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk, q.zsk), with(w.ksk, p.ksk))
	})
}

func TestCNSRemovedHalfwayTakesTheNewProviderOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		p := w.join()
		n.serves(theirNS, p)
		e := w.startMinutely()
		w.until(e, lifecycle.Converged, time.Hour)
		w.chain.change(true, func(c *chainZone) { c.cns = nil })
		w.pass(2 * time.Minute)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		w.pass(3 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID()), with(w.ksk))
		w.expectPhase(e, lifecycle.Single)
	})
}

// Two providers see different CNS for a while: what another of them still wants, or
// wants again, is not forgotten here.
func TestAProviderThatAnotherStillWantsKeepsItsKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const third = "ns1.example.com."
		w := newWorld(t)
		n := w.online()
		p, q := w.join(), newProvider(t)
		w.peers.set(third, announces(q.announcement()))
		n.serves(theirNS, p, q)
		h := n.serves(third, q, p)
		everybody := []string{ourNS, theirNS, third}
		h.cns = everybody
		w.chain.change(true, func(c *chainZone) { c.cns = everybody })
		e := w.startMinutely()
		w.until(e, lifecycle.Converged, time.Hour)
		w.chain.change(true, func(c *chainZone) { c.cns = []string{ourNS, third} })
		w.pass(30 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk, q.zsk), with(w.ksk, p.ksk, q.ksk))
		expectLog(t, w.log, 1, theirNS+" is no nameserver that the owner wants any more, but its keys stay as long as CNS at "+third+" names it")
		n.change(func(*internet) { h.cns = []string{ourNS, third} })
		w.pass(3 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), q.zsk), with(w.ksk, q.ksk))
	})
}

func TestCNSThatFlapsTakesNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		p := w.join()
		n.serves(theirNS, p)
		e := w.start()
		w.until(e, lifecycle.Converged, time.Hour)
		for range 20 {
			w.chain.change(true, func(c *chainZone) { c.cns = nil })
			w.pass(20 * time.Second)
			w.chain.change(true, func(c *chainZone) { c.cns = []string{ourNS, theirNS} })
			w.pass(20 * time.Second)
			w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		}
	})
}

// The owner moves the zone from another provider to us by one change of CNS. Our
// zone names only the other in NS, and nobody ever named it in a CNS to us.
func TestMigrationToUsByOneChangeOfCNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		p := newProvider(t)
		n.alone(theirNS, p)
		w.peers.set(theirNS, announces(p.announcement()))
		n.change(func(n *internet) { n.ds = digestsOf(p.ksk) })
		w.chain.change(true, func(c *chainZone) { c.cns = []string{ourNS} })
		n.delegate(theirNS)
		e := w.startMinutely()
		w.pass(2 * time.Minute)
		seeded := with(w.ksk, w.zsk.ID(), p.zsk)
		w.expectKeys(seeded, with(w.ksk, p.ksk))
		expectLog(t, w.log, 1, "taken from the zone itself")

		n.serves(theirNS, p)
		w.until(e, lifecycle.Converged, 2*time.Hour)
		if r := w.report(e); r.MayAdd || !slices.Equal(r.NS, []string{theirNS}) {
			t.Errorf("Expected a swap to wait like an addition, got %+v", r)
		}
		n.change(func(n *internet) { n.ds = digestsOf(w.ksk.ID(), p.ksk) })
		w.until(e, lifecycle.Synced, 5*time.Hour)
		if r := w.report(e); !slices.Equal(r.NS, []string{ourNS}) {
			t.Errorf("Expected NS to be allowed to be ours, got %+v", r)
		}
		expectLog(t, w.log, 1, "is ds-synced", "those in NS know: ask one of them, too") // not we
		n.delegate(ourNS)
		w.until(e, lifecycle.Complete, 3*time.Hour)
		w.expectKeys(seeded, with(w.ksk, p.ksk))
		w.pass(60 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID()), with(w.ksk))
		w.expectPhase(e, lifecycle.Single)
	})
}

// Between two readings the parent may take a key out of DS that was not in CDS for a
// while, and put it in again; a resolver's cache may hide that for longer.
func TestAKeyThatReturnsToCDSWaitsUntilTheParentWasAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		e, p := w.complete(n)
		n.change(func(n *internet) { n.down = true })
		less := p.announcement()
		less.CDNSKEY, less.CDS = nil, nil
		w.peers.set(theirNS, announces(less))
		w.pass(time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk))
		w.peers.set(theirNS, announces(p.announcement()))
		w.pass(time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		const text = "the parent's DS has not been read since a key came into CDS"
		if r := w.report(e); !strings.Contains(r.String(), text) {
			t.Errorf("Expected it to wait for the parent, got %s", r)
		}
		n.change(func(n *internet) { n.down, n.dsAge = false, 3*time.Hour })
		w.pass(time.Hour)
		if r := w.report(e); !strings.Contains(r.String(), text) {
			t.Errorf("Expected it to wait for the parent, not for a cache, got %s", r)
		}
		n.change(func(n *internet) { n.dsAge = 0 })
		w.until(e, lifecycle.Complete, 3*time.Hour)
	})
}

// A key that is everywhere may come to sign data at any time, at a provider that does
// not know yet that a newcomer is to have it.
func TestANewcomerNeedsTheKeysThatDoNotSignYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		p, q := w.join(), newProvider(t)
		next := newPublic(t, 256)
		rolling := p.announcement()
		rolling.DNSKEY = append(rolling.DNSKEY, next)
		w.peers.set(theirNS, announces(rolling))
		w.peers.set(theirNS2, announces(q.announcement()))
		n.serves(theirNS, p, q)
		n.serves(theirNS2, q, p)
		n.change(func(n *internet) { n.ds = digestsOf(w.ksk.ID(), p.ksk, q.ksk) })
		w.chain.change(true, func(c *chainZone) { c.ns, c.cns = []string{ourNS, theirNS}, []string{ourNS, theirNS, theirNS2} })
		n.delegate(ourNS, theirNS)
		e := w.startMinutely()
		w.pass(5 * time.Hour)
		if r := w.report(e); r.Phase != lifecycle.Joint || len(r.Waits) != 1 || !strings.HasPrefix(r.Waits[0], theirNS2+": its DNSKEY lacks key") {
			t.Errorf("Expected it to wait for the newcomer alone, got %s", r)
		}
		n.change(func(n *internet) {
			h := n.hosts[theirNS2]
			h.dnskey = append(h.dnskey, next)
		})
		w.until(e, lifecycle.Synced, 5*time.Hour)
	})
}

// An announcement may come from a resolver's cache, from before the zone was seeded.
func TestASeedStaysUntilNoCacheIsOlder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		p := newProvider(t)
		w.peers.set(theirNS, verdict(fetch.Unreachable))
		w.peers.set(theirNS2, verdict(fetch.Unreachable)) // whoever never was there holds nothing up
		rolled := newPublic(t, 256)
		n.serves(theirNS, p)
		n.change(func(n *internet) {
			n.ds = digestsOf(p.ksk)
			h := n.hosts[theirNS]
			h.dnskey = append(h.dnskey, rolled)
		})
		w.chain.change(true, func(c *chainZone) { c.ns, c.cns = []string{theirNS}, []string{ourNS, theirNS, theirNS2} })
		n.delegate(theirNS)
		w.startMinutely()
		w.pass(2 * time.Minute)
		w.peers.set(theirNS, announces(p.announcement()))
		w.pass(30 * time.Minute)
		w.peers.set(theirNS, verdict(fetch.Unreachable))
		w.pass(60 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk, rolled), with(w.ksk, p.ksk))
		w.peers.set(theirNS, announces(p.announcement()))
		w.pass(60 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
	})
}

// What a zone was seeded with may be a key of a provider that was heard before it had
// the key: being heard of once does not account for it.
func TestASeedStaysUntilEverybodyWasHeardAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		p, q := newProvider(t), newProvider(t)
		w.peers.set(theirNS, verdict(fetch.Unreachable))
		w.peers.set(theirNS2, announces(q.announcement()))
		rolled := newPublic(t, 256)
		n.serves(theirNS, p, q)
		n.change(func(n *internet) {
			n.ds = digestsOf(p.ksk, q.ksk)
			h := n.hosts[theirNS]
			h.dnskey = append(h.dnskey, rolled)
		})
		w.chain.change(true, func(c *chainZone) { c.ns, c.cns = []string{theirNS}, []string{ourNS, theirNS, theirNS2} })
		n.delegate(theirNS)
		w.startMinutely()
		w.peers.set(theirNS2, verdict(fetch.Unreachable))
		w.pass(2 * time.Minute)
		all := with(w.ksk, w.zsk.ID(), p.zsk, q.zsk, rolled)
		w.expectKeys(all, with(w.ksk, p.ksk, q.ksk))
		w.peers.set(theirNS, announces(p.announcement()))
		w.pass(60 * time.Hour)
		w.expectKeys(all, with(w.ksk, p.ksk, q.ksk))
		w.peers.set(theirNS2, announces(q.announcement()))
		w.pass(60 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk, q.zsk), with(w.ksk, p.ksk, q.ksk))
	})
}

// A seeded key may be one that its holder takes up again while it is not heard, whether it
// tells its keys by an announcement or by what it serves.
func TestASeedStaysOverASilenceOfItsHolder(t *testing.T) {
	for _, announcing := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			n := w.online()
			p, old := newProvider(t), newPublic(t, 256)
			theirs := []merge.Key{p.zsk}
			if !announcing {
				p, theirs = provider{w.ksk.ID(), w.zsk.ID()}, nil // a plain secondary of ours
			}
			h := n.serves(theirNS, p)
			n.change(func(n *internet) {
				n.ds = digestsOf(w.ksk.ID(), p.ksk)
				h.dnskey = append(h.dnskey, old)
			})
			w.peers.set(theirNS, verdict(fetch.Unreachable))
			n.delegate(ourNS, theirNS)
			w.startMinutely()
			speaks := func(speaks bool) {
				n.change(func(*internet) { h.silent = !speaks })
				if speaks && announcing {
					w.peers.set(theirNS, announces(p.announcement()))
				} else {
					w.peers.set(theirNS, verdict(fetch.Unreachable))
				}
			}
			speaks(true)
			w.pass(3 * time.Hour)
			speaks(false)
			w.pass(40 * time.Hour)
			w.expectKeysOnly(append(slices.Clip(theirs), old)...)
			speaks(true)
			w.pass(24 * time.Hour) // its wait is for max_zone_ttl, a day, and the TTL of an hour
			w.expectKeysOnly(append(slices.Clip(theirs), old)...)
			w.pass(5 * time.Hour)
			w.expectKeysOnly(theirs...)
		})
	}
}

// And from us to another.
func TestMigrationAwayByOneChangeOfCNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		p := newProvider(t)
		n.serves(theirNS, p)
		w.peers.set(theirNS, announces(p.announcement()))
		e := w.startMinutely()
		w.chain.change(true, func(c *chainZone) { c.cns = []string{theirNS} })
		n.change(func(n *internet) { n.ds = digestsOf(w.ksk.ID(), p.ksk) })
		w.until(e, lifecycle.Synced, 5*time.Hour)
		n.delegate(theirNS)
		w.until(e, lifecycle.Left, 3*time.Hour)
		r := w.report(e)
		if hold := time.Until(r.DeleteFrom); hold < 24*time.Hour || hold > 26*time.Hour {
			t.Errorf("Expected the zone to be needed for an hour and max_zone_ttl, got %v", hold)
		}
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		expectLog(t, w.log, 1, "is left", "may be deleted here from")
	})
}

// A host in NS that no CNS ever named: only keys that the zone's apex holds, too.
func TestASquatterAtALameNameserverGetsNoKeyIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		e, p := w.complete(n)
		squatter := newProvider(t)
		copied := p.announcement()
		copied.DNSKEY = append(copied.DNSKEY, squatter.zsk)
		copied.CDNSKEY = append(copied.CDNSKEY, squatter.ksk)
		copied.CDS = digestsOf(copied.CDNSKEY...)
		w.peers.set(theirNS2, announces(copied))
		// It serves the zone's RRsets, which it can copy, and signs its own data.
		n.serves(theirNS2, p)
		n.change(func(n *internet) { n.hosts[theirNS2].data = []merge.Key{squatter.zsk} })
		n.delegate(ourNS, theirNS, theirNS2)
		w.chain.change(true, func(c *chainZone) { c.cns = nil })
		w.pass(24 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		// And neither with sets that it signs itself.
		n.change(func(n *internet) {
			h := n.hosts[theirNS2]
			h.dnskey, h.cdnskey = append(h.dnskey, squatter.ksk, squatter.zsk), append(h.cdnskey, squatter.ksk)
			h.signers = []merge.Key{squatter.ksk}
		})
		w.pass(24 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		w.expectPhase(e, lifecycle.Joint)
	})
}

func TestANameInTheUnsignedReferralBringsNoKeyIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		attacker := newProvider(t)
		w.peers.set(theirNS, announces(attacker.announcement()))
		n.serves(theirNS, attacker)
		e := w.startMinutely()
		n.change(func(n *internet) { n.ns = []string{ourNS, theirNS} })
		w.pass(24 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID()), with(w.ksk))
		if r := w.report(e); r.MayAdd {
			t.Errorf("Expected NS not to gain hosts while the parent names one that signs for itself, got %s", r)
		}
	})
}

func TestAColdStartIsSeededFromTheZoneItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		p := newProvider(t)
		n.serves(theirNS, p)
		n.change(func(n *internet) { n.ds = digestsOf(w.ksk.ID(), p.ksk) })
		w.peers.set(theirNS, verdict(fetch.Unreachable))
		n.delegate(ourNS, theirNS)
		e := w.startOnly()
		w.expectFailing()
		w.pass(10 * time.Second)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		w.expectReady(e, true)
		w.pass(150 * time.Minute) // nobody has told anything since
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))

		// What was served is stored: the next start is not cold.
		c := w.crash()
		c.zone.Outside = nil
		c.startOnly().Stop()
		c.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))

		// Once the host has told its keys, others that were seeded go.
		old := newProvider(t)
		n.change(func(n *internet) { n.hosts[theirNS].dnskey = append(n.hosts[theirNS].dnskey, old.zsk) })
		e.Stop()
		w = w.afresh(n)
		w.startMinutely()
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk, old.zsk), with(w.ksk, p.ksk))
		w.peers.set(theirNS, announces(p.announcement()))
		w.pass(3 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk, old.zsk), with(w.ksk, p.ksk))
		w.pass(26 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
	})
}

// Keys of a seed belong to no host. One that leaves without having told its keys has
// them kept like any other's.
func TestASeedOutlivesTheHoldDownOfItsHolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		p := newProvider(t)
		n.serves(theirNS, p)
		n.change(func(n *internet) { n.ds = digestsOf(w.ksk.ID(), p.ksk) })
		w.peers.set(theirNS, verdict(fetch.Unreachable))
		n.delegate(ourNS, theirNS)
		n.change(func(n *internet) { n.hosts[theirNS].dnskey = append(n.hosts[theirNS].dnskey, newProvider(t).zsk) })
		w.startMinutely()
		w.pass(5 * time.Minute)
		seeded := len(w.apex().DNSKEY.RRset.RRs())
		n.change(func(n *internet) { n.hosts[theirNS].signers = []merge.Key{newProvider(t).ksk} })
		w.pass(2 * time.Hour)
		n.delegate(ourNS)
		// An hour of NS and the day of max_zone_ttl, from the reading that lacks it.
		w.pass(25 * time.Hour)
		if now := len(w.apex().CDNSKEY.RRset.RRs()); now != 2 || len(w.apex().DNSKEY.RRset.RRs()) != seeded {
			t.Errorf("Expected %d keys to be kept, and 2 in CDS, got %d and %d", seeded, len(w.apex().DNSKEY.RRset.RRs()), now)
		}
		w.pass(29 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID()), with(w.ksk))
	})
}

// Nor does one go that a nameserver which is behind still sends resolvers to.
func TestASeedStaysWhileANameserverNamesItsHolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const third = "ns1.example.com."
		w := newWorld(t)
		n := w.online()
		p, q := newProvider(t), newProvider(t)
		n.serves(theirNS, p, q)
		h := n.serves(third, q, p)
		h.ns = []string{ourNS, theirNS, third}
		n.change(func(n *internet) { n.ds = digestsOf(w.ksk.ID(), p.ksk, q.ksk) })
		w.peers.set(theirNS, verdict(fetch.Unreachable))
		w.peers.set(third, announces(q.announcement()))
		n.delegate(ourNS, theirNS, third)
		w.startMinutely()
		w.pass(5 * time.Minute)
		all := with(w.ksk, w.zsk.ID(), p.zsk, q.zsk)
		w.expectKeys(all, with(w.ksk, p.ksk, q.ksk))
		w.chain.change(true, func(c *chainZone) { c.cns = []string{ourNS, third} })
		n.change(func(n *internet) { n.hosts[theirNS].silent = true })
		n.delegate(ourNS, third)
		w.pass(40 * time.Hour)
		w.expectKeys(all, with(w.ksk, p.ksk, q.ksk))
		n.change(func(*internet) { h.ns = []string{ourNS, third} })
		w.pass(60 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), q.zsk), with(w.ksk, q.ksk))
	})
}

func TestAColdStartWithoutDSServesWhatThereIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		n.change(func(n *internet) { n.absent = true })
		w.peers.set(theirNS, verdict(fetch.Unreachable))
		n.delegate(ourNS, theirNS)
		e := w.startOnly()
		w.pass(time.Minute)
		w.expectKeys(with(w.ksk, w.zsk.ID()), with(w.ksk))
		w.expectPhase(e, lifecycle.Insecure)
	})
}

// A nameserver that announces nothing, but serves what we do: a secondary.
func TestAHostThatServesTheJointSetsNeedNotAnnounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		w.peers.set(theirNS, verdict(fetch.Absent))
		n.change(func(n *internet) {
			n.hosts[theirNS] = &hosted{dnskey: with(w.ksk, w.zsk.ID()), cdnskey: with(w.ksk), signers: with(w.ksk), data: with(w.zsk)}
		})
		n.delegate(ourNS, theirNS)
		e := w.startMinutely()
		w.pass(time.Minute)
		w.expectKeys(with(w.ksk, w.zsk.ID()), with(w.ksk))
		w.until(e, lifecycle.Complete, 5*time.Hour)
		before := w.log.count(" is co")
		e.Stop()
		e = w.startMinutely()
		w.expectPhase(e, lifecycle.Complete)
		w.pass(2 * time.Hour)
		if more := w.log.count(" is co") - before; more != 0 {
			t.Errorf("Expected nothing to be said of the phase after a restart, got %d lines", more)
		}
		n.change(func(n *internet) { n.hosts[theirNS].cdnskey = []merge.Key{newPublic(t, 257)} })
		w.pass(2 * time.Hour)
		w.expectPhase(e, lifecycle.Collecting)
	})
}
