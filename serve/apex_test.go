package serve

import (
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/merge"
)

const zone = "example.co.uk."

// provider is what a test signs an apex with.
type provider struct {
	ring
	ksk, zsk *keys.Key
	joint    merge.Joint
}

func newProvider(t testing.TB, name string) *provider {
	p := &provider{ring: ring{zone: name}}
	p.ksk = p.key(t, dns.ECDSAP256SHA256, 257, keys.KSK)
	p.zsk = p.key(t, dns.ECDSAP256SHA256, 256, keys.ZSK)
	p.joint = merge.Union(name, merge.Local{DNSKEY: []merge.Key{p.ksk.ID(), p.zsk.ID()}, SecureEntry: []merge.Key{p.ksk.ID()}},
		[]merge.Peer{{Host: "ns1.provider-b.org.", Announcement: merge.Announcement{
			DNSKEY: []merge.Key{foreign(t, name, 256)}, CDNSKEY: []merge.Key{foreign(t, name, 257)},
		}}})
	return p
}

func (p *provider) signers() Signers {
	return Signers{SecureEntry: []*keys.Key{p.ksk}, Data: []*keys.Key{p.zsk}}
}

func (p *provider) sign(t testing.TB, params Params, old *Apex) *Apex {
	t.Helper()
	a, err := SignApex(p.zone, p.joint, p.signers(), params, old)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (p *provider) by(qtype uint16) []*keys.Key {
	if qtype == dns.TypeDNSKEY {
		return []*keys.Key{p.ksk}
	}
	return []*keys.Key{p.ksk, p.zsk}
}

// records returns what the apex has to answer.
func (p *provider) records(qtype uint16, ttl uint32) []dns.RR {
	var rrs []dns.RR
	switch qtype {
	case dns.TypeDNSKEY:
		for _, k := range p.joint.DNSKEY {
			rrs = append(rrs, k.DNSKEY(p.zone, ttl))
		}
	case dns.TypeCDNSKEY:
		for _, k := range p.joint.CDNSKEY {
			rrs = append(rrs, k.CDNSKEY(p.zone, ttl))
		}
	case dns.TypeCDS:
		for _, d := range p.joint.CDS {
			rrs = append(rrs, d.CDS(p.zone, ttl))
		}
	}
	return rrs
}

var apexTypes = []uint16{dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY}

func TestApexServesTheJointSets(t *testing.T) {
	p := newProvider(t, zone)
	a := p.sign(t, Params{TTL: 3600, Now: now}, nil)
	v := validator{zone: zone, now: now, by: func(_ string, qtype uint16) []*keys.Key { return p.by(qtype) }}
	for _, qtype := range apexTypes {
		r := question("eXample.CO.uk.", qtype, true, false)
		m, answer := a.Reply(r)
		if answer != Served {
			t.Fatalf("Expected %s to be served, got %d", dns.Type(qtype), answer)
		}
		m = overWire(t, m)
		if !m.Authoritative || m.Rcode != dns.RcodeSuccess || m.Id != r.Id || m.Question[0] != r.Question[0] || len(m.Ns) != 0 {
			t.Errorf("Expected an authoritative answer to the question as spelt, got\n%v", m)
		}
		rrs, err := v.verify(m.Answer)
		if err != nil {
			t.Errorf("%s: %v", dns.Type(qtype), err)
		}
		sameWire(t, rrs, p.records(qtype, 3600))

		m, _ = a.Reply(question(zone, qtype, false, false))
		sameWire(t, m.Answer, p.records(qtype, 3600)) // no RRSIG
	}
}

func TestZeroApexFails(t *testing.T) {
	for _, a := range []*Apex{nil, {}} {
		for _, qtype := range append(apexTypes, dns.TypeA) {
			if m, answer := a.Reply(question(zone, qtype, true, false)); answer != Failing || m.Rcode != dns.RcodeServerFailure || len(m.Answer) > 0 {
				t.Errorf("Expected SERVFAIL to %s, got %d and\n%v", dns.Type(qtype), answer, m)
			}
		}
	}
	if m, answer := new(Apex).Reply(new(dns.Msg)); answer != Failing || m.Rcode != dns.RcodeFormatError {
		t.Errorf("Expected FORMERR without a question, got %d and\n%v", answer, m)
	}
}

func TestApexWithholdsWhatIsIncomplete(t *testing.T) {
	p := newProvider(t, zone)
	p.joint.Unmatched = []merge.DS{{KeyTag: 1, Algorithm: 13, DigestType: 2, Digest: "00"}}
	a := p.sign(t, Params{TTL: 3600, Now: now}, nil)
	if a.CDNSKEY.Answer != Withheld || a.CDS.Answer != Served || a.DNSKEY.Answer != Served {
		t.Errorf("Expected CDNSKEY alone to be withheld, got %+v", a)
	}
	if m, answer := a.Reply(question(zone, dns.TypeCDNSKEY, true, false)); m != nil || answer != Withheld {
		t.Errorf("Expected no reply of ours, got %d and\n%v", answer, m)
	}
	p.joint.CDS, p.joint.CDNSKEY = nil, nil
	if a = p.sign(t, Params{TTL: 3600, Now: now}, nil); a.CDS.Answer != Withheld || a.CDNSKEY.Answer != Withheld {
		t.Errorf("Expected empty sets to be withheld, got %+v", a)
	}
	p.joint.DNSKEY = nil
	if a, err := SignApex(zone, p.joint, p.signers(), Params{Now: now}, nil); err == nil {
		t.Errorf("Expected an error without keys, got %+v", a)
	}
}

func TestApexSignaturesLastTwoWeeks(t *testing.T) {
	p := newProvider(t, zone)
	for _, tc := range []struct {
		jitter float64
		valid  time.Duration
	}{{0, 14 * day}, {0.5, 14 * day * 95 / 100}} {
		a := p.sign(t, Params{TTL: 60, Now: now, Jitter: func() float64 { return tc.jitter }}, nil)
		for _, sig := range a.Signatures() {
			if got := sig.Inception(now); !got.Equal(now.Add(-3 * time.Hour)) {
				t.Errorf("Expected inception 3 hours ago, got %s", got)
			}
			if got := sig.Expiration(now); !got.Equal(now.Add(tc.valid)) {
				t.Errorf("Expected expiration in %s, got %s", tc.valid, got.Sub(now))
			}
		}
		if got := a.Expires(); !got.Equal(now.Add(tc.valid)) {
			t.Errorf("Expected Expires in %s, got %s", tc.valid, got.Sub(now))
		}
		if got := a.Renew(); !got.Equal(now.Add(tc.valid - 84*time.Hour)) {
			t.Errorf("Expected Renew with a quarter left, got in %s", got.Sub(now))
		}
	}
}

func TestApexReusesSignaturesThatFit(t *testing.T) {
	p := newProvider(t, zone)
	old := p.sign(t, Params{TTL: 3600, Now: now}, nil)
	if got := p.spent(); got != 5 {
		t.Fatalf("Expected 5 signatures: 1 over DNSKEY, 2 each over CDS and CDNSKEY, got %d", got)
	}
	stored := old.Signatures()
	later := func(d time.Duration) Params { return Params{TTL: 3600, Now: now.Add(d)} }
	altered := func(keep bool, change func(*dns.RRSIG)) []Signature {
		var sigs []Signature
		for _, sig := range stored {
			c := sig.RRSIG()
			change(c)
			over := sig.Over
			if !keep {
				over = Digest{}
			}
			sigs = append(sigs, kept(t, c, over))
		}
		return sigs
	}
	bad := func(change func(*dns.RRSIG)) []Signature { return altered(true, change) }
	unknown := func(change func(*dns.RRSIG)) []Signature { return altered(false, change) }
	none := func(*dns.RRSIG) {}
	offered := func(sigs []Signature) Params { return Params{TTL: 3600, Now: now.Add(day), Stored: sigs} }
	other := foreign(t, zone, 256)
	brief := p.sign(t, Params{TTL: 60, Now: now}, nil).Signatures()
	wild := func(owner string, life time.Duration) (sigs []Signature) {
		for _, qtype := range apexTypes {
			for _, k := range p.by(qtype) {
				rrs := p.records(qtype, 3600)
				for _, rr := range rrs {
					rr.Header().Name = owner
				}
				sig := &dns.RRSIG{
					Hdr: dns.RR_Header{Ttl: 3600}, KeyTag: k.Tag(), SignerName: zone, Algorithm: k.DNSKEY.Algorithm,
					Inception: uint32(now.Unix()), Expiration: uint32(now.Add(life).Unix()),
				}
				if err := sig.Sign(k.Signer, rrs); err != nil {
					t.Fatal(err)
				}
				sig.Hdr.Name = zone
				sigs = append(sigs, kept(t, sig, Digest{}))
			}
		}
		return sigs
	}
	for _, tc := range []struct {
		name   string
		params Params
		old    *Apex
		change func(*provider)
		want   int64
	}{
		{"nothing changed", later(day), old, nil, 0},
		{"nothing known", later(day), nil, nil, 5},
		{"not yet due", later(14*day - 84*time.Hour - time.Second), old, nil, 0},
		{"due", later(14*day - 84*time.Hour), old, nil, 5},
		{"clock before inception", later(-4 * time.Hour), old, nil, 5},
		{"another TTL", Params{TTL: 60, Now: now}, old, nil, 5},
		{"one more key", later(day), old, func(p *provider) { p.joint.DNSKEY = append(slices.Clone(p.joint.DNSKEY), other) }, 1},
		{"another ZSK signs", later(day), old, func(p *provider) { p.zsk = p.key(t, dns.ED25519, 256, keys.ZSK) }, 2},
		{"stored", offered(stored), nil, nil, 0},
		{"stored with another TTL in the header", offered(bad(func(s *dns.RRSIG) { s.Hdr.Ttl = 1 })), nil, nil, 0},
		{"stored over other records", offered(stored), nil, func(p *provider) { p.joint.DNSKEY = p.joint.DNSKEY[1:] }, 1},
		{"stored, forged", offered(bad(func(s *dns.RRSIG) { s.Expiration-- })), nil, nil, 5},
		{"stored without a digest", offered(unknown(none)), nil, nil, 0},
		{"stored without a digest, forged", offered(unknown(func(s *dns.RRSIG) { s.Expiration-- })), nil, nil, 5},
		{"stored, made elsewhere", offered(wild(zone, 14*day)), nil, nil, 0},
		{"stored, too long a life", offered(wild(zone, 15*day)), nil, nil, 5},
		{"stored by another signer", offered(bad(func(s *dns.RRSIG) { s.SignerName = "co.uk." })), nil, nil, 5},
		{"stored over another TTL", offered(brief), nil, nil, 5},
		{"stored over a wildcard", offered(wild("*.co.uk.", 14*day)), nil, nil, 5},
		{"stored, due", Params{TTL: 3600, Now: now.Add(12 * day), Stored: stored}, nil, nil, 5},
		{"stored, damaged", offered(bad(func(s *dns.RRSIG) { s.Signature = "AAAA" })), nil, nil, 5},
	} {
		q := &provider{ring: ring{zone: zone}, ksk: p.ksk, zsk: p.zsk, joint: p.joint}
		if tc.change != nil {
			tc.change(q)
		}
		p.spent()
		a := q.sign(t, tc.params, tc.old)
		if got := p.spent() + q.spent(); got != tc.want {
			t.Errorf("%s: expected %d new signatures, got %d", tc.name, tc.want, got)
		}
		v := validator{zone: zone, now: tc.params.Now, by: func(_ string, qtype uint16) []*keys.Key { return q.by(qtype) }}
		for _, qtype := range apexTypes {
			m, _ := a.Reply(question(zone, qtype, true, false))
			rrs, err := v.verify(m.Answer)
			if err != nil {
				t.Errorf("%s: %v", tc.name, err)
			}
			sameWire(t, rrs, q.records(qtype, tc.params.TTL))
		}
	}
}

func TestCSKSignsOnce(t *testing.T) {
	p := &provider{ring: ring{zone: zone}}
	csk := p.key(t, dns.ED25519, 257, keys.CSK)
	p.ksk, p.zsk = csk, csk
	p.joint = merge.Union(zone, merge.Local{DNSKEY: []merge.Key{csk.ID()}, SecureEntry: []merge.Key{csk.ID()}}, nil)
	if a := p.sign(t, Params{TTL: 60, Now: now}, nil); len(a.Signatures()) != 3 || p.spent() != 3 {
		t.Errorf("Expected one signature over each set, got %v", a.Signatures())
	}
}

func TestKeyWithoutItsPrivateHalfServesItsSignaturesToTheirEnd(t *testing.T) {
	p := newProvider(t, zone)
	stored := p.sign(t, Params{TTL: 3600, Now: now}, nil).Signatures()
	p.ksk = public(p.ksk)
	p.spent()
	late := Params{TTL: 3600, Now: now.Add(13 * day), Stored: stored}
	a := p.sign(t, late, nil)
	if got := p.spent(); got != 2 || len(a.Signatures()) != 5 {
		t.Errorf("Expected 3 stored signatures and 2 new ones by the ZSK, got %d and %d new", len(a.Signatures()), got)
	}
	if !a.Expires().Equal(now.Add(14*day)) || !a.Renew().After(late.Now) {
		t.Errorf("Expected the end of the stored ones and the renewal of the others, got %s and %s", a.Expires(), a.Renew())
	}
	late.Now = now.Add(14 * day)
	if a, err := SignApex(zone, p.joint, p.signers(), late, nil); err == nil {
		t.Errorf("Expected an error without a signature over DNSKEY, got %+v", a)
	}
}

func TestApexDataHasOneKeyForEachAlgorithm(t *testing.T) {
	p := newProvider(t, zone)
	ed := p.key(t, dns.ED25519, 256, keys.ZSK)
	s := Signers{SecureEntry: []*keys.Key{p.ksk}, Data: []*keys.Key{public(ed), p.zsk, p.key(t, dns.ECDSAP256SHA256, 256, keys.ZSK), ed}}
	a, err := SignApex(zone, p.joint, s, Params{Now: now}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(a.Data, []*keys.Key{p.zsk, ed}) {
		t.Errorf("Expected the first private key of each algorithm, got %v", a.Data)
	}
}

func TestReplyOfApexIsACopy(t *testing.T) {
	p := newProvider(t, zone)
	a := p.sign(t, Params{TTL: 3600, Now: now}, nil)
	for _, qtype := range apexTypes {
		m, _ := a.Reply(question(zone, qtype, true, false))
		want := m.Copy()
		spoil(m)
		if again, _ := a.Reply(question(zone, qtype, true, false)); !slices.EqualFunc(again.Answer, want.Answer, func(x, y dns.RR) bool { return x.String() == y.String() }) {
			t.Errorf("Expected the view to stay as it was, got\n%v", again)
		}
	}
}

// spoil changes all that a plugin might change in a message.
func spoil(m *dns.Msg) {
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for i, rr := range section {
			rr.Header().Name, rr.Header().Ttl = "spoilt.example.net.", 1
			switch rr := rr.(type) {
			case *dns.DNSKEY:
				rr.PublicKey = ""
			case *dns.CDNSKEY:
				rr.PublicKey = ""
			case *dns.CDS:
				rr.Digest = ""
			case *dns.RRSIG:
				rr.Signature = ""
			case *dns.NSEC:
				rr.NextDomain = ""
				for i := range rr.TypeBitMap {
					rr.TypeBitMap[i] = 0
				}
			case *dns.SOA:
				rr.Ns = ""
			case *dns.NS:
				rr.Ns = ""
			}
			section[i] = nil
		}
	}
}

func TestSigTimeIsNearestToNow(t *testing.T) {
	for _, at := range []time.Time{now, time.Unix(1<<32-10, 0), time.Unix(1<<32+10, 0)} {
		for _, d := range []time.Duration{-day, 0, 14 * day} {
			if got := sigTime(uint32(at.Add(d).Unix()), at); !got.Equal(at.Add(d).Truncate(time.Second)) {
				t.Errorf("Expected %s, got %s", at.Add(d), got)
			}
		}
	}
}

// kept returns a signature as it is kept.
func kept(t testing.TB, sig *dns.RRSIG, over Digest) Signature {
	t.Helper()
	s, err := NewSignature(sig, over)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A fleet's signatures are taken over without verifying each of them: what was
// known to fit is told by its digest.
func TestSignaturesKnownToFitAreNotVerified(t *testing.T) {
	p := newProvider(t, zone)
	var s signer
	if err := s.packer.pack(p.records(dns.TypeDNSKEY, 3600)); err != nil {
		t.Fatal(err)
	}
	var sigs []Signature
	for _, sig := range p.sign(t, Params{TTL: 3600, Now: now}, nil).Signatures() {
		if sig.Covers() != dns.TypeDNSKEY {
			sigs = append(sigs, sig)
			continue
		}
		changed := sig.RRSIG()
		changed.Expiration--
		forged := kept(t, changed, Digest{})
		forged.Over = s.digest(p.ksk.ID(), forged)
		sigs = append(sigs, forged)
	}
	p.spent()
	p.sign(t, Params{TTL: 3600, Now: now, Stored: sigs}, nil)
	if got := p.spent(); got != 0 {
		t.Errorf("Expected no signature to be made anew, got %d", got)
	}
}
