package validate

import (
	"time"

	"github.com/miekg/dns"
)

// zone returns the zone of that name with its keys, or why it is insecure. The
// error is an [*Error] if its chain is bogus, or if it is no zone. Look-ups that
// want the same zone share the work; to fetch a zone, only zones above it may
// be waited for, or they could wait for each other.
func (w *walk) zone(name string) (*zone, error) {
	if w.fetching != "" && !isAbove(name, w.fetching) {
		return nil, fail(w.fetching, dns.TypeDS, CheckDelegation, "RFC 4035 section 5.2", "its chain leads to %s, which is not above", name)
	}
	if e := w.s.failure(name); e != nil {
		return nil, e
	}
	z, f, leads := w.v.zones.get(name, w.v.clock())
	if leads {
		return w.lead(name, f)
	}
	if z != nil && z.insecure != nil && w.s.afresh {
		if fresh := w.refetch(z); fresh != nil {
			return fresh, nil
		}
	}
	if z != nil {
		return z, nil
	}
	select {
	case <-f.done:
	case <-w.ctx.Done():
		return nil, w.ctx.Err()
	}
	if f.zone != nil {
		return f.zone, nil
	}
	if e := w.s.failure(name); e != nil {
		return nil, e
	}
	// It failed for its resolver, in its time. Ours may be others.
	return w.fetchZone(name)
}

// lead fetches the zone for all who wait for the flight.
func (w *walk) lead(name string, f *flight) (*zone, error) {
	defer w.v.zones.land(name, f, w.now)
	z, err := w.fetchZone(name)
	f.zone = z
	if e, ok := err.(*Error); ok {
		w.s.fail(name, e)
	}
	return z, err
}

// refetch asks for a zone again that was known before the session began, once in
// the session: its keys may have been rolled since. It returns nil if there is
// nothing new to be had. What was known stays known by its TTL, unless what is
// found is valid, too: that there is no such zone any more is forgotten.
func (w *walk) refetch(known *zone) *zone {
	if !known.made.Before(w.s.started) || w.fetching != "" && !isAbove(known.name, w.fetching) {
		return nil
	}
	f, leads := w.s.refetch(known.name)
	if !leads {
		select {
		case <-f.done:
			return f.zone
		case <-w.ctx.Done():
			return nil
		}
	}
	defer close(f.done)
	z, err := w.fetchZone(known.name)
	if e, bogus := err.(*Error); bogus && e.noZone {
		w.v.zones.drop(known.name)
	}
	if err != nil {
		return nil
	}
	w.v.zones.put(z, w.now)
	f.zone = z
	return z
}

// gone says whether a zone that was known to be secure before the session began
// is so no longer: it was merged into the zone above, say, whose keys sign its
// names from then on, long before the TTL of the former DS is over.
func (w *walk) gone(name string) bool {
	if z := w.v.zones.known(name, w.v.clock()); z != nil {
		w.refetch(z)
	}
	return !w.v.zones.secure(name, w.v.clock())
}

// fetchZone asks for DS, unless there is an anchor, and DNSKEY of a zone.
func (w *walk) fetchZone(name string) (*zone, error) {
	below := w.fetching
	w.fetching, w.depth = name, w.depth+1
	defer func() { w.fetching, w.depth = below, w.depth-1 }()
	if w.depth > maxChain {
		return nil, fail(name, dns.TypeDNSKEY, CheckLimit, limitRule, "more than %d zones on the way to a trust anchor", maxChain)
	}

	if t := w.v.anchors.zones[name]; t != nil {
		return w.fetchKeys(name, t, maxTTL)
	}
	if _, ok := w.v.anchors.above(name); !ok {
		return w.insecureZone(name, maxTTL, fail(name, dns.TypeDNSKEY, CheckAnchor, "RFC 4035 section 4.3", "no trust anchor at or above")), nil
	}
	m, err := w.ask(name, dns.TypeDS)
	if err != nil {
		return nil, err
	}
	a, err := w.judge(m, name, dns.TypeDS)
	if err != nil {
		return nil, err
	}
	switch {
	case a.Status == Insecure:
		return w.insecureZone(name, a.TTL, a.Reason.(*Error)), nil
	case a.Denied && a.delegation:
		return w.insecureZone(name, a.TTL, fail(name, dns.TypeDS, CheckDelegation, "RFC 4035 section 5.2",
			"%s delegates it without DS", a.Signer).by(a.Signer, 0)), nil
	case len(a.RRset) == 0:
		e := fail(name, dns.TypeDS, CheckDelegation, "RFC 4035 section 5.3.1", "%s says that no zone starts there", a.Signer).by(a.Signer, 0)
		e.noZone = true
		return nil, e
	}
	t, reason := trustDS(name, a.RRset)
	if reason != nil {
		return w.insecureZone(name, a.TTL, reason), nil
	}
	return w.fetchKeys(name, t, a.TTL)
}

func (w *walk) insecureZone(name string, ttl time.Duration, why *Error) *zone {
	return &zone{name: name, insecure: why, made: w.now, expires: w.now.Add(min(ttl, maxTTL))}
}

// trustDS returns the DS records that are to be matched. The error says that
// none is of an algorithm and digest that is supported: then the zone is
// insecure (RFC 4035 section 5.2).
func trustDS(name string, rrs []dns.RR) (*trust, *Error) {
	t := new(trust)
	for _, rr := range rrs {
		if ds, ok := rr.(*dns.DS); ok && supportedDS(ds) && len(t.ds) < maxDS {
			t.ds = append(t.ds, ds)
		}
	}
	if len(t.ds) == 0 {
		return nil, fail(name, dns.TypeDS, CheckAlgorithm, "RFC 4035 section 5.2", "no DS of a supported algorithm and digest")
	}
	t.ds = strongest(t.ds)
	return t, nil
}

// fetchKeys asks for a zone's DNSKEY RRset and validates it by a key that t
// names (RFC 4035 section 5.2). What t says holds for ttl.
func (w *walk) fetchKeys(name string, t *trust, ttl time.Duration) (*zone, error) {
	m, err := w.ask(name, dns.TypeDNSKEY)
	if err != nil {
		return nil, err
	}
	if err := succeeded(m, name, dns.TypeDNSKEY); err != nil {
		return nil, err
	}
	if err := tooMany(m, name, dns.TypeDNSKEY); err != nil {
		return nil, err
	}
	set := find(collect(m.Answer), name, dns.TypeDNSKEY)
	switch {
	case set == nil:
		return nil, fail(name, dns.TypeDNSKEY, CheckKey, "RFC 4035 section 5.2", "no keys, though the zone has to be signed")
	case len(set.sigs) == 0:
		return nil, fail(name, dns.TypeDNSKEY, CheckSigned, "RFC 4035 section 5.2", "no RRSIG, though the zone has to be signed: not at its servers, or stripped by the resolver")
	case len(set.rrs) > maxKeys:
		return nil, fail(name, dns.TypeDNSKEY, CheckLimit, limitRule, "%d keys, more than %d", len(set.rrs), maxKeys)
	}
	if err := w.payKeys(set); err != nil {
		return nil, err
	}
	entry, reason := entryKeys(name, t, set.rrs)
	if reason != nil {
		if reason.Check == CheckAlgorithm {
			return w.insecureZone(name, min(ttl, time.Duration(set.ttl)*time.Second), reason), nil
		}
		return nil, reason
	}
	sig, _, reason := w.verify(w.about(name, dns.TypeDNSKEY).lawful(set), &zone{name: name, keys: entry})
	if reason != nil {
		return nil, reason
	}
	z := &zone{name: name, keys: usableKeys(set.rrs), made: w.now}
	z.expires = w.now.Add(min(ttl, w.holds(set, sig), maxTTL))
	return z, nil
}

// payKeys pays for the tags and digests of a DNSKEY RRset.
func (w *walk) payKeys(set *rrset) error {
	cost := 0
	for _, rr := range set.rrs {
		if k, ok := rr.(*dns.DNSKEY); ok {
			cost += tagCost(k)
		}
	}
	if err := w.s.budget.spend(set.name, set.rrtype, cost); err != nil {
		return err
	}
	return nil
}

// apex returns the zone that holds the name as SOA shows it. Nobody vouches for
// it: the caller has to, by DS. It is at or below the closest trust anchor.
func (w *walk) apex(name string) (string, error) {
	anchor, ok := w.v.anchors.above(name)
	if !ok {
		return name, nil
	}
	for n := name; n != anchor; n = parent(n) {
		m, err := w.ask(n, dns.TypeSOA)
		if err != nil {
			return "", err
		}
		if found, ok := startOfAuthority(m, n); ok {
			if dns.IsSubDomain(anchor, found) {
				return found, nil
			}
			return anchor, nil
		}
		// An alias leads to another zone's SOA: ask a label further up.
	}
	return anchor, nil
}

// startOfAuthority returns the owner of the SOA in an answer to SOA that is
// closest to the name.
func startOfAuthority(m *dns.Msg, name string) (string, bool) {
	closest, found := "", false
	for _, section := range [][]dns.RR{m.Answer, m.Ns} {
		for _, rr := range section[:min(len(section), maxRecords)] {
			owner := dns.CanonicalName(rr.Header().Name)
			if rr.Header().Rrtype == dns.TypeSOA && dns.IsSubDomain(owner, name) && (!found || dns.IsSubDomain(closest, owner)) {
				closest, found = owner, true
			}
		}
	}
	return closest, found
}
