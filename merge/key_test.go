package merge

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// A key has one identity, and what is written as an encoder does is not decoded.
func TestKeyHasOneIdentity(t *testing.T) {
	for n := range 70 {
		octets := make([]byte, n)
		for i := range octets {
			octets[i] = byte(i*37 + n)
		}
		text := base64.StdEncoding.EncodeToString(octets)
		if !canonical(text) {
			t.Errorf("Expected %q to be taken for what an encoder writes", text)
		}
		if n == 0 {
			continue
		}
		spellings := []string{text[:1] + "\n" + text[1:]}
		if n%3 != 0 { // with bits set that no octet has
			at := strings.IndexByte(text, '=') - 1
			spellings = append(spellings, text[:at]+string(text[at]+1)+text[at+1:])
		}
		for _, other := range spellings {
			if canonical(other) {
				t.Errorf("Expected %q not to be taken for what an encoder writes", other)
			}
			if got := KeyOf(&dns.DNSKEY{PublicKey: other}).PublicKey; got != text {
				t.Errorf("Expected %q for %q, got %q", text, other, got)
			}
		}
	}
}

// Tags and digests are those of miekg/dns, which takes long for them.
func TestTagsAndDigestsAreTheUsualOnes(t *testing.T) {
	for n := range 700 {
		octets := make([]byte, n)
		for i := range octets {
			octets[i] = byte(i*91 + n*7)
		}
		k := Key{Flags: 256 + uint16(n%2), Protocol: 3, Algorithm: uint8(n % 17), PublicKey: base64.StdEncoding.EncodeToString(octets)}
		if got, want := k.Tag(), k.DNSKEY(".", 0).KeyTag(); got != want {
			t.Errorf("Expected tag %d of %d octets, got %d", want, n, got)
		}
		for _, zone := range []string{".", "example.org.", "EXAMPLE.org.", `a\.b.example.`} {
			for digestType := range uint8(6) {
				got, ok := k.DS(zone, digestType)
				want := k.DNSKEY(zone, 0).ToDS(digestType)
				if ok != (want != nil) || ok && got != DSOf(want) {
					t.Errorf("Expected %v for type %d of %d octets at %q, got %v", want, digestType, n, zone, got)
				}
			}
		}
	}
	bad := Key{Flags: 257, Protocol: 3, Algorithm: 13, PublicKey: "not base64!"}
	if _, ok := bad.DS("example.org.", dns.SHA256); ok || bad.Tag() != 0 {
		t.Error("Expected neither tag nor digest of a key that is none")
	}
	if _, ok := bad.DS(strings.Repeat("a", 70)+".", dns.SHA256); ok {
		t.Error("Expected no digest for a name that is none")
	}
}

// Names says what comparing with DS would say, without making that.
func TestNamesIsThatDS(t *testing.T) {
	k := Key{Flags: 257, Protocol: 3, Algorithm: 13, PublicKey: strings.Repeat("QUJD", 21) + "QQ=="}
	for _, digestType := range []uint8{dns.SHA1, dns.SHA256, dns.SHA384} {
		ds, ok := k.DS("Example.co.uk.", digestType)
		if !ok || !ds.Names("example.co.uk.", k) {
			t.Errorf("Expected a digest of type %d of the key, got %v, %v", digestType, ds, ok)
		}
		for what, change := range map[string]func(*DS){
			"tag":        func(d *DS) { d.KeyTag++ },
			"algorithm":  func(d *DS) { d.Algorithm++ },
			"type":       func(d *DS) { d.DigestType = 7 },
			"first":      func(d *DS) { d.Digest = "X" + d.Digest[1:] },
			"last":       func(d *DS) { d.Digest = d.Digest[:len(d.Digest)-1] + "x" },
			"shorter":    func(d *DS) { d.Digest = d.Digest[2:] },
			"longer":     func(d *DS) { d.Digest += "00" },
			"lower case": func(d *DS) { d.Digest = strings.ToLower(d.Digest) },
			"none":       func(d *DS) { d.Digest = "" },
		} {
			d := ds
			if change(&d); d != ds && d.Names("example.co.uk.", k) {
				t.Errorf("%s: expected it not to be the digest of type %d: %v", what, digestType, d)
			}
		}
		if ds.Names("example.org.", k) {
			t.Errorf("Expected another digest of type %d for another zone", digestType)
		}
	}
}
