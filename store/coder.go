package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/coredns-mske/mske/domain"
	"github.com/coredns-mske/mske/merge"
)

// coder writes or reads a record: one description of the layout serves both, so
// that they cannot differ. Numbers are variable-length; a text that was there
// before is its number, since a record names each key and each host many times.
type coder struct {
	version byte // of the record
	reading bool
	octets  []byte // written so far, or still to be read
	texts   []string
	numbers map[string]int // of texts, while writing
	err     error          // the first

	// Room for what is read. A fleet's records are kept in memory, and to the garbage
	// collector a few pieces are less than many.
	letters strings.Builder
	ofKeys  room[merge.Key]
	ofDS    room[merge.DS]
}

// room is memory for lists.
type room[T any] struct{ free []T }

// roomFor is how many items room is made for, at least.
const roomFor = 8

// take returns n items.
func (r *room[T]) take(n int) []T {
	if n > len(r.free) {
		r.free = make([]T, max(n, roomFor))
	}
	taken := r.free[:n:n]
	r.free = r.free[n:]
	return taken
}

// lettersAtOnce is how many octets of texts room is made for, at most.
const lettersAtOnce = 512

// letter returns octets as a text, in memory with others.
func (c *coder) letter(octets []byte) string {
	b := &c.letters
	if b.Cap()-b.Len() < len(octets) {
		b.Reset() // what was in it stays
		b.Grow(max(len(octets), min(lettersAtOnce, len(octets)+len(c.octets))))
	}
	at := b.Len()
	b.Write(octets)
	return b.String()[at:]
}

var errShort = errors.New("it ends too early")

// maxText bounds a text in octets.
const maxText = 1 << 16

// fail notes an error and ends reading.
func (c *coder) fail(err error) {
	if c.err == nil {
		c.err = err
	}
	c.octets = nil
}

// take returns the next n octets.
func (c *coder) take(n uint64) []byte {
	if n > uint64(len(c.octets)) {
		c.fail(errShort)
		return nil
	}
	taken := c.octets[:n]
	c.octets = c.octets[n:]
	return taken
}

// number codes a number that is not negative.
func (c *coder) number(n *uint64) {
	if !c.reading {
		c.octets = binary.AppendUvarint(c.octets, *n)
		return
	}
	value, size := binary.Uvarint(c.octets)
	if size <= 0 {
		c.fail(errShort)
		return
	}
	*n, c.octets = value, c.octets[size:]
}

// small codes a number of a small type.
func small[T ~uint8 | ~uint16 | ~uint32](c *coder, n *T) {
	wide := uint64(*n)
	if c.number(&wide); !c.reading { // others read what is being written
		return
	}
	if *n = T(wide); uint64(*n) != wide {
		c.fail(fmt.Errorf("%d where a smaller number should be", wide))
	}
}

// yes codes truths, eight of them at most.
func (c *coder) yes(bits ...*bool) {
	var all uint8
	for i, b := range bits {
		if *b {
			all |= 1 << i
		}
	}
	if small(c, &all); !c.reading {
		return
	}
	if all>>len(bits) != 0 {
		c.fail(errors.New("a truth that nothing is known of"))
	}
	for i, b := range bits {
		*b = all&(1<<i) != 0
	}
}

// duration codes a duration, which is never negative.
func (c *coder) duration(d *time.Duration) {
	n := uint64(*d)
	c.number(&n)
	if n > math.MaxInt64 {
		c.fail(errors.New("a negative duration"))
	}
	if c.reading {
		*d = time.Duration(n)
	}
}

// time codes times. Zero is none.
func (c *coder) time(times ...*time.Time) {
	for _, t := range times {
		var seconds, fraction uint64
		if !t.IsZero() {
			seconds, fraction = uint64(t.Unix())+1, uint64(t.Nanosecond())
		}
		if c.number(&seconds); seconds > 0 {
			c.number(&fraction)
		}
		if fraction >= uint64(time.Second) || seconds > maxSeconds {
			c.fail(errors.New("a time that is none"))
			return
		}
		switch {
		case !c.reading:
		case seconds == 0:
			*t = time.Time{}
		default:
			*t = time.Unix(int64(seconds-1), int64(fraction)).UTC()
		}
	}
}

// maxSeconds is far in the future, since 1970.
const maxSeconds = 1 << 40

// text codes a text.
func (c *coder) text(text *string) {
	if !c.reading {
		number, ok := c.numbers[*text]
		c.octets = binary.AppendUvarint(c.octets, uint64(number))
		if !ok {
			c.octets = append(binary.AppendUvarint(c.octets, uint64(len(*text))), *text...)
			c.numbers[*text] = len(c.numbers) + 1
		}
		return
	}
	var number, size uint64
	if c.number(&number); number > 0 {
		if number > uint64(len(c.texts)) {
			c.fail(errors.New("it refers to a text that is not there"))
			return
		}
		*text = c.texts[number-1]
		return
	}
	if c.number(&size); size > maxText {
		c.fail(fmt.Errorf("a text of %d octets", size))
		return
	}
	*text = c.letter(c.take(size))
	c.texts = append(c.texts, *text)
}

// name codes a host name, which other records have as well: in memory it is one.
func (c *coder) name(name *string) {
	before := len(c.texts)
	if c.text(name); c.reading && len(c.texts) > before {
		*name = domain.Shared(*name)
		c.texts[before] = *name
	}
}

// list codes a list of at most limit items. An empty one and none are the same.
func list[T any](c *coder, items *[]T, limit int, item func(*T)) {
	listIn(c, items, limit, item, func(n int) []T { return make([]T, n) })
}

// listIn is list, with memory from take.
func listIn[T any](c *coder, items *[]T, limit int, item func(*T), take func(n int) []T) {
	n := uint64(len(*items))
	if c.number(&n); !c.reading && n > uint64(limit) {
		c.fail(fmt.Errorf("a list of %d, of which at most %d could be read again", n, limit))
	}
	if c.reading {
		if *items = nil; n == 0 || c.err != nil {
			return
		}
		if n > uint64(limit) || n > uint64(len(c.octets)) { // an item takes an octet at least
			c.fail(fmt.Errorf("a list of %d, where at most %d are known to be", n, limit))
			return
		}
		*items = take(int(n))
	}
	for i := range *items {
		item(&(*items)[i])
	}
}
