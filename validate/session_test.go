package validate_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/validate"
)

func TestASessionEndsAtItsQuestions(t *testing.T) {
	const bound = 96
	l := hierarchy(t)
	s := validator(t, l).Session(l)
	for i := range bound {
		if _, err := s.Exchange(t.Context(), ".", dns.TypeSOA, true); err != nil {
			t.Fatalf("question %d: Expected an answer, got %v", i, err)
		}
	}
	r, err := s.Lookup(t.Context(), ".", dns.TypeSOA)
	if err != nil || got(r) != bogus(validate.CheckLimit) {
		t.Errorf("Expected %+v, got %+v, %v", bogus(validate.CheckLimit), r, err)
	}
	if n := len(l.Asked()); n != bound {
		t.Errorf("Expected %d questions, got %d", bound, n)
	}
}

func TestASessionEndsAtItsOctetsAndRecords(t *testing.T) {
	for _, tc := range []struct {
		name            string
		records, octets int // of an answer
	}{{"many small records", 4600, 1}, {"some small records each time", 500, 1}, {"few large records", 1, 60000}} {
		t.Run(tc.name, func(t *testing.T) {
			l := hierarchy(t)
			l.Tamper(".", dns.TypeTXT, func(m *dns.Msg) *dns.Msg {
				for range tc.records {
					text := strings.Split(strings.Repeat(strings.Repeat("x", 250)+" ", tc.octets/251), " ")
					m.Extra = append(m.Extra, &dns.TXT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: text})
				}
				return m
			})
			s := validator(t, l).Session(l)
			for range 20 {
				if _, err := s.Exchange(t.Context(), ".", dns.TypeTXT, true); err != nil {
					return
				}
			}
			t.Error("Expected the session to end")
		})
	}
}

// wrapping is an Exchanger whose errors wrap a validator's.
type wrapping struct{}

func (wrapping) Exchange(_ context.Context, name string, qtype uint16, _ bool) (*dns.Msg, error) {
	return nil, fmt.Errorf("no resolver: %w", &validate.Error{Name: ".", Type: dns.TypeDNSKEY, Check: validate.CheckSigned})
}

func TestAnUnfitResolverMakesNothingBogus(t *testing.T) {
	l := hierarchy(t)
	var e *validate.Error
	r, err := validator(t, l).Lookup(t.Context(), wrapping{}, "ns1.example.net.", dns.TypeA)
	if !errors.As(err, &e) || r.Status != validate.Indeterminate {
		t.Errorf("Expected the resolver's error, got %+v, %v", r, err)
	}
	m := ask(t, l, "ns1.example.net.", dns.TypeA)
	r, err = validator(t, l).Session(wrapping{}).Check(t.Context(), m, "ns1.example.net.", dns.TypeA)
	if !errors.As(err, &e) || r.Status != validate.Indeterminate {
		t.Errorf("Expected the resolver's error, got %+v, %v", r, err)
	}
}

func TestADenialOfATypeIsDatedByTheSignatureOfItsName(t *testing.T) {
	tests := []struct {
		name  string
		qtype uint16
		want  string // owner of the RRSIG, "*" for any hash
	}{
		{"ns1.example.net.", dns.TypeTXT, "ns1.example.net."},
		{"ns1.example.org.", dns.TypeTXT, "*"},
		{"none.compact.net.", dns.TypeA, "none.compact.net."},
		{"ns1.lies.net.", dns.TypeTXT, "ns1.lies.net."},
		{"b.deep.example.org.", dns.TypeTXT, "*"},
		{"b.deep.example.net.", dns.TypeTXT, ""},
		{"none.example.net.", dns.TypeA, ""},
		{"none.example.org.", dns.TypeA, ""},
		{"x.wild.example.net.", dns.TypeA, ""},
	}
	l := hierarchy(t)
	for _, tc := range tests {
		r, err := validator(t, l).Lookup(t.Context(), l, tc.name, tc.qtype)
		if err != nil || !r.Denied || (r.Sig != nil) != (tc.want != "") {
			t.Errorf("%s: Expected a denial dated by %q, got %+v, %v", tc.name, tc.want, r, err)
		} else if r.Sig != nil && tc.want != "*" && r.Sig.Hdr.Name != tc.want {
			t.Errorf("%s: Expected a denial dated by %q, got %v", tc.name, tc.want, r.Sig)
		}
	}
}

func TestTheLookupsOfASessionShareWhatTheyMayCost(t *testing.T) {
	l := hierarchy(t)
	s := validator(t, l).Session(l)
	l.Tamper("", dns.TypeA, lab.EachSig(0, func(sig *dns.RRSIG) { sig.OrigTtl++ }))
	for range 200 {
		r, err := s.Lookup(t.Context(), "ns1.example.net.", dns.TypeA)
		if err != nil || r.Status != validate.Bogus {
			t.Fatalf("Expected bogus, got %+v, %v", r, err)
		}
		if got(r) == bogus(validate.CheckLimit) {
			return
		}
	}
	t.Errorf("Expected %+v", bogus(validate.CheckLimit))
}

func TestAnswersInHandCountForTheSessionToo(t *testing.T) {
	l := hierarchy(t)
	m := ask(t, l, "ns1.example.net.", dns.TypeA)
	m.Extra = nil
	for range 500 {
		m.Extra = append(m.Extra, m.Answer[0])
	}
	s := validator(t, l).Session(l)
	for range 20 {
		r, err := s.Check(t.Context(), m, "ns1.example.net.", dns.TypeA)
		if err == nil && got(r) == bogus(validate.CheckLimit) {
			return
		}
		if err != nil || got(r) != secure(net) {
			t.Fatalf("Expected %+v, got %+v, %v", secure(net), r, err)
		}
	}
	t.Error("Expected the session to end")
}

func TestAnRRsetIsPaidForThoughItsSignatureIsKnown(t *testing.T) {
	// To tell that it is known takes a hash of all the records.
	const records, name = 100, "many.example.net."
	l := hierarchy(t)
	text := ""
	for i := range records {
		text += fmt.Sprintf("many A 192.0.2.%d\n", i)
	}
	l.Add(lab.Zone{Name: net, Records: text})
	v := validator(t, l)
	if r, err := v.Lookup(t.Context(), l, name, dns.TypeA); err != nil || got(r) != secure(net) {
		t.Fatalf("Expected %+v, got %+v, %v", secure(net), r, err)
	}
	m := ask(t, l, name, dns.TypeA)
	check := func(s *validate.Session, want want) {
		t.Helper()
		if r, err := s.Check(t.Context(), m, name, dns.TypeA); err != nil || got(r) != want {
			t.Errorf("Expected %+v, got %+v, %v", want, r, err)
		}
	}
	s := v.Session(l)
	check(s, secure(net))
	cost := validate.Cost(s)
	if cost < 3*records { // one to read, two to hash
		t.Errorf("Expected a cost of %d at least, got %d", 3*records, cost)
	}
	validate.Leave(s, cost)
	check(s, secure(net))
	validate.Leave(s, cost-1)
	check(s, bogus(validate.CheckLimit))
}
