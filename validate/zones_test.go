package validate_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/validate"
)

// TestKeysOfAZone has example.net. signed in many ways.
func TestKeysOfAZone(t *testing.T) {
	key := func(algorithm uint8, flags uint16, seed string) *lab.Key {
		return lab.NewKey("example.net.", algorithm, flags, seed)
	}
	rsa := func(bits int, flags uint16) *lab.Key {
		k := key(dns.RSASHA256, flags, "")
		modulus := append([]byte{0x80}, make([]byte, bits/8-1)...)
		k.DNSKEY = dns.Copy(k.DNSKEY).(*dns.DNSKEY)
		k.PublicKey = base64.StdEncoding.EncodeToString(append([]byte{3, 1, 0, 1}, modulus...))
		return k
	}
	const p256, ed448 = dns.ECDSAP256SHA256, dns.ED448
	ksk, zsk := key(p256, 257, ""), key(p256, 256, "")
	tests := []struct {
		name string
		zone lab.Zone
		want want
	}{
		{"RSASHA256", lab.Zone{Algorithm: dns.RSASHA256}, secure(net)},
		{"RSASHA512", lab.Zone{Algorithm: dns.RSASHA512}, secure(net)},
		{"ECDSAP256SHA256", lab.Zone{Algorithm: p256}, secure(net)},
		{"ECDSAP384SHA384", lab.Zone{Algorithm: dns.ECDSAP384SHA384}, secure(net)},
		{"ED25519", lab.Zone{Algorithm: dns.ED25519}, secure(net)},
		{"CSK", lab.Zone{CSK: true}, secure(net)},
		{"DS of SHA-1", lab.Zone{Digest: dns.SHA1}, secure(net)},
		{"DS of SHA-384", lab.Zone{Digest: dns.SHA384}, secure(net)},
		{"DS of an unsupported digest", lab.Zone{Records: dsText(ksk, 3)}, insecure(validate.CheckAlgorithm)},
		{"DS of the key with another algorithm", lab.Zone{Records: strings.Replace(dsText(ksk, 2), " 13 2 ", " 15 2 ", 1)}, bogus(validate.CheckKey)},
		{"DS of the key with another tag", lab.Zone{Records: strings.Replace(dsText(ksk, 2), strconv.Itoa(int(ksk.KeyTag())), strconv.Itoa(int(zsk.KeyTag())), 1)}, bogus(validate.CheckKey)},
		{"as many DS as are looked at", lab.Zone{Records: strangeDS(31) + dsText(ksk, 2)}, secure(net)},
		{"more DS than are looked at", lab.Zone{Records: strangeDS(32) + dsText(ksk, 2)}, bogus(validate.CheckKey)},
		{"RSASHA1", lab.Zone{Algorithm: dns.RSASHA1}, insecure(validate.CheckAlgorithm)},
		{"RSASHA1NSEC3SHA1", lab.Zone{Algorithm: dns.RSASHA1NSEC3SHA1}, insecure(validate.CheckAlgorithm)},
		{"ED448", lab.Zone{Algorithm: ed448}, insecure(validate.CheckAlgorithm)},
		{"private algorithm", lab.Zone{Algorithm: 253}, insecure(validate.CheckAlgorithm)},
		{"RSA of 512 bits", lab.Zone{Keys: []*lab.Key{rsa(512, 257)}}, insecure(validate.CheckAlgorithm)},
		{"RSA of 1016 bits", lab.Zone{Keys: []*lab.Key{rsa(1016, 257)}}, insecure(validate.CheckAlgorithm)},
		{"RSA of 4104 bits", lab.Zone{Keys: []*lab.Key{rsa(4104, 257)}}, insecure(validate.CheckAlgorithm)},
		{"RSA of 1024 bits with a bad signature", lab.Zone{Keys: []*lab.Key{rsa(1024, 257)}}, bogus(validate.CheckSignature)},
		{"ZSK of RSA of 4104 bits", lab.Zone{Keys: []*lab.Key{ksk, rsa(4104, 256)}}, bogus(validate.CheckKey)},
		{"ZSK of RSASHA1", lab.Zone{Keys: []*lab.Key{ksk, key(dns.RSASHA1, 256, "")}}, bogus(validate.CheckKey)},
		{"two algorithms, both sign", lab.Zone{Keys: []*lab.Key{ksk, zsk, key(dns.ED25519, 257, ""), key(dns.ED25519, 256, "")}}, secure(net)},
		{"two algorithms, one is not supported", lab.Zone{Keys: []*lab.Key{key(ed448, 257, ""), key(ed448, 256, ""), ksk, zsk}}, secure(net)},
		{"two KSKs, two ZSKs", lab.Zone{Keys: []*lab.Key{ksk, key(p256, 257, "b"), zsk, key(p256, 256, "b")}}, secure(net)},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			l := hierarchy(t)
			digests := tc.zone.Records
			tc.zone.Name, tc.zone.Records = "example.net.", exampleNet
			if digests != "" {
				l.Add(lab.Zone{Name: "net.", Records: digests})
			}
			l.Add(tc.zone)
			for _, q := range []struct {
				name  string
				qtype uint16
			}{{"ns1.example.net.", dns.TypeA}, {"example.net.", dns.TypeDNSKEY}} {
				if q.qtype == dns.TypeDNSKEY && strings.HasPrefix(tc.name, "ZSK") {
					continue // which is not its to sign
				}
				r, err := validator(t, l).Lookup(t.Context(), l, q.name, q.qtype)
				if err != nil {
					t.Fatal(err)
				}
				if got := got(r); got != tc.want {
					t.Errorf("%s: Expected %+v, got %+v: %v", q.name, tc.want, got, r.Reason)
				}
			}
		})
	}
}

// dsText returns a DS with a digest type that nobody knows.
func dsText(k *lab.Key, digest uint8) string {
	ds := k.ToDS(dns.SHA256)
	ds.DigestType = digest
	return strings.TrimSuffix(ds.String(), "\n") + "\n"
}

// strangeDS returns so many DS of keys that are not there.
func strangeDS(n int) (text string) {
	for i := range n {
		text += fmt.Sprintf("example.net. 3600 IN DS %d 13 2 %064x\n", i, i)
	}
	return text
}

func TestOneAlgorithmIsEnough(t *testing.T) {
	// RFC 6840 section 5.11: a validator must not insist on all of them.
	l := hierarchy(t)
	z := l.Add(lab.Zone{Name: "example.net.", Records: exampleNet, Keys: []*lab.Key{
		lab.NewKey("example.net.", dns.ECDSAP256SHA256, 257, ""), lab.NewKey("example.net.", dns.ED25519, 257, ""),
	}})
	z.SignRRset = func(rrs []dns.RR) []dns.RR { return []dns.RR{z.SignWith(z.Keys[1], rrs)} }
	r, err := validator(t, l).Lookup(t.Context(), l, "ns1.example.net.", dns.TypeA)
	if err != nil || got(r) != secure(net) {
		t.Errorf("Expected %+v, got %+v, %v, %v", secure(net), got(r), r.Reason, err)
	}
}

func TestDigestsOfSHA1DoNotCountBesideStronger(t *testing.T) {
	l := hierarchy(t)
	honest, rogue := lab.NewKey("example.net.", dns.ECDSAP256SHA256, 257, ""), lab.NewKey("example.net.", dns.ECDSAP256SHA256, 257, "rogue")
	l.Add(lab.Zone{Name: "net.", Records: honest.ToDS(dns.SHA256).String() + "\n" + rogue.ToDS(dns.SHA1).String() + "\n"})
	l.Add(lab.Zone{Name: "example.net.", Records: exampleNet, Keys: []*lab.Key{rogue}})
	r, err := validator(t, l).Lookup(t.Context(), l, "ns1.example.net.", dns.TypeA)
	if err != nil || got(r) != bogus(validate.CheckKey) {
		t.Errorf("Expected %+v, got %+v, %v, %v", bogus(validate.CheckKey), got(r), r.Reason, err)
	}
}

func TestSignerAboveAKnownZoneIsRefused(t *testing.T) {
	l := hierarchy(t)
	parent := l.Zone("example.net.")
	child := l.Zone(signal)
	v := validator(t, l)
	name := "_multi.example.co.uk." + signal
	if r, err := v.Lookup(t.Context(), l, signal, dns.TypeSOA); err != nil || got(r) != secure(signal) {
		t.Fatalf("Expected %+v, got %+v, %v", secure(signal), got(r), err)
	}
	child.SignRRset = func(rrs []dns.RR) []dns.RR {
		return []dns.RR{child.SignWith(parent.Keys[1], rrs, func(s *dns.RRSIG) { s.SignerName = parent.Name })}
	}
	r, err := v.Lookup(t.Context(), l, name, dns.TypeTXT)
	if err != nil || got(r) != bogus(validate.CheckSigned) {
		t.Errorf("Expected %+v, got %+v, %v, %v", bogus(validate.CheckSigned), got(r), r.Reason, err)
	}
}

func TestCoreDNSDenialOfDSDoesNotCutTheChain(t *testing.T) {
	// The dnssec plugin answers DS at any name with an NSEC that lists NS. The
	// chain has to pass such names by.
	l := hierarchy(t)
	l.Add(lab.Zone{Name: "lies.net.", Denial: lab.BlackLies, Records: "_multi.example.co.uk._signal.ns1 TXT announcement\n"})
	for _, qtype := range []uint16{dns.TypeTXT, dns.TypeCDS} {
		l.Asked()
		r, err := validator(t, l).Lookup(t.Context(), l, "_multi.example.co.uk._signal.ns1.lies.net.", qtype)
		if err != nil || r.Status != validate.Secure || r.Signer != "lies.net." {
			t.Errorf("Expected secure, got %+v, %v", r, err)
		}
		for _, q := range l.Asked() {
			if q.Qtype == dns.TypeDS && dns.CountLabel(q.Name) > 2 {
				t.Errorf("Expected DS to be asked at cuts only, got %s", q.Name)
			}
		}
	}
}

func TestASignatureByWhatLooksUnsignedDoesNotHideTheGoodOne(t *testing.T) {
	// By such a denial the name itself passes for an insecure zone, which has signed.
	l := hierarchy(t)
	l.Tamper("ns1.lies.net.", dns.TypeA, func(m *dns.Msg) *dns.Msg {
		forged := dns.Copy(find(m.Answer, dns.TypeRRSIG)).(*dns.RRSIG)
		forged.SignerName = "ns1.lies.net."
		m.Answer = append([]dns.RR{forged}, m.Answer...)
		return m
	})
	r, err := validator(t, l).Lookup(t.Context(), l, "ns1.lies.net.", dns.TypeA)
	if err != nil || got(r) != secure("lies.net.") {
		t.Errorf("Expected %+v, got %+v, %v", secure("lies.net."), r, err)
	}
}

func TestWhatDoesNotBelongToADenialDoesNotSpoilIt(t *testing.T) {
	l := hierarchy(t)
	v := validator(t, l)
	other := ask(t, l, "none.example.net.", dns.TypeA).Ns
	for _, rr := range other {
		if sig, ok := rr.(*dns.RRSIG); ok {
			sig.Signature = "AAAA" + sig.Signature[4:]
		}
	}
	l.Tamper("zz.example.net.", dns.TypeA, func(m *dns.Msg) *dns.Msg {
		m.Ns = append(m.Ns, keep(other, func(rr dns.RR) bool { return rr.Header().Name != net && rr.Header().Name != "zz.example.net." })...)
		return m
	})
	// A DNAME redirects what is below it, not its own name.
	redirection := ask(t, l, "moved.example.net.", dns.TypeDNAME).Answer
	l.Tamper("moved.example.net.", dns.TypeA, func(m *dns.Msg) *dns.Msg { m.Answer = redirection; return m })
	for _, name := range []string{"zz.example.net.", "moved.example.net."} {
		if r, err := v.Lookup(t.Context(), l, name, dns.TypeA); err != nil || got(r) != denied(net) {
			t.Errorf("%s: Expected %+v, got %+v, %v", name, denied(net), r, err)
		}
	}
}

func TestDenialsByAnotherSignerDoNotHideTheGoodOnes(t *testing.T) {
	// Two NSEC in the parent's name come first: that is one signer, not two.
	l := hierarchy(t)
	forged := records("a.example.net. 300 IN NSEC b.example.net. A", "c.example.net. 300 IN NSEC d.example.net. A")
	for _, rr := range forged[:2] {
		sig := l.Zone(net).Sign([]dns.RR{rr})[0].(*dns.RRSIG)
		sig.SignerName = "net."
		forged = append(forged, sig)
	}
	l.Tamper("none.example.net.", dns.TypeA, func(m *dns.Msg) *dns.Msg { m.Ns = append(forged, m.Ns...); return m })
	r, err := validator(t, l).Lookup(t.Context(), l, "none.example.net.", dns.TypeA)
	if err != nil || got(r) != denied(net) {
		t.Errorf("Expected %+v, got %+v, %v", denied(net), r, err)
	}
}

func TestAnSOABesideADenialOfDSIsNotLookedAt(t *testing.T) {
	// A resolver that has the denial from a referral adds what SOA it can.
	l := hierarchy(t)
	l.Tamper("unsigned.example.net.", dns.TypeDS, func(m *dns.Msg) *dns.Msg {
		find(m.Ns, dns.TypeSOA).(*dns.SOA).Serial++
		return m
	})
	v := validator(t, l)
	if r, err := v.Lookup(t.Context(), l, "unsigned.example.net.", dns.TypeDS); err != nil || got(r) != denied(net) {
		t.Errorf("Expected %+v, got %+v, %v", denied(net), r, err)
	}
	want := insecure(validate.CheckDelegation)
	if r, err := v.Lookup(t.Context(), l, "ns1.unsigned.example.net.", dns.TypeA); err != nil || got(r) != want {
		t.Errorf("Expected %+v, got %+v, %v", want, r, err)
	}
}

// find returns the first record of that type.
func find(rrs []dns.RR, rrtype uint16) dns.RR {
	for _, rr := range rrs {
		if rr.Header().Rrtype == rrtype {
			return rr
		}
	}
	return nil
}

func TestChainsAreBounded(t *testing.T) {
	const bound = 20 // zones, the root among them
	l := lab.New(t, now)
	l.Add(lab.Zone{Name: ".", Algorithm: dns.ED25519})
	name, zones := "", 1
	for ; zones <= bound; zones++ {
		name = string(rune('a'+zones)) + "." + name
		l.Add(lab.Zone{Name: name, Algorithm: dns.ED25519, CSK: true})
	}
	v := validator(t, l)
	if r, err := v.Lookup(t.Context(), l, name, dns.TypeSOA); err != nil || got(r) != bogus(validate.CheckLimit) {
		t.Errorf("%d zones: Expected %+v, got %+v, %v", zones, bogus(validate.CheckLimit), r, err)
	}
	name = name[2:]
	if r, err := v.Lookup(t.Context(), l, name, dns.TypeSOA); err != nil || got(r) != secure(name) {
		t.Errorf("%d zones: Expected %+v, got %+v, %v", zones-1, secure(name), r, err)
	}
}

func TestTrustAnchorsBelowTheRoot(t *testing.T) {
	tests := []struct {
		name    string
		anchors []string
		qname   string
		want    want
	}{
		{"at the zone", []string{"example.net."}, "ns1.example.net.", secure(net)},
		{"above the zone", []string{"net."}, "ns1.example.net.", secure(net)},
		{"an island", []string{"nods.uk."}, "ns1.signed.nods.uk.", secure("signed.nods.uk.")},
		{"an island beside the root", []string{".", "nods.uk."}, "ns1.nods.uk.", secure("nods.uk.")},
		{"not above the name", []string{"example.net."}, "ns1.example.org.", insecure(validate.CheckAnchor)},
		{"not above the name, denial", []string{"example.net."}, "none.example.org.", insecure(validate.CheckAnchor)},
		{"not above the name, unsigned", []string{"example.net."}, "ns1.unsigned.net.", insecure(validate.CheckAnchor)},
		{"several", []string{"org.", "example.net.", "uk."}, "ns1.example.org.", secure(org)},
		{"unsigned zone below", []string{"example.net."}, "ns1.unsigned.example.net.", insecure(validate.CheckDelegation)},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			l := hierarchy(t)
			r, err := validator(t, l, tc.anchors...).Lookup(t.Context(), l, tc.qname, dns.TypeA)
			if err != nil {
				t.Fatal(err)
			}
			if got := got(r); got != tc.want {
				t.Errorf("Expected %+v, got %+v: %v", tc.want, got, r.Reason)
			}
		})
	}
}

func TestClosestTrustAnchorCounts(t *testing.T) {
	l := hierarchy(t)
	v := validator(t, l, ".", "example.net.")
	// The root's holder exchanges the keys of example.net.
	l.Add(lab.Zone{Name: "example.net.", Records: exampleNet, CSK: true, Keys: []*lab.Key{lab.NewKey("example.net.", dns.ED25519, 257, "")}})
	r, err := v.Lookup(t.Context(), l, "ns1.example.net.", dns.TypeA)
	if err != nil || r.Status != validate.Bogus {
		t.Errorf("Expected bogus, got %+v, %v", r, err)
	}
	// Or signs in its stead.
	z, root := l.Zone("example.net."), l.Zone(".")
	z.SignRRset = func(rrs []dns.RR) []dns.RR {
		return []dns.RR{z.SignWith(root.Keys[1], rrs, func(s *dns.RRSIG) { s.SignerName = "." })}
	}
	r, err = v.Lookup(t.Context(), l, "zz.example.net.", dns.TypeTXT)
	if err != nil || r.Status != validate.Bogus {
		t.Errorf("Expected bogus, got %+v, %v", r, err)
	}
}

func TestAnSOAAboveTheTrustAnchorMakesNothingInsecure(t *testing.T) {
	l := hierarchy(t)
	l.Tamper("ns1.example.net.", dns.TypeA, lab.StripSignatures)
	l.Tamper("ns1.example.net.", dns.TypeSOA, lab.Replace(&dns.Msg{Ns: records("net. 60 IN SOA . . 1 1 1 1 1")}))
	r, err := validator(t, l, "example.net.").Lookup(t.Context(), l, "ns1.example.net.", dns.TypeA)
	if err != nil || got(r) != bogus(validate.CheckSigned) {
		t.Errorf("Expected %+v, got %+v, %v", bogus(validate.CheckSigned), r, err)
	}
}

func TestADelegationThatIsALieBreaksNothingElse(t *testing.T) {
	// CoreDNS's dnssec plugin denies DS at any name with NS in the bitmap:
	// whoever says that such a name signs can have it look like an insecure
	// zone, but not what is below.
	l := hierarchy(t)
	l.Add(lab.Zone{Name: "lies.net.", Denial: lab.BlackLies, Records: exampleNet + "_multi.example.co.uk._signal.ns1 TXT announcement\n"})
	v := validator(t, l)
	l.Tamper("ns1.lies.net.", dns.TypeA, lab.EachSig(dns.TypeA, func(s *dns.RRSIG) { s.SignerName = "ns1.lies.net." }))
	r, err := v.Lookup(t.Context(), l, "ns1.lies.net.", dns.TypeA)
	if err != nil || got(r) != insecure(validate.CheckDelegation) {
		t.Errorf("Expected %+v, got %+v, %v", insecure(validate.CheckDelegation), r, err)
	}
	r, err = v.Lookup(t.Context(), l, "_multi.example.co.uk._signal.ns1.lies.net.", dns.TypeTXT)
	if err != nil || got(r) != secure("lies.net.") {
		t.Errorf("Expected %+v, got %+v, %v", secure("lies.net."), r, err)
	}
}

func TestWithoutTrustAnchorNothingIsSecure(t *testing.T) {
	l := hierarchy(t)
	v := validate.New(nil, validate.Options{Now: clock})
	r, err := v.Lookup(t.Context(), l, "ns1.example.net.", dns.TypeA)
	if err != nil || got(r) != insecure(validate.CheckAnchor) {
		t.Errorf("Expected %+v, got %+v, %v", insecure(validate.CheckAnchor), got(r), err)
	}
	if v.ProbeAnchor(t.Context(), l) == nil {
		t.Error("Expected an error, got none")
	}
}

func TestNoAnswerIsNoVerdict(t *testing.T) {
	tests := []struct {
		name  string
		qtype uint16
		edit  lab.Tamper
	}{
		{"SERVFAIL", dns.TypeA, lab.Rcode(dns.RcodeServerFailure)},
		{"REFUSED", dns.TypeA, lab.Rcode(dns.RcodeRefused)},
		{"timeout", dns.TypeA, lab.Timeout},
		{"truncated", dns.TypeA, func(m *dns.Msg) *dns.Msg { m.Truncated = true; return m }},
		{"another question", dns.TypeA, func(m *dns.Msg) *dns.Msg { m.Question[0].Name = "evil."; return m }},
		{"another type", dns.TypeA, func(m *dns.Msg) *dns.Msg { m.Question[0].Qtype = dns.TypeTXT; return m }},
		{"SERVFAIL for the keys", dns.TypeDNSKEY, lab.Rcode(dns.RcodeServerFailure)},
		{"timeout for the DS", dns.TypeDS, lab.Timeout},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			l := hierarchy(t)
			v := validator(t, l)
			l.Tamper("", tc.qtype, tc.edit)
			r, err := v.Lookup(t.Context(), l, "ns1.example.net.", dns.TypeA)
			if err == nil || r.Status != validate.Indeterminate {
				t.Errorf("Expected an error, got %+v", r)
			}
			if r, err = v.Session(l).Check(t.Context(), nil, "ns1.example.net.", dns.TypeA); err == nil {
				t.Errorf("Expected an error, got %+v", r)
			}
			// It is not remembered.
			l.Untamper()
			if r, err = v.Lookup(t.Context(), l, "ns1.example.net.", dns.TypeA); err != nil || got(r) != secure(net) {
				t.Errorf("Expected %+v, got %+v, %v", secure(net), r, err)
			}
		})
	}
}

func TestQuestionsWithoutAnAnswer(t *testing.T) {
	l := hierarchy(t)
	v := validator(t, l)
	for _, qtype := range []uint16{dns.TypeANY, dns.TypeAXFR, dns.TypeRRSIG, dns.TypeOPT, dns.TypeNXNAME, dns.TypeNone} {
		if r, err := v.Lookup(t.Context(), l, "example.net.", qtype); err == nil {
			t.Errorf("%s: Expected an error, got %+v", dns.Type(qtype), r)
		}
	}
	if r, err := v.Lookup(t.Context(), l, strings.Repeat("a", 64)+".net.", dns.TypeA); err == nil {
		t.Errorf("Expected an error, got %+v", r)
	}
}

func TestErrorsOfTheExchangerAreWrapped(t *testing.T) {
	l := hierarchy(t)
	l.Tamper("example.net.", dns.TypeDS, lab.Timeout)
	if _, err := validator(t, l).Lookup(t.Context(), l, "ns1.example.net.", dns.TypeA); !errors.Is(err, lab.ErrTimeout) {
		t.Errorf("Expected %v, got %v", lab.ErrTimeout, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := validator(t, l).Lookup(ctx, l, "ns1.example.net.", dns.TypeA); !errors.Is(err, context.Canceled) {
		t.Errorf("Expected %v, got %v", context.Canceled, err)
	}
}

func TestTTLIsBounded(t *testing.T) {
	tests := []struct {
		name  string
		qname string
		setup func(*lab.Lab)
		want  time.Duration
	}{
		{"by the record", "ns1.example.net.", func(l *lab.Lab) {
			l.Tamper("ns1.example.net.", dns.TypeA, lab.Each(0, func(rr dns.RR) { rr.Header().Ttl = 7 }))
		}, 7 * time.Second},
		{"by the lowest of the records", "example.net.", func(l *lab.Lab) {
			l.Tamper("example.net.", dns.TypeDNSKEY, lab.Each(dns.TypeDNSKEY, func(rr dns.RR) {
				if rr.(*dns.DNSKEY).Flags == 256 {
					rr.Header().Ttl = 8
				}
			}))
		}, 8 * time.Second},
		{"by the original TTL", "ns1.example.net.", func(l *lab.Lab) {
			l.Tamper("ns1.example.net.", dns.TypeA, lab.Each(0, func(rr dns.RR) { rr.Header().Ttl = 1 << 30 }))
		}, time.Hour},
		{"by the signature", "ns1.example.net.", func(l *lab.Lab) {
			resign(l, "example.net.", dns.TypeA, func(s *dns.RRSIG) { s.Expiration = stamp(9 * time.Second) })
		}, 9 * time.Second},
		{"by the denial", "none.example.net.", func(*lab.Lab) {}, 300 * time.Second},
		{"by the SOA beside a denial", "none.example.net.", func(l *lab.Lab) {
			l.Tamper("none.example.net.", dns.TypeA, lab.Each(dns.TypeSOA, func(rr dns.RR) { rr.Header().Ttl = 7 }))
		}, 7 * time.Second},
		{"by the wildcard's proof", "x.wild.example.net.", func(*lab.Lab) {}, 300 * time.Second},
		{"by the denial of DS", "ns1.unsigned.example.net.", func(*lab.Lab) {}, 300 * time.Second},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			l := hierarchy(t)
			tc.setup(l)
			qtype := dns.TypeA
			if strings.Contains(tc.qname, "wild") {
				qtype = dns.TypeTXT
			} else if tc.qname == "example.net." {
				qtype = dns.TypeDNSKEY
			}
			r, err := validator(t, l).Lookup(t.Context(), l, tc.qname, qtype)
			if err != nil || r.TTL != tc.want {
				t.Errorf("Expected %s, got %s, %+v, %v", tc.want, r.TTL, r, err)
			}
		})
	}
}

func TestCheckJudgesAMessageInHand(t *testing.T) {
	l := hierarchy(t)
	v := validator(t, l)
	m := ask(t, l, "ns1.example.net.", dns.TypeA)
	l.Tamper("ns1.example.net.", dns.TypeA, lab.Timeout)
	r, err := v.Session(l).Check(t.Context(), m, "ns1.example.net.", dns.TypeA)
	if err != nil || got(r) != secure(net) {
		t.Errorf("Expected %+v, got %+v, %v", secure(net), r, err)
	}
	// The result is the caller's: the message stays as it was.
	r.RRset[0].Header().Name = "changed."
	if m.Answer[0].Header().Name != "ns1.example.net." {
		t.Errorf("Expected ns1.example.net., got %s", m.Answer[0])
	}
	if _, err := v.Session(l).Check(t.Context(), m, "zz.example.net.", dns.TypeA); err == nil {
		t.Error("Expected an error for another question, got none")
	}
}

func TestProbeAnchor(t *testing.T) {
	tests := []struct {
		name string
		edit lab.Tamper
		want string // in the error, "" for none
	}{
		{"fit", func(m *dns.Msg) *dns.Msg { return m }, ""},
		{"strips signatures", lab.StripSignatures, "no RRSIG"},
		{"has another root", lab.Each(dns.TypeDNSKEY, func(rr dns.RR) { rr.(*dns.DNSKEY).Flags = 256 }), "no key matches"},
		{"refuses", lab.Rcode(dns.RcodeRefused), "REFUSED"},
		{"is silent", lab.Timeout, "no answer"},
		{"knows nothing", lab.Rcode(dns.RcodeNameError), "no keys"},
		{"has old signatures", lab.EachSig(0, func(s *dns.RRSIG) { s.Expiration = stamp(-time.Hour) }), "expired"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			l := hierarchy(t)
			v := validator(t, l)
			if err := v.ProbeAnchor(t.Context(), l); err != nil { // what was learnt before does not count
				t.Fatal(err)
			}
			l.Tamper("", 0, tc.edit)
			err := v.ProbeAnchor(t.Context(), l)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Expected an error with %q, got %v", tc.want, err)
			}
		})
	}
}

func TestAnAnchorOutOfReachLeavesAResolverFit(t *testing.T) {
	// A zone of one's own has an anchor, too, and is down.
	for _, tc := range []struct {
		name, down string
		edit       lab.Tamper
		fit        bool
	}{
		{"up", "example.net.", func(m *dns.Msg) *dns.Msg { return m }, true},
		{"down", "example.net.", lab.Rcode(dns.RcodeServerFailure), true},
		{"silent", "example.net.", lab.Timeout, true},
		{"the root is down", ".", lab.Timeout, true},
		{"both are down", "", lab.Timeout, false},
		{"unknown to the resolver", "example.net.", lab.Rcode(dns.RcodeNameError), false},
		{"without signatures", "example.net.", lab.StripSignatures, false},
	} {
		l := hierarchy(t)
		v := validate.New(parsed(t, l.Anchors()+l.AnchorsOf("example.net.")), validate.Options{Now: clock})
		l.Tamper(tc.down, dns.TypeDNSKEY, tc.edit)
		if err := v.ProbeAnchor(t.Context(), l); (err == nil) != tc.fit {
			t.Errorf("%s: Expected fit: %t, got %v", tc.name, tc.fit, err)
		}
	}
}
