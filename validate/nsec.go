package validate

import (
	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/domain"
)

// denyNSEC is deny by NSEC (RFC 4035 section 5.4).
func (d denials) denyNSEC(name string, qtype uint16) (proof, *Error) {
	if matching := d.matching(name); matching != nil {
		p, err := d.denyType(matching.TypeBitMap, name, name, qtype)
		p.matching = matching
		return p, err
	}
	covering, err := d.covering(name, qtype)
	if err != nil {
		return proof{}, err
	}
	if dns.IsSubDomain(name, canonicalNext(covering)) {
		return proof{}, nil // an empty non-terminal
	}
	wild := wildcard(closestEncloser(name, covering))
	if matching := d.matching(wild); matching != nil {
		return d.denyType(matching.TypeBitMap, wild, name, qtype)
	}
	if _, err := d.covering(wild, qtype); err != nil {
		return proof{}, d.fail(name, qtype, "RFC 4035 section 5.4", "no NSEC denies the wildcard %s", wild)
	}
	return proof{}, nil
}

// matching returns the NSEC of the name itself, or nil.
func (d denials) matching(name string) *dns.NSEC {
	for _, rr := range d.nsec {
		if rr.Hdr.Name == name {
			return rr
		}
	}
	return nil
}

// covering returns the NSEC in whose span the name is.
func (d denials) covering(name string, qtype uint16) (*dns.NSEC, *Error) {
	reason := d.fail(name, qtype, "RFC 4035 section 5.4", "no NSEC of %s denies it", d.zone)
	for _, rr := range d.nsec {
		if !covers(rr, name, d.zone) {
			continue
		}
		if isAbove(rr.Hdr.Name, name) && leavesZone(rr.TypeBitMap) {
			reason = d.fail(name, qtype, "RFC 6840 section 4.1", "the NSEC at %s is of a delegation or a DNAME, and denies nothing below", rr.Hdr.Name)
			continue
		}
		return rr, nil
	}
	return nil, reason
}

// covers says whether the name lies between the NSEC's owner and its next
// name. The last NSEC of a zone has the apex as its next name.
func covers(rr *dns.NSEC, name, zone string) bool {
	owner, next := rr.Hdr.Name, canonicalNext(rr)
	if !dns.IsSubDomain(zone, next) || !dns.IsSubDomain(zone, name) || domain.Compare(owner, name) >= 0 {
		return false
	}
	return next == zone || domain.Compare(name, next) < 0
}

func canonicalNext(rr *dns.NSEC) string { return dns.CanonicalName(rr.NextDomain) }

// closestEncloser returns the longest existing ancestor of a name that the NSEC
// covers: what it shares with the owner or the next name.
func closestEncloser(name string, rr *dns.NSEC) string {
	return ancestor(name, max(dns.CompareDomainName(name, rr.Hdr.Name), dns.CompareDomainName(name, rr.NextDomain)))
}
