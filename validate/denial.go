package validate

import (
	"slices"
	"time"

	"github.com/miekg/dns"
)

// proof is what validated NSEC or NSEC3 records say about a name and a type:
// that there is no such data (the zero value), unless insecure is set.
type proof struct {
	// matching is the record of the name itself, if there is one.
	matching dns.RR

	// delegation says that a delegation starts at the name: NS without SOA.
	delegation bool

	// insecure says why nothing is proven, though the records are genuine.
	insecure *Error
}

// denials are the NSEC and NSEC3 of one zone that were validated.
type denials struct {
	zone   string
	budget *budget
	nsec   []*dns.NSEC
	nsec3  []*dns.NSEC3
	sigs   map[dns.RR]*dns.RRSIG // that verified
	ttl    time.Duration         // for which all of them hold
}

// denialSets returns the RRsets of NSEC and NSEC3, no more than any proof needs.
func denialSets(sets []*rrset) []*rrset {
	var out []*rrset
	for _, s := range sets {
		// Each has one record: two would be two statements of one name.
		if (s.rrtype == dns.TypeNSEC || s.rrtype == dns.TypeNSEC3) && len(s.rrs) == 1 && len(out) < maxDenials {
			out = append(out, s)
		}
	}
	return out
}

// denialSigners returns the zones that sign the NSEC and NSEC3; the error is why
// there are none.
func (q about) denialSigners(sets []*rrset) ([]string, *Error) {
	var zones []string
	var reason *Error
	for _, s := range sets {
		found, err := q.signers(s)
		if err != nil {
			reason = err
		}
		for _, z := range found {
			if !slices.Contains(zones, z) && len(zones) < maxSigners {
				zones = append(zones, z)
			}
		}
	}
	return zones, reason
}

// denials validates the NSEC and NSEC3 of zone z. Those that fail are left
// out; the error is about the last of them.
func (w *walk) denials(sets []*rrset, z *zone, q about) (denials, *Error) {
	d := denials{zone: z.name, budget: &w.s.budget, sigs: make(map[dns.RR]*dns.RRSIG), ttl: maxTTL}
	var reason *Error
	for _, s := range sets {
		s = q.lawful(s)
		sig, _, err := w.verify(s, z)
		if err != nil {
			reason = err
			continue
		}
		d.ttl = min(d.ttl, w.holds(s, sig))
		d.sigs[s.rrs[0]] = sig
		switch rr := s.rrs[0].(type) {
		case *dns.NSEC:
			d.nsec = append(d.nsec, rr)
		case *dns.NSEC3:
			d.nsec3 = append(d.nsec3, rr)
		}
	}
	return d, reason
}

// deny proves that there is no RRset of that name and type.
func (d denials) deny(name string, qtype uint16) (proof, *Error) {
	if len(d.nsec3) > 0 && len(d.nsec) == 0 {
		return d.deny3(name, qtype)
	}
	return d.denyNSEC(name, qtype)
}

// denyExpansion proves that the name, answered from a wildcard whose closest
// encloser has that many labels, does not exist, nor a wildcard that is closer
// (RFC 4035 section 5.3.4, RFC 5155 section 8.8).
func (d denials) denyExpansion(name string, qtype uint16, encloser int) (proof, *Error) {
	if len(d.nsec3) > 0 && len(d.nsec) == 0 {
		return d.denyExpansion3(name, qtype, encloser)
	}
	covering, err := d.covering(name, qtype)
	if err != nil {
		return proof{}, err
	}
	if dns.CountLabel(closestEncloser(name, covering)) != encloser {
		return proof{}, d.fail(name, qtype, "RFC 4035 section 5.3.4", "the NSEC at %s shows a closer name than the wildcard's", covering.Hdr.Name)
	}
	return proof{}, nil
}

// denyType says what a type bitmap, of the name or of the wildcard that covers
// it, denies.
func (d denials) denyType(types []uint16, owner, name string, qtype uint16) (proof, *Error) {
	has := func(t uint16) bool { return slices.Contains(types, t) }
	delegation := has(dns.TypeNS) && !has(dns.TypeSOA)
	switch {
	case has(qtype):
		return proof{}, d.fail(name, qtype, "RFC 4035 section 5.4", "the denial by %s lists the type as present at %s", d.zone, owner)
	case has(dns.TypeCNAME):
		return proof{}, d.fail(name, qtype, "RFC 6840 section 4.3", "the denial by %s lists a CNAME at %s", d.zone, owner)
	case qtype != dns.TypeDS && delegation:
		return proof{}, d.fail(name, qtype, "RFC 6840 section 4.1", "the denial by %s is of a delegation at %s, and denies DS only", d.zone, owner)
	case qtype == dns.TypeDS && has(dns.TypeSOA) && name != ".":
		return proof{}, d.fail(name, qtype, "RFC 4035 section 5.2", "the denial by %s is from the child's side of the zone cut", d.zone)
	}
	return proof{delegation: delegation && owner == name}, nil
}

// leavesZone says whether what is below a name with these types is not part of
// the zone: it is delegated, or redirected by DNAME.
func leavesZone(types []uint16) bool {
	return slices.Contains(types, dns.TypeDNAME) ||
		slices.Contains(types, dns.TypeNS) && !slices.Contains(types, dns.TypeSOA)
}

// fail returns an Error about the denial of a name and type.
func (d denials) fail(name string, qtype uint16, section, detail string, args ...any) *Error {
	return fail(name, qtype, CheckDenial, section, detail, args...).by(d.zone, 0)
}
