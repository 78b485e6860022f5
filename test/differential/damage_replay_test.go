package differential

import (
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
)

// replayDamages answer questions with what is genuine, and about something else.
var replayDamages = []damage{
	replayed("replay: NODATA of another type", func(h *hit) *dns.Msg { return h.z.built.Answer(h.z.at("single"), dns.TypeMX) }),
	replayed("replay: NXDOMAIN of another name", func(h *hit) *dns.Msg { return h.z.built.Answer(h.z.at("nx"), dns.TypeA) }),
	replayed("replay: NXDOMAIN of a name below", func(h *hit) *dns.Msg { return h.z.built.Answer(h.z.at("x.single"), dns.TypeA) }),
	replayed("replay: data of another type", func(h *hit) *dns.Msg { return h.z.built.Answer(h.z.at("text"), dns.TypeTXT) }),
	replayed("replay: NODATA of a wildcard", func(h *hit) *dns.Msg { return h.z.built.Answer(h.z.at("x.wild"), dns.TypeMX) }),
	replayed("replay: NODATA of an empty non-terminal", func(h *hit) *dns.Msg { return h.z.built.Answer(h.z.at("c.deep"), dns.TypeA) }),
	replayed("replay: a CNAME of another name", func(h *hit) *dns.Msg {
		m := h.z.built.Answer(h.z.at("alias"), dns.TypeA)
		m.Answer = copies(m.Answer, h.z.at("single"))
		return m
	}),
	replayed("replay: a DNAME of another name", func(h *hit) *dns.Msg { return h.z.built.Answer(h.z.at("x.moved"), dns.TypeDNAME) }),
	replayed("replay: a DNAME that is not above", func(h *hit) *dns.Msg {
		m := h.z.built.Answer(h.z.at("x.moved"), dns.TypeA)
		for _, rr := range m.Answer {
			if cname, ok := rr.(*dns.CNAME); ok {
				cname.Hdr.Name = h.z.at("single")
			}
		}
		return m
	}),
	parental(replayed("replay: the parent's denial at the cut", func(h *hit) *dns.Msg { return h.parentDenial(h.z.name) })),
	parental(replayed("replay: the parent's denial below the cut", func(h *hit) *dns.Msg {
		m := h.parentDenial(h.z.at("single"))
		m.Rcode = dns.RcodeNameError
		return m
	})),

	answered("wildcard: without proof", func(h *hit, m *dns.Msg) { m.Ns = slices.DeleteFunc(m.Ns, partOfDenial) }),
	answered("wildcard: with another name's proof", func(h *hit, m *dns.Msg) {
		h.replaceDenial(m, h.z.built.Answer(h.z.at("text"), dns.TypeMX))
	}),
	parental(answered("wildcard: with the parent's proof", func(h *hit, m *dns.Msg) {
		h.replaceDenial(m, h.z.parent.built.Answer(h.z.parent.at("nx"), dns.TypeMX))
	})),
	answered("wildcard: denied by its own proof", func(h *hit, m *dns.Msg) {
		proof := h.z.built.Answer(h.z.at("x.wild"), dns.TypeTXT).Ns
		m.Answer, m.Ns, m.Rcode = nil, append(h.soa(), proof...), dns.RcodeNameError
	}),
	answered("wildcard: NODATA by its own proof", func(h *hit, m *dns.Msg) {
		proof := h.z.built.Answer(h.z.at("x.wild"), dns.TypeTXT).Ns
		m.Answer, m.Ns = nil, append(h.soa(), proof...)
	}),
	{name: "wildcard: for a name that is there", effect: breaks, fits: (*hit).provable, message: func(h *hit) bool {
		expanded := h.z.built.Answer(h.z.at("x.wild"), dns.TypeTXT)
		h.replay(h.z.at("host.wild"), dns.TypeTXT, func(m *dns.Msg) {
			m.Answer, m.Ns = copies(expanded.Answer, h.z.at("host.wild")), expanded.Ns
		})
		return true
	}},
	{name: "wildcard: for a name that it does not cover", effect: breaks, fits: (*hit).provable, message: func(h *hit) bool {
		expanded := h.z.built.Answer(h.z.at("x.wild"), dns.TypeTXT)
		h.replay(h.z.at("nx"), dns.TypeTXT, func(m *dns.Msg) {
			m.Rcode, m.Answer = dns.RcodeSuccess, copies(expanded.Answer, h.z.at("nx"))
		})
		return true
	}},

	atCut("DS: denied by the child", func(h *hit, m *dns.Msg) { m.Answer, m.Ns = nil, h.z.built.Answer(h.z.name, dns.TypeMX).Ns }),
	atCut("DS: answered by nothing", func(_ *hit, m *dns.Msg) { m.Answer, m.Ns = nil, nil }),
	atCut("DS: answered by an unsigned SOA", func(h *hit, m *dns.Msg) { m.Answer, m.Ns = nil, h.z.parent.set(h.z.parent.name, dns.TypeSOA).RRs }),
	atCut("DS: answered by the SOA alone", func(h *hit, m *dns.Msg) {
		soa := h.z.parent.set(h.z.parent.name, dns.TypeSOA)
		m.Answer, m.Ns = nil, slices.Concat(soa.RRs, soa.Sigs)
	}),
	atCut("DS: another delegation's", func(h *hit, m *dns.Msg) {
		if other := h.other(); other != nil && other.parent != nil {
			set := other.parent.set(other.name, dns.TypeDS)
			m.Answer = copies(slices.Concat(set.RRs, set.Sigs), h.z.name)
			return
		}
		m.Answer = nil
	}),
	atCut("DS: denied as another name is", func(h *hit, m *dns.Msg) {
		m.Answer, m.Ns = nil, h.z.parent.built.Answer(h.z.parent.at("nx"), dns.TypeDS).Ns
	}),
	atCut("DS: denied as a name without delegation is", func(h *hit, m *dns.Msg) {
		m.Answer, m.Ns = nil, h.z.parent.built.Answer(h.z.parent.at("single"), dns.TypeDS).Ns
	}),
	{name: "DS: denied by an opt-out that is elsewhere", effect: breaks, fits: func(h *hit) bool {
		p := h.z.parent
		return p != nil && p.denial == lab.NSEC3 && p.optOut && p.iterations <= 50
	}, message: func(h *hit) bool {
		p := h.z.parent
		h.cut(func(m *dns.Msg) { m.Answer, m.Ns = nil, p.built.Answer(p.at("nx"), dns.TypeDS).Ns })
		return true
	}},
}

// replay has edit change the answers to one question.
func (h *hit) replay(name string, qtype uint16, edit func(*dns.Msg)) {
	h.about(name, qtype)
	h.tamper = func(q dns.Question, m *dns.Msg) {
		if q.Qtype == qtype && strings.EqualFold(q.Name, name) {
			edit(m)
		}
	}
}

// replayed answers a question for data with another answer.
func replayed(name string, make func(*hit) *dns.Msg) damage {
	return damage{name: name, effect: breaks, fits: (*hit).provable, message: func(h *hit) bool {
		about := question{h.z.at("single"), dns.TypeA}
		if h.signals() && h.chance(50) {
			about = question{h.owner, pick(h.rng, announcement)}
			if h.z.set(about.name, about.qtype) == nil {
				return false
			}
		}
		if strings.HasSuffix(name, "at the cut") {
			about = question{h.z.name, dns.TypeTXT}
		}
		other := make(h)
		h.replay(about.name, about.qtype, func(m *dns.Msg) {
			m.Rcode, m.Answer, m.Ns = other.Rcode, copied(other.Answer), copied(other.Ns)
		})
		return true
	}}
}

// copied returns copies of records.
func copied(rrs []dns.RR) []dns.RR {
	out := make([]dns.RR, len(rrs))
	for i, rr := range rrs {
		out[i] = dns.Copy(rr)
	}
	return out
}

// answered changes answers that come from a wildcard.
func answered(name string, edit func(*hit, *dns.Msg)) damage {
	return damage{name: name, effect: breaks, fits: (*hit).provable, message: func(h *hit) bool {
		h.replay(h.z.at("x.wild"), dns.TypeTXT, func(m *dns.Msg) { edit(h, m) })
		return true
	}}
}

// atCut changes the answer to the question for the zone's DS.
func atCut(name string, edit func(*hit, *dns.Msg)) damage {
	return damage{name: name, effect: breaks, fits: (*hit).belowProvable, message: func(h *hit) bool {
		h.cut(func(m *dns.Msg) { edit(h, m) })
		return true
	}}
}

// cut has edit change the answer to the question for DS.
func (h *hit) cut(edit func(*dns.Msg)) {
	h.replay(h.z.name, dns.TypeDS, edit)
	h.inside()
}

// soa returns the zone's signed SOA.
func (h *hit) soa() []dns.RR {
	set := h.z.set(h.z.name, dns.TypeSOA)
	return slices.Concat(set.RRs, set.Sigs)
}

// parentDenial returns a denial of the name by records of the zone's parent
// that are about the delegation.
func (h *hit) parentDenial(name string) *dns.Msg {
	p := h.z.parent
	soa := p.set(p.name, dns.TypeSOA)
	m := &dns.Msg{Ns: slices.Concat(soa.RRs, soa.Sigs)}
	if p.denial == lab.NSEC {
		set := p.set(h.z.name, dns.TypeNSEC)
		m.Ns = slices.Concat(m.Ns, set.RRs, set.Sigs)
		return m
	}
	matching := func(name string) *rrset { return p.set(p.hashed(name), dns.TypeNSEC3) }
	sets := []*rrset{matching(h.z.name)}
	if name != h.z.name {
		sets = append(sets, p.covering(name), p.covering("*."+h.z.name))
	}
	for i, set := range sets {
		if !slices.Contains(sets[:i], set) {
			m.Ns = slices.Concat(m.Ns, set.RRs, set.Sigs)
		}
	}
	return m
}

// hashed returns the owner of the NSEC3 of a name.
func (z *zone) hashed(name string) string {
	return strings.ToLower(dns.HashName(name, dns.SHA1, z.iterations, z.salt)) + "." + z.name
}

// covering returns the NSEC3 RRset in whose span a name is.
func (z *zone) covering(name string) *rrset {
	var last, found *rrset
	for _, set := range z.sets {
		if set.Type() != dns.TypeNSEC3 {
			continue
		}
		last = set
		if set.Name() < z.hashed(name) {
			found = set
		}
	}
	if found == nil {
		return last
	}
	return found
}
