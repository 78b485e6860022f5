package validate

import "github.com/miekg/dns"

// answer is a verdict with what only the chain needs to know of it. Its Status
// is Secure or Insecure; what is bogus is an [*Error] in its place.
type answer struct {
	Result
	delegation bool // with Denied: a delegation starts at the name
}

// judge returns the verdict on a message: an answer, an [*Error] if it is bogus,
// or another error if the network or the resolver failed. A zone that is known to
// be between is asked for again before its parent is refused as the signer.
func (w *walk) judge(m *dns.Msg, name string, qtype uint16) (*answer, error) {
	if err := tooMany(m, name, qtype); err != nil {
		return nil, err
	}
	q := w.about(name, qtype)
	a, err := w.judgeAbout(m, q)
	if e, bogus := err.(*Error); bogus && e.Check == CheckSigned && q.signedAboveCut(m) && w.gone(q.cut) {
		return w.judgeAbout(m, w.about(name, qtype))
	}
	return a, err
}

// judgeAbout is judge by what is known of who may sign.
func (w *walk) judgeAbout(m *dns.Msg, q about) (*answer, error) {
	name, qtype := q.name, q.qtype
	failed := succeeded(m, name, qtype)
	sets, authority := collect(m.Answer), collect(m.Ns)
	if set := find(sets, name, qtype); set != nil && failed == nil {
		a, err := w.positive(set, authority, q)
		if err == nil && a.Status == Secure {
			a.RRset = set.rrs
		}
		return a, err
	}
	if set := alias(sets, name); set != nil {
		a, err := w.positive(set, authority, q)
		if err == nil && a.Status == Secure {
			a.Alias = set.rrs[0]
			return a, nil // whatever became of its target
		}
		if failed == nil {
			return a, err
		}
	}
	if failed != nil {
		return nil, failed
	}
	return w.negative(authority, q)
}

// tooMany says that a message has more records than are looked at.
func tooMany(m *dns.Msg, name string, qtype uint16) error {
	if n := len(m.Answer) + len(m.Ns); n > maxRecords {
		return fail(name, qtype, CheckLimit, limitRule, "the answer has %d records, more than %d", n, maxRecords)
	}
	return nil
}

// positive judges an RRset of the answer section, the answer or an alias in its
// place: an alias at a zone cut is the parent's if DS was asked for.
func (w *walk) positive(set *rrset, authority []*rrset, q about) (*answer, error) {
	signers, reason := q.signers(set)
	if reason != nil {
		return w.unsigned(q, reason)
	}
	set = q.lawful(set)
	a, reason, err := w.try(signers, func(z *zone) (*answer, *Error) { return w.signed(set, z, authority) })
	if reason != nil {
		return nil, reason
	}
	return a, err
}

// negative judges an answer without the RRset, by its authority section.
func (w *walk) negative(authority []*rrset, q about) (*answer, error) {
	sets := denialSets(authority)
	signers, reason := q.denialSigners(sets)
	if len(signers) == 0 {
		if reason == nil {
			reason = fail(q.name, q.qtype, CheckDenial, "RFC 4035 section 5.4", "neither an answer nor a proof that there is none")
		}
		return w.unsigned(q, reason)
	}
	a, reason, err := w.try(signers, func(z *zone) (*answer, *Error) { return w.denied(sets, find(authority, z.name, dns.TypeSOA), z, q) })
	if reason != nil {
		return w.unsigned(q, reason)
	}
	return a, err
}

// try judges by the keys of one signer after the other until one gives a secure
// verdict. Failing that, the first fault is returned, and if there is none, an
// insecure verdict; an err is the network's. A zone that is known, but not a key
// that signed, is fetched again.
func (w *walk) try(signers []string, judge func(*zone) (*answer, *Error)) (a *answer, fault *Error, err error) {
	for _, name := range signers {
		z, err := w.zone(name)
		e, bogus := err.(*Error)
		if err != nil && !bogus {
			return nil, nil, err
		}
		if !bogus {
			var b *answer
			b, e = w.judgeBy(z, judge)
			if e == nil && b.Status == Secure {
				return b, nil, nil
			}
			if e == nil {
				a = b
			}
		}
		if fault == nil {
			fault = e
		}
	}
	return a, fault, nil
}

// judgeBy judges by what is known of a zone, and if its keys have changed, by what
// they are now.
func (w *walk) judgeBy(z *zone, judge func(*zone) (*answer, *Error)) (*answer, *Error) {
	if z.insecure != nil {
		return w.insecure(z), nil
	}
	w.unknownKey = false
	a, e := judge(z)
	if e == nil || !w.unknownKey {
		return a, e
	}
	switch fresh := w.refetch(z); {
	case fresh == nil:
		return a, e
	case fresh.insecure != nil:
		return w.insecure(fresh), nil
	default:
		return judge(fresh)
	}
}

// signed judges an RRset by the keys of a secure zone, and its expansion from a
// wildcard by the authority section.
func (w *walk) signed(set *rrset, z *zone, authority []*rrset) (*answer, *Error) {
	sig, by, err := w.verify(set, z)
	if err != nil {
		return nil, err
	}
	a := &answer{Result: Result{Status: Secure, Sig: sig, Key: by, Signer: z.name, TTL: w.holds(set, sig)}}
	if int(sig.Labels) >= countLabels(set.name) {
		return a, nil
	}
	q := w.about(set.name, set.rrtype)
	b, _, err := w.prove(denialSets(authority), z, q, func(d denials) (proof, *Error) {
		return d.denyExpansion(set.name, set.rrtype, int(sig.Labels))
	})
	if err != nil || b.Status != Secure {
		return b, err
	}
	a.Wildcard = true
	a.TTL = min(a.TTL, b.TTL)
	return a, nil
}

// denied judges a denial by the keys of a secure zone. The SOA that comes with it
// (RFC 2308 section 3), nil for none, proves nothing, but who changed it may have
// changed the rest: it has to be genuine too. With DS it is not looked at, since
// resolvers take that denial from referrals, which have no SOA.
func (w *walk) denied(sets []*rrset, soa *rrset, z *zone, q about) (*answer, *Error) {
	a, p, err := w.prove(sets, z, q, func(d denials) (proof, *Error) { return d.deny(q.name, q.qtype) })
	if err != nil || a.Status != Secure {
		return a, err
	}
	if soa != nil && q.qtype != dns.TypeDS {
		sig, _, err := w.verify(soa, z)
		if err != nil {
			return nil, err
		}
		a.TTL = min(a.TTL, w.holds(soa, sig))
	}
	a.Denied, a.delegation = true, p.delegation
	return a, nil
}

// prove judges NSEC and NSEC3 by the keys of a secure zone and by what deny makes
// of those that are valid. If these do not suffice, the fault is with one that is
// not, if there is one.
func (w *walk) prove(sets []*rrset, z *zone, q about, deny func(denials) (proof, *Error)) (*answer, proof, *Error) {
	d, fault := w.denials(sets, z, q)
	p, err := deny(d)
	switch {
	case err != nil && fault != nil:
		return nil, p, fault
	case err != nil:
		return nil, p, err
	case p.insecure != nil:
		return &answer{Result: Result{Status: Insecure, TTL: d.ttl, Reason: p.insecure}}, p, nil
	}
	return &answer{Result: Result{Status: Secure, Sig: d.sigs[p.matching], Signer: z.name, TTL: d.ttl}}, p, nil
}

// unsigned judges an answer that nobody signed who may, for that reason: it is
// insecure if the zone that holds the name is, else bogus.
func (w *walk) unsigned(q about, reason *Error) (*answer, error) {
	apex, err := w.apex(anchored(q.name, q.qtype))
	if err != nil {
		return nil, err
	}
	z, err := w.zone(apex)
	if err != nil {
		return nil, err
	}
	if z.insecure != nil {
		return w.insecure(z), nil
	}
	e := *reason
	e.Detail += "; it is in " + apex + ", which is signed"
	return nil, &e
}

// insecure is the verdict on whatever an insecure zone holds.
func (w *walk) insecure(z *zone) *answer {
	return &answer{Result: Result{Status: Insecure, TTL: z.expires.Sub(w.now), Reason: z.insecure}}
}
