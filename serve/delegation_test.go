package serve

import (
	"reflect"
	"slices"
	"testing"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/keys"
)

// delegated returns the view of p with d.
func (p *provider) delegated(t testing.TB, d Delegation, params Params, old *Apex) *Apex {
	t.Helper()
	a, err := p.sign(t, params, old).WithDelegation(d, p.signers(), params, old)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

var bothProviders = Delegation{NS: []string{"ns1.provider-b.org.", "ns1.provider-a.net."}, TTL: 7200, CSYNC: true}

func hosts(rrs []dns.RR) (names []string) {
	for _, rr := range rrs {
		if ns, ok := rr.(*dns.NS); ok {
			names = append(names, ns.Ns)
		}
	}
	return names
}

func TestApexServesTheDelegation(t *testing.T) {
	p := newProvider(t, zone)
	a := p.delegated(t, bothProviders, Params{TTL: 3600, Now: now}, nil)
	v := validator{zone: zone, now: now, by: func(string, uint16) []*keys.Key { return []*keys.Key{p.zsk} }}
	for qtype, want := range map[uint16][]string{
		dns.TypeNS:    {zone + "\t7200\tIN\tNS\tns1.provider-a.net.", zone + "\t7200\tIN\tNS\tns1.provider-b.org."},
		dns.TypeCSYNC: {zone + "\t3600\tIN\tCSYNC\t0 1 NS"},
	} {
		if !a.Answers(qtype) {
			t.Errorf("Expected %s to be answered", dns.Type(qtype))
		}
		m, answer := a.Reply(question(zone, qtype, true, false))
		if answer != Served || !m.Authoritative {
			t.Fatalf("Expected an authoritative answer to %s, got %d and\n%v", dns.Type(qtype), answer, m)
		}
		rrs, err := v.verify(overWire(t, m).Answer)
		if err != nil {
			t.Errorf("%s: %v", dns.Type(qtype), err)
		}
		var got []string
		for _, rr := range rrs {
			got = append(got, rr.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("Expected %q, got %q", want, got)
		}
		if m, _ = a.Reply(question(zone, qtype, false, false)); len(m.Answer) != len(want) {
			t.Errorf("Expected no signature without DO, got %v", m.Answer)
		}
	}
	if n := len(a.Signatures()); n != 7 {
		t.Errorf("Expected the signatures of NS and CSYNC among those to be stored, got %d", n)
	}
}

// The parent wants the same CSYNC record from every provider (RFC 9975).
func TestCSYNCIsTheSameAtEveryProvider(t *testing.T) {
	a, b := newProvider(t, zone), newProvider(t, zone)
	d := bothProviders
	first := a.delegated(t, d, Params{TTL: 3600, Now: now}, nil)
	d.NS = []string{d.NS[1], d.NS[0], d.NS[1]}
	second := b.delegated(t, d, Params{TTL: 3600, Now: now.Add(day)}, nil)
	sameWire(t, second.CSYNC.RRs(), first.CSYNC.RRs())
	sameWire(t, second.NS.RRs(), first.NS.RRs())

	d.NS = []string{"ns1.provider-a.net.", "ns." + zone}
	inside := a.delegated(t, d, Params{TTL: 3600, Now: now}, nil)
	if got := inside.CSYNC.RRs()[0].String(); got != zone+"\t3600\tIN\tCSYNC\t0 1 A NS AAAA" {
		t.Errorf("Expected the addresses of a nameserver in the zone to be followed, got %q", got)
	}
	overWire(t, &dns.Msg{Answer: inside.CSYNC.RRs()})
}

func TestWithoutDelegationAllIsTheChains(t *testing.T) {
	p := newProvider(t, zone)
	params := Params{TTL: 3600, Now: now}
	failing := &Apex{Zone: zone}
	for name, a := range map[string]*Apex{
		"nil":       nil,
		"no hosts":  p.delegated(t, Delegation{CSYNC: true}, params, nil),
		"no CSYNC":  p.delegated(t, Delegation{NS: bothProviders.NS}, params, nil),
		"no answer": failing,
	} {
		if a.Answers(dns.TypeCSYNC) || a.Answers(dns.TypeNS) != (name == "no CSYNC") || !a.Answers(dns.TypeDNSKEY) || a.Answers(dns.TypeA) {
			t.Errorf("%s: expected the chain to be asked for all but NS where there is one", name)
		}
		if _, answer := a.Reply(question(zone, dns.TypeCSYNC, true, false)); answer != Failing {
			t.Errorf("%s: expected no CSYNC of ours", name)
		}
	}
	if a, err := failing.WithDelegation(bothProviders, p.signers(), params, nil); err != nil || a.Delegates() {
		t.Errorf("Expected a view that fails to delegate nothing, got %v, %v", a, err)
	}
}

func TestDelegationIsSignedOnce(t *testing.T) {
	p := newProvider(t, zone)
	old := p.delegated(t, bothProviders, Params{TTL: 3600, Now: now}, nil)
	p.spent()
	again := p.delegated(t, bothProviders, Params{TTL: 3600, Now: now.Add(day)}, old)
	restored := p.delegated(t, bothProviders, Params{TTL: 3600, Now: now.Add(day), Stored: old.Signatures()}, nil)
	if n := p.spent(); n != 0 || !reflect.DeepEqual(again.NS, old.NS) || !reflect.DeepEqual(again.CSYNC, old.CSYNC) || restored.NS.Sigs()[0].Signature != old.NS.Sigs()[0].Signature {
		t.Errorf("Expected the signatures to be used again, %d were made", n)
	}
	if again = p.delegated(t, bothProviders, Params{TTL: 3600, Now: old.Renew()}, old); p.spent() != 7 || reflect.DeepEqual(again.NS, old.NS) {
		t.Errorf("Expected the signatures to be renewed with those of the key sets")
	}
	less := bothProviders
	less.NS = less.NS[:1]
	if p.delegated(t, less, Params{TTL: 3600, Now: now}, old); p.spent() != 1 {
		t.Errorf("Expected NS alone to be signed anew")
	}
	p.zsk = public(p.zsk)
	if a, err := p.sign(t, Params{TTL: 3600, Now: now}, nil).WithDelegation(less, p.signers(), Params{TTL: 3600, Now: now}, nil); err == nil {
		t.Errorf("Expected an error without anybody to sign, got %v", a.NS)
	}
}

func TestSubstitutePutsOurNSInThePlaceOfTheChains(t *testing.T) {
	p := newProvider(t, zone)
	c := chain{t, p}
	a := p.delegated(t, bothProviders, Params{TTL: 3600, Now: now}, nil)
	ns := func(owner string) []dns.RR {
		hdr := dns.RR_Header{Name: owner, Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: 60}
		return []dns.RR{&dns.NS{Hdr: hdr, Ns: "ns1.provider-a.net."}, &dns.NS{Hdr: hdr, Ns: "ns2.provider-a.net."}}
	}
	address := &dns.A{Hdr: dns.RR_Header{Name: "www." + zone, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: []byte{192, 0, 2, 1}}
	alias := &dns.CNAME{Hdr: dns.RR_Header{Name: "www." + zone, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 60}, Target: zone}
	message := func(authoritative bool, answer, authority []dns.RR) *dns.Msg {
		m := &dns.Msg{Answer: answer, Ns: authority}
		m.Authoritative = authoritative
		return m
	}
	v := validator{zone: zone, now: now, by: func(string, uint16) []*keys.Key { return []*keys.Key{p.zsk} }}
	for _, tc := range []struct {
		name    string
		m       *dns.Msg
		do      bool
		changed bool
	}{
		{"authority, signed before", message(true, c.signed(true, address), c.signed(true, ns(zone)...)), true, true},
		{"authority, signed after", message(true, c.signed(true, address), c.signed(false, ns(zone)...)), true, true},
		{"not signed", message(true, []dns.RR{address}, ns(zone)), false, true},
		{"another case", message(true, []dns.RR{address}, ns("EXAMPLE.co.uk.")), false, true},
		{"after an alias", message(true, append(c.signed(true, alias), c.signed(true, ns(zone)...)...), nil), true, true},
		{"referral", message(false, nil, ns("sub."+zone)), true, false},
		{"referral to the zone", message(false, nil, ns(zone)), true, false},
		{"below the zone", message(true, nil, ns("sub."+zone)), false, false},
		{"no NS", message(true, c.signed(true, address), c.signed(true, c.soa())), true, false},
	} {
		was := text(tc.m)
		got := Substitute(tc.m, a, tc.do)
		if text(tc.m) != was {
			t.Errorf("%s: the chain's message was changed", tc.name)
		}
		if changed := got != tc.m; changed != tc.changed {
			t.Errorf("%s: expected a change %v, got\n%v", tc.name, tc.changed, got)
		}
		if !tc.changed {
			continue
		}
		for _, section := range [][]dns.RR{got.Answer, got.Ns} {
			if names := hosts(section); len(names) > 0 && !slices.Equal(names, []string{"ns1.provider-a.net.", "ns1.provider-b.org."}) {
				t.Errorf("%s: expected our NS RRset once, got %v", tc.name, section)
			}
			if !tc.do {
				continue
			}
			if _, err := v.verify(section); err != nil {
				t.Errorf("%s: %v in\n%v", tc.name, err, section)
			}
		}
		if n := len(hosts(got.Answer)) + len(hosts(got.Ns)); n != 2 || len(got.Answer) == 0 {
			t.Errorf("%s: expected NS and the answer, got\n%v", tc.name, got)
		}
	}
	m := message(true, nil, ns(zone))
	for _, a := range []*Apex{nil, {Zone: zone}, p.sign(t, Params{TTL: 60, Now: now}, nil)} {
		if Substitute(m, a, true) != m {
			t.Errorf("Expected the chain's NS to stay without one of ours")
		}
	}
}

func TestCorrectSetsTheBitOfOurCSYNC(t *testing.T) {
	p := newProvider(t, zone)
	c := chain{t, p}
	served := p.delegated(t, bothProviders, Params{TTL: 3600, Now: now}, nil)
	d := bothProviders
	d.CSYNC = false
	done := p.delegated(t, d, Params{TTL: 3600, Now: now}, nil)
	for name, tc := range map[string]struct {
		apex  *Apex
		qtype uint16
		want  bool
	}{
		"published":                {served, dns.TypeTXT, true},
		"published and not behind": {served, dns.TypeCSYNC, true},
		"no longer":                {done, dns.TypeTXT, false},
	} {
		m, err := Correct(denial(tc.qtype, nil, c.signed(true, nsec(zone, `\000.`+zone, lies...))), tc.apex, cnsType, NewOnline(10, 10), now)
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Contains(bitmaps(m)[zone], dns.TypeCSYNC); got != tc.want {
			t.Errorf("%s: expected the bit of CSYNC %v, got %v", name, tc.want, bitmaps(m))
		}
	}
}
