package lab

import (
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// The bitmaps of CoreDNS's dnssec plugin (plugin/dnssec/black_lies.go).
var (
	liesZone = []uint16{dns.TypeA, dns.TypeHINFO, dns.TypeTXT, dns.TypeAAAA, dns.TypeLOC, dns.TypeSRV, dns.TypeCERT, dns.TypeSSHFP,
		dns.TypeRRSIG, dns.TypeNSEC, dns.TypeTLSA, dns.TypeHIP, dns.TypeOPENPGPKEY, dns.TypeSPF}
	liesDelegation = with(liesZone, dns.TypeNS)
	liesApex       = with(liesZone, dns.TypeNS, dns.TypeSOA, dns.TypeMX, dns.TypeDNSKEY)
)

func with(types []uint16, more ...uint16) []uint16 {
	types = append(slices.Clone(types), more...)
	slices.Sort(types)
	return types
}

// online says whether the zone makes its denials for each question.
func (z *Zone) online() bool { return z.Denial == Compact || z.Denial == BlackLies }

// deny proves that the name does not exist, nor a wildcard for it.
func (z *Zone) deny(m *dns.Msg, name string, qtype uint16) {
	z.putSOA(m)
	if z.Unsigned {
		return
	}
	switch z.Denial {
	case NSEC:
		m.Ns = appendNew(m.Ns, z.coveringNSEC(name), z.coveringNSEC(wildcard(z.closestEncloser(name))))
	case NSEC3:
		closest := z.closestEncloser(name)
		m.Ns = appendNew(m.Ns, z.matchingNSEC3(closest), z.coveringNSEC3(nextCloser(name, closest)), z.coveringNSEC3(wildcard(closest)))
	case Compact:
		m.Rcode = dns.RcodeSuccess
		m.Ns = append(m.Ns, z.onlineNSEC(name, []uint16{dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNXNAME})...)
	case BlackLies:
		m.Rcode = dns.RcodeSuccess
		m.Ns = append(m.Ns, z.proofOfNoData(name, qtype)...)
	}
}

// denyType proves that the name has no such type; owner is the name or the
// wildcard that covers it.
func (z *Zone) denyType(m *dns.Msg, name, owner string, qtype uint16) {
	z.putSOA(m)
	switch {
	case z.Unsigned:
	case owner == name || z.online():
		m.Ns = append(m.Ns, z.proofOfNoData(name, qtype)...)
	case z.Denial == NSEC:
		m.Ns = appendNew(m.Ns, z.proofOfNoData(owner, qtype), z.coveringNSEC(name))
	case z.Denial == NSEC3:
		closest := parent(owner)
		m.Ns = appendNew(m.Ns, z.matchingNSEC3(closest), z.coveringNSEC3(nextCloser(name, closest)), z.matchingNSEC3(owner))
	}
}

// denyExpanded proves that the name, answered from a wildcard, does not exist.
func (z *Zone) denyExpanded(m *dns.Msg, name string) {
	switch {
	case z.Unsigned:
	case z.Denial == NSEC:
		m.Ns = append(m.Ns, z.coveringNSEC(name)...)
	case z.Denial == NSEC3:
		m.Ns = append(m.Ns, z.coveringNSEC3(nextCloser(name, z.closestEncloser(name)))...)
	}
}

// proofOfNoData proves that an existing name has no such type.
func (z *Zone) proofOfNoData(name string, qtype uint16) []dns.RR {
	switch z.Denial {
	case NSEC3:
		if proof := z.matchingNSEC3(name); proof != nil {
			return proof
		}
		closest := z.closestProvable(name) // opt-out left the name out
		return appendNew(nil, z.matchingNSEC3(closest), z.coveringNSEC3(nextCloser(name, closest)))
	case Compact:
		return z.onlineNSEC(name, z.bitmap(name, dns.TypeNSEC))
	case BlackLies:
		types := liesZone
		if name == z.Name {
			types = liesApex
		} else if qtype == dns.TypeDS {
			types = liesDelegation
		}
		return z.onlineNSEC(name, slices.DeleteFunc(slices.Clone(types), func(t uint16) bool { return t == qtype }))
	}
	if len(z.built.nodes[name]) == 0 {
		return z.coveringNSEC(name) // an empty non-terminal
	}
	return z.signed([]dns.RR{z.nsec(name)})
}

// bitmap returns the types at a name as a denial record of type nsecType lists them.
func (z *Zone) bitmap(name string, nsecType uint16) []uint16 {
	n := z.built.nodes[name]
	var types []uint16
	for t := range n {
		if !z.built.cuts[name] || t == dns.TypeNS || t == dns.TypeDS {
			types = append(types, t)
		}
	}
	if nsecType == dns.TypeNSEC {
		types = append(types, dns.TypeNSEC, dns.TypeRRSIG)
	} else if len(types) > 0 && (!z.built.cuts[name] || len(n[dns.TypeDS]) > 0) {
		types = append(types, dns.TypeRRSIG)
	}
	slices.Sort(types)
	return types
}

// nsec returns the NSEC of a name in the chain.
func (z *Zone) nsec(name string) *dns.NSEC {
	i, _ := slices.BinarySearchFunc(z.built.names, name, compareNames)
	return &dns.NSEC{
		Hdr:        dns.RR_Header{Name: name, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: negativeTTL},
		NextDomain: z.built.names[(i+1)%len(z.built.names)],
		TypeBitMap: z.bitmap(name, dns.TypeNSEC),
	}
}

// coveringNSEC returns the signed NSEC before a name that is not in the chain.
func (z *Zone) coveringNSEC(name string) []dns.RR {
	i, found := slices.BinarySearchFunc(z.built.names, name, compareNames)
	if !found {
		i--
	}
	return z.signed([]dns.RR{z.nsec(z.built.names[i])})
}

// onlineNSEC returns a signed NSEC that spans the name alone.
func (z *Zone) onlineNSEC(name string, types []uint16) []dns.RR {
	return z.signed([]dns.RR{&dns.NSEC{
		Hdr:        dns.RR_Header{Name: name, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: negativeTTL},
		NextDomain: "\\000." + strings.TrimPrefix(name, "."),
		TypeBitMap: types,
	}})
}

// buildNSEC3 makes the chain of hashed names.
func (z *Zone) buildNSEC3() {
	var flags uint8
	if z.OptOut {
		flags = 1
	}
	for name := range z.built.nodes {
		if z.occluded(name) || z.optedOut(name) {
			continue
		}
		z.built.nsec3 = append(z.built.nsec3, &dns.NSEC3{
			Hdr:        dns.RR_Header{Name: z.hashed(name), Rrtype: dns.TypeNSEC3, Class: dns.ClassINET, Ttl: negativeTTL},
			Hash:       dns.SHA1,
			Flags:      flags,
			Iterations: z.Iterations,
			SaltLength: uint8(len(z.Salt) / 2),
			Salt:       z.Salt,
			HashLength: 20,
			TypeBitMap: z.bitmap(name, dns.TypeNSEC3),
		})
	}
	chain := z.built.nsec3
	slices.SortFunc(chain, func(a, b *dns.NSEC3) int { return strings.Compare(a.Hdr.Name, b.Hdr.Name) })
	for i, rr := range chain {
		next := chain[(i+1)%len(chain)].Hdr.Name
		rr.NextDomain = strings.ToUpper(next[:strings.IndexByte(next, '.')])
	}
}

// optedOut says whether opt-out leaves the name out: an unsigned delegation,
// or an empty non-terminal above nothing else.
func (z *Zone) optedOut(name string) bool {
	if !z.OptOut {
		return false
	}
	if n := z.built.nodes[name]; len(n) > 0 {
		return z.built.cuts[name] && len(n[dns.TypeDS]) == 0
	}
	for _, other := range z.built.names {
		if dns.IsSubDomain(name, other) && !z.optedOut(other) {
			return false
		}
	}
	return true
}

// hashed returns the owner of the NSEC3 for a name.
func (z *Zone) hashed(name string) string {
	return strings.ToLower(dns.HashName(name, dns.SHA1, z.Iterations, z.Salt)) + "." + strings.TrimPrefix(z.Name, ".")
}

// matchingNSEC3 returns the signed NSEC3 of a name, nil if it is not in the chain.
func (z *Zone) matchingNSEC3(name string) []dns.RR {
	owner := z.hashed(name)
	for _, rr := range z.built.nsec3 {
		if rr.Hdr.Name == owner {
			return z.signed([]dns.RR{rr})
		}
	}
	return nil
}

// coveringNSEC3 returns the signed NSEC3 whose span the name's hash is in.
func (z *Zone) coveringNSEC3(name string) []dns.RR {
	owner := z.hashed(name)
	found := z.built.nsec3[len(z.built.nsec3)-1]
	for _, rr := range z.built.nsec3 {
		if rr.Hdr.Name < owner {
			found = rr
		}
	}
	return z.signed([]dns.RR{found})
}

// closestProvable returns the longest ancestor of the name in the NSEC3 chain.
func (z *Zone) closestProvable(name string) string {
	for name != z.Name {
		name = parent(name)
		if z.matchingNSEC3(name) != nil {
			return name
		}
	}
	return z.Name
}

// nextCloser returns the ancestor-or-self of name one label below encloser.
func nextCloser(name, encloser string) string {
	for parent(name) != encloser {
		name = parent(name)
	}
	return name
}

func (z *Zone) putSOA(m *dns.Msg) {
	m.Ns = append(m.Ns, z.signed(z.built.nodes[z.Name][dns.TypeSOA])...)
}

// appendNew appends those records of the proofs that are not yet in rrs.
func appendNew(rrs []dns.RR, proofs ...[]dns.RR) []dns.RR {
	for _, proof := range proofs {
		if !slices.ContainsFunc(rrs, func(rr dns.RR) bool { return len(proof) > 0 && rr.String() == proof[0].String() }) {
			rrs = append(rrs, proof...)
		}
	}
	return rrs
}
