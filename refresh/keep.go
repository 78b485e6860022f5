package refresh

import (
	"context"
	"errors"
	"maps"
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
func (t *subtree) domain() string { return store.Domain(announce.SignalingDomain(t.NS), t.zone.key) }

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
	view       *serve.Subtree
	owners     []string // still to be written, in order: that changes few pages at once
	signatures map[string][]serve.Signature
}

// newKeeping returns what of view is to be written if kept was before. Without that,
// it is not known what was.
func newKeeping(lease *store.Lease, domain string, view, kept *serve.Subtree) (*keeping, error) {
	changed := view.Signatures(kept)
	if kept == nil {
		owners, err := lease.AnnouncedOwners(domain)
		if err != nil {
			return nil, err
		}
		for _, owner := range owners {
			if _, there := changed[owner]; !there {
				changed[owner] = nil
			}
		}
	}
	return &keeping{view, slices.Sorted(maps.Keys(changed)), changed}, nil
}

// take takes out what is to be written at once.
func (k *keeping) take() map[string][]serve.Signature {
	some := make(map[string][]serve.Signature)
	for _, owner := range k.owners[:min(len(k.owners), keptAtOnce)] {
		some[owner] = k.signatures[owner]
		delete(k.signatures, owner)
	}
	k.owners = k.owners[len(some):]
	return some
}

// keepDue returns when there is more to do about the signatures, zero for never.
func (e *Engine) keepDue() time.Time {
	var next time.Time
	for _, t := range e.subtrees {
		switch {
		case t.keeps, t.keeping != nil && e.loop.writes.running > 0: // its end is an event
		case t.keeping != nil:
			next = earliest(next, latest(t.keepAt, e.loop.writeAt))
		case t.view != t.kept:
			next = earliest(next, t.keepAt)
		}
	}
	return next
}

// keep has the signatures of every subtree that has changed written, some time
// after that. All that is written keeps to the same gap.
func (e *Engine) keep() {
	l := &e.loop
	for _, t := range e.subtrees {
		if t.keeps || t.keepAt.After(l.now) || t.keeping == nil && t.view == t.kept {
			continue
		}
		lease := e.leases.byPath[t.zone.Store]
		fail := func() { e.keptSome(t, errInternal) }
		if t.keeping == nil {
			domain, view, kept := t.domain(), t.view, t.kept
			t.keeps = true
			e.submit(&l.keeps, task{zone: t.zone, fail: fail, run: func(context.Context) func() {
				k, err := newKeeping(lease, domain, view, kept)
				return func() {
					if t.keeping = k; err != nil {
						e.keptSome(t, err)
					}
					t.keeps = false
				}
			}})
			continue
		}
		if l.writes.running > 0 || l.writeAt.After(l.now) {
			continue
		}
		l.writeAt = l.now.Add(writeGap)
		domain, some := t.domain(), t.keeping.take()
		t.keeps = true
		e.submit(&l.writes, task{zone: t.zone, fail: fail, run: func(context.Context) func() {
			err := lease.PutAnnounced(domain, some)
			return func() { e.keptSome(t, err) }
		}})
	}
}

// keptSome takes over that some of the signatures of t were written, or were not.
func (e *Engine) keptSome(t *subtree, err error) {
	const topic = "keep"
	t.keeps = false
	switch {
	case err != nil:
		t.keeping, t.kept, t.keepAt = nil, nil, e.loop.now.Add(keepRetry)
		if !errors.Is(err, store.ErrRevoked) {
			t.zone.say(topic, levelWarning, "", "the signatures of our announcements are not kept in the state file, so that the next start makes them anew: %v", err)
		}
	case len(t.keeping.owners) > 0:
		t.keepAt = e.loop.now.Add(keepGap)
	default:
		t.kept, t.keeping, t.keepAt = t.keeping.view, nil, e.loop.now.Add(keepAfter)
		t.zone.recovered(topic, "the signatures of our announcements can be kept in the state file again")
	}
}
