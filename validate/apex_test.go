package validate_test

import (
	"errors"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/validate"
)

func TestApexIsTheZoneThatHoldsTheName(t *testing.T) {
	tests := []struct{ name, want string }{
		{"_multi.example.co.uk." + signal, signal},
		{signal, signal},
		{"ns1.example.net.", "example.net."},
		{"no.such.name.example.org.", "example.org."},
		{"a.b.deep.compact.net.", "compact.net."},
		{"alias.example.net.", "example.net."},
		{"ns1.nosuch.net.", "net."},
		{".", "."},
		{"ns1.unsigned.net.", "unsigned.net."},
		{"ns1.signed.nods.uk.", "signed.nods.uk."},
		{"ns1.unsigned.example.net.", "unsigned.example.net."},
	}
	l := hierarchy(t)
	for _, tc := range tests {
		apex, err := validator(t, l).Session(l).Apex(t.Context(), tc.name)
		if err != nil || apex != tc.want {
			t.Errorf("%s: Expected %q, got %q, %v", tc.name, tc.want, apex, err)
		}
	}
}

func TestApexIsNotWhatSOAAloneSays(t *testing.T) {
	l := hierarchy(t)
	l.Tamper("", dns.TypeSOA, func(m *dns.Msg) *dns.Msg {
		m.Answer, m.Ns = nil, []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: "ns1.example.org.", Rrtype: dns.TypeSOA, Class: dns.ClassINET}}}
		return m
	})
	apex, err := validator(t, l).Session(l).Apex(t.Context(), "ns1.example.org.")
	var e *validate.Error
	if !errors.As(err, &e) || apex != "" {
		t.Errorf("Expected an error, got %q, %v", apex, err)
	}
}

func TestApexIsRememberedByTheTTLOfItsZone(t *testing.T) {
	l := hierarchy(t)
	later := now
	v := validate.New(anchors(t, l), validate.Options{Now: func() time.Time { return later }})
	for _, tc := range []struct {
		after time.Duration
		asked bool
	}{{0, true}, {59 * time.Minute, false}, {61 * time.Minute, true}} {
		later = now.Add(tc.after)
		l.Asked()
		if apex, err := v.Session(l).Apex(t.Context(), signal); err != nil || apex != signal {
			t.Fatalf("Expected %s, got %q, %v", signal, apex, err)
		}
		if asked := l.Asked(); (len(asked) > 0) != tc.asked {
			t.Errorf("After %s: Expected questions %t, got %v", tc.after, tc.asked, asked)
		}
	}
	l.Tamper(signal, dns.TypeSOA, lab.Timeout)
	later = now.Add(3 * time.Hour)
	if apex, err := v.Session(l).Apex(t.Context(), signal); err == nil {
		t.Errorf("Expected an error, got %q", apex)
	}
}

func TestASignerAboveAnUnsignedZoneIsNotItsApex(t *testing.T) {
	// The parent signs a name that an insecurely delegated zone holds: the look-up
	// alone cannot tell, the apex does.
	l := hierarchy(t)
	parent := l.Zone("example.net.")
	name := "ns1.unsigned.example.net."
	set := records(name + " 300 IN A 192.0.2.66")
	l.Tamper(name, dns.TypeA, lab.Replace(&dns.Msg{Answer: append(set, parent.Sign(set)...)}))
	s := validator(t, l).Session(l)
	r, err := s.Lookup(t.Context(), name, dns.TypeA)
	if err != nil || r.Status == validate.Insecure {
		t.Fatalf("Expected an answer, got %+v, %v", r, err)
	}
	apex, err := s.Apex(t.Context(), name)
	if err != nil || apex != "unsigned.example.net." || dns.IsSubDomain(apex, r.Signer) {
		t.Errorf("Expected unsigned.example.net., got %q, %v with an answer by %s", apex, err, r.Signer)
	}
}

func TestApexOfAZoneWhoseDelegationIsForgedIsAnError(t *testing.T) {
	l := hierarchy(t)
	l.Tamper("unsigned.example.net.", dns.TypeDS, lab.StripSignatures)
	var e *validate.Error
	if apex, err := validator(t, l).Session(l).Apex(t.Context(), "ns1.unsigned.example.net."); !errors.As(err, &e) {
		t.Errorf("Expected an error, got %q, %v", apex, err)
	}
}
