package lab

import (
	"strings"

	"github.com/miekg/dns"
)

// Answer returns the zone's own answer, as an authoritative server gives it to
// a question with DO: data, a referral, NODATA or NXDOMAIN with proof.
func (z *Zone) Answer(name string, qtype uint16) *dns.Msg {
	z.lab.mu.Lock()
	defer z.lab.mu.Unlock()
	return z.answer(dns.CanonicalName(name), qtype)
}

// answer is Answer for a locked lab and a canonical name.
func (z *Zone) answer(name string, qtype uint16) *dns.Msg {
	b := z.build()
	m := new(dns.Msg)
	m.Response, m.Authoritative = true, true

	if cut := z.cut(name); cut != "" && (cut != name || qtype != dns.TypeDS) {
		return z.refer(m, cut)
	}
	if owner := z.dname(name); owner != "" {
		return z.redirect(m, owner, name)
	}
	n, exists := b.nodes[name]
	if exists {
		return z.answerNode(m, name, name, n, qtype)
	}
	closest := z.closestEncloser(name)
	if wild, ok := b.nodes[wildcard(closest)]; ok {
		return z.answerNode(m, name, wildcard(closest), wild, qtype)
	}
	m.Rcode = dns.RcodeNameError
	z.deny(m, name, qtype)
	return m
}

// answerNode answers from the node n at owner, which is the name or the
// wildcard that covers it.
func (z *Zone) answerNode(m *dns.Msg, name, owner string, n node, qtype uint16) *dns.Msg {
	rrs := n[qtype]
	if len(rrs) == 0 {
		rrs = n[dns.TypeCNAME]
	}
	switch {
	case len(rrs) == 0:
		z.denyType(m, name, owner, qtype)
	case owner == name:
		m.Answer = z.signed(rrs)
	case z.online():
		m.Answer = z.signed(renamed(copies(rrs), name))
	default:
		m.Answer = renamed(z.signed(rrs), name)
		z.denyExpanded(m, name)
	}
	return m
}

// renamed gives the records another owner, as wildcard expansion does.
func renamed(rrs []dns.RR, owner string) []dns.RR {
	for _, rr := range rrs {
		rr.Header().Name = owner
	}
	return rrs
}

// refer adds a referral to the child zone at cut.
func (z *Zone) refer(m *dns.Msg, cut string) *dns.Msg {
	m.Authoritative = false
	n := z.built.nodes[cut]
	m.Ns = copies(n[dns.TypeNS])
	if len(n[dns.TypeDS]) > 0 {
		m.Ns = append(m.Ns, z.signed(n[dns.TypeDS])...)
	} else if !z.Unsigned {
		m.Ns = append(m.Ns, z.proofOfNoData(cut, dns.TypeDS)...)
	}
	return m
}

// dname returns the owner of the DNAME that redirects the name, or "".
func (z *Zone) dname(name string) string {
	for name != z.Name {
		name = parent(name)
		if len(z.built.nodes[name][dns.TypeDNAME]) > 0 {
			return name
		}
	}
	return ""
}

// redirect answers with the DNAME at owner and the CNAME made from it.
func (z *Zone) redirect(m *dns.Msg, owner, name string) *dns.Msg {
	rrs := z.built.nodes[owner][dns.TypeDNAME]
	m.Answer = append(z.signed(rrs), &dns.CNAME{
		Hdr:    dns.RR_Header{Name: name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: defaultTTL},
		Target: strings.TrimSuffix(name, owner) + rrs[0].(*dns.DNAME).Target,
	})
	return m
}

// closestEncloser returns the longest existing ancestor of a name that does
// not exist.
func (z *Zone) closestEncloser(name string) string {
	for name != z.Name {
		name = parent(name)
		if _, ok := z.built.nodes[name]; ok {
			return name
		}
	}
	return z.Name
}

func wildcard(encloser string) string {
	if encloser == "." {
		return "*."
	}
	return "*." + encloser
}
