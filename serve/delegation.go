package serve

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// csyncImmediate has the parent act on a CSYNC record without asking anybody
// (RFC 7477 section 2.1.1.2.1). The other flag, soaminimum, stays clear and with
// it the serial zero: providers have serials of their own, and parents want the
// same record from all of them (RFC 9975).
const csyncImmediate = 1

// Delegation is what is answered at the apex in place of what the plugin chain
// has. The zero value leaves everything to the chain.
type Delegation struct {
	NS    []string // the zone's nameservers, canonical; none: the chain's NS RRset
	TTL   uint32   // of NS, in seconds
	CSYNC bool     // ask the parent to follow NS (RFC 7477)
}

// WithDelegation returns a copy of a that answers d, signed by the
// data-signing keys alone: the parent validates from the zone's DNSKEY RRset
// down like everybody. Signatures of old, which may be nil, and p.Stored are
// used again as in [SignApex]. A view that fails leaves all to the chain.
func (a *Apex) WithDelegation(d Delegation, s Signers, p Params, old *Apex) (*Apex, error) {
	if len(d.NS) == 0 || a.DNSKEY.Answer != Served {
		return a, nil
	}
	if old == nil {
		old = new(Apex)
	}
	with, c := newSigner(apexLife, p), *a
	sign := func(rrs []dns.RR, old *RRset) (*RRset, error) {
		set, lasts, err := with.sign(rrs, s.Data, old, with.expiration())
		if err != nil {
			return nil, fmt.Errorf("zone %q: %w", a.Zone, err)
		}
		c.span.add(lasts)
		return set, nil
	}
	var err error
	if c.NS, err = sign(d.ns(a.Zone), old.NS); err != nil {
		return nil, err
	}
	if d.CSYNC {
		if c.CSYNC, err = sign([]dns.RR{d.csync(a.Zone, p.TTL)}, old.CSYNC); err != nil {
			return nil, err
		}
	}
	return c.together(old), nil
}

// ns returns the NS RRset.
func (d Delegation) ns(zone string) []dns.RR {
	hosts := slices.Compact(slices.Sorted(slices.Values(d.NS)))
	rrs := make([]dns.RR, len(hosts))
	for i, host := range hosts {
		rrs[i] = &dns.NS{Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: d.TTL}, Ns: host}
	}
	return rrs
}

// csync returns the CSYNC record. It lists addresses only where the parent needs
// them: of nameservers in the zone itself. Who else reads it, with the same
// target, says the same.
func (d Delegation) csync(zone string, ttl uint32) dns.RR {
	types := []uint16{dns.TypeNS}
	if slices.ContainsFunc(d.NS, func(host string) bool { return dns.IsSubDomain(zone, host) }) {
		types = []uint16{dns.TypeA, dns.TypeNS, dns.TypeAAAA}
	}
	return &dns.CSYNC{
		Hdr:   dns.RR_Header{Name: zone, Rrtype: dns.TypeCSYNC, Class: dns.ClassINET, Ttl: ttl},
		Flags: csyncImmediate, TypeBitMap: types,
	}
}

// Answers reports whether a question for qtype at the apex is answered from a
// rather than by the plugin chain (rule S1).
func (a *Apex) Answers(qtype uint16) bool {
	switch qtype {
	case dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY:
		return true
	case dns.TypeNS:
		return a.Delegates()
	case dns.TypeCSYNC:
		return a != nil && a.CSYNC != nil
	}
	return false
}

// Delegates reports whether the NS RRset is ours, so that [Substitute] has to see
// every answer.
func (a *Apex) Delegates() bool { return a != nil && a.NS != nil }

// Substitute returns m, an answer of the plugin chain, with the NS RRset of the
// apex in its answer and authority sections replaced by ours: with our
// signatures if do, in the place of the chain's. Without any it is m itself, or
// else a copy. Referrals are none of it: they are not authoritative, or name
// another zone.
func Substitute(m *dns.Msg, a *Apex, do bool) *dns.Msg {
	if !a.Delegates() || !m.Authoritative {
		return m
	}
	answer, ns := a.substitute(m.Answer, do), a.substitute(m.Ns, do)
	if answer == nil && ns == nil {
		return m
	}
	s := *m
	if answer != nil {
		s.Answer = answer
	}
	if ns != nil {
		s.Ns = ns
	}
	return &s
}

// substitute returns a section with our NS RRset, nil if the chain's is not in
// it.
func (a *Apex) substitute(section []dns.RR, do bool) []dns.RR {
	isNS := func(rr dns.RR) bool {
		return rr.Header().Rrtype == dns.TypeNS && strings.EqualFold(rr.Header().Name, a.Zone)
	}
	first := slices.IndexFunc(section, isNS)
	if first < 0 {
		return nil
	}
	out := make([]dns.RR, 0, len(section)+len(a.NS.marks))
	for i, rr := range section {
		sig, ok := rr.(*dns.RRSIG)
		switch {
		case i == first:
			out = a.NS.appendTo(out, rr.Header().Name, do)
		case isNS(rr), ok && sig.TypeCovered == dns.TypeNS && strings.EqualFold(sig.Hdr.Name, a.Zone):
		default:
			out = append(out, rr)
		}
	}
	return out
}
