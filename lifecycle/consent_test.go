package lifecycle

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/observe"
)

// server is a nameserver with one address that serves these sets, signed by
// these keys.
func server(host string, dnskey, cdnskey, signers []merge.Key) observe.Server {
	apex := observe.Apex{
		DNSKEY:  observe.Set[merge.Key]{Records: dnskey, TTL: time.Hour, Signers: signers},
		CDNSKEY: observe.Set[merge.Key]{Records: cdnskey, Signers: signers},
		CDS:     observe.Set[merge.DS]{Records: digests(cdnskey...), Signers: signers},
		SOA:     observe.Set[uint32]{Records: []uint32{1}, Signers: signers},
	}
	return observe.Server{Host: host, Addresses: []observe.Address{{Addr: netip.MustParseAddr("192.0.2.1"), UDP: apex, TCP: apex}}}
}

func announced(entries, data []merge.Key) merge.Announcement {
	return merge.Announcement{DNSKEY: data, CDNSKEY: entries, CDS: digests(entries...), TTL: time.Hour}
}

func TestOnlyDSVouches(t *testing.T) {
	keys, entries := []merge.Key{ksk(2), zsk(2)}, []merge.Key{ksk(2)}
	for _, tt := range []struct {
		name   string
		server observe.Server
		ds     []merge.DS
		want   bool
	}{
		{"signed by a key in DS", server(b1, keys, entries, []merge.Key{ksk(2)}), digests(ksk(2)), true},
		{"among others", server(b1, keys, entries, []merge.Key{zsk(2), ksk(2)}), digests(ksk(1), ksk(2)), true},
		{"signed by another", server(b1, keys, entries, []merge.Key{zsk(2)}), digests(ksk(2)), false},
		{"signed by a key in DS that is not in DNSKEY", server(b1, []merge.Key{ksk(3)}, entries, []merge.Key{ksk(2)}), digests(ksk(2)), false},
		{"no DS", server(b1, keys, entries, []merge.Key{ksk(2)}), nil, false},
		{"no answer", observe.Server{Host: b1}, digests(ksk(2)), false},
	} {
		if sets := VouchedBy(zoneName, tt.server, tt.ds); len(sets) > 0 != tt.want || tt.want && (len(sets) != 1 || len(sets[0].DNSKEY) != 2) {
			t.Errorf("%s: expected %v, got %v", tt.name, tt.want, sets)
		}
	}
	unsigned := server(b1, keys, entries, []merge.Key{ksk(2)})
	for _, apex := range []*observe.Apex{&unsigned.Addresses[0].UDP, &unsigned.Addresses[0].TCP} {
		apex.CDS.Signers, apex.CDNSKEY.Signers = nil, []merge.Key{ksk(9)}
	}
	if sets := VouchedBy(zoneName, unsigned, digests(ksk(2))); len(sets) != 1 || len(sets[0].CDS)+len(sets[0].CDNSKEY) > 0 {
		t.Errorf("Expected CDS and CDNSKEY that no key of DNSKEY signed not to count, got %v", sets)
	}
}

// bothWays returns a host with the addresses of two others, in either order.
func bothWays(one, two observe.Server) []observe.Server {
	two.Addresses = slices.Clone(two.Addresses)
	two.Addresses[0].Addr = netip.MustParseAddr("192.0.2.2")
	return []observe.Server{
		{Host: one.Host, Addresses: append(slices.Clone(one.Addresses), two.Addresses...)},
		{Host: one.Host, Addresses: append(slices.Clone(two.Addresses), one.Addresses...)},
	}
}

// Resolvers get what any address serves.
func TestEveryAddressVouchesForItsKeys(t *testing.T) {
	less := server(b1, []merge.Key{ksk(2), zsk(2)}, []merge.Key{ksk(2)}, []merge.Key{ksk(2), zsk(2)})
	more := server(b1, []merge.Key{ksk(2), zsk(2), zsk(3)}, []merge.Key{ksk(2), ksk(3)}, []merge.Key{ksk(2), zsk(3)})
	forged := server(b1, []merge.Key{ksk(9), zsk(9)}, []merge.Key{ksk(9)}, []merge.Key{ksk(9), zsk(9)})
	a := announced([]merge.Key{ksk(2), ksk(3), ksk(9)}, []merge.Key{zsk(2), zsk(3), zsk(9)})
	ds := digests(ksk(1), ksk(2))
	for _, host := range bothWays(less, more) {
		host.Addresses = append(host.Addresses, forged.Addresses...)
		sets := VouchedBy(zoneName, host, ds)
		if part, left := Consented(zoneName, a, sets); len(part.CDNSKEY) != 2 || len(part.CDS) != 2 || len(part.DNSKEY) != 2 || len(left) != 2 {
			t.Errorf("Expected the keys of both addresses to count, got %v and %v left", part, left)
		}
		s := SeedFrom(zoneName, []merge.Key{ksk(1), zsk(1)}, sets, ds, epoch)
		for _, k := range []merge.Key{zsk(2), zsk(3)} {
			if !slices.Contains(s.DNSKEY, k) {
				t.Errorf("Expected the keys of both addresses, got %v", s.DNSKEY)
			}
		}
		if len(s.CDNSKEY) != 2 || slices.Contains(s.DNSKEY, zsk(9)) {
			t.Errorf("Expected the secure entries of both and no other, got %+v", s)
		}
	}
}

// What one address does not say of secure entries, DS says, and a key that signs data
// at one is no secure entry alone.
func TestASeedIsWhatAnyAddressMayNeed(t *testing.T) {
	pure := server(b1, []merge.Key{ksk(2), zsk(2)}, []merge.Key{ksk(2)}, []merge.Key{ksk(2)})
	both := server(b1, []merge.Key{ksk(2)}, nil, []merge.Key{ksk(2)})
	for i := range pure.Addresses {
		a := &pure.Addresses[i]
		a.UDP.SOA.Signers, a.TCP.SOA.Signers = []merge.Key{zsk(2)}, []merge.Key{zsk(2)}
	}
	ds := digests(ksk(1), ksk(2), ksk(3))
	for _, host := range bothWays(pure, both) {
		s := SeedFrom(zoneName, []merge.Key{ksk(1), zsk(1)}, VouchedBy(zoneName, host, ds), ds, epoch)
		if !slices.Contains(s.DNSKEY, ksk(2)) || !slices.Contains(s.CDS, digest(ksk(3))) {
			t.Errorf("Expected a key that signs data at one address, and what DS has, got %+v", s)
		}
	}
}

func TestOfAHostThatNoCNSNamedOnlyKeysWithConsentCount(t *testing.T) {
	v := Vouched{DNSKEY: []merge.Key{ksk(2), zsk(2), zsk(3)}, CDNSKEY: []merge.Key{ksk(2)}}
	for _, tt := range []struct {
		name string
		a    merge.Announcement
		v    Vouched
		want merge.Announcement
		left int
	}{
		{"all of it", announced([]merge.Key{ksk(2)}, []merge.Key{zsk(2)}), v, announced([]merge.Key{ksk(2)}, []merge.Key{zsk(2)}), 0},
		{"by CDS alone", announced([]merge.Key{ksk(2)}, []merge.Key{zsk(2)}), Vouched{DNSKEY: v.DNSKEY, CDS: digests(ksk(2))}, announced([]merge.Key{ksk(2)}, []merge.Key{zsk(2)}), 0},
		{"a squatter's", announced([]merge.Key{ksk(8)}, []merge.Key{zsk(8)}), v, announced(nil, nil), 2},
		{"a squatter's beside copied ones", announced([]merge.Key{ksk(2), ksk(8)}, []merge.Key{zsk(2), zsk(8)}), v, announced([]merge.Key{ksk(2)}, []merge.Key{zsk(2)}), 2},
		{"DNSKEY vouches for no secure entry", announced([]merge.Key{zsk(3)}, []merge.Key{zsk(3)}), v, announced(nil, []merge.Key{zsk(3)}), 1},
		{"nothing vouched for", announced([]merge.Key{ksk(2)}, []merge.Key{zsk(2)}), Vouched{}, announced(nil, nil), 2},
	} {
		got, left := Consented(zoneName, tt.a, []Vouched{tt.v})
		if !reflect.DeepEqual(got, tt.want) || len(left) != tt.left {
			t.Errorf("%s: expected %v and %d left, got %v and %v", tt.name, tt.want, tt.left, got, left)
		}
	}
}

func TestASeedHoldsTheOthersKeys(t *testing.T) {
	ours := []merge.Key{ksk(1), zsk(1)}
	ds := digests(ksk(1), ksk(2))
	v := Vouched{DNSKEY: []merge.Key{ksk(2), zsk(2), zsk(1)}, CDNSKEY: []merge.Key{ksk(1), ksk(2)}, CDS: digests(ksk(1), ksk(2)), TTL: time.Hour}
	s := SeedFrom(zoneName, ours, []Vouched{v}, ds, epoch)
	j := merge.Union(zoneName, merge.Local{DNSKEY: ours, SecureEntry: []merge.Key{ksk(1)}}, []merge.Peer{s.Peer()})
	if len(j.CDNSKEY) != 2 || len(j.CDS) != 2 || len(j.Unmatched) != 0 || len(j.DNSKEY) != 4 {
		t.Errorf("Expected both providers' keys, got %+v", j)
	}

	v.CDS, v.CDNSKEY = nil, nil // a provider that says nothing wants DS to stay as it is
	s = SeedFrom(zoneName, ours, []Vouched{v}, ds, epoch)
	if want := digests(ksk(2)); !reflect.DeepEqual(s.CDS, want) {
		t.Errorf("Expected %v from DS, got %v", want, s.CDS)
	}
	v.CDNSKEY, v.CDS = []merge.Key{{Protocol: 3, PublicKey: "AA=="}}, []merge.DS{{Digest: "00"}}
	if s = SeedFrom(zoneName, ours, []Vouched{v}, ds, epoch); !reflect.DeepEqual(s.CDS, digests(ksk(2))) || len(s.CDNSKEY) > 0 {
		t.Errorf("Expected the wish to delete DS not to be taken up, got %v", s)
	}
	pure := Vouched{DNSKEY: []merge.Key{ksk(2), zsk(2)}, CDS: digests(ksk(2)), Entries: []merge.Key{ksk(2)}}
	if s = SeedFrom(zoneName, ours, []Vouched{pure}, ds, epoch); !reflect.DeepEqual(s.DNSKEY, []merge.Key{zsk(2)}) || !reflect.DeepEqual(s.CDNSKEY, []merge.Key{ksk(2)}) {
		t.Errorf("Expected a key that signs key sets alone to be a secure entry alone, got %v", s)
	}
	s = SeedFrom(zoneName, ours, []Vouched{{DNSKEY: ours, CDS: digests(ksk(1))}}, digests(ksk(1)), epoch)
	if !s.Empty() || s.At.IsZero() {
		t.Errorf("Expected an answer with our keys alone to be an answer, got %v", s)
	}
}

func TestSeedsGoOnceTheirHoldersAreKnown(t *testing.T) {
	s := Seed{At: epoch, DNSKEY: []merge.Key{zsk(2)}, CDNSKEY: []merge.Key{ksk(2)}, CDS: digests(ksk(2)), TTL: time.Hour}
	const maxZoneTTL = 24 * time.Hour
	var never time.Time
	if got := s.Settle(never, maxZoneTTL, epoch); !reflect.DeepEqual(got, s) {
		t.Errorf("Expected nothing to change, got %v", got)
	}
	s = s.Settle(epoch, maxZoneTTL, epoch)
	if len(s.CDS)+len(s.CDNSKEY) > 0 || len(s.DNSKEY) != 1 {
		t.Errorf("Expected the secure entries to go at once and nothing else, got %v", s)
	}
	again := epoch.Add(2 * time.Hour)
	s = s.Settle(never, maxZoneTTL, epoch.Add(time.Hour)).Settle(again, maxZoneTTL, again)
	end := again.Add(maxZoneTTL + time.Hour)
	if s = s.Settle(end.Add(-time.Second), maxZoneTTL, end.Add(time.Hour)); len(s.DNSKEY) != 1 {
		t.Error("Expected the key to stay until all were heard after as long as caches may need it")
	}
	if s = s.Settle(end, maxZoneTTL, end); !s.Empty() || s.At.IsZero() {
		t.Errorf("Expected the key to go, got %v", s)
	}
}

func TestALookTellsWhatEachHostLacks(t *testing.T) {
	joint := merge.Joint{CDNSKEY: []merge.Key{ksk(1), ksk(2)}, CDS: digests(ksk(1), ksk(2))}
	both := []merge.Key{ksk(1), ksk(2)}
	sight := func(keysOfB []merge.Key, entriesOfB []merge.Key) observe.Sight {
		s := observe.Sight{Zone: zoneName, At: epoch, Servers: []observe.Server{
			server(a1, []merge.Key{ksk(1), zsk(1), zsk(2)}, both, []merge.Key{ksk(1), zsk(1)}),
			server(b1, keysOfB, entriesOfB, []merge.Key{ksk(2), zsk(2)}),
		}}
		return s
	}
	all := []merge.Key{ksk(2), zsk(1), zsk(2)}
	for _, tt := range []struct {
		name  string
		sight observe.Sight
		lacks int
	}{
		{"all is well", sight(all, both), 0},
		{"b1 lacks our ZSK", sight([]merge.Key{ksk(2), zsk(2)}, both), 1},
		{"b1 lacks our KSK in CDS and CDNSKEY", sight(all, []merge.Key{ksk(2)}), 2},
		{"b1 signs with a key that counts nowhere", func() observe.Sight {
			s := sight(all, both)
			for _, apex := range []*observe.Apex{&s.Servers[1].Addresses[0].UDP, &s.Servers[1].Addresses[0].TCP} {
				apex.DNSKEY.Signers = []merge.Key{ksk(7)}
			}
			return s
		}(), 1},
	} {
		l := LookOf(tt.sight, joint)
		if len(l.Seen[0].Lacks) > 0 || len(l.Seen[1].Lacks) != tt.lacks || l.Seen[0].Silent || l.Seen[1].Silent {
			t.Errorf("%s: expected b1 to lack %d things, got %+v", tt.name, tt.lacks, l)
		}
	}
	l := LookOf(sight([]merge.Key{ksk(2), zsk(2)}, both), joint)
	keys := []merge.Key{ksk(1), zsk(2), zsk(9)}
	if more := l.Admit([]string{b1}, keys); len(more.Seen[1].Lacks) != 2 || len(more.Seen[0].Lacks) > 0 || len(l.Seen[1].Lacks) != 1 {
		t.Errorf("Expected a newcomer to lack the key that signs and the one that may, got %+v", more)
	}
	if more := l.Admit(nil, keys); len(more.Seen[1].Lacks) != 1 {
		t.Errorf("Expected one that is in NS to lack the key that signs, got %+v", more)
	}
	s := sight(all, both)
	s.Servers[1].Addresses[0].TCP.CNS.Records = []string{a1, c1}
	if l := LookOf(s, joint); len(l.Seen[0].CNS) > 0 || !slices.Equal(l.Seen[1].CNS, []string{c1, a1}) {
		t.Errorf("Expected to see what CNS names at b1, got %+v", l)
	}
	s = sight(all, both)
	s.Servers[1].Addresses[0].TCP = observe.Apex{Err: errTest}
	if l := LookOf(s, joint); !l.Seen[1].Silent || len(l.Seen[1].Lacks) > 0 || l.Seen[1].KeyTTL != time.Hour {
		t.Errorf("Expected a host that does not answer over TCP to be silent and no more, got %+v", l.Seen[1])
	}
	s = sight(all, both)
	s.Servers[1].Addresses[0].NoRoute = true
	if l := LookOf(s, joint); !l.Seen[1].Silent {
		t.Error("Expected a host of which nothing can be seen not to count as seen")
	}
}
