// Package yield lets work in the background give way to queries.
//
// A goroutine that calls [runtime.Gosched] gives way to those that can run, and
// the Go scheduler runs all of them before it asks the kernel what has come from
// the network: with work in the background on every processor, queries would lie
// in the socket until the runtime's monitor looks, which is every ten
// milliseconds.
package yield

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// minTurn is how long the work in the background goes on between two looks at
	// the network, at least: many times as long as a look takes.
	minTurn = 200 * time.Microsecond

	// maxTurn is how long it goes on before a query has its turn, at most, not
	// counting that one task between two calls may take longer.
	maxTurn = time.Millisecond

	// share is of how many parts of the processor's time one is left to work in the
	// background however many queries there are.
	share = 10
)

// process is where all of this process that works in the background gives way:
// it has one poller of the network.
var process = sync.OnceValue(func() *place { return &place{poll: newPoll()} })

// ToQueries returns when the queries that have come in were given a processor. It
// returns at once if that was a moment ago, so that it may be called between any
// two pieces of work in the background; holding a lock that answering a query
// takes, it must not be. It is safe for concurrent use.
func ToQueries() { process().yield() }

// place is where goroutines give way, one after the other.
type place struct {
	// poll returns when the scheduler has asked for what has come from the network,
	// and how long that took.
	poll func() time.Duration

	began  atomic.Int64 // when the turn of those that work in the background did, in Unix nanoseconds
	length atomic.Int64 // of that turn, in nanoseconds
}

// yield gives way if the turn of those that work in the background is over.
func (p *place) yield() {
	// By a clock that was set back, it is.
	if over := time.Now().UnixNano() - p.began.Load(); 0 <= over && over < p.length.Load() {
		return
	}
	p.length.Store(int64(turn(p.poll())))
	p.began.Store(time.Now().UnixNano())
}

// turn returns how long the work in the background may go on after it waited that
// long for queries to be answered.
func turn(waited time.Duration) time.Duration {
	return min(max(waited/(share-1), minTurn), maxTurn)
}

// gosched is the poll of a system on which there is nothing better.
func gosched() time.Duration {
	began := time.Now()
	runtime.Gosched()
	return time.Since(began)
}
