package validate

import (
	"strings"

	"github.com/miekg/dns"
)

// hashLength is that of SHA-1 in base32hex, the one hash of NSEC3 (RFC 5155
// section 11).
const hashLength = 32

// chain3 is the NSEC3 records of one zone, with the same parameters.
type chain3 struct {
	d      denials
	rrs    []*dns.NSEC3
	hashes map[string]string // of names
	spent  *Error            // a hash that the session cannot afford, nil if none
}

// chain3 sorts out the NSEC3 that are of use. Unknown hashes and flags are
// ignored (RFC 5155 sections 8.1 and 8.2); records of different parameters are
// of different chains, which prove nothing together.
func (d denials) chain3(name string, qtype uint16) (*chain3, *Error) {
	c := &chain3{d: d, hashes: make(map[string]string)}
	for _, rr := range d.nsec3 {
		if rr.Hash != dns.SHA1 || rr.Flags > 1 || len(rr.NextDomain) != hashLength ||
			strings.IndexByte(rr.Hdr.Name, '.') != hashLength || parent(rr.Hdr.Name) != d.zone {
			continue
		}
		if len(c.rrs) > 0 && (rr.Iterations != c.rrs[0].Iterations || !strings.EqualFold(rr.Salt, c.rrs[0].Salt)) {
			return nil, d.fail(name, qtype, "RFC 5155 section 8.2", "the NSEC3 records of %s differ in salt or iterations", d.zone)
		}
		c.rrs = append(c.rrs, rr)
	}
	if len(c.rrs) == 0 {
		return nil, d.fail(name, qtype, "RFC 5155 section 8.1", "no NSEC3 of %s is of a known kind", d.zone)
	}
	return c, nil
}

// deny3 is deny by NSEC3 (RFC 5155 sections 8.4 to 8.7).
func (d denials) deny3(name string, qtype uint16) (proof, *Error) {
	c, err := d.chain3(name, qtype)
	if err != nil {
		return proof{}, err
	}
	p, err := c.deny(name, qtype)
	if c.spent != nil {
		return proof{}, c.spent
	}
	return p, err
}

// deny is deny3 for a chain.
func (c *chain3) deny(name string, qtype uint16) (proof, *Error) {
	if insecure := c.tooManyIterations(name, qtype); insecure != nil {
		return proof{insecure: insecure}, nil
	}
	if matching := c.matching(name); matching != nil {
		p, err := c.d.denyType(matching.TypeBitMap, name, name, qtype)
		p.matching = matching
		return p, err
	}
	encloser, err := c.closestEncloser(name, qtype)
	if err != nil {
		return proof{}, err
	}
	if p, err := c.denyName(ancestor(name, dns.CountLabel(encloser)+1), name, qtype); err != nil || p.insecure != nil {
		return p, err
	}
	wild := wildcard(encloser)
	if matching := c.matching(wild); matching != nil {
		return c.d.denyType(matching.TypeBitMap, wild, name, qtype)
	}
	if c.covering(wild) == nil {
		return proof{}, c.d.fail(name, qtype, "RFC 5155 section 8.4", "no NSEC3 of %s denies the wildcard %s", c.d.zone, wild)
	}
	return proof{}, nil
}

// denyExpansion3 is denyExpansion by NSEC3.
func (d denials) denyExpansion3(name string, qtype uint16, encloser int) (proof, *Error) {
	c, err := d.chain3(name, qtype)
	if err != nil {
		return proof{}, err
	}
	if insecure := c.tooManyIterations(name, qtype); insecure != nil {
		return proof{insecure: insecure}, nil
	}
	p, err := c.denyName(ancestor(name, encloser+1), name, qtype)
	if c.spent != nil {
		return proof{}, c.spent
	}
	return p, err
}

// tooManyIterations returns why the zone's NSEC3 are not considered, nil if
// they are. Their signatures have been verified before, or anyone could make
// the zone insecure (RFC 9276 section 3.2).
func (c *chain3) tooManyIterations(name string, qtype uint16) *Error {
	if n := c.rrs[0].Iterations; n > maxIterations {
		return c.d.fail(name, qtype, "RFC 9276 section 3.2", "the NSEC3 of %s hash with %d iterations, more than %d", c.d.zone, n, maxIterations)
	}
	return nil
}

// closestEncloser returns the longest ancestor of the name that has an NSEC3
// (RFC 5155 section 8.3).
func (c *chain3) closestEncloser(name string, qtype uint16) (string, *Error) {
	for n := name; n != c.d.zone && c.spent == nil; {
		n = parent(n)
		matching := c.matching(n)
		if matching == nil {
			continue
		}
		if leavesZone(matching.TypeBitMap) {
			return "", c.d.fail(name, qtype, "RFC 5155 section 8.3", "the NSEC3 of %s is of a delegation or a DNAME, and denies nothing below", n)
		}
		return n, nil
	}
	return "", c.d.fail(name, qtype, "RFC 5155 section 8.3", "no NSEC3 of %s is of a name above it", c.d.zone)
}

// denyName proves that the next closer name of name does not exist, which
// opt-out leaves open (RFC 5155 section 6).
func (c *chain3) denyName(nextCloser, name string, qtype uint16) (proof, *Error) {
	covering := c.covering(nextCloser)
	if covering == nil {
		return proof{}, c.d.fail(name, qtype, "RFC 5155 section 8.3", "no NSEC3 of %s denies %s", c.d.zone, nextCloser)
	}
	if covering.Flags&1 != 0 {
		return proof{insecure: c.d.fail(name, qtype, "RFC 5155 section 6", "the NSEC3 of %s opts out: there may be an unsigned delegation at %s",
			c.d.zone, nextCloser)}, nil
	}
	return proof{}, nil
}

// matching returns the NSEC3 of the name, or nil.
func (c *chain3) matching(name string) *dns.NSEC3 {
	hash := c.hash(name)
	for _, rr := range c.rrs {
		if ownerHash(rr) == hash {
			return rr
		}
	}
	return nil
}

// covering returns the NSEC3 in whose span the name's hash is, or nil.
func (c *chain3) covering(name string) *dns.NSEC3 {
	hash := c.hash(name)
	if hash == "" {
		return nil
	}
	for _, rr := range c.rrs {
		owner, next := ownerHash(rr), strings.ToUpper(rr.NextDomain)
		switch {
		case owner < next && owner < hash && hash < next:
			return rr
		case owner >= next && (owner < hash || hash < next): // the last of the chain
			return rr
		}
	}
	return nil
}

func ownerHash(rr *dns.NSEC3) string { return strings.ToUpper(rr.Hdr.Name[:hashLength]) }

// hash returns the name's hash with the chain's parameters, "" if the session
// cannot afford it: names with many labels are the attack of CVE-2023-50868.
func (c *chain3) hash(name string) string {
	h, ok := c.hashes[name]
	if ok || c.spent != nil {
		return h
	}
	iterations, salt := c.rrs[0].Iterations, c.rrs[0].Salt
	if c.spent = c.d.budget.spend(name, dns.TypeNSEC3, hashCost(int(iterations), len(salt)/2)); c.spent != nil {
		return ""
	}
	h = dns.HashName(name, dns.SHA1, iterations, salt)
	c.hashes[name] = h
	return h
}
