package announce

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/domain"
	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/merge"
)

func TestNameAndSplitAreInverse(t *testing.T) {
	for _, tc := range []struct{ zone, ns, want string }{
		{"example.co.uk.", "ns1.provider-a.net.", "_multi.example.co.uk._signal.ns1.provider-a.net."},
		{"uk.", "ns1.provider-a.net.", "_multi.uk._signal.ns1.provider-a.net."},
		{`a\.b.org.`, "ns1.provider-a.net.", `_multi.a\.b.org._signal.ns1.provider-a.net.`},
		{"_signal.ns1.provider-a.net.", "ns1.provider-a.net.", "_multi._signal.ns1.provider-a.net._signal.ns1.provider-a.net."},
		{"example.net.", "counterexample.net.", "_multi.example.net._signal.counterexample.net."},
	} {
		name, err := Name(tc.zone, tc.ns)
		if err != nil || name != tc.want {
			t.Errorf("Expected %q, got %q, %v", tc.want, name, err)
		}
		if zone, ok := Split(name, tc.ns); !ok || zone != tc.zone {
			t.Errorf("Expected zone %q back, got %q, %v", tc.zone, zone, ok)
		}
	}
}

func TestNameRefusesNameserversInsideTheZone(t *testing.T) {
	for _, tc := range []struct{ zone, ns string }{
		{"example.net.", "ns1.example.net."},
		{"example.net.", "example.net."},
		{".", "ns1.example.net."},
	} {
		if _, err := Name(tc.zone, tc.ns); !errors.Is(err, ErrInDomain) {
			t.Errorf("%s under %s: expected ErrInDomain, got %v", tc.zone, tc.ns, err)
		}
	}
}

func TestNameCountsOctetsOfTheWire(t *testing.T) {
	const ns = "ns1.example.net." // 17 octets with the root, and _multi and _signal 15
	label := strings.Repeat("a", 60) + "."
	for _, tc := range []struct {
		last string
		ok   bool
	}{
		{strings.Repeat("b", 39) + ".", true},  // 255
		{strings.Repeat("b", 40) + ".", false}, // 256
		{strings.Repeat(`\.`, 39) + ".", true}, // escapes count once
		{strings.Repeat(`\.`, 40) + ".", false},
		{strings.Repeat(`\001`, 39) + ".", true},
		{strings.Repeat(`\001`, 40) + ".", false},
	} {
		zone := label + label + label + tc.last
		name, err := Name(zone, ns)
		if (err == nil) != tc.ok || err != nil && !errors.Is(err, ErrTooLong) {
			t.Errorf("Expected ok %v for %q, got %v", tc.ok, zone, err)
		}
		if _, ok := Split("_multi."+zone+"_signal."+ns, ns); ok != tc.ok {
			t.Errorf("Expected Split of %q to be %v", name, tc.ok)
		}
	}
}

func TestSplitRefusesWhatIsNoSignalingName(t *testing.T) {
	const ns = "ns1.provider-a.net."
	for _, name := range []string{
		"", ".", "_signal.ns1.provider-a.net.", "_multi._signal.ns1.provider-a.net.",
		"_dsboot.example.org._signal.ns1.provider-a.net.", "example.org._signal.ns1.provider-a.net.",
		"_multi.example.org._signal.ns2.provider-a.net.", "_multi.example.org.ns1.provider-a.net.",
		`_multi.example\._signal.ns1.provider-a.net.`, "x_multi.example.org._signal.ns1.provider-a.net.",
		"_multi.example.org.x_signal.ns1.provider-a.net.", "a._multi.example.org._signal.ns1.provider-a.net.",
		"_multi.provider-a.net._signal.ns1.provider-a.net.", "_multi..example._signal.ns1.provider-a.net.",
	} {
		if zone, ok := Split(name, ns); ok {
			t.Errorf("Expected %q to be refused, got zone %q", name, zone)
		}
	}
}

func TestRRsetsAreDistinctAndInCanonicalOrder(t *testing.T) {
	const owner = "_multi.example.co.uk._signal.ns1.provider-a.net."
	zsk := merge.Key{Flags: 256, Protocol: 3, Algorithm: 15, PublicKey: "/////wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}
	zsk2 := merge.Key{Flags: 256, Protocol: 3, Algorithm: 15, PublicKey: "AAAA/wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}
	ksk := merge.Key{Flags: 257, Protocol: 3, Algorithm: 15, PublicKey: "BBAA/wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}
	ds, _ := ksk.DS("example.co.uk.", dns.SHA256)
	sets := RRsets(owner, merge.Announcement{
		DNSKEY: []merge.Key{zsk, zsk2, zsk}, CDNSKEY: []merge.Key{ksk, ksk}, CDS: []merge.DS{ds, ds},
	}, 3600)
	var got []string
	for _, set := range sets {
		for _, rr := range set {
			got = append(got, rr.String())
		}
	}
	want := []string{
		ds.CDS(owner, 3600).String(), ksk.CDNSKEY(owner, 3600).String(),
		zsk2.DNSKEY(owner, 3600).String(), zsk.DNSKEY(owner, 3600).String(),
	}
	if !slices.Equal(got, want) {
		t.Errorf("Expected\n%s\ngot\n%s", strings.Join(want, "\n"), strings.Join(got, "\n"))
	}
	if sets := RRsets(owner, merge.Announcement{DNSKEY: []merge.Key{zsk}}, 3600); len(sets) != 1 {
		t.Errorf("Expected the empty RRsets to be left out, got %v", sets)
	}
}

func TestOwnAnnouncesEachKeyByItsRole(t *testing.T) {
	const zone = "example.co.uk."
	draw := func(flags uint16, role keys.Role) *keys.Key {
		k, _, err := keys.Generate(zone, dns.ECDSAP256SHA256, flags, nil)
		if err != nil {
			t.Fatal(err)
		}
		k.Role = role
		return k
	}
	ksk, zsk, csk := draw(257, keys.KSK), draw(256, keys.ZSK), draw(257, keys.CSK)
	public := draw(257, keys.CSK)
	public.Signer = nil

	a := Own(zone, keys.Plan([]*keys.Key{ksk, zsk, csk, public}, time.Unix(0, 0), keys.Facts{}))
	if want := []merge.Key{ksk.ID(), csk.ID()}; !slices.Equal(a.CDNSKEY, want) {
		t.Errorf("Expected CDNSKEY of KSK and CSK, got %v", a.CDNSKEY)
	}
	if want := []merge.Key{zsk.ID(), csk.ID(), public.ID()}; !slices.Equal(a.DNSKEY, want) {
		t.Errorf("Expected DNSKEY of ZSK and both CSKs, got %v", a.DNSKEY)
	}
	if len(a.CDS) != 2 || !a.CDS[0].Names(zone, ksk.ID()) || !a.CDS[1].Names(zone, csk.ID()) || a.CDS[0].DigestType != dns.SHA256 {
		t.Errorf("Expected SHA-256 digests of KSK and CSK with the name of the zone, got %v", a.CDS)
	}
}

func FuzzSplit(f *testing.F) {
	f.Add("_multi.example.co.uk._signal.ns1.provider-a.net.", "ns1.provider-a.net.")
	f.Add(`_multi.a\._signal.ns1._signal.ns1.`, "ns1.")
	f.Add("_multi..", "")
	f.Fuzz(func(t *testing.T, name, ns string) {
		zone, ok := Split(name, ns)
		if !ok {
			return
		}
		again, err := Name(zone, ns)
		if err != nil || again != name {
			t.Fatalf("Expected %q back from %q, got %q, %v", name, zone, again, err)
		}
	})
}

func FuzzName(f *testing.F) {
	f.Add("example.co.uk.", "ns1.provider-a.net.")
	f.Add(`\`, `\000.`)
	f.Add(".", ".")
	f.Fuzz(func(t *testing.T, zone, ns string) {
		zone, errZone := domain.Canonical(zone)
		ns, errNS := domain.Canonical(ns)
		if errZone != nil || errNS != nil {
			return
		}
		name, err := Name(zone, ns)
		if err != nil {
			return
		}
		if again, ok := Split(name, ns); !ok || again != zone {
			t.Fatalf("Expected %q back from %q, got %q", zone, name, again)
		}
		if _, ok := dns.IsDomainName(name); !ok {
			t.Fatalf("Expected a domain name from %q and %q, got %q", zone, ns, name)
		}
	})
}
