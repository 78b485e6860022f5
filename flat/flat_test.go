package flat

import (
	"math"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"time"
)

// all has a field of every kind.
type all struct {
	Yes    bool
	I8     int8
	I64    int64
	wait   time.Duration
	U8     uint8
	U16    uint16
	U64    uint64
	text   string
	Other  string
	At     time.Time
	Digest [16]byte
	Texts  [2]string
	names  []string
	octets []byte
	Parts  []part
	byName map[string]part
	Tree   []all
	part
	to   *part
	What any
	Do   func() int
}

type part struct {
	Name  string
	Since time.Time
	keys  []uint16
}

func (p part) String() string { return p.Name }

// fill sets everything in v, which is addressable, to random values; lists get
// shorter with depth.
func fill(v reflect.Value, r *rand.Rand, depth int) {
	v = reflect.NewAt(v.Type(), v.Addr().UnsafePointer()).Elem()
	switch v.Type() {
	case reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(someTime(r)))
		return
	case reflect.TypeFor[func() int](): // no two are equal to DeepEqual
		return
	case reflect.TypeFor[any]():
		v.Set(reflect.ValueOf([]any{nil, 1, "one", part{Name: "p"}}[1+r.IntN(3)]))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int8, reflect.Int64:
		v.SetInt(r.Int64() >> (64 - v.Type().Bits()) * int64(1-2*r.IntN(2)) >> r.IntN(8))
	case reflect.Uint8, reflect.Uint16, reflect.Uint64:
		v.SetUint(r.Uint64() >> (64 - v.Type().Bits()) >> r.IntN(8))
	case reflect.String:
		v.SetString([]string{"", "ns1.example.", "ns2.example.", "\x00\xff"}[r.IntN(4)])
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), r, depth)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), r, depth)
		}
	case reflect.Slice:
		if n := r.IntN(max(4-depth, 1)+1) - 1; n >= 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n+r.IntN(2)))
			for i := range n {
				fill(v.Index(i), r, depth+1)
			}
		}
	case reflect.Map:
		if r.IntN(3) == 0 {
			return
		}
		v.Set(reflect.MakeMap(v.Type()))
		for range r.IntN(3) {
			k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(k, r, depth)
			fill(e, r, depth)
			v.SetMapIndex(k, e)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	default:
		panic(v.Kind())
	}
}

func someTime(r *rand.Rand) time.Time {
	at := time.Unix(r.Int64N(1<<33)-1<<31, r.Int64N(1e9))
	return []time.Time{
		{}, at, at.UTC(), at.In(time.FixedZone("here", 3600)), time.Now(), time.Now().Round(0),
		time.Unix(0, 0), time.Unix(0, 0).UTC(), time.Date(1, 1, 1, 0, 0, 0, 0, time.Local), time.Date(9999, 1, 1, 0, 0, 0, 1, time.UTC),
	}[r.IntN(10)]
}

// A value that comes back is the one that went, times to the last bit.
func TestGet(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range 2000 {
		var v all
		fill(reflect.ValueOf(&v).Elem(), r, 0)
		back := Of(&v).Get()
		if !reflect.DeepEqual(*back, v) {
			t.Fatalf("seed %d, value %d: got\n%#v, expected\n%#v", seed, i, *back, v)
		}
		if back.At != v.At || back.to != v.to {
			t.Fatalf("seed %d, value %d: got %#v and %p, expected %#v and %p", seed, i, back.At, back.to, v.At, v.to)
		}
	}
}

// The random values of the test before have something in every field, now and then.
func TestFill(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	met := make(map[string]bool)
	for range 100 {
		var v all
		value := reflect.ValueOf(&v).Elem()
		fill(value, r, 0)
		for i := range value.NumField() {
			met[value.Type().Field(i).Name] = met[value.Type().Field(i).Name] || !value.Field(i).IsZero()
		}
	}
	for name, is := range met {
		if !is && name != "Do" {
			t.Errorf("%s is always empty", name)
		}
	}
}

func TestGetExtremes(t *testing.T) {
	for _, v := range []all{
		{},
		{I64: math.MinInt64, I8: math.MinInt8, U64: math.MaxUint64, wait: -1},
		{I64: math.MaxInt64, I8: math.MaxInt8, U16: math.MaxUint16},
		{names: []string{}, octets: []byte{}, byName: map[string]part{}},
		{names: []string{"", "", "a", "", "a"}, text: "a"},
	} {
		if back := Of(&v).Get(); !reflect.DeepEqual(*back, v) {
			t.Errorf("got\n%#v, expected\n%#v", *back, v)
		}
	}
}

// What leads elsewhere is there as it was, and once.
func TestKept(t *testing.T) {
	p := &part{Name: "p"}
	v := struct {
		a, b *part
		list []*part
		f    func() int
		any  any
		none any
	}{a: p, b: p, list: []*part{p, nil, p}, f: func() int { return 7 }, any: *p}
	flat := Of(&v)
	back := flat.Get()
	if back.a != p || back.b != p || back.list[0] != p || back.list[1] != nil || back.f() != 7 || back.any.(part).Name != "p" || back.none != nil {
		t.Errorf("got %#v", back)
	}
	if len(flat.kept) != 3 {
		t.Errorf("%d values are kept, expected 3", len(flat.kept))
	}
}

// Nothing that is changed in the value afterwards, or in one that came back, shows
// in the next.
func TestValueDoesNotChange(t *testing.T) {
	v := part{Name: "a", keys: []uint16{1, 2}}
	flat := Of(&v)
	v.keys[0], v.Name = 9, "b"
	back := flat.Get()
	if back.keys[0] != 1 || back.Name != "a" {
		t.Errorf("got %v after the value was changed", back)
	}
	back.keys[1] = 9
	if again := flat.Get(); again.keys[1] != 2 {
		t.Errorf("got %v after what came back was changed", again)
	}
}

// A text that is there often takes room once.
func TestSize(t *testing.T) {
	long := string(make([]byte, 1000))
	one, many := Of(&[]string{long}), Of(&[]string{long, long, long})
	if many.Size() > one.Size()+4 {
		t.Errorf("three times the same text: %d octets, once: %d", many.Size(), one.Size())
	}
	if new(Value[part]).Any() || !one.Any() {
		t.Error("Any is wrong")
	}
}

func TestValuesAtOnce(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 3))
			for range 200 {
				var v all
				fill(reflect.ValueOf(&v).Elem(), r, 0)
				if back := Of(&v).Get(); !reflect.DeepEqual(*back, v) {
					t.Errorf("got %#v, expected %#v", *back, v)
				}
			}
		})
	}
	wg.Wait()
}

func TestOfWhatIsNotProvidedFor(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	Of(&struct{ f float64 }{})
}
