package merge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// AlgorithmError says that an announcement's signing algorithms are not ours.
// A zone whose providers sign with unlike algorithms cannot be validated by
// resolvers that want every algorithm of the DNSKEY RRset to sign (RFC 8901
// section 4, RFC 4035 section 2.2).
type AlgorithmError struct {
	Theirs, Ours []uint8
}

// Error implements the error interface.
func (e *AlgorithmError) Error() string {
	return fmt.Sprintf("its keys are of algorithm %s, ours of %s: all providers of a zone have to sign with the same (RFC 8901 section 4)",
		algorithms(e.Theirs), algorithms(e.Ours))
}

// CollisionError says that an announced key shares tag and algorithm with
// another key of the joint sets. Two of these make some validators fail.
type CollisionError struct {
	Ref Ref
}

// Error implements the error interface.
func (e *CollisionError) Error() string {
	return fmt.Sprintf("its key %d shares tag and algorithm (%s) with another key of the joint set: one of the two has to be replaced",
		e.Ref.Tag, algorithms([]uint8{e.Ref.Algorithm}))
}

// Admit applies the two rules of F4 that need the joint sets: whether the keys
// of announcement a may join those of local and of the other peers. It returns
// nil, an [*AlgorithmError] (not if lax) or a [*CollisionError].
func Admit(a Announcement, local Local, others []Peer, lax bool) error {
	theirs := sortKeys(a.DNSKEY, a.CDNSKEY)
	ours := sortKeys(local.DNSKEY, local.SecureEntry)
	if x, y := algorithmsOf(theirs, a.CDS), algorithmsOf(ours, nil); !lax && !slices.Equal(x, y) {
		return &AlgorithmError{Theirs: x, Ours: y}
	}

	joint := [][]Key{theirs, ours}
	for _, p := range others {
		joint = append(joint, p.dnskeys(), p.Announcement.CDNSKEY)
	}
	holders := make(map[Ref]int)
	for _, k := range sortKeys(joint...) {
		holders[k.Ref()]++
	}
	for _, k := range theirs {
		if holders[k.Ref()] > 1 {
			return &CollisionError{Ref: k.Ref()}
		}
	}
	return nil
}

// algorithmsOf returns the distinct algorithms of ks and ds, sorted.
func algorithmsOf(ks []Key, ds []DS) []uint8 {
	var as []uint8
	for _, k := range ks {
		as = append(as, k.Algorithm)
	}
	for _, d := range ds {
		as = append(as, d.Algorithm)
	}
	slices.Sort(as)
	return slices.Compact(as)
}

func algorithms(as []uint8) string {
	names := make([]string, 0, len(as))
	for _, a := range as {
		name, ok := dns.AlgorithmToString[a]
		if !ok {
			name = fmt.Sprintf("%d", a)
		}
		names = append(names, name)
	}
	return strings.Join(names, " and ")
}
