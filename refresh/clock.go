package refresh

import (
	"fmt"
	"sync/atomic"
	"time"
)

const (
	// clockTolerance is how far the clock may be behind a time that has
	// certainly passed (rule M6), and how far it may jump ahead without being
	// doubted.
	clockTolerance = time.Hour

	// clockSettle is how long a clock that jumped ahead has to stay there to be
	// believed, and how long one has to run without such jumps before time that
	// it says has passed takes anything away, or is held against it later.
	// Servers that set a clock find out within minutes that they were wrong.
	clockSettle = 10 * time.Minute

	// clockDrift is what clock and elapsed time may differ by without anybody
	// having set the clock.
	clockDrift = time.Second
)

// clockState is what is thought of the clock.
type clockState uint8

const (
	clockUnread clockState = iota
	clockRight
	clockBehind // a time that has passed is still to come (rule M6)
	clockAhead  // it jumped, and may jump back
)

// clock holds the system's clock against the time that has passed since the
// start, which nobody can set, and against times that have certainly passed. It
// is a pure function of its readings.
type clock struct {
	built  time.Time // when the program was
	stored time.Time // that a state file was written at, as far as the clock could be trusted then

	state   clockState
	wall    time.Time     // last reading
	elapsed time.Duration // since the start, last reading
	since   time.Duration // when state, or the jump that led to it, began
	base    time.Time     // the clock at the start, as far as believed; zero before it was right
	skew    time.Duration // how far the clock is from base and the time elapsed
	smooth  time.Duration // since when it has run without a jump that was doubtful
}

// read takes a reading of the clock and of the time elapsed since the start. It
// returns by how much the clock was set since the last one, once that is
// believed.
func (c *clock) read(wall time.Time, elapsed time.Duration) (set time.Duration) {
	c.wall, c.elapsed = wall, elapsed
	was, skew := c.state, time.Duration(0)
	if !c.base.IsZero() {
		skew = wall.Sub(c.base.Add(elapsed))
	}
	again := (skew - c.skew).Abs() > clockTolerance
	c.skew = skew
	switch {
	case wall.Before(c.passed().Add(-clockTolerance)):
		c.state = clockBehind
	case c.base.IsZero():
		c.state, c.base, c.smooth = clockRight, wall.Add(-elapsed), elapsed
	case skew > clockTolerance && (was != clockAhead || again || elapsed-c.since < clockSettle):
		c.state = clockAhead
	default:
		c.state = clockRight
		if skew.Abs() > clockDrift {
			c.base, c.skew, set = wall.Add(-elapsed), 0, skew
		}
		if set.Abs() > clockTolerance {
			c.smooth = elapsed
		}
	}
	if c.state != was || again {
		c.since = elapsed
	}
	return set
}

// passed returns the latest time that has certainly passed.
func (c *clock) passed() time.Time { return latest(c.built, c.stored) }

// now returns the time that decisions are made by: it goes on evenly while the
// clock is doubted.
func (c *clock) now() time.Time {
	if c.base.IsZero() {
		return c.wall
	}
	return c.base.Add(c.elapsed)
}

func (c *clock) right() bool { return c.state == clockRight }

// steady reports whether the clock has been right for long enough that time
// which has passed may take something away.
func (c *clock) steady() bool { return c.right() && c.elapsed-c.smooth >= clockSettle }

// settled returns from when time which has passed may take something away that
// lasts at least so long.
func (c *clock) settled(wait time.Duration) time.Time {
	return c.now().Add(c.smooth + min(wait, clockSettle) - c.elapsed)
}

// stamp returns what is to be stored as a time that has certainly passed. A
// clock that was ahead for a moment must not turn the right one down later.
func (c *clock) stamp() time.Time {
	if c.steady() {
		return latest(c.stored, c.now())
	}
	return c.stored
}

// problem says what is wrong with the clock and what to do, "" for nothing.
func (c *clock) problem() string {
	switch c.state {
	case clockBehind:
		evidence, advice := "this version was made", "set it"
		if c.stored.After(c.built) {
			evidence = "the state file was written"
			advice = "set it; if it is right, it was ahead when the state file was written: move that file away to begin anew"
		}
		return fmt.Sprintf("the clock says %s, but %s at %s: nothing is signed, collected or decided, and stored signatures are served; %s",
			timestamp(c.wall), evidence, timestamp(c.passed()), advice)
	case clockAhead:
		return fmt.Sprintf("the clock jumped ahead to %s (by %v): nothing is signed, collected or decided until it is back, or has stayed there for %v",
			timestamp(c.wall), c.skew.Round(time.Second), clockSettle)
	}
	return ""
}

func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Clock is the system's clock as one process knows it. Engines that follow one
// another, as with each reload, go on from what was found out about it: only at
// the start of the process is nothing known.
type Clock struct {
	start time.Time
	known atomic.Pointer[clock]
}

// NewClock returns a clock that nothing is known of. A process needs one.
func NewClock() *Clock { return &Clock{start: time.Now()} }

// read returns what the clock says and how much time has passed since the start.
func (c *Clock) read() (wall time.Time, elapsed time.Duration) {
	now := time.Now()
	return now.Round(0), now.Sub(c.start) // Round leaves the clock alone of the two
}

// handOver lets a later engine go on with what l knows of the clock. By then
// every wait that was moved because the clock was set has to be stored: what is
// older than that has them moved again, and so makes them longer.
func (c *Clock) handOver(l clock) {
	k := c.known.Load()
	if l.right() && (k == nil || !k.base.Equal(l.base) || k.smooth != l.smooth) {
		c.known.Store(&l)
	}
}

// takeOver returns what is known of the clock, but for what a file says.
func (c *Clock) takeOver(built time.Time) clock {
	if k := c.known.Load(); k != nil {
		l := *k
		l.built, l.stored = built, time.Time{}
		return l
	}
	return clock{built: built}
}
