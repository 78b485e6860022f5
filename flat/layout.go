package flat

import (
	"fmt"
	"reflect"
	"sync"
	"time"
	"unsafe"
)

// layout is how values of a type become octets and back. Both functions take a
// pointer to such a value.
type layout struct {
	write func(w *writer, v unsafe.Pointer)
	read  func(r *reader, v unsafe.Pointer) // into zero memory
}

// layouts are those that are known, by type.
var layouts sync.Map

func layoutOf(t reflect.Type) *layout {
	if l, ok := layouts.Load(t); ok {
		return l.(*layout)
	}
	l := compile(t, make(map[reflect.Type]*layout))
	layouts.Store(t, l)
	return l
}

// compile returns the layout of t. under are those being compiled, of which t may
// have lists.
func compile(t reflect.Type, under map[reflect.Type]*layout) *layout {
	if l := under[t]; l != nil {
		return l
	}
	l := new(layout)
	under[t] = l
	switch {
	case t == reflect.TypeFor[time.Time]():
		l.write = func(w *writer, v unsafe.Pointer) { w.time(*(*time.Time)(v)) }
		l.read = func(r *reader, v unsafe.Pointer) { *(*time.Time)(v) = r.time() }
	default:
		l.compile(t, under)
	}
	return l
}

func (l *layout) compile(t reflect.Type, under map[reflect.Type]*layout) {
	switch t.Kind() {
	case reflect.Bool, reflect.Uint8:
		l.write = func(w *writer, v unsafe.Pointer) { w.octets = append(w.octets, *(*uint8)(v)) }
		l.read = func(r *reader, v unsafe.Pointer) { *(*uint8)(v) = r.take(1)[0] }
	case reflect.Uint, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		l.write = func(w *writer, v unsafe.Pointer) { w.number(reflect.NewAt(t, v).Elem().Uint()) }
		l.read = func(r *reader, v unsafe.Pointer) { reflect.NewAt(t, v).Elem().SetUint(r.number()) }
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		l.write = func(w *writer, v unsafe.Pointer) { w.number(zigzag(reflect.NewAt(t, v).Elem().Int())) }
		l.read = func(r *reader, v unsafe.Pointer) { reflect.NewAt(t, v).Elem().SetInt(unzigzag(r.number())) }
	case reflect.String:
		l.write = func(w *writer, v unsafe.Pointer) { w.text(*(*string)(v)) }
		l.read = func(r *reader, v unsafe.Pointer) { *(*string)(v) = r.text() }
	case reflect.Struct:
		l.fields(t, under)
	case reflect.Array:
		l.array(t, under)
	case reflect.Slice:
		l.list(t, under)
	case reflect.Map:
		l.pairs(t, under)
	case reflect.Pointer, reflect.Interface, reflect.Func, reflect.Chan, reflect.UnsafePointer:
		l.keep(t)
	default:
		panic(fmt.Sprintf("flat: %v is not provided for", t))
	}
}

// fields is for structs.
func (l *layout) fields(t reflect.Type, under map[reflect.Type]*layout) {
	type field struct {
		*layout
		at uintptr
	}
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		fields = append(fields, field{compile(f.Type, under), f.Offset})
	}
	l.write = func(w *writer, v unsafe.Pointer) {
		for _, f := range fields {
			f.write(w, unsafe.Add(v, f.at))
		}
	}
	l.read = func(r *reader, v unsafe.Pointer) {
		for _, f := range fields {
			f.read(r, unsafe.Add(v, f.at))
		}
	}
}

func (l *layout) array(t reflect.Type, under map[reflect.Type]*layout) {
	n, of, size := t.Len(), compile(t.Elem(), under), t.Elem().Size()
	l.write = func(w *writer, v unsafe.Pointer) {
		for i := range n {
			of.write(w, unsafe.Add(v, uintptr(i)*size))
		}
	}
	l.read = func(r *reader, v unsafe.Pointer) {
		for i := range n {
			of.read(r, unsafe.Add(v, uintptr(i)*size))
		}
	}
}

// list is for slices, of which none and an empty one differ.
func (l *layout) list(t reflect.Type, under map[reflect.Type]*layout) {
	of, size := compile(t.Elem(), under), t.Elem().Size()
	l.write = func(w *writer, v unsafe.Pointer) {
		list := reflect.NewAt(t, v).Elem()
		if list.IsNil() {
			w.number(0)
			return
		}
		n := list.Len()
		w.number(uint64(n) + 1)
		first := list.UnsafePointer()
		for i := range n {
			of.write(w, unsafe.Add(first, uintptr(i)*size))
		}
	}
	l.read = func(r *reader, v unsafe.Pointer) {
		n := r.number()
		if n == 0 {
			return
		}
		n--
		list := reflect.MakeSlice(t, int(n), int(n)) // #nosec G115 -- it was a length
		reflect.NewAt(t, v).Elem().Set(list)
		first := list.UnsafePointer()
		for i := range uintptr(n) {
			of.read(r, unsafe.Add(first, i*size))
		}
	}
}

// pairs is for maps, of which none and an empty one differ.
func (l *layout) pairs(t reflect.Type, under map[reflect.Type]*layout) {
	key, value := compile(t.Key(), under), compile(t.Elem(), under)
	l.write = func(w *writer, v unsafe.Pointer) {
		pairs := reflect.NewAt(t, v).Elem()
		if pairs.IsNil() {
			w.number(0)
			return
		}
		w.number(uint64(pairs.Len()) + 1)
		k, val := reflect.New(t.Key()), reflect.New(t.Elem())
		for i := pairs.MapRange(); i.Next(); {
			k.Elem().SetIterKey(i)
			val.Elem().SetIterValue(i)
			key.write(w, k.UnsafePointer())
			value.write(w, val.UnsafePointer())
		}
	}
	l.read = func(r *reader, v unsafe.Pointer) {
		n := r.number()
		if n == 0 {
			return
		}
		pairs := reflect.MakeMapWithSize(t, int(n-1)) // #nosec G115 -- it was a length
		for range n - 1 {
			k, val := reflect.New(t.Key()), reflect.New(t.Elem())
			key.read(r, k.UnsafePointer())
			value.read(r, val.UnsafePointer())
			pairs.SetMapIndex(k.Elem(), val.Elem())
		}
		reflect.NewAt(t, v).Elem().Set(pairs)
	}
}

// keep is for what leads elsewhere.
func (l *layout) keep(t reflect.Type) {
	comparable := t.Kind() == reflect.Pointer
	l.write = func(w *writer, v unsafe.Pointer) {
		if elsewhere := reflect.NewAt(t, v).Elem(); elsewhere.IsZero() {
			w.number(0)
		} else {
			w.keep(elsewhere.Interface(), comparable)
		}
	}
	l.read = func(r *reader, v unsafe.Pointer) {
		if number := r.number(); number > 0 {
			reflect.NewAt(t, v).Elem().Set(reflect.ValueOf(r.kept[number-1]))
		}
	}
}
