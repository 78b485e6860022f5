package refresh

import (
	"slices"
	"time"

	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/store"
)

// readClock reads the clock, and does what follows from its being set, wrong or
// right again.
func (e *Engine) readClock() {
	l := &e.loop
	was := l.clock.state
	set := l.clock.read(e.clock())
	l.now = l.clock.now()
	if set != 0 {
		e.clockSet(set)
	}
	if l.clock.state == was {
		return
	}
	l.news = true
	switch problem := l.clock.problem(); {
	case problem != "":
		e.config.Log.Errorf("Not ready: %s", problem)
	case was != clockUnread:
		e.config.Log.Infof("The clock is right now: it is %s", timestamp(l.now))
		e.resume()
	default:
		return // start, see restore
	}
	if !e.beginning() {
		s := e.summarize()
		e.status.Store(&s)
	}
}

// settle finds out whether the clock has been right for long enough that time
// which has passed may take something away from z. A wait that is no longer than
// that is over by then, whatever the clock said at its beginning.
func (e *Engine) settle(z *zone) {
	c := &e.loop.clock
	z.open().facts.settled = c.settled(max(z.MaxZoneTTL, z.TTL))
	z.open().facts.unsteady = !c.right() || z.open().facts.settled.After(e.loop.now)
}

// resume goes on with what waited for the clock. At first nothing has been
// decided since the start.
func (e *Engine) resume() {
	l := &e.loop
	if first := !l.begun; first {
		l.begun = true
		for _, z := range e.zones {
			e.clearDesk() // of those before
			z.open().facts.state, z.open().began = startWaits(z.open().facts.state, l.now), l.now
			z.open().signAt = l.now // what is served has not been looked at
			l.dirty[z] = true
			e.wake(z, l.now)
		}
		for _, t := range e.subtrees {
			t.dirty, t.probeAt = true, l.now.Add(probeDelay)
		}
		l.scanAt, l.writeAt, l.buildAt, l.statusAt, l.statusNext = l.now, l.now, l.now, l.now, l.now
	}
	for _, p := range l.pools() {
		e.dispatch(p)
	}
}

// clockSet moves what is due after a while, since that while lasts as long as
// it would have: only times that a clock shows come sooner or later.
func (e *Engine) clockSet(d time.Duration) {
	l := &e.loop
	switch {
	case d.Abs() > clockTolerance:
		e.config.Log.Warningf("The clock was set by %v: what was to last a while still does", d.Round(time.Second))
	case d.Abs() > time.Minute:
		e.config.Log.Infof("The clock was set by %v", d.Round(time.Second))
	}
	move(d, &l.pollAt, &l.lazySince, &l.writeAt, &l.keptAt, &l.buildAt, &l.scanAt, &l.statusAt, &l.statusNext)
	for _, t := range e.subtrees {
		move(d, &t.probeAt, &t.keepAt)
	}
	for _, z := range e.zones {
		e.clearDesk()                       // of those before
		move(d, &z.due, &z.work, &z.readAt) // all alike: the heap's order stays
		o := &z.open().outside
		move(d, &z.open().began, &o.parent.asked, &o.parent.next, &o.servers.asked, &o.servers.next, &o.look.At, &o.newLook.At, &o.newParent.At, &o.newParent.DSFrom)
		move(d, &z.open().published)
		for i := range z.open().errands {
			move(d, &z.open().errands[i].next)
		}
		for _, c := range z.fetching {
			move(d, &c.asked, &c.next, &c.ended)
			if c.doubt != nil {
				move(d, &c.doubt.at, &c.doubt.last)
			}
		}
		if hasWaits(z.open().facts.state) {
			l.dirty[z] = true
		}
		if d > 0 {
			z.open().facts.state = moveWaits(z.open().facts.state, d)
		} else {
			z.open().facts.state = startWaits(z.open().facts.state, l.now)
			if z.open().began.After(l.now) {
				z.open().began = l.now
			}
		}
	}
	for _, z := range e.zones { // times that a clock shows may be nearer now
		e.wake(z, l.now.Add(idle))
	}
}

func move(d time.Duration, times ...*time.Time) {
	for _, t := range times {
		if !t.IsZero() {
			*t = t.Add(d)
		}
	}
}

// hasWaits reports whether time that passes takes something away from s.
func hasWaits(s store.Zone) bool {
	return !s.Cold.IsZero() || !s.Seed.Empty() || len(s.Life.Hosts)+len(s.Life.Keys) > 0 ||
		slices.ContainsFunc(s.Peers, func(p merge.Peer) bool { return len(p.Retiring) > 0 }) ||
		slices.ContainsFunc(s.Own, func(o store.Own) bool { return !o.Gone.IsZero() })
}

// moveWaits returns s with the beginnings of all waits d later, as after the
// clock was set ahead: nothing has been absent for longer because of that.
func moveWaits(s store.Zone, d time.Duration) store.Zone {
	return editWaits(s, func(since time.Time) time.Time { return since.Add(d) })
}

// startWaits returns s with the waits begun that, by the clock, will begin only
// later: it was ahead when they did.
func startWaits(s store.Zone, now time.Time) store.Zone {
	return editWaits(s, func(since time.Time) time.Time {
		if since.After(now) {
			return now
		}
		return since
	})
}

// editWaits returns a copy of s: what is being stored is not changed.
func editWaits(s store.Zone, edit func(since time.Time) time.Time) store.Zone {
	if !s.Cold.IsZero() {
		s.Cold = edit(s.Cold)
	}
	s.Life, s.Seed = s.Life.Edit(edit), s.Seed.Edit(edit)
	s.Own = slices.Clone(s.Own)
	for i := range s.Own {
		o := &s.Own[i]
		for _, since := range []*time.Time{&o.Gone, &o.SignedSince, &o.SigningFrom} {
			if !since.IsZero() {
				*since = edit(*since)
			}
		}
	}
	s.Peers = slices.Clone(s.Peers)
	for i := range s.Peers {
		p := &s.Peers[i]
		if !p.Collected.IsZero() {
			p.Collected = edit(p.Collected)
		}
		p.Retiring = slices.Clone(p.Retiring)
		for j := range p.Retiring {
			r := &p.Retiring[j]
			since := edit(r.Since)
			r.Since, r.Until = since, r.Until.Add(since.Sub(r.Since))
		}
	}
	return s
}

// collectHeld is p.Collect by a clock that is not steady yet: none of the waits
// of keys on their way out ends.
func collectHeld(p merge.Peer, a merge.Announcement, now time.Time, maxZoneTTL, gap time.Duration) (merge.Peer, merge.Change) {
	held, until := p, make(map[merge.Key]time.Time)
	held.Retiring = slices.Clone(p.Retiring)
	for i := range held.Retiring {
		r := &held.Retiring[i]
		until[r.Key] = r.Until
		r.Until = latest(r.Until, now.Add(1))
	}
	next, change := held.Collect(a, now, maxZoneTTL, gap)
	for i := range next.Retiring {
		if r := &next.Retiring[i]; !until[r.Key].IsZero() {
			r.Until = until[r.Key]
		}
	}
	return next, change
}
