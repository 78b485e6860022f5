package flat

import (
	"encoding/binary"
	"time"
)

// writer is where a value becomes octets. Numbers are variable-length; a text that
// was there before is its number.
type writer struct {
	octets  []byte
	kept    []any
	numbers map[string]int // of texts, from one
	last    int64          // time that was met, in nanoseconds since 1970
}

func newWriter() *writer {
	w := &writer{numbers: make(map[string]int)}
	w.reset()
	return w
}

// reset makes w ready for another value, of which it holds nothing.
func (w *writer) reset() {
	w.octets = w.octets[:0]
	clear(w.kept) // they are not to be held
	w.kept = w.kept[:0]
	clear(w.numbers)
	w.last = firstTime
}

func (w *writer) number(n uint64) { w.octets = binary.AppendUvarint(w.octets, n) }

// text writes the number of a text that was met, or zero and the text.
func (w *writer) text(text string) {
	number, met := w.numbers[text]
	w.number(uint64(number))
	if !met {
		w.numbers[text] = len(w.numbers) + 1
		w.number(uint64(len(text)))
		w.octets = append(w.octets, text...)
	}
}

// keep writes the number of something that stays as it is, from one.
func (w *writer) keep(v any, comparable bool) {
	for i, k := range w.kept {
		if comparable && k == v {
			w.number(uint64(i) + 1)
			return
		}
	}
	w.kept = append(w.kept, v)
	w.number(uint64(len(w.kept)))
}

// A time is a number whose lowest bits say of what kind it is. The others are how long
// it is after the one before: in one value most are near each other.
const (
	timeUTC   = 1
	timeLocal = 2
	timeKept  = 3 // in another place, with a reading of time elapsed, or too far away

	firstTime = int64(1<<60 + 1<<59) // of 2024
	farAway   = int64(1 << 60)       // in nanoseconds
)

func (w *writer) time(t time.Time) {
	if t == (time.Time{}) {
		w.number(0)
		return
	}
	kind, after := uint64(timeKept), t.UnixNano()-w.last
	switch {
	case t != t.Round(0), t.Year() < 1980, t.Year() > 2200, after < -farAway, after > farAway:
	case t.Location() == time.UTC:
		kind = timeUTC
	case t.Location() == time.Local:
		kind = timeLocal
	}
	if kind == timeKept {
		w.number(timeKept)
		w.keep(t, false)
		return
	}
	w.number(zigzag(after)<<2 | kind)
	w.last += after
}

// reader is where octets become a value again.
type reader struct {
	octets string
	kept   []any
	texts  []string
	last   int64 // see writer
}

func (r *reader) reset(octets string, kept []any) {
	r.octets, r.kept, r.last = octets, kept, firstTime
	clear(r.texts)
	r.texts = r.texts[:0]
}

func (r *reader) number() uint64 {
	var n uint64
	for shift := 0; ; shift += 7 {
		b := r.octets[0]
		r.octets = r.octets[1:]
		if n |= uint64(b&0x7f) << shift; b < 0x80 {
			return n
		}
	}
}

// take returns the next n octets.
func (r *reader) take(n uint64) string {
	taken := r.octets[:n]
	r.octets = r.octets[n:]
	return taken
}

func (r *reader) text() string {
	if number := r.number(); number > 0 {
		return r.texts[number-1]
	}
	text := r.take(r.number())
	r.texts = append(r.texts, text)
	return text
}

func (r *reader) time() time.Time {
	head := r.number()
	switch head & 3 {
	case timeUTC, timeLocal:
		r.last += unzigzag(head >> 2)
		t := time.Unix(0, r.last)
		if head&3 == timeUTC {
			t = t.UTC()
		}
		return t
	case timeKept:
		return r.kept[r.number()-1].(time.Time)
	}
	return time.Time{}
}

// zigzag returns n as a number that is small if n is near zero.
func zigzag(n int64) uint64 { return uint64(n<<1) ^ uint64(n>>63) } // #nosec G115 -- bits

func unzigzag(n uint64) int64 { return int64(n>>1) ^ -int64(n&1) } // #nosec G115 -- bits
