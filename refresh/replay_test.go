package refresh

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/merge"
)

// counter counts the verdicts stale.
type counter struct{ stale atomic.Int64 }

// Fetched implements the Observer interface.
func (c *counter) Fetched(v fetch.Verdict, _ time.Duration) {
	if v == fetch.Stale {
		c.stale.Add(1)
	}
}

// judging has replayed announcements judged as fetch does, by what is known.
func (w *world) judging() {
	says := w.peers
	w.zone.Fetcher = fetcherFunc(func(ctx context.Context, zone, host string, known merge.Announcement) fetch.Result {
		r := says.Fetch(ctx, zone, host, known)
		if why := known.Replayed(r.Announcement); r.Verdict == fetch.Secure && why != "" {
			return fetch.Result{Verdict: fetch.Stale, Reason: why, At: r.At}
		}
		return r
	})
}

// signedAt returns p's announcement, signed at a time.
func (p provider) signedAt(at time.Time) merge.Announcement {
	a := p.announcement()
	a.Inception = merge.Inceptions{DNSKEY: at, CDNSKEY: at, CDS: at}
	return a
}

func TestReplayedAnnouncementChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.judging()
		seen := new(counter)
		w.observer = seen
		e := w.startSlow()
		p := w.join()
		q := provider{newPublic(t, 257), newPublic(t, 256)}
		before, after := p.signedAt(time.Now().Add(-time.Hour)), q.signedAt(time.Now())
		w.peers.set(theirNS, announces(before))
		w.pass(time.Hour)
		w.peers.set(theirNS, announces(after))
		w.pass(time.Hour + time.Minute)
		both := with(w.ksk, w.zsk.ID(), p.zsk, q.zsk)
		w.expectKeys(both, with(w.ksk, q.ksk))

		w.peers.set(theirNS, announces(before)) // somebody on the path
		w.pass(10 * time.Hour)
		w.expectKeys(both, with(w.ksk, q.ksk))
		if s := e.Status(); s.Stale != 1 || !s.Ready {
			t.Errorf("Expected one stale announcement and nothing else, got %+v", s)
		}
		expectLog(t, w.log, 1, "WARNING", theirNS+" is stale", "was signed at", "its keys stay")

		n := w.crash() // what is known is stored
		n.chain.down = nil
		n.judging()
		n.peers.set(theirNS, announces(before))
		n.observer = seen
		stale := seen.stale.Load()
		n.startSlow()
		n.pass(10 * time.Hour)
		n.expectKeys(both, with(w.ksk, q.ksk))
		if now := seen.stale.Load(); now < stale+8 || stale < 8 {
			t.Errorf("Expected the verdicts to be counted, got %d, then %d", stale, now)
		}

		// The wait of the retired key begins anew after so long, the new one's never began.
		n.peers.set(theirNS, announces(after))
		n.pass(w.zone.MaxZoneTTL)
		n.expectKeys(both, with(w.ksk, q.ksk))
		n.pass(3 * time.Hour)
		n.expectKeys(with(w.ksk, w.zsk.ID(), q.zsk), with(w.ksk, q.ksk))
	})
}

func TestSameContentSignedEarlierIsNoReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.judging()
		e := w.startSlow()
		p := w.join()
		now := time.Now()
		w.peers.set(theirNS, announces(p.signedAt(now)))
		w.pass(time.Hour)
		w.peers.set(theirNS, announces(p.signedAt(now.Add(-day)))) // another of its servers
		w.pass(3 * time.Hour)
		if s := e.Status(); s.Stale != 0 {
			t.Errorf("Expected nothing to be stale, got %d", s.Stale)
		}
		w.peers.set(theirNS, announces(provider{p.ksk, newPublic(t, 256)}.signedAt(now.Add(-time.Hour))))
		w.pass(3 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		if s := e.Status(); s.Stale != 1 {
			t.Errorf("Expected the newest signature ever seen to count, got %d stale", s.Stale)
		}
	})
}

func TestPeerMayGoBackToItsOldKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.judging()
		w.startSlow()
		p := w.join()
		q := provider{p.ksk, newPublic(t, 256)}
		w.peers.set(theirNS, announces(p.signedAt(time.Now())))
		w.pass(2 * time.Hour)
		w.peers.set(theirNS, announces(q.signedAt(time.Now())))
		w.pass(2 * time.Hour)
		w.peers.set(theirNS, announces(p.signedAt(time.Now())))
		w.pass(day + 4*time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
	})
}

// A provider whose own zone loses its DS, or has it replaced half-way.
func TestPeerWhoseChainOfTrustChangesKeepsItsKeys(t *testing.T) {
	for _, v := range []fetch.Verdict{fetch.Insecure, fetch.Bogus} {
		t.Run(v.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				e := w.startSlow()
				p := w.join()
				w.pass(2 * time.Hour)
				w.peers.set(theirNS, verdict(v))
				w.pass(week)
				w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
				w.expectReady(e, true)
				expectLog(t, w.log, 1, "WARNING", theirNS+" is "+v.String(), "its keys stay as they were")
				if s := e.Status(); s.Stale != 1 {
					t.Errorf("Expected one stale announcement, got %d", s.Stale)
				}
				q := provider{p.ksk, newPublic(t, 256)}
				w.peers.set(theirNS, announces(q.announcement()))
				w.pass(2 * time.Hour)
				w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk, q.zsk), with(w.ksk, p.ksk))
				expectLog(t, w.log, 1, "INFO", theirNS+" is secure now")
				if s := e.Status(); s.Stale != 0 {
					t.Errorf("Expected nothing to be stale, got %d", s.Stale)
				}
			})
		})
	}
}
