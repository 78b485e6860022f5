package serve

import (
	"strings"
	"unsafe"

	"github.com/coredns-mske/mske/keys"
)

// The RRsets that a name usually has lie together, their octets in one piece of memory
// and all else in another, with the view itself: a fleet has hundreds of thousands, each
// piece is one more that the garbage collector visits again and again, and what lies
// apart a query waits for apart.

// space is what is left of where RRsets are to lie.
type space struct {
	sets  []RRset
	marks []mark
}

// take returns a copy of s that lies there, or elsewhere if there is no room.
func (x *space) take(s *RRset) *RRset {
	if s == nil {
		return nil
	}
	if len(x.sets) == 0 {
		x.sets = make([]RRset, 1)
	}
	n := len(s.marks)
	if len(x.marks) < n {
		x.marks = make([]mark, n)
	}
	c := &x.sets[0]
	*c = *s
	c.marks = x.marks[:n:n]
	copy(c.marks, s.marks)
	x.sets, x.marks = x.sets[1:], x.marks[n:]
	return c
}

// join puts the octets of sets, which nobody else has yet, into one piece.
func join(sets []*RRset) {
	if len(sets) < 2 {
		return
	}
	var all strings.Builder
	size := 0
	for _, s := range sets {
		size += len(s.data)
	}
	all.Grow(size)
	for _, s := range sets {
		all.WriteString(s.data)
	}
	rest := all.String()
	for _, s := range sets {
		s.data, rest = rest[:len(s.data)], rest[len(s.data):]
	}
}

// together returns a copy of a whose RRsets lie together. Their octets stay where they
// are if the view before, old, has the same, as after a reload: they are not in memory
// twice.
func (a *Apex) together(old *Apex) *Apex {
	piece := new(struct {
		Apex
		signer [1]*keys.Key
		marks  [18]mark // four keys and more, and for each of CDS and CDNSKEY some, with their signatures
	})
	piece.Apex = *a
	piece.own = [len(a.own)]RRset{}
	if len(a.Data) == 1 {
		piece.signer[0] = a.Data[0]
		piece.Data = piece.signer[:]
	}
	x := space{piece.own[:], piece.marks[:]}
	var sets []*RRset
	for _, set := range piece.sources() {
		if *set != nil {
			*set = x.take(*set)
			(*set).name(a.Zone)
			sets = append(sets, *set)
		}
	}
	if !a.shares(old) {
		join(sets)
	}
	return &piece.Apex
}

// shares reports whether the octets of all RRsets of a are those of old.
func (a *Apex) shares(old *Apex) bool {
	theirs := old.sources()
	for i, set := range a.sources() {
		if *set != nil && (*theirs[i] == nil || !sameMemory((*set).data, (*theirs[i]).data)) {
			return false
		}
	}
	return true
}

// sameMemory reports whether a and b are the same octets in memory.
func sameMemory(a, b string) bool {
	return len(a) == len(b) && unsafe.StringData(a) == unsafe.StringData(b)
}

// name has s name zone by that string where it does so by an equal one, of which other
// memory than the view's is a part: that of all names of a Corefile before.
func (s *RRset) name(zone string) {
	if s.owner == zone {
		s.owner = zone
	}
	if s.signer == zone {
		s.signer = zone
	}
}

// sources returns where in a its RRsets stand, of which some are nil.
func (a *Apex) sources() [5]**RRset {
	return [...]**RRset{&a.DNSKEY.RRset, &a.CDS.RRset, &a.CDNSKEY.RRset, &a.NS, &a.CSYNC}
}

// together returns a copy of n whose RRsets lie together, with their octets where they
// are.
func (n *node) together() *node {
	piece := new(struct {
		node
		list   [3]*RRset // DNSKEY, CDS and CDNSKEY
		rrsets [4]RRset  // these and NSEC
		marks  [11]mark
	})
	piece.node = *n
	x := space{piece.rrsets[:], piece.marks[:]}
	piece.sets = piece.list[:0]
	for _, set := range n.sets {
		piece.sets = append(piece.sets, x.take(set))
	}
	piece.nsec = x.take(n.nsec)
	return &piece.node
}
