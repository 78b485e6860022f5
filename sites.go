package mske

import (
	"strings"

	"github.com/miekg/dns"
)

// site is what there is at a name: a zone's apex, a signaling domain, or one
// name that is both.
type site struct {
	zone    *zone
	subtree *subtree
}

// sites are all that a handler answers for.
type sites struct {
	at     map[string]site     // by name
	depths [maxLabels + 1]bool // which numbers of labels these names have
}

func newSites() *sites { return &sites{at: make(map[string]site)} }

// add adds what there is at name, in place of what there was.
func (x *sites) add(name string, s site) {
	x.at[name] = s
	x.depths[dns.CountLabel(name)] = true
}

// Classes of octets in a name as text.
const (
	dot   = 1 << iota // ends a label
	upper             // a letter in upper case
	slash             // begins an octet that is written otherwise
)

// classes are those of all octets: each name asked for is looked through once.
var classes = func() (classes [256]uint8) {
	classes['.'], classes['\\'] = dot, slash
	for c := 'A'; c <= 'Z'; c++ {
		classes[c] = upper
	}
	return classes
}()

// match returns what is at name or at the nearest name above it, and whether it
// is at name itself. Its cost does not depend on the number of zones.
func (x *sites) match(name string) (s site, exact bool) {
	labels, all := 0, uint8(0)
	for i := range len(name) {
		c := classes[name[i]]
		labels += int(c & dot)
		all |= c
	}
	if all&slash != 0 {
		labels = dns.CountLabel(name)
	}
	if all&upper != 0 {
		return x.matchLower(name, labels)
	}
	return nearest(x, name, labels)
}

// matchLower is match for a name with letters in upper case, without the
// allocation of strings.ToLower: every other query has some where resolvers
// mix them.
func (x *sites) matchLower(name string, labels int) (s site, exact bool) {
	var room [usualText]byte
	if len(name) > len(room) {
		return nearest(x, strings.ToLower(name), labels)
	}
	lower := room[:copy(room[:], name)]
	for i, c := range lower {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	return nearest(x, lower, labels)
}

// nearest is match for a name in lower case with that many labels.
func nearest[T string | []byte](x *sites, name T, labels int) (s site, exact bool) {
	for off := 0; off < len(name); off, labels = nextLabel(name, off), labels-1 {
		if !x.has(labels) {
			continue
		}
		if s, ok := x.at[string(name[off:])]; ok {
			return s, off == 0
		}
	}
	s, ok := x.at["."]
	return s, ok && string(name) == "."
}

// has reports whether there may be a site whose name has that many labels.
func (x *sites) has(labels int) bool { return uint(labels) < uint(len(x.depths)) && x.depths[labels] }

// nextLabel returns where the label after that at off begins.
func nextLabel[T string | []byte](name T, off int) int {
	for off < len(name) && name[off] != '.' {
		if name[off] == '\\' {
			off++ // the next octet is part of the label, even a dot
		}
		off++
	}
	return off + 1
}

// maxLabels is how many labels a name has at most, the root's left out.
const maxLabels = 127

// usualText is as long as names are in text, in octets, unless they have many
// octets that are written as \DDD.
const usualText = 256
