package announce

import (
	"slices"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/merge"
)

// RRsets returns the RRsets that hold the announcement a at owner, a
// signaling name, ttl in seconds: CDS, CDNSKEY and DNSKEY, those of them that
// are not empty, each without duplicates and in canonical order (RFC 4034
// section 6.3).
func RRsets(owner string, a merge.Announcement, ttl uint32) (sets [][]dns.RR) {
	cds := rrset(a.CDS, merge.CompareDS, func(d merge.DS) dns.RR { return d.CDS(owner, ttl) })
	cdnskey := rrset(a.CDNSKEY, merge.CompareKeys, func(k merge.Key) dns.RR { return k.CDNSKEY(owner, ttl) })
	dnskey := rrset(a.DNSKEY, merge.CompareKeys, func(k merge.Key) dns.RR { return k.DNSKEY(owner, ttl) })
	for _, set := range [][]dns.RR{cds, cdnskey, dnskey} {
		if len(set) > 0 {
			sets = append(sets, set)
		}
	}
	return sets
}

// rrset returns the records of the distinct members of set in the order of
// compare, which most sets are in already.
func rrset[T comparable](set []T, compare func(a, b T) int, record func(T) dns.RR) []dns.RR {
	if !slices.IsSortedFunc(set, compare) {
		set = slices.SortedStableFunc(slices.Values(set), compare)
	}
	rrs := make([]dns.RR, 0, len(set))
	for i, v := range set {
		if i == 0 || v != set[i-1] {
			rrs = append(rrs, record(v))
		}
	}
	return rrs
}
