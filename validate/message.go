package validate

import (
	"slices"

	"github.com/miekg/dns"
)

// rrset is an RRset as it came, with the RRSIGs that cover it. The records are
// copies, their owner canonical.
type rrset struct {
	name   string
	rrtype uint16
	rrs    []dns.RR
	sigs   []*dns.RRSIG
	ttl    uint32 // the lowest
}

// collect sorts a section's records into RRsets of class IN, in the order in
// which they come. Duplicates are dropped (RFC 2181 section 5), and RRSIGs
// without an RRset.
func collect(section []dns.RR) []*rrset {
	var sets []*rrset
	index := make(map[rrsetKey]*rrset)
	var sigs []*dns.RRSIG
	for _, rr := range section {
		if rr == nil || rr.Header().Class != dns.ClassINET || rr.Header().Rrtype == dns.TypeOPT {
			continue
		}
		rr = dns.Copy(rr)
		h := rr.Header()
		h.Name = dns.CanonicalName(h.Name)
		if sig, ok := rr.(*dns.RRSIG); ok {
			sig.SignerName = dns.CanonicalName(sig.SignerName)
			sigs = append(sigs, sig)
			continue
		}
		k := rrsetKey{h.Name, h.Rrtype}
		set := index[k]
		if set == nil {
			set = &rrset{name: h.Name, rrtype: h.Rrtype, ttl: h.Ttl}
			index[k] = set
			sets = append(sets, set)
		}
		set.add(rr)
	}
	for _, sig := range sigs {
		if set := index[rrsetKey{sig.Hdr.Name, sig.TypeCovered}]; set != nil {
			set.sigs = append(set.sigs, sig)
		}
	}
	return sets
}

type rrsetKey struct {
	name   string
	rrtype uint16
}

func (s *rrset) add(rr dns.RR) {
	s.ttl = min(s.ttl, rr.Header().Ttl)
	if !slices.ContainsFunc(s.rrs, func(other dns.RR) bool { return dns.IsDuplicate(rr, other) }) {
		s.rrs = append(s.rrs, rr)
	}
}

// find returns the RRset of that name and type, or nil.
func find(sets []*rrset, name string, rrtype uint16) *rrset {
	for _, s := range sets {
		if s.name == name && s.rrtype == rrtype {
			return s
		}
	}
	return nil
}

// alias returns the RRset that redirects the name: a DNAME above it, else a
// CNAME at it, else nil. The CNAME that a server makes from a DNAME is not
// signed (RFC 6672 section 5.3.1), so DNAME goes first.
func alias(sets []*rrset, name string) *rrset {
	for _, s := range sets {
		if s.rrtype == dns.TypeDNAME && isAbove(s.name, name) {
			return s
		}
	}
	return find(sets, name, dns.TypeCNAME)
}
