package refresh

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/serve"
)

func TestColdStartFailsUntilEveryExternalNameserverIsCollected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p, q := w.join(), newProvider(t)
		w.chain.change(true, func(c *chainZone) {
			c.ns = []string{ourNS, theirNS, theirNS2}
			c.cns = c.ns
		})
		w.peers.set(theirNS2, verdict(fetch.Unreachable))
		e := w.start()
		w.expectFailing()
		w.expectReady(e, false)
		w.expectPhase(e, lifecycle.Collecting)
		w.peers.set(theirNS2, announces(q.announcement()))
		w.pass(2 * time.Minute)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk, q.zsk), with(w.ksk, p.ksk, q.ksk))
		w.expectReady(e, true)
	})
}

func TestColdZoneServesDNSKEYAloneAfterFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.join()
		w.peers.set(theirNS, verdict(fetch.Absent)) // an absence is no answer to "which keys"
		w.chain.change(true, func(c *chainZone) { c.ns = []string{ourNS, theirNS} })
		e := w.startOnly()
		w.pass(5*time.Minute - time.Second)
		w.expectFailing()
		w.pass(2 * time.Second)
		expectKeysAlone(t, w.apex())
		w.expectReady(e, false)

		n := w.crash() // the five minutes do not begin anew
		n.chain.down = nil
		n.startOnly()
		n.pass(2 * time.Second)
		expectKeysAlone(t, n.apex())

		p := newProvider(t)
		w.peers.set(theirNS, announces(p.announcement()))
		w.pass(time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		if ttl := w.apex().DNSKEY.RRset.RRs()[0].Header().Ttl; ttl != 3600 {
			t.Errorf("Expected the configured TTL again, got %d", ttl)
		}
		w.expectReady(e, true)
	})
}

func expectKeysAlone(t *testing.T, a *serve.Apex) {
	t.Helper()
	if a.DNSKEY.Answer != serve.Served || a.DNSKEY.RRset.RRs()[0].Header().Ttl != 60 {
		t.Errorf("Expected DNSKEY with a TTL of a minute, got\n%s", text(a))
	}
	if a.CDS.Answer != serve.Failing || a.CDNSKEY.Answer != serve.Failing {
		t.Error("Expected CDS and CDNSKEY to fail")
	}
}

func TestHostsOnlyInCNSNeverMakeAStartCold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.join()
		w.peers.set(theirNS, verdict(fetch.Unreachable))
		e := w.start()
		w.expectKeys(with(w.ksk, w.zsk.ID()), with(w.ksk))
		w.expectReady(e, true)
	})
}

func TestZoneThatWasServedIsNeverColdAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.chain.change(true, func(c *chainZone) { c.ns = []string{ourNS, theirNS} })
		n := w.crash()
		n.chain.down = nil
		n.start()
		n.expectKeys(with(w.ksk, w.zsk.ID()), with(w.ksk))
	})
}

func TestColdZoneSaysWhichHostsCNSLacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.chain.change(true, func(c *chainZone) { c.ns = []string{ourNS, theirNS} })
		w.start()
		w.expectFailing()
		expectLog(t, w.log, 1, "ERROR", "name "+theirNS+" in the zone's CNS")
	})
}

func TestNothingIsServedBeforeTheFirstLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.chain.down = errNotYet
		e := w.startOnly()
		w.expectFailing()
		w.expectReady(e, false)
		w.pass(time.Second) // it may be a matter of moments
		expectLog(t, w.log, 0, "ERROR")
		w.pass(time.Minute)
		expectLog(t, w.log, 1, "ERROR", "could not be read", "not served")
		w.chain.change(true, func(c *chainZone) { c.down = nil })
		w.pass(time.Minute)
		w.expectKeys(with(w.ksk, w.zsk.ID()), with(w.ksk))
		w.expectReady(e, true)
	})
}

// A denial of the key sets would stay in caches for longer than the zone is
// cold, and one of CNS or with a signature that is nobody's is as bad.
func TestColdZoneCorrectsDenialsOnceItIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.chain.down = errNotYet
		w.startOnly()
		w.expectFailing()
		if a := w.apex(); a.HasCNS || len(a.Data) > 0 {
			t.Errorf("Expected nothing to be corrected before the zone is known, got %+v", a)
		}
		w.chain.change(true, func(c *chainZone) {
			c.down, c.ns, c.cns = nil, []string{ourNS, theirNS}, []string{ourNS, theirNS}
		})
		w.peers.set(theirNS, verdict(fetch.Unreachable))
		w.pass(time.Minute)
		w.expectFailing()
		if a := w.apex(); !a.HasCNS || len(a.Data) != 1 || a.Data[0].ID() != w.zsk.ID() {
			t.Errorf("Expected CNS and the zone's signer to be known, got %+v", a)
		}
	})
}
