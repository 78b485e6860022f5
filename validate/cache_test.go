package validate_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/validate"
)

func TestAThousandZonesOfOnePeerCostAThousandTimesThreeAnswers(t *testing.T) {
	l := hierarchy(t)
	v := validator(t, l)
	const zones, chain = 1000, 7 // DNSKEY of the root, DS and DNSKEY of three zones
	for i := range zones {
		for _, qtype := range []uint16{dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeDNSKEY} {
			r, err := v.Lookup(t.Context(), l, fmt.Sprintf("_multi.zone%d.%s", i, signal), qtype)
			if err != nil || got(r) != denied(signal) {
				t.Fatalf("Expected %+v, got %+v, %v", denied(signal), r, err)
			}
		}
	}
	if got := len(l.Asked()); got != 3*zones+chain {
		t.Errorf("Expected %d questions, got %d", 3*zones+chain, got)
	}
}

// What one Validator has verified, others know that share its Signatures, as after a
// reload.
func TestSharedSignaturesAreKnown(t *testing.T) {
	l, known := hierarchy(t), validate.NewSignatures()
	count := func(s *validate.Signatures) int {
		v := validate.New(anchors(t, l), validate.Options{Now: clock, Signatures: s})
		_, before := validate.Sizes(v)
		if r, err := v.Lookup(t.Context(), l, "ns1.example.net.", dns.TypeA); err != nil || r.Status != validate.Secure {
			t.Fatalf("Expected a secure answer, got %+v, %v", r, err)
		}
		return before
	}
	if n := count(known); n != 0 {
		t.Errorf("Expected no signature to be known at first, got %d", n)
	}
	if n := count(known); n < 5 {
		t.Errorf("Expected the second to know the signatures of the first, got %d", n)
	}
	if n := count(nil); n != 0 {
		t.Errorf("Expected one without to know none, got %d", n)
	}
}

func TestTheChainIsAskedAgainWhenItsTTLIsOver(t *testing.T) {
	tests := []struct {
		name  string
		setup func(*lab.Lab)
		qname string
		ttl   time.Duration
		again []string // questions after ttl
	}{
		{"TTL", func(*lab.Lab) {}, "ns1.example.net.", time.Hour,
			[]string{"ns1.example.net. A", "example.net. DS", "net. DS", ". DNSKEY", "net. DNSKEY", "example.net. DNSKEY"}},
		{"TTL of DNSKEY alone", func(l *lab.Lab) {
			l.Tamper("example.net.", dns.TypeDNSKEY, lab.Each(0, func(rr dns.RR) { rr.Header().Ttl = 5 }))
		}, "ns1.example.net.", 5 * time.Second, []string{"ns1.example.net. A", "example.net. DS", "example.net. DNSKEY"}},
		{"TTL of DS alone", func(l *lab.Lab) {
			l.Tamper("example.net.", dns.TypeDS, lab.Each(0, func(rr dns.RR) { rr.Header().Ttl = 5 }))
		}, "ns1.example.net.", 5 * time.Second, []string{"ns1.example.net. A", "example.net. DS", "example.net. DNSKEY"}},
		{"expiration of DNSKEY's signature", func(l *lab.Lab) {
			resign(l, "example.net.", dns.TypeDNSKEY, func(s *dns.RRSIG) {})
			z := l.Zone("example.net.")
			z.SignRRset = func(rrs []dns.RR) []dns.RR {
				if rrs[0].Header().Rrtype != dns.TypeDNSKEY {
					return z.Sign(rrs)
				}
				return []dns.RR{z.SignWith(z.Keys[0], rrs, func(s *dns.RRSIG) { s.Expiration = stamp(5 * time.Second) })}
			}
		}, "ns1.example.net.", 5 * time.Second, []string{"ns1.example.net. A", "example.net. DS", "example.net. DNSKEY"}},
		{"expiration of DS's signature", func(l *lab.Lab) {
			resign(l, "net.", dns.TypeDS, func(s *dns.RRSIG) { s.Expiration = stamp(5 * time.Second) })
		}, "ns1.example.net.", 5 * time.Second, []string{"ns1.example.net. A", "example.net. DS", "example.net. DNSKEY"}},
		{"expiration of the denial of DS", func(l *lab.Lab) {
			resign(l, "example.net.", dns.TypeNSEC, func(s *dns.RRSIG) { s.Expiration = stamp(5 * time.Second) })
		}, "ns1.unsigned.example.net.", 5 * time.Second,
			[]string{"ns1.unsigned.example.net. A", "ns1.unsigned.example.net. SOA", "unsigned.example.net. DS"}},
		{"TTL of keys of an unsupported size", unsupportedFor(dns.TypeDNSKEY, 5), "ns1.example.net.", 5 * time.Second,
			[]string{"ns1.example.net. A", "example.net. DS", "example.net. DNSKEY"}},
		{"TTL of DS of keys of an unsupported size", unsupportedFor(dns.TypeDS, 5), "ns1.example.net.", 5 * time.Second,
			[]string{"ns1.example.net. A", "example.net. DS", "example.net. DNSKEY"}},
		{"a day at most", func(l *lab.Lab) {
			z := l.Zone("example.net.")
			week := z.DS()[0]
			week.Header().Ttl = 7 * 86400
			for _, k := range z.Keys {
				k.Hdr.Ttl = 7 * 86400
			}
			l.Add(lab.Zone{Name: "net.", Records: week.String()})
		}, "ns1.example.net.", 24 * time.Hour,
			[]string{"ns1.example.net. A", "example.net. DS", "net. DS", ". DNSKEY", "net. DNSKEY", "example.net. DNSKEY"}},
		{"a day at most, where no digest is supported", func(l *lab.Lab) {
			week := l.Zone("example.net.").DS()[0].(*dns.DS)
			week.Hdr.Ttl, week.DigestType = 7*86400, 200
			l.Add(lab.Zone{Name: "net.", Records: week.String()})
		}, "ns1.example.net.", 24 * time.Hour,
			[]string{"ns1.example.net. A", "example.net. DS", "net. DS", ". DNSKEY", "net. DNSKEY"}},
		{"denial of DS", func(*lab.Lab) {}, "ns1.unsigned.example.net.", 300 * time.Second,
			[]string{"ns1.unsigned.example.net. A", "ns1.unsigned.example.net. SOA", "unsigned.example.net. DS"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			l := hierarchy(t)
			tc.setup(l)
			moment := now
			v := validate.New(anchors(t, l), validate.Options{Now: func() time.Time { return moment }})
			lookup := func() []dns.Question {
				l.Asked()
				if _, err := v.Lookup(t.Context(), l, tc.qname, dns.TypeA); err != nil {
					t.Fatal(err)
				}
				return l.Asked()
			}
			lookup()
			moment = now.Add(tc.ttl - time.Second)
			if got := lookup(); len(got) > 2 {
				t.Errorf("Expected the chain to be known, got %v", got)
			}
			moment = now.Add(tc.ttl)
			got := lookup()
			if len(got) != len(tc.again) {
				t.Fatalf("Expected %v, got %v", tc.again, got)
			}
			for i, q := range got {
				if s := q.Name + " " + dns.TypeToString[q.Qtype]; s != tc.again[i] {
					t.Errorf("Expected %s, got %s", tc.again[i], s)
				}
			}
		})
	}
}

// unsupportedFor gives example.net. a key of a size that is not supported, and its
// DNSKEY or DS RRset that TTL.
func unsupportedFor(qtype uint16, ttl uint32) func(*lab.Lab) {
	return func(l *lab.Lab) {
		k := lab.NewKey("example.net.", dns.RSASHA256, 257, "")
		k.DNSKEY = dns.Copy(k.DNSKEY).(*dns.DNSKEY)
		k.PublicKey = base64.StdEncoding.EncodeToString(append([]byte{3, 1, 0, 1, 0x80}, make([]byte, 63)...))
		l.Add(lab.Zone{Name: "example.net.", Records: exampleNet, Keys: []*lab.Key{k}})
		l.Tamper("example.net.", qtype, lab.Each(0, func(rr dns.RR) { rr.Header().Ttl = ttl }))
	}
}

func TestWhatIsBogusIsNotRemembered(t *testing.T) {
	l := hierarchy(t)
	v := validator(t, l)
	l.Tamper("example.net.", dns.TypeDNSKEY, lab.StripSignatures)
	if r, err := v.Lookup(t.Context(), l, "ns1.example.net.", dns.TypeA); err != nil || r.Status != validate.Bogus {
		t.Fatalf("Expected bogus, got %+v, %v", r, err)
	}
	l.Untamper()
	if r, err := v.Lookup(t.Context(), l, "ns1.example.net.", dns.TypeA); err != nil || got(r) != secure(net) {
		t.Errorf("Expected %+v, got %+v, %v", secure(net), r, err)
	}
}

func TestCachesAreBounded(t *testing.T) {
	const zones, signatures = 8, 20
	l := hierarchy(t)
	v := validator(t, l)
	validate.SetSize(v, zones, signatures)
	for i := range 30 {
		name := fmt.Sprintf("zone%d.uk.", i)
		l.Add(lab.Zone{Name: name})
		if r, err := v.Lookup(t.Context(), l, name, dns.TypeSOA); err != nil || got(r) != secure(name) {
			t.Fatalf("Expected %+v, got %+v, %v", secure(name), r, err)
		}
		if z, s := validate.Sizes(v); z > zones || s > signatures {
			t.Fatalf("Expected at most %d zones and %d signatures, got %d and %d", zones, signatures, z, s)
		}
	}
}

func TestTheSameOctetsAreVerifiedOnce(t *testing.T) {
	l := hierarchy(t)
	v := validator(t, l)
	m := ask(t, l, "ns1.example.net.", dns.TypeA)
	if r, err := v.Session(l).Check(t.Context(), m, "ns1.example.net.", dns.TypeA); err != nil || got(r) != secure(net) {
		t.Fatalf("Expected %+v, got %+v, %v", secure(net), r, err)
	}
	for _, rr := range m.Answer { // a minute later, from a resolver's cache
		rr.Header().Ttl -= 60
		rr.Header().Name = "NS1.example.net."
	}
	if got := validate.Verifications(t.Context(), v, m, l, "ns1.example.net.", dns.TypeA); got != 0 {
		t.Errorf("Expected no verification, got %d", got)
	}
	m.Answer[0].(*dns.A).A[3]++
	if got := validate.Verifications(t.Context(), v, m, l, "ns1.example.net.", dns.TypeA); got != 1 {
		t.Errorf("Expected a verification, got %d", got)
	}
}

func TestAChainLeadsUp(t *testing.T) {
	// Look-ups that wait for each other's zones must not do so in a circle.
	l := hierarchy(t)
	for name, want := range map[string]bool{"net.": true, ".": true, "example.net.": false, "ns1.example.net.": false, "example.org.": false} {
		if err := validate.Below(validator(t, l), l, "example.net.", name); (err == nil) != want {
			t.Errorf("%s: Expected it to be above example.net.: %t, got %v", name, want, err)
		}
	}
}

// slow is an Exchanger whose answers take a second.
type slow struct{ *lab.Lab }

func (s slow) Exchange(ctx context.Context, name string, qtype uint16, cd bool) (*dns.Msg, error) {
	select {
	case <-time.After(time.Second):
		return s.Lab.Exchange(ctx, name, qtype, cd)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestConcurrentLookupsShareTheChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := hierarchy(t)
		v := validator(t, l)
		var wg sync.WaitGroup
		const lookups, chain = 40, 5
		for range lookups {
			wg.Go(func() {
				if r, err := v.Lookup(t.Context(), slow{l}, "ns1.example.net.", dns.TypeA); err != nil || got(r) != secure(net) {
					t.Errorf("Expected %+v, got %+v, %v", secure(net), r, err)
				}
			})
		}
		wg.Wait()
		if got := len(l.Asked()); got != lookups+chain {
			t.Errorf("Expected %d questions, got %d", lookups+chain, got)
		}
	})
}

func TestALookupThatGivesUpDoesNotFailTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := hierarchy(t)
		v := validator(t, l)
		var wg sync.WaitGroup
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
			defer cancel()
			if r, err := v.Lookup(ctx, slow{l}, "ns1.example.net.", dns.TypeA); err == nil {
				t.Errorf("Expected an error, got %+v", r)
			}
		})
		wg.Go(func() {
			time.Sleep(100 * time.Millisecond) // the fake clock's
			if r, err := v.Lookup(t.Context(), slow{l}, "zz.example.net.", dns.TypeTXT); err != nil || got(r) != secure(net) {
				t.Errorf("Expected %+v, got %+v, %v", secure(net), r, err)
			}
		})
		wg.Wait()
	})
}

func TestAResolverThatLiesDoesNotFailOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		liar, honest := hierarchy(t), hierarchy(t)
		liar.Tamper("", dns.TypeDNSKEY, lab.StripSignatures)
		v := validator(t, honest)
		var wg sync.WaitGroup
		wg.Go(func() {
			if r, err := v.Lookup(t.Context(), slow{liar}, "ns1.example.net.", dns.TypeA); err != nil || r.Status != validate.Bogus {
				t.Errorf("Expected bogus, got %+v, %v", r, err)
			}
		})
		wg.Go(func() {
			time.Sleep(100 * time.Millisecond) // the fake clock's
			if r, err := v.Lookup(t.Context(), slow{honest}, "ns1.example.net.", dns.TypeA); err != nil || got(r) != secure(net) {
				t.Errorf("Expected %+v, got %+v, %v", secure(net), r, err)
			}
		})
		wg.Wait()
	})
}
