package chain

import (
	"context"
	"crypto"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/coredns-mske/mske/cns"
	"github.com/coredns-mske/mske/merge"

	"github.com/miekg/dns"
)

const zone = "example.co.uk."

var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func init() { cns.Register() }

// signer is a key pair that signs the fake chain's answers.
type signer struct {
	key     *dns.DNSKEY
	private crypto.Signer
}

func newSigner(t testing.TB, flags uint16) signer {
	t.Helper()
	k := &dns.DNSKEY{Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600},
		Flags: flags, Protocol: 3, Algorithm: dns.ECDSAP256SHA256}
	p, err := k.Generate(256)
	if err != nil {
		t.Fatal(err)
	}
	return signer{key: k, private: p.(crypto.Signer)}
}

func (s signer) sign(t testing.TB, set []dns.RR) *dns.RRSIG {
	t.Helper()
	sig := &dns.RRSIG{Algorithm: s.key.Algorithm, KeyTag: s.key.KeyTag(), SignerName: zone,
		Inception: uint32(now.Add(-time.Hour).Unix()), Expiration: uint32(now.Add(time.Hour).Unix())}
	if err := sig.Sign(s.private, set); err != nil {
		t.Fatal(err)
	}
	return sig
}

// fake is a chain that answers the apex of one zone from a table.
type fake struct {
	t       testing.TB
	records map[uint16][]dns.RR
	signer  *signer
	asked   int
	mangle  func(q *dns.Msg, m *dns.Msg)
}

func newFake(t testing.TB, s *signer, records ...string) *fake {
	t.Helper()
	f := &fake{t: t, records: make(map[uint16][]dns.RR), signer: s}
	for _, text := range append(records, zone+" 300 IN SOA ns1.provider-a.net. h.example.co.uk. 7 3600 600 86400 60",
		zone+" 600 IN NS ns1.provider-a.net.") {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		f.records[rr.Header().Rrtype] = append(f.records[rr.Header().Rrtype], rr)
	}
	return f
}

func (f *fake) ask(_ context.Context, q *dns.Msg) (*dns.Msg, error) {
	f.asked++
	m := new(dns.Msg)
	m.SetReply(q)
	m.Authoritative = true
	put := func(section *[]dns.RR, set []dns.RR) {
		for _, rr := range set {
			*section = append(*section, dns.Copy(rr))
		}
		if f.signer != nil && len(set) > 0 {
			*section = append(*section, f.signer.sign(f.t, set))
		}
	}
	if set := f.records[q.Question[0].Qtype]; len(set) > 0 {
		put(&m.Answer, set)
	} else {
		put(&m.Ns, f.records[dns.TypeSOA])
	}
	if f.mangle != nil {
		f.mangle(q, m)
	}
	return m, nil
}

func options(known ...signer) Options {
	o := Options{CNSType: cns.DefaultType, Now: now}
	for _, s := range known {
		o.Known = append(o.Known, merge.KeyOf(s.key))
	}
	return o
}

func TestReadSeesWhatTheOwnerWants(t *testing.T) {
	s := newSigner(t, 256)
	f := newFake(t, &s, zone+" 60 IN CNS NS1.provider-b.org.", zone+" 60 IN CNS ns1.provider-a.net.", zone+" 60 IN CSYNC 7 3 NS")
	l, err := Read(t.Context(), f.ask, zone, options(s))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"ns1.provider-a.net.", "ns1.provider-b.org."}; !slices.Equal(l.CNS, want) || !l.HasCNS {
		t.Errorf("Expected CNS %v, got %v", want, l.CNS)
	}
	if !l.HasCSYNC || l.Serial != 7 || !slices.Equal(l.NS, []string{"ns1.provider-a.net."}) || l.NSTTL != 10*time.Minute {
		t.Errorf("Expected CSYNC, serial 7 and one NS of 10m, got %+v", l)
	}
	if want := []merge.Key{merge.KeyOf(s.key)}; !slices.Equal(l.Signers, want) {
		t.Errorf("Expected signers %v, got %v", want, l.Signers)
	}
}

func TestReadTakesCNSOfAnotherNumber(t *testing.T) {
	s := newSigner(t, 256)
	f := newFake(t, &s, zone+` 60 IN TYPE65400 \# 20 036e73310a70726f76696465722d62036f726700`)
	o := options(s)
	o.CNSType = 65400
	l, err := Read(t.Context(), f.ask, zone, o)
	if err != nil || !slices.Equal(l.CNS, []string{"ns1.provider-b.org."}) {
		t.Errorf("Expected the host of TYPE65400, got %v, %v", l.CNS, err)
	}
}

func TestReadKnowsTheKeysOfTheChainItself(t *testing.T) {
	s := newSigner(t, 256)
	f := newFake(t, &s)
	f.records[dns.TypeDNSKEY] = []dns.RR{s.key}
	l, err := Read(t.Context(), f.ask, zone, options())
	if err != nil || len(l.Keys) != 1 || len(l.Signers) != 1 {
		t.Errorf("Expected the chain's key to be known and to sign, got %+v, %v", l, err)
	}
}

func TestReadNamesSignersThatNobodyKnows(t *testing.T) {
	s := newSigner(t, 256)
	tests := []struct {
		name   string
		signer *signer
		tags   []uint16
	}{
		{"signed with another key", &s, []uint16{s.key.KeyTag()}},
		{"not signed", nil, nil},
	}
	for _, tc := range tests {
		_, err := Read(t.Context(), newFake(t, tc.signer).ask, zone, options(newSigner(t, 256)))
		var unknown *UnknownSignerError
		if !errors.As(err, &unknown) || !slices.Equal(unknown.Tags, tc.tags) {
			t.Errorf("%s: expected an UnknownSignerError with tags %v, got %v", tc.name, tc.tags, err)
		}
	}
}

func TestReadWantsASignerForEveryAlgorithm(t *testing.T) {
	s := newSigner(t, 256)
	f := newFake(t, &s)
	f.mangle = func(_, m *dns.Msg) {
		for _, rr := range m.Answer {
			if sig, ok := rr.(*dns.RRSIG); ok {
				other := dns.Copy(sig).(*dns.RRSIG)
				other.Algorithm, other.KeyTag = dns.RSASHA256, 4711
				m.Answer = append(m.Answer, other)
				return
			}
		}
	}
	_, err := Read(t.Context(), f.ask, zone, options(s))
	var unknown *UnknownSignerError
	if !errors.As(err, &unknown) || !slices.Equal(unknown.Tags, []uint16{4711}) {
		t.Errorf("Expected an UnknownSignerError naming 4711, got %v", err)
	}
}

func TestOnlyAnAnswerThatCountsIsRead(t *testing.T) {
	s := newSigner(t, 256)
	tests := []struct {
		name   string
		qtype  uint16
		mangle func(*dns.Msg)
	}{
		{"CNS: SERVFAIL", cns.DefaultType, func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure }},
		{"CNS: NXDOMAIN", cns.DefaultType, func(m *dns.Msg) { m.Rcode = dns.RcodeNameError }},
		{"CNS: not authoritative", cns.DefaultType, func(m *dns.Msg) { m.Authoritative = false }},
		{"CNS: neither records nor SOA", cns.DefaultType, func(m *dns.Msg) { m.Answer, m.Ns = nil, nil }},
		{"CNS: signature of a stranger", cns.DefaultType, func(m *dns.Msg) {
			other := newSigner(t, 256)
			m.Answer = append(m.Answer[:1], other.sign(t, m.Answer[:1]))
		}},
		{"NS: SERVFAIL", dns.TypeNS, func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure }},
		{"DNSKEY: SERVFAIL", dns.TypeDNSKEY, func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure }},
		{"SOA: not there", dns.TypeSOA, func(m *dns.Msg) { m.Answer = nil }},
	}
	for _, tc := range tests {
		f := newFake(t, &s, zone+" 60 IN CNS ns1.provider-b.org.")
		f.mangle = func(q, m *dns.Msg) {
			if q.Question[0].Qtype == tc.qtype {
				tc.mangle(m)
			}
		}
		if l, err := Read(t.Context(), f.ask, zone, options(s)); err == nil {
			t.Errorf("%s: expected an error, got %+v", tc.name, l)
		}
	}
}

func TestReadFailsIfTheZoneChangesMeanwhile(t *testing.T) {
	s := newSigner(t, 256)
	f := newFake(t, &s)
	f.mangle = func(q, m *dns.Msg) {
		if q.Question[0].Qtype == dns.TypeNS {
			f.records[dns.TypeSOA][0].(*dns.SOA).Serial++
		}
	}
	if _, err := Read(t.Context(), f.ask, zone, options(s)); !errors.Is(err, ErrChanging) {
		t.Errorf("Expected ErrChanging, got %v", err)
	}
}

func TestProbeDenial(t *testing.T) {
	const name = "x7f3._signal.ns1.provider-a.net."
	nsec := func(owner, next string) string { return owner + " 60 IN NSEC " + next + " A RRSIG NSEC" }
	h := func(text string) string { return text + ".provider-a.net. 60 IN NSEC3 1 0 0 - " }
	hashed := dns.HashName(name, dns.SHA1, 0, "")
	below, above := neighbours(t, hashed)
	tests := []struct {
		name   string
		denial string
		unfit  bool
	}{
		{"nothing", "", false},
		{"compact denial", nsec(name, `\000.`+name), false},
		{"static zone", nsec("ns1.provider-a.net.", "www.provider-a.net."), true},
		{"last record of the zone", nsec("ns1.provider-a.net.", "provider-a.net."), true},
		{"elsewhere", nsec("a.provider-a.net.", "b.provider-a.net."), false},
		{"NSEC3 of a static zone", h("00000000000000000000000000000000") + "VVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVV A", true},
		{"NSEC3 made for one name", h(below) + above + " A", false},
		{"delegated", "_signal.ns1.provider-a.net. 60 IN NS ns1.provider-a.net.", true},
		{"referred upwards", ". 60 IN NS a.root-servers.net.", false},
		{"NSEC3 elsewhere", h("00000000000000000000000000000000") + "00000000000000000000000000000001 A", false},
	}
	for _, tc := range tests {
		ask := func(_ context.Context, q *dns.Msg) (*dns.Msg, error) {
			m := new(dns.Msg)
			m.SetRcode(q, dns.RcodeNameError)
			if tc.denial != "" {
				rr, err := dns.NewRR(tc.denial)
				if err != nil {
					t.Fatal(err)
				}
				m.Ns = []dns.RR{rr}
			}
			return m, nil
		}
		var unfit *UnfitError
		if err := ProbeDenial(t.Context(), ask, name); errors.As(err, &unfit) != tc.unfit {
			t.Errorf("%s: expected unfit %t, got %v", tc.name, tc.unfit, err)
		}
	}
}

// neighbours returns the hashes just below and above h.
func neighbours(t testing.TB, h string) (below, above string) {
	t.Helper()
	octets, err := base32Hash.DecodeString(h)
	if err != nil {
		t.Fatal(err)
	}
	last := len(octets) - 1
	if octets[last] == 0 || octets[last] == 255 {
		t.Fatalf("Expected a hash with room on both sides, got %s", h)
	}
	octets[last]--
	below = base32Hash.EncodeToString(octets)
	octets[last] += 2
	return below, base32Hash.EncodeToString(octets)
}
