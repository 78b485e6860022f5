package announce

import (
	"bytes"
	"slices"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/merge"
)

// RRsets returns the RRsets that hold the announcement a at owner, a
// signaling name, ttl in seconds: CDS, CDNSKEY and DNSKEY, those of them that
// are not empty, each without duplicates and in canonical order (RFC 4034
// section 6.3).
func RRsets(owner string, a merge.Announcement, ttl uint32) (sets [][]dns.RR) {
	cds := rrset(a.CDS, func(d merge.DS) dns.RR { return d.CDS(owner, ttl) })
	cdnskey := rrset(a.CDNSKEY, func(k merge.Key) dns.RR { return k.CDNSKEY(owner, ttl) })
	dnskey := rrset(a.DNSKEY, func(k merge.Key) dns.RR { return k.DNSKEY(owner, ttl) })
	for _, set := range [][]dns.RR{cds, cdnskey, dnskey} {
		if len(set) > 0 {
			sets = append(sets, set)
		}
	}
	return sets
}

// rrset returns the records of the distinct members of set in canonical
// order.
func rrset[T comparable](set []T, record func(T) dns.RR) []dns.RR {
	type sortable struct {
		rr    dns.RR
		rdata []byte
	}
	var sorted []sortable
	for i, v := range set {
		if !slices.Contains(set[:i], v) {
			rr := record(v)
			sorted = append(sorted, sortable{rr, rdata(rr)})
		}
	}
	slices.SortFunc(sorted, func(a, b sortable) int { return bytes.Compare(a.rdata, b.rdata) })
	rrs := make([]dns.RR, len(sorted))
	for i := range sorted {
		rrs[i] = sorted[i].rr
	}
	return rrs
}

// rdata returns the rdata of rr as on the wire, or nothing if it does not
// pack.
func rdata(rr dns.RR) []byte {
	same := dns.Copy(rr)
	same.Header().Name = "." // 1 octet, then 10 of type, class, TTL and length
	wire := make([]byte, dns.Len(same))
	n, err := dns.PackRR(same, wire, 0, nil, false)
	if err != nil {
		return nil
	}
	return wire[11:n]
}
