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
		if count(100) <= few {
			return
		}
	}
	t.Errorf("Expected stacks that a query fits into, got %d of 100 that were moved", count(100))
}

// few of a hundred goroutines may be made anew, with 2 KiB, and not be one that has
// ended.
const few = 10

// count returns how many of n goroutines have their stack moved.
func count(n int) int {
	var moved atomic.Int32
	for range n {
		var wg sync.WaitGroup
		wg.Go(func() {
			if moves() {
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
func moves() bool {
	var here byte
	before := uintptr(unsafe.Pointer(&here))
	deepen()
	return uintptr(unsafe.Pointer(&here)) != before
}

//go:noinline
func deepen() {
	var room [query]byte
	runtime.KeepAlive(&room)
}
