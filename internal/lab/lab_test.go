package lab

import (
	"testing"
	"time"

	"github.com/miekg/dns"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const records = `
ns1       A     192.0.2.1
alias     CNAME ns1
outside   CNAME www.example.org.
*.wild    TXT   "wild"
a.b.deep  TXT   "below empty non-terminals"
lost      NS    ns1.lost
ns1.lost  A     192.0.2.2
moved     DNAME example.org.
`

func hierarchy(t *testing.T, denial Denial, algorithm uint8) *Lab {
	l := New(t, now)
	l.Add(Zone{Name: ".", Algorithm: algorithm})
	l.Add(Zone{Name: "net.", Algorithm: algorithm, Denial: NSEC3, OptOut: true})
	l.Add(Zone{Name: "org."})
	l.Add(Zone{Name: "example.org.", Records: "www TXT hello\n"})
	l.Add(Zone{Name: "example.net.", Algorithm: algorithm, Denial: denial, Salt: "AABB", Records: records})
	l.Add(Zone{Name: "unsigned.example.net.", Unsigned: true})
	return l
}

// verify checks every RRset of a section against the keys of the zone its
// RRSIG names.
func verify(t *testing.T, l *Lab, rrs []dns.RR) {
	t.Helper()
	for _, rr := range rrs {
		sig, ok := rr.(*dns.RRSIG)
		if !ok {
			continue
		}
		var set []dns.RR
		for _, other := range rrs {
			h := other.Header()
			if h.Name == sig.Hdr.Name && h.Rrtype == sig.TypeCovered {
				set = append(set, other)
			}
		}
		verified := false
		for _, k := range l.Zone(sig.SignerName).Keys {
			verified = verified || sig.Verify(k.DNSKEY, set) == nil
		}
		if !verified || !sig.ValidityPeriod(now) {
			t.Errorf("Expected a valid signature, got %v over %v", sig, set)
		}
	}
}

func TestEveryAnswerIsSigned(t *testing.T) {
	questions := []struct {
		name  string
		qtype uint16
		rcode int // with NSEC and NSEC3
		data  bool
	}{
		{"ns1.example.net.", dns.TypeA, dns.RcodeSuccess, true},
		{"NS1.Example.net.", dns.TypeTXT, dns.RcodeSuccess, false},
		{"x.wild.example.net.", dns.TypeTXT, dns.RcodeSuccess, true},
		{"x.wild.example.net.", dns.TypeA, dns.RcodeSuccess, false},
		{"b.deep.example.net.", dns.TypeA, dns.RcodeSuccess, false},
		{"none.example.net.", dns.TypeA, dns.RcodeNameError, false},
		{"outside.example.net.", dns.TypeTXT, dns.RcodeSuccess, true},
		{"www.moved.example.net.", dns.TypeTXT, dns.RcodeSuccess, true},
		{"example.net.", dns.TypeDNSKEY, dns.RcodeSuccess, true},
		{"example.net.", dns.TypeDS, dns.RcodeSuccess, true},
		{"unsigned.example.net.", dns.TypeDS, dns.RcodeSuccess, false},
		{"unsigned.example.net.", dns.TypeSOA, dns.RcodeSuccess, true},
		{"www.lost.example.net.", dns.TypeA, dns.RcodeServerFailure, false},
		{"lost.example.net.", dns.TypeDS, dns.RcodeSuccess, false},
	}
	for _, denial := range []Denial{NSEC, NSEC3, Compact, BlackLies} {
		for _, algorithm := range []uint8{dns.RSASHA256, dns.RSASHA512, dns.ECDSAP256SHA256, dns.ECDSAP384SHA384, dns.ED25519} {
			l := hierarchy(t, denial, algorithm)
			for _, q := range questions {
				m, err := l.Exchange(t.Context(), q.name, q.qtype, true)
				if err != nil {
					t.Fatal(err)
				}
				verify(t, l, m.Answer)
				verify(t, l, m.Ns)
				if denial < Compact && m.Rcode != q.rcode {
					t.Errorf("%s %d: Expected rcode %d, got %d", q.name, denial, q.rcode, m.Rcode)
				}
				if data := len(m.Answer) > 0; data != q.data {
					t.Errorf("%s %d: Expected data %t, got %t", q.name, denial, q.data, data)
				}
			}
		}
	}
}

func TestKeysAreTheSameInEveryRun(t *testing.T) {
	for algorithm, want := range map[uint8]uint16{dns.ED25519: 43541, dns.RSASHA256: 29912} {
		if got := NewKey("example.net.", algorithm, 257, "seed").KeyTag(); got != want {
			t.Errorf("Algorithm %d: expected key tag %d, got %d", algorithm, want, got)
		}
	}
}

func TestTamperedAnswersDoNotChangeTheZone(t *testing.T) {
	l := hierarchy(t, NSEC, dns.ED25519)
	l.Tamper("ns1.example.net.", dns.TypeA, Each(dns.TypeA, func(rr dns.RR) { rr.Header().Name = "forged." }))
	for range 2 {
		if _, err := l.Exchange(t.Context(), "ns1.example.net.", dns.TypeA, true); err != nil {
			t.Fatal(err)
		}
	}
	l.Untamper()
	m, err := l.Exchange(t.Context(), "ns1.example.net.", dns.TypeA, true)
	if err != nil || m.Answer[0].Header().Name != "ns1.example.net." {
		t.Errorf("Expected ns1.example.net., got %v, %v", m, err)
	}
	if got := len(l.Asked()); got != 3 {
		t.Errorf("Expected 3 questions, got %d", got)
	}
	l.Tamper("", 0, Timeout)
	if _, err := l.Exchange(t.Context(), "ns1.example.net.", dns.TypeA, true); err != ErrTimeout {
		t.Errorf("Expected %v, got %v", ErrTimeout, err)
	}
}

func TestSignedZoneHoldsAllThatAnswersAreMadeOf(t *testing.T) {
	for name, denial := range map[string]Denial{"NSEC": NSEC, "NSEC3": NSEC3} {
		t.Run(name, func(t *testing.T) {
			l := hierarchy(t, denial, dns.ECDSAP256SHA256)
			have := make(map[string]bool)
			for _, set := range l.Zone("example.net.").Signed() {
				verify(t, l, append(set.RRs, set.Sigs...))
				delegation := set.Name() == "lost.example.net." || set.Name() == "unsigned.example.net."
				glue := set.Name() == "ns1.lost.example.net."
				if signed := len(set.Sigs) > 0; signed == (glue || delegation && set.Type() == dns.TypeNS) {
					t.Errorf("%s %s: signed: %t", set.Name(), dns.Type(set.Type()), signed)
				}
				for _, rr := range set.RRs {
					have[rr.String()] = true
				}
			}
			for _, q := range []dns.Question{
				{Name: "ns1.example.net.", Qtype: dns.TypeA},
				{Name: "ns1.example.net.", Qtype: dns.TypeTXT},
				{Name: "none.example.net.", Qtype: dns.TypeA},
				{Name: "unsigned.example.net.", Qtype: dns.TypeDS},
			} {
				m := l.Zone("example.net.").Answer(q.Name, q.Qtype)
				for _, rr := range append(m.Answer, m.Ns...) {
					if rr.Header().Rrtype != dns.TypeRRSIG && !have[rr.String()] {
						t.Errorf("Expected the zone to have %v", rr)
					}
				}
			}
		})
	}
}
