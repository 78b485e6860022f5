package refresh

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/coredns-mske/mske/announce"
	"github.com/coredns-mske/mske/serve"
	"github.com/coredns-mske/mske/store"
)

// The signatures over what we announce are kept in the state file, so that a start
// need not make them anew: those of a fleet take half a minute of a processor. They
// are written behind everything else, since nothing but that time is lost with them.
const (
	// keepAfter is how long after a change they are written.
	keepAfter = time.Minute

	// keepGap is the least time between two writes of a fleet's, so that others have
	// their turn, keptAtOnce the names in one.
	keepGap    = time.Second
	keptAtOnce = 500

	// keepRetry is how long to wait after they could not be written.
	keepRetry = 10 * time.Minute
)

// domain identifies what t announces in the state file.
func (t *subtree) domain() string { return store.Domain(announce.SignalingDomain(t.NS), t.zone.Name) }

// keptSignatures returns a function for the signatures of a name in t that are kept.
func (e *Engine) keptSignatures(t *subtree) func(owner string) []serve.Signature {
	if e.leases == nil {
		return nil
	}
	lease, domain := e.leases.byPath[t.zone.Store], t.domain()
	return func(owner string) []serve.Signature { return lease.Announced(domain, owner) }
}

// keeping is what is to be written of a view's signatures.
type keeping struct {
	view   *serve.Subtree
	owners []string // still to be written, in order: that changes few pages at once
}

// newKeeping returns what of view is to be written if kept was before. Without that,
// it is not known what was.
func newKeeping(lease *store.Lease, domain string, view, kept *serve.Subtree) (*keeping, error) {
	owners := view.Changed(kept)
	if kept == nil {
		was, err := lease.AnnouncedOwners(domain)
		if err != nil {
			return nil, err
		}
		owners = append(owners, was...)
		slices.Sort(owners)
		owners = slices.Compact(owners)
	}
	return &keeping{view, owners}, nil
}

// take takes out the names that are written at once.
func (k *keeping) take() []string {
	some := k.owners[:min(len(k.owners), keptAtOnce)]
	k.owners = k.owners[len(some):]
	return some
}

// keepDue returns when there is more to do about the signatures, zero for never.
func (e *Engine) keepDue() time.Time {
	var next time.Time
	l := &e.loop
	if l.starting {
		return next
	}
	for _, t := range e.subtrees {
		switch {
		case t.keeps: // its end is an event
		case t.keeping == nil && t.view != t.kept:
			next = earliest(next, t.keepAt)
		case t.keeping != nil && l.writes.running == 0 && !l.deciding(): // else something else is to happen first
			next = earliest(next, latest(l.keptAt, l.writeAt))
		}
	}
	return next
}

// keep has the signatures of every subtree that has changed written, some time
// after that. All that is written keeps to one gap, and zones go first.
func (e *Engine) keep() {
	l := &e.loop
	if l.starting {
		return
	}
	for _, t := range e.subtrees {
		switch {
		case t.keeps:
		case t.keeping == nil && t.view != t.kept && !t.keepAt.After(l.now):
			e.prepareKeeping(t)
		case t.keeping != nil && l.writes.running == 0 && !l.deciding() && !l.writeAt.After(l.now) && !l.keptAt.After(l.now):
			e.keepSome(t)
		}
	}
}

// prepareKeeping has found out what of t is to be written.
func (e *Engine) prepareKeeping(t *subtree) {
	t.keeps = true
	lease, domain, view, kept := e.leases.byPath[t.zone.Store], t.domain(), t.view, t.kept
	e.submit(&e.loop.keeps, task{
		zone: t.zone,
		run: func(context.Context) func() {
			k, err := newKeeping(lease, domain, view, kept)
			return func() {
				t.keeping = k
				if t.keeps = false; err != nil || len(k.owners) == 0 {
					e.keptSome(t, err)
				}
			}
		},
		fail: func() { e.keptSome(t, errInternal) },
	})
}

// keepSome has the next signatures of t written.
func (e *Engine) keepSome(t *subtree) {
	t.keeps = true
	e.loop.writeAt, e.loop.keptAt = e.loop.now.Add(writeGap), e.loop.now.Add(keepGap)
	lease, domain, view, some := e.leases.byPath[t.zone.Store], t.domain(), t.keeping.view, t.keeping.take()
	e.submit(&e.loop.writes, task{
		zone: t.zone,
		run: func(context.Context) func() {
			signatures := make(map[string][]serve.Signature, len(some))
			for _, owner := range some {
				signatures[owner] = view.Signatures(owner)
			}
			err := lease.PutAnnounced(domain, signatures)
			return func() { e.keptSome(t, err) }
		},
		fail: func() { e.keptSome(t, errInternal) },
	})
}

// keptSome takes over that some of the signatures of t were written, or were not.
func (e *Engine) keptSome(t *subtree, err error) {
	topic := "keep " + t.NS
	t.keeps = false
	switch {
	case err != nil:
		t.keeping, t.kept, t.keepAt = nil, nil, e.loop.now.Add(keepRetry)
		if !errors.Is(err, store.ErrRevoked) {
			t.zone.say(topic, levelWarning, "", "the signatures of our announcements below %s are not kept in the state file, so that the next start makes them anew: %v", announce.SignalingDomain(t.NS), err)
		}
	case len(t.keeping.owners) == 0:
		t.kept, t.keeping, t.keepAt = t.keeping.view, nil, e.loop.now.Add(keepAfter)
		t.zone.recovered(topic, "the signatures of our announcements below %s can be kept in the state file again", announce.SignalingDomain(t.NS))
	}
}
