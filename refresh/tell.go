package refresh

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/observe"
)

const (
	// maxNotices is how many are told something at a time, for all zones
	// together, and maxNoticesWaiting how many wait. Whoever comes after that is
	// not told, and finds out by itself.
	maxNotices        = 16
	maxNoticesWaiting = 1000

	// noticeTimeout bounds one notice, with the search for whom to tell.
	noticeTimeout = 3 * time.Minute
)

// parentRetries are the waits after the parent could not be told, again and
// again. After the last it is left to find out by itself.
var parentRetries = []time.Duration{time.Minute, 10 * time.Minute, time.Hour}

// Notifier tells others that there is something new to fetch. It limits by
// itself what any of them is sent, and gives up when ctx ends and after a time of
// its own.
type Notifier interface {
	// Host tells an external nameserver that our announcement for zone changed.
	Host(ctx context.Context, zone, host string) error
	// Parent tells the parent that the zone's RRset of qtype, CDS (and CDNSKEY)
	// or CSYNC, changed, once every nameserver serves it. told is false if it
	// wants no such thing.
	Parent(ctx context.Context, zone string, qtype uint16) (told bool, err error)
}

// notice queues something to be told. It reports whether there was room.
func (e *Engine) notice(z *zone, tell func(ctx context.Context) func()) bool {
	p := &e.loop.notices
	if len(p.queue) >= maxNoticesWaiting {
		return false
	}
	e.submit(p, task{zone: z, run: func(ctx context.Context) func() {
		ctx, cancel := context.WithTimeout(ctx, noticeTimeout)
		defer cancel()
		return tell(ctx)
	}})
	return true
}

// digestOf identifies what others were told of.
func digestOf(v ...any) string {
	sum := sha256.Sum256(fmt.Append(nil, v...))
	return hex.EncodeToString(sum[:8])
}

// AnnouncementID identifies the keys in an announcement, as [store.Zone.Told] does
// those that the other nameservers were told of.
func AnnouncementID(a merge.Announcement) string {
	var parts []string
	for _, k := range a.DNSKEY {
		parts = append(parts, fmt.Sprint("DNSKEY ", k))
	}
	for _, k := range a.CDNSKEY {
		parts = append(parts, fmt.Sprint("CDNSKEY ", k))
	}
	slices.Sort(parts)
	return digestOf(parts)
}

// tellPeers has the zone's other nameservers told of what we announce, if that is
// something else than they were told last.
func (e *Engine) tellPeers(z *zone) {
	s := &z.open().facts.state
	id := AnnouncementID(z.announces().keys)
	if s.Told == id {
		return
	}
	s.Told = id
	e.later(z)
	for _, host := range z.external(slices.Concat(s.Target, s.NS)) {
		if z.Notifier == nil || z.distrusts(host) {
			continue
		}
		queued := e.notice(z, func(ctx context.Context) func() {
			if err := z.Notifier.Host(ctx, z.Name, host); err != nil {
				z.log.Debugf("%s: telling %s that our announcement changed: %v", z.title(), host, err)
			}
			return nil
		})
		if !queued {
			z.log.Debugf("%s: %s is not told that our announcement changed: too much is waiting", z.title(), host)
		}
	}
}

// tell has all others told of announcements that changed, as soon as every
// subtree that holds them is published.
func (e *Engine) tell() {
	e.loop.telling = slices.DeleteFunc(e.loop.telling, func(z *zone) bool {
		if slices.ContainsFunc(z.announcedIn, func(t *subtree) bool { return t.dirty || t.running }) {
			return false
		}
		z.telling = false
		if len(z.announcedIn) > 0 {
			e.tellPeers(z)
		}
		return true
	})
}

// errand is something to tell the parent.
type errand struct {
	id    string // of what it is about; "" for nothing
	next  time.Time
	tries int
	busy  bool
	over  bool // it was told, or given up
}

// errandTypes are what parents are told of.
var errandTypes = [...]uint16{dns.TypeCDS, dns.TypeCSYNC}

// sighted is what decides whether the parent is told.
type sighted struct {
	zone      string
	shown     view
	life      lifecycle.State
	look      lifecycle.Look
	published time.Time // when shown was
}

// errands returns what the parent is to be told of, by an ID of it: what it has
// not followed yet, and what every nameserver was seen to serve since it was
// published (RFC 9859 section 4.2).
func (s sighted) errands() (ids [len(errandTypes)]string) {
	if s.shown.answer != full {
		return ids
	}
	if s.life.ConvergedAt.After(s.published) && s.wantsDS() {
		ids[0] = digestOf(s.shown.joint.CDS, s.shown.deleting)
	}
	if s.shown.delegation.CSYNC && s.look.At.After(s.published) && s.agrees() {
		ids[1] = digestOf(s.shown.delegation.NS)
	}
	return ids
}

// wantsDS reports whether the parent's DS is not what CDS says. Without any DS, CDS
// asks for the first one, which RFC 9615 tells the parent to look for.
func (s sighted) wantsDS() bool {
	joint := s.shown.joint
	switch {
	case s.life.DSStatus == observe.DSUnread || len(joint.CDS) == 0:
		return false
	case s.shown.deleting:
		return s.life.DSStatus == observe.DSPresent
	case len(lifecycle.Unnamed(s.zone, s.life.DS, joint)) > 0:
		return true
	}
	return slices.ContainsFunc(s.life.DS, func(d merge.DS) bool {
		return !slices.ContainsFunc(joint.CDS, func(c merge.DS) bool { return c.KeyTag == d.KeyTag && c.Algorithm == d.Algorithm })
	})
}

// agrees reports whether every nameserver that the parent delegates to, and that
// was heard, has the NS RRset that the parent is asked to follow.
func (s sighted) agrees() bool {
	heard := false
	for _, seen := range s.look.Seen {
		if !slices.Contains(s.life.ParentNS, seen.Host) || seen.Silent {
			continue
		}
		if heard = true; len(beyond(seen.NS, s.shown.delegation.NS))+len(beyond(s.shown.delegation.NS, seen.NS)) > 0 {
			return false
		}
	}
	return heard
}

// runErrands has the parent told of what is due, once for each change.
func (e *Engine) runErrands(z *zone) {
	if z.Notifier == nil || z.Whole {
		return
	}
	now := e.loop.now
	for i, id := range z.open().tidings {
		r := &z.open().errands[i]
		switch {
		case r.busy:
		case id == "" && !r.over:
			*r = errand{} // the parent has followed, or not everybody serves it any more
		case id != "" && id != r.id:
			*r = errand{id: id, next: now}
		}
		if r.busy || !due(r.next, now) {
			continue
		}
		r.busy = e.notice(z, func(ctx context.Context) func() {
			told, err := z.Notifier.Parent(ctx, z.Name, errandTypes[i])
			return func() { e.ranErrand(z, i, told, err) }
		})
		if !r.busy {
			e.ranErrand(z, i, false, errNoRoom)
		}
	}
}

// reconsider finds out what the parent of z is to be told of, after something that
// this depends on has changed. It is too much to do each time that z is looked at.
func (e *Engine) reconsider(z *zone) {
	s := sighted{zone: z.Name, shown: z.open().shown, life: z.open().facts.state.Life, look: z.open().outside.look, published: z.open().published}
	if tidings := s.errands(); tidings != z.open().tidings {
		z.open().tidings = tidings
		e.wake(z, e.loop.now)
	}
}

var errNoRoom = errors.New("too much is waiting to be told")

// ranErrand takes over whether the parent was told, and when to try again.
func (e *Engine) ranErrand(z *zone, i int, told bool, err error) {
	r, what := &z.open().errands[i], dns.Type(errandTypes[i])
	r.busy, r.next, r.over = false, time.Time{}, true
	switch {
	case err == nil && told:
		e.readParentSoon(z)
		z.log.Infof("%s: the parent was told that %s has changed", z.title(), what)
	case err == nil:
	case r.tries < len(parentRetries):
		r.next = e.loop.now.Add(jitter(parentRetries[r.tries]))
		r.tries++
		r.over = false
		e.wake(z, r.next)
		z.log.Debugf("%s: telling the parent that %s has changed: %v", z.title(), what, err)
	default:
		z.log.Infof("%s: the parent could not be told that %s has changed, and will have to find out: %s", z.title(), what, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
}
