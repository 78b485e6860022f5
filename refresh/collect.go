package refresh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/domain"
	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/store"
)

// retries are the waits after failures to collect in a row, in units of the
// least time between two collections, and never longer than the most.
var retries = []time.Duration{1, 1, 2, 5, 10, 20, 40, 60}

// collection is the collecting of one host's announcements for one zone.
type collection struct {
	host    string
	line    *line
	running bool
	asked   time.Time // last
	next    time.Time
	fails   int // in a row
	verdict fetch.Verdict
	ended   time.Time // when that was

	known    bool          // whether keys of the host were known when the dossier was shut
	notified bool          // it is to be fetched ahead of its time
	awaited  bool          // it is due since the owner changed the nameservers
	every    time.Duration // how often it is due in the long run, see lines.load
	doubt    *doubt        // nil: all that it ever came to counts
}

// failed schedules the next attempt.
func (c *collection) failed(z *Zone, now time.Time) {
	c.fails++
	wait := min(after(retries, c.fails)*z.RefreshMin, z.RefreshMax)
	c.next = now.Add(max(jitter(wait), z.RefreshMin))
}

// succeeded schedules the next collection by the TTL of what was found, and returns
// how long that is.
func (c *collection) succeeded(z *Zone, now time.Time, ttl time.Duration) time.Duration {
	c.fails = 0
	wait := z.every(ttl)
	c.next = now.Add(max(jitter(wait), z.RefreshMin))
	return wait
}

// every returns how often an announcement with a TTL is collected.
func (z *Zone) every(ttl time.Duration) time.Duration {
	return min(max(ttl, z.RefreshMin), z.RefreshMax)
}

// collect starts the collections of z that are due. Those of hosts that are no
// longer imported from end, and are forgotten once such a host may be asked
// again; what is known of its keys stays.
func (e *Engine) collect(z *zone) {
	now := e.loop.now
	hosts, _ := z.imports(z.open().facts.state)
	z.fetching = slices.DeleteFunc(z.fetching, func(c *collection) bool {
		over := !slices.Contains(hosts, c.host) && !c.running && !c.asked.Add(z.RefreshMin).After(now)
		if over {
			e.loop.fetches.leave(c)
			z.settle("fetch " + c.host)
		}
		return over
	})
	for _, n := range slices.Clone(z.open().notes) {
		if host, ok := strings.CutPrefix(n.topic, "incapable "); ok && !slices.Contains(hosts, host) {
			z.settle(n.topic)
		}
	}
	var room []collection // for those that are still to come, in one piece
	for i, host := range hosts {
		c := z.collectionOf(host)
		if c == nil {
			if !z.capable(host) {
				continue
			}
			if len(room) == 0 {
				room = make([]collection, len(hosts)-i)
				z.fetching = slices.Grow(z.fetching, len(room))
			}
			c, room = &room[0], room[1:]
			z.schedule(c, host, now)
			c.line = e.loop.fetches.join(place{z.Fetcher, c.host})
			e.loop.fetches.expect(c, z.RefreshMax)
			z.fetching = append(z.fetching, c)
		}
		c.advance(z.Zone, now)
		if !c.running && !c.next.After(now) {
			e.fetch(z, c)
		}
	}
}

// capable reports whether host can announce anything, and says so if not.
func (z *zone) capable(host string) bool {
	err := z.incapable(host)
	if err != nil {
		z.say("incapable "+host, levelWarning, "", "no keys can be collected from %s: %v", host, err)
	}
	return err == nil
}

// schedule makes c the collection from host, due now or as soon as the time since the
// last one, perhaps before a restart, allows.
func (z *zone) schedule(c *collection, host string, now time.Time) {
	*c = collection{host: domain.Shared(host), next: now, notified: z.notified.Load()}
	if i := peer(z.open().facts.state.Peers, host); i >= 0 {
		if last := z.open().facts.state.Peers[i].Collected; !last.After(now) {
			c.asked = last
			c.next = latest(now, last.Add(z.RefreshMin))
		}
	}
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// collectNow makes every collection of z due, as far as the least time between
// two of them allows (rule D4).
func (e *Engine) collectNow(z *zone) {
	for _, c := range z.fetching {
		c.next = latest(e.loop.now, c.asked.Add(z.RefreshMin))
		if c.running {
			e.loop.fetches.await(c)
		} else {
			c.awaited = true
		}
	}
}

// fetch lets c run when it is its turn. A host that was found dead just now is
// left alone.
func (e *Engine) fetch(z *zone, c *collection) {
	if c.line.dead() && c.line.again.After(e.loop.now) {
		z.begin(c)
		e.tried(z, c)
		return
	}
	c.running = true
	routine := !c.awaited && (peer(z.open().facts.state.Peers, c.host) >= 0 || !c.ended.IsZero())
	c.awaited = false
	e.loop.fetches.add(c.line, turn{zone: z, collection: c, routine: routine, begin: func() task {
		collect := z.begin(c)
		var known merge.Announcement
		if i := peer(z.open().facts.state.Peers, c.host); i >= 0 {
			known = z.open().facts.state.Peers[i].Announcement
		}
		return task{
			zone: z,
			run: func(ctx context.Context) func() {
				began := time.Now()
				r := collect(ctx, z.Name, c.host, known)
				took := time.Since(began)
				return func() {
					c.asked = e.loop.now.Add(-took)
					e.collected(z, c, r, took)
				}
			},
			fail: func() {
				e.collected(z, c, fetch.Result{Verdict: fetch.Indeterminate, Reason: "internal error"}, 0)
			},
		}
	}})
}

// dispatchFetches begins the collections that may run now. It returns when the
// next may, zero if not before something else happens.
func (e *Engine) dispatchFetches() (later time.Time) {
	for {
		t, s, ok, later := e.loop.fetches.next(e.loop.now)
		if !ok {
			return later
		}
		run := t.begin()
		e.wg.Go(func() {
			e.work(run, func() { e.loop.fetches.end(s) })
		})
	}
}

// tried is for a collection from a dead host that another zone's spoke for.
func (e *Engine) tried(z *zone, c *collection) {
	c.failed(z.Zone, e.loop.now)
	c.running, c.ended, c.verdict, c.next = false, e.loop.now, fetch.Unreachable, c.line.again
	e.wake(z, c.next)
	e.loop.news = true
}

// heard takes over what the verdict of c says of its host, after c's next time
// was set. All that wait for a host that is dead are tried with c; the next
// time another zone's collection speaks for them.
func (e *Engine) heard(z *zone, c *collection, reason string) {
	l := c.line
	changed := l.heard(z.key, c.verdict)
	switch {
	case changed && l.dead():
		e.config.Log.Warningf("Nameserver %s cannot be reached, so that no announcement can be collected from it (for %d zones); what is known of its keys stays: %s", l.at.host, l.zones, reason)
	case changed:
		e.config.Log.Infof("Nameserver %s can be reached again (for %d zones)", l.at.host, l.zones)
	}
	if c.verdict != fetch.Unreachable || !l.dead() {
		return
	}
	l.again, c.next = c.next, c.next.Add(time.Second)
	for _, t := range e.loop.fetches.dismiss(l) {
		e.tried(t.zone, t.collection)
	}
}

// collected takes over the result of a collection. Only a secure one that we
// accept changes what is known of the peer (rules F7 and M2).
func (e *Engine) collected(z *zone, c *collection, r fetch.Result, took time.Duration) {
	now := e.loop.now
	c.running = false
	defer e.wake(z, now)
	if !e.loop.clock.right() {
		c.next = c.asked.Add(z.RefreshMin)
		return // by such a clock anything may look bogus, or valid still
	}
	c.ended, c.verdict = now, r.Verdict
	if hosts, _ := z.imports(z.open().facts.state); !slices.Contains(hosts, c.host) {
		c.next = c.asked.Add(z.RefreshMin)
		return // it was dropped meanwhile
	}
	e.doubt(z, c, r)
	if r.Verdict == fetch.Secure {
		if err := e.accept(z, c.host, r.Announcement, now); err != nil {
			c.verdict, r.Reason, r.Tried = fetch.Refused, err.Error(), ""
		}
	}
	if e.config.Observer != nil {
		e.config.Observer.Fetched(c.verdict, took)
	}
	switch c.verdict {
	case fetch.Secure:
		e.accepted(z, c, r.TTL, now)
	case fetch.Absent:
		e.loop.fetches.expect(c, c.succeeded(z.Zone, now, r.TTL))
		z.reportFailure(c, r, now)
	default:
		c.failed(z.Zone, now)
		if c.verdict != fetch.Unreachable || c.line.silent < deadAfter-1 {
			z.reportFailure(c, r, now)
		}
	}
	e.heard(z, c, r.Why())
	e.loop.news = true
}

// accepted schedules the next collection after one that was accepted.
func (e *Engine) accepted(z *zone, c *collection, ttl time.Duration, at time.Time) {
	e.loop.fetches.expect(c, c.succeeded(z.Zone, at, ttl))
	z.recovered("fetch "+c.host, "the announcement of %s is secure now", c.host)
}

// reportFailure says, once for each verdict and each reason of a refusal, what
// the collection came to and what is known of the host.
func (z *zone) reportFailure(c *collection, r fetch.Result, now time.Time) {
	l, known := levelWarning, "nothing is known of it yet"
	if i := peer(z.open().facts.state.Peers, c.host); i >= 0 {
		last := z.open().facts.state.Peers[i].Collected
		known = fmt.Sprintf("its keys stay as they were %v ago", now.Sub(last).Round(time.Second))
		if c.verdict == fetch.Absent {
			l = levelError // it announced keys before (rule M2)
		}
	} else if c.verdict == fetch.Absent {
		l = levelInfo // it has not begun yet
	}
	if !z.consents(z.open().facts.state, c.host) && peer(z.open().facts.state.Peers, c.host) < 0 {
		l = levelInfo // nobody ever said that it would announce anything
	}
	id := c.verdict.String()
	if c.verdict == fetch.Refused {
		id += ": " + r.Reason // one may hide behind another
	}
	z.say("fetch "+c.host, l, id, "the announcement of %s is %s: %s; %s", c.host, c.verdict, r.Why(), known)
}

// accept takes host's announcement, collected at a time, into the state of z, or
// returns why policy forbids that (rule F4).
func (e *Engine) accept(z *zone, host string, a merge.Announcement, at time.Time) error {
	s := &z.open().facts.state
	p, others := merge.Peer{Host: host}, slices.Clone(s.Peers)
	i := peer(s.Peers, host)
	if i >= 0 {
		p, others = s.Peers[i], slices.Delete(others, i, i+1)
	}
	a, err := z.consented(host, a)
	if err != nil {
		return err
	}
	// Its own keys on their way out are in the joint sets beside the new ones, and so
	// is what the zone was seeded with.
	beside := append(slices.Clip(others), merge.Peer{Retiring: p.Retiring}, s.Seed.Peer())
	if err := merge.Admit(a, z.open().local, beside, z.Lax); err == nil {
		z.settle("admit " + host)
	} else if !z.delegatedTo(host, a) {
		return err
	} else {
		z.say("admit "+host, levelError, "", "the keys of %s are served since the zone is delegated to it, but %v", host, err)
	}
	collect := merge.Peer.Collect
	if e.settle(z); z.open().facts.unsteady {
		collect = collectHeld
	}
	next, change := collect(p, a, at, z.MaxZoneTTL, lifecycle.Gap(z.every(p.Announcement.TTL)))
	if n := len(next.Announcement.DNSKEY) + len(next.Retiring); n > store.MaxPeerKeys {
		return fmt.Errorf("it has %d data-signing keys, those on their way out included, more than %d: it rolls its keys too fast", n, store.MaxPeerKeys)
	}
	if n := max(len(next.Announcement.CDNSKEY), len(next.Announcement.CDS)); n > store.MaxPeerKeys {
		return fmt.Errorf("it has %d secure-entry keys, with those that were announced minutes before, more than %d: it rolls its keys too fast", n, store.MaxPeerKeys)
	}
	if i < 0 && len(s.Peers) >= store.MaxHosts {
		return errors.New("keys of as many hosts as are dealt with are known already")
	}
	peers := append(others, next)
	slices.SortFunc(peers, comparePeers)
	if is := z.size(peers); is > maxSet && is > z.size(s.Peers) {
		return fmt.Errorf("with its keys the joint DNSKEY or CDNSKEY RRset would take %d octets, more than %d: it, or other providers, have to remove keys", is, maxSet)
	}
	z.reportChange(next, change)
	s.Peers = peers
	e.loop.lastCollection = latest(e.loop.lastCollection, at)
	if change.None() && i >= 0 {
		e.later(z)
	} else {
		e.loop.dirty[z] = true
	}
	return nil
}

// delegatedTo reports whether resolvers ask host for the zone's data already, so that
// they need the keys of a in any case. That the parent alone names it is not signed, and
// brings no key in (rule D2): it counts if the zone's apex at host holds all of these
// keys, too, as DS vouches for.
func (z *zone) delegatedTo(host string, a merge.Announcement) bool {
	s := z.open().facts.state
	if slices.Contains(s.NS, host) {
		return true
	}
	_, left := z.vouchedPart(host, a)
	return slices.Contains(s.Life.ParentNS, host) && len(left) == 0
}

// maxSet is the most octets of a joint RRset. All of an answer has to fit into
// 65,535 (RFC 1035 section 4.2.2): one that does not takes the zone down. What
// is left is for signatures and for keys of ours to come.
const maxSet = 32 << 10

// size returns the octets of the largest joint RRset with the keys of peers, and of
// the seed. CDS is smaller than CDNSKEY.
func (z *zone) size(peers []merge.Peer) int {
	joint := merge.Union(z.Name, z.open().local, append(slices.Clip(peers), z.open().facts.state.Seed.Peer()))
	octets := func(ks []merge.Key) (n int) {
		for _, k := range ks {
			n += dns.Len(k.DNSKEY(".", 0))
		}
		return n
	}
	return max(octets(joint.DNSKEY), octets(joint.CDNSKEY))
}

// reportChange says what an announcement changed.
func (z *zone) reportChange(p merge.Peer, c merge.Change) {
	if !c.None() {
		z.log.Infof("%s: %s announces: %s", z.title(), p.Host, c)
	}
	if added := c.SecureEntry.Added; len(added) > 0 {
		z.log.Warningf("%s: %s has a new secure-entry key: who holds it can sign the zone once the parent's DS names it (%s)", z.title(), p.Host, c.SecureEntry)
	}
	if onlyOurs(p.Announcement, z.open().local) {
		z.say("ours "+p.Host, levelWarning, "", "%s announces nothing but our own keys: is it yours? Then name it with the nameservers option", p.Host)
	} else {
		z.settle("ours " + p.Host)
	}
}

// onlyOurs reports whether a holds no key but ours (rule D5).
func onlyOurs(a merge.Announcement, l merge.Local) bool {
	return len(minus(a.DNSKEY, l.DNSKEY)) == 0 && len(minus(a.CDNSKEY, slices.Concat(l.SecureEntry, l.DNSKEY))) == 0
}
