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
	zones   int    // that are collected from it
	waiting []turn // the first urgent are
	urgent  int
	running int
	paced   time.Time // by when what has begun should have, at perSecond

	proven bool   // the last verdict was one of secure and absent
	failed string // the zone of the last collection, if the host was unreachable
	silent int    // zones in a row for which it was
	again  time.Time
}

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
	unproven int // of these
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

// leave is for a zone that will not collect from the host any more.
func (q *lines) leave(l *line) {
	if l.zones--; l.zones == 0 {
		delete(q.byPlace, l.at)
	}
}

// add lets t wait in l, behind those that are urgent if it is, else behind all.
func (q *lines) add(l *line, t turn) {
	if len(l.waiting) == 0 {
		q.order = append(q.order, l)
	}
	if !t.collection.notified {
		l.waiting = append(l.waiting, t)
		return
	}
	l.waiting = slices.Insert(l.waiting, l.urgent, t)
	l.urgent++
	q.first(l)
}

// first has l be asked first.
func (q *lines) first(l *line) {
	i := slices.Index(q.order, l)
	q.order = slices.Insert(slices.Delete(q.order, i, i+1), 0, l)
}

// hurry has c, if it waits, wait no longer than what is urgent does.
func (q *lines) hurry(c *collection) {
	l := c.line
	i := slices.IndexFunc(l.waiting, func(t turn) bool { return t.collection == c })
	if i < l.urgent {
		return // it runs, or is urgent already
	}
	t := l.waiting[i]
	l.waiting = slices.Insert(slices.Delete(l.waiting, i, i+1), l.urgent, t)
	l.urgent++
	q.first(l)
}

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
		if at := l.ready(now); at.After(now) {
			later = earliest(later, at)
			continue
		}
		t := l.waiting[0]
		l.waiting[0] = turn{}
		l.waiting = l.waiting[1:]
		l.urgent = max(l.urgent-1, 0)
		l.paced = latest(l.ready(now), now.Add(-burst*time.Second/perSecond)).Add(time.Second / perSecond)
		q.order = append(q.order[:i:i], q.order[i+1:]...) // those passed over stay first
		switch {
		case l.urgent > 0:
			q.order = slices.Insert(q.order, 0, l)
		case len(l.waiting) > 0:
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

// ready returns when the first in l may begin: what a NOTIFY asked for, of which
// few are heeded in a second, at once. No pace is that slow that it ends more than
// a second from now: then the clock was set.
func (l *line) ready(now time.Time) time.Time {
	if l.urgent > 0 || l.paced.After(now.Add(time.Second)) {
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
	waiting := l.waiting
	l.waiting, l.urgent = nil, 0
	for i := range q.order {
		if q.order[i] == l {
			q.order = append(q.order[:i:i], q.order[i+1:]...)
			break
		}
	}
	return waiting
}
