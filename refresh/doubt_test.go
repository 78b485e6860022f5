package refresh

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
)

// unnamed makes the zone one of two providers, the other of which no CNS ever named:
// only those of its keys count that the zone's apex there holds (rule D2).
func (w *world) unnamed() (*Engine, *internet, provider, merge.Announcement) {
	w.t.Helper()
	n := w.online()
	p := newProvider(w.t)
	n.serves(theirNS, p)
	n.change(func(n *internet) { n.ds = digestsOf(w.ksk.ID(), p.ksk) })
	a := p.announcement()
	a.TTL = 10 * time.Minute
	w.peers.set(theirNS, announces(a))
	n.delegate(ourNS, theirNS)
	e := w.startMinutely()
	w.pass(50*time.Hour + 7*time.Minute)
	w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
	return e, n, p, a
}

// adds has their nameserver announce k, too.
func (w *world) adds(a merge.Announcement, k merge.Key) merge.Announcement {
	a.DNSKEY = append(slices.Clone(a.DNSKEY), k)
	w.peers.set(theirNS, announces(a))
	return a
}

// holds has their nameserver serve k in the zone's DNSKEY RRset, too.
func (n *internet) holds(k merge.Key) {
	n.change(func(n *internet) {
		h := n.hosts[theirNS]
		h.dnskey = append(slices.Clone(h.dnskey), k)
	})
}

// servedAfter returns how long it takes, of no more than a day, until k is served.
func (w *world) servedAfter(k merge.Key) time.Duration {
	began := time.Now()
	for !slices.Contains(served(w.apex()), k) && time.Since(began) < day {
		w.pass(time.Second)
	}
	return time.Since(began)
}

// lately reports whether their nameserver was asked so short a time ago that it is not
// asked again.
func (w *world) lately(n *internet) bool {
	asked, looks := w.peers.times(theirNS), n.lookTimes()
	return time.Since(asked[len(asked)-1]) <= w.zone.RefreshMin || time.Since(looks[len(looks)-1]) <= w.zone.RefreshMin
}

// lookTimes returns when the nameservers were looked at.
func (n *internet) lookTimes() []time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.looks)
}

// A host that no CNS ever named serves a new key as soon as it announces it.
func TestANewKeyThatCountsByTheApexComesInTime(t *testing.T) {
	for name, tt := range map[string]struct {
		notified bool
		most     time.Duration
	}{
		"by TTL":    {false, 11*time.Minute + time.Second}, // and the least time between two looks
		"by NOTIFY": {true, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				e, n, _, a := w.unnamed()
				for range 5 {
					k := newPublic(t, 256)
					for tt.notified && w.lately(n) {
						w.pass(time.Second)
					}
					n.holds(k)
					a = w.adds(a, k)
					if tt.notified {
						e.Notified(zoneName)
					}
					if took := w.servedAfter(k); took > tt.most {
						t.Errorf("Expected a new key to be served within %v, took %v", tt.most, took)
					}
					w.pass(107 * time.Minute)
				}
			})
		})
	}
}

// It may come to serve it a while after that.
func TestAKeyInDoubtIsLookedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, n, p, a := w.unnamed()
		k := newPublic(t, 256)
		w.adds(a, k)
		w.pass(15 * time.Minute)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		n.holds(k)
		if took := w.servedAfter(k); took > 10*time.Minute {
			t.Errorf("Expected a key that comes late to be served in a while, took %v", took)
		}
	})
}

func TestAKeyThatNeverCountsKeepsNoOtherWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, n, _, a := w.unnamed()
		a = w.adds(a, newPublic(t, 256))
		for range 3 {
			w.pass(5*time.Hour + 7*time.Minute)
			k := newPublic(t, 256)
			n.holds(k)
			a = w.adds(a, k)
			if took := w.servedAfter(k); took > 11*time.Minute+time.Second {
				t.Errorf("Expected a key to come as if there were no other, took %v", took)
			}
		}
	})
}

// Nobody has the nameservers looked at without end by what it announces.
func TestKeysThatNeverCountAreLookedForAFewTimes(t *testing.T) {
	for name, tt := range map[string]struct {
		every time.Duration // a new one
		turns int           // in how many announcements one is
		most  int           // looks in six hours, beside those that there are anyway
	}{
		"one":            {day, 1, len(retries) + 1},
		"many":           {time.Minute, 1, 4 * (len(retries) + 1)},
		"many, by turns": {time.Minute, 2, 4 * (len(retries) + 1)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				_, n, p, a := w.unnamed()
				looks := func() int {
					before := len(n.lookTimes())
					w.pass(6 * time.Hour)
					return len(n.lookTimes()) - before
				}
				usual := looks()
				until := time.Now()
				var k merge.Key
				turn := 0
				w.peers.set(theirNS, func() fetch.Result {
					if !time.Now().Before(until) {
						k, until = newPublic(t, 256), time.Now().Add(tt.every)
					}
					more := a
					more.TTL = time.Minute
					if turn++; turn%tt.turns == 0 {
						more.DNSKEY = append(slices.Clone(a.DNSKEY), k)
					}
					return announces(more)()
				})
				if got := looks() - usual; got < 4 || got > tt.most {
					t.Errorf("Expected at most %d looks beside %d, got %d", tt.most, usual, got)
				}
				w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
				times := n.lookTimes()
				for i := range times[1:] {
					if gap := times[i+1].Sub(times[i]); gap < w.zone.RefreshMin {
						t.Fatalf("Expected looks %v apart at least, got %v", w.zone.RefreshMin, gap)
					}
				}
			})
		})
	}
}

// What was announced before the host was seen counts with that, and need not be collected
// again.
func TestAnAnnouncementCountsOnceTheApexIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		p := newProvider(t)
		n.serves(theirNS, p)
		n.change(func(n *internet) { n.ds, n.hosts[theirNS].silent = digestsOf(w.ksk.ID(), p.ksk), true })
		w.peers.set(theirNS, announces(p.announcement()))
		e := w.startMinutely()
		n.delegate(ourNS, theirNS)
		w.pass(20 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID()), with(w.ksk))
		n.change(func(n *internet) { n.hosts[theirNS].silent = false })
		for looks := len(n.lookTimes()); len(n.lookTimes()) == looks; {
			w.pass(time.Second)
		}
		w.pass(time.Second)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		e.Stop()
		if c := e.zones[0].fetching[0]; c.verdict != fetch.Secure || c.fails != 0 {
			t.Errorf("Expected the announcement to have been accepted, got %s after %d failures", c.verdict, c.fails)
		}
	})
}

// What is taken in later was said when it was collected: only that tells for how long
// a key has been gone (rule M2).
func TestWhatCountsLaterIsAsOldAsItIs(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	w := newWorld(t)
	w.zone.Outside = w.online()
	e := w.engine()
	e.loop.now = now
	z := e.zones[0]
	z.log = w.log
	p, old := newProvider(t), newPublic(t, 256)
	z.open().local = merge.Local{DNSKEY: []merge.Key{w.zsk.ID()}, SecureEntry: []merge.Key{w.ksk.ID()}}
	z.open().shown.answer = full
	s := &z.open().facts.state
	s.NS = []string{ourNS, theirNS}
	s.Peers = []merge.Peer{{Host: theirNS, Announcement: p.announcement(), Collected: now.Add(24 * time.Hour), Retiring: []merge.Retiring{{Key: old, Since: now, Until: now.Add(25 * time.Hour)}}}}
	more := p.announcement()
	more.DNSKEY = append(more.DNSKEY, newPublic(t, 256))
	c := &collection{host: theirNS, line: e.loop.fetches.join(place{z.Fetcher, theirNS})}
	z.fetching = []*collection{c}
	vouched := func(a merge.Announcement) {
		z.open().facts.vouched = []voucher{{theirNS, []lifecycle.Vouched{{DNSKEY: a.DNSKEY, CDNSKEY: a.CDNSKEY, CDS: a.CDS}}}}
	}
	vouched(p.announcement())
	e.loop.now = now.Add(25*time.Hour - time.Minute)
	e.loop.clock.state = clockRight
	e.collected(z, c, fetch.Result{Verdict: fetch.Secure, Announcement: more, TTL: time.Hour}, 0)
	if c.doubt == nil || len(c.doubt.left) != 1 || len(s.Peers[0].Announcement.DNSKEY) != 1 {
		t.Fatalf("Expected a key that does not count, got %+v", s.Peers[0])
	}
	e.loop.now = now.Add(26 * time.Hour)
	vouched(more)
	e.recount(z)
	if len(c.doubt.left) > 0 || len(s.Peers[0].Announcement.DNSKEY) != 2 || len(s.Peers[0].Retiring) != 1 {
		t.Errorf("Expected two keys and one on its way out, got %+v", s.Peers[0])
	}

	// And what was vouched for before is not taken away by the same announcement.
	c.doubt = &doubt{found: fetch.Result{Verdict: fetch.Secure, Announcement: more}, at: e.loop.now, left: nil}
	vouched(p.announcement())
	if e.recount(z); len(s.Peers[0].Announcement.DNSKEY) != 2 {
		t.Errorf("Expected both keys to stay, got %+v", s.Peers[0])
	}
}
