package merge

import (
	"slices"

	"github.com/miekg/dns"
)

// Union returns the joint sets of zone (rule M1): DNSKEY is ours and every
// data-signing key the peers announce or are retiring; CDNSKEY is every
// secure-entry key; CDS is the SHA-256 digest of each of these. A digest that
// a peer announced without its key is kept as it is, and only then: unlike
// digest types for the keys of one zone make parents drop a key or give up. So
// is of each key that a provider names one digest type only.
func Union(zone string, local Local, peers []Peer) Joint {
	dnskeys := [][]Key{local.DNSKEY}
	entries := [][]Key{local.SecureEntry}
	for _, p := range peers {
		dnskeys = append(dnskeys, p.dnskeys())
		entries = append(entries, p.Announcement.CDNSKEY)
	}

	j := Joint{DNSKEY: sortKeys(dnskeys...), CDNSKEY: sortKeys(entries...)}
	var named []Peer // with the digests alone that name no known key
	for _, p := range peers {
		found, unmatched := match(zone, p.Announcement.CDS, j.CDNSKEY, j.DNSKEY)
		j.CDNSKEY = sortKeys(j.CDNSKEY, found)
		if len(unmatched) > 0 {
			p.Announcement.CDS = unmatched
			named = append(named, p)
		}
	}
	for _, p := range named {
		all := slices.Clone(p.Announcement.CDS)
		for _, q := range named {
			if p.sameProvider(q) {
				all = append(all, q.Announcement.CDS...)
			}
		}
		j.Unmatched = append(j.Unmatched, strongest(p.Announcement.CDS, all)...)
	}

	for _, k := range j.CDNSKEY {
		if d, ok := k.DS(zone, dns.SHA256); ok {
			j.CDS = append(j.CDS, d)
		}
	}
	j.Unmatched = sortDS(j.Unmatched)
	j.CDS = sortDS(append(j.CDS, j.Unmatched...))
	return j
}

// match splits digests of zone's keys into the keys of sets that they name and
// the digests that name none.
func match(zone string, digests []DS, sets ...[]Key) (found []Key, unmatched []DS) {
	for _, d := range digests {
		i := slices.IndexFunc(sets, func(ks []Key) bool {
			return slices.ContainsFunc(ks, func(k Key) bool { return d.Names(zone, k) })
		})
		if i < 0 {
			unmatched = append(unmatched, d)
			continue
		}
		for _, k := range sets[i] {
			if d.Names(zone, k) {
				found = append(found, k)
			}
		}
	}
	return found, unmatched
}

// sameProvider reports whether p and q are nameservers of one provider, as they announce
// the same data-signing keys.
func (p Peer) sameProvider(q Peer) bool {
	return len(p.Announcement.DNSKEY) > 0 && sameSet(p.Announcement.DNSKEY, q.Announcement.DNSKEY)
}

// strongest returns those of digests that are of one type for each key, of all that
// their provider announces: it may name the same key by several. A digest cannot be
// compared with one of another type, so tag and algorithm have to do. Another
// provider's digest with these may be that of another key.
func strongest(digests, all []DS) []DS {
	types := make(map[Ref]uint8)
	for _, d := range all {
		r := Ref{Tag: d.KeyTag, Algorithm: d.Algorithm}
		if rank(d.DigestType) > rank(types[r]) {
			types[r] = d.DigestType
		}
	}
	return slices.DeleteFunc(digests, func(d DS) bool {
		return d.DigestType != types[Ref{Tag: d.KeyTag, Algorithm: d.Algorithm}]
	})
}

// rank orders digest types by how well they go with the digests that Union
// computes: SHA-256 like those, SHA-384 next, all others last but above none.
func rank(digestType uint8) int {
	switch digestType {
	case 0:
		return 0
	case dns.SHA256:
		return 3
	case dns.SHA384:
		return 2
	default:
		return 1
	}
}

func sortDS(ds []DS) []DS {
	slices.SortFunc(ds, CompareDS)
	return slices.Compact(ds)
}
