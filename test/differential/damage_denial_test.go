package differential

import (
	"encoding/base32"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
)

// denialDamages are about NSEC and NSEC3 as they come in answers.
var denialDamages = []damage{
	denying("denial: dropped", breaks, func(_ *hit, m *dns.Msg) { m.Ns = slices.DeleteFunc(m.Ns, partOfDenial) }),
	denying("denial: its RRSIGs dropped", breaks, func(_ *hit, m *dns.Msg) {
		m.Ns = slices.DeleteFunc(m.Ns, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeRRSIG && partOfDenial(rr) })
	}),
	denying("denial: one record dropped", breaks, func(h *hit, m *dns.Msg) {
		for i, rr := range m.Ns {
			if denies(rr) {
				m.Ns = slices.Delete(m.Ns, i, i+1)
				return
			}
		}
	}),
	denying("denial: the last record dropped", breaks, func(h *hit, m *dns.Msg) {
		for i, rr := range slices.Backward(m.Ns) {
			if denies(rr) {
				m.Ns = slices.Delete(m.Ns, i, i+1)
				return
			}
		}
	}),
	parental(denying("denial: the parent's instead", breaks, func(h *hit, m *dns.Msg) {
		h.replaceDenial(m, h.z.parent.built.Answer(h.z.parent.at("nx"), dns.TypeA))
	})),
	denying("denial: another zone's instead", breaks, func(h *hit, m *dns.Msg) {
		for _, z := range h.zones {
			if z != h.z && z != h.z.parent {
				h.replaceDenial(m, z.built.Answer(z.at("nx"), dns.TypeA))
			}
		}
	}),
	denying("denial: of another type instead", breaks, func(h *hit, m *dns.Msg) {
		h.replaceDenial(m, h.z.built.Answer(h.z.at("text"), dns.TypeA))
	}),
	denying("denial: of another name instead", breaks, func(h *hit, m *dns.Msg) {
		h.replaceDenial(m, h.z.built.Answer(h.z.at("another.wild.zzz"), dns.TypeA))
	}),
	rewritten("denial: next owner changed", breaks, false, func(rr dns.RR) { near(rr) }),
	rewritten("denial: next owner too near, signed", breaks, true, near),
	rewritten("denial: next owner its own, signed", anything, true, func(rr dns.RR) {
		if nsec, ok := rr.(*dns.NSEC); ok {
			nsec.NextDomain = nsec.Hdr.Name
		}
	}),
	rewritten("denial: bitmap changed", breaks, false, func(rr dns.RR) { list(rr, dns.TypeSRV) }),
	rewritten("denial: lists the type, signed", breaks, true, func(rr dns.RR) { list(rr, dns.TypeMX) }),
	rewritten("denial: lists a CNAME, signed", breaks, true, func(rr dns.RR) { list(rr, dns.TypeCNAME) }),
	rewritten("denial: a delegation's, signed", breaks, true, func(rr dns.RR) {
		bitmap := types(rr)
		*bitmap = slices.DeleteFunc(*bitmap, func(t uint16) bool { return t == dns.TypeSOA })
		list(rr, dns.TypeNS)
	}),
	rewritten("denial: empty bitmap, signed", anything, true, func(rr dns.RR) { *types(rr) = nil }),
	rewritten3("NSEC3: iterations changed, signed", breaks, func(rr *dns.NSEC3) { rr.Iterations = 7 }),
	rewritten3("NSEC3: 2500 iterations, signed", downgrades, func(rr *dns.NSEC3) { rr.Iterations = 2500 }),
	rewritten3("NSEC3: salt changed, signed", breaks, func(rr *dns.NSEC3) { rr.Salt, rr.SaltLength = "BEEF", 2 }),
	rewritten3("NSEC3: unknown hash, signed", breaks, func(rr *dns.NSEC3) { rr.Hash = 2 }),
	rewritten3("NSEC3: unknown flag, signed", breaks, func(rr *dns.NSEC3) { rr.Flags |= 0x40 }),
	rewritten3("NSEC3: opt-out set, signed", downgrades, func(rr *dns.NSEC3) { rr.Flags |= 1 }),
	{name: "denial: expired", effect: breaks, fits: (*hit).provable, message: func(h *hit) bool {
		return h.rewrite(func(rrs []dns.RR) []dns.RR { return h.signed(rrs, expired(h.now)) })
	}},
	{name: "denial: from a wildcard, signed", effect: breaks, fits: (*hit).provable, message: func(h *hit) bool {
		return h.rewrite(func(rrs []dns.RR) []dns.RR {
			name := rrs[0].Header().Name
			if name == h.z.name {
				return nil
			}
			return copies(h.signed(copies(rrs, "*."+name[strings.IndexByte(name, '.')+1:])), name)
		})
	}},
}

// parental is a damage for zones that have a parent.
func parental(d damage) damage {
	d.fits = (*hit).belowProvable
	return d
}

// denies says whether a record is NSEC or NSEC3, partOfDenial whether it is
// one or the RRSIG of one.
func denies(rr dns.RR) bool {
	return rr.Header().Rrtype == dns.TypeNSEC || rr.Header().Rrtype == dns.TypeNSEC3
}

func partOfDenial(rr dns.RR) bool {
	sig, ok := rr.(*dns.RRSIG)
	return denies(rr) || ok && (sig.TypeCovered == dns.TypeNSEC || sig.TypeCovered == dns.TypeNSEC3)
}

// types returns the type bitmap of an NSEC or NSEC3, list adds a type to it.
func types(rr dns.RR) *[]uint16 {
	if nsec, ok := rr.(*dns.NSEC); ok {
		return &nsec.TypeBitMap
	}
	return &rr.(*dns.NSEC3).TypeBitMap
}

func list(rr dns.RR, rrtype uint16) {
	bitmap := types(rr)
	if !slices.Contains(*bitmap, rrtype) {
		*bitmap = append(*bitmap, rrtype)
		slices.Sort(*bitmap)
	}
}

// near moves the next owner so close that next to nothing is between.
func near(rr dns.RR) {
	switch rr := rr.(type) {
	case *dns.NSEC:
		rr.NextDomain = "!." + rr.Hdr.Name
	case *dns.NSEC3:
		hash, err := base32.HexEncoding.DecodeString(strings.ToUpper(rr.Hdr.Name[:strings.IndexByte(rr.Hdr.Name, '.')]))
		if err != nil {
			panic(err) // the server made it
		}
		for i := len(hash) - 1; i >= 0; i-- {
			if hash[i]++; hash[i] != 0 {
				break
			}
		}
		rr.NextDomain = base32.HexEncoding.EncodeToString(hash)
	}
}

// provable says whether the zone's denials are proofs to us: NSEC, or NSEC3
// without opt-out and with few iterations.
func (z *zone) provable() bool { return z.denial == lab.NSEC || z.iterations <= 50 && !z.optOut }

// deniable adds questions with negative answers.
func (h *hit) deniable() {
	h.about(h.z.at("nx"), dns.TypeA)
	h.about(h.z.at("text"), dns.TypeMX)
	h.about(h.z.at("c.deep"), dns.TypeA)
	h.about(h.z.at("x.wild"), dns.TypeMX)
	if h.signals() {
		h.about(h.owner, dns.TypeMX)
	}
}

// denialsOf returns the NSEC and NSEC3 in m that the zone signed: at a cut, the
// child has an NSEC of the same name.
func (h *hit) denialsOf(m *dns.Msg) []dns.RR {
	var found []dns.RR
	for _, rr := range m.Ns {
		if denies(rr) && slices.ContainsFunc(m.Ns, func(other dns.RR) bool {
			sig, ok := other.(*dns.RRSIG)
			return ok && sig.TypeCovered == rr.Header().Rrtype && strings.EqualFold(sig.Hdr.Name, rr.Header().Name) &&
				strings.EqualFold(sig.SignerName, h.z.name)
		}) {
			found = append(found, rr)
		}
	}
	return found
}

// denying changes answers that hold a denial of the zone's.
func denying(name string, e effect, edit func(*hit, *dns.Msg)) damage {
	return damage{name: name, effect: e, fits: (*hit).provable, message: func(h *hit) bool {
		h.deniable()
		h.tamper = func(_ dns.Question, m *dns.Msg) {
			if len(m.Answer) == 0 && len(h.denialsOf(m)) > 0 {
				edit(h, m)
			}
		}
		return true
	}}
}

// replaceDenial puts another answer's denial in the place of that in m.
func (h *hit) replaceDenial(m, other *dns.Msg) {
	m.Ns = slices.DeleteFunc(m.Ns, partOfDenial)
	for _, rr := range other.Ns {
		if partOfDenial(rr) {
			m.Ns = append(m.Ns, rr)
		}
	}
}

// rewritten changes the records of denials, which may be signed again.
func rewritten(name string, e effect, resign bool, edit func(dns.RR)) damage {
	return damage{name: name, effect: e, fits: (*hit).provable, message: func(h *hit) bool {
		return h.rewrite(func(rrs []dns.RR) []dns.RR {
			edit(rrs[0])
			if !resign {
				return nil
			}
			return h.signed(rrs)
		})
	}}
}

// rewritten3 changes NSEC3 and signs them again.
func rewritten3(name string, e effect, edit func(*dns.NSEC3)) damage {
	return damage{name: name, effect: e, fits: (*hit).hashes, message: func(h *hit) bool {
		return h.rewrite(func(rrs []dns.RR) []dns.RR {
			edit(rrs[0].(*dns.NSEC3))
			return h.signed(rrs)
		})
	}}
}

// rewrite has edit change each NSEC and NSEC3 of the zone that is in a negative
// answer. Where it returns signatures, they replace the ones there are.
func (h *hit) rewrite(edit func([]dns.RR) []dns.RR) bool {
	h.deniable()
	h.tamper = func(_ dns.Question, m *dns.Msg) {
		if len(m.Answer) > 0 {
			return
		}
		for _, rr := range h.denialsOf(m) {
			rr.Header().Name = dns.CanonicalName(rr.Header().Name)
			sigs := edit([]dns.RR{rr})
			if sigs == nil {
				continue
			}
			m.Ns = slices.DeleteFunc(m.Ns, func(other dns.RR) bool {
				sig, ok := other.(*dns.RRSIG)
				return ok && sig.TypeCovered == rr.Header().Rrtype && strings.EqualFold(sig.Hdr.Name, rr.Header().Name)
			})
			m.Ns = append(m.Ns, sigs...)
		}
	}
	return true
}
