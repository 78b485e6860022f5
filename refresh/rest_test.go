package refresh

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestAFleetIsLeftAloneForLonger(t *testing.T) {
	for zones, want := range map[int]time.Duration{1: time.Minute, 6000: time.Minute, 100000: 1000 * time.Second} {
		if got := restOf(zones); got != want {
			t.Errorf("%d zones: expected %v, got %v", zones, want, got)
		}
	}
}

// A zone for which nothing is due is not come to within a minute.
func TestTheLoopComesToAZoneWhenSomethingIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.startSlow()
		w.pass(time.Hour)
		z := e.zones[0]
		if left := z.work.Sub(e.loop.now); left < day {
			t.Errorf("Expected nothing to be due before the signatures are, got %v", left)
		}
		if !z.open().signAt.Equal(z.work) {
			t.Errorf("Expected the signatures, due at %v, to be next, got %v", z.open().signAt, z.work)
		}
	})
}

// Times that a clock shows, as when signatures end, may be near when it was set,
// while what is due after a while is as far as before.
func TestTheLoopComesToAllZonesAfterTheClockWasSet(t *testing.T) {
	w := newWorld(t)
	e := New(w.config())
	e.loop.now = later()
	z := e.zones[0]
	z.due, z.work = e.loop.now.Add(day), e.loop.now.Add(day)
	e.loop.due.Push(z)
	sub := &subtree{Subtree: &Subtree{NS: ourNS}, zone: z, probeAt: e.loop.now.Add(time.Minute), keepAt: e.loop.now.Add(time.Minute)}
	e.subtrees = []*subtree{sub}
	e.clockSet(time.Hour)
	if want := e.loop.now.Add(time.Minute + time.Hour); !sub.probeAt.Equal(want) || !sub.keepAt.Equal(want) {
		t.Errorf("Expected the signaling domain to be left alone for as long as before, until %v, got %v and %v", want, sub.probeAt, sub.keepAt)
	}
	if at := e.loop.now.Add(idle); z.work.After(at) || z.due.After(at) {
		t.Errorf("Expected the zone to be come to by %v, got %v and %v", at, z.work, z.due)
	}
}

// However many zones something is due for at once, the loop hears what has ended
// and who says that there is something new in between.
func TestTheLoopListensBetweenZones(t *testing.T) {
	c := Config{Log: new(logbook)}
	for range 3 * maxAttended {
		c.Zones = append(c.Zones, &Zone{Name: zoneName, Nameservers: []string{ourNS}, RefreshMin: time.Minute, RefreshMax: time.Hour})
	}
	e := New(c)
	e.loop.now = later()
	e.loop.clock.state = clockRight
	e.loop.scanAt, e.loop.pollAt, e.loop.statusNext = e.loop.now.Add(day), e.loop.now.Add(day), e.loop.now.Add(day)
	for _, z := range e.zones {
		z.due, z.work, z.panics, z.decided = e.loop.now, e.loop.now, maxPanics, true
		e.loop.due.Push(z)
	}
	left := func() (n int) {
		for _, z := range e.zones {
			if !z.due.After(e.loop.now) {
				n++
			}
		}
		return n
	}
	for turn := 1; turn <= 3; turn++ {
		wait := e.turn()
		if n := left(); n != (3-turn)*maxAttended || (wait == 0) != (n > 0) {
			t.Fatalf("After turn %d, expected %d zones to be left and the next turn at once while there are some, got %d, and in %v", turn, (3-turn)*maxAttended, n, wait)
		}
	}
}
