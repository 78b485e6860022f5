package refresh

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/observe"
	"github.com/coredns-mske/mske/store"
)

const (
	// Looks from outside that run at once, each at all servers of one zone or of
	// its parent. They wait for the network.
	maxParents = 8
	maxSights  = 16

	// How many of either begin in a second, at least and at most. A fleet that
	// needs more to look at each zone in time has more.
	minLookRate, maxLookRate = 15, 300

	// outsideSpread is by how much the first looks at each zone of a fleet are
	// spread.
	outsideSpread = 10 * time.Millisecond

	// eagerReadings is how many times the parent is read at growing distances
	// after it was told of a change. Whoever scans at once has followed by then.
	eagerReadings = 5
)

// Outside looks at zones as resolvers and parents see them. It gives up when ctx
// ends and after a time of its own; what could not be seen is part of what was.
// An *observe.Observer is one.
type Outside interface {
	Parent(ctx context.Context, zone string) observe.Parent
	Servers(ctx context.Context, zone string, hosts []string) observe.Sight
}

// outside is what is seen of a zone from outside, and when that is done again.
type outside struct {
	parent, servers glance

	// What was seen since the last decision, and the last look of all.
	newParent lifecycle.Parent
	newLook   lifecycle.Look
	look      lifecycle.Look
	hosts     []string       // that were asked in it
	sight     *observe.Sight // what it is made of, kept while nothing is served

	report lifecycle.Report
}

// glance is one of the two looks.
type glance struct {
	running bool
	asked   time.Time // last
	next    time.Time
	idle    int // looks in a row that changed nothing
	eager   int // looks to come that do not wait for TTLs, since a change is expected
}

// lookRates sets how many looks begin in a second at least: half as many again as
// it takes to look at each zone once in RefreshMax.
func (l *loop) lookRates(zones []*Zone) {
	rate := 0.0
	for _, z := range zones {
		if z.RefreshMax > 0 {
			rate += 1.5 / z.RefreshMax.Seconds()
		}
	}
	rate = max(rate, minLookRate)
	l.parentPace, l.sightPace = newPace(rate, max(rate, maxLookRate)), newPace(rate, max(rate, maxLookRate))
}

// observe has z looked at from outside as far as that is due.
func (e *Engine) observe(z *zone) {
	if z.Outside == nil {
		return
	}
	now, o := e.loop.now, &z.open().outside
	if o.parent.next.IsZero() {
		spread := time.Duration(rand.Int64N(int64(len(e.zones)) * int64(outsideSpread)))
		o.parent.next, o.servers.next = now.Add(spread), now.Add(spread)
	}
	if g := &o.parent; !g.running && due(g.next, now) {
		g.running = true
		e.submit(&e.loop.parents, task{
			zone: z,
			run: func(ctx context.Context) func() {
				p := z.Outside.Parent(ctx, z.Name)
				return func() { e.sawParent(z, p, now) }
			},
			fail: func() { e.sawParent(z, observe.Parent{}, now) },
		})
	}
	if g := &o.servers; !g.running && due(g.next, now) {
		hosts := z.lookedAt()
		if len(hosts) == 0 { // the zone has not been read yet
			g.next = now.Add(e.pollEvery)
			return
		}
		g.running = true
		e.submit(&e.loop.sights, task{
			zone: z,
			run: func(ctx context.Context) func() {
				s := z.Outside.Servers(ctx, z.Name, hosts)
				return func() { e.sawServers(z, hosts, s) }
			},
			fail: func() { e.sawServers(z, hosts, observe.Sight{}) },
		})
	}
}

// lookedAt returns the nameservers that are to be asked.
func (z *zone) lookedAt() []string {
	hosts := lifecycle.Hosts(z.open().facts.state.Life, z.lifeFacts())
	return hosts[:min(len(hosts), observe.MaxHosts)]
}

// sawParent takes over a reading of the parent that began at a time.
func (e *Engine) sawParent(z *zone, p observe.Parent, began time.Time) {
	now, g := e.loop.now, &z.open().outside.parent
	g.running, g.asked = false, now
	defer e.wake(z, now)
	if !e.loop.clock.right() {
		g.next = now.Add(z.RefreshMin)
		return // signatures were judged by it
	}
	z.reportParent(p)
	if p.DSStatus == observe.DSUnread && !p.NSRead {
		g.idle++
		g.next = now.Add(max(jitter(min(after(retries, g.idle)*z.RefreshMin, z.RefreshMax)), z.RefreshMin))
		return
	}
	g.idle = 0
	ttl := p.DSTTL
	if p.NSRead && p.NSTTL > 0 {
		ttl = min(ttl, p.NSTTL)
	}
	g.next = now.Add(max(jitter(min(max(ttl, z.RefreshMin), z.RefreshMax)), z.RefreshMin))
	if g.eager > 0 {
		soon := after(retries, eagerReadings-g.eager+1) * z.RefreshMin
		g.eager--
		g.next = earliest(g.next, now.Add(max(jitter(soon), z.RefreshMin)))
	}
	z.open().outside.newParent = lifecycle.Parent{
		At: now, DSFrom: earliest(began, now).Add(-p.DSAge), DSStatus: p.DSStatus, DS: p.DS[:min(len(p.DS), store.MaxDS)], DSTTL: p.DSTTL,
		NSRead: p.NSRead, NS: clip(p.NS), NSTTL: p.NSTTL,
	}
	if s := z.open().outside.sight; s != nil && len(s.Servers) > 0 {
		z.open().facts.vouched = z.vouch(*s)
	}
	e.loop.dirty[z] = true
}

// reportParent says when the parent cannot be read.
func (z *zone) reportParent(p observe.Parent) {
	var unread []string
	if p.DSStatus == observe.DSUnread {
		text := "DS"
		if p.DSErr != nil {
			text += " (" + p.DSErr.Error() + ")"
		}
		unread = append(unread, text)
	}
	if !p.NSRead {
		text := "NS"
		for _, s := range p.Servers {
			if s.Err != nil {
				text += " (" + s.Host + ": " + s.Err.Error() + ")"
				break
			}
		}
		unread = append(unread, text)
	}
	switch {
	case len(unread) == 0:
		z.recovered("parent", "the parent can be read again")
		return
	case z.open().facts.state.Life.Phase == lifecycle.Single:
		return // a fleet has many; what waits for it says so
	}
	z.say("parent", levelWarning, "unread", "the parent's %s cannot be read: until it can, no nameserver's keys go and no step that needs it is taken", strings.Join(unread, " and "))
}

// sawServers takes over a look at the nameservers.
func (e *Engine) sawServers(z *zone, hosts []string, s observe.Sight) {
	now, o := e.loop.now, &z.open().outside
	g := &o.servers
	g.running, g.asked = false, now
	defer e.wake(z, now)
	if len(s.Servers) == 0 || !e.loop.clock.right() {
		g.next = now.Add(z.RefreshMin)
		return
	}
	joint := z.open().facts.state.Joint
	s.Share(slices.Concat(joint.DNSKEY, joint.CDNSKEY), joint.CDS)
	l := lifecycle.LookOf(s, joint).Admit(z.newcomers(), z.announcedKeys()).Like(o.look)
	l.At = now
	if sameLook(l, o.look) {
		g.idle++
	} else {
		g.idle = 0
	}
	o.look, o.newLook, o.hosts, o.sight = l, l, hosts, nil
	if z.open().shown.answer != full {
		o.sight = &s
	}
	z.open().facts.vouched = z.vouch(s)
	e.recount(z)
	z.open().facts.explained, z.open().facts.served = z.explain(s), z.serving(l)
	g.next = now.Add(z.lookWait())
	e.doubtOn(z)
	e.loop.dirty[z] = true
}

// newcomers returns the nameservers that NS is to gain.
func (z *zone) newcomers() []string {
	s := z.open().facts.state
	return slices.DeleteFunc(slices.Clone(s.Target), func(h string) bool {
		return slices.Contains(s.NS, h) || slices.Contains(s.Life.ParentNS, h)
	})
}

// announcedKeys returns the keys that sign the zone's data, or may at any time, at
// the nameservers that the owner wants.
func (z *zone) announcedKeys() []merge.Key {
	ks := slices.Clone(z.announces().keys.DNSKEY)
	for _, p := range z.open().facts.state.Peers {
		if slices.Contains(z.open().facts.state.Target, p.Host) {
			ks = append(ks, p.Announcement.DNSKEY...)
		}
	}
	return ks
}

// lookWait returns how long to wait for the next look at the nameservers: little
// while something is awaited that they may show, longer while nothing changes.
func (z *zone) lookWait() time.Duration {
	wait := z.RefreshMax
	switch z.open().facts.state.Life.Phase {
	case lifecycle.Collecting, lifecycle.Joint, lifecycle.Synced:
		wait = after(retries, z.open().outside.servers.idle+1) * z.RefreshMin
	case lifecycle.Insecure:
		if !z.open().outside.report.Converged {
			wait = after(retries, z.open().outside.servers.idle+1) * z.RefreshMin
		}
	}
	return max(jitter(min(wait, z.RefreshMax)), z.RefreshMin)
}

// lookSoon has the nameservers looked at as soon as they may be asked again:
// something has changed.
func (e *Engine) lookSoon(z *zone) {
	z.open().outside.servers.idle = 0
	e.lookBy(z, e.loop.now.Add(time.Second))
}

// lookBy has the nameservers looked at at a time, or as soon after it as they may be
// asked again. A zero time is none.
func (e *Engine) lookBy(z *zone, at time.Time) {
	g := &z.open().outside.servers
	if z.Outside == nil || at.IsZero() || g.asked.IsZero() {
		return // the first is to come
	}
	g.next = earliest(g.next, latest(at, g.asked.Add(z.RefreshMin)))
	e.wake(z, g.next)
}

// readParentSoon has the parent read as soon as it may be asked again: it was told
// of a change, and follows it or not.
func (e *Engine) readParentSoon(z *zone) {
	g := &z.open().outside.parent
	if z.Outside == nil || g.asked.IsZero() {
		return // the first is to come
	}
	g.eager = eagerReadings
	g.next = earliest(g.next, e.loop.now.Add(jitter(z.RefreshMin)+z.RefreshMin/10))
	e.wake(z, g.next)
}

// lookAtDeadline has the parent and the nameservers read when a wait is over:
// time alone ends none.
func (e *Engine) lookAtDeadline(z *zone) {
	at := z.open().outside.report.Next
	if z.Outside == nil || at.IsZero() {
		return
	}
	for _, g := range []*glance{&z.open().outside.parent, &z.open().outside.servers} {
		if !g.next.IsZero() {
			g.next = earliest(g.next, latest(at, g.asked.Add(z.RefreshMin)))
			e.wake(z, g.next)
		}
	}
}

// sameLook reports whether two looks show the same, but for when.
func sameLook(a, b lifecycle.Look) bool {
	return slices.EqualFunc(a.Seen, b.Seen, func(x, y lifecycle.Seen) bool {
		return x.Host == y.Host && x.Silent == y.Silent && slices.Equal(x.Lacks, y.Lacks) && slices.Equal(x.NS, y.NS) && slices.Equal(x.Keys, y.Keys)
	})
}

// voucher is a nameserver with the key sets of its that DS vouches for.
type voucher struct {
	host string
	sets []lifecycle.Vouched
}

// vouchedBy returns the key sets of host that DS vouches for.
func (f *facts) vouchedBy(host string) []lifecycle.Vouched {
	i := slices.IndexFunc(f.vouched, func(v voucher) bool { return v.host == host })
	if i < 0 {
		return nil
	}
	return f.vouched[i].sets
}

// vouch returns the key sets of external nameservers that the parent's DS
// vouches for.
func (z *zone) vouch(s observe.Sight) (by []voucher) {
	ds := z.open().facts.state.Life.DS
	if p := z.open().outside.newParent; p.DSStatus != observe.DSUnread {
		ds = p.DS
	}
	for _, server := range s.Servers {
		if z.own(server.Host) {
			continue
		}
		if sets := lifecycle.VouchedBy(z.Name, server, ds); len(sets) > 0 {
			by = append(by, voucher{server.Host, sets})
		}
	}
	return by
}

// explain returns the external nameservers all of whose keys are known without
// the seed.
func (z *zone) explain(s observe.Sight) (hosts []string) {
	known := merge.Union(z.Name, z.open().local, z.open().facts.state.Peers)
	for _, server := range s.Servers {
		if lifecycle.Explained(z.Name, server, known) {
			hosts = append(hosts, server.Host)
		}
	}
	return hosts
}

// serving returns the nameservers that were seen to serve the joint sets
// (rule D5).
func (z *zone) serving(l lifecycle.Look) (hosts []string) {
	for _, seen := range l.Seen {
		if !seen.Silent && len(seen.Lacks) == 0 {
			hosts = append(hosts, seen.Host)
		}
	}
	return hosts
}
