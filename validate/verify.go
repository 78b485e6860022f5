package validate

import (
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/yield"
)

// Signatures verifies signatures one by one, and remembers those that are good:
// whether one is depends on nothing but octets. It asks nobody, and what
// signatures that are not good cost is the caller's to bound. All of a process may
// share one: it is safe for concurrent use.
type Signatures struct{ good *Fingerprints }

// NewSignatures returns a Signatures that has seen none.
func NewSignatures() *Signatures { return &Signatures{NewFingerprints(maxVerified)} }

// Made reports whether k made the signature over the RRset, and nothing else: not
// whether it is valid at any time, nor whether k is to be trusted.
func (s *Signatures) Made(sig *dns.RRSIG, k *dns.DNSKEY, rrs []dns.RR) bool {
	signed, ok := Digest(rrs)
	by, also := Digest([]dns.RR{sig, k})
	if !ok || !also {
		return false // not what a message can hold
	}
	f := fingerprint(signed[:], by[:])
	if s.good.Has(f) {
		return true
	}
	yield.ToQueries() // verifying takes as long as answering several
	if sig.Verify(k, rrs) != nil {
		return false
	}
	s.good.Put(f)
	return true
}

// Verify returns nil if key k of the zone made the signature over the RRset,
// which is complete and without duplicates, and that is valid at now (RFC 4035
// section 5.3). Whether k is to be trusted is not asked, and what is made from
// a wildcard does not pass. The error is an [*Error].
func (s *Signatures) Verify(zone string, rrs []dns.RR, sig *dns.RRSIG, k *dns.DNSKEY, now time.Time) error {
	if len(rrs) == 0 || len(rrs) > maxRecords {
		return fail(zone, sig.TypeCovered, CheckLimit, limitRule, "an RRset of %d records, not 1 to %d", len(rrs), maxRecords)
	}
	zone = dns.CanonicalName(zone)
	set := &rrset{name: dns.CanonicalName(rrs[0].Header().Name), rrtype: rrs[0].Header().Rrtype}
	refuse := func(check Check, section, detail string) error {
		return fail(set.name, set.rrtype, check, section, "RRSIG by %s key %d: "+detail, sig.SignerName, sig.KeyTag).by(sig.SignerName, sig.KeyTag)
	}
	switch {
	case dns.CanonicalName(sig.SignerName) != zone || !dns.IsSubDomain(zone, set.name):
		return refuse(CheckSigned, sigRules, "the signer is not the zone")
	case int(sig.Labels) != dns.CountLabel(set.name):
		return refuse(CheckSigned, sigRules, "made for another name, or from a wildcard")
	case dns.CanonicalName(k.Hdr.Name) != zone:
		return refuse(CheckKey, sigRules, "the key is another zone's")
	}
	if err := checkPeriod(sig, set, now); err != nil {
		return err
	}
	if fault := keyFault(k); fault != "" {
		return refuse(CheckKey, keyRules, "the key "+fault)
	}
	if !SupportedAlgorithm(k.Algorithm) || !supportedSize(k) {
		return refuse(CheckAlgorithm, "RFC 4035 section 5.2", "the key is of an algorithm or size that is not supported")
	}
	if !s.Made(sig, k, rrs) {
		return refuse(CheckSignature, "RFC 4035 section 5.3.3", "does not verify")
	}
	return nil
}
