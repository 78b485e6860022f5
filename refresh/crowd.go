package refresh

import (
	"runtime"
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

// maxPiece is how long work for all zones of a fleet goes on before it rests as
// long, and until it is its turn again, while there is a crowd.
const maxPiece = 2 * time.Millisecond

// manners are those of one goroutine that works for all zones of a fleet: it gives
// way to queries between two of them.
type manners struct {
	crowded func() bool
	resumed time.Time
	worked  time.Duration
}

// manners returns those of a goroutine that begins to work now.
func (e *Engine) manners() *manners {
	return &manners{crowded: e.config.Crowded, resumed: time.Now()}
}

// giveWay lets others go first.
func (m *manners) giveWay() {
	m.worked += time.Since(m.resumed)
	runtime.Gosched()
	if m.worked >= maxPiece {
		if m.crowded() {
			time.Sleep(m.worked)
		}
		m.worked = 0
	}
	m.resumed = time.Now()
}

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
