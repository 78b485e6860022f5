package refresh

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
)

const (
	day  = 24 * time.Hour
	week = 7 * day
)

func TestNothingButASecureAnnouncementChangesTheJointSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.startSlow()
		p := w.join()
		w.pass(time.Hour)
		for _, v := range []fetch.Verdict{fetch.Absent, fetch.Insecure, fetch.Bogus, fetch.Unreachable, fetch.Refused, fetch.Stale, fetch.Indeterminate} {
			w.peers.set(theirNS, verdict(v))
			w.pass(3 * day)
			w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
			w.expectReady(e, true) // somebody else's failure
			expectLog(t, w.log, 1, theirNS+" is "+v.String(), "its keys stay")
			if s := e.Status(); s.Stale != 1 {
				t.Errorf("Expected one stale announcement, got %d", s.Stale)
			}
		}
		w.peers.set(theirNS, announces(p.announcement()))
		w.pass(3 * day)
		expectLog(t, w.log, 1, "INFO", theirNS+" is secure now")
	})
}

// Who has never announced is no alarm, who has and denies it is one.
func TestPeerThatDeniesWhatItAnnouncedIsAnAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.join()
		w.peers.set(theirNS2, verdict(fetch.Absent))
		w.chain.change(true, func(c *chainZone) { c.cns = []string{ourNS, theirNS, theirNS2} })
		w.start()
		w.peers.set(theirNS, verdict(fetch.Absent))
		w.pass(2 * time.Hour)
		expectLog(t, w.log, 1, "ERROR", theirNS, "is absent")
		expectLog(t, w.log, 0, "ERROR", theirNS2)
	})
}

func TestOtherReasonForARefusalIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.join()
		for _, why := range []string{"ten keys", "a zone cut"} {
			w.peers.set(theirNS, func() fetch.Result { return fetch.Result{Verdict: fetch.Refused, Reason: why, At: time.Now()} })
			w.pass(3 * time.Hour)
			expectLog(t, w.log, 1, theirNS+" is refused: "+why)
		}
	})
}

func TestWhatElseWasTriedIsSaidWithTheReasonAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.join()
		n := 0
		w.peers.set(theirNS, func() fetch.Result {
			n++
			return fetch.Result{Verdict: fetch.Refused, Reason: "a zone cut", Tried: fmt.Sprintf("way %d", n), At: time.Now()}
		})
		w.pass(3 * time.Hour)
		if n < 3 {
			t.Errorf("Expected several collections, got %d", n)
		}
		expectLog(t, w.log, 1, theirNS+" is refused: a zone cut")
		expectLog(t, w.log, 1, "a zone cut; other ways were no better: way 1; nothing is known")
	})
}

// Two keys of a tag fail some validators, also if one of them is on its way out.
func TestNewKeyWithTheTagOfOneOnItsWayOutIsRefused(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		ns      []string
		refused bool
	}{
		"not yet in NS": {nil, true},
		"in NS":         {[]string{theirNS}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			e := w.engine()
			e.loop.now = now
			z := e.zones[0]
			z.log = w.log
			p := newProvider(t)
			twin := twinOf(t, p.zsk)
			z.open().local = merge.Local{DNSKEY: []merge.Key{w.zsk.ID()}, SecureEntry: []merge.Key{w.ksk.ID()}}
			z.open().facts.state.Target, z.open().facts.state.NS = []string{ourNS, theirNS}, tt.ns
			z.open().facts.state.HasCNS = true
			old := p.announcement()
			old.DNSKEY = []merge.Key{newPublic(t, 256)}
			z.open().facts.state.Peers = []merge.Peer{{Host: theirNS, Announcement: old, Collected: now, Retiring: []merge.Retiring{{Key: p.zsk, Since: now, Until: now.Add(day)}}}}
			next := p.announcement()
			next.DNSKEY = []merge.Key{twin}
			var collision *merge.CollisionError
			if err := e.accept(z, theirNS, next, e.loop.now); errors.As(err, &collision) != tt.refused {
				t.Errorf("Expected a key that is refused: %v, got %v", tt.refused, err)
			}
			back := p.announcement() // the same key is no other
			z.open().facts.state.Peers[0].Announcement = old
			if err := e.accept(z, theirNS, back, e.loop.now); err != nil {
				t.Errorf("Expected a key that comes back to be accepted, got %v", err)
			}
		})
	}
}

// What the zone was seeded with is in the joint set, whosever it is. The key of the
// seed itself, when its holder tells it, is no other.
func TestNewKeyWithTheTagOfASeededOneIsRefused(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		ns      []string
		seed    func(p provider) lifecycle.Seed
		refused bool
	}{
		"data-signing key":          {nil, func(p provider) lifecycle.Seed { return lifecycle.Seed{DNSKEY: []merge.Key{p.zsk}} }, true},
		"secure-entry key":          {nil, func(p provider) lifecycle.Seed { return lifecycle.Seed{CDNSKEY: []merge.Key{p.ksk}} }, true},
		"data-signing key, in NS":   {[]string{theirNS}, func(p provider) lifecycle.Seed { return lifecycle.Seed{DNSKEY: []merge.Key{p.zsk}} }, false},
		"another data-signing key":  {nil, func(provider) lifecycle.Seed { return lifecycle.Seed{DNSKEY: []merge.Key{newPublic(t, 256)}} }, false},
		"nothing that was not ours": {nil, func(provider) lifecycle.Seed { return lifecycle.Seed{} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			e := w.engine()
			e.loop.now = now
			z := e.zones[0]
			z.log = w.log
			p := newProvider(t)
			z.open().local = merge.Local{DNSKEY: []merge.Key{w.zsk.ID()}, SecureEntry: []merge.Key{w.ksk.ID()}}
			s := &z.open().facts.state
			s.Target, s.NS, s.HasCNS, s.Seed = []string{ourNS, theirNS}, tt.ns, true, tt.seed(p)
			s.Seed.At = now
			twins := provider{twinOf(t, p.ksk), twinOf(t, p.zsk)}
			var collision *merge.CollisionError
			if err := e.accept(z, theirNS, twins.announcement(), e.loop.now); errors.As(err, &collision) != tt.refused {
				t.Errorf("Expected a key that is refused: %v, got %v", tt.refused, err)
			}
			s.Peers = nil
			if err := e.accept(z, theirNS, p.announcement(), e.loop.now); err != nil {
				t.Errorf("Expected the keys of the seed itself to be accepted, got %v", err)
			}
		})
	}
}

// twinOf returns a key with the tag and algorithm of k: the tag is a sum over
// pairs of octets, whatever their order.
func twinOf(t *testing.T, k merge.Key) merge.Key {
	t.Helper()
	octets, err := base64.StdEncoding.DecodeString(k.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	octets[0], octets[1], octets[2], octets[3] = octets[2], octets[3], octets[0], octets[1]
	twin := k
	twin.PublicKey = base64.StdEncoding.EncodeToString(octets)
	if twin == k || twin.Tag() != k.Tag() {
		t.Fatalf("Expected another key with tag %d, got %d", k.Tag(), twin.Tag())
	}
	return twin
}

func TestCNSThatComesAndGoesTakesNothingAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.startSlow()
		p := w.join()
		w.pass(time.Hour)
		for range 3 {
			w.chain.change(true, func(c *chainZone) { c.cns = nil })
			w.pass(3 * day)
			w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
			w.chain.change(true, func(c *chainZone) { c.cns = []string{ourNS, theirNS} })
			w.pass(time.Hour)
			w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		}
		expectLog(t, w.log, 3, "INFO", "no external nameservers any more; the keys of "+theirNS+" stay")
		expectLog(t, w.log, 4, "INFO", "keys are collected from "+theirNS)
	})
}

func TestRetiredKeyLeavesCDSAtOnceAndDNSKEYWhenCachesForgotIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.startSlow()
		p, q := w.join(), newProvider(t)
		w.pass(2 * time.Hour)
		w.peers.set(theirNS, announces(q.announcement()))
		w.pass(time.Hour + time.Minute) // it has been collected by now
		both := with(w.ksk, w.zsk.ID(), p.zsk, q.zsk)
		w.expectKeys(both, with(w.ksk, q.ksk))
		w.pass(w.zone.MaxZoneTTL - time.Hour)
		w.expectKeys(both, with(w.ksk, q.ksk))
		w.pass(4 * time.Hour) // MaxZoneTTL, the TTL of an hour, and the next collection
		w.expectKeys(with(w.ksk, w.zsk.ID(), q.zsk), with(w.ksk, q.ksk))
	})
}

func TestKeyThatReappearsStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.startSlow()
		p := w.join()
		w.pass(2 * time.Hour)
		q := provider{p.ksk, newPublic(t, 256)}
		w.peers.set(theirNS, announces(q.announcement()))
		w.pass(23 * time.Hour)
		back := p.announcement()
		back.DNSKEY = append(back.DNSKEY, q.zsk)
		w.peers.set(theirNS, announces(back))
		w.pass(2 * time.Hour)
		w.peers.set(theirNS, announces(q.announcement()))
		w.pass(23 * time.Hour) // the wait began anew
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk, q.zsk), with(w.ksk, p.ksk))
	})
}

// While it was not heard, a peer may have taken a key up again that all nameservers
// still had, and dropped it just before it is heard. What a schedule and a restart
// bring is no silence.
func TestRetiredKeyStaysOverASilence(t *testing.T) {
	for name, tt := range map[string]struct {
		silence time.Duration
		down    bool // we were
		anew    bool // its wait begins anew
	}{
		"a resolver that is broken": {30 * time.Hour, false, true},
		"a server that was down":    {30 * time.Hour, true, true},
		"a failure":                 {30 * time.Minute, false, false},
		"a restart":                 {30 * time.Minute, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				e := w.startSlow()
				p := w.join()
				w.pass(2 * time.Hour)
				began := time.Now()
				q := w.retire(p)
				w.pass(2 * time.Hour)
				if tt.down {
					e.Stop()
				} else {
					w.peers.set(theirNS, verdict(fetch.Unreachable))
				}
				w.pass(tt.silence)
				w.peers.set(theirNS, announces(q.announcement()))
				if tt.anew {
					began = time.Now()
				}
				if tt.down {
					w.startSlow()
				}
				w.pass(time.Until(began.Add(w.zone.MaxZoneTTL)))
				w.expectKeysOnly(p.zsk, q.zsk)
				w.pass(4 * time.Hour) // the TTL of an hour, and collections
				w.expectKeysOnly(q.zsk)
			})
		})
	}
}

func TestCollectionFollowsTheTTLWithinItsBounds(t *testing.T) {
	for _, tc := range []struct{ ttl, least, most time.Duration }{
		{time.Second, time.Minute, time.Minute + time.Second},
		{10 * time.Minute, 9 * time.Minute, 10*time.Minute + time.Second},
		{week, 54 * time.Minute, time.Hour + time.Second},
	} {
		t.Run(fmt.Sprint(tc.ttl), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.startSlow()
				p := w.join()
				a := p.announcement()
				a.TTL = tc.ttl
				w.peers.set(theirNS, announces(a))
				w.pass(5 * time.Hour)
				expectGaps(t, w.peers.times(theirNS), tc.least, tc.most)
			})
		})
	}
}

func expectGaps(t *testing.T, times []time.Time, least, most time.Duration) {
	t.Helper()
	if len(times) < 3 {
		t.Fatalf("Expected several collections, got %v", times)
	}
	for i := range times[1:] {
		if gap := times[i+1].Sub(times[i]); gap < least || gap > most {
			t.Errorf("Expected %v to %v between collections, got %v", least, most, gap)
		}
	}
}

func TestFailuresAreRetriedLessAndLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.startSlow()
		w.join()
		w.peers.set(theirNS, verdict(fetch.Bogus))
		w.pass(12 * time.Hour)
		times := w.peers.times(theirNS)
		expectGaps(t, times, time.Minute, time.Hour+time.Second)
		if first := times[1].Sub(times[0]); first > 2*time.Minute {
			t.Errorf("Expected the first retry soon, got one after %v", first)
		}
		if last := times[len(times)-1].Sub(times[len(times)-2]); last < 50*time.Minute {
			t.Errorf("Expected the last retries an hour apart, got %v", last)
		}
	})
}

func TestHostIsNeverAskedTwiceWithinTheLeastTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		p := w.join()
		for i := range 120 { // CNS changes every second, and is gone every other
			w.chain.change(true, func(c *chainZone) {
				c.cns = []string{ourNS, theirNS, theirNS2}[:2+i%2]
				if i%4 == 3 {
					c.cns = nil
				}
			})
			w.pass(time.Second)
		}
		w.peers.set(theirNS2, announces(p.announcement()))
		for _, host := range []string{theirNS, theirNS2} {
			expectGaps(t, append(w.peers.times(host), time.Now().Add(time.Hour)), time.Minute, 2*time.Hour)
		}
	})
}

func TestRestartDoesNotAskAgainTooSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.join()
		w.pass(2 * time.Second)
		n := w.crash()
		n.chain.down = nil
		n.startOnly()
		n.pass(30 * time.Second)
		if asked := n.peers.times(theirNS); len(asked) != 0 {
			t.Errorf("Expected no collection within a minute of the last, got %v", asked)
		}
		n.pass(time.Minute)
		if asked := n.peers.times(theirNS); len(asked) == 0 {
			t.Error("Expected a collection after that")
		}
	})
}

func TestNewCNSStartsACollectionAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.join()
		w.pass(10 * time.Minute) // the next collection would be in 50 minutes
		before := len(w.peers.times(theirNS))
		w.chain.change(true, func(c *chainZone) { c.cns = []string{ourNS, theirNS, theirNS2} })
		w.pass(2 * time.Second)
		if after := len(w.peers.times(theirNS)); after != before+1 {
			t.Errorf("Expected one more collection, got %d", after-before)
		}
		if len(w.peers.times(theirNS2)) != 1 {
			t.Error("Expected the new host to be asked")
		}
	})
}

func TestCNSOptionOverridesTheZone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.zone.CNS = []string{ourNS, theirNS2}
		w.chain.change(true, func(c *chainZone) { c.cns = []string{ourNS, theirNS} })
		w.start()
		if len(w.peers.times(theirNS)) != 0 || len(w.peers.times(theirNS2)) == 0 {
			t.Error("Expected the host of the option to be asked, and only that")
		}
	})
}

func TestNoCollectionFromOwnInDomainOrUnnamedHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		const inDomain, unnamed = "ns1." + zoneName, "ns1.example.com."
		w.chain.change(true, func(c *chainZone) {
			c.cns = []string{ourNS, inDomain}
			c.ns = []string{ourNS, unnamed}
		})
		w.start()
		w.pass(time.Hour)
		for _, host := range []string{ourNS, inDomain, unnamed} {
			if asked := w.peers.times(host); len(asked) != 0 {
				t.Errorf("Expected %s not to be asked, got %v", host, asked)
			}
		}
		expectLog(t, w.log, 1, "WARNING", "no keys can be collected from "+inDomain)
	})
}

func TestUnlikeAlgorithmIsRefusedUntilTheZoneIsDelegated(t *testing.T) {
	foreign := merge.Key{Flags: 256, Protocol: 3, Algorithm: 15, PublicKey: "l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4="}
	entry := foreign
	entry.Flags = 257
	p := provider{ksk: entry, zsk: foreign}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.startSlow()
		w.join()
		w.peers.set(theirNS, announces(p.announcement()))
		w.pass(time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID()), with(w.ksk))
		expectLog(t, w.log, 1, theirNS+" is refused", "algorithm")
		w.expectReady(e, true)

		w.chain.change(true, func(c *chainZone) { c.ns = []string{ourNS, theirNS} })
		w.pass(3 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		expectLog(t, w.log, 1, "ERROR", "algorithm")
	})
}

// Resolvers ask a host that only the parent names, too. But nobody signs that: it counts
// for keys alone that the zone's apex there holds, as DS vouches for.
func TestUnlikeAlgorithmOfAHostThatOnlyTheParentNames(t *testing.T) {
	foreign := merge.Key{Flags: 256, Protocol: 3, Algorithm: 15, PublicKey: "l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4="}
	for name, tt := range map[string]struct {
		edit   func(n *internet, p provider)
		served bool
	}{
		"in the apex, vouched for":       {func(*internet, provider) {}, true},
		"not named by the parent":        {func(n *internet, _ provider) { n.ns = []string{ourNS} }, false},
		"not in the apex":                {func(n *internet, p provider) { n.hosts[theirNS].dnskey = []merge.Key{p.ksk, p.zsk, n.w.zsk.ID()} }, false},
		"in the apex that it signs only": {func(n *internet, _ provider) { n.ds = digestsOf(n.w.ksk.ID()) }, false},
		"silent":                         {func(n *internet, _ provider) { n.hosts[theirNS].silent = true }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				n := w.online()
				w.startMinutely()
				p := w.join()
				n.serves(theirNS, p)
				n.holds(foreign)
				n.change(func(n *internet) {
					n.ns, n.ds = []string{ourNS, theirNS}, digestsOf(w.ksk.ID(), p.ksk)
					tt.edit(n, p)
				})
				w.pass(3 * time.Hour)
				a := p.announcement()
				a.DNSKEY = append(a.DNSKEY, foreign)
				w.peers.set(theirNS, announces(a))
				w.pass(3 * time.Hour)
				want := with(w.ksk, w.zsk.ID(), p.zsk)
				if tt.served {
					want = append(want, foreign)
					expectLog(t, w.log, 1, "ERROR", "algorithm")
				} else {
					expectLog(t, w.log, 1, theirNS+" is refused", "algorithm")
				}
				w.expectKeys(want, with(w.ksk, p.ksk))
			})
		})
	}
}

func TestLaxAdmitsUnlikeAlgorithms(t *testing.T) {
	foreign := merge.Key{Flags: 257, Protocol: 3, Algorithm: 15, PublicKey: "l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4="}
	p := provider{ksk: foreign, zsk: foreign}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.zone.Lax = true
		w.start()
		w.join()
		w.peers.set(theirNS, announces(p.announcement()))
		w.pass(time.Minute)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
	})
}

func TestPeerThatAnnouncesOurKeysIsPointedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.startSlow()
		w.join()
		w.peers.set(theirNS, announces(provider{w.ksk.ID(), w.zsk.ID()}.announcement()))
		w.pass(5 * time.Hour)
		expectLog(t, w.log, 1, "WARNING", theirNS, "is it yours?")
	})
}

func TestPeerCannotFillTheSetWithRetiringKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.startSlow()
		p := w.join()
		a := p.announcement()
		a.TTL = time.Minute
		w.peers.set(theirNS, func() fetch.Result { // new keys each time
			a.DNSKEY = nil
			for range 8 {
				a.DNSKEY = append(a.DNSKEY, newPublic(t, 256))
			}
			return announces(a)()
		})
		w.pass(12 * time.Hour)
		if n := len(w.apex().DNSKEY.RRset.RRs()); n > 40 {
			t.Errorf("Expected a bounded DNSKEY RRset, got %d keys", n)
		}
		expectLog(t, w.log, 1, "is refused", "too fast")
	})
}

func TestJointSetAlwaysFitsAMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.zone.Lax = true
		e := w.start()
		r := rand.New(rand.NewPCG(1, 1)) // keys without two equal tags
		var hosts []string
		for i := range 20 { // providers that conspire, with the largest keys there are
			a := newProvider(t).announcement()
			for range 8 {
				octets := make([]byte, 3+1+512)
				for i := range octets {
					octets[i] = byte(r.Uint32())
				}
				a.DNSKEY = append(a.DNSKEY, merge.Key{Flags: 256, Protocol: 3, Algorithm: dns.RSASHA256, PublicKey: base64.StdEncoding.EncodeToString(octets)})
			}
			hosts = append(hosts, fmt.Sprintf("ns%02d.example.org.", i))
			w.peers.set(hosts[i], announces(a))
		}
		w.chain.change(true, func(c *chainZone) { c.cns = append([]string{ourNS}, hosts...) })
		w.pass(time.Minute)
		q := new(dns.Msg).SetQuestion(zoneName, dns.TypeDNSKEY)
		q.SetEdns0(dns.MaxMsgSize, true)
		m, _ := w.apex().Reply(q)
		if wire, err := m.Pack(); err != nil || len(wire) > dns.MaxMsgSize*3/4 || len(m.Answer) < 8 {
			t.Errorf("Expected a message that fits, got %d octets, %v", len(wire), err)
		}
		if w.log.count("is refused", "octets") == 0 {
			t.Error("Expected the excess in the log")
		}
		w.expectReady(e, true)
	})
}

// The keys that it was seeded with are in it.
func TestJointSetFitsAMessageWithASeed(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.loop.now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	z := e.zones[0]
	z.log = w.log
	z.open().local = merge.Local{DNSKEY: []merge.Key{w.zsk.ID()}, SecureEntry: []merge.Key{w.ksk.ID()}}
	s := &z.open().facts.state
	s.Target, s.HasCNS = []string{ourNS, theirNS}, true
	for i := range lifecycle.MaxSeeds {
		octets := append([]byte{3, 1, 0, 1}, make([]byte, 512)...)
		octets[10] = byte(i)
		s.Seed.DNSKEY = append(s.Seed.DNSKEY, merge.Key{Flags: 256, Protocol: 3, Algorithm: dns.RSASHA256, PublicKey: base64.StdEncoding.EncodeToString(octets)})
	}
	if err := e.accept(z, theirNS, newProvider(t).announcement(), e.loop.now); err == nil || !strings.Contains(err.Error(), "octets") {
		t.Errorf("Expected no more keys beside %d seeded ones, got %v", lifecycle.MaxSeeds, err)
	}
	s.Seed.DNSKEY = s.Seed.DNSKEY[:1]
	if err := e.accept(z, theirNS, newProvider(t).announcement(), e.loop.now); err != nil {
		t.Errorf("Expected keys to be accepted beside a seeded one, got %v", err)
	}
}

func TestOwnerWhoChangesCNSForeverFillsNoMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.start()
		for i := range 50 {
			w.chain.change(true, func(c *chainZone) {
				c.cns = []string{ourNS, fmt.Sprintf("ns%d.%s", i, zoneName), fmt.Sprintf("ns%d.example.org.", i)}
			})
			w.pass(2 * time.Second)
		}
		w.pass(5 * time.Minute)
		e.Stop()
		if n := len(e.zones[0].open().notes) + len(e.zones[0].fetching); n > 10 {
			t.Errorf("Expected what is about former hosts to go, got %d notes and collections", n)
		}
	})
}

func TestNoMoreHostsThanTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.start()
		var hosts []string
		for i := range 40 {
			host := fmt.Sprintf("ns%02d.example.org.", i)
			hosts = append(hosts, host)
			w.peers.set(host, announces(newProvider(t).announcement()))
		}
		w.chain.change(true, func(c *chainZone) { c.cns = append([]string{ourNS}, hosts...) })
		w.pass(time.Minute)
		if n := len(w.apex().DNSKEY.RRset.RRs()); n != 2+32 {
			t.Errorf("Expected the keys of 32 hosts, got %d keys", n)
		}
		if len(w.peers.times(hosts[31])) == 0 || len(w.peers.times(hosts[32])) != 0 {
			t.Error("Expected the first 32 hosts to be asked")
		}
		expectLog(t, w.log, 1, "ERROR", "more external nameservers", hosts[39])
		w.expectReady(e, true)
	})
}
