package refresh

import "time"

const (
	// paceStep is how often a pace is adjusted, and how much of what it allows in
	// that time may begin at once.
	paceStep = 100 * time.Millisecond

	// By how much a pace grows in a step while processors are free, and what
	// is left of it in a step when they are not.
	paceGrowth = 1.25
	paceShare  = 0.5
)

// pace bounds how many tasks begin in a second that nobody waits for. Queries
// are answered meanwhile by the same processors, so there are as many as these
// have time for, and a few if they have none: the work in the background goes on
// under any load. It is a plain data structure.
type pace struct {
	least, most float64 // tasks in a second

	rate   float64   // now
	at     time.Time // by when what has begun should have, at that rate
	judged time.Time // when it was adjusted last
}

// newPace returns a pace that begins with the least.
func newPace(least, most float64) pace { return pace{least: least, most: most, rate: least} }

// ready returns when the next task may begin. No pace is that slow that this is
// more than a second from now: then the clock was set.
func (p *pace) ready(now time.Time) time.Time {
	at := p.at.Add(-paceStep)
	if at.After(now.Add(time.Second)) {
		return time.Time{}
	}
	return at
}

// begin notes that a task begins.
func (p *pace) begin(now time.Time) {
	if p.at.Before(now) || p.at.After(now.Add(2*time.Second)) {
		p.at = now
	}
	p.at = p.at.Add(time.Duration(float64(time.Second) / p.rate))
}

// adjust is called while tasks wait; crowded tells whether goroutines do, for a
// processor.
func (p *pace) adjust(now time.Time, crowded func() bool) {
	since := now.Sub(p.judged)
	if 0 <= since && since < paceStep {
		return
	}
	p.judged = now
	if crowded() {
		p.rate *= paceShare
	} else {
		p.rate *= paceGrowth
	}
	p.rate = min(max(p.rate, p.least), p.most)
}
