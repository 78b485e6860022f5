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
}

func (w *writer) reset() {
	w.octets = w.octets[:0]
	clear(w.kept) // they are not to be held
	w.kept = w.kept[:0]
	clear(w.numbers)
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

// Times are a number whose lowest bits say what they are.
const (
	timeUTC   = 1
	timeLocal = 2
	timeKept  = 3 // in another place, or with a reading of time elapsed
)

func (w *writer) time(t time.Time) {
	if t == (time.Time{}) {
		w.number(0)
		return
	}
	kind := uint64(timeKept)
	switch {
	case t != t.Round(0):
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
	seconds := t.Unix()
	w.number(zigzag(seconds)<<2 | kind)
	w.number(uint64(t.Nanosecond())) // #nosec G115 -- not negative
}

// reader is where octets become a value again.
type reader struct {
	octets string
	kept   []any
	texts  []string
}

func (r *reader) reset(octets string, kept []any) {
	r.octets, r.kept = octets, kept
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
	case timeUTC:
		return time.Unix(unzigzag(head>>2), int64(r.number())).UTC() // #nosec G115 -- below a second
	case timeLocal:
		return time.Unix(unzigzag(head>>2), int64(r.number())) // #nosec G115 -- below a second
	case timeKept:
		return r.kept[r.number()-1].(time.Time)
	}
	return time.Time{}
}

// zigzag returns n as a number that is small if n is near zero.
func zigzag(n int64) uint64 { return uint64(n<<1) ^ uint64(n>>63) } // #nosec G115 -- bits

func unzigzag(n uint64) int64 { return int64(n>>1) ^ -int64(n&1) } // #nosec G115 -- bits
