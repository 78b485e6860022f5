package validate_test

import (
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

func TestCanonicalOrder(t *testing.T) {
	// RFC 4034 section 6.1, and escapes.
	order := []string{
		"example.", "a.example.", "yljkjljk.a.example.", "z.a.example.", "zabc.a.example.",
		"z.example.", `\001.z.example.`, "*.z.example.", `a\.b.z.example.`, `\200.z.example.`,
	}
	for i, a := range order {
		for j, b := range order {
			if got := validate.CompareNames(a, b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%s and %s: Expected the order of %d and %d, got %d", a, b, i, j, got)
			}
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
	good := m.Answer[1].(*dns.RRSIG)
	for i := range 200 {
		bad := *good
		bad.OrigTtl = uint32(i)
		m.Answer = append(m.Answer, &bad)
	}
	m.Answer = append(m.Answer[:1], m.Answer[2:]...)
	if got := validate.Verifications(v, m, l, "ns1.example.net.", dns.TypeA); got != bound {
		t.Errorf("Expected %d verifications, got %d", bound, got)
	}
}

func TestKeysOfOneTagAreBounded(t *testing.T) {
	// Two keys of the same tag: one is tried after the other.
	seen := map[uint16]*lab.Key{}
	var a, b *lab.Key
	for i := 0; b == nil; i++ {
		k := lab.NewKey("example.net.", dns.ED25519, 256, time.Duration(i).String())
		if a = seen[k.KeyTag()]; a != nil {
			b = k
		}
		seen[k.KeyTag()] = k
	}
	l := hierarchy(t)
	l.Add(lab.Zone{Name: "example.net.", Records: exampleNet, Keys: []*lab.Key{
		lab.NewKey("example.net.", dns.ED25519, 257, ""), a, b,
	}})
	z := l.Zone("example.net.")
	z.SignRRset = func(rrs []dns.RR) []dns.RR {
		if rrs[0].Header().Rrtype == dns.TypeDNSKEY {
			return z.Sign(rrs)
		}
		return []dns.RR{z.SignWith(b, rrs)}
	}
	r, err := validator(t, l).Lookup(t.Context(), l, "ns1.example.net.", dns.TypeA)
	if err != nil || got(r) != secure(net) {
		t.Errorf("Expected %+v, got %+v, %v", secure(net), r, err)
	}
}
