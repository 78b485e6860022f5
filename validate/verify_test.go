package validate

import (
	"encoding/base64"
	"errors"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
)

func TestVerifyTakesWhatOneKeySignedOnly(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	l := lab.New(t, at)
	k := lab.NewKey("example.org.", dns.ECDSAP256SHA256, 256, "")
	z := l.Add(lab.Zone{Name: "example.org.", Keys: []*lab.Key{k}, Records: "www A 192.0.2.1\n*.w A 192.0.2.2\n"})
	answer := func(name string) (rrs []dns.RR, sig *dns.RRSIG) {
		for _, rr := range z.Answer(name, dns.TypeA).Answer {
			if s, ok := rr.(*dns.RRSIG); ok {
				sig = s
			} else {
				rrs = append(rrs, rr)
			}
		}
		return rrs, sig
	}
	rrs, sig := answer("www.example.org.")
	expanded, wildSig := answer("a.w.example.org.")
	neighbour := []dns.RR{dns.Copy(rrs[0])}
	neighbour[0].Header().Name = "www.badexample.org." // ends like the zone's name
	shouted := dns.Copy(sig).(*dns.RRSIG)
	shouted.SignerName = "EXAMPLE.org."
	rsa := lab.NewKey("example.org.", dns.RSASHA256, 256, "").PublicKey
	tiny := base64.StdEncoding.EncodeToString(append([]byte{1, 3, 0x80}, make([]byte, 63)...))
	longer := dns.Copy(sig).(*dns.RRSIG)
	longer.Expiration += 3600
	forged := []dns.RR{dns.Copy(rrs[0])}
	forged[0].(*dns.A).A[3]++
	edited := func(edit func(*dns.DNSKEY)) *dns.DNSKEY {
		other := dns.Copy(k.DNSKEY).(*dns.DNSKEY)
		edit(other)
		return other
	}
	seen := NewSignatures()
	if !seen.Made(sig, k.DNSKEY, rrs) || !seen.Made(wildSig, k.DNSKEY, expanded) {
		t.Fatal("Expected both signatures to be good")
	}
	for _, tc := range []struct {
		name  string
		zone  string
		rrs   []dns.RR
		sig   *dns.RRSIG
		key   *dns.DNSKEY
		at    time.Time
		check Check
	}{
		{"good", "Example.org.", rrs, sig, k.DNSKEY, at, ""},
		{"other data", "example.org.", forged, sig, k.DNSKEY, at, CheckSignature},
		{"other expiration", "example.org.", rrs, longer, k.DNSKEY, at, CheckSignature},
		{"other key", "example.org.", rrs, sig, lab.NewKey("example.org.", dns.ECDSAP256SHA256, 256, "other").DNSKEY, at, CheckSignature},
		{"other zone", "org.", rrs, sig, k.DNSKEY, at, CheckSigned},
		{"name outside the zone", "example.org.", neighbour, z.SignWith(k, neighbour), k.DNSKEY, at, CheckSigned},
		{"signer in capitals", "example.org.", rrs, shouted, k.DNSKEY, at, ""},
		{"other zone's key", "example.org.", rrs, sig, edited(func(k *dns.DNSKEY) { k.Hdr.Name = "ample.org." }), at, CheckKey},
		{"revoked", "example.org.", rrs, sig, edited(func(k *dns.DNSKEY) { k.Flags |= dns.REVOKE }), at, CheckKey},
		{"of no supported algorithm", "example.org.", rrs, sig, edited(func(k *dns.DNSKEY) { k.Algorithm = 5 }), at, CheckAlgorithm},
		{"of no supported algorithm, but a good size", "example.org.", rrs, sig, edited(func(k *dns.DNSKEY) { k.Algorithm, k.PublicKey = dns.RSASHA1, rsa }), at, CheckAlgorithm},
		{"of no supported size", "example.org.", rrs, sig, edited(func(k *dns.DNSKEY) { k.Algorithm, k.PublicKey = dns.RSASHA256, tiny }), at, CheckAlgorithm},
		{"wildcard", "example.org.", expanded, wildSig, k.DNSKEY, at, CheckSigned},
		{"too early", "example.org.", rrs, sig, k.DNSKEY, at.Add(-2 * time.Hour), CheckPeriod},
		{"too late", "example.org.", rrs, sig, k.DNSKEY, at.AddDate(0, 0, 15), CheckPeriod},
		{"no records", "example.org.", nil, sig, k.DNSKEY, at, CheckLimit},
	} {
		for name, s := range map[string]*Signatures{"new": NewSignatures(), "that knows others": seen} {
			err := s.Verify(tc.zone, tc.rrs, tc.sig, tc.key, tc.at)
			var why *Error
			if errors.As(err, &why); tc.check == "" && err != nil || tc.check != "" && (why == nil || why.Check != tc.check) {
				t.Errorf("%s, by signatures %s: expected check %q, got %v", tc.name, name, tc.check, err)
			}
		}
	}
}

// What was verified once is not verified again: a signature is a pure function of
// octets. TTLs and the order of the records are no part of it.
func TestSignaturesAreVerifiedOnce(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	k := lab.NewKey("example.org.", dns.ECDSAP256SHA256, 256, "")
	z := lab.New(t, at).Add(lab.Zone{Name: "example.org.", Keys: []*lab.Key{k}, Records: "www A 192.0.2.1\nwww A 192.0.2.2\n"})
	answer := z.Answer("www.example.org.", dns.TypeA).Answer
	rrs, sig := answer[:2], answer[2].(*dns.RRSIG)
	s := NewSignatures()
	if !s.Made(sig, k.DNSKEY, rrs) || len(s.good.young) != 1 {
		t.Fatalf("Expected a good signature to be remembered, got %d", len(s.good.young))
	}
	turned := []dns.RR{dns.Copy(rrs[1]), dns.Copy(rrs[0])}
	turned[0].Header().Ttl, turned[1].Header().Ttl = 7, 7
	if !s.Made(sig, k.DNSKEY, turned) || len(s.good.young) != 1 {
		t.Errorf("Expected the same signature to be known, got %d", len(s.good.young))
	}
	if s.Made(sig, k.DNSKEY, rrs[:1]) || len(s.good.young) != 1 {
		t.Errorf("Expected one that is not good not to be remembered, got %d", len(s.good.young))
	}
}
