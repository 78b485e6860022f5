package validate_test

import (
	"encoding/base64"
	"testing"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/validate"
)

// TestRSAExponents has a zone whose keys nobody can sign with: what can be
// verified with is bogus, what cannot is insecure, as its algorithm would be.
func TestRSAExponents(t *testing.T) {
	tests := []struct {
		name     string
		exponent []byte // with its length
		want     want
	}{
		{"3", []byte{1, 3}, bogus(validate.CheckSignature)},
		{"65537", []byte{3, 1, 0, 1}, bogus(validate.CheckSignature)},
		{"2^31-1", []byte{4, 0x7f, 0xff, 0xff, 0xff}, bogus(validate.CheckSignature)},
		{"2^31-1 with a long length", []byte{0, 0, 4, 0x7f, 0xff, 0xff, 0xff}, bogus(validate.CheckSignature)},
		{"2^31+1", []byte{4, 0x80, 0, 0, 1}, insecure(validate.CheckAlgorithm)},
		{"2^32+1", []byte{5, 1, 0, 0, 0, 1}, insecure(validate.CheckAlgorithm)},
		{"none", []byte{0, 0, 0}, insecure(validate.CheckAlgorithm)},
		{"leading zero", []byte{2, 0, 3}, insecure(validate.CheckAlgorithm)},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			k := lab.NewKey("example.net.", dns.RSASHA256, 257, "")
			k.DNSKEY = dns.Copy(k.DNSKEY).(*dns.DNSKEY)
			modulus := append([]byte{0x80}, make([]byte, 255)...)
			modulus[255] = 1
			k.PublicKey = base64.StdEncoding.EncodeToString(append(tc.exponent, modulus...))
			l := hierarchy(t)
			l.Add(lab.Zone{Name: "example.net.", Records: exampleNet, Keys: []*lab.Key{k}})
			r, err := validator(t, l).Lookup(t.Context(), l, "ns1.example.net.", dns.TypeA)
			if err != nil || got(r) != tc.want {
				t.Errorf("Expected %+v, got %+v, %v, %v", tc.want, got(r), r.Reason, err)
			}
		})
	}
}
