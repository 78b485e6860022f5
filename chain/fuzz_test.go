package chain

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/coredns-mske/mske/cns"
	"github.com/coredns-mske/mske/merge"

	"github.com/miekg/dns"
)

// maxAsked is the most questions of one look: SOA twice, DNSKEY, NS, CNS and
// CSYNC.
const maxAsked = 6

// forgery has octets be the chain's answer to the question of one number, and
// the honest answer be that to all others.
type forgery struct {
	*fake
	at    int
	wire  []byte
	asked int
}

func (f *forgery) ask(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
	f.asked++
	if f.asked-1 != f.at {
		return f.fake.ask(ctx, q)
	}
	m := new(dns.Msg)
	if err := m.Unpack(f.wire); err != nil {
		return nil, err
	}
	return m, nil
}

// fixedSigner returns the signer of a seed: the processes that fuzz have the same
// keys.
func fixedSigner(seed byte) signer {
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	return signer{private: private, key: &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600},
		Flags: 256, Protocol: 3, Algorithm: dns.ED25519,
		PublicKey: base64.StdEncoding.EncodeToString(private[ed25519.SeedSize:]),
	}}
}

// FuzzRead has any octets be one of the answers that a look at the zone reads.
// What comes of it is bounded and canonical, the same each time, and of keys and
// hosts only what the answers hold: nothing that a signature of a stranger
// stands for.
func FuzzRead(f *testing.F) {
	s, stranger := fixedSigner(1), fixedSigner(2)
	records := []string{zone + " 60 IN CNS ns1.provider-b.org.", zone + " 60 IN CNS ns1.provider-a.net.", zone + " 60 IN CSYNC 7 3 NS"}
	answer := func(x *fake, qtype uint16) []byte {
		m, err := x.ask(f.Context(), Question(zone, qtype))
		if err != nil {
			f.Fatal(err)
		}
		wire, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		return wire
	}
	for _, by := range []*signer{&s, &stranger, nil} {
		honest := newFake(f, by, records...)
		honest.records[dns.TypeDNSKEY] = []dns.RR{s.key}
		at := uint8(0)
		for _, qtype := range []uint16{dns.TypeSOA, dns.TypeDNSKEY, dns.TypeNS, cns.DefaultType, dns.TypeCSYNC, dns.TypeSOA} {
			wire := answer(honest, qtype)
			f.Add(wire, at, true)
			f.Add(wire, at, false)
			f.Add(wire, (at+1)%maxAsked, true)
			at++
		}
	}
	many := newFake(f, &s)
	for i := range maxKeys + 1 {
		many.records[dns.TypeDNSKEY] = append(many.records[dns.TypeDNSKEY], fixedSigner(byte(i)).key)
	}
	f.Add(answer(many, dns.TypeDNSKEY), uint8(1), true)
	f.Fuzz(func(t *testing.T, wire []byte, at uint8, signed bool) {
		look := func() (Look, int, error) {
			x := &forgery{fake: newFake(t, &s, records...), at: int(at % maxAsked), wire: wire}
			o := options(s)
			if !signed {
				o = options()
			}
			l, err := Read(t.Context(), x.ask, zone, o)
			return l, x.asked, err
		}
		l, asked, err := look()
		if asked > maxAsked {
			t.Errorf("Expected at most %d questions, got %d", maxAsked, asked)
		}
		var unknown *UnknownSignerError
		switch {
		case err == nil && signed && !slices.Contains(l.Signers, merge.KeyOf(s.key)):
			t.Errorf("Expected no other signer than ours, who alone has signed, got %+v", l)
		case err == nil:
			checkLook(t, l)
			if m := new(dns.Msg); signed && l.HasCNS && at%maxAsked == 3 && m.Unpack(wire) == nil {
				checkSigned(t, m, cns.DefaultType, s.key)
			}
		case errors.As(err, &unknown) && l.SOA != nil:
			if len(unknown.Error()) > 2000 || len(l.CNS) > 0 || len(l.NS) > 0 {
				t.Errorf("Expected a short error and no hosts, got %.3000s, %+v", unknown, l)
			}
		case len(l.Keys)+len(l.NS)+len(l.CNS)+len(l.Signers) > 0:
			t.Errorf("Expected nothing with an error, got %+v, %v", l, err)
		}
	})
}

// checkSigned checks that m, whose records of a type were taken, is unsigned or
// has a valid signature over them by k.
func checkSigned(t *testing.T, m *dns.Msg, rrtype uint16, k *dns.DNSKEY) {
	t.Helper()
	set := rrset(m.Answer, zone, rrtype)
	var sigs []*dns.RRSIG
	for _, rr := range m.Answer {
		if sig, ok := rr.(*dns.RRSIG); ok && sig.TypeCovered == rrtype && dns.CanonicalName(sig.SignerName) == zone {
			sigs = append(sigs, sig)
		}
	}
	valid := func(sig *dns.RRSIG) bool { return sig.ValidityPeriod(now) && sig.Verify(k, set) == nil }
	if len(sigs) > 0 && !slices.ContainsFunc(sigs, valid) {
		t.Errorf("Expected nothing to be taken that a stranger signed, got %v", m)
	}
}

// checkLook checks what is in a look that succeeded.
func checkLook(t *testing.T, l Look) {
	t.Helper()
	if len(l.Keys) > maxKeys || len(l.Signers) > maxKeys+1 || l.HasCNS != (len(l.CNS) > 0) || l.SOA == nil || l.SOA.Serial != l.Serial || l.NSTTL < 0 {
		t.Errorf("Expected a look within bounds, got %+v", l)
	}
	for _, hosts := range [][]string{l.NS, l.CNS} {
		if !slices.IsSorted(hosts) || len(slices.Compact(slices.Clone(hosts))) != len(hosts) {
			t.Errorf("Expected hosts in order, each once, got %q", hosts)
		}
		for _, h := range hosts {
			if dns.CanonicalName(h) != h {
				t.Errorf("Expected canonical names, got %q", h)
			}
		}
	}
	for _, h := range l.CNS {
		if name, err := cns.HostName(h); err != nil || name != h {
			t.Errorf("Expected host names in CNS, got %q", h)
		}
	}
}

// FuzzProbe has any octets be the chain's denial of a name below a signaling
// domain. A chain is called unfit for the record that says so, once the answer
// denies more than that name, or refers to a zone in between.
func FuzzProbe(f *testing.F) {
	const name = "x7f3._signal.ns1.provider-a.net."
	add := func(authoritative bool, records ...string) {
		m := new(dns.Msg).SetRcode(Question(name, dns.TypeTXT), dns.RcodeNameError)
		m.Authoritative = authoritative
		for _, text := range records {
			rr, err := dns.NewRR(text)
			if err != nil {
				f.Fatal(err)
			}
			m.Ns = append(m.Ns, rr)
		}
		wire, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	hashed := dns.HashName(name, dns.SHA1, 0, "")
	below, above := neighbours(f, hashed)
	add(true)
	add(true, name+` 60 IN NSEC \000.`+name+" A RRSIG NSEC")
	add(true, "ns1.provider-a.net. 60 IN NSEC www.provider-a.net. A RRSIG NSEC")
	add(true, "ns1.provider-a.net. 60 IN NSEC provider-a.net. A RRSIG NSEC")
	add(true, "00000000000000000000000000000000.provider-a.net. 60 IN NSEC3 1 0 0 - VVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVV A")
	add(true, below+".provider-a.net. 60 IN NSEC3 1 0 0 - "+above+" A")
	add(true, below+".provider-a.net. 60 IN NSEC3 1 0 65535 AABB "+above+" A")
	add(false, "_signal.ns1.provider-a.net. 60 IN NS ns1.provider-a.net.")
	add(true, "_signal.ns1.provider-a.net. 60 IN NS ns1.provider-a.net.")
	add(false, ". 60 IN NS a.root-servers.net.")
	f.Fuzz(func(t *testing.T, wire []byte) {
		m := new(dns.Msg)
		if m.Unpack(wire) != nil {
			return
		}
		defer time.AfterFunc(time.Minute, func() { panic("the probe takes for ever") }).Stop()
		before := m.String()
		err := ProbeDenial(t.Context(), func(context.Context, *dns.Msg) (*dns.Msg, error) { return m, nil }, name)
		if m.String() != before {
			t.Error("Expected the answer to be left alone")
		}
		var unfit *UnfitError
		if err == nil {
			return
		}
		if !errors.As(err, &unfit) || !slices.Contains(m.Ns, unfit.Denial) || unfit.Name != name {
			t.Fatalf("Expected nothing but an UnfitError of the answer's own record, got %v", err)
		}
		switch d := unfit.Denial.(type) {
		case *dns.NS:
			if m.Authoritative || len(m.Answer) > 0 || d.Hdr.Name == "." {
				t.Errorf("Expected a referral, got %v", m)
			}
		case *dns.NSEC:
			if d.NextDomain == `\000.`+name && dns.CanonicalName(d.Hdr.Name) == name {
				t.Errorf("Expected the compact denial of the name to be fit, got %v", d)
			}
		case *dns.NSEC3:
			if !d.Cover(name) {
				t.Errorf("Expected an NSEC3 that covers the name, got %v", d)
			}
		default:
			t.Errorf("Expected a denial, got %v", d)
		}
	})
}
