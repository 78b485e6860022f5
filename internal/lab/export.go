package lab

import (
	"slices"

	"github.com/miekg/dns"
)

// RRset is an RRset of a signed zone file, with the RRSIGs that cover it.
type RRset struct {
	RRs  []dns.RR
	Sigs []dns.RR
}

// Name returns the owner of the RRset.
func (s RRset) Name() string { return s.RRs[0].Header().Name }

// Type returns the type of the RRset.
func (s RRset) Type() uint16 { return s.RRs[0].Header().Rrtype }

// Signed returns the zone as a server needs it that does not sign: SOA first,
// all RRsets in canonical order, glue and delegations without RRSIGs, then the
// NSEC or NSEC3 chain. Zones whose denial is made for each question have none.
// The records are copies. A chain of NSEC3 needs NSEC3PARAM among the zone's
// Records for a server to use it.
func (z *Zone) Signed() []RRset {
	z.lab.mu.Lock()
	defer z.lab.mu.Unlock()
	b := z.build()
	names := make([]string, 0, len(b.nodes))
	for name := range b.nodes {
		names = append(names, name)
	}
	slices.SortFunc(names, compareNames)

	var sets []RRset
	for _, name := range names {
		for _, rrtype := range b.nodes[name].types() {
			rrs := b.nodes[name][rrtype]
			if z.occluded(name) || b.cuts[name] && rrtype != dns.TypeDS {
				sets = append(sets, RRset{RRs: copies(rrs)})
				continue
			}
			sets = append(sets, z.exported(rrs))
		}
	}
	if z.Unsigned {
		return sets
	}
	switch z.Denial {
	case NSEC:
		for _, name := range b.names {
			sets = append(sets, z.exported([]dns.RR{z.nsec(name)}))
		}
	case NSEC3:
		for _, rr := range b.nsec3 {
			sets = append(sets, z.exported([]dns.RR{rr}))
		}
	}
	return sets
}

// exported returns copies of an RRset and its signatures. The lab is locked.
func (z *Zone) exported(rrs []dns.RR) RRset {
	all := z.signed(rrs)
	return RRset{RRs: all[:len(rrs):len(rrs)], Sigs: all[len(rrs):]}
}
