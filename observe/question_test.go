package observe

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/validate"
)

// id returns the keys as a Sight has them.
func id(ks ...*lab.Key) (out []merge.Key) {
	for _, k := range ks {
		out = append(out, merge.KeyOf(k.DNSKEY))
	}
	return out
}

// digest returns the digests of one type.
func digest(digestType uint8, ks ...*lab.Key) (out []merge.DS) {
	for _, k := range id(ks...) {
		d, _ := k.DS(zone, digestType)
		out = append(out, d)
	}
	return out
}

// seen returns a Sight of hosts a., b. ..., each at one address that serves the
// same over both transports.
func seen(apexes ...Apex) Sight {
	s := Sight{Zone: zone}
	for i, apex := range apexes {
		s.Servers = append(s.Servers, Server{Host: string(rune('a'+i)) + ".", Addresses: []Address{
			{Addr: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), UDP: apex, TCP: apex},
		}})
	}
	return s
}

func serving(signer *lab.Key, ks ...*lab.Key) Apex {
	return Apex{SOA: Set[uint32]{Records: []uint32{1}, Signers: id(signer)}, DNSKEY: Set[merge.Key]{Records: id(ks...)}}
}

func naming(cds []merge.DS, cdnskey []merge.Key, ks ...*lab.Key) Apex {
	return Apex{CDS: Set[merge.DS]{Records: cds}, CDNSKEY: Set[merge.Key]{Records: cdnskey}, DNSKEY: Set[merge.Key]{Records: id(ks...)}}
}

// in returns who is at fault, in short.
func in(faults []Fault) string {
	var texts []string
	for _, f := range faults {
		if f.Place.TCP {
			continue // as over UDP
		}
		text := f.Place.Host
		if f.Type != 0 {
			text += dns.TypeToString[f.Type]
		}
		texts = append(texts, text+" "+f.Name+names4(f.Key))
	}
	return strings.Join(texts, "; ")
}

// names4 names the tests' keys.
func names4(r merge.Ref) string {
	for name, k := range map[string]*lab.Key{"KA": kskA, "ZA": zskA, "KB": kskB, "ZB": zskB} {
		if id(k)[0].Ref() == r {
			return name
		}
	}
	return ""
}

func TestCrossings(t *testing.T) {
	both := serving(zskA, zskA, zskB)
	twoAlgorithms := serving(zskA, zskB)
	twoAlgorithms.SOA.Signers = id(zskA, zskB)
	silent := Apex{Err: errTimeout}
	noKeys := both
	noKeys.DNSKEY = Set[merge.Key]{Err: errTimeout}
	for _, tc := range []struct {
		name string
		s    Sight
		want string
	}{
		{"joint", seen(both, serving(zskB, zskA, zskB)), ""},
		{"one provider", seen(serving(zskA, zskA), serving(zskA, zskA)), ""},
		{"B has not A's key", seen(both, serving(zskB, zskB)), "b.DNSKEY a.ZA"},
		{"neither has the other's", seen(serving(zskA, zskA), serving(zskB, zskB)), "a.DNSKEY b.ZB; b.DNSKEY a.ZA"},
		{"one good signature of two is enough", seen(twoAlgorithms, serving(zskB, zskB)), ""},
		{"unsigned", seen(both, Apex{DNSKEY: both.DNSKEY}), "b.SOA "},
		{"who is silent is not asked", seen(both, silent), ""},
		{"nor are keys that were not answered", seen(noKeys, serving(zskB, zskA, zskB)), ""},
		{"the data counts without its keys", seen(noKeys, serving(zskB, zskB)), "b.DNSKEY a.ZA"},
		{"no key at all", seen(both, Apex{SOA: both.SOA}), "b.DNSKEY a.ZA; b.DNSKEY b.ZA"},
		{"nothing seen", Sight{}, ""},
	} {
		if got := in(tc.s.Crossings()); got != tc.want {
			t.Errorf("%s: expected %q, got %q", tc.name, tc.want, got)
		}
	}
}

func TestDisagreementsAreByKey(t *testing.T) {
	deletion := []merge.DS{{Digest: "00"}}
	deletionKey := []merge.Key{{Protocol: 3, PublicKey: "AA=="}}
	unknown := []merge.DS{{KeyTag: kskB.KeyTag(), Algorithm: 13, DigestType: 200, Digest: "AB"}}
	for _, tc := range []struct {
		name string
		s    Sight
		want string
	}{
		{"the same", seen(naming(digest(2, kskA, kskB), id(kskA, kskB)), naming(digest(2, kskA, kskB), id(kskA, kskB))), ""},
		{"other digest types", seen(naming(digest(2, kskA, kskB), id(kskA, kskB)), naming(digest(4, kskA, kskB), id(kskA, kskB))), ""},
		{"two digests of a key", seen(naming(slices.Concat(digest(2, kskA), digest(4, kskA)), nil, kskA), naming(digest(2, kskA), nil)), ""},
		{"a digest type that nobody knows", seen(naming(unknown, nil, kskB), naming(digest(2, kskB), nil)), ""},
		{"one key short", seen(naming(digest(2, kskA, kskB), nil, kskA, kskB), naming(digest(2, kskA), nil)), "b.CDS KB"},
		{"none", seen(naming(digest(2, kskA), id(kskA)), naming(nil, nil)), "b.CDS KA; b.CDNSKEY KA"},
		{"no CDNSKEY anywhere", seen(naming(digest(2, kskA), nil, kskA), naming(digest(2, kskA), nil)), ""},
		{"CDS and CDNSKEY differ everywhere", seen(naming(digest(2, kskA), id(kskA, kskB))), "a.CDS KB"},
		{"keys are not known", seen(naming(digest(2, kskA), nil), naming(digest(2, kskB), nil)), "a.CDS KB; b.CDS KA"},
		{"all want DS deleted", seen(naming(deletion, deletionKey), naming(deletion, deletionKey)), ""},
		{"one wants DS deleted", seen(naming(digest(2, kskA), nil, kskA), naming(deletion, nil)), "a.CDS ; b.CDS KA"},
		{"none has any", seen(naming(nil, nil), naming(nil, nil)), ""},
	} {
		if got := in(tc.s.Disagreements()); got != tc.want {
			t.Errorf("%s: expected %q, got %q", tc.name, tc.want, got)
		}
	}
}

func TestUnanchored(t *testing.T) {
	by := func(k *lab.Key) Apex { return Apex{DNSKEY: Set[merge.Key]{Records: id(kskA, kskB), Signers: id(k)}} }
	unsigned := Apex{DNSKEY: Set[merge.Key]{Records: id(kskA)}}
	for _, tc := range []struct {
		name string
		s    Sight
		ds   []merge.DS
		want string
	}{
		{"each by its own", seen(by(kskA), by(kskB)), digest(2, kskA, kskB), ""},
		{"other digest", seen(by(kskA), by(kskB)), digest(4, kskA, kskB), ""},
		{"by none in DS", seen(by(kskA), by(kskB)), digest(2, kskA), "b.DNSKEY "},
		{"by a ZSK", seen(by(zskA)), digest(2, kskA), "a.DNSKEY "},
		{"by none", seen(unsigned, Apex{Err: errLame}), digest(2, kskA), "a.DNSKEY "},
		{"without DS", seen(by(kskA)), nil, "a.DNSKEY "},
	} {
		if got := in(tc.s.Unanchored(tc.ds)); got != tc.want {
			t.Errorf("%s: expected %q, got %q", tc.name, tc.want, got)
		}
	}
}

func TestFailingIsWhereResolversGo(t *testing.T) {
	by := func(k *lab.Key, ns ...string) Apex {
		return Apex{DNSKEY: Set[merge.Key]{Records: id(k), Signers: id(k)}, NS: Set[string]{Records: ns}}
	}
	for _, tc := range []struct {
		name   string
		status DSStatus
		ns     []string // the parent's
		s      Sight
		want   string
	}{
		{"B joins", DSPresent, []string{"a."}, seen(by(kskA, "a."), by(kskB, "a.")), ""},
		{"B is in NS too early", DSPresent, []string{"a."}, seen(by(kskA, "a."), by(kskB, "a.", "b.")), "b.DNSKEY "},
		{"B is in the parent's NS too early", DSPresent, []string{"a.", "b."}, seen(by(kskA), by(kskB)), "b.DNSKEY "},
		{"no DS", DSDenied, []string{"a.", "b."}, seen(by(kskA), by(kskB)), ""},
		{"DS is not known", DSUnread, []string{"a.", "b."}, seen(by(kskA), by(kskB)), ""},
		{"unsigned", DSPresent, []string{"a."}, seen(Apex{}), "a.DNSKEY "},
	} {
		tc.s.Parent = Parent{DSStatus: tc.status, DS: digest(2, kskA), NS: tc.ns}
		if got := in(tc.s.Failing()); got != tc.want {
			t.Errorf("%s: expected %q, got %q", tc.name, tc.want, got)
		}
	}
}

func TestMissingAndNSFaults(t *testing.T) {
	a, b := serving(zskA, zskA, zskB), serving(zskB, zskB)
	a.NS.Records, b.NS.Records = []string{"a."}, []string{"a.", "b.", "c."}
	s := seen(a, b, Apex{Err: errTimeout})
	if got := in(s.Missing(id(zskA, zskB, kskA))); got != "a.DNSKEY KA; b.DNSKEY ZA; b.DNSKEY KA" {
		t.Errorf("Expected each missing key, got %q", got)
	}
	if got := in(s.NSFaults([]string{"a.", "b."})); got != "a.NS b.; b.NS c." {
		t.Errorf("Expected what NS lacks and lists, got %q", got)
	}
	if got := s.ChildNS(); !slices.Equal(got, []string{"a.", "b.", "c."}) {
		t.Errorf("Expected all of NS, got %v", got)
	}
}

func TestJointDSNamesEveryKeyOnce(t *testing.T) {
	s := seen(naming(digest(4, kskA), id(kskA)), naming(digest(2, kskB), nil), naming([]merge.DS{{Digest: "00"}}, nil))
	want := slices.Concat(digest(2, kskA), digest(2, kskB))
	if got := s.JointDS(); !slices.Equal(got, want) {
		t.Errorf("Expected SHA-256 of the known key and the digest of the other, got %v", got)
	}
}

func TestTellNamesPlacesOnlyWhereTheyDiffer(t *testing.T) {
	s := seen(Apex{}, Apex{})
	s.Servers[1].Addresses = append(s.Servers[1].Addresses, Address{Addr: netip.MustParseAddr("2001:db8::1")})
	at := func(host, addr string, tcp bool) Fault {
		return Fault{Place: Place{host, netip.MustParseAddr(addr), tcp}, Kind: Lacking, Type: dns.TypeCDS, Key: merge.Ref{Tag: 7, Algorithm: 13}}
	}
	const lacks = ": CDS lacks key 7 (ECDSAP256SHA256)"
	all := []Fault{at("b.", "192.0.2.1", false), at("b.", "192.0.2.1", true), at("b.", "2001:db8::1", false), at("b.", "2001:db8::1", true)}
	for _, tc := range []struct {
		faults []Fault
		want   string
	}{
		{nil, ""},
		{[]Fault{at("a.", "192.0.2.0", false), at("a.", "192.0.2.0", true)}, "a." + lacks},
		{[]Fault{at("a.", "192.0.2.0", true)}, "a. (192.0.2.0 over TCP)" + lacks},
		{all, "b." + lacks},
		{append(all, all...), "b." + lacks},
		{all[:2], "b. (192.0.2.1)" + lacks},
		{all[1:], "b. (192.0.2.1 over TCP, 2001:db8::1)" + lacks},
		{[]Fault{{Place: Place{Host: "a."}, Kind: Silent, Err: errNoAddress}}, "a.: no address was found"},
		{[]Fault{{Place: Place{Host: "a."}, Kind: Lacking, Type: dns.TypeCDS}}, "a.: CDS lacks the wish to delete DS (RFC 8078 section 4)"},
	} {
		if got := strings.Join(s.Tell(tc.faults), "\n"); got != tc.want {
			t.Errorf("Expected %q, got %q", tc.want, got)
		}
	}
}

// FuzzAnswer reads whatever a server may send, as its apex and as the parent's
// referral.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte{})
	z := provider(f, lab.Zone{Keys: []*lab.Key{kskA, zskA}, Records: jointRecords(zskB, hostA)})
	for _, qtype := range []uint16{dns.TypeSOA, dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeNS, 65302} {
		wire, err := z.Answer(zone, qtype).Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		m := new(dns.Msg)
		if m.Unpack(wire) != nil {
			return
		}
		g := glance{sets: make(map[uint16]answer)}
		for _, qtype := range []uint16{dns.TypeSOA, dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeNS, 65302} {
			g.sets[qtype] = read(m, zone, qtype)
		}
		apex := newKeyring(zone, now, []glance{g}, validate.NewSignatures()).apex(g, 65302, newAccount())
		if len(apex.DNSKEY.Records) > maxKeys || len(apex.CDS.Records) > maxKeys || len(apex.NS.Records) > maxRecords {
			t.Errorf("Expected bounded sets, got %d keys", len(apex.DNSKEY.Records))
		}
		s := seen(apex, apex)
		s.Tell(s.Obstacles(s.JointDS()))
		var ps ParentServer
		if readReferral(m, zone, "co.uk.", &ps); ps.Err != nil && len(ps.NS) > 0 {
			t.Errorf("Expected nothing of what is not believed, got %+v", ps)
		}
	})
}
