package serve

import (
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

// compact is what compact denial needs, besides the question.
type compact struct {
	do       bool // the client takes DNSSEC records
	nxdomain bool // the client takes NXDOMAIN with a compact denial (RFC 9824 section 5.1)
	online   *Online
	soa      func() ([]dns.RR, error)
	now      time.Time
}

// denyCompactly makes m a denial of what its question asks for (RFC 9824
// section 3): a NODATA whose NSEC has the name as its owner and the name right
// after it as the next. The NSEC of a name that does not exist has the bit
// NXNAME. n is what there is at the name, nil for nothing.
func (s *Subtree) denyCompactly(m *dns.Msg, n *node, c compact) (*dns.Msg, error) {
	q := m.Question[0]
	soa, ttl, err := c.authority()
	if err != nil {
		return nil, err
	}
	if n == nil && (!c.do || c.nxdomain) {
		m.Rcode = dns.RcodeNameError
	}
	if !c.do {
		m.Ns = soa
		return m, nil
	}
	next, err := successor(q.Name)
	if err != nil {
		return nil, err
	}
	nsec := &dns.NSEC{
		Hdr:        dns.RR_Header{Name: q.Name, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: ttl},
		NextDomain: next,
		TypeBitMap: []uint16{dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNXNAME},
	}
	if n != nil {
		nsec.TypeBitMap = n.types()
	}
	sigs, err := c.online.Sign([]dns.RR{nsec}, s.data, c.now)
	if err != nil {
		return nil, err
	}
	switch q.Qtype {
	case dns.TypeNSEC, dns.TypeRRSIG:
		// The NSEC itself says that these are there.
		m.Rcode = dns.RcodeSuccess
		if q.Qtype == dns.TypeNSEC {
			m.Answer = append(m.Answer, nsec)
		}
		for _, sig := range sigs {
			m.Answer = append(m.Answer, sig)
		}
	default:
		m.Ns = append(soa, nsec)
		for _, sig := range sigs {
			m.Ns = append(m.Ns, sig)
		}
	}
	return m, nil
}

// authority returns copies of the SOA of the enclosing zone and, for clients
// that take them, its RRSIGs, and the TTL of a denial (RFC 9077 section 3), in
// seconds.
func (c compact) authority() (section []dns.RR, ttl uint32, err error) {
	if c.soa == nil {
		return nil, 0, errNoSOA
	}
	rrs, err := c.soa()
	if err != nil {
		return nil, 0, fmt.Errorf("asking for the SOA of the enclosing zone: %w", err)
	}
	found := false
	for _, rr := range rrs {
		switch rr := rr.(type) {
		case *dns.SOA:
			found = true
			ttl = min(rr.Hdr.Ttl, rr.Minttl, maxDenialTTL)
		case *dns.RRSIG:
			if !c.do || rr.TypeCovered != dns.TypeSOA {
				continue
			}
		default:
			continue
		}
		rr = dns.Copy(rr)
		rr.Header().Ttl = min(rr.Header().Ttl, maxDenialTTL)
		section = append(section, rr)
	}
	if !found {
		return nil, 0, errNoSOA
	}
	return section, ttl, nil
}

var errNoSOA = errors.New("the plugins behind mske have no SOA for the enclosing zone")
