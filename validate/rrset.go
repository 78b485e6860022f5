package validate

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"github.com/miekg/dns"
)

const sigRules = "RFC 4035 section 5.3.1"

// signers returns the zones that sign the RRset and may do so, as far as can be
// told before their keys are known: what they sign about is name and qtype.
// The error says what is wrong with the RRset's signatures if none is left.
func (w *walk) signers(set *rrset, name string, qtype uint16) ([]string, *Error) {
	reason := fail(set.name, set.rrtype, CheckSigned, "RFC 4035 section 2.2", "no RRSIG")
	var zones []string
	for _, sig := range set.sigs {
		if err := w.mayHaveSigned(sig, set, name, qtype); err != nil {
			reason = err
			continue
		}
		if !slices.Contains(zones, sig.SignerName) && len(zones) < maxSigners {
			zones = append(zones, sig.SignerName)
		}
	}
	if len(zones) > 0 {
		return zones, nil
	}
	return nil, reason
}

// mayHaveSigned checks the parts of an RRSIG that say who signed what: the
// signer is the zone that holds the owner, and the labels are no more than the
// owner's (RFC 4035 section 5.3.1). A DS and its denial are the parent's to
// sign.
func (w *walk) mayHaveSigned(sig *dns.RRSIG, set *rrset, name string, qtype uint16) *Error {
	refuse := func(section, detail string, args ...any) *Error {
		return fail(set.name, set.rrtype, CheckSigned, section, "RRSIG by %s key %d: "+detail,
			append([]any{sig.SignerName, sig.KeyTag}, args...)...).by(sig.SignerName, sig.KeyTag)
	}
	signer := sig.SignerName
	switch {
	case !dns.IsSubDomain(signer, set.name) || !dns.IsSubDomain(signer, name):
		return refuse(sigRules, "the signer is not a zone above the name")
	case qtype == dns.TypeDS && signer == name && name != ".":
		return refuse("RFC 4035 section 3.1.4.1", "DS is the parent's to sign, not the child's")
	case int(sig.Labels) > countLabels(set.name):
		return refuse(sigRules, "its labels (%d) are more than the name's", sig.Labels)
	case int(sig.Labels) < dns.CountLabel(signer):
		return refuse(sigRules, "its labels (%d) reach above the signer", sig.Labels)
	case int(sig.Labels) < countLabels(set.name) && !expandable(set.rrtype):
		return refuse("RFC 4592 section 4", "made from a wildcard, which a %s cannot be", dns.Type(set.rrtype))
	}
	if anchor, ok := w.v.anchors.above(anchored(name, qtype)); ok && !dns.IsSubDomain(anchor, signer) {
		return refuse("RFC 6840 appendix C.1", "the signer is above the trust anchor %s", anchor)
	}
	if cut := w.knownCut(signer, name, qtype); cut != "" {
		return refuse(sigRules, "%s between is a zone of its own", cut)
	}
	return nil
}

// anchored returns the name whose anchor counts for a question: DS is asked of
// the parent.
func anchored(name string, qtype uint16) string {
	if qtype == dns.TypeDS {
		return parent(name)
	}
	return name
}

// expandable says whether RRsets of that type may come from a wildcard. A
// denial that does would deny another name than the one it was signed for.
func expandable(rrtype uint16) bool {
	switch rrtype {
	case dns.TypeNSEC, dns.TypeNSEC3, dns.TypeDNAME, dns.TypeDS, dns.TypeSOA:
		return false
	}
	return true
}

// knownCut returns a secure zone, known from other look-ups, that lies between
// the signer and the name that it signs about, "" if none is known.
func (w *walk) knownCut(signer, name string, qtype uint16) string {
	for n := anchored(name, qtype); isAbove(signer, n); n = parent(n) {
		if w.v.zones.secure(n, w.now) {
			return n
		}
	}
	return ""
}

// verify returns the first of the RRset's signatures that one of the zone's
// keys made and that is valid now. One is enough, of any algorithm (RFC 6840
// section 5.11). The error is about the signature that came furthest.
func (w *walk) verify(set *rrset, z *zone) (*dns.RRSIG, *Error) {
	worst := fail(set.name, set.rrtype, CheckSigned, sigRules, "no RRSIG by %s", z.name)
	progress := func(e *Error) {
		if rank(e.Check) > rank(worst.Check) {
			worst = e
		}
	}
	sigs, checks := 0, 0
	for _, sig := range set.sigs {
		if sig.SignerName != z.name {
			continue
		}
		if sigs++; sigs > maxSignatures {
			break
		}
		if err := w.checkPeriod(sig, set); err != nil {
			progress(err)
			continue
		}
		keys := z.named(sig)
		if len(keys) == 0 {
			progress(fail(set.name, set.rrtype, CheckKey, sigRules, "RRSIG by %s key %d (%s): no such key can be used in its DNSKEY RRset",
				z.name, sig.KeyTag, dns.AlgorithmToString[sig.Algorithm]).by(z.name, sig.KeyTag))
		}
		for _, k := range keys {
			if checks++; checks > maxChecks {
				return nil, fail(set.name, set.rrtype, CheckLimit, "", "more than %d signatures times keys, and none verified", maxChecks).by(z.name, sig.KeyTag)
			}
			ok, err := w.verifyOne(set, sig, k)
			if err != nil {
				return nil, err
			}
			if ok {
				return sig, nil
			}
			progress(fail(set.name, set.rrtype, CheckSignature, "RFC 4035 section 5.3.3", "RRSIG by %s key %d does not verify",
				z.name, sig.KeyTag).by(z.name, sig.KeyTag))
		}
	}
	return nil, worst
}

// rank orders the checks of a signature by how far it came.
func rank(c Check) int {
	return slices.Index([]Check{CheckSigned, CheckKey, CheckPeriod, CheckSignature}, c)
}

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
func (w *walk) checkPeriod(sig *dns.RRSIG, set *rrset) *Error {
	now := uint32(w.now.Unix()) // #nosec G115 -- serial number arithmetic
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
	return fail(set.name, set.rrtype, CheckPeriod, sigRules, "RRSIG by %s key %d %s (now: %s)",
		sig.SignerName, sig.KeyTag, detail, dns.TimeToString(now)).by(sig.SignerName, sig.KeyTag)
}

// verifyOne does the arithmetic for one signature and one key. The error says
// that the session has used up its share.
func (w *walk) verifyOne(set *rrset, sig *dns.RRSIG, k key) (bool, *Error) {
	f, ok := identify(set, sig, k)
	if !ok {
		return false, nil // not what a message can hold
	}
	if w.v.verified.has(f) {
		return true, nil
	}
	if err := w.s.budget.check(set.name, set.rrtype); err != nil {
		return false, err
	}
	if sig.Verify(k.DNSKEY, set.rrs) != nil {
		return false, nil
	}
	w.v.verified.put(f)
	return true, nil
}

// identify returns the fingerprint of all that the result of a verification
// depends on; TTLs are not part of it (the Original TTL is).
func identify(set *rrset, sig *dns.RRSIG, k key) (fingerprint, bool) {
	wires := make([][]byte, 0, len(set.rrs))
	for _, rr := range set.rrs {
		wires = append(wires, pack(rr))
	}
	slices.SortFunc(wires, bytes.Compare)
	h := sha256.New()
	shared := dns.Copy(k.DNSKEY) // other look-ups use the key too, and packing writes to it
	for _, wire := range append(wires, pack(sig), pack(shared)) {
		if wire == nil {
			return fingerprint{}, false
		}
		var length [4]byte
		binary.BigEndian.PutUint32(length[:], uint32(len(wire))) // #nosec G115 -- at most 64 KB
		h.Write(length[:])
		h.Write(wire)
	}
	return fingerprint(h.Sum(nil)), true
}

// pack returns a record's octets with a TTL of 0, nil if it has none.
func pack(rr dns.RR) []byte {
	wire := make([]byte, dns.Len(rr)+1)
	end, err := dns.PackRR(rr, wire, 0, nil, false)
	if err != nil {
		return nil
	}
	ttl := 0
	for wire[ttl] != 0 {
		ttl += int(wire[ttl]) + 1
	}
	ttl += 1 + 2 + 2 // the root label, type and class
	clear(wire[ttl : ttl+4])
	return wire[:end]
}

// holds returns how long an RRset may be kept: by its TTL, the Original TTL and
// what is left of its signature (RFC 4035 section 5.3.3).
func (w *walk) holds(set *rrset, sig *dns.RRSIG) time.Duration {
	left := sig.Expiration - uint32(w.now.Unix()) // #nosec G115 -- checkPeriod made sure that it is not negative
	return time.Duration(min(set.ttl, sig.OrigTtl, left)) * time.Second
}
