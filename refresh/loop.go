package refresh

import (
	"container/heap"
	"context"
	"runtime/debug"
	"time"

	"github.com/coredns-mske/mske/yield"
)

const (
	// maxPanics is how many panics of the decisions about one zone are
	// tolerated. A zone that goes on failing is left alone, with what it
	// serves, so that it costs the others nothing.
	maxPanics = 3

	// maxTurns is how many panics of the loop itself are tolerated. What comes
	// after that is no better than not running.
	maxTurns = 10

	// Tasks that run at once, of each kind; of collections see hosts.go.
	maxLooks  = 4 // ask the plugins of this process
	maxProbes = 4 // wait for the network; of looks from outside see outside.go
	maxWrites = 1 // one commit holds all that changed
	maxScans  = 1
	maxBuilds = 1 // subtrees
	maxKeeps  = 1 // finds out which signatures are to be written

	// maxAttended is how many zones the loop comes to, at most, before it hears what
	// has ended and who says that there is something new. With no processor to spare
	// that is within a fraction of a second.
	maxAttended = 256

	// idle is how long the loop sleeps when nothing is due.
	idle = time.Minute

	// restPerZone is how long the loop leaves a zone alone for which nothing is due,
	// for each zone there is: in a fleet to come to all of them within a minute would
	// be most of what it does. That it comes at all is for what nobody thought of.
	restPerZone = 10 * time.Millisecond
)

// restOf returns how long one of so many zones is left alone.
func restOf(zones int) time.Duration { return max(idle, time.Duration(zones)*restPerZone) }

// loop is the state of the goroutine that makes the decisions. Only it touches
// this and the zones.
type loop struct {
	done    chan func() // ends of tasks, to be run by the loop
	due     dueHeap
	fetches lines
	looks   pool
	probes  pool
	parents pool
	sights  pool
	notices pool
	writes  pool
	scans   pool
	builds  pool
	keeps   pool

	parentPace, sightPace pace

	clock        clock
	begun        bool           // something was decided by it since the start
	lost         bool           // the right to write is another engine's
	now          time.Time      // by the clock, without a reading of time elapsed
	dirty        map[*zone]bool // to be decided and written now
	undecided    []*zone        // the same, some at a time: nothing of them is known to have changed
	starting     bool           // until all zones are decided about and that is published
	lazy         map[*zone]bool // to be written with the next write
	lazySince    time.Time
	writeAt      time.Time // not before
	keptAt       time.Time // nor signatures that are kept before this
	writeFails   int
	storeProblem string
	buildAt      time.Time
	telling      []*zone   // whose announcements changed
	pollNext     int       // the zone that is asked for its serial next
	pollAt       time.Time // when
	scanAt       time.Time

	panics         int
	news           bool // the status may have changed
	statusAt       time.Time
	statusNext     time.Time // not before
	lastCollection time.Time
}

func (l *loop) init() {
	l.done = make(chan func())
	l.probes.limit = maxProbes
	l.parents.limit, l.parents.pace = maxParents, &l.parentPace
	l.sights.limit, l.sights.pace = maxSights, &l.sightPace
	l.fetches.pace = newPace(minFetchRate, maxFetchRate)
	l.notices.limit = maxNotices
	l.looks.limit = maxLooks
	l.writes.limit = maxWrites
	l.scans.limit = maxScans
	l.builds.limit = maxBuilds
	l.keeps.limit = maxKeeps
	l.dirty = make(map[*zone]bool)
	l.lazy = make(map[*zone]bool)
}

// deciding reports whether there are zones to be decided about now.
func (l *loop) deciding() bool { return len(l.dirty)+len(l.undecided) > 0 }

// pools returns every pool of tasks.
func (l *loop) pools() []*pool {
	return []*pool{&l.looks, &l.probes, &l.parents, &l.sights, &l.notices, &l.writes, &l.scans, &l.builds, &l.keeps}
}

// pool bounds how many tasks of a kind run at once; the others wait in turn.
type pool struct {
	limit, running int
	queue          []task
	pace           *pace // at which tasks begin; nil: at any
}

// task is work outside the loop: run is called in a goroutine of its own, and
// what it returns then in the loop.
type task struct {
	zone *zone // whose panics these are, may be nil
	run  func(ctx context.Context) func()
	fail func() // called in the loop instead, if run panicked
}

// submit queues t.
func (e *Engine) submit(p *pool, t task) {
	p.queue = append(p.queue, t)
	e.dispatch(p)
}

// next takes the task out of p that is to begin now, if one may.
func (p *pool) next(now time.Time) (t task, ok bool) {
	switch {
	case p.running >= p.limit || len(p.queue) == 0:
		return task{}, false
	case p.pace == nil:
	case p.pace.ready(now).After(now):
		return task{}, false
	default:
		p.pace.begin(now)
	}
	t = p.queue[0]
	p.queue[0] = task{}
	p.queue = p.queue[1:]
	p.running++
	return t, true
}

// later returns when time alone lets the next task of p begin, zero for never.
func (p *pool) later(now time.Time) time.Time {
	if p.pace == nil || p.running >= p.limit || len(p.queue) == 0 {
		return time.Time{}
	}
	return latest(p.pace.ready(now), now)
}

func (e *Engine) dispatch(p *pool) {
	for e.loop.clock.right() {
		t, ok := p.next(e.loop.now)
		if !ok {
			return
		}
		e.wg.Go(func() {
			e.work(t, func() {
				p.running--
				e.dispatch(p)
			})
		})
	}
}

// work runs t and hands what is to follow to the loop: that its place is free,
// and what it returned.
func (e *Engine) work(t task, free func()) {
	then := t.fail
	func() {
		defer func() {
			if r := recover(); r != nil {
				e.config.Log.Errorf("Internal error%s: %v\n%s", t.zone.named(), r, debug.Stack())
			}
		}()
		then = t.run(e.ctx)
	}()
	select {
	case e.loop.done <- func() {
		free()
		e.protect(t.zone, then)
	}:
	case <-e.ctx.Done():
	}
}

// protect runs f, a decision about z, so that a panic costs no more than that
// zone.
func (e *Engine) protect(z *zone, f func()) {
	defer func() {
		if r := recover(); r != nil {
			e.config.Log.Errorf("Internal error%s: %v\n%s", z.named(), r, debug.Stack())
			e.loop.news = true
			if z != nil {
				z.panics++
			}
		}
	}()
	if f != nil && !z.broken() {
		f()
	}
}

// run is the loop. It ends with the engine's context or its lease.
func (e *Engine) run() {
	defer e.cancel()
	e.desk.alone = true
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-e.leases.revoked:
			e.config.Log.Infof("A newer configuration has taken over the state file")
			e.release()
			return
		case f := <-e.loop.done:
			e.readClock()
			f()
		case z := <-e.bell.rung:
			e.answer(z)
		case <-timer.C:
		}
		timer.Reset(e.safeTurn())
		if e.loop.panics >= maxTurns {
			e.config.Log.Errorf("The work in the background has ended after %d internal errors: report them, and restart the server", e.loop.panics)
			e.status.Store(&Status{Phases: map[string]int{}, Problems: []string{"the work in the background has ended after internal errors"}})
			return
		}
	}
}

// safeTurn is turn, after which the loop goes on even if it panics.
func (e *Engine) safeTurn() (wait time.Duration) {
	defer func() {
		if r := recover(); r != nil {
			e.config.Log.Errorf("Internal error: %v\n%s", r, debug.Stack())
			e.loop.panics++
			wait = time.Second
		}
	}()
	e.readClock()
	return e.turn()
}

// turn does all that is due now and returns for how long nothing will be. By a
// clock that is wrong, that is nothing (rule M6).
func (e *Engine) turn() time.Duration {
	l := &e.loop
	now := l.now
	if !l.clock.right() {
		e.refreshStatus()
		return idle
	}
	if !l.scanAt.After(now) {
		l.scanAt = now.Add(e.scanEvery)
		e.scan()
	}
	for range maxAttended {
		if len(l.due) == 0 || l.due[0].due.After(now) {
			break
		}
		yield.ToQueries()
		z := l.due[0]
		if z.work.After(now) {
			e.look(z)
		} else {
			e.attend(z)
		}
		z.due = earliest(z.work, z.lookDue())
		heap.Fix(&l.due, z.index)
	}
	e.poll()
	paced := e.dispatchPaced()
	e.endStart() // of what was written
	e.write()
	e.endStart() // of what needed no write
	e.build()
	e.keep()
	e.refreshStatus()
	e.clearDesk()
	if !l.deciding() && l.writes.running == 0 && !l.lost {
		e.config.Clock.handOver(l.clock)
	}

	next := now.Add(idle)
	for _, at := range []time.Time{l.scanAt, e.writeDue(), e.buildDue(), e.keepDue(), l.statusAt, paced, l.pollAt} {
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	if len(l.due) > 0 && l.due[0].due.Before(next) {
		next = l.due[0].due
	}
	return max(next.Sub(now), 0)
}

// dispatchPaced begins the tasks whose pace lets them. It returns when the next may
// begin, zero if not before something else happens.
func (e *Engine) dispatchPaced() (later time.Time) {
	l := &e.loop
	for _, p := range []*pool{&l.parents, &l.sights} {
		if len(p.queue) > 0 {
			p.pace.adjust(l.now, e.config.Crowded)
			e.dispatch(p)
			later = earliest(later, p.later(l.now))
		}
	}
	if len(l.fetches.order) > 0 {
		l.fetches.pace.least = max(minFetchRate, catchUp*l.fetches.load)
		l.fetches.pace.adjust(l.now, e.config.Crowded)
		later = earliest(later, e.dispatchFetches())
	}
	return later
}

// wake makes the loop look at z again, at the latest at a time.
func (e *Engine) wake(z *zone, at time.Time) {
	if at.Before(z.work) {
		z.work = at
	}
	e.rush(z, at)
}

// rush has the loop come to z at the latest at a time.
func (e *Engine) rush(z *zone, at time.Time) {
	if at.Before(z.due) {
		z.due = at
		heap.Fix(&e.loop.due, z.index)
	}
}

// attend does what there is to do for z, unless it is left alone. Before anything
// else that is to decide about it: what others announce is judged by our keys.
func (e *Engine) attend(z *zone) {
	z.work = e.loop.now.Add(e.rest) // unless tick or the decision says otherwise
	if !z.decided {
		return // it is among those that are to be
	}
	e.protect(z, func() { e.tick(z) })
	if z.broken() {
		e.loop.news = e.loop.news || z.open().notes.index("internal") < 0
		z.say("internal", levelProblem, "", "after %d internal errors it is left as it is: report them, and restart the server", z.panics)
	}
}

// dueHeap orders zones by when there is something to do for them.
type dueHeap []*zone

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements [heap.Interface].
func (h *dueHeap) Push(x any) {
	z := x.(*zone)
	z.index = len(*h)
	*h = append(*h, z)
}

// Pop implements [heap.Interface].
func (h *dueHeap) Pop() any {
	old := *h
	z := old[len(old)-1]
	*h = old[:len(old)-1]
	return z
}
