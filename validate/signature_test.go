package validate_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/validate"
)

func TestValidityIsSerialArithmetic(t *testing.T) {
	const wrap = 1 << 32
	at := func(sec int64) time.Time { return time.Unix(sec, 0) }
	tests := []struct {
		inception, expiration uint32
		now                   time.Time
		want                  bool
	}{
		{100, 200, at(150), true},
		{100, 200, at(100), true},
		{100, 200, at(200), true},
		{100, 200, at(99), false},
		{100, 200, at(201), false},
		{200, 100, at(150), false},
		{100, 200, at(wrap + 150), true},      // the next era
		{wrap - 100, 100, at(wrap), true},     // across the wrap
		{wrap - 100, 100, at(wrap - 1), true}, // in 2106
		{wrap - 100, 100, at(wrap + 101), false},
		{wrap - 100, 100, at(wrap - 101), false},
		{0, 1<<31 - 1, at(5), true},
		{0, 1<<31 + 1, at(5), false}, // longer than serials can tell
	}
	for _, tc := range tests {
		if got := validate.ValidAt(tc.inception, tc.expiration, tc.now); got != tc.want {
			t.Errorf("%d to %d at %d: Expected %t, got %t", tc.inception, tc.expiration, tc.now.Unix(), tc.want, got)
		}
	}
}

func TestSignaturesTimesKeysAreBounded(t *testing.T) {
	const bound = 16
	l := hierarchy(t)
	v := validator(t, l)
	if _, err := v.Lookup(t.Context(), l, "example.net.", dns.TypeSOA); err != nil {
		t.Fatal(err)
	}
	m := ask(t, l, "ns1.example.net.", dns.TypeA)
	m.Answer = append(m.Answer[:1], spoiled(m.Answer[1].(*dns.RRSIG), 200)...)
	if got := validate.Verifications(t.Context(), v, m, l, "ns1.example.net.", dns.TypeA); got != bound {
		t.Errorf("Expected %d verifications, got %d", bound, got)
	}
}

func TestTheTagOfTheKeyInDSIsNotEnough(t *testing.T) {
	honest, rogue := twins(257)
	l := hierarchy(t)
	l.Add(lab.Zone{Name: "example.net.", Records: exampleNet, Keys: []*lab.Key{honest}})
	m := ask(t, l, "example.net.", dns.TypeDS)
	l.Tamper("example.net.", dns.TypeDS, lab.Replace(m))
	l.Add(lab.Zone{Name: "example.net.", Records: exampleNet, Keys: []*lab.Key{rogue}})
	r, err := validator(t, l).Lookup(t.Context(), l, "ns1.example.net.", dns.TypeA)
	if err != nil || got(r) != bogus(validate.CheckKey) {
		t.Errorf("Expected %+v, got %+v, %v", bogus(validate.CheckKey), r, err)
	}
}

func TestAnAnchorIsTheKeyItself(t *testing.T) {
	// One of the same flags and algorithm, and even of the same tag, is not.
	honest, rogue := twins(257)
	for _, tc := range []struct {
		key  *lab.Key
		want want
	}{{honest, secure(net)}, {rogue, bogus(validate.CheckKey)}} {
		l := hierarchy(t)
		l.Add(lab.Zone{Name: "example.net.", Records: exampleNet, Keys: []*lab.Key{tc.key}})
		v := validate.New(parsed(t, honest.DNSKEY.String()), validate.Options{Now: clock})
		if r, err := v.Lookup(t.Context(), l, "ns1.example.net.", dns.TypeA); err != nil || got(r) != tc.want {
			t.Errorf("Expected %+v, got %+v, %v", tc.want, r, err)
		}
	}
}

func TestAnAnchorIsAKeyOfItsFlagsAndAlgorithm(t *testing.T) {
	key := lab.NewKey("example.net.", dns.RSASHA256, 257, "")
	for _, tc := range []struct {
		name string
		edit func(anchor *dns.DNSKEY)
		want want
	}{
		{"the same", func(*dns.DNSKEY) {}, secure(net)},
		{"other flags", func(anchor *dns.DNSKEY) { anchor.Flags = 256 }, bogus(validate.CheckKey)},
		{"another algorithm", func(anchor *dns.DNSKEY) { anchor.Algorithm = dns.RSASHA512 }, bogus(validate.CheckKey)},
	} {
		l := hierarchy(t)
		l.Add(lab.Zone{Name: "example.net.", Records: exampleNet, Keys: []*lab.Key{key}})
		anchor := *key.DNSKEY
		tc.edit(&anchor)
		v := validate.New(parsed(t, anchor.String()), validate.Options{Now: clock})
		if r, err := v.Lookup(t.Context(), l, "ns1.example.net.", dns.TypeA); err != nil || got(r) != tc.want {
			t.Errorf("%s: Expected %+v, got %+v, %v", tc.name, tc.want, r, err)
		}
	}
}

func TestASignatureThatOneKeyMadeSaysNothingOfItsTwin(t *testing.T) {
	// A key goes, and the one that follows has its tag.
	a, b := twins(256)
	ksk := lab.NewKey("example.net.", dns.ED25519, 257, "")
	l := hierarchy(t)
	l.Add(lab.Zone{Name: "example.net.", Records: exampleNet, Keys: []*lab.Key{ksk, a}})
	v := validator(t, l)
	expect := func(v *validate.Validator, want want) {
		t.Helper()
		if r, err := v.Lookup(t.Context(), l, "ns1.example.net.", dns.TypeA); err != nil || got(r) != want {
			t.Errorf("Expected %+v, got %+v, %v", want, r, err)
		}
	}
	expect(v, secure(net))
	l.Tamper("ns1.example.net.", dns.TypeA, lab.Replace(ask(t, l, "ns1.example.net.", dns.TypeA)))
	l.Add(lab.Zone{Name: "example.net.", Records: exampleNet, Keys: []*lab.Key{ksk, b}})
	expect(validate.Forgetful(v), bogus(validate.CheckSignature))
}

// twins returns two keys of one tag.
func twins(flags uint16) (a, b *lab.Key) {
	seen := map[uint16]*lab.Key{}
	for i := 0; ; i++ {
		b = lab.NewKey("example.net.", dns.ED25519, flags, strconv.Itoa(i))
		if a = seen[b.KeyTag()]; a != nil {
			return a, b
		}
		seen[b.KeyTag()] = b
	}
}

func TestKeysOfOneTagAreTriedOneAfterTheOther(t *testing.T) {
	const bound = 16
	a, b := twins(256)
	l := hierarchy(t)
	z := l.Add(lab.Zone{Name: "example.net.", Records: exampleNet, Keys: []*lab.Key{
		lab.NewKey("example.net.", dns.ED25519, 257, ""), a, b,
	}})
	z.SignRRset = func(rrs []dns.RR) []dns.RR {
		if rrs[0].Header().Rrtype == dns.TypeDNSKEY {
			return z.Sign(rrs)
		}
		return []dns.RR{z.SignWith(b, rrs)}
	}
	v := validator(t, l)
	r, err := v.Lookup(t.Context(), l, "ns1.example.net.", dns.TypeA)
	if err != nil || got(r) != secure(net) {
		t.Errorf("Expected %+v, got %+v, %v", secure(net), r, err)
	}

	m := ask(t, l, "ns1.example.net.", dns.TypeA)
	m.Answer = append(m.Answer[:1], spoiled(m.Answer[1].(*dns.RRSIG), bound)...)
	if got := validate.Verifications(t.Context(), v, m, l, "ns1.example.net.", dns.TypeA); got != bound {
		t.Errorf("Expected %d verifications, got %d", bound, got)
	}
}

func TestSignersOfADenialAreBounded(t *testing.T) {
	const bound, names = 2, 5
	l := hierarchy(t)
	name := strings.Repeat("a.", names) + net
	m := ask(t, l, name, dns.TypeA)
	m.Ns = nil
	for i := range names {
		set := records(strconv.Itoa(i) + "." + name + " 300 IN NSEC z." + net + " A")
		sig := l.Zone(net).Sign(set)[0].(*dns.RRSIG)
		sig.SignerName = name[2*i:]
		m.Ns = append(m.Ns, set[0], sig)
	}
	l.Tamper(name, dns.TypeA, lab.Replace(m))
	l.Asked()
	r, err := validator(t, l).Lookup(t.Context(), l, name, dns.TypeA)
	chains := 0
	for _, q := range l.Asked() {
		if q.Qtype == dns.TypeDS && strings.HasSuffix(q.Name, "a."+net) {
			chains++
		}
	}
	if err != nil || r.Status != validate.Bogus || chains != bound {
		t.Errorf("Expected bogus after the chains of %d signers, got %+v, %v after %d", bound, r, err, chains)
	}
}

// spoiled returns n RRSIGs like sig that do not verify.
func spoiled(sig *dns.RRSIG, n int) []dns.RR {
	var rrs []dns.RR
	for i := range n {
		bad := *sig
		bad.OrigTtl = uint32(i)
		rrs = append(rrs, &bad)
	}
	return rrs
}

func TestSignaturesOfALookupAreBounded(t *testing.T) {
	const bound = 12000 / 190 // what a session may cost, in signatures of P-256
	l := hierarchy(t)
	v := validator(t, l)
	if _, err := v.Lookup(t.Context(), l, "example.net.", dns.TypeSOA); err != nil {
		t.Fatal(err)
	}
	m := ask(t, l, "none.example.net.", dns.TypeA)
	m.Ns = nil
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		set := records(name + ".example.net. 300 IN NSEC z.example.net. A")
		m.Ns = append(append(m.Ns, set...), spoiled(l.Zone("example.net.").Sign(set)[0].(*dns.RRSIG), 16)...)
	}
	if got := validate.Verifications(t.Context(), v, m, l, "none.example.net.", dns.TypeA); got > bound || got < bound*3/4 {
		t.Errorf("Expected nearly %d verifications, got %d", bound, got)
	}
}

func TestDenialsOfALookupAreBounded(t *testing.T) {
	const bound = 8
	l := hierarchy(t)
	v := validator(t, l)
	if _, err := v.Lookup(t.Context(), l, "example.net.", dns.TypeSOA); err != nil {
		t.Fatal(err)
	}
	m := ask(t, l, "none.example.net.", dns.TypeA)
	m.Ns = nil
	for i := range 20 {
		set := records(strconv.Itoa(i) + ".example.net. 300 IN NSEC z.example.net. A")
		m.Ns = append(append(m.Ns, set...), l.Zone("example.net.").Sign(set)...)
	}
	if got := validate.Verifications(t.Context(), v, m, l, "none.example.net.", dns.TypeA); got != bound {
		t.Errorf("Expected %d verifications, got %d", bound, got)
	}
}

func TestSignersOfALookupAreBounded(t *testing.T) {
	const chain, bound = 5, 3 // DS of two signers, and the question
	l := hierarchy(t)
	v := validator(t, l)
	name := strings.Repeat("a.", 50) + "example.net."
	set := records(name + " 300 IN A 192.0.2.1")
	sig := l.Zone("example.net.").Sign(set)[0].(*dns.RRSIG)
	m := ask(t, l, name, dns.TypeA)
	m.Answer = set
	for i := range 50 {
		other := *sig
		other.SignerName = name[2*i:]
		m.Answer = append(m.Answer, &other)
	}
	l.Tamper(name, dns.TypeA, lab.Replace(m))
	l.Asked()
	r, err := v.Lookup(t.Context(), l, name, dns.TypeA)
	if got := len(l.Asked()); err != nil || r.Status != validate.Bogus || got > chain+bound {
		t.Errorf("Expected bogus after %d questions, got %+v, %v after %d", chain+bound, r, err, got)
	}
}
