package refresh

import (
	"slices"
	"time"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
)

// doubt is about an announcement of which some keys do not count, since the zone's
// apex at its host was not seen to hold them (rule D2): it may have come to since. So
// the nameservers are looked at again, soon and then less and less often, and what
// was announced is held against what they show.
type doubt struct {
	found fetch.Result // zero after a collection that failed
	at    time.Time    // when it was collected
	left  []merge.Ref  // those that do not count, none once all do
	looks int          // that did not change that, at most one more than there are retries
	last  time.Time    // of these
}

// vouchedPart returns the part of what host announces that the zone's apex there was
// seen to hold, as DS vouches for, and which keys are left.
func (z *zone) vouchedPart(host string, a merge.Announcement) (part merge.Announcement, left []merge.Ref) {
	return lifecycle.Consented(z.Name, a, z.open().facts.vouchedBy(host))
}

// doubt takes over which keys of what c came to do not count. Looks begin for one that
// was not left before. They cost all nameservers of the zone, so whoever announces
// such keys again and again gets no more of them.
func (e *Engine) doubt(z *zone, c *collection, r fetch.Result) {
	if r.Verdict != fetch.Secure {
		if c.doubt != nil {
			c.doubt.found = fetch.Result{}
		}
		return
	}
	var left []merge.Ref
	if !z.consents(z.open().facts.state, c.host) {
		_, left = z.vouchedPart(c.host, r.Announcement)
	}
	if c.doubt == nil {
		if len(left) == 0 {
			return
		}
		c.doubt = new(doubt)
	}
	d := c.doubt
	more := slices.ContainsFunc(left, func(r merge.Ref) bool { return !slices.Contains(d.left, r) })
	d.found, d.at, d.left = r, e.loop.now, left
	if !more {
		return
	}
	if d.last.Add(z.RefreshMax).Before(e.loop.now) {
		d.looks = 0
	}
	e.lookBy(z, d.next(z.Zone, e.loop.now))
}

// next returns when the nameservers are to be looked at because of d, zero for never.
func (d *doubt) next(z *Zone, now time.Time) time.Time {
	switch {
	case d.looks == 0:
		return now
	case d.looks > len(retries):
		return time.Time{}
	}
	return d.last.Add(min(after(retries, d.looks)*z.RefreshMin, z.RefreshMax))
}

// recount takes in what counts, now that more is known of the zone's apexes, of what
// was announced before. What no longer does stays until it is announced anew. A zone
// that begins cold is seeded first, which takes in more (rule M5).
func (e *Engine) recount(z *zone) {
	if z.open().shown.answer != full {
		return
	}
	hosts, _ := z.imports(z.open().facts.state)
	for _, c := range z.fetching {
		d := c.doubt
		if d == nil || d.found.Verdict != fetch.Secure || c.running || !slices.Contains(hosts, c.host) {
			continue
		}
		_, left := z.vouchedPart(c.host, d.found.Announcement)
		if len(common(left, d.left)) < len(left) || len(left) == len(d.left) {
			continue
		}
		d.left = left
		if err := e.accept(z, c.host, d.found.Announcement, d.at); err == nil && c.verdict == fetch.Refused {
			c.verdict = fetch.Secure
			e.accepted(z, c, d.found.TTL, d.at)
		}
	}
}

// doubtOn has the nameservers looked at again, after a look, for what is still in
// doubt.
func (e *Engine) doubtOn(z *zone) {
	for _, c := range z.fetching {
		if d := c.doubt; d != nil && len(d.left) > 0 && d.looks <= len(retries) {
			d.looks, d.last = d.looks+1, e.loop.now
			e.lookBy(z, d.next(z.Zone, e.loop.now))
		}
	}
}
