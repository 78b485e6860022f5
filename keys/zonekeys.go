package keys

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/merge"
)

const (
	// confirm is how long a file has to be missing before that counts, since
	// some programs replace a file by removing it first.
	confirm = time.Second
	// keepGone is how long a data-signing key whose file has gone is listed.
	// No cache should hold a signature of it for longer (RFC 8767 section 4:
	// TTLs are capped at 7 days).
	keepGone = 7 * 24 * time.Hour
)

// zoneKeys are the keys of one zone.
type zoneKeys struct {
	name  string  // of the zone, for all that belongs to it
	pairs []*pair // those that could be read
	keys  []*Key  // as handed out
	// frozen says that no key with all its files remained at the last look.
	frozen bool

	room [2]*pair // for pairs: most zones have a KSK and a ZSK
}

func (z *zoneKeys) add(p *pair) {
	if z.pairs == nil {
		z.pairs = z.room[:0]
	}
	if !slices.Contains(z.pairs, p) {
		z.pairs = append(z.pairs, p)
	}
}

// rebuild makes the list of zone's keys anew and reports whether it changed.
func (s *scan) rebuild(zone string) bool {
	z := s.zones[zone]
	if !z.intact() {
		s.freeze(zone, z)
		return false
	}
	s.settle(zone, z)
	ks := z.list()
	if slices.EqualFunc(z.keys, ks, same) {
		return false
	}
	z.keys = ks
	return true
}

// intact reports whether a key of z has all its files: one with a private
// half, unless z never had one.
func (z *zoneKeys) intact() bool {
	var public, private, had bool
	for _, p := range z.pairs {
		there := p.lost.IsZero() && p.gone.IsZero()
		public = public || there
		private = private || there && p.key.Signer != nil
		had = had || p.key.Signer != nil
	}
	return private || public && !had
}

// freeze leaves the list of z as it is.
func (s *scan) freeze(zone string, z *zoneKeys) {
	z.frozen = true
	s.note(zone, "zone "+zone, fmt.Sprintf("no key of zone %q has both its .key and its .private file any more: "+
		"its keys stay in use as they were; put the files back before the next restart", zone))
	for _, p := range z.pairs {
		if s.now.Sub(p.lost) >= confirm {
			delete(s.pending, p)
		}
	}
}

// settle draws the conclusion from files that have been missing for a while.
func (s *scan) settle(zone string, z *zoneKeys) {
	missing, again := false, "the keys of zone %q have their files again"
	for _, p := range z.pairs {
		if z.frozen && !p.lost.IsZero() {
			p.lost, s.pending[p] = s.now, true // the others are about to come back too
		}
		if !p.lost.IsZero() && s.now.Sub(p.lost) >= confirm {
			p.remove()
			delete(s.pending, p)
			again = "keys of zone %q have their files again, and those that have none count as removed"
		}
		missing = missing || !p.lost.IsZero()
	}
	z.frozen = false
	if !missing {
		s.mended(zone, "zone "+zone, again, zone)
	}
	z.pairs = slices.DeleteFunc(z.pairs, func(p *pair) bool {
		old := !p.gone.IsZero() && !p.key.Role.SecureEntry() && s.now.Sub(p.gone) > keepGone
		if old {
			s.forget(p)
		}
		return old
	})
}

// remove takes the missing files of p for removed. A key without .private is
// public only, but a secure-entry key goes as a whole: whether it may stop
// signing is not for the file to say (rule K3).
func (p *pair) remove() {
	k := *p.key
	if p.found.public.there && !k.Role.SecureEntry() {
		k.Signer = nil
	} else {
		p.gone = p.lost
		k.Gone = true
		if k.Timing.Delete.IsZero() || k.Timing.Delete.After(p.gone) {
			k.Timing.Delete = p.gone
		}
	}
	p.key, p.seen, p.lost = &k, p.found, time.Time{}
}

// rank orders the pairs that hold the same key: the highest counts.
func (p *pair) rank() (r int) {
	if p.gone.IsZero() {
		r += 4
	}
	if p.key.Signer != nil {
		r += 2
	}
	if p.named {
		r++
	}
	return r
}

// list returns the keys of z with their roles, each once, in an order that
// depends on nothing but them.
func (z *zoneKeys) list() []*Key {
	slices.SortFunc(z.pairs, func(a, b *pair) int {
		return cmp.Or(cmp.Compare(b.rank(), a.rank()), cmp.Compare(a.base, b.base))
	})
	have := make(map[merge.Key]bool)
	ks, room := roomFor(len(z.pairs))
	for _, p := range z.pairs {
		if id := p.key.ID(); !have[id] {
			r := &room[len(ks)]
			have[id], r.Key, r.dnskey = true, *p.key, *p.key.DNSKEY
			r.Key.DNSKEY, p.key, r.dnskey.Hdr.Name = &r.dnskey, &r.Key, z.name
			ks = append(ks, &r.Key)
		}
	}
	AssignRoles(ks)
	slices.SortFunc(ks, func(a, b *Key) int {
		return cmp.Or(cmp.Compare(b.DNSKEY.Flags, a.DNSKEY.Flags), cmp.Compare(a.DNSKEY.Algorithm, b.DNSKEY.Algorithm),
			cmp.Compare(a.Tag(), b.Tag()), cmp.Compare(a.DNSKEY.PublicKey, b.DNSKEY.PublicKey))
	})
	return ks
}

// whole is a key with its record.
type whole struct {
	Key
	dnskey dns.DNSKEY
}

// roomFor returns an empty list that has room for n keys, and these, in one piece if
// they are as few as most zones have: the garbage collector visits each piece.
func roomFor(n int) ([]*Key, []whole) {
	if n > 2 {
		return make([]*Key, 0, n), make([]whole, n)
	}
	room := new(struct {
		list [2]*Key
		keys [2]whole
	})
	return room.list[:0], room.keys[:]
}

// same reports whether nothing that matters differs between a and b.
func same(a, b *Key) bool {
	return a.ID() == b.ID() && a.Role == b.Role && a.Override == b.Override && a.Timing == b.Timing &&
		a.Gone == b.Gone && a.Base == b.Base && (a.Signer == nil) == (b.Signer == nil)
}
