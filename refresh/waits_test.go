package refresh

import (
	"errors"
	"testing"
	"time"

	"github.com/coredns-mske/mske/chain"
	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/store"
)

// waiting returns a state all of whose waits began at a time.
func waiting(since time.Time) store.Zone {
	return store.Zone{Cold: since, Own: []store.Own{{Gone: since}, {}},
		Peers: []merge.Peer{{Collected: since, Retiring: []merge.Retiring{{Since: since, Until: since.Add(day)}}}}}
}

func expectWaits(t *testing.T, s store.Zone, since time.Time) {
	t.Helper()
	p := s.Peers[0]
	if !s.Cold.Equal(since) || !s.Own[0].Gone.Equal(since) || !s.Own[1].Gone.IsZero() || !p.Collected.Equal(since) ||
		!p.Retiring[0].Since.Equal(since) || !p.Retiring[0].Until.Equal(since.Add(day)) {
		t.Errorf("Expected all waits to begin at %v, got %+v", since, s)
	}
}

func TestWaitsOutlastAClockThatIsSet(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name             string
		set, since, want time.Duration // from now, the time after the clock was set
	}{
		{"ahead", week, -week - time.Hour, -time.Hour},
		{"back", -week, -time.Hour, -time.Hour}, // before the clock was ahead
		{"back, begun while it was ahead", -week, week - time.Hour, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			e := w.engine()
			z, before := e.zones[0], waiting(now.Add(tc.since))
			z.open().facts.state, e.loop.now = before, now
			e.clockSet(tc.set)
			expectWaits(t, z.open().facts.state, now.Add(tc.want))
			expectWaits(t, before, now.Add(tc.since)) // it may be on its way to the disk
			if !e.loop.dirty[z] {
				t.Error("Expected it to be stored")
			}
		})
	}
}

func TestNoKeyOfOursGoesByAClockThatIsNotSteady(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	gone := store.Own{Gone: now.Add(-week)}
	for name, tt := range map[string]struct {
		facts facts
		ended bool
		next  time.Time
	}{
		"steady":                          {facts{looked: true}, true, time.Time{}},
		"steady, but not seen":            {facts{}, false, time.Time{}},
		"not steady":                      {facts{looked: true, unsteady: true, settled: now.Add(time.Minute)}, false, now.Add(time.Minute)},
		"not right, and for how long yet": {facts{looked: true, unsteady: true}, false, time.Time{}},
	} {
		p := ownPlan{cfg: &Zone{MaxZoneTTL: day}, facts: tt.facts, now: now}
		if got := p.ended(gone); got != tt.ended || !p.next.Equal(tt.next) {
			t.Errorf("%s: expected the hold to have ended: %v, to be asked again at %v, got %v, %v", name, tt.ended, tt.next, got, p.next)
		}
	}
}

func TestLookByAWrongClockIsNoFailure(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.loop.clock.state = clockBehind
	z := e.zones[0]
	e.lookedAt(z, chain.Look{}, &chain.UnknownSignerError{Zone: zoneName})
	e.lookedAt(z, chain.Look{}, errors.New("anything"))
	e.polled(z, 0, errors.New("anything"))
	if z.lookFails != 0 || z.open().facts.unknown || len(z.open().notes) > 0 {
		t.Errorf("Expected nothing to be concluded, got %d failures, %v", z.lookFails, z.open().notes)
	}
}

func TestDeadHostIsLeftAloneUntilItsNextProbe(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.loop.now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	z := e.zones[0]
	l := e.loop.fetches.join(place{host: theirNS})
	l.silent, l.again = deadAfter, e.loop.now.Add(time.Hour)
	c := &collection{host: theirNS, line: l, verdict: fetch.Secure}
	e.fetch(z, c)
	if c.running || l.len() > 0 || !c.next.Equal(l.again) || c.verdict != fetch.Unreachable {
		t.Errorf("Expected it to be tried with the next probe, got %+v", c)
	}
	e.loop.now = l.again
	if e.fetch(z, c); !c.running || l.len() != 1 {
		t.Errorf("Expected it to wait for its turn then, got %+v", c)
	}
}
