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

	// keepGap is the least time between two writes of a fleet's, keptAtOnce the names
	// in one.
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

// keepDue returns when signatures are to be written next, zero for never.
func (e *Engine) keepDue() time.Time {
	var next time.Time
	for _, t := range e.subtrees {
		if t.view != t.kept && !t.keeping {
			next = earliest(next, t.keepAt)
		}
	}
	return next
}

// keep has the signatures of every subtree that has changed written, some time
// after that.
func (e *Engine) keep() {
	for _, t := range e.subtrees {
		if t.view == t.kept || t.keeping || t.keepAt.After(e.loop.now) {
			continue
		}
		t.keeping = true
		lease, domain, view, kept := e.leases.byPath[t.zone.Store], t.domain(), t.view, t.kept
		e.submit(&e.loop.keeps, task{
			zone: t.zone,
			run: func(ctx context.Context) func() {
				err := keepSignatures(ctx, lease, domain, view, kept)
				return func() { e.keptView(t, view, err) }
			},
			fail: func() { e.keptView(t, view, errInternal) },
		})
	}
}

// keptView takes over that the signatures of view were written, or not.
func (e *Engine) keptView(t *subtree, view *serve.Subtree, err error) {
	const topic = "keep"
	t.keeping = false
	if err == nil {
		t.kept, t.keepAt = view, e.loop.now.Add(keepAfter)
		t.zone.recovered(topic, "the signatures of our announcements can be kept in the state file again")
		return
	}
	t.keepAt = e.loop.now.Add(keepRetry)
	if !errors.Is(err, store.ErrRevoked) {
		t.zone.say(topic, levelWarning, "", "the signatures of our announcements are not kept in the state file, so that the next start makes them anew: %v", err)
	}
}

// keepSignatures writes the signatures of view that kept, which was written before,
// has not. Without that, it is not known what was written.
func keepSignatures(ctx context.Context, lease *store.Lease, domain string, view, kept *serve.Subtree) error {
	changed := view.Signatures(kept)
	if kept == nil {
		owners, err := lease.AnnouncedOwners(domain)
		if err != nil {
			return err
		}
		for _, owner := range owners {
			if _, there := changed[owner]; !there {
				changed[owner] = nil
			}
		}
	}
	owners := slices.Sorted(maps.Keys(changed)) // so that few pages are written in each turn
	for i, some := range slices.Collect(slices.Chunk(owners, keptAtOnce)) {
		if i > 0 {
			if err := pause(ctx, keepGap); err != nil {
				return err
			}
		}
		signatures := make(map[string][]serve.Signature, len(some))
		for _, owner := range some {
			signatures[owner] = changed[owner]
		}
		if err := lease.PutAnnounced(domain, signatures); err != nil {
			return err
		}
	}
	return nil
}

// pause waits for d, or until ctx ends, which is an error.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
