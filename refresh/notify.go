package refresh

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/merge"
)

const (
	// maxNotified is how many zones wait for the loop to take note of a NOTIFY.
	// What does not fit is dropped: the zone is collected in time anyway.
	maxNotified = 1024

	// notifiedPerSecond is how many NOTIFYs are heeded in a second, for all zones
	// together. Nobody has to prove anything to send one, and each may be a
	// collection ahead of its time.
	notifiedPerSecond = 50
)

// FreshFetcher is a [Fetcher] that can ask past all caches.
type FreshFetcher interface {
	Fetcher
	// FetchFresh is Fetch, but asks the host's own servers first.
	FetchFresh(ctx context.Context, zone, host string, known merge.Announcement) fetch.Result
}

// doorbell is what NOTIFY messages pull. Any goroutine may; the loop answers.
type doorbell struct {
	zones   map[string][]*zone // by name; not changed
	rung    chan *zone
	second  atomic.Int64 // since the start, that count is of
	heeded  atomic.Int64
	elapsed func() time.Duration
}

func newDoorbell(zones []*zone, elapsed func() time.Duration) *doorbell {
	b := &doorbell{zones: make(map[string][]*zone), rung: make(chan *zone, maxNotified), elapsed: elapsed}
	for _, z := range zones {
		z.joinNamed(b.zones)
	}
	return b
}

// Notified has what other providers announce for the zone of that canonical name
// collected at once: somebody says that there is something new. A host that was
// asked less than RefreshMin ago is asked again when that is over, once. It is
// for any goroutine, never waits and allocates nothing, and does nothing past
// the limits.
func (e *Engine) Notified(name string) {
	for _, z := range e.bell.zones[name] {
		if z.notified.Load() || !e.bell.heed() || !z.notified.CompareAndSwap(false, true) {
			continue // somebody said so before, and it has not been acted on yet
		}
		select {
		case e.bell.rung <- z:
		default:
			z.notified.Store(false)
		}
	}
}

// heed reports whether one more NOTIFY may be heeded in this second.
func (b *doorbell) heed() bool {
	now := int64(b.elapsed() / time.Second)
	if last := b.second.Load(); last != now && b.second.CompareAndSwap(last, now) {
		b.heeded.Store(0)
	}
	return b.heeded.Add(1) <= notifiedPerSecond
}

// answer notes, for every host of z, that it is to be collected from.
func (e *Engine) answer(z *zone) {
	for _, c := range z.fetching {
		c.notified = true
		e.loop.fetches.hurry(c)
	}
	if !z.decided {
		e.loop.dirty[z] = true // before the others
	}
	e.wake(z, e.loop.now)
}

// advance makes a collection due that a NOTIFY asked for, as far as rule D4
// allows.
func (c *collection) advance(z *Zone, now time.Time) {
	if c.notified && !c.running {
		c.next = earliest(c.next, latest(now, c.asked.Add(z.RefreshMin)))
	}
}

// hush takes back, when z is looked at, what nobody is to be asked for, so that
// the next NOTIFY counts.
func (z *zone) hush() {
	for _, c := range z.fetching {
		if c.notified {
			return
		}
	}
	z.notified.Store(false)
}

// begin returns how c is to be fetched: past all caches if a NOTIFY asked for
// it, which counts as answered. Whoever notifies from now on may know more.
func (z *zone) begin(c *collection) func(ctx context.Context, zone, host string, known merge.Announcement) fetch.Result {
	notified := c.notified
	c.notified = false
	z.notified.Store(false)
	if f, ok := z.Fetcher.(FreshFetcher); ok && notified {
		return f.FetchFresh
	}
	return z.Fetcher.Fetch
}
