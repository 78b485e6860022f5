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

// match returns what is at name or at the nearest name above it, and whether it
// is at name itself. Its cost does not depend on the number of zones.
func (x *sites) match(name string) (s site, exact bool) {
	for i := range len(name) {
		if c := name[i]; 'A' <= c && c <= 'Z' {
			return x.matchLower(name)
		}
	}
	return nearest(x, name)
}

// matchLower is match for a name with letters in upper case, without the
// allocation of strings.ToLower: every other query has some where resolvers
// mix them.
func (x *sites) matchLower(name string) (s site, exact bool) {
	var room [usualText]byte
	if len(name) > len(room) {
		return nearest(x, strings.ToLower(name))
	}
	lower := room[:copy(room[:], name)]
	for i, c := range lower {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	return nearest(x, lower)
}

// nearest is match for a name in lower case.
func nearest[T string | []byte](x *sites, name T) (s site, exact bool) {
	labels, escaped := 0, false
	for i := range len(name) {
		switch {
		case escaped:
			escaped = false
		case name[i] == '\\':
			escaped = true
		case name[i] == '.':
			labels++
		}
	}
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
