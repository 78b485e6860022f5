package differential

import (
	"net"

	"github.com/miekg/dns"
)

// contentDamages are about what was signed.
var contentDamages = []damage{
	{name: "data: changed", effect: breaks, file: func(h *hit) bool {
		switch rr := h.data().RRs[0].(type) {
		case *dns.A:
			rr.A = net.IPv4(192, 0, 2, 66)
		case *dns.TXT:
			rr.Txt = []string{"forged"}
		case *dns.SOA:
			rr.Serial++
		case *dns.DNSKEY:
			rr.Flags ^= dns.SEP
		case *dns.CDNSKEY:
			rr.Protocol++
		case *dns.CDS:
			rr.KeyTag++
		default:
			return false
		}
		return true
	}},
	{name: "data: a record more", effect: breaks, file: func(h *hit) bool {
		set := h.data()
		rr := dns.Copy(set.RRs[0])
		switch rr := rr.(type) {
		case *dns.A:
			rr.A = net.IPv4(192, 0, 2, 66)
		case *dns.TXT:
			rr.Txt = []string{"forged"}
		case *dns.DNSKEY:
			rr.PublicKey = h.newKey(h.z, dns.ED25519, 256).PublicKey
		case *dns.CDS:
			rr.KeyTag++
		default:
			return false
		}
		set.RRs = append(set.RRs, rr)
		return true
	}},
	{name: "data: a record less", effect: breaks, file: func(h *hit) bool {
		set := h.z.set(h.z.at("www"), dns.TypeA)
		set.RRs = set.RRs[1:]
		h.about(set.Name(), set.Type())
		return true
	}},
	{name: "data: another name's", effect: breaks, file: func(h *hit) bool {
		set, other := h.z.set(h.z.at("single"), dns.TypeA), h.z.set(h.z.at("www"), dns.TypeA)
		set.RRs, set.Sigs = copies(other.RRs, set.Name()), copies(other.Sigs, set.Name())
		h.about(set.Name(), set.Type())
		return true
	}},
	{name: "data: another zone's", effect: breaks, fits: (*hit).elsewhere, file: func(h *hit) bool {
		from := h.other()
		set, other := h.z.set(h.z.at("single"), dns.TypeA), from.set(from.at("single"), dns.TypeA)
		set.RRs, set.Sigs = copies(other.RRs, set.Name()), copies(other.Sigs, set.Name())
		h.about(set.Name(), set.Type())
		return true
	}},
	{name: "data: a higher TTL", effect: harmless, file: func(h *hit) bool {
		set := h.data()
		for _, rr := range set.RRs {
			rr.Header().Ttl += 86400
		}
		for _, rr := range set.Sigs { // with the Original TTL that it was signed with
			rr.Header().Ttl += 86400
		}
		return true
	}},
	{name: "CNAME: unsigned", effect: breaks, file: func(h *hit) bool {
		h.z.set(h.z.at("alias"), dns.TypeCNAME).Sigs = nil
		h.about(h.z.at("alias"), dns.TypeA)
		return true
	}},
	{name: "CNAME: to another name", effect: breaks, file: func(h *hit) bool {
		h.z.set(h.z.at("alias"), dns.TypeCNAME).RRs[0].(*dns.CNAME).Target = h.z.at("single")
		h.about(h.z.at("alias"), dns.TypeA)
		return true
	}},
	{name: "CNAME: what it leads to", effect: breaks, file: func(h *hit) bool {
		h.z.set(h.z.at("www"), dns.TypeA).Sigs = nil
		h.about(h.z.at("alias"), dns.TypeA)
		h.about(h.z.at("alias"), dns.TypeCNAME)
		return true
	}},
	{name: "DNAME: unsigned", effect: breaks, file: func(h *hit) bool {
		h.z.set(h.z.at("moved"), dns.TypeDNAME).Sigs = nil
		h.about(h.z.at("a.b.c.moved"), dns.TypeTXT)
		return true
	}},
	{name: "wildcard: changed", effect: breaks, file: func(h *hit) bool {
		h.z.set(h.z.at("*.wild"), dns.TypeTXT).RRs[0].(*dns.TXT).Txt = []string{"forged"}
		h.about(h.z.at("x.wild"), dns.TypeTXT)
		h.about(h.z.at("*.wild"), dns.TypeTXT)
		return true
	}},
}
