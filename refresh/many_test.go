package refresh

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
)

// The zone has many providers, of which each has two nameservers.
func TestThreeAndFiveProvidersJoinAndLeaveTogether(t *testing.T) {
	for _, many := range []int{3, 5} {
		t.Run(fmt.Sprint(many), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				n := w.online()
				all := []string{ourNS}
				dnskey, entries := with(w.ksk, w.zsk.ID()), with(w.ksk)
				var others []provider
				for range many - 1 {
					p := newProvider(t)
					others = append(others, p)
					dnskey, entries = append(dnskey, p.zsk), append(entries, p.ksk)
				}
				for i, p := range others {
					for j := range 2 {
						host := fmt.Sprintf("ns%d.provider-%d.example.org.", j, i)
						all = append(all, host)
						rest := append(append([]provider(nil), others[:i]...), others[i+1:]...)
						n.serves(host, p, rest...)
						w.peers.set(host, announces(p.announcement()))
					}
				}
				n.change(func(n *internet) { n.ds = digestsOf(entries...) })
				w.chain.change(true, func(c *chainZone) { c.cns = all })
				e := w.startMinutely()
				w.until(e, lifecycle.Synced, 5*time.Hour)
				w.expectKeys(dnskey, entries)
				n.delegate(all...)
				w.until(e, lifecycle.Complete, 3*time.Hour)

				// One leaves.
				last := others[len(others)-1]
				stay := all[:len(all)-2]
				w.chain.change(true, func(c *chainZone) { c.cns = stay })
				n.delegate(stay...)
				w.pass(20 * time.Hour)
				w.expectKeys(dnskey, entries)
				w.expectPhase(e, lifecycle.Complete)
				w.pass(10 * time.Hour)
				w.expectKeys(without(dnskey, last.zsk), without(entries, last.ksk))
			})
		})
	}
}

func without(ks []merge.Key, gone merge.Key) []merge.Key {
	var rest []merge.Key
	for _, k := range ks {
		if k != gone {
			rest = append(rest, k)
		}
	}
	return rest
}

// The other provider sees a CNS RRset with a third one before we do, and drops it
// again after us: nobody's NS may change meanwhile, and no key is lost.
func TestProvidersThatSeeDifferentCNSForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		e, p := w.complete(n)
		q := newProvider(t)
		n.serves(theirNS, p, q)
		w.pass(2 * time.Hour)
		w.expectPhase(e, lifecycle.Joint)
		if r := w.report(e); r.MayAdd {
			t.Errorf("Expected NS not to gain hosts while providers serve unlike sets, got %s", r)
		}
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))

		n.serves(theirNS2, q, p)
		w.peers.set(theirNS2, announces(q.announcement()))
		w.chain.change(true, func(c *chainZone) { c.cns = []string{ourNS, theirNS, theirNS2} })
		w.until(e, lifecycle.Converged, 2*time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk, q.zsk), with(w.ksk, p.ksk, q.ksk))
		w.chain.change(true, func(c *chainZone) { c.cns = []string{ourNS, theirNS} })
		w.pass(3 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		w.expectPhase(e, lifecycle.Joint)
		n.serves(theirNS, p)
		w.until(e, lifecycle.Complete, 4*time.Hour)
	})
}

// A provider whose zone still names the leaver in NS sends resolvers there.
func TestAProviderThatIsBehindHoldsTheLeaver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		p, q := newProvider(t), newProvider(t)
		all := []string{ourNS, theirNS, theirNS2}
		n.serves(theirNS, p, q)
		n.serves(theirNS2, q, p)
		w.peers.set(theirNS, announces(p.announcement()))
		w.peers.set(theirNS2, announces(q.announcement()))
		n.change(func(n *internet) { n.ds = digestsOf(w.ksk.ID(), p.ksk, q.ksk) })
		w.chain.change(true, func(c *chainZone) { c.cns = all })
		n.delegate(all...)
		e := w.startMinutely()
		w.until(e, lifecycle.Complete, 5*time.Hour)
		n.change(func(n *internet) { n.hosts[theirNS].ns = all })
		w.chain.change(true, func(c *chainZone) { c.cns = all[:2] })
		n.delegate(all[:2]...)
		w.pass(2 * 24 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk, q.zsk), with(w.ksk, p.ksk, q.ksk))
		n.change(func(n *internet) { n.hosts[theirNS].ns = all[:2] })
		w.pass(24 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk, q.zsk), with(w.ksk, p.ksk, q.ksk))
		w.pass(4 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
	})
}

// DS goes, and with it the reason for every wait.
func TestAZoneWithoutDSIsInsecure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		e, p := w.complete(n)
		n.change(func(n *internet) { n.absent = true })
		w.until(e, lifecycle.Insecure, 4*time.Hour)
		if r := w.report(e); !r.MayAdd || !r.Converged {
			t.Errorf("Expected NS to be free to change, and convergence to be shown, got %+v", r)
		}
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		n.change(func(n *internet) { n.absent = false })
		w.until(e, lifecycle.Complete, 5*time.Hour)
	})
}

// A hold-down is not over because the clock says so: it was set.
func TestAClockThatIsSetEndsNoHoldDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		e, p := w.complete(n)
		e.Stop()
		w.chain.change(true, func(c *chainZone) { c.cns = []string{ourNS} })
		n.delegate(ourNS)
		var ahead atomic.Int64 // nanoseconds
		start := time.Now()
		e = New(w.config())
		e.pollEvery, e.scanEvery = time.Minute, time.Minute
		e.clock = func() (time.Time, time.Duration) {
			return time.Now().Add(time.Duration(ahead.Load())), time.Since(start)
		}
		if err := e.Start(); err != nil {
			t.Fatal(err)
		}
		w.t.Cleanup(e.Stop)
		w.pass(5 * time.Hour)
		if r := w.report(e); len(r.Leaving) != 1 {
			t.Fatalf("Expected %s to be leaving, got %+v", theirNS, r)
		}
		ahead.Store(int64(30 * 24 * time.Hour))
		w.pass(10 * time.Hour)
		w.expectSets(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		w.pass(16 * time.Hour)
		w.expectSets(with(w.ksk, w.zsk.ID()), with(w.ksk))
	})
}
