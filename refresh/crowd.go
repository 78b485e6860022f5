package refresh

import (
	"runtime/metrics"
	"slices"
	"sync"
	"time"
)

const (
	// crowdWindow is the time that one answer of [Crowd.Here] is about, at least.
	crowdWindow = 50 * time.Millisecond

	// crowdWait is how long more than a quarter of what is runnable has to wait
	// for a processor before that is called a crowd: many times as long as
	// answering a query takes.
	crowdWait = 500 * time.Microsecond

	// crowdSize is how many goroutines have to have been seen waiting or not. The
	// runtime looks at one in eight.
	crowdSize = 16
)

// Crowd tells whether the goroutines of this process, those that answer queries
// among them, have to wait for a processor. It is safe for concurrent use.
type Crowd struct {
	mu      sync.Mutex
	sample  []metrics.Sample
	counts  []uint64
	at      time.Time
	crowded bool
}

// NewCrowd returns a Crowd that has seen nothing.
func NewCrowd() *Crowd {
	return &Crowd{sample: []metrics.Sample{{Name: "/sched/latencies:seconds"}}}
}

// Here reports whether goroutines had to wait since it was called before.
func (c *Crowd) Here() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(c.at) < crowdWindow {
		return c.crowded
	}
	metrics.Read(c.sample)
	h := c.sample[0].Value.Float64Histogram()
	if len(c.counts) == len(h.Counts) {
		c.crowded = crowded(h, c.counts)
	}
	c.at, c.counts = now, append(c.counts[:0], h.Counts...)
	return c.crowded
}

// crowded reports whether more than a quarter of what h has more than before had
// to wait for long.
func crowded(h *metrics.Float64Histogram, before []uint64) bool {
	long := slices.IndexFunc(h.Buckets, func(from float64) bool { return from >= crowdWait.Seconds() })
	var all, waited uint64
	for i, n := range h.Counts {
		n -= before[i]
		all += n
		if long >= 0 && i >= long {
			waited += n
		}
	}
	return all >= crowdSize && waited > all/4
}
