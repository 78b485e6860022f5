package differential

import (
	"net"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// messageDamages change answers in ways that take no knowledge of the zone.
var messageDamages = []damage{
	onWay("message: all RRSIGs stripped", breaks, func(_ *hit, _ dns.Question, m *dns.Msg) {
		m.Answer, m.Ns = slices.DeleteFunc(m.Answer, isSignature), slices.DeleteFunc(m.Ns, isSignature)
	}),
	onWay("message: RCODE the other one", anything, func(_ *hit, _ dns.Question, m *dns.Msg) {
		if len(m.Answer) == 0 {
			m.Rcode ^= dns.RcodeNameError
		}
	}),
	onWay("message: NODATA and nothing else", breaks, func(h *hit, q dns.Question, m *dns.Msg) {
		if q.Qtype != dns.TypeDNSKEY && q.Qtype != dns.TypeDS {
			m.Answer, m.Ns, m.Rcode = nil, nil, dns.RcodeSuccess
		}
	}),
	forged("forgery: unsigned data", func(h *hit, q dns.Question, m *dns.Msg) {
		m.Answer, m.Ns = []dns.RR{address(h.z.at("single"))}, nil
	}),
	forged("forgery: unsigned data, and an SOA that shows a zone there", func(h *hit, q dns.Question, m *dns.Msg) {
		name := h.z.at("single")
		switch q.Qtype {
		case dns.TypeA:
			m.Answer, m.Ns = []dns.RR{address(name)}, nil
		case dns.TypeSOA:
			m.Rcode, m.Answer, m.Ns = dns.RcodeSuccess, copies(h.z.set(h.z.name, dns.TypeSOA).RRs, name), nil
		}
	}),
	forged("forgery: unsigned data, and an SOA that shows no zone", func(h *hit, q dns.Question, m *dns.Msg) {
		m.Answer, m.Ns = nil, copies(h.z.set(h.z.name, dns.TypeSOA).RRs, ".")
		if q.Qtype == dns.TypeA {
			m.Answer = []dns.RR{address(h.z.at("single"))}
		}
	}),
	forged("forgery: a CNAME to where nothing is signed", func(h *hit, q dns.Question, m *dns.Msg) {
		if q.Qtype == dns.TypeA {
			m.Answer, m.Ns = []dns.RR{&dns.CNAME{
				Hdr:    dns.RR_Header{Name: h.z.at("single"), Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 60},
				Target: "www.insecure." + h.zones[0].name,
			}}, nil
		}
	}),
	forged("forgery: data beside a genuine RRSIG", func(h *hit, q dns.Question, m *dns.Msg) {
		if q.Qtype == dns.TypeA {
			m.Answer = append([]dns.RR{address(h.z.at("single"))}, slices.DeleteFunc(m.Answer, func(rr dns.RR) bool { return !isSignature(rr) })...)
		}
	}),

	onWay("harmless: all records twice", harmless, func(_ *hit, _ dns.Question, m *dns.Msg) {
		m.Answer, m.Ns = append(m.Answer, copied(m.Answer)...), append(m.Ns, copied(m.Ns)...)
	}),
	onWay("harmless: records of others", harmless, func(h *hit, _ dns.Question, m *dns.Msg) {
		if len(m.Answer) > 0 {
			m.Answer = append(m.Answer, address("unrelated."+h.z.name))
			m.Extra = append(m.Extra, address("unrelated."+h.z.name))
		}
	}),
	onWay("harmless: records in another order", harmless, func(_ *hit, _ dns.Question, m *dns.Msg) {
		slices.Reverse(m.Ns)
		if !slices.ContainsFunc(m.Answer, isAlias) {
			slices.Reverse(m.Answer)
		}
	}),
	onWay("harmless: a forged RRSIG in front of each", harmless, func(_ *hit, _ dns.Question, m *dns.Msg) {
		m.Answer, m.Ns = besideForged(m.Answer), besideForged(m.Ns)
	}),
	onWay("harmless: TTLs of a week", harmless, func(_ *hit, _ dns.Question, m *dns.Msg) {
		for _, rr := range slices.Concat(m.Answer, m.Ns) {
			rr.Header().Ttl = 7 * 86400
		}
	}),
	onWay("harmless: TTLs of 0", harmless, func(_ *hit, _ dns.Question, m *dns.Msg) {
		for _, rr := range slices.Concat(m.Answer, m.Ns) {
			rr.Header().Ttl = 0
		}
	}),
	onWay("harmless: other cases", harmless, func(_ *hit, _ dns.Question, m *dns.Msg) { shout(m) }),
}

func isSignature(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeRRSIG }

func isAlias(rr dns.RR) bool {
	return rr.Header().Rrtype == dns.TypeCNAME || rr.Header().Rrtype == dns.TypeDNAME
}

// address returns a forged address record.
func address(name string) dns.RR {
	return &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(192, 0, 2, 66)}
}

// besideForged puts an RRSIG that does not verify in front of each that does.
func besideForged(rrs []dns.RR) []dns.RR {
	var out []dns.RR
	for _, rr := range rrs {
		if sig, ok := rr.(*dns.RRSIG); ok {
			forged := *sig
			forged.Expiration++
			out = append(out, &forged)
		}
		out = append(out, rr)
	}
	return out
}

// shout writes owners and signers in capitals.
func shout(m *dns.Msg) {
	for _, rr := range slices.Concat(m.Answer, m.Ns) {
		rr.Header().Name = strings.ToUpper(rr.Header().Name)
		if sig, ok := rr.(*dns.RRSIG); ok {
			sig.SignerName = strings.ToUpper(sig.SignerName)
		}
	}
}

// holds says whether the name is in the zone and in none below.
func (z *zone) holds(name string) bool {
	if !dns.IsSubDomain(z.name, name) {
		return false
	}
	return !slices.ContainsFunc(z.children, func(child *zone) bool { return dns.IsSubDomain(child.name, name) })
}

// onWay changes all answers about names in the zone.
func onWay(name string, e effect, edit func(*hit, dns.Question, *dns.Msg)) damage {
	return damage{name: name, effect: e, fits: (*hit).provable, message: func(h *hit) bool {
		h.inside()
		h.deniable()
		h.about(h.z.at("x.wild"), dns.TypeTXT)
		h.about(h.z.name, dns.TypeDNSKEY)
		h.tamper = func(q dns.Question, m *dns.Msg) {
			if h.z.holds(dns.CanonicalName(q.Name)) {
				edit(h, q, m)
			}
		}
		return true
	}}
}

// forged changes the answers about one name.
func forged(name string, edit func(*hit, dns.Question, *dns.Msg)) damage {
	return damage{name: name, effect: breaks, message: func(h *hit) bool {
		at := h.z.at("single")
		h.about(at, dns.TypeA)
		h.tamper = func(q dns.Question, m *dns.Msg) {
			if strings.EqualFold(q.Name, at) {
				edit(h, q, m)
			}
		}
		return true
	}}
}
