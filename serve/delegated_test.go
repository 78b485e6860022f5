package serve

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/merge"
)

func TestDelegatedZoneIsWhole(t *testing.T) {
	f := newFixture(t, true, zone, another)
	w := f.world()
	for _, qtype := range []uint16{dns.TypeSOA, dns.TypeNS, dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY} {
		m := f.reply(t, question(domain, qtype, true, false))
		if len(m.Answer) == 0 {
			t.Errorf("Expected %s at the apex, got\n%v", dns.Type(qtype), m)
		}
		f.check(t, w, question(domain, qtype, true, false))
	}
	// The chain, walked, is a circle through all names with data.
	seen := []string{}
	for name := domain; ; {
		m := f.reply(t, question(name, dns.TypeNSEC, true, false))
		seen = append(seen, name)
		if name = m.Answer[0].(*dns.NSEC).NextDomain; name == domain {
			break
		}
		if len(seen) > 3 {
			t.Fatalf("Expected a circle, got %v", seen)
		}
	}
	if want := []string{domain, "_multi." + another + domain, "_multi." + zone + domain}; !slices.Equal(seen, want) {
		t.Errorf("Expected %v, got %v", want, seen)
	}
}

func TestDSOfADelegatedZoneIsTheParents(t *testing.T) {
	f := newFixture(t, true, zone)
	r := question(strings.ToUpper(domain), dns.TypeDS, true, false)
	if m, err := f.view.Reply(r, nil, nil, now); !errors.Is(err, ErrNext) {
		t.Errorf("Expected ErrNext, got %v and\n%v", err, m)
	}
	if err := f.world().judge(t, r, f.view.DSDenial(r)); err != nil {
		t.Error(err)
	}
	r = question(domain, dns.TypeDS, false, false)
	if err := f.world().judge(t, r, f.view.DSDenial(r)); err != nil {
		t.Error(err)
	}
}

func TestDelegatedApexSaysWhichKeySetsItHas(t *testing.T) {
	f := newFixture(t, true, zone)
	f.joint.Unmatched = []merge.DS{{KeyTag: 1, Algorithm: 13, DigestType: 2, Digest: "00"}}
	f.apex = f.provider.sign(t, f.params, f.apex)
	f.build(t)
	w := f.world()
	f.check(t, w, question(domain, dns.TypeCDNSKEY, true, false))
	f.check(t, w, question(domain, dns.TypeNSEC, true, false))
}

func TestDelegatedApexFailsWithoutDenyingIt(t *testing.T) {
	f := newFixture(t, true, zone)
	f.apex = new(Apex)
	f.build(t)
	for _, qtype := range apexTypes {
		if m, err := f.view.Reply(question(domain, qtype, true, false), nil, nil, now); err == nil {
			t.Errorf("Expected an error for %s, got\n%v", dns.Type(qtype), m)
		}
	}
	m := f.reply(t, question(domain, dns.TypeA, true, false))
	for _, rr := range m.Ns {
		if nsec, ok := rr.(*dns.NSEC); ok {
			for _, qtype := range apexTypes {
				if !slices.Contains(nsec.TypeBitMap, qtype) {
					t.Errorf("Expected %s not to be denied, got %v", dns.Type(qtype), nsec)
				}
			}
		}
	}
	if view, err := BuildSubtree(f.config, nil, f.signers(), nil, f.params, nil); err == nil {
		t.Errorf("Expected an error without an apex, got %v", view)
	}
}

func TestDelegatedZoneWithoutAnnouncementsDeniesAll(t *testing.T) {
	f := newFixture(t, true)
	w := f.world()
	for _, name := range []string{domain, "a." + domain, `\255.` + domain, "_multi." + zone + domain, "*." + domain} {
		f.check(t, w, question(name, dns.TypeCDS, true, false))
	}
}

func TestHostmasterFitsIntoALongName(t *testing.T) {
	ns := strings.Repeat(strings.Repeat("x", 57)+".", 4) + strings.Repeat("y", 13) + "." // 247, and 255 with _signal
	for _, rrs := range apexRecords(SubtreeConfig{NS: ns}) {
		for _, rr := range rrs {
			wire(t, rr)
		}
	}
}
