package validate

import "github.com/miekg/dns"

// answer is a verdict with what only the chain needs to know of it. Its Status
// is Secure or Insecure; what is bogus is an [*Error] in its place.
type answer struct {
	Result
	delegation bool // with Denied: a delegation starts at the name
}

// judge returns the verdict on a message: an answer, an [*Error] if it is bogus,
// or another error if the network failed.
func (w *walk) judge(m *dns.Msg, name string, qtype uint16) (answer, error) {
	if n := len(m.Answer) + len(m.Ns); n > maxRecords {
		return answer{}, fail(name, qtype, CheckLimit, "", "the answer has %d records, more than %d", n, maxRecords)
	}
	sets, authority := collect(m.Answer), collect(m.Ns)
	if set := find(sets, name, qtype); set != nil {
		a, err := w.positive(set, authority, name, qtype)
		if err == nil && a.Status == Secure {
			a.RRset = set.rrs
		}
		return a, err
	}
	if set := alias(sets, name); set != nil {
		a, err := w.positive(set, authority, name, qtype)
		if err == nil && a.Status == Secure {
			a.Alias = set.rrs[0]
		}
		return a, err
	}
	return w.negative(denialSets(authority), name, qtype)
}

// positive judges an RRset of the answer section, the answer or an alias in its
// place: an alias at a zone cut is the parent's if DS was asked for.
func (w *walk) positive(set *rrset, authority []*rrset, name string, qtype uint16) (answer, error) {
	signers, reason := w.signers(set, name, qtype)
	if reason != nil {
		return w.unsigned(name, qtype, reason)
	}
	set = w.lawful(set, name, qtype)
	a, reason, err := w.try(signers, func(z *zone) (answer, *Error) { return w.signed(set, z, authority) })
	if reason != nil {
		return answer{}, reason
	}
	return a, err
}

// negative judges an answer without the RRset: sets are its NSEC and NSEC3.
func (w *walk) negative(sets []*rrset, name string, qtype uint16) (answer, error) {
	signers, reason := w.denialSigners(sets, name, qtype)
	if len(signers) == 0 {
		if reason == nil {
			reason = fail(name, qtype, CheckDenial, "RFC 4035 section 5.4", "neither an answer nor a proof that there is none")
		}
		return w.unsigned(name, qtype, reason)
	}
	a, reason, err := w.try(signers, func(z *zone) (answer, *Error) { return w.denied(sets, z, name, qtype) })
	if reason != nil {
		return w.unsigned(name, qtype, reason)
	}
	return a, err
}

// try judges by the keys of one signer after the other until one gives a secure
// verdict. Failing that, the first fault is returned, and if there is none, an
// insecure verdict; an err is the network's.
func (w *walk) try(signers []string, judge func(*zone) (answer, *Error)) (a answer, fault *Error, err error) {
	for _, name := range signers {
		z, err := w.zone(name)
		e, ok := err.(*Error)
		switch {
		case ok:
		case err != nil:
			return answer{}, nil, err
		case z.insecure != nil:
			a = w.insecure(z)
		default:
			a, e = judge(z)
			if e == nil && a.Status == Secure {
				return a, nil, nil
			}
		}
		if fault == nil {
			fault = e
		}
	}
	return a, fault, nil
}

// signed judges an RRset by the keys of a secure zone, and its expansion from a
// wildcard by the authority section.
func (w *walk) signed(set *rrset, z *zone, authority []*rrset) (answer, *Error) {
	sig, err := w.verify(set, z)
	if err != nil {
		return answer{}, err
	}
	a := answer{Result: Result{Status: Secure, Sig: sig, Signer: z.name, TTL: w.holds(set, sig)}}
	if int(sig.Labels) >= countLabels(set.name) {
		return a, nil
	}
	d, fault := w.denials(denialSets(authority), z, set.name, set.rrtype)
	p, err := d.denyExpansion(set.name, set.rrtype, int(sig.Labels))
	switch {
	case err != nil && fault != nil:
		return answer{}, fault
	case err != nil:
		return answer{}, err
	case p.insecure != nil:
		return answer{Result: Result{Status: Insecure, TTL: d.ttl, Reason: p.insecure}}, nil
	}
	a.Wildcard = true
	a.TTL = min(a.TTL, d.ttl)
	return a, nil
}

// denied judges a denial by the keys of a secure zone.
func (w *walk) denied(sets []*rrset, z *zone, name string, qtype uint16) (answer, *Error) {
	d, fault := w.denials(sets, z, name, qtype)
	p, err := d.deny(name, qtype)
	switch {
	case err != nil && fault != nil:
		return answer{}, fault
	case err != nil:
		return answer{}, err
	case p.insecure != nil:
		return answer{Result: Result{Status: Insecure, TTL: d.ttl, Reason: p.insecure}}, nil
	}
	return answer{Result: Result{Status: Secure, Denied: true, Sig: d.sigs[p.matching], Signer: z.name, TTL: d.ttl}, delegation: p.delegation}, nil
}

// unsigned judges an answer that nobody signed who may, for that reason: it is
// insecure if the zone that holds the name is, else bogus.
func (w *walk) unsigned(name string, qtype uint16, reason *Error) (answer, error) {
	apex, err := w.apex(anchored(name, qtype))
	if err != nil {
		return answer{}, err
	}
	z, err := w.zone(apex)
	if err != nil {
		return answer{}, err
	}
	if z.insecure != nil {
		return w.insecure(z), nil
	}
	e := *reason
	e.Detail += "; it is in " + apex + ", which is signed"
	return answer{}, &e
}

// insecure is the verdict on whatever an insecure zone holds.
func (w *walk) insecure(z *zone) answer {
	return answer{Result: Result{Status: Insecure, TTL: z.expires.Sub(w.now), Reason: z.insecure}}
}
