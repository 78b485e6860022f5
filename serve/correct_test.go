package serve

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/keys"
)

const cnsType = 65302

// chain is what the next plugin answers with.
type chain struct {
	t testing.TB
	*provider
}

// signed returns rrs and their signatures, before them as dnssec has them or
// after them.
func (c chain) signed(before bool, rrs ...dns.RR) []dns.RR {
	c.t.Helper()
	sigs, err := keys.Sign(rrs, []*keys.Key{c.zsk}, now.Add(-3*time.Hour), now.Add(8*day))
	if err != nil {
		c.t.Fatal(err)
	}
	if before {
		return append([]dns.RR{sigs[0]}, rrs...)
	}
	return append(rrs, sigs[0])
}

func (c chain) soa() *dns.SOA {
	return &dns.SOA{Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 3600}, Ns: host, Mbox: "h." + host, Minttl: 300}
}

func nsec(owner, next string, types ...uint16) *dns.NSEC {
	return &dns.NSEC{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: 3600}, NextDomain: next, TypeBitMap: types}
}

func nsec3(hash, next string, iterations uint16, salt string, types ...uint16) *dns.NSEC3 {
	return &dns.NSEC3{
		Hdr:  dns.RR_Header{Name: hash + "." + zone, Rrtype: dns.TypeNSEC3, Class: dns.ClassINET, Ttl: 3600},
		Hash: dns.SHA1, Iterations: iterations, Salt: salt, SaltLength: uint8(len(salt) / 2), HashLength: 20, NextDomain: next, TypeBitMap: types,
	}
}

// lies is the bitmap of the dnssec plugin's NODATA for AAAA at an apex.
var lies = []uint16{dns.TypeA, dns.TypeNS, dns.TypeSOA, dns.TypeHINFO, dns.TypeMX, dns.TypeTXT, dns.TypeLOC, dns.TypeSRV, dns.TypeCERT, dns.TypeSSHFP,
	dns.TypeRRSIG, dns.TypeNSEC, dns.TypeDNSKEY, dns.TypeTLSA, dns.TypeHIP, dns.TypeOPENPGPKEY, dns.TypeSPF}

func with(types []uint16, more ...uint16) []uint16 {
	return slices.Sorted(slices.Values(append(slices.Clone(types), more...)))
}

// denial is an answer of the chain that has the sections given.
func denial(qtype uint16, answer, ns []dns.RR) *dns.Msg {
	m := new(dns.Msg).SetReply(question(zone, qtype, true, false))
	m.Authoritative, m.Answer, m.Ns = true, answer, ns
	return m
}

// bitmaps returns those of all NSEC and NSEC3 of m, by owner.
func bitmaps(m *dns.Msg) map[string][]uint16 {
	found := make(map[string][]uint16)
	for _, rr := range append(slices.Clone(m.Answer), m.Ns...) {
		switch rr := rr.(type) {
		case *dns.NSEC:
			found[rr.Hdr.Name] = rr.TypeBitMap
		case *dns.NSEC3:
			found[rr.Hdr.Name] = rr.TypeBitMap
		}
	}
	return found
}

// text is a message in a form that can be compared.
func text(m *dns.Msg) string { return m.String() }

func TestCorrectSetsExactlyTheBitsOfWhatIsAnswered(t *testing.T) {
	p := newProvider(t, zone)
	c := chain{t, p}
	served := p.sign(t, Params{TTL: 3600, Now: now}, nil)
	withheld := *served
	withheld.CDNSKEY = ApexSet{Answer: Withheld}
	owner := *served
	owner.HasCNS, owner.HasCSYNC = true, true
	failing := *served
	failing.CDS = ApexSet{}
	for _, tc := range []struct {
		name  string
		apex  *Apex
		qtype uint16
		is    []uint16
		want  []uint16
	}{
		{"black lies", served, dns.TypeAAAA, lies, with(lies, dns.TypeCDS, dns.TypeCDNSKEY)},
		{"CDNSKEY withheld", &withheld, dns.TypeAAAA, lies, with(lies, dns.TypeCDS)},
		{"CDNSKEY withheld, in the zone file", &withheld, dns.TypeCDNSKEY, with(lies, dns.TypeCDNSKEY), with(lies, dns.TypeCDS)},
		{"CNS and CSYNC", &owner, dns.TypeAAAA, lies, with(lies, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeCSYNC, cnsType)},
		{"CNS alone too much", served, dns.TypeAAAA, with(lies, dns.TypeCDS, dns.TypeCDNSKEY, cnsType), with(lies, dns.TypeCDS, dns.TypeCDNSKEY)},
		{"CNS gone", served, dns.TypeAAAA, with(lies, dns.TypeCSYNC, cnsType), with(lies, dns.TypeCDS, dns.TypeCDNSKEY)},
		{"CNS asked for and not there", &owner, cnsType, lies, with(lies, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeCSYNC)},
		{"CSYNC asked for and not there", &owner, dns.TypeCSYNC, lies, with(lies, dns.TypeCDS, dns.TypeCDNSKEY, cnsType)},
		{"static without DNSKEY", served, dns.TypeTXT, []uint16{dns.TypeNS, dns.TypeSOA, dns.TypeRRSIG, dns.TypeNSEC, 65280}, []uint16{dns.TypeNS, dns.TypeSOA, dns.TypeRRSIG, dns.TypeNSEC, dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY, 65280}},
		{"no order", served, dns.TypeTXT, []uint16{dns.TypeSOA, dns.TypeNS}, []uint16{dns.TypeNS, dns.TypeSOA, dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY}},
		{"a type that fails is not denied", &failing, dns.TypeAAAA, lies, with(lies, dns.TypeCDS, dns.TypeCDNSKEY)},
	} {
		const iterations, salt = 5, "aabb"
		hash := strings.ToLower(dns.HashName(zone, dns.SHA1, iterations, salt))
		for _, bare := range []dns.RR{
			nsec("EXAMPLE.co.uk.", `\000.`+zone, slices.Clone(tc.is)...),
			nsec3(hash, dns.HashName("x."+zone, dns.SHA1, iterations, salt), iterations, salt, slices.Clone(tc.is)...),
		} {
			for _, before := range []bool{true, false} {
				for _, inAnswer := range []bool{true, false} {
					if !slices.IsSorted(tc.is) {
						before = false
					}
					other := c.signed(false, nsec("www."+zone, zone, dns.TypeA, dns.TypeRRSIG, dns.TypeNSEC))
					soa := c.signed(before, c.soa())
					var proof []dns.RR
					if slices.IsSorted(tc.is) {
						proof = c.signed(before, bare)
					} else {
						proof = []dns.RR{bare} // cannot have been packed
					}
					m := denial(tc.qtype, nil, slices.Concat(soa, proof, other))
					if inAnswer {
						m = denial(tc.qtype, proof, slices.Concat(soa, other))
					}
					was := text(m)

					got, err := Correct(m, tc.apex, cnsType, NewOnline(10, 10), now)
					if err != nil {
						t.Fatalf("%s: %v", tc.name, err)
					}
					if text(m) != was {
						t.Errorf("%s: expected the chain's message as it was, got\n%v", tc.name, m)
					}
					if types := bitmaps(got)[bare.Header().Name]; !slices.Equal(types, tc.want) {
						t.Errorf("%s: expected %v, got %v", tc.name, tc.want, types)
					}
					if types := bitmaps(got)["www."+zone]; len(types) != 3 {
						t.Errorf("%s: expected other NSECs as they were, got %v", tc.name, types)
					}
					v := validator{zone: zone, now: now, by: func(string, uint16) []*keys.Key { return []*keys.Key{p.zsk} }}
					for _, section := range [][]dns.RR{overWire(t, got).Answer, overWire(t, got).Ns} {
						if _, err := v.verify(section); err != nil {
							t.Errorf("%s: %v in\n%v", tc.name, err, got)
						}
					}
					if again, err := Correct(got, tc.apex, cnsType, nil, now); err != nil || again != got {
						t.Errorf("%s: expected nothing more to correct, got %v\n%v", tc.name, err, again)
					}
				}
			}
		}
	}
}

func TestCorrectLeavesWhatIsRightOrNotOfTheApex(t *testing.T) {
	p := newProvider(t, zone)
	a := p.sign(t, Params{TTL: 3600, Now: now}, nil)
	right := with(lies, dns.TypeCDS, dns.TypeCDNSKEY)
	apexHash := dns.HashName(zone, dns.SHA1, 0, "")
	for _, tc := range []struct {
		name string
		apex *Apex
		rr   dns.RR
	}{
		{"right", a, nsec(zone, "a."+zone, right...)},
		{"right NSEC3", a, nsec3(apexHash, apexHash, 0, "", right...)},
		{"below the apex", a, nsec("a."+zone, zone, lies...)},
		{"the parent's side of the zone cut", a, nsec(zone, "f.co.uk.", dns.TypeNS, dns.TypeRRSIG, dns.TypeNSEC)},
		{"another class", a, func() dns.RR { rr := nsec(zone, "a."+zone, lies...); rr.Hdr.Class = dns.ClassCHAOS; return rr }()},
		{"above the apex", a, nsec("co.uk.", zone, lies...)},
		{"NSEC3 of another name", a, nsec3(dns.HashName("a."+zone, dns.SHA1, 0, ""), apexHash, 0, "", lies...)},
		{"NSEC3 with another salt", a, nsec3(apexHash, apexHash, 0, "aa", lies...)},
		{"NSEC3 with too many iterations", a, nsec3(dns.HashName(zone, dns.SHA1, 151, ""), apexHash, 151, "", lies...)},
		{"NSEC3 of an unknown hash", a, func() dns.RR { rr := nsec3(apexHash, apexHash, 0, "", lies...); rr.Hash = 2; return rr }()},
		{"no NSEC", a, &dns.NS{Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeNS, Class: dns.ClassINET}, Ns: host}},
		{"nothing known, nobody to sign", &Apex{Zone: zone}, nsec(zone, "a."+zone, lies...)},
		{"nothing known, and a CNS that may be there", &Apex{Zone: zone}, nsec(zone, "a."+zone, with(lies, cnsType)...)},
		{"zero view", &Apex{}, nsec(zone, "a."+zone, lies...)},
		{"no view", nil, nsec(zone, "a."+zone, lies...)},
	} {
		m := denial(dns.TypeAAAA, nil, []dns.RR{tc.rr})
		was := text(m)
		if got, err := Correct(m, tc.apex, cnsType, NewOnline(10, 10), now); err != nil || got != m || text(m) != was {
			t.Errorf("%s: expected the message itself, got %v\n%v", tc.name, err, got)
		}
	}
}

func TestCorrectFindsEveryRecordOfTheApex(t *testing.T) {
	p := newProvider(t, zone)
	a := p.sign(t, Params{TTL: 3600, Now: now}, nil)
	c := chain{t, p}
	hash := func(iterations uint16, salt string) string {
		return strings.ToLower(dns.HashName(zone, dns.SHA1, iterations, salt))
	}
	unknown := nsec3(hash(0, ""), hash(0, ""), 0, "", dns.TypeA)
	unknown.Hash = 2
	first := c.signed(true, nsec(zone, "a."+zone, lies...))
	ns := slices.Concat(
		[]dns.RR{first[0]}, first, // a signature twice, so that two go
		[]dns.RR{nsec3(hash(0, ""), hash(0, ""), 0, "", lies...), nsec3(hash(0, "aa"), hash(0, ""), 0, "aa", lies...),
			nsec3(hash(1, "aa"), hash(0, ""), 1, "aa", lies...)},
	)
	m, err := Correct(denial(dns.TypeAAAA, nil, ns), a, cnsType, NewOnline(10, 10), now)
	if err != nil {
		t.Fatal(err)
	}
	for owner, types := range bitmaps(m) {
		if !slices.Equal(types, with(lies, dns.TypeCDS, dns.TypeCDNSKEY)) {
			t.Errorf("Expected %s to be corrected, got %v", owner, types)
		}
	}
	if found := len(bitmaps(m)); found != 4 || len(m.Ns) != 8 {
		t.Errorf("Expected 4 records, each with a signature, got\n%v", m)
	}
	right := nsec3(hash(0, ""), hash(0, ""), 0, "", with(lies, dns.TypeCDS, dns.TypeCDNSKEY)...)
	mixed := denial(dns.TypeAAAA, nil, []dns.RR{right, unknown})
	if got, err := Correct(mixed, a, cnsType, NewOnline(10, 10), now); err != nil || got != mixed {
		t.Errorf("Expected a hash that is not known to be left, got %v\n%v", err, got)
	}
}

func TestCorrectKeepsTheOriginalTTL(t *testing.T) {
	p := newProvider(t, zone)
	a := p.sign(t, Params{TTL: 3600, Now: now}, nil)
	proof := chain{t, p}.signed(true, nsec(zone, `\000.`+zone, lies...))
	for _, rr := range proof {
		rr.Header().Ttl = 100 // has been in a cache
	}
	m, err := Correct(denial(dns.TypeAAAA, nil, proof), a, cnsType, NewOnline(10, 10), now)
	if err != nil {
		t.Fatal(err)
	}
	for _, rr := range m.Ns {
		if rr.Header().Ttl != 100 {
			t.Errorf("Expected TTL 100, got %v", rr)
		}
		if sig, ok := rr.(*dns.RRSIG); ok && sig.OrigTtl != 3600 {
			t.Errorf("Expected original TTL 3600, got %v", sig)
		}
	}
}

func TestCorrectSignsWithEveryAlgorithmOnce(t *testing.T) {
	p := newProvider(t, zone)
	ed := p.key(t, dns.ED25519, 256, keys.ZSK)
	a := p.sign(t, Params{TTL: 3600, Now: now}, nil)
	a.Data = []*keys.Key{p.zsk, ed}
	v := validator{zone: zone, now: now, by: func(string, uint16) []*keys.Key { return a.Data }}
	o := NewOnline(10, 10)
	p.spent()
	for range 3 {
		proof := chain{t, &provider{ring: ring{zone: zone}, zsk: p.ksk}}.signed(true, nsec(zone, `\000.`+zone, lies...))
		m, err := Correct(denial(dns.TypeAAAA, nil, proof), a, cnsType, o, now)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.verify(m.Ns); err != nil {
			t.Error(err)
		}
		spoil(m) // and what is kept stays as it is
	}
	if got := p.spent(); got != 2+3 {
		t.Errorf("Expected 2 signatures of ours and 3 of the chain, got %d", got)
	}
}

func TestCorrectFailsRatherThanLie(t *testing.T) {
	p := newProvider(t, zone)
	a := p.sign(t, Params{TTL: 3600, Now: now}, nil)
	m := denial(dns.TypeAAAA, nil, []dns.RR{nsec(zone, `\000.`+zone, lies...)})
	if got, err := Correct(m, a, cnsType, NewOnline(10, 0), now); !errors.Is(err, ErrBudget) {
		t.Errorf("Expected ErrBudget, got %v and\n%v", err, got)
	}
	a.Data = nil
	if got, err := Correct(m, a, cnsType, NewOnline(10, 10), now); err == nil {
		t.Errorf("Expected an error without a key, got\n%v", got)
	}
}
