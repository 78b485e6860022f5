package refresh

import (
	"context"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/coredns-mske/mske/announce"
	"github.com/coredns-mske/mske/flat"
	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/serve"
	"github.com/coredns-mske/mske/yield"
)

// buildGap is the least time between two builds of the subtrees, so that a
// fleet that changes costs one now and then.
const buildGap = time.Second

// buildShare is how many times as long as a build the gap is at least.
const buildShare = 4

// updateShare is the part of a subtree's zones, one in so many, up to which only
// those that changed are looked at.
const updateShare = 8

// subtree is what is announced under one of our nameservers.
type subtree struct {
	*Subtree
	zone    *zone   // the one that encloses it
	members []*zone // those announced in it
	view    *serve.Subtree
	dirty   bool
	changed map[*zone]bool // that say something else than in view
	failed  bool           // the last build did, so that changed may lack some
	running bool
	renewAt time.Time

	// Of the signatures in the state file, see keep.go.
	kept    *serve.Subtree // whose signatures these are; nil: that is not known
	keeping *keeping       // what is to be written
	keeps   bool           // a task is about that
	keepAt  time.Time

	probing bool
	probeAt time.Time
}

// connect finds out which zones are announced where and whose keys are read
// by which watcher.
func (e *Engine) connect() {
	byConfig := make(map[*Zone]*zone)
	byWatcher := make(map[*keys.Watcher]*scan)
	byNS := make(map[string][]*zone)
	for _, z := range e.zones {
		yield.ToQueries() // there are some on a reload
		z.log = e.config.Log
		byConfig[z.Zone] = z
		s := byWatcher[z.Keys]
		if s == nil {
			s = &scan{watcher: z.Keys, zones: make(map[string][]*zone)}
			byWatcher[z.Keys] = s
			e.scans = append(e.scans, s)
		}
		z.joinNamed(s.zones)
		for _, ns := range z.Nameservers {
			if z.incapable(ns) == nil {
				byNS[ns] = append(byNS[ns], z)
			}
		}
	}
	for _, cfg := range e.config.Subtrees {
		t := &subtree{Subtree: cfg, zone: byConfig[cfg.Zone], members: byNS[cfg.NS], changed: make(map[*zone]bool)}
		if t.view = e.config.Former.Subtrees[cfg]; t.view != nil {
			t.failed = true // it was made of other zones
		}
		e.subtrees = append(e.subtrees, t)
		t.zone.encloses = append(t.zone.encloses, t)
		for _, z := range t.members {
			z.announcedIn = append(z.announcedIn, t)
		}
	}
	var last []*subtree // of a zone, which most share
	for _, z := range e.zones {
		if slices.Equal(z.announcedIn, last) {
			z.announcedIn = last
		}
		last = z.announcedIn
	}
	e.config.Former.Subtrees = nil
}

// announceable says, at the start, under which of our nameservers z cannot be
// announced (rule P2).
func (e *Engine) announceable(z *zone) {
	var left []string
	for _, ns := range z.Nameservers {
		if err := z.incapable(ns); err != nil {
			left = append(left, err.Error())
		}
	}
	z.silent = len(left) == len(z.Nameservers)
	if len(left) > 0 && !z.Whole {
		z.say("left out", levelInfo, "", "not announced everywhere: %s", strings.Join(left, "; "))
	}
}

// restate notes when what z announces comes in place of something else, so that it is
// stored, if it can be, before that is announced. What was announced before a start is known by Told
// alone, which may be behind. If the same is taken for something else because of that,
// it costs signatures; if something else is taken for the same, it was noted when that
// was given up.
func (e *Engine) restate(z *zone, d decision) {
	if !d.announced || len(z.announcedIn) == 0 {
		return
	}
	s := &z.open().facts.state
	same := s.Told == AnnouncementID(d.announcement)
	if z.announced {
		same = reflect.DeepEqual(z.announces().keys, d.announcement)
	}
	if !same || s.AnnouncedSince.After(e.loop.now) { // the clock was ahead
		s.AnnouncedSince = e.loop.now
	}
}

// announce lets the subtrees that announce z be built anew, if d says something
// else than they do.
func (e *Engine) announce(z *zone, d decision) {
	say := words{d.announcement, d.boot, z.open().facts.state.AnnouncedSince}
	if !d.announced || z.announced && reflect.DeepEqual(z.announces(), say) {
		return
	}
	z.said, z.announced = flat.Of(&say), true
	for _, t := range z.announcedIn {
		t.dirty, t.changed[z] = true, true
	}
	if !z.telling {
		z.telling = true
		e.loop.telling = append(e.loop.telling, z)
	}
}

// enclosed lets the subtrees that z encloses be built anew: they are signed
// with its keys, and a delegated one holds its apex.
func (e *Engine) enclosed(z *zone) {
	for _, t := range z.encloses {
		t.dirty = true
	}
}

// ready reports whether t can be signed with what is known of its zone.
func (t *subtree) ready() bool {
	z := t.zone
	return z.Whole || z.open().facts.looked || len(z.open().facts.state.Signers) > 0
}

// buildDue returns when subtrees are to be built or probed next.
func (e *Engine) buildDue() time.Time {
	var next time.Time
	if e.loop.starting {
		return next
	}
	for _, t := range e.subtrees {
		if t.dirty && !t.running && t.ready() {
			next = earliest(next, latest(e.loop.buildAt, e.loop.now))
		}
		if !t.running && !t.renewAt.IsZero() {
			next = earliest(next, latest(t.renewAt, e.loop.buildAt))
		}
		if !t.probing && !t.fresh() {
			next = earliest(next, t.probeAt)
		}
	}
	return next
}

// build has every subtree that changed, or whose signatures are due, built,
// and every one that is due probed.
func (e *Engine) build() {
	now := e.loop.now
	if e.loop.starting {
		return
	}
	for _, t := range e.subtrees {
		t.dirty = t.dirty || due(t.renewAt, now)
		if due(t.probeAt, now) && !t.probing && !t.fresh() {
			e.probe(t)
		}
	}
	if e.loop.buildAt.After(now) {
		return
	}
	for _, t := range e.subtrees {
		if !t.dirty || t.running || !t.ready() {
			continue
		}
		e.loop.buildAt = now.Add(buildGap)
		build := e.builder(t)
		e.submit(&e.loop.builds, task{
			zone: t.zone,
			run: func(context.Context) func() {
				began := time.Now()
				s, err := build()
				took := time.Since(began)
				return func() {
					if t.view != nil { // what follows the first one takes no longer than what changes
						e.loop.buildAt = latest(e.loop.buildAt, e.loop.now.Add(buildShare*took))
					}
					e.built(t, s, err)
				}
			},
			fail: func() { t.running, t.failed = false, true },
		})
	}
}

// scheduleSubtrees says when the subtrees are to be looked at and kept first.
func (e *Engine) scheduleSubtrees() {
	for _, t := range e.subtrees {
		t.probeAt, t.keepAt = e.loop.now.Add(probeDelay), e.loop.now.Add(keepAfter)
	}
}

// buildAtStart builds the subtrees that nobody has to be asked for.
func (e *Engine) buildAtStart() {
	for _, t := range e.subtrees {
		if t.dirty && t.ready() {
			s, err := e.builder(t)()
			e.built(t, s, err)
		}
	}
}

// fresh reports whether t is about to be built for the first time.
func (t *subtree) fresh() bool {
	return t.view == nil && !t.failed && !t.zone.broken() && (t.running || t.dirty && t.ready())
}

// builder returns a function that builds t as it is to be now. It may be
// called outside the loop.
func (e *Engine) builder(t *subtree) func() (*serve.Subtree, error) {
	z, now := t.zone, e.loop.now
	t.dirty, t.running, t.renewAt = false, true, time.Time{}
	c := serve.SubtreeConfig{NS: t.NS, Zone: z.Name, Delegated: z.Name == announce.SignalingDomain(t.NS), TTL: seconds(z.TTL)}
	var apex *serve.Apex
	if c.Delegated {
		apex = z.apex
		c.Serial = nextSerial(z.open().facts.state.Serial, now)
		z.open().facts.state.Serial = c.Serial
		e.later(z)
	}
	signers, old := z.open().shown.signers, t.view
	p := serve.Params{TTL: seconds(z.TTL), Now: now, Jitter: rand.Float64, Kept: e.keptSignatures(t)}
	members := slices.Values(t.members)
	update := !t.failed && len(t.changed) <= len(t.members)/updateShare+1 && old.CanUpdate(c, signers, p)
	if update {
		members = maps.Keys(t.changed)
	}
	var said []saying
	for m := range members {
		if m.announced {
			said = append(said, saying{m.Zone, m.said})
		}
	}
	clear(t.changed)
	return func() (*serve.Subtree, error) {
		announced := announcedOf(said)
		if update {
			return old.Update(c, announced, signers, apex, p)
		}
		return serve.BuildSubtree(c, announced, signers, apex, p, old)
	}
}

// saying is what is to be announced of a zone.
type saying struct {
	zone *Zone
	said flat.Value[words]
}

// announcedOf returns what a subtree is made of.
func announcedOf(said []saying) []serve.Announced {
	announced := make([]serve.Announced, len(said))
	for i, s := range said {
		w := s.said.Get()
		announced[i] = serve.Announced{Zone: s.zone.Name, Announcement: w.keys, Boot: w.boot, TTL: seconds(s.zone.TTL), Since: w.since}
	}
	return announced
}

// nextSerial returns the serial that follows one: the time, so that it grows
// even if the store was lost, or at least one more.
func nextSerial(serial uint32, now time.Time) uint32 {
	next := uint32(now.Unix())
	if int32(next-serial) <= 0 { // RFC 1982
		return serial + 1
	}
	return next
}

// built publishes s.
func (e *Engine) built(t *subtree, s *serve.Subtree, err error) {
	t.running = false
	topic := "subtree " + t.NS
	e.loop.news = true
	if t.failed = err != nil; t.failed {
		t.zone.say(topic, levelProblem, "", "our announcements below %s cannot be signed: %v", announce.SignalingDomain(t.NS), err)
		t.renewAt = e.loop.now.Add(signRetry)
		return
	}
	t.zone.settle(topic)
	if t.view == t.kept {
		t.keepAt = e.loop.now.Add(keepAfter)
	}
	t.view = s
	e.config.Publisher.PublishSubtree(t.Subtree, s)
	e.tell()
	if at := s.Renew(); !at.IsZero() {
		t.renewAt = latest(at, e.loop.now.Add(signRetry))
	}
}
