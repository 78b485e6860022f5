package serve

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestLongestNamesAreDenied(t *testing.T) {
	f := newFixture(t, false, zone)
	w := f.world()
	fill := strings.Repeat(strings.Repeat("x", 63)+".", 3)
	for n := 29; n <= 35; n++ {
		name := strings.Repeat("y", n) + "." + fill + domain
		if fits(name) {
			f.check(t, w, question(name, dns.TypeCDS, true, true))
		} else if n <= 34 {
			t.Fatalf("Expected %q to be a name", name)
		}
	}
}

func TestCompactDenialNeedsTheSOA(t *testing.T) {
	f := newFixture(t, false, zone)
	broken := errors.New("broken")
	for _, tc := range []struct {
		name string
		soa  func() ([]dns.RR, error)
		want error
	}{
		{"no function", nil, errNoSOA},
		{"an error", func() ([]dns.RR, error) { return nil, broken }, broken},
		{"nothing", func() ([]dns.RR, error) { return nil, nil }, errNoSOA},
		{"signatures alone", func() ([]dns.RR, error) { return f.soa[1:], nil }, errNoSOA},
	} {
		for _, do := range []bool{true, false} {
			if m, err := f.view.Reply(question("x."+domain, dns.TypeA, do, false), f.online, tc.soa, now); !errors.Is(err, tc.want) {
				t.Errorf("%s: expected %v, got %v and\n%v", tc.name, tc.want, err, m)
			}
		}
		// What is there needs none.
		if _, err := f.view.Reply(question("_multi."+zone+domain, dns.TypeCDS, true, false), nil, tc.soa, now); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func TestSOAOfTheChainIsNotChanged(t *testing.T) {
	f := newFixture(t, false, zone)
	before := []string{f.soa[0].String(), f.soa[1].String()}
	m := f.reply(t, question("x."+domain, dns.TypeA, true, false))
	for _, rr := range m.Ns {
		if rr.Header().Rrtype == dns.TypeSOA && rr.Header().Ttl != 300 {
			t.Errorf("Expected a SOA of 300 seconds, got %v", rr)
		}
	}
	spoil(m)
	if got := []string{f.soa[0].String(), f.soa[1].String()}; !slices.Equal(got, before) {
		t.Errorf("Expected the chain's records as they were, got %v", got)
	}
}

func TestDenialPastTheBudgetFailsOnlyWithDO(t *testing.T) {
	f := newFixture(t, false, zone)
	f.online = NewOnline(10, 1)
	first := question("a."+domain, dns.TypeA, true, false)
	f.reply(t, first)
	if m, err := f.view.Reply(question("b."+domain, dns.TypeA, true, false), f.online, f.askSOA, now); !errors.Is(err, ErrBudget) {
		t.Errorf("Expected ErrBudget, got %v and\n%v", err, m)
	}
	w := f.world()
	f.check(t, w, first) // kept
	f.check(t, w, question("b."+domain, dns.TypeA, false, false))
	f.check(t, w, question("_multi."+zone+domain, dns.TypeCDS, true, false))
}

func TestDenialIsSignedOnceHoweverItIsSpelt(t *testing.T) {
	f := newFixture(t, false, zone)
	f.spent()
	w := f.world()
	for _, name := range []string{"x." + domain, "X." + domain, "x." + strings.ToUpper(domain)} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeCDS, dns.TypeNSEC} {
			f.check(t, w, question(name, qtype, true, false))
		}
	}
	if got := f.spent(); got != 1 {
		t.Errorf("Expected one signature, got %d", got)
	}
}

func TestDenialLastsNoLongerThanTheSOA(t *testing.T) {
	for _, tc := range []struct{ ttl, minimum, want uint32 }{{3600, 3600, 300}, {60, 120, 60}, {120, 60, 60}} {
		f := newFixture(t, false, zone)
		soa := dns.Copy(f.soa[0]).(*dns.SOA)
		soa.Hdr.Ttl, soa.Minttl = tc.ttl, tc.minimum
		f.soa = []dns.RR{soa, f.soa[1]}
		f.renewSOA(t)
		f.check(t, f.world(), question("x."+domain, dns.TypeA, true, false))
		for _, rr := range f.reply(t, question("x."+domain, dns.TypeA, true, false)).Ns {
			if rr.Header().Rrtype == dns.TypeNSEC && rr.Header().Ttl != tc.want {
				t.Errorf("Expected %d seconds, got %v", tc.want, rr)
			}
		}
	}
}

func TestUnsignedSOAIsServedUnsigned(t *testing.T) {
	f := newFixture(t, false, zone)
	f.soa = f.soa[:1]
	m := f.reply(t, question("x."+domain, dns.TypeA, true, false))
	if len(m.Ns) != 3 {
		t.Errorf("Expected SOA, NSEC and RRSIG, got\n%v", m)
	}
}
