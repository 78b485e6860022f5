package fetch

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/coredns-mske/mske/validate"
)

// maxWays is how many ways an announcement is collected by at most. Each has its
// own budget, so this is also what an announcement may cost in all.
const maxWays = 4

// way is a way to collect an announcement.
type way struct {
	name   string // for an operator
	x      *route // of the questions to resolvers
	direct bool   // the RRsets are asked of the host itself
}

// otherwise tries further ways after a first one that came to nothing which may
// be a resolver's doing (rule F5), as long as there is time and none gives a
// proof: an announcement that is accepted, or that there is none. If none does,
// the first outcome stands, with what else was tried. Whatever the others say
// cannot make it worse, or better than it is: everything is validated here.
func (c *collection) otherwise(ctx context.Context, first outcome, through *route) Result {
	var tried []string
	left := maxWays
	c.afresh = first.Verdict == Insecure
	for w := range c.others(ctx, first, through) {
		if left--; ctx.Err() != nil {
			break
		}
		got := c.within(ctx, left, w)
		if got.Verdict == Secure || got.Verdict == Absent {
			return got.Result
		}
		tried = append(tried, fmt.Sprintf("%s: %s", w.name, got.Verdict))
	}
	first.Tried = strings.Join(tried, ", ")
	return first.Result
}

// within collects in way w, with the time for one of so many ways: one that hangs
// leaves time for the next.
func (c *collection) within(ctx context.Context, ways int, w way) outcome {
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(ways))
		defer cancel()
	}
	return c.by(ctx, w)
}

// others yields the ways there are besides that through the resolvers in their
// order, after what that came to. Where a resolver may hold what is forged,
// the same again without CD: some keep what they did not validate apart from
// what they did. Not so where the answers cost all they may: somebody means them
// to, and gets one way less. Then each resolver that may say something else. Last
// the host itself, whose answers nobody kept.
func (c *collection) others(ctx context.Context, first outcome, through *route) iter.Seq[way] {
	bogus := first.Verdict == Bogus
	return func(yield func(way) bool) {
		left := maxWays - 1
		if first.costly {
			left--
		}
		if bogus && !first.costly {
			again := c.f.route()
			again.checked = true
			if left--; !yield(way{name: "without CD", x: again}) {
				return
			}
		}
		fresh, used := through.others()
		for _, i := range fresh {
			if left == 1 {
				break // the last way is the host's
			}
			if _, err := c.f.fit(ctx, i, false); err != nil {
				continue
			}
			if left--; !yield(way{name: "through " + c.f.client.resolvers[i].String(), x: c.f.route(i)}) {
				return
			}
		}
		chain := c.f.route(slices.Concat(fresh, used)...)
		chain.checked = bogus
		yield(way{name: "from " + c.host + " itself", x: chain, direct: true})
	}
}

// others returns the resolvers that may say something else, in the order in which
// they are to be asked, and the one that said it all before. Where several
// answered, as one of them was being probed or silent, each may say something
// else alone: the last first, as the others came before it.
func (r *route) others() (fresh, used []int) {
	for i := range r.answered {
		if r.answered[i].Load() {
			used = append(used, i)
		} else {
			fresh = append(fresh, i)
		}
	}
	if len(used) > 1 {
		slices.Reverse(used)
		return append(fresh, used...), nil
	}
	return fresh, used
}

// maxServers is how many of a host's servers may answer before the host itself
// is taken to be at fault.
const maxServers = 2

// direct asks the host's own servers, one after the other, for all three RRsets,
// until one of them gives a proof or what it says can be nobody else's doing.
func (c *collection) direct(ctx context.Context, s *validate.Session) outcome {
	addrs, err := c.f.addresses(ctx, s, c.host)
	if err != nil {
		return outcome{Result: Result{Verdict: Unreachable, Reason: err.Error()}}
	}
	var last outcome
	answered := 0
	for _, addr := range addrs {
		last = c.conclude(ctx, s, c.lookup(ctx, func(ctx context.Context, qtype uint16) (r validate.Result, err error) {
			m, err := c.f.AskDirect(ctx, addr, c.owner, qtype)
			if err != nil {
				return r, &FailedError{Name: c.owner, Qtype: qtype, Errs: []error{fmt.Errorf("%s: %w", addr, err)}}
			}
			return s.Check(ctx, m, c.owner, qtype)
		}))
		if last.Verdict != Unreachable {
			answered++
		}
		if last.Verdict != Unreachable && !last.again || answered == maxServers || ctx.Err() != nil {
			break
		}
	}
	return last
}
