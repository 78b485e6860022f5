package differential

import (
	"context"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
)

// disagreement is two verdicts that differ.
type disagreement struct {
	w             *world
	program       string
	asked         asked
	through, peer int // 0: unbound, 1: pdns-recursor
	ours, theirs  opinion
}

// rule explains disagreements of one kind.
type rule struct {
	name    string // with the section that says we are right
	applies func(d disagreement) bool
}

// cause returns the rule that explains a disagreement, nil if none does. That
// we call secure what neither peer does is what must never be wrong, so few may.
// Nothing explains that we deny what is there.
func (d disagreement) cause() *rule {
	candidates := slices.Concat(rules, aloneRules)
	switch {
	case d.ours.denied && !d.absent():
		return nil
	case d.alone():
		candidates = aloneRules
	}
	for i := range candidates {
		if candidates[i].applies(d) {
			return &candidates[i]
		}
	}
	return nil
}

// alone says whether we call secure what both peers call bogus or insecure. Who
// cannot be reached has no say.
func (d disagreement) alone() bool {
	return d.ours.verdict == secure && !slices.ContainsFunc(d.asked.theirs[:], func(o opinion) bool {
		return o.verdict != bogus && o.verdict != insecure
	})
}

// absent says whether there is no such data in the world as it was made, at the
// name or where it leads to.
func (d disagreement) absent() bool {
	name := dns.CanonicalName(d.asked.name)
	for range maxAliases {
		m, err := d.w.lab.Exchange(context.Background(), name, d.asked.qtype, true)
		if err != nil || len(m.Answer) == 0 {
			return err == nil
		}
		i := slices.IndexFunc(m.Answer, func(rr dns.RR) bool {
			return rr.Header().Rrtype == dns.TypeDNAME || rr.Header().Rrtype == dns.TypeCNAME
		})
		if i < 0 || m.Answer[i].Header().Rrtype == d.asked.qtype {
			return false
		}
		if name, err = follow(name, m.Answer[i]); err != nil {
			return false
		}
	}
	return false
}

// is says whether the verdicts are these.
func (d disagreement) is(ours, theirs verdict) bool {
	return d.ours.verdict == ours && d.theirs.verdict == theirs
}

// says says whether the reason of our verdict has these words in it.
func (d disagreement) says(words string) bool { return strings.Contains(d.ours.reason, words) }

// damaged says whether the world is damaged so.
func (d disagreement) damaged(names ...string) bool {
	return d.w.damage != nil && slices.Contains(names, d.w.damage.name)
}

// iterations returns the NSEC3 iterations of the zone whose denial our verdict
// is about.
func (d disagreement) iterations() int {
	for _, z := range d.w.zones {
		if d.says("the NSEC3 of " + z.name + " hash with") {
			return int(z.iterations)
		}
	}
	return 0
}

// aloneRules explain what rules do, and also that we call secure what both peers
// call bogus or insecure.
var aloneRules = []rule{
	{"an SOA is no part of the proof that there is no DS: RFC 4035 section 5.2", func(d disagreement) bool {
		return d.theirs.verdict == bogus && d.aboutSOA() &&
			(d.ours.verdict == insecure || d.asked.qtype == dns.TypeDS || !d.w.damaged.holds(dns.CanonicalName(d.asked.name)))
	}},
	{"an RCODE is not signed, a proof is: RFC 4035 section 5.4", func(d disagreement) bool {
		return d.ours.denied && (d.theirs.verdict == bogus || d.theirs.verdict == unreachable) && d.damaged("message: RCODE the other one")
	}},
	{"peers ask for DS at each label, and take NSEC3 of more than 150 iterations there for insecure: RFC 9276 section 3.2 is about denials", func(d disagreement) bool {
		return d.theirs.verdict == insecure && d.ours.verdict != insecure && d.manyIterations() && !d.provenWithMany()
	}},
	{"peers ask for DS at each label, where the denial is damaged: RFC 4035 section 5.3", func(d disagreement) bool {
		if d.w.tamper == nil || d.theirs.verdict != bogus || d.ours.verdict == bogus {
			return false
		}
		name := dns.CanonicalName(d.asked.name)
		below := dns.IsSubDomain(d.w.damaged.name, name) && !d.w.damaged.holds(name)
		proven := d.says(": " + d.w.damaged.name + " delegates it without DS") // by what is damaged
		return below && d.damagedDenial() && !proven || d.asked.theirs[1-d.peer].verdict == d.ours.verdict && !(d.ours.denied && d.w.damaged.holds(name))
	}},
	{"peers take a signed NSEC that lists NS for an insecure delegation below a DNAME, whose answer has the genuine denial: RFC 6840 section 4.1", func(d disagreement) bool {
		return d.damaged("denial: a delegation's, signed") && d.theirs.verdict == insecure && d.ours.denied &&
			!d.eitherOurs(bogus) && strings.Contains(d.asked.name, ".moved.")
	}},
}

var rules = []rule{
	{"NSEC3 with more than 100 and up to 150 iterations is insecure to us: RFC 9276 section 3.2 lets validators choose where", func(d disagreement) bool {
		return d.ours.verdict == insecure && 100 < d.iterations() && d.iterations() <= 150
	}},
	{"RSASHA1-NSEC3-SHA1 is not supported: RFC 9905 section 2, so insecure by RFC 4035 section 5.2", func(d disagreement) bool {
		return d.is(insecure, secure) && d.below(dns.RSASHA1NSEC3SHA1)
	}},
	{"ED448 is not supported: RFC 8624 section 3.1 only recommends it, so insecure by RFC 4035 section 5.2", func(d disagreement) bool {
		return d.is(insecure, bogus) && d.below(dns.ED448)
	}},
	{"pdns-recursor takes keys that match a DS for secure before it knows whether it has their algorithm: RFC 4035 section 5.2", func(d disagreement) bool {
		return d.peer == 1 && d.is(insecure, secure) && d.asked.qtype == dns.TypeDNSKEY && d.below(dns.ED448)
	}},
	{"a peer goes without the SOA of a denial, which is not genuine: RFC 2308 section 3 has it there", func(d disagreement) bool {
		return d.ours.verdict == bogus && strings.Contains(d.ours.reason, " SOA: ") && d.theirs.verdict != bogus && d.aboutSOA()
	}},
	{"pdns-recursor keeps an NXDOMAIN that is none for all types, and hands it out: RFC 2308 section 5", func(d disagreement) bool {
		return d.through == 1 && d.ours.verdict == bogus && d.damaged("message: RCODE the other one") && d.says("no keys")
	}},
	{"pdns-recursor hands out with CD, for all types, an NXDOMAIN replayed for one: RFC 2308 section 5", func(d disagreement) bool {
		return d.through == 1 && d.ours.verdict == bogus && d.asked.ours[0].verdict == d.theirs.verdict && d.w.damage != nil &&
			(strings.HasPrefix(d.w.damage.name, "replay: NXDOMAIN") || d.damaged("wildcard: denied by its own proof"))
	}},
	{"pdns-recursor hands out with CD a proof that came whole with another answer: RFC 8198 section 5", func(d disagreement) bool {
		return d.through == 1 && d.ours.verdict == secure && d.ours.denied && d.damaged("message: NODATA and nothing else")
	}},
	{"unbound wants more than the NSEC3 of the name where that begins with an asterisk: RFC 5155 section 8.5", func(d disagreement) bool {
		return d.peer == 0 && d.is(secure, bogus) && d.ours.denied && strings.HasPrefix(d.asked.name, "*.") && d.damagedDenial() &&
			d.asked.theirs[1].verdict == secure
	}},
	{"unbound leaves out the proof for a DNSKEY RRset from a wildcard: RFC 4035 section 3.1.3.3", func(d disagreement) bool {
		return d.asked.qtype == dns.TypeDNSKEY && strings.Contains(d.asked.ours[0].reason, "denies it") &&
			(d.through == 0 && d.ours.verdict == bogus || d.peer == 0 && d.theirs.verdict == insecure)
	}},
	{"pdns-recursor compares times as plain numbers: RFC 4034 section 3.1.5 wants serial number arithmetic", func(d disagreement) bool {
		return d.peer == 1 && d.is(bogus, secure) && d.damaged("expiration: in 70 years") && d.says("expires before its inception")
	}},
	{"peers accept signatures by a zone further up: RFC 4035 section 5.3.1 wants the zone that holds the RRset", func(d disagreement) bool {
		return d.is(bogus, secure) && d.damaged("RRSIG: by a zone above") && d.says("is a zone of its own")
	}},
	{"unbound takes a SHA-1 digest for want of a better that matches: RFC 4509 section 3", func(d disagreement) bool {
		return d.peer == 0 && d.ours.verdict == bogus && d.theirs.verdict != bogus && d.damaged("DS: a weak digest of the key, a strong one of none") && d.says("no key matches")
	}},
	{"unbound accepts signatures by revoked keys: RFC 5011 section 2.1", func(d disagreement) bool {
		return d.peer == 0 && d.ours.verdict == bogus && d.theirs.verdict != bogus && d.damaged("DNSKEY: ZSK revoked", "DNSKEY: KSK revoked")
	}},
	{"pdns-recursor believes NSEC3 of unknown hashes and flags: RFC 5155 sections 8.1 and 8.2", func(d disagreement) bool {
		return d.peer == 1 && d.ours.verdict == bogus && d.theirs.verdict != bogus &&
			d.damaged("NSEC3: unknown hash, signed", "NSEC3: unknown flag, signed") && d.says("of a known kind")
	}},
	{"peers believe an NSEC expanded from a wildcard: RFC 4592 section 4.9", func(d disagreement) bool {
		return d.theirs.verdict != bogus && d.damaged("denial: from a wildcard, signed") && d.eitherOurs(bogus)
	}},
	{"peers take a signed NSEC that lists NS for an insecure delegation where no zone is: RFC 6840 section 4.1", func(d disagreement) bool {
		return d.damaged("denial: a delegation's, signed") &&
			(d.ours.verdict == bogus || d.ours.verdict == secure && (d.asked.theirs[1-d.peer].verdict == secure || d.alias()))
	}},
	{"what the resolvers hand out differs, and each verdict fits its own: RFC 4035 section 3.2.2", func(d disagreement) bool {
		return d.through != d.peer && d.asked.ours[0].verdict == d.asked.theirs[0].verdict && d.asked.ours[1].verdict == d.asked.theirs[1].verdict
	}},
	{"unbound judged a damaged denial, and hands out with CD the genuine one, which came with another answer: RFC 4035 section 3.2.2", func(d disagreement) bool {
		return d.through == 0 && d.is(secure, bogus) && d.ours.denied && d.damagedDenial()
	}},
	{"unbound denies DS by a bitmap that lists CNAME: RFC 6840 section 4.3", func(d disagreement) bool {
		return d.peer == 0 && d.is(bogus, insecure) && d.damaged("denial: lists a CNAME, signed") && d.says("lists a CNAME")
	}},
	{"pdns-recursor asks for DS at each label, and takes opt-out there for insecure: RFC 5155 section 6 is about denials", func(d disagreement) bool {
		return d.peer == 1 && d.theirs.verdict == insecure && d.asked.theirs[0].verdict == d.ours.verdict && d.optOut()
	}},
	{"pdns-recursor alone goes without the denial that is damaged: RFC 4035 section 5.2", func(d disagreement) bool {
		return d.peer == 1 && d.ours.verdict == bogus && d.asked.theirs[0].verdict == bogus && d.damagedDenial()
	}},
	{"pdns-recursor does not look at the RRSIG of a DNSKEY RRset all of whose keys match a DS: RFC 4035 section 5.2", func(d disagreement) bool {
		return d.peer == 1 && d.ours.verdict == bogus && d.asked.theirs[0].verdict != secure && d.damaged("DNSKEY: RRSIG dropped", "DNSKEY: RRSIG expired") &&
			!slices.ContainsFunc(d.w.damaged.keys, func(k *key) bool { return !k.inDS && !k.hidden })
	}},
	{"pdns-recursor accepts expansion without a proof: RFC 4035 section 5.3.4", func(d disagreement) bool {
		return d.peer == 1 && d.is(bogus, secure) && d.asked.theirs[0].verdict != secure &&
			d.damaged("RRSIG: as if expanded from a wildcard", "wildcard: without proof")
	}},
	{"peers take an NSEC that is its own next for one that covers all: RFC 4034 section 4.1.1", func(d disagreement) bool {
		return d.is(bogus, secure) && d.damaged("denial: next owner its own, signed")
	}},
	{"pdns-recursor wants a proof for what is expanded in insecure zones: RFC 4035 section 4.3", func(d disagreement) bool {
		return d.peer == 1 && d.is(insecure, bogus) && d.asked.theirs[0].verdict == insecure && strings.Contains(d.asked.name, ".wild.")
	}},
	{"what an insecure alias leads to is not looked at here, peers do: RFC 4035 section 4.3", func(d disagreement) bool {
		return d.is(insecure, bogus) && d.alias()
	}},
	{"pdns-recursor says secure where no proof is, or no chain: RFC 5155 section 9.2, RFC 4035 section 3.2.3", func(d disagreement) bool {
		return d.peer == 1 && d.is(insecure, secure) && (d.asked.theirs[0].verdict == insecure || d.alias())
	}},
	{"pdns-recursor does not validate what a DNAME leads to as unbound and we do: RFC 6672 section 5.3", func(d disagreement) bool {
		return d.peer == 1 && strings.Contains(d.asked.name, ".moved.") && d.asked.theirs[0].verdict == d.ours.verdict
	}},
	{"peers have what an alias leads to from the answer to the alias, which is whole: RFC 1034 section 4.3.2", func(d disagreement) bool {
		return d.w.tamper != nil && d.ours.verdict == bogus && (d.alias() || d.says("elsewhere."))
	}},
	{"pdns-recursor answers SERVFAIL although CD is set: RFC 4035 section 3.2.2", func(d disagreement) bool {
		return d.through == 1 && d.ours.verdict == unreachable && (d.asked.theirs[1].verdict != secure || d.w.tamper != nil) ||
			d.peer == 1 && d.theirs.verdict == unreachable && (d.asked.theirs[0].verdict == bogus || d.ours.verdict == bogus)
	}},
}

// eitherOurs says whether we have that verdict through either peer.
func (d disagreement) eitherOurs(v verdict) bool {
	return d.asked.ours[0].verdict == v || d.asked.ours[1].verdict == v
}

// alias says whether the name asked for leads to another.
func (d disagreement) alias() bool {
	name := strings.ToLower(d.asked.name)
	return strings.Contains(name, "alias.") || strings.HasPrefix(name, "far.") || strings.Contains(name, ".starred.") || strings.Contains(name, ".moved.")
}

// below says whether the name asked for is at or below a zone that has keys of
// that algorithm alone.
func (d disagreement) below(algorithm uint8) bool {
	for _, z := range d.w.zones {
		if !dns.IsSubDomain(z.name, dns.CanonicalName(d.asked.name)) || len(z.keys) == 0 {
			continue
		}
		if !slices.ContainsFunc(z.keys, func(k *key) bool { return k.Algorithm != algorithm }) {
			return true
		}
	}
	return false
}

// damagedDenial says whether it is denials that are damaged.
func (d disagreement) damagedDenial() bool {
	return d.w.damage != nil && (strings.HasPrefix(d.w.damage.name, "denial: ") || strings.HasPrefix(d.w.damage.name, "NSEC3: "))
}

// optOut says whether a zone at or above the name that is asked for opts out.
func (d disagreement) optOut() bool {
	return slices.ContainsFunc(d.w.zones, func(z *zone) bool {
		return z.optOut && dns.IsSubDomain(z.name, dns.CanonicalName(d.asked.name))
	})
}

// manyIterations says whether a zone at or above the name that is asked for
// has denials that are insecure to the peers.
func (d disagreement) manyIterations() bool {
	return slices.ContainsFunc(d.w.zones, func(z *zone) bool {
		return d.many(z, 150) && dns.IsSubDomain(z.name, dns.CanonicalName(d.asked.name))
	})
}

// many says whether a zone's NSEC3 have more than that many iterations.
func (d disagreement) many(z *zone, iterations uint16) bool {
	return z.denial == lab.NSEC3 && (z.iterations > iterations || z == d.w.damaged && d.damaged("NSEC3: 2500 iterations, signed"))
}

// provenWithMany says whether our verdict rests on NSEC3 that are insecure to us.
func (d disagreement) provenWithMany() bool {
	return slices.ContainsFunc(d.w.zones, func(z *zone) bool { return z.name == d.ours.proof && d.many(z, 100) })
}

// aboutSOA says whether the damage is about the SOA of the zone that the
// question is about, or of one above, which denies that there is a delegation.
func (d disagreement) aboutSOA() bool {
	soa := question{}
	if d.w.damage != nil {
		soa = question{d.w.damaged.name, dns.TypeSOA}
	}
	return slices.Contains(d.w.targets, soa) && dns.IsSubDomain(soa.name, dns.CanonicalName(d.asked.name)) &&
		soa != question{dns.CanonicalName(d.asked.name), d.asked.qtype}
}
