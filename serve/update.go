package serve

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/coredns-mske/mske/announce"
	"github.com/coredns-mske/mske/merge"
)

// CanUpdate reports whether Update can make the next view of s: not if other keys
// sign, or signatures are due.
func (s *Subtree) CanUpdate(c SubtreeConfig, by Signers, p Params) bool {
	if s == nil || s.nodes == nil {
		return false
	}
	was := s.config
	was.Serial = c.Serial
	b, err := newBuilder(c, by, p, s)
	return err == nil && was == c && b.same && b.lasts(s.span)
}

// Update returns the view that BuildSubtree would make of what s announces, with
// changed in place of what that had for the same zones. In a large fleet it costs
// a small part of that.
func (s *Subtree) Update(c SubtreeConfig, changed []Announced, by Signers, apex *Apex, p Params) (*Subtree, error) {
	b, err := newBuilder(c, by, p, s)
	if err != nil {
		return nil, err
	}
	b.view.nodes, b.view.chain = maps.Clone(s.nodes), slices.Clone(s.chain)
	var keys [][]byte
	for _, a := range changed {
		for _, name := range []struct {
			of   func(zone, ns string) (string, error)
			sets merge.Announcement
			none bool
		}{
			{announce.Name, a.Announcement, len(a.Announcement.DNSKEY)+len(a.Announcement.CDNSKEY)+len(a.Announcement.CDS) == 0},
			{announce.BootName, a.Boot, len(a.Boot.CDS) == 0},
		} {
			owner, err := name.of(a.Zone, c.NS)
			if err != nil {
				continue // rule P2; the caller says so, once
			}
			key, err := sortKey(owner)
			if err != nil {
				return nil, err
			}
			if name.none {
				b.drop(key)
			} else if err := b.add(owner, a, name.sets); err != nil {
				return nil, err
			}
			keys = append(keys, key)
		}
	}
	if c.Delegated {
		if err := b.addApex(apex); err != nil {
			return nil, err
		}
		if err := b.relink(append(keys, b.view.suffix)); err != nil {
			return nil, err
		}
	}
	return b.finish(), nil
}

// drop takes the data of a name away, and those names above that are there for
// its sake, the signaling domain as well unless it is a zone.
func (b *builder) drop(key []byte) {
	nodes := b.view.nodes
	if n := nodes[string(key)]; n == nil || n == empty {
		return
	}
	nodes[string(key)] = empty
	for len(key) >= len(b.view.suffix) && nodes[string(key)] == empty && !b.hasBelow(key) {
		delete(nodes, string(key))
		key = parentKey(key)
	}
}

// hasBelow reports whether there are names below that of key.
func (b *builder) hasBelow(key []byte) bool {
	for other := range b.view.nodes {
		if len(other) > len(key) && strings.HasPrefix(other, string(key)) {
			return true
		}
	}
	return false
}

// relink brings the chain of NSEC records up to date with the names of keys.
func (b *builder) relink(keys [][]byte) error {
	v := b.view
	find := func(key []byte) (int, bool) {
		return slices.BinarySearchFunc(v.chain, key, func(n *node, key []byte) int { return cmp.Compare(n.key, string(key)) })
	}
	slices.SortFunc(keys, bytes.Compare)
	for _, key := range keys {
		n := v.nodes[string(key)]
		switch i, there := find(key); {
		case n == nil || n == empty:
			if there {
				v.chain = slices.Delete(v.chain, i, i+1)
			}
		case there:
			v.chain[i] = n
		default:
			v.chain = slices.Insert(v.chain, i, n)
		}
	}
	for _, key := range keys {
		i, _ := find(key) // of one that has gone, that of the next
		for _, at := range []int{i + len(v.chain) - 1, i} {
			at %= len(v.chain)
			n, err := b.linkTo(v.chain[at], v.chain[(at+1)%len(v.chain)])
			if err != nil {
				return err
			}
			v.chain[at], v.nodes[n.key] = n, n
		}
	}
	v.apex = v.chain[0]
	return nil
}
