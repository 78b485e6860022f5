package validate

import (
	"context"
	"time"

	"github.com/miekg/dns"
)

// Trusts says whether the anchors name the key.
func Trusts(a *Anchors, k *dns.DNSKEY) bool {
	t := a.zones[dns.CanonicalName(k.Hdr.Name)]
	return t != nil && (len(t.names(newKey(k))) > 0 || t.is(newKey(k)))
}

// Names returns the zones that have anchors.
func Names(a *Anchors) []string { return a.names() }

// SetSize limits the caches of a fresh Validator.
func SetSize(v *Validator, zones, signatures int) {
	v.zones, v.verified = newZoneCache(zones), NewFingerprints(signatures)
}

// Sizes returns how much the caches hold.
func Sizes(v *Validator) (zones, signatures int) {
	return len(v.zones.zones), len(v.verified.young) + len(v.verified.elder)
}

// ValidAt says whether a signature from inception to expiration is valid at now.
func ValidAt(inception, expiration uint32, now time.Time) bool {
	return checkPeriod(&dns.RRSIG{Inception: inception, Expiration: expiration}, &rrset{}, now) == nil
}

// Verifications returns how many signatures one look-up verified, for a message
// in hand.
func Verifications(ctx context.Context, v *Validator, m *dns.Msg, x Exchanger, name string, qtype uint16) int {
	s := v.Session(x)
	_, _ = s.Check(ctx, m, name, qtype)
	return s.budget.checks
}

// Below asks for a zone while another is being fetched.
func Below(v *Validator, x Exchanger, fetching, name string) error {
	w := v.Session(x).walk(context.Background())
	w.fetching = fetching
	_, err := w.zone(name)
	return err
}

// Cost returns what a session has cost so far.
func Cost(s *Session) int { return s.budget.cost }

// Clock returns the time as the Validator reads it.
func Clock(v *Validator) time.Time { return v.clock() }

// Leave leaves a session that much of what it may cost.
func Leave(s *Session, cost int) { s.budget.cost = maxCost - cost }

// VerifyCost returns what a verification with the key costs.
func VerifyCost(k *dns.DNSKEY) int { return verifyCost(k) }

// Forgetful returns a Validator that knows no zone, but the signatures that v
// found good, so that these cost nothing.
func Forgetful(v *Validator) *Validator {
	fresh := New(v.anchors, Options{Now: v.now})
	fresh.verified = v.verified
	return fresh
}

// ForgetSignatures has every signature be verified anew; the chain stays.
func ForgetSignatures(v *Validator) { v.verified = NewFingerprints(maxVerified) }

// Within says whether a canonical name is the zone or below it.
func Within(zone, name string) bool { return within(zone, name) }
