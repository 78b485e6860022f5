package fetch

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	mathrand "math/rand/v2"
	"testing"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/merge"
)

func TestCheckRSA(t *testing.T) {
	modulus := func(bits int) []byte {
		n := make([]byte, bits/8)
		n[0], n[len(n)-1] = 0x80, 1
		return n
	}
	key := func(exponent []byte, n []byte) []byte {
		return append(append([]byte{byte(len(exponent))}, exponent...), n...)
	}
	e := []byte{1, 0, 1}
	long := append([]byte{0, 0, 3}, append(e, modulus(2048)...)...)
	even := modulus(2048)
	even[len(even)-1] = 0
	tests := []struct {
		name   string
		octets []byte
		ok     bool
	}{
		{"1024 bits", key(e, modulus(1024)), true},
		{"4096 bits", key(e, modulus(4096)), true},
		{"exponent length in three octets", long, true},
		{"exponent 3", key([]byte{3}, modulus(2048)), true},
		{"1016 bits", key(e, modulus(1016)), false},
		{"4104 bits", key(e, modulus(4104)), false},
		{"1023 bits", key(e, append([]byte{0x7f}, modulus(1016)...)), false},
		{"leading zero in the modulus", key(e, append([]byte{0}, modulus(2048)...)), false},
		{"leading zero in the exponent", key([]byte{0, 1, 0, 1}, modulus(2048)), false},
		{"even modulus", key(e, even), false},
		{"even exponent", key([]byte{4}, modulus(2048)), false},
		{"exponent 1", key([]byte{1}, modulus(2048)), false},
		{"exponent of 33 bits", key([]byte{1, 0, 0, 0, 1}, modulus(2048)), false},
		{"no exponent", append([]byte{0, 0, 0}, modulus(2048)...), false},
		{"exponent beyond the end", []byte{200, 1, 0, 1}, false},
		{"nothing", nil, false},
	}
	for _, tc := range tests {
		if fault := checkRSA(tc.octets); (fault == "") != tc.ok {
			t.Errorf("%s: Expected ok %t, got %q", tc.name, tc.ok, fault)
		}
	}
}

// TestCheckEdwards holds the decoding of Ed25519 keys against what the standard
// library makes of them: it verifies nothing with what is no point.
func TestCheckEdwards(t *testing.T) {
	public := func(edit func(p []byte)) []byte {
		p := ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)
		edit(p)
		return p
	}
	little := func(first byte, rest byte, last byte) []byte {
		p := bytes.Repeat([]byte{rest}, 32)
		p[0], p[31] = first, last
		return p
	}
	for _, tc := range []struct {
		name string
		p    []byte
		ok   bool
	}{
		{"a key", public(func([]byte) {}), true},
		{"the same with the other sign", public(func(p []byte) { p[31] ^= 0x80 }), true},
		{"short", make([]byte, 31), false},
		{"long", make([]byte, 33), false},
		{"y = 2, no point", little(2, 0, 0), false},
		{"y = 1, x = 0", little(1, 0, 0), true},
		{"y = 1, x = -0", little(1, 0, 0x80), false},
		{"y = p + 1", little(0xee, 0xff, 0x7f), false},
		{"y = p", little(0xed, 0xff, 0x7f), false},
	} {
		if fault := checkEdwards(tc.p); (fault == "") != tc.ok {
			t.Errorf("%s: Expected ok %t, got %q", tc.name, tc.ok, fault)
		}
	}

	seed := mathrand.Uint64()
	t.Logf("seed %d", seed)
	r := mathrand.New(mathrand.NewPCG(seed, 0))
	points, p := 0, make([]byte, ed25519.PublicKeySize)
	for range 500 {
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		// The library names what it stumbles over first: the key, if it is none.
		err := ed25519.VerifyWithOptions(p, nil, make([]byte, ed25519.SignatureSize), &ed25519.Options{})
		if ok := err.Error() == "ed25519: invalid signature"; ok != (checkEdwards(p) == "") {
			t.Errorf("% x: Expected a point %t, got %q", p, ok, checkEdwards(p))
		} else if ok {
			points++
		}
	}
	if points < 150 || points > 350 {
		t.Errorf("Expected that about half are points, got %d", points)
	}
}

// BenchmarkCheckUnit is the worst that the rules on three RRsets can cost: all
// keys of one algorithm and tag, all digests theirs.
func BenchmarkCheckUnit(b *testing.B) {
	var a merge.Announcement
	for i := range MaxKeys {
		k := merge.Key{Flags: 257, Protocol: 3, Algorithm: dns.RSASHA512, PublicKey: rsaKey(maxRSA)}
		octets, _ := base64.StdEncoding.DecodeString(k.PublicKey)
		octets[10+2*i], octets[12+2*i] = 0xa4, 0xa6
		k.PublicKey = base64Of(octets)
		a.DNSKEY, a.CDNSKEY = append(a.DNSKEY, k), append(a.CDNSKEY, k)
		for _, digestType := range []uint8{dns.SHA1, dns.SHA256, dns.SHA384} {
			d, _ := k.DS(zone, digestType)
			a.CDS = append(a.CDS, d)
		}
	}
	for b.Loop() {
		if err := checkUnit(zone, owner, a); err != nil {
			b.Fatal(err)
		}
	}
}

func TestAWeakDigestIsNotEnoughBesideATwinsStrongOne(t *testing.T) {
	octets := append([]byte{3, 1, 0, 1, 0x80}, make([]byte, 127)...)
	octets[len(octets)-1] = 1
	key := func(first, second byte) merge.Key { // two words, whose order does not change the tag
		octets[10], octets[12] = first, second
		return merge.Key{Flags: 257, Protocol: 3, Algorithm: dns.RSASHA256, PublicKey: base64.StdEncoding.EncodeToString(octets)}
	}
	a, b := key(7, 9), key(9, 7)
	if a == b || a.Tag() != b.Tag() {
		t.Fatalf("Expected twins, got %v and %v", a, b)
	}
	digest := func(k merge.Key, digestType uint8) merge.DS { d, _ := k.DS(zone, digestType); return d }
	for _, tc := range []struct {
		ofA  uint8
		fits bool
	}{{dns.SHA256, true}, {dns.SHA1, false}} {
		why := mismatch(zone, []merge.Key{a, b}, []merge.DS{digest(a, tc.ofA), digest(b, dns.SHA256)})
		if (why == "") != tc.fits {
			t.Errorf("Digest of type %d: Expected that it fits: %t, got %q", tc.ofA, tc.fits, why)
		}
	}
}

// FuzzPolicy holds that whatever passes the rules is an announcement that can
// be served: every key usable, every digest strong or superfluous.
func FuzzPolicy(f *testing.F) {
	add := func(rrs ...dns.RR) {
		m := &dns.Msg{Answer: rrs}
		p, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p)
	}
	k := merge.KeyOf(ksk.DNSKEY)
	d, _ := k.DS(zone, dns.SHA256)
	z := merge.KeyOf(zsk.DNSKEY)
	add(z.DNSKEY(owner, 60), k.CDNSKEY(owner, 60), d.CDS(owner, 60))
	add(z.DNSKEY(owner, 60), deleteKey.CDNSKEY(owner, 60), deleteDS.CDS(owner, 60))
	add(k.DNSKEY(owner, 60), d.CDS(owner, 60))

	f.Fuzz(func(t *testing.T, p []byte) {
		m := new(dns.Msg)
		if m.Unpack(p) != nil {
			return
		}
		var a merge.Announcement
		for _, qtype := range types {
			var rrs []dns.RR
			for _, rr := range m.Answer {
				if rr.Header().Rrtype == qtype {
					rrs = append(rrs, rr)
				}
			}
			if checkRecords(owner, qtype, rrs) != nil {
				return
			}
			switch qtype {
			case dns.TypeDNSKEY:
				a.DNSKEY = keysOf(rrs)
			case dns.TypeCDNSKEY:
				a.CDNSKEY = keysOf(rrs)
			case dns.TypeCDS:
				a.CDS = digestsOf(rrs)
			}
		}
		if checkUnit(zone, owner, a) != nil {
			return
		}
		if len(a.DNSKEY) == 0 || len(a.CDNSKEY)+len(a.CDS) == 0 || len(a.DNSKEY) > MaxKeys {
			t.Errorf("Expected a complete announcement, got %v", a)
		}
		for _, k := range append(a.DNSKEY, a.CDNSKEY...) {
			if k.Flags&dns.ZONE == 0 || k.Flags&dns.REVOKE != 0 || k.Protocol != 3 || k.DNSKEY(zone, 0).ToDS(dns.SHA256) == nil {
				t.Errorf("Expected usable keys, got %v", k)
			}
		}
		for _, k := range a.CDNSKEY {
			if d, _ := k.DS(zone, dns.SHA256); len(a.CDS) > 0 && mismatch(zone, []merge.Key{k}, []merge.DS{d}) != "" {
				t.Errorf("Expected that a key fits its digest: %v", k)
			}
		}
	})
}
