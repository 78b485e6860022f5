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
	labels, escaped := 0, false
	for i := range len(name) {
		switch c := name[i]; {
		case 'A' <= c && c <= 'Z':
			return x.matchLower(name)
		case escaped:
			escaped = false
		case c == '\\':
			escaped = true
		case c == '.':
			labels++
		}
	}
	for off := 0; off < len(name); off, labels = nextLabel(name, off), labels-1 {
		if !x.has(labels) {
			continue
		}
		if s, ok := x.at[name[off:]]; ok {
			return s, off == 0
		}
	}
	s, ok := x.at["."]
	return s, ok && name == "."
}

// has reports whether there may be a site whose name has that many labels.
func (x *sites) has(labels int) bool { return uint(labels) < uint(len(x.depths)) && x.depths[labels] }

// matchLower is match for a name with letters in upper case, without the
// allocation of strings.ToLower: every other query has some where resolvers
// mix them.
func (x *sites) matchLower(name string) (s site, exact bool) {
	var room [usualText]byte
	if len(name) > len(room) {
		return x.match(strings.ToLower(name))
	}
	lower := room[:copy(room[:], name)]
	labels, escaped := 0, false
	for i, c := range lower {
		switch {
		case 'A' <= c && c <= 'Z':
			lower[i] = c + 'a' - 'A'
			escaped = false
		case escaped:
			escaped = false
		case c == '\\':
			escaped = true
		case c == '.':
			labels++
		}
	}
	for off := 0; off < len(lower); off, labels = nextLabel(lower, off), labels-1 {
		if !x.has(labels) {
			continue
		}
		if s, ok := x.at[string(lower[off:])]; ok {
			return s, off == 0
		}
	}
	return x.at["."], false
}

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
