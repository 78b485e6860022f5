package validate

import (
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/yield"
)

// verify returns the first of the RRset's signatures that one of the zone's
// keys made and that is valid now, and the key. One is enough, of any algorithm (RFC 6840
// section 5.11). The error is about the signature that came furthest.
func (w *walk) verify(set *rrset, z *zone) (*dns.RRSIG, Fingerprint, *Error) {
	var worst *Error
	progress := func(e *Error) {
		if worst == nil || rank(e.Check) > rank(worst.Check) {
			worst = e
		}
	}
	if err := w.s.budget.spend(set.name, set.rrtype, set.cost()); err != nil {
		return nil, Fingerprint{}, err
	}
	signed, checks := set.digest(), 0
	for _, sig := range set.sigs {
		if sig.SignerName != z.name {
			continue
		}
		if err := checkPeriod(sig, set, w.now); err != nil {
			progress(err)
			continue
		}
		keys := z.named(sig)
		if len(keys) == 0 {
			w.unknownKey = true
			progress(set.failSig(sig, CheckKey, sigRules, " (%s): no such key can be used in its DNSKEY RRset", dns.AlgorithmToString[sig.Algorithm]))
		}
		for _, k := range keys {
			if checks++; checks > maxChecks {
				return nil, Fingerprint{}, set.tooManyChecks(sig)
			}
			ok, err := w.verifyOne(set, signed, sig, k)
			if err != nil {
				return nil, Fingerprint{}, err
			}
			if ok {
				return sig, k.id, nil
			}
			progress(set.failSig(sig, CheckSignature, "RFC 4035 section 5.3.3", " does not verify"))
		}
	}
	if worst == nil {
		worst = set.unsignedBy(z)
	}
	return nil, Fingerprint{}, worst
}

// failSig returns an Error about one of the RRset's signatures.
func (s *rrset) failSig(sig *dns.RRSIG, check Check, section, detail string, args ...any) *Error {
	return fail(s.name, s.rrtype, check, section, "RRSIG by %s key %d"+detail, append([]any{sig.SignerName, sig.KeyTag}, args...)...).by(sig.SignerName, sig.KeyTag)
}

func (s *rrset) tooManyChecks(sig *dns.RRSIG) *Error {
	return fail(s.name, s.rrtype, CheckLimit, limitRule, "more than %d signatures times keys, and none verified", maxChecks).by(sig.SignerName, sig.KeyTag)
}

func (s *rrset) unsignedBy(z *zone) *Error {
	return fail(s.name, s.rrtype, CheckSigned, sigRules, "no RRSIG by %s", z.name)
}

// progressed are the checks of a signature, in the order in which it passes them.
var progressed = []Check{CheckSigned, CheckKey, CheckPeriod, CheckSignature}

// rank says how far a signature came that did not pass the check.
func rank(c Check) int { return slices.Index(progressed, c) }

// named returns the zone's keys that a signature may be by.
func (z *zone) named(sig *dns.RRSIG) []key {
	var ks []key
	for _, k := range z.keys {
		if k.tag == sig.KeyTag && k.Algorithm == sig.Algorithm {
			ks = append(ks, k)
		}
	}
	return ks
}

// checkPeriod checks that the RRSIG is valid now, in serial number arithmetic
// (RFC 4034 section 3.1.5, RFC 1982).
func checkPeriod(sig *dns.RRSIG, set *rrset, at time.Time) *Error {
	now := uint32(at.Unix()) // #nosec G115 -- serial number arithmetic
	detail := ""
	switch {
	case int32(sig.Expiration-sig.Inception) < 0: // #nosec G115
		detail = "expires before its inception"
	case int32(now-sig.Inception) < 0: // #nosec G115
		detail = "is not valid before " + dns.TimeToString(sig.Inception)
	case int32(sig.Expiration-now) < 0: // #nosec G115
		detail = "expired " + dns.TimeToString(sig.Expiration)
	default:
		return nil
	}
	return set.failSig(sig, CheckPeriod, sigRules, " %s (now: %s)", detail, dns.TimeToString(now))
}

// verifyOne does the arithmetic for one signature, of records with that digest,
// and one key. The error says that the session has used up its share.
func (w *walk) verifyOne(set *rrset, signed Fingerprint, sig *dns.RRSIG, k key) (bool, *Error) {
	f, ok := identify(signed, sig, k)
	if !ok {
		return false, nil // not what a message can hold
	}
	if w.v.verified.Has(f) {
		return true, nil
	}
	if err := w.s.budget.check(set, k); err != nil {
		return false, err
	}
	yield.ToQueries() // verifying takes as long as answering several
	if sig.Verify(k.DNSKEY, set.rrs) != nil {
		return false, nil
	}
	w.v.verified.Put(f)
	return true, nil
}

// identify returns the fingerprint of all that the result of a verification
// depends on; TTLs are not part of it (the Original TTL is).
func identify(signed Fingerprint, sig *dns.RRSIG, k key) (Fingerprint, bool) {
	s := pack(sig)
	if s == nil {
		return Fingerprint{}, false
	}
	return fingerprint(signed[:], s, k.id[:]), true
}

// holds returns how long an RRset may be kept: by its TTL, the Original TTL and
// what is left of its signature (RFC 4035 section 5.3.3).
func (w *walk) holds(set *rrset, sig *dns.RRSIG) time.Duration {
	left := sig.Expiration - uint32(w.now.Unix()) // #nosec G115 -- checkPeriod made sure that it is not negative
	return time.Duration(min(set.ttl, sig.OrigTtl, left)) * time.Second
}
