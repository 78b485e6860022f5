package validate

import (
	"slices"
	"time"

	"github.com/miekg/dns"
)

const sigRules = "RFC 4035 section 5.3.1"

// about is what an answer is about: the question, and what is known of who may
// sign for it before anybody's keys are.
type about struct {
	name   string
	qtype  uint16
	anchor string // the closest trust anchor's zone, "" if there is none
	cut    string // the closest zone that is known to be secure, "" if none is
}

// about returns what is known of who signs for a question.
func (w *walk) about(name string, qtype uint16) about {
	return w.v.about(name, qtype, w.v.clock())
}

func (v *Validator) about(name string, qtype uint16, now time.Time) about {
	q := about{name: name, qtype: qtype}
	holder := anchored(name, qtype)
	q.anchor, _ = v.anchors.above(holder)
	q.cut = v.zones.closest(holder, now)
	return q
}

// anchored returns the name whose anchor counts for a question: DS is asked of
// the parent.
func anchored(name string, qtype uint16) string {
	if qtype == dns.TypeDS {
		return parent(name)
	}
	return name
}

// signers returns the zones that sign the RRset and may do so, as far as can be
// told before their keys are known. The error says what is wrong with the
// RRset's signatures if none is left.
func (q about) signers(set *rrset) ([]string, *Error) {
	var reason *Error
	var zones []string
	for _, sig := range set.sigs {
		if err := q.mayHaveSigned(sig, set); err != nil {
			reason = err
			continue
		}
		if !slices.Contains(zones, sig.SignerName) && len(zones) < maxSigners {
			zones = append(zones, sig.SignerName)
		}
	}
	switch {
	case len(zones) > 0:
		return zones, nil
	case reason == nil:
		reason = fail(set.name, set.rrtype, CheckSigned, "RFC 4035 section 2.2", "no RRSIG")
	}
	return nil, reason
}

// lawful returns the RRset with those of its signatures that may be there.
func (q about) lawful(set *rrset) *rrset {
	out := *set
	out.sigs = slices.DeleteFunc(slices.Clone(set.sigs), func(sig *dns.RRSIG) bool {
		return q.mayHaveSigned(sig, set) != nil
	})
	return &out
}

// mayHaveSigned checks the parts of an RRSIG that say who signed what: the
// signer is the zone that holds the owner, and the labels are no more than the
// owner's (RFC 4035 section 5.3.1). A DS and its denial are the parent's to
// sign.
func (q about) mayHaveSigned(sig *dns.RRSIG, set *rrset) *Error {
	refuse := func(section, detail string, args ...any) *Error {
		return fail(set.name, set.rrtype, CheckSigned, section, "RRSIG by %s key %d: "+detail,
			append([]any{sig.SignerName, sig.KeyTag}, args...)...).by(sig.SignerName, sig.KeyTag)
	}
	signer := sig.SignerName
	switch {
	case !within(signer, set.name) || !within(signer, q.name):
		return refuse(sigRules, "the signer is not a zone above the name")
	case q.qtype == dns.TypeDS && signer == q.name && q.name != ".":
		return refuse("RFC 4035 section 3.1.4.1", "DS is the parent's to sign, not the child's")
	case int(sig.Labels) > countLabels(set.name):
		return refuse(sigRules, "its labels (%d) are more than the name's", sig.Labels)
	case int(sig.Labels) < dns.CountLabel(signer):
		return refuse(sigRules, "its labels (%d) reach above the signer", sig.Labels)
	case int(sig.Labels) < countLabels(set.name) && !expandable(set.rrtype):
		return refuse("RFC 4592 section 4", "made from a wildcard, which a %s cannot be", dns.Type(set.rrtype))
	case q.anchor != "" && !within(q.anchor, signer):
		return refuse("RFC 6840 appendix C.1", "the signer is above the trust anchor %s", q.anchor)
	case q.cut != "" && isAbove(signer, q.cut):
		return refuse(sigRules, "%s between is a zone of its own", q.cut)
	}
	return nil
}

// signedAboveCut says whether there is a signature in the message by a zone above
// the one that is known to hold the name.
func (q about) signedAboveCut(m *dns.Msg) bool {
	above := func(rr dns.RR) bool {
		sig, ok := rr.(*dns.RRSIG)
		return ok && isAbove(dns.CanonicalName(sig.SignerName), q.cut)
	}
	return q.cut != "" && (slices.ContainsFunc(m.Answer, above) || slices.ContainsFunc(m.Ns, above))
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
