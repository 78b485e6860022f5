package notify

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// perSecond is how many messages an address is sent in the long run, burst
	// how many at once: a fleet that changes is news for some time anyway.
	perSecond = 20
	burst     = 100

	// maxUnderWay is how many messages to one address wait for an answer: a
	// dead one takes no more than these.
	maxUnderWay = 8

	// maxTracked bounds the addresses that are remembered.
	maxTracked = 4096
)

// rates bounds what each address is sent, whichever names lead to it.
type rates struct {
	now func() time.Time

	mu     sync.Mutex
	byAddr map[netip.Addr]*bucket
}

// bucket is what one address may be sent.
type bucket struct {
	tokens   float64
	filled   time.Time
	underWay int
}

func newRates(now func() time.Time) *rates {
	return &rates{now: now, byAddr: make(map[netip.Addr]*bucket)}
}

// take reports whether addr may be sent a message. After that done is to be
// called.
func (r *rates) take(addr netip.Addr) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	b := r.byAddr[addr]
	if b == nil {
		if len(r.byAddr) >= maxTracked {
			r.forget(now)
		}
		if len(r.byAddr) >= maxTracked {
			return false
		}
		b = &bucket{tokens: burst, filled: now}
		r.byAddr[addr] = b
	}
	b.fill(now)
	if b.tokens < 1 || b.underWay == maxUnderWay {
		return false
	}
	b.tokens--
	b.underWay++
	return true
}

// done is for a message that was answered or given up.
func (r *rates) done(addr netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byAddr[addr].underWay--
}

// fill adds what has come since the last time. A clock that was set back adds
// nothing.
func (b *bucket) fill(now time.Time) {
	if passed := now.Sub(b.filled); passed > 0 {
		b.tokens = min(burst, b.tokens+perSecond*passed.Seconds())
	}
	b.filled = now
}

// forget drops the addresses that may be sent as much as any other.
func (r *rates) forget(now time.Time) {
	for addr, b := range r.byAddr {
		if b.fill(now); b.tokens == burst && b.underWay == 0 {
			delete(r.byAddr, addr)
		}
	}
}
