package validate_test

import (
	"encoding/base64"
	"errors"
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

// tinyKey returns a key of a size that nobody verifies with.
func tinyKey() *lab.Key {
	k := lab.NewKey("example.net.", dns.RSASHA256, 257, "")
	k.DNSKEY, k.Signer = dns.Copy(k.DNSKEY).(*dns.DNSKEY), nil
	k.PublicKey = base64.StdEncoding.EncodeToString(append([]byte{1, 3, 0x80}, make([]byte, 63)...))
	return k
}

// TestKeysOfAnUnsupportedSize has a zone with a key in DS that nobody can verify
// with. It is insecure only if the parent names no other.
func TestKeysOfAnUnsupportedSize(t *testing.T) {
	tiny := tinyKey()
	good := lab.NewKey("example.net.", dns.ECDSAP256SHA256, 257, "")
	gone := lab.NewKey("example.net.", dns.ECDSAP256SHA256, 257, "gone")
	tests := []struct {
		name string
		ds   []*lab.Key
		keys []*lab.Key
		want want
	}{
		{"alone", []*lab.Key{tiny}, []*lab.Key{tiny}, insecure(validate.CheckAlgorithm)},
		{"beside a good one", []*lab.Key{tiny, good}, []*lab.Key{tiny, good}, secure(net)},
		{"beside a good one that was taken away", []*lab.Key{tiny, good}, []*lab.Key{tiny}, bogus(validate.CheckKey)},
		{"beside a good one that is not in DS", []*lab.Key{tiny}, []*lab.Key{tiny, good}, insecure(validate.CheckAlgorithm)},
		{"that was taken away", []*lab.Key{tiny}, []*lab.Key{good}, bogus(validate.CheckKey)},
		{"beside a DS of no key", []*lab.Key{tiny, gone}, []*lab.Key{tiny}, bogus(validate.CheckKey)},
		{"beside a DS of no key, and a good one", []*lab.Key{tiny, gone, good}, []*lab.Key{tiny, good}, secure(net)},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			l := hierarchy(t)
			digests := ""
			for _, k := range tc.ds {
				digests += k.ToDS(dns.SHA256).String() + "\n"
			}
			l.Add(lab.Zone{Name: "net.", Records: digests})
			l.Add(lab.Zone{Name: "example.net.", Records: exampleNet, Keys: tc.keys})
			r, err := validator(t, l).Lookup(t.Context(), l, "ns1.example.net.", dns.TypeA)
			if err != nil || got(r) != tc.want {
				t.Errorf("Expected %+v, got %+v, %v, %v", tc.want, got(r), r.Reason, err)
			}
		})
	}
}

func TestAnAnchorOfAnUnsupportedSizeMakesAResolverUnfit(t *testing.T) {
	// What the anchor names is insecure. Not so if a key is an anchor beside it: that
	// may have been taken away.
	tiny := tinyKey()
	ds, key := tiny.ToDS(dns.SHA256).String()+"\n", lab.NewKey("example.net.", dns.ECDSAP256SHA256, 257, "gone").String()
	for _, tc := range []struct {
		name, anchors string
		want          want
	}{
		{"alone", ds, insecure(validate.CheckAlgorithm)},
		{"beside a key", ds + key, bogus(validate.CheckKey)},
	} {
		l := hierarchy(t)
		l.Add(lab.Zone{Name: "example.net.", Records: exampleNet, Keys: []*lab.Key{tiny}})
		v := validate.New(parsed(t, tc.anchors), validate.Options{Now: clock})
		if r, err := v.Lookup(t.Context(), l, "ns1.example.net.", dns.TypeA); err != nil || got(r) != tc.want {
			t.Errorf("%s: Expected %+v, got %+v, %v", tc.name, tc.want, r, err)
		}
		var e *validate.Error
		if err := v.ProbeAnchor(t.Context(), l); !errors.As(err, &e) || e.Check != tc.want.check {
			t.Errorf("%s: Expected check %q, got %v", tc.name, tc.want.check, err)
		}
	}
}

func TestCostsGrowWithTheKey(t *testing.T) {
	rsa := func(bits int, exponent ...byte) string {
		public := append(append([]byte{byte(len(exponent))}, exponent...), 0x80)
		return base64.StdEncoding.EncodeToString(append(public, make([]byte, bits/8-1)...))
	}
	last := 0
	for _, public := range []string{
		rsa(1024, 3), rsa(1024, 1, 0, 1), rsa(1024, 0x7f, 0xff, 0xff, 0xff), rsa(2048, 1, 0, 1), rsa(2048, 0x7f, 0xff, 0xff, 0xff),
		rsa(4096, 1, 0, 1), rsa(4096, 0x7f, 0xff, 0xff, 0xff),
	} {
		cost := validate.VerifyCost(&dns.DNSKEY{Algorithm: dns.RSASHA256, PublicKey: public})
		if cost <= last {
			t.Errorf("Expected more than %d, got %d", last, cost)
		}
		last = cost
	}
	for _, public := range []string{rsa(1016, 3), rsa(4104, 3), rsa(2048, 0x80, 0, 0, 1), ""} {
		if cost := validate.VerifyCost(&dns.DNSKEY{Algorithm: dns.RSASHA256, PublicKey: public}); cost != 0 {
			t.Errorf("Expected that the size is not supported, got %d", cost)
		}
	}
}
