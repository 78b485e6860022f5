package stack

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"
)

// query is how much of its stack the deepest call of a query takes, behind some
// plugins, with what the runtime keeps free.
const query = 5 << 10

// TestForQueries counts how many goroutines have their stack moved by a call that
// needs as much of it as a query, with some hundred others that need nothing.
func TestForQueries(t *testing.T) {
	idle := make(chan struct{})
	defer close(idle)
	for range 300 {
		go func() { <-idle }()
	}
	end := ForQueries()
	defer end()
	for range 100 { // until they wait and the garbage collector has come by
		runtime.GC()
		if count(100, deepen) <= few {
			return
		}
	}
	t.Errorf("Expected stacks that a query fits into, got %d of 100 that were moved", count(100, deepen))
}

// Where nobody else waits, the average is what those that wait use.
func TestStacksAreNoLargerThanThat(t *testing.T) {
	defer ForQueries()()
	for range 20 {
		count(100, deepen)
		runtime.GC()
	}
	if n := count(100, deepenMore); n < 100-few {
		t.Errorf("Expected stacks of 8 KiB, got %d of 100 that are larger", 100-n)
	}
}

// few of a hundred goroutines may be made anew, with 2 KiB, and not be one that has
// ended.
const few = 10

// count returns how many of n goroutines have their stack moved by a call.
func count(n int, call func()) int {
	var moved atomic.Int32
	for range n {
		var wg sync.WaitGroup
		wg.Go(func() {
			if moves(call) {
				moved.Add(1)
			}
		})
		wg.Wait()
	}
	return int(moved.Load())
}

// moves reports whether the stack moves when it is used.
//
//go:noinline
func moves(call func()) bool {
	var here byte
	before := uintptr(unsafe.Pointer(&here))
	call()
	return uintptr(unsafe.Pointer(&here)) != before
}

//go:noinline
func deepen() {
	var room [query]byte
	runtime.KeepAlive(&room)
}

// deepenMore takes more than there is in 8 KiB.
//
//go:noinline
func deepenMore() {
	var room [9 << 10]byte
	runtime.KeepAlive(&room)
}
