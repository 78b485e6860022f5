package validate

import (
	"time"

	"github.com/miekg/dns"
)

// Trusts says whether the anchors name the key.
func Trusts(a *Anchors, k *dns.DNSKEY) bool {
	t := a.zones[dns.CanonicalName(k.Hdr.Name)]
	return t != nil && t.matches(key{k, k.KeyTag()})
}

// Names returns the zones that have anchors.
func Names(a *Anchors) []string { return a.names() }

// SetSize limits the caches of a fresh Validator.
func SetSize(v *Validator, zones, signatures int) {
	v.zones, v.verified = newZoneCache(zones), newSignatureCache(signatures)
}

// Sizes returns how much the caches hold.
func Sizes(v *Validator) (zones, signatures int) {
	return len(v.zones.zones), len(v.verified.young) + len(v.verified.elder)
}

// ValidAt says whether a signature from inception to expiration is valid at now.
func ValidAt(inception, expiration uint32, now time.Time) bool {
	w := &walk{now: now}
	return w.checkPeriod(&dns.RRSIG{Inception: inception, Expiration: expiration}, &rrset{}) == nil
}

// CompareNames is compareNames.
var CompareNames = compareNames

// Verifications returns how many signatures one look-up verified, for a message
// in hand.
func Verifications(v *Validator, m *dns.Msg, x Exchanger, name string, qtype uint16) int {
	w := v.walk(nil, x) //nolint:staticcheck // the lab's resolver is not asked
	_, _ = w.verdict(m, name, qtype)
	return w.checks
}
