package refresh

import (
	"slices"
	"time"

	"github.com/coredns-mske/mske/fetch"
)

// How many collections run at once. Each costs little but waiting for the
// network.
const (
	maxFetches = 64

	// maxUnproven is how many of them may be of hosts that were not heard the
	// last time: those that time out never keep those that answer waiting.
	maxUnproven = 32

	// maxPerHost is how many may be of one host: its servers, and those that
	// it may point us at, are asked politely.
	maxPerHost = 4

	// perSecond is how many collections of one host begin in a second, three
	// questions each, whatever the fleet that waits for it: after a start, or
	// when a resolver comes back, all are due at once.
	perSecond = 200

	// minFetchRate and maxFetchRate bound how many routine collections begin in a
	// second, of all hosts together: those of hosts whose announcement is known,
	// and that nothing says has changed.
	minFetchRate = 60
	maxFetchRate = 10_000

	// catchUp is how many times as fast as collections become due in the long run
	// they may begin at least, whatever else there is to do: after a start all are
	// due at once.
	catchUp = 4

	// burst is how many may begin at once after a while without.
	burst = maxPerHost

	// deadAfter is after how many zones in a row of which nothing could be
	// collected a host is taken for dead, and not each of its zones for in
	// trouble.
	deadAfter = 3
)

// line is the collections from one host that wait for their turn, for all zones
// that are fetched for in the same way, and what is known of the host.
type line struct {
	at      place
	zones   int // that are collected from it
	waiting [urgencies][]turn
	running int
	paced   time.Time // by when what has begun should have, at perSecond

	proven bool   // the last verdict was one of secure and absent
	failed string // the zone of the last collection, if the host was unreachable
	silent int    // zones in a row for which it was
	again  time.Time
}

// urgency tells which collections go first.
type urgency int

const (
	urgent    urgency = iota // a NOTIFY asked for it
	awaited                  // nothing is known of the host, or the owner has changed nameservers
	routine                  // what is known is likely to be all there is
	urgencies                // how many there are
)

// place is a host as reached by one fetcher.
type place struct {
	via  Fetcher
	host string
}

// turn is a collection that waits.
type turn struct {
	zone       *zone
	collection *collection
	begin      func() task // called when it is its turn
	routine    bool
}

// dead reports whether the host is taken for dead. It is probed by one
// collection at a time, which speaks for all that wait.
func (l *line) dead() bool { return l.silent >= deadAfter }

// heard takes over the verdict of a collection for a zone. It reports whether
// the host died or came back by it.
func (l *line) heard(zone string, v fetch.Verdict) (changed bool) {
	was := l.dead()
	switch {
	case v == fetch.Indeterminate: // our own failure
	case v != fetch.Unreachable:
		l.failed, l.silent, l.again = "", 0, time.Time{}
		l.proven = v == fetch.Secure || v == fetch.Absent
	default:
		if l.failed != zone {
			l.silent++
		}
		l.failed, l.proven = zone, false
	}
	return l.dead() != was
}

// lines decides which collection is next: that of another host each time, of
// one that is below its limit. It is a plain data structure.
type lines struct {
	byPlace  map[place]*line
	order    []*line // with somebody waiting; the first is next
	running  int
	unproven int     // of these
	pace     pace    // at which routine ones begin
	load     float64 // how many become due in a second, in the long run
}

// slot is the right to run one collection.
type slot struct {
	line   *line
	proven bool
}

// join returns the line of a host for one more zone, which is to leave it.
func (q *lines) join(at place) *line {
	if q.byPlace == nil {
		q.byPlace = make(map[place]*line)
	}
	l := q.byPlace[at]
	if l == nil {
		l = &line{at: at}
		q.byPlace[at] = l
	}
	l.zones++
	return l
}

// expect notes that c becomes due once in a while.
func (q *lines) expect(c *collection, every time.Duration) {
	rate := func(d time.Duration) float64 {
		if d <= 0 {
			return 0
		}
		return 1 / d.Seconds()
	}
	q.load += rate(every) - rate(c.every)
	c.every = every
}

// leave is for a zone that will not collect from the host any more.
func (q *lines) leave(c *collection) {
	q.expect(c, 0)
	l := c.line
	if l.zones--; l.zones == 0 {
		delete(q.byPlace, l.at)
	}
}

// add lets t wait in l, behind those that are as urgent.
func (q *lines) add(l *line, t turn) {
	if l.len() == 0 {
		q.order = append(q.order, l)
	}
	u := awaited
	switch {
	case t.collection.notified:
		u = urgent
	case t.routine:
		u = routine
	}
	l.waiting[u] = append(l.waiting[u], t)
	if u == urgent {
		q.first(l)
	}
}

// first has l be asked first.
func (q *lines) first(l *line) {
	i := slices.Index(q.order, l)
	q.order = slices.Insert(slices.Delete(q.order, i, i+1), 0, l)
}

// len returns how many wait in l.
func (l *line) len() int {
	n := 0
	for _, w := range l.waiting {
		n += len(w)
	}
	return n
}

// move has c, if it waits in l and is less urgent than u, be as urgent as that. It
// returns false if there is nothing to do.
func (l *line) move(c *collection, u urgency) bool {
	for from := u + 1; from < urgencies; from++ {
		w := &l.waiting[from]
		if i := slices.IndexFunc(*w, func(t turn) bool { return t.collection == c }); i >= 0 {
			l.waiting[u] = append(l.waiting[u], (*w)[i])
			*w = slices.Delete(*w, i, i+1)
			return true
		}
	}
	return false
}

// hurry has c, if it waits, wait no longer than what is urgent does.
func (q *lines) hurry(c *collection) {
	if c.line.move(c, urgent) {
		q.first(c.line)
	}
}

// await has c, if it waits, go before those that are routine.
func (q *lines) await(c *collection) { c.line.move(c, awaited) }

// next returns the collection that is to run now, if one may, or else when one
// may because time has passed, zero if that alone does not help.
func (q *lines) next(now time.Time) (t turn, s slot, ok bool, later time.Time) {
	if q.running >= maxFetches {
		return turn{}, slot{}, false, time.Time{}
	}
	for i, l := range q.order {
		if !q.may(l) {
			continue
		}
		at, u := l.ready(now), l.next()
		if u == routine {
			at = latest(at, q.pace.ready(now))
		}
		if at.After(now) {
			later = earliest(later, at)
			continue
		}
		t := l.take()
		if u == routine {
			q.pace.begin(now)
		}
		l.paced = latest(l.ready(now), now.Add(-burst*time.Second/perSecond)).Add(time.Second / perSecond)
		q.order = append(q.order[:i:i], q.order[i+1:]...) // those passed over stay first
		switch {
		case len(l.waiting[urgent]) > 0:
			q.order = slices.Insert(q.order, 0, l)
		case l.len() > 0:
			q.order = append(q.order, l)
		}
		s := slot{line: l, proven: l.proven}
		q.running++
		l.running++
		if !s.proven {
			q.unproven++
		}
		return t, s, true, time.Time{}
	}
	return turn{}, slot{}, false, later
}

// next returns how urgent the first in l is, which is not empty.
func (l *line) next() urgency {
	for u := range urgencies {
		if len(l.waiting[u]) > 0 {
			return u
		}
	}
	return urgencies
}

// take takes the first out of l.
func (l *line) take() turn {
	w := &l.waiting[l.next()]
	t := (*w)[0]
	(*w)[0] = turn{}
	*w = (*w)[1:]
	return t
}

// ready returns when the first in l may begin: what a NOTIFY asked for, of which
// few are heeded in a second, at once. No pace is that slow that it ends more than
// a second from now: then the clock was set.
func (l *line) ready(now time.Time) time.Time {
	if len(l.waiting[urgent]) > 0 || l.paced.After(now.Add(time.Second)) {
		return time.Time{}
	}
	return l.paced
}

// may reports whether one more collection of l may run.
func (q *lines) may(l *line) bool {
	limit := maxPerHost
	if l.dead() {
		limit = 1
	}
	return l.running < limit && (l.proven || q.unproven < maxUnproven)
}

// end gives s back.
func (q *lines) end(s slot) {
	q.running--
	s.line.running--
	if !s.proven {
		q.unproven--
	}
}

// dismiss returns those who wait in l, who do so no longer.
func (q *lines) dismiss(l *line) []turn {
	waiting := slices.Concat(l.waiting[:]...)
	l.waiting = [urgencies][]turn{}
	for i := range q.order {
		if q.order[i] == l {
			q.order = append(q.order[:i:i], q.order[i+1:]...)
			break
		}
	}
	return waiting
}
