package refresh

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/merge"
)

// reading is one of the clock, how far it is ahead of the right time, and what
// is to be thought of it.
type reading struct {
	at, ahead time.Duration
	state     clockState
	set       time.Duration
}

func TestClock(t *testing.T) {
	epoch := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const minute, hour = time.Minute, time.Hour
	for _, tc := range []struct {
		name          string
		built, stored time.Duration // after epoch
		readings      []reading
		now           time.Duration // after epoch, in the end
	}{
		{"right", -day, -hour, []reading{{0, 0, clockRight, 0}, {minute, 0, clockRight, 0}}, minute},
		{"drifting", -day, -day, []reading{{0, 0, clockRight, 0}, {hour, time.Second, clockRight, 0}, {2 * hour, 2 * time.Second, clockRight, 2 * time.Second}}, 2*hour + 2*time.Second},
		{"before the build", day, -day, []reading{{0, 0, clockBehind, 0}}, 0},
		{"before the store", -day, day, []reading{{0, 0, clockBehind, 0}}, 0},
		{"a little before the store", -day, hour, []reading{{0, 0, clockRight, 0}}, 0},
		{"behind at first", -day, -hour, []reading{{0, -3 * day, clockBehind, 0}, {hour, -3 * day, clockBehind, 0}, {2 * hour, 0, clockRight, 0}, {3 * hour, 0, clockRight, 0}}, 3 * hour},
		{"set a little back", -day, 0, []reading{{0, 0, clockRight, 0}, {minute, -minute, clockRight, -minute}, {2 * minute, -minute, clockRight, 0}}, minute},
		{"set a little ahead", -day, 0, []reading{{0, 0, clockRight, 0}, {minute, hour, clockRight, hour}}, hour + minute},
		{"far back and right again", -day, 0, []reading{{0, 0, clockRight, 0}, {minute, -day, clockBehind, 0}, {2 * minute, 0, clockRight, 0}}, 2 * minute},
		{"far back, but no farther than the store", -week, -week, []reading{{0, 0, clockRight, 0}, {minute, -day, clockRight, -day}}, minute - day},
		{"ahead for a moment", -day, 0, []reading{{0, 0, clockRight, 0}, {minute, week, clockAhead, 0}, {10 * minute, week, clockAhead, 0}, {11*minute - 1, 0, clockRight, 0}}, 11*minute - 1},
		{"ahead and staying", -day, 0, []reading{{0, 0, clockRight, 0}, {minute, week, clockAhead, 0}, {11 * minute, week, clockRight, week}, {12 * minute, week, clockRight, 0}}, week + 12*minute},
		{"ahead again and again", -day, 0, []reading{{0, 0, clockRight, 0}, {minute, week, clockAhead, 0}, {10 * minute, 2 * week, clockAhead, 0}, {11 * minute, 2 * week, clockAhead, 0}, {20 * minute, 2 * week, clockRight, 2 * week}}, 2*week + 20*minute},
		{"ahead, then far back", -day, 0, []reading{{0, 0, clockRight, 0}, {minute, week, clockAhead, 0}, {2 * minute, -week, clockBehind, 0}, {3 * minute, 0, clockRight, 0}}, 3 * minute},
	} {
		c := clock{built: epoch.Add(tc.built), stored: epoch.Add(tc.stored)}
		for i, r := range tc.readings {
			set := c.read(epoch.Add(r.at+r.ahead), r.at)
			if c.state != r.state || set != r.set {
				t.Errorf("%s, reading %d: expected state %d, set by %v, got %d, %v", tc.name, i, r.state, r.set, c.state, set)
			}
			if (c.problem() == "") != c.right() {
				t.Errorf("%s, reading %d: expected a problem if it is not right, got %q", tc.name, i, c.problem())
			}
		}
		if got := c.now().Sub(epoch); got != tc.now {
			t.Errorf("%s: expected to be %v after the epoch, got %v", tc.name, tc.now, got)
		}
	}
}

func TestOnlyASteadyClockIsHeldAgainstOthers(t *testing.T) {
	epoch := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := clock{built: epoch, stored: epoch}
	at := func(elapsed, ahead time.Duration, want time.Time) {
		t.Helper()
		c.read(epoch.Add(elapsed+ahead), elapsed)
		if got := c.stamp(); !got.Equal(want) {
			t.Errorf("Expected %v after %v, got %v", want, elapsed, got)
		}
	}
	at(0, 0, epoch)
	at(clockSettle-1, 0, epoch)
	at(clockSettle, 0, epoch.Add(clockSettle))
	at(time.Hour, week, epoch)             // doubted
	at(time.Hour+clockSettle, week, epoch) // believed
	at(time.Hour+2*clockSettle, week, epoch.Add(week+time.Hour+2*clockSettle))
}

// retire has the peer replace its data-signing key, and returns the time when
// the old one may go, as the engine sees it.
func (w *world) retire(p provider) (q provider) {
	w.t.Helper()
	q = provider{p.ksk, newPublic(w.t, 256)}
	w.peers.set(theirNS, announces(q.announcement()))
	w.pass(time.Hour + time.Minute)
	w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk, q.zsk), with(w.ksk, p.ksk))
	return q
}

func TestRestartWithAClockThatIsBehindServesWhatIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.startSlow()
		p := w.join()
		w.pass(2 * time.Hour)
		was := text(w.apex())

		n := w.crash()
		n.chain.down = nil
		n.peers.set(theirNS, verdict(fetch.Bogus))
		n.setClock(-2 * day)
		e := n.start()
		if text(n.apex()) != was {
			t.Errorf("Expected what was stored\n%s, got\n%s", was, text(n.apex()))
		}
		n.expectReady(e, false)
		n.pass(2 * time.Hour)
		if text(n.apex()) != was || len(n.apex().Data) > 0 {
			t.Errorf("Expected nothing to be signed, got\n%s", text(n.apex()))
		}
		if asked := n.peers.times(theirNS); len(asked) > 0 || n.chain.asked > 0 {
			t.Errorf("Expected nobody to be asked, got %v, %d", asked, n.chain.asked)
		}
		if s := e.Status(); !s.Behind {
			t.Error("Expected the status to say that nothing is to be signed")
		}
		expectLog(t, n.log, 1, "ERROR")
		expectLog(t, n.log, 1, "ERROR", "the clock says 1999-12-3", "set it")

		n.peers.set(theirNS, announces(p.announcement()))
		n.setClock(0)
		n.pass(2 * time.Minute)
		n.expectReady(e, true)
		n.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		if len(n.peers.times(theirNS)) == 0 || len(n.apex().Data) == 0 {
			t.Error("Expected all to go on")
		}
	})
}

func TestRestartWithTheRightClockAfterAWrongOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.startSlow()
		p := w.join()
		w.pass(2 * time.Hour)
		n := w.crash()
		n.setClock(-2 * day)
		n.start()
		m := n.crash()
		m.setClock(0)
		m.chain.down = nil
		m.peers.set(theirNS, announces(p.announcement()))
		e := m.start()
		m.expectReady(e, true)
		m.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
	})
}

func TestClockBeforeTheBuildServesNothingThatIsNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.built = time.Now()
		w.setClock(-day)
		e := w.start()
		w.expectFailing()
		w.expectReady(e, false)
		expectLog(t, w.log, 1, "ERROR", "this version was made")
		w.setClock(0)
		w.pass(2 * time.Minute)
		w.expectKeys(with(w.ksk, w.zsk.ID()), with(w.ksk))
		w.expectReady(e, true)
	})
}

func TestClockThatJumpsBackStopsAllUntilItIsRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.startSlow()
		p := w.join()
		w.pass(2 * time.Hour)
		was := text(w.apex())
		w.setClock(-30 * day)
		w.peers.set(theirNS, announces(newProvider(t).announcement()))
		w.pass(2 * time.Minute)
		asked := len(w.peers.times(theirNS))
		w.pass(3 * time.Hour)
		w.expectReady(e, false)
		if text(w.apex()) != was || len(w.peers.times(theirNS)) > asked {
			t.Error("Expected nothing to be signed or collected")
		}
		expectLog(t, w.log, 1, "ERROR")

		w.peers.set(theirNS, announces(p.announcement()))
		w.setClock(0)
		w.pass(2 * time.Hour)
		w.expectReady(e, true)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		if len(w.peers.times(theirNS)) == asked {
			t.Error("Expected collections to go on")
		}
		expectLog(t, w.log, 1, "INFO", "The clock is right now")
	})
}

func TestWorkThatEndsByAWrongClockChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p, q := newProvider(t), newProvider(t)
		w.zone.Fetcher = fetcherFunc(func(_ context.Context, _, _ string, _ merge.Announcement) fetch.Result {
			if w.ahead.Load() == 0 {
				return announces(p.announcement())()
			}
			return announces(q.announcement())() // expired long ago, but not by this clock
		})
		slow := w.zone.Fetcher
		w.zone.Fetcher = fetcherFunc(func(ctx context.Context, zone, host string, known merge.Announcement) fetch.Result {
			time.Sleep(10 * time.Second)
			return slow.Fetch(ctx, zone, host, known)
		})
		w.built = time.Now()
		w.start()
		w.join()
		w.pass(5 * time.Second)
		w.setClock(-30 * day)
		w.pass(time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID()), with(w.ksk))
		w.setClock(0)
		w.pass(5 * time.Minute)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
	})
}

func TestClockThatJumpsAheadForAMomentEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.startSlow()
		p := w.join()
		w.pass(time.Hour)
		q := w.retire(p)
		was, asked := text(w.apex()), len(w.peers.times(theirNS))
		w.setClock(30 * day)
		w.pass(8 * time.Minute)
		w.expectReady(e, false)
		w.setClock(0)
		w.pass(2 * time.Minute)
		w.expectReady(e, true)
		if text(w.apex()) != was || len(w.peers.times(theirNS)) > asked {
			t.Error("Expected nothing to be signed or collected meanwhile")
		}
		expectLog(t, w.log, 1, "ERROR", "jumped ahead")
		w.pass(20 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk, q.zsk), with(w.ksk, p.ksk))
		w.pass(8 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), q.zsk), with(w.ksk, p.ksk))
	})
}

func TestWaitsLastAsLongIfTheClockStaysAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.startSlow()
		p := w.join()
		w.pass(time.Hour)
		q := w.retire(p)
		w.setClock(2 * day)
		w.pass(20 * time.Hour)
		w.expectReady(e, true)
		expectLog(t, w.log, 1, "WARNING", "The clock was set by 48h")
		w.expectKeysOnly(p.zsk, q.zsk)
		w.pass(8 * time.Hour)
		w.expectKeysOnly(q.zsk)
	})
}

func TestWaitsLastAsLongIfTheClockIsSetBackALittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.startSlow()
		p := w.join()
		w.pass(time.Hour)
		w.setClock(50 * time.Minute)
		w.pass(time.Minute)
		q := w.retire(p)
		asked := len(w.peers.times(theirNS))
		w.setClock(0)
		w.pass(2 * time.Hour)
		if n := len(w.peers.times(theirNS)) - asked; n < 2 || n > 3 {
			t.Errorf("Expected a collection about every hour, got %d in two", n)
		}
		w.pass(22 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk, q.zsk), with(w.ksk, p.ksk))
		w.pass(5 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), q.zsk), with(w.ksk, p.ksk))
	})
}

// The clock of a server that boots is often set only when its services run.
func TestRestartWithAClockThatIsAheadEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.startSlow()
		p := w.join()
		w.pass(time.Hour)
		q := w.retire(p)
		n := w.crash()
		n.chain.down = nil
		n.peers.set(theirNS, announces(q.announcement()))
		n.setClock(2 * day) // signatures of all last longer
		e := n.startSlow()
		n.pass(5 * time.Minute)
		if asked := n.peers.times(theirNS); len(asked) == 0 {
			t.Error("Expected a collection")
		}
		n.expectKeysOnly(p.zsk, q.zsk)
		n.setClock(0)
		n.pass(20 * time.Hour)
		n.expectReady(e, true)
		n.expectKeysOnly(p.zsk, q.zsk)
		n.pass(8 * time.Hour)
		n.expectKeysOnly(q.zsk)
	})
}

// expectKeysOnly holds that of the peer's data-signing keys these are served.
func (w *world) expectKeysOnly(zsks ...merge.Key) {
	w.t.Helper()
	expectSet(w.t, "DNSKEY", w.apex().DNSKEY, with(w.ksk, append([]merge.Key{w.zsk.ID()}, zsks...)...), keyOf)
}

// Who reloads more often than a clock takes to be believed still sees keys go.
func TestAReloadGoesOnWithTheClock(t *testing.T) {
	for _, same := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			if same {
				w.clock = NewClock()
			}
			w.zone.MaxZoneTTL, w.zone.TTL = 3*time.Hour, time.Hour
			e := w.startMinutely()
			w.pass(clockSettle)
			k := foreignKey(t, 256)
			w.chain.change(true, func(c *chainZone) { c.keys = append(c.keys, k) })
			w.pass(2 * time.Minute)
			w.chain.change(true, func(c *chainZone) { c.keys = c.keys[:2] })
			for range 50 { // more than MaxZoneTTL in all
				e.Stop()
				e = w.startMinutely()
				w.pass(4 * time.Minute)
			}
			want := with(w.ksk, w.zsk.ID(), k.ID())
			if same {
				want = want[:2]
			}
			w.expectKeys(want, with(w.ksk))
		})
	}
}

func TestAClockThatIsSetBetweenTwoEnginesEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.clock = NewClock()
		e := w.startSlow()
		p := w.join()
		w.pass(time.Hour)
		q := w.retire(p)
		e.Stop()
		w.setClock(2 * day)
		w.startSlow()
		expectLog(t, w.log, 1, "ERROR", "jumped ahead")
		w.pass(20 * time.Hour)
		expectLog(t, w.log, 1, "The clock was set by 48h")
		w.expectKeysOnly(p.zsk, q.zsk)
		w.pass(8 * time.Hour)
		w.expectKeysOnly(q.zsk)
	})
}

// After so long, what the longest wait was for has passed in any case.
func TestAZoneWithSmallTTLsIsSettledSooner(t *testing.T) {
	for _, tt := range []struct{ max, ttl, want time.Duration }{
		{day, time.Hour, clockSettle}, {6 * time.Second, time.Hour, clockSettle}, {6 * time.Second, 3 * time.Second, 6 * time.Second},
	} {
		w := newWorld(t)
		w.zone.MaxZoneTTL, w.zone.TTL = tt.max, tt.ttl
		e := w.engine()
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		for _, elapsed := range []time.Duration{0, tt.want - 1, tt.want} {
			e.loop.clock.read(now.Add(elapsed), elapsed)
			e.loop.now = e.loop.clock.now()
			e.settle(e.zones[0])
			f := e.zones[0].open().facts
			if f.unsteady != (elapsed < tt.want) || !f.settled.Equal(now.Add(tt.want)) {
				t.Errorf("%v, %v: expected waits to end from %v, got unsteady %v after %v, until %v", tt.max, tt.ttl, tt.want, f.unsteady, elapsed, f.settled)
			}
		}
	}
}

// Signatures end at a time that a clock shows: they are due sooner if it is set
// ahead, however long the loop leaves alone a zone for which nothing is due.
func TestAClockSetAheadMakesSignaturesDueSooner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.startSlow()
		w.pass(day)
		ahead := 10 * day
		w.setClock(ahead)
		w.pass(clockSettle + 3*time.Minute)
		if left := w.apex().Expires().Sub(time.Now().Add(ahead)); left < 7*day {
			t.Errorf("Expected new signatures, got some that end in %v", left)
		}
	})
}
