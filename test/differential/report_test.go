package differential

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/fetch"
)

// asked is one question and what came of it: by unbound, and by pdns-recursor.
type asked struct {
	question
	ours   [2]opinion // through each
	theirs [2]opinion // of each
}

// outcome is all that came of one case.
type outcome struct {
	world   *world
	program string
	asked   []asked
	fetched [2]fetch.Result
}

// tally counts a damage.
type tally struct {
	cases  int
	ours   map[verdict]int // cases with that verdict on a question that the damage is about
	peers  map[verdict]int // the same of either peer
	effect effect
}

// report is the result of a run.
type report struct {
	seed uint64

	mu         sync.Mutex
	cases      int
	questions  int
	agreements int // pairs of verdicts
	verdicts   map[verdict]int
	causes     map[string]int
	alone      map[string]int // what we alone call secure, by cause
	damages    map[string]*tally
	fetched    map[string]int
	faults     []string
	accepted   []string // believed where neither peer does, for a reason each
}

func newReport(seed uint64) *report {
	return &report{
		seed: seed, verdicts: make(map[verdict]int), causes: make(map[string]int), alone: make(map[string]int),
		damages: make(map[string]*tally), fetched: make(map[string]int),
	}
}

var peerNames = [2]string{"unbound", "pdns-recursor"}

// add takes in a case, and returns what is wrong with it.
func (r *report) add(c *outcome) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := len(r.faults)
	r.cases++
	for _, a := range c.asked {
		r.questions++
		r.compare(c, a)
	}
	r.count(c)
	r.addFetched(c)
	return r.faults[before:]
}

// compare takes in our verdicts on a question, through either peer, and those of
// the peers.
func (r *report) compare(c *outcome, a asked) {
	unexplained := false
	for i, ours := range a.ours {
		r.verdicts[ours.verdict]++
		for j, theirs := range a.theirs {
			if ours.verdict == theirs.verdict {
				r.agreements++
				continue
			}
			d := disagreement{w: c.world, program: c.program, asked: a, through: i, peer: j, ours: ours, theirs: theirs}
			if cause := d.cause(); cause != nil {
				r.causes[cause.name]++
				if d.alone() {
					r.alone[cause.name]++
				}
				continue
			}
			unexplained = true
		}
	}
	if unexplained {
		r.fault(c, fmt.Sprintf("%s\n\tours through unbound        %s\n\tours through pdns-recursor  %s\n\tunbound                     %s\n\tpdns-recursor               %s",
			a.question, a.ours[0], a.ours[1], a.theirs[0], a.theirs[1]))
	}
}

// fault reports what must not be.
func (r *report) fault(c *outcome, what string) {
	damage, where := "none", ""
	if c.world.damage != nil {
		damage, where = c.world.damage.name, " of "+c.world.damaged.name
	}
	r.faults = append(r.faults, fmt.Sprintf("case %d (%s, damage: %s%s): %s", c.world.number, c.program, damage, where, what))
}

// count takes in what became of the damage.
func (r *report) count(c *outcome) {
	name, e := "none", harmless
	if c.world.damage != nil {
		name, e = c.world.damage.name, c.world.damage.effect
	}
	t := r.damages[name]
	if t == nil {
		t = &tally{effect: e, ours: make(map[verdict]int), peers: make(map[verdict]int)}
		r.damages[name] = t
	}
	t.cases++
	ours, peers := make(map[verdict]bool), make(map[verdict]bool)
	for _, a := range c.asked {
		if c.world.damage != nil && !slices.ContainsFunc(c.world.targets, func(q question) bool {
			return q.qtype == a.qtype && q.name == dns.CanonicalName(a.name)
		}) {
			continue
		}
		for i := range a.ours {
			ours[a.ours[i].verdict] = true
			peers[a.theirs[i].verdict] = true
		}
	}
	for v := range ours {
		t.ours[v]++
	}
	for v := range peers {
		t.peers[v]++
	}
}

// addFetched takes in the announcement as a whole: it must not be believed
// where both peers do not believe a part of it.
func (r *report) addFetched(c *outcome) {
	for i, result := range c.fetched {
		r.fetched[result.Verdict.String()]++
		if result.Verdict != fetch.Secure && result.Verdict != fetch.Absent {
			continue
		}
		for _, a := range c.asked {
			if dns.CanonicalName(a.name) != c.world.owner || !slices.Contains(announcement, a.qtype) {
				continue
			}
			if a.theirs[0].verdict == secure || a.theirs[1].verdict == secure {
				continue
			}
			if unbound, recursor := explained(c, a, i, 0), explained(c, a, i, 1); unbound != nil && recursor != nil {
				r.accepted = append(r.accepted, fmt.Sprintf("case %d, %s, of %s: unbound %s: %s; pdns-recursor %s: %s",
					c.world.number, result.Verdict, a.question, a.theirs[0].verdict, unbound.name, a.theirs[1].verdict, recursor.name))
			} else {
				r.fault(c, fmt.Sprintf("announcement through %s %s (%s), but %s: unbound %s; pdns-recursor %s",
					peerNames[i], result.Verdict, result.Reason, a.question, a.theirs[0], a.theirs[1]))
			}
		}
	}
}

// explained returns why a peer does not call secure what we do, nil if that is
// not known.
func explained(c *outcome, a asked, through, peer int) *rule {
	d := disagreement{w: c.world, program: c.program, asked: a, through: through, peer: peer, ours: a.ours[through], theirs: a.theirs[peer]}
	if d.ours.verdict != secure {
		return nil
	}
	return d.cause()
}

// finish fails the test for damages that were not noticed.
func (r *report) finish(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checkTeeth(t)
}

// String returns the table of what has come of it so far.
func (r *report) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var text strings.Builder
	fmt.Fprintf(&text, "seed %d: %d cases, %d questions, %d pairs of verdicts agree, %d unexplained\n",
		r.seed, r.cases, r.questions, r.agreements, len(r.faults))
	fmt.Fprintf(&text, "our verdicts: %v\nannouncements: %v\n", r.verdicts, r.fetched)
	for _, name := range slices.Sorted(maps.Keys(r.causes)) {
		fmt.Fprintf(&text, "%6d pairs disagree: %s\n", r.causes[name], name)
	}
	for _, name := range slices.Sorted(maps.Keys(r.alone)) {
		fmt.Fprintf(&text, "%6d of these pairs are secure to us and to neither peer: %s\n", r.alone[name], name)
	}
	for _, name := range slices.Sorted(maps.Keys(r.damages)) {
		d := r.damages[name]
		fmt.Fprintf(&text, "%6d cases of %-55s which makes %-8s ours %v, peers %v\n", d.cases, name, d.effect, d.ours, d.peers)
	}
	fmt.Fprintf(&text, "%d RRsets of announcements believed that neither peer calls secure, each for a reason:\n", len(r.accepted))
	for _, line := range r.accepted {
		fmt.Fprintln(&text, line)
	}
	return text.String()
}

// enough is how many cases of a damage there have to be until one of them is
// noticed: not every world has what it matters to.
const enough = 8

// checkTeeth fails the test if a damage did not come up or was not noticed.
func (r *report) checkTeeth(t *testing.T) {
	t.Helper()
	for _, d := range damages() {
		tally := r.damages[d.name]
		switch {
		case tally == nil:
			t.Errorf("Damage %q did not come up in %d cases", d.name, r.cases)
		case d.effect == harmless && tally.ours[bogus] > 0:
			t.Errorf("Damage %q is harmless, and was found bogus in %d cases", d.name, tally.ours[bogus])
		case tally.cases < enough:
		case d.effect == breaks && tally.ours[bogus] == 0:
			t.Errorf("Damage %q was never found bogus in %d cases", d.name, tally.cases)
		case d.effect == downgrades && tally.ours[insecure]+tally.ours[bogus] == 0:
			t.Errorf("Damage %q was never noticed in %d cases", d.name, tally.cases)
		}
	}
}
