// Package stack has the Go runtime begin goroutines with stacks that a query fits
// into.
//
// The server answers each query in a goroutine of its own. The runtime gives a new
// one a stack of the size that goroutines had in use on the average when the garbage
// collector last came by, and at least 2 KiB; what needs more is moved to one twice as
// large, frame by frame, as often as it takes. Most goroutines of a server wait with
// next to nothing on their stacks, or have just begun, which makes the average small:
// then the stack of each query is moved twice, a third of all that a small answer
// costs. Goroutines that wait with as much on their stacks as a query needs make the
// average right.
//
// This holds for all goroutines of the process that begin in the place of one that has
// ended. Where the runtime does not go by the average (GODEBUG=adaptivestackstart=0),
// nothing is gained or lost but the memory.
package stack

import "runtime"

const (
	// used is how many octets a query has on its stack behind a few plugins,
	// rounded up to what still fits into a stack of 8 KiB beside what the runtime
	// keeps free. No average of goroutines that use this is over it: so no stack
	// begins with more than 8 KiB because of them, however few others there are (16 on
	// Windows, where the runtime keeps more free).
	used = 6 << 10

	// waiting is how many of them there are, 4 MiB in all: enough for some 600 others.
	waiting = 512
)

// ForQueries has goroutines begin with 8 KiB of stack, from the second run of the
// garbage collector on, until end is called.
func ForQueries() (end func()) {
	ended := make(chan struct{})
	for range waiting {
		go wait(ended)
	}
	return func() { close(ended) }
}

// wait waits with room on its stack.
func wait(ended <-chan struct{}) {
	var room [used]byte
	<-ended
	runtime.KeepAlive(&room)
}
