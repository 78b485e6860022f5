package validate

import (
	"bytes"
	"slices"

	"github.com/miekg/dns"
)

// rrset is an RRset as it came, with the RRSIGs that cover it. The records are
// copies, their owner canonical.
type rrset struct {
	name   string
	rrtype uint16
	rrs    []dns.RR
	sigs   []*dns.RRSIG // no more than maxSignatures
	ttl    uint32       // the lowest

	wires  [][]byte // of rrs, with a TTL of 0
	octets int      // in them
}

// collect sorts a section's records into RRsets of class IN, in the order in
// which they come. Duplicates are dropped (RFC 2181 section 5), and RRSIGs
// without an RRset.
func collect(section []dns.RR) []*rrset {
	var sets []*rrset
	index := make(map[rrsetKey]*rrset)
	seen := make(map[string]bool)
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
		wire := pack(rr)
		if wire == nil {
			continue // not what a message can hold
		}
		k := rrsetKey{h.Name, h.Rrtype}
		set := index[k]
		if set == nil {
			set = &rrset{name: h.Name, rrtype: h.Rrtype, ttl: h.Ttl}
			index[k] = set
			sets = append(sets, set)
		}
		set.ttl = min(set.ttl, h.Ttl)
		if !seen[string(wire)] {
			seen[string(wire)] = true
			set.rrs, set.wires = append(set.rrs, rr), append(set.wires, wire)
			set.octets += len(wire)
		}
	}
	for _, sig := range sigs {
		if set := index[rrsetKey{sig.Hdr.Name, sig.TypeCovered}]; set != nil && len(set.sigs) < maxSignatures {
			set.sigs = append(set.sigs, sig)
		}
	}
	return sets
}

type rrsetKey struct {
	name   string
	rrtype uint16
}

// pack returns a record's octets with a TTL of 0, nil if it has none.
func pack(rr dns.RR) []byte {
	wire := make([]byte, dns.Len(rr)+1)
	end, err := dns.PackRR(rr, wire, 0, nil, false)
	if err != nil {
		return nil
	}
	ttl := 0
	for wire[ttl] != 0 {
		ttl += int(wire[ttl]) + 1
	}
	ttl += 1 + 2 + 2 // the root label, type and class
	clear(wire[ttl : ttl+4])
	return wire[:end]
}

// Digest identifies records, whatever their TTL and order. It returns false if one
// of them is not what a message can hold.
func Digest(rrs []dns.RR) (Fingerprint, bool) {
	wires := make([][]byte, len(rrs))
	for i, rr := range rrs {
		if wires[i] = pack(rr); wires[i] == nil {
			return Fingerprint{}, false
		}
	}
	slices.SortFunc(wires, bytes.Compare)
	return fingerprint(wires...), true
}

// digest identifies the records of the RRset, whatever their TTL and order.
func (s *rrset) digest() Fingerprint {
	wires := slices.Clone(s.wires)
	slices.SortFunc(wires, bytes.Compare)
	return fingerprint(wires...)
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
