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
