// Package flat keeps values that nobody needs for a while as octets. What has many
// parts takes a fraction of the memory so, and the garbage collector, which follows
// every pointer each time that it comes round, has one to follow.
//
// It is for memory only: nothing says how the octets are laid out but the type, so
// that they mean nothing to another program or version.
package flat

import (
	"reflect"
	"sync"
	"unsafe"
)

// Value is a T as octets. It is not changed, and may be used by several goroutines at
// once. The zero Value holds none.
type Value[T any] struct {
	octets string
	kept   []any
}

// Of returns what v points to as octets. Pointers in it stay pointers, as do
// interfaces, functions and channels: what they lead to is neither copied nor looked
// at. Nothing else is shared with v. A type that has numbers with fractions in it is
// not provided for, and panics.
func Of[T any](v *T) Value[T] {
	w := writers.Get().(*writer)
	defer func() {
		w.reset()
		writers.Put(w)
	}()
	layoutOf(reflect.TypeFor[T]()).write(w, unsafe.Pointer(v))
	f := Value[T]{octets: string(w.octets)}
	if len(w.kept) > 0 {
		f.kept = append(f.kept, w.kept...)
	}
	return f
}

// Any reports whether f holds a value. It never does of a type that takes no octets.
func (f Value[T]) Any() bool { return len(f.octets) > 0 }

// Get returns the value. It equals the one that f was made of in every field, to
// [reflect.DeepEqual] as well; its texts are parts of f, and nothing else is. Get of
// the zero Value panics.
func (f Value[T]) Get() *T {
	v := new(T)
	r := readers.Get().(*reader)
	defer func() {
		r.reset("", nil)
		readers.Put(r)
	}()
	r.reset(f.octets, f.kept)
	layoutOf(reflect.TypeFor[T]()).read(r, unsafe.Pointer(v))
	if len(r.octets) > 0 {
		panic("flat: octets are left")
	}
	return v
}

// Size returns how many octets f takes in memory beside itself.
func (f Value[T]) Size() int { return len(f.octets) + cap(f.kept)*int(unsafe.Sizeof(f.kept[0])) }

var (
	writers = sync.Pool{New: func() any { return newWriter() }}
	readers = sync.Pool{New: func() any { return new(reader) }}
)
