package refresh

import (
	"fmt"
	"slices"
	"time"

	"github.com/coredns-mske/mske/flat"
	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
)

// maxProblems bounds the problems that a status lists: a fleet may have as
// many as zones.
const maxProblems = 20

// Status is what an engine says of itself at one time. It is not changed.
type Status struct {
	Phases         map[string]int // how many zones are in each
	Stale          int            // known announcements that could not be collected anew
	Expires        time.Time      // the earliest end of a signature; zero without any
	LastCollection time.Time      // when an announcement was last collected
	Ready          bool           // nothing but other providers' part is missing
	Problems       []string       // why not; at most maxProblems and the number of others
	Behind         bool           // the clock is wrong, so that nothing is to be signed (rule M6)
}

// Status returns the engine's status. It takes no lock.
func (e *Engine) Status() Status { return *e.status.Load() }

// refreshStatus publishes the status if something may have changed it, not
// more often than zones are polled.
func (e *Engine) refreshStatus() {
	l := &e.loop
	if !l.news || e.beginning() {
		l.statusAt = time.Time{}
		return
	}
	if l.statusAt.After(l.now) {
		return
	}
	if l.statusNext.After(l.now) {
		l.statusAt = l.statusNext
		return
	}
	l.news, l.statusAt, l.statusNext = false, time.Time{}, l.now.Add(e.pollEvery)
	s := e.summarize()
	e.status.Store(&s)
}

// beginning reports whether the status is still the one of the start.
func (e *Engine) beginning() bool {
	return e.loop.clock.right() && (e.loop.starting || slices.ContainsFunc(e.subtrees, (*subtree).fresh))
}

func (e *Engine) summarize() Status {
	s := Status{Phases: make(map[string]int), LastCollection: e.loop.lastCollection, Behind: e.loop.clock.state == clockBehind}
	if p := e.loop.clock.problem(); p != "" {
		s.Problems = append(s.Problems, p)
	}
	if p := e.loop.storeProblem; p != "" {
		s.Problems = append(s.Problems, p)
	}
	for _, z := range e.zones {
		b := z.summary()
		s.Phases[string(b.phase)]++
		s.Problems = append(s.Problems, b.problems...)
		s.Stale += z.stale()
		s.LastCollection = latest(s.LastCollection, b.collected)
		if z.apex != nil {
			s.Expires = earliest(s.Expires, z.apex.Expires())
		}
	}
	for _, t := range e.subtrees {
		if t.view != nil {
			s.Expires = earliest(s.Expires, t.view.Expires())
		}
	}
	s.Ready = len(s.Problems) == 0
	slices.Sort(s.Problems)
	if more := len(s.Problems) - maxProblems; more > 0 {
		s.Problems = append(s.Problems[:maxProblems:maxProblems], fmt.Sprintf("and %d more", more))
	}
	return s
}

// phase returns the phase z is in.
func (z *zone) phase() lifecycle.Phase {
	if p := z.open().facts.state.Life.Phase; p != "" {
		return p
	}
	return lifecycle.Collecting // it has not been decided about yet
}

// Told is what there is to tell of a zone. It is not changed.
type Told struct {
	lifecycle.Report
	Roles    map[merge.Key]keys.Role // of our keys that are published
	Warnings []string                // what was warned of and is so still
}

// tell lets other goroutines know what has changed.
func (z *zone) tell() {
	if !z.news || z.open().outside.report.Phase == "" {
		return
	}
	z.news = false
	told := flat.Of(&Told{Report: z.open().outside.report, Roles: z.open().roles, Warnings: z.warnings()})
	z.told.Store(&told)
}

// Tell calls tell for each zone of that canonical name, or of "" for all, of
// which anything is known: how far it has come and what it waits for. It takes no
// lock.
func (e *Engine) Tell(name string, tell func(*Zone, Told)) {
	for _, z := range e.zones {
		if t := z.told.Load(); t != nil && (name == "" || z.Name == name) {
			tell(z.Zone, *t.Get())
		}
	}
}
