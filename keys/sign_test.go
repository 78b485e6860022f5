package keys

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestSignMakesOneRRSIGForEachSigner(t *testing.T) {
	const zone = "example.co.uk."
	inception, expiration := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 1, 15, 0, 0, 0, 0, time.UTC)
	var ks []*Key
	for _, algorithm := range supported {
		ks = append(ks, generate(t, zone, algorithm, 257))
	}
	rrs := []dns.RR{ks[0].DNSKEY, ks[2].DNSKEY}
	before := []string{rrs[0].String(), rrs[1].String()}
	sigs, err := Sign(rrs, ks, inception, expiration)
	if err != nil || len(sigs) != len(ks) {
		t.Fatalf("Expected %d signatures, got %d, %v", len(ks), len(sigs), err)
	}
	for i, sig := range sigs {
		if sig.SignerName != zone || sig.Labels != 3 || sig.OrigTtl != 3600 || sig.Hdr.Ttl != 3600 || sig.KeyTag != ks[i].Tag() || sig.Hdr.Name != zone {
			t.Errorf("Expected signer, labels, TTLs, tag and owner of the RRset, got %s", sig)
		}
		if !sig.ValidityPeriod(inception) || !sig.ValidityPeriod(expiration) || sig.ValidityPeriod(expiration.Add(time.Second)) || sig.ValidityPeriod(inception.Add(-time.Second)) {
			t.Errorf("Expected validity from inception to expiration, got %s", sig)
		}
		if err := sig.Verify(ks[i].DNSKEY, rrs); err != nil {
			t.Errorf("%s: %v", ks[i], err)
		}
	}
	if after := []string{rrs[0].String(), rrs[1].String()}; !slices.Equal(before, after) {
		t.Errorf("Expected the records to stay as they were, got %v", after)
	}
}

func TestSignHandlesOddNamesAsRFC4034Does(t *testing.T) {
	k := generate(t, "example.co.uk.", dns.ED25519, 256)
	for _, tc := range []struct {
		owner, wire string // as given and as it comes back from the wire
		labels      uint8
	}{
		{"*.example.co.uk.", "*.example.co.uk.", 3},
		{`\*.example.co.uk.`, "*.example.co.uk.", 3},
		{`\042.example.co.uk.`, "*.example.co.uk.", 3},
		{"*a.example.co.uk.", "*a.example.co.uk.", 4},
		{`\*a.example.co.uk.`, "*a.example.co.uk.", 4},
		{`\.a.Example.co.uk.`, `\.a.Example.co.uk.`, 4},
		{"\xff\xc3\xa9.example.co.uk.", `\255\195\169.example.co.uk.`, 4},
		{"a.*.example.co.uk.", "a.*.example.co.uk.", 5},
	} {
		rr := &dns.TXT{Hdr: dns.RR_Header{Name: tc.owner, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 300}, Txt: []string{"x"}}
		sigs, err := Sign([]dns.RR{rr}, []*Key{k}, time.Unix(0, 0), time.Unix(1000, 0))
		if err != nil {
			t.Errorf("%s: %v", tc.owner, err)
			continue
		}
		if sigs[0].Labels != tc.labels || sigs[0].Hdr.Name != tc.owner {
			t.Errorf("%s: expected %d labels and the owner as given, got %s", tc.owner, tc.labels, sigs[0])
		}
		sigs[0].Hdr.Name, rr.Hdr.Name = tc.wire, tc.wire
		if err := sigs[0].Verify(k.DNSKEY, []dns.RR{rr}); err != nil {
			t.Errorf("%s: %v", tc.owner, err)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	k := generate(t, "example.co.uk.", dns.ED25519, 256)
	public := &Key{DNSKEY: k.DNSKEY}
	txt := func(owner string) dns.RR {
		return &dns.TXT{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 300}, Txt: []string{"x"}}
	}
	for _, tc := range []struct {
		name   string
		rrs    []dns.RR
		signer *Key
		say    string
	}{
		{"no records", nil, k, "no records"},
		{"two owners", []dns.RR{txt("a.example.co.uk."), txt("b.example.co.uk.")}, k, "not one RRset"},
		{"another zone", []dns.RR{txt("ample.co.uk.")}, k, "not in the zone"},
		{"public only", []dns.RR{txt("example.co.uk.")}, public, "only the public half"},
		{"a relative name", []dns.RR{txt("example.co.uk")}, k, "relative"},
		{"no name", []dns.RR{txt("")}, k, "relative"},
		{"a long label", []dns.RR{txt("*" + strings.Repeat("a", 64) + ".example.co.uk.")}, k, "not a domain name"},
	} {
		if _, err := Sign(tc.rrs, []*Key{tc.signer}, time.Unix(0, 0), time.Unix(1000, 0)); err == nil || !strings.Contains(err.Error(), tc.say) {
			t.Errorf("%s: expected an error with %q, got %v", tc.name, tc.say, err)
		}
	}
}

// miekg/dns counts labels modulo 256, and would sign another name: a wildcard.
func TestSignRefusesWhatIsNoName(t *testing.T) {
	k := generate(t, ".", dns.ED25519, dns.ZONE)
	for _, owner := range []string{strings.Repeat(".", 256) + " .", strings.Repeat("a.", 257), strings.Repeat("a", 64) + ".", "a..", "a", "", `ϸ\\\.`, `Ψ\.`} {
		rr := &dns.TXT{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{"x"}}
		if sigs, err := Sign([]dns.RR{rr}, []*Key{k}, time.Unix(0, 0), time.Unix(1000, 0)); err == nil {
			t.Errorf("Expected no signature at %.20q, got %v", owner, sigs)
		}
	}
}
