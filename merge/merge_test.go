package merge

import (
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const zone = "example.co.uk."

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// key returns a distinct key for each seed; merge never uses what it could sign.
func key(flags uint16, algorithm uint8, seed byte) Key {
	public := sha512.Sum512([]byte{byte(flags), algorithm, seed})
	return Key{Flags: flags, Protocol: 3, Algorithm: algorithm, PublicKey: base64.StdEncoding.EncodeToString(public[:])}
}

func ksk(seed byte) Key { return key(257, dns.ECDSAP256SHA256, seed) }
func zsk(seed byte) Key { return key(256, dns.ECDSAP256SHA256, seed) }

func digest(t testing.TB, k Key, digestType uint8) DS {
	t.Helper()
	d, ok := k.DS(zone, digestType)
	if !ok {
		t.Fatalf("Expected a digest of type %d", digestType)
	}
	return d
}

func announcement(entries, data []Key) Announcement {
	a := Announcement{CDNSKEY: entries, DNSKEY: data, TTL: time.Hour}
	for _, k := range entries {
		d, _ := k.DS(zone, dns.SHA256)
		a.CDS = append(a.CDS, d)
	}
	return a
}

func TestUnionHoldsEveryKeyByItsRole(t *testing.T) {
	local := Local{DNSKEY: []Key{ksk(1), zsk(2)}, SecureEntry: []Key{ksk(1)}}
	peers := []Peer{
		{Host: "ns1.example.net.", Announcement: announcement([]Key{ksk(3)}, []Key{zsk(4)})},
		{Host: "ns2.example.net.", Announcement: announcement([]Key{ksk(3)}, []Key{zsk(4)})},
		{Host: "ns1.example.org.", Announcement: announcement([]Key{ksk(5)}, []Key{ksk(5)})},
	}
	j := Union(zone, local, peers)

	if want := sortKeys([]Key{ksk(1), zsk(2), zsk(4), ksk(5)}); !reflect.DeepEqual(j.DNSKEY, want) {
		t.Errorf("Expected DNSKEY %v, got %v", want, j.DNSKEY)
	}
	if slices.Contains(j.DNSKEY, ksk(3)) {
		t.Error("Expected a peer's KSK not to be in DNSKEY (RFC 8901 section 6.2)")
	}
	if want := sortKeys([]Key{ksk(1), ksk(3), ksk(5)}); !reflect.DeepEqual(j.CDNSKEY, want) {
		t.Errorf("Expected CDNSKEY %v, got %v", want, j.CDNSKEY)
	}
	if len(j.CDS) != 3 || len(j.Unmatched) != 0 {
		t.Errorf("Expected three digests, all matched, got %v, unmatched %v", j.CDS, j.Unmatched)
	}
	for _, d := range j.CDS {
		if d.DigestType != dns.SHA256 {
			t.Errorf("Expected SHA-256 only, got type %d", d.DigestType)
		}
	}
}

func TestUnionComputesDigestsOfOneType(t *testing.T) {
	a := announcement([]Key{ksk(3)}, []Key{zsk(4)})
	a.CDS = []DS{digest(t, ksk(3), dns.SHA384)}
	j := Union(zone, Local{SecureEntry: []Key{ksk(1)}}, []Peer{{Announcement: a}})

	if want := sortDS([]DS{digest(t, ksk(1), dns.SHA256), digest(t, ksk(3), dns.SHA256)}); !reflect.DeepEqual(j.CDS, want) {
		t.Errorf("Expected %v, got %v", want, j.CDS)
	}
}

func TestUnionKeepsADigestWhoseKeyIsUnknown(t *testing.T) {
	a := Announcement{DNSKEY: []Key{zsk(4)}, CDS: []DS{digest(t, ksk(3), dns.SHA384), digest(t, ksk(3), dns.SHA256)}}
	j := Union(zone, Local{SecureEntry: []Key{ksk(1)}}, []Peer{{Announcement: a}})

	if want := []DS{digest(t, ksk(3), dns.SHA256)}; !reflect.DeepEqual(j.Unmatched, want) {
		t.Errorf("Expected %v unmatched, got %v", want, j.Unmatched)
	}
	if want := sortDS([]DS{digest(t, ksk(1), dns.SHA256), digest(t, ksk(3), dns.SHA256)}); !reflect.DeepEqual(j.CDS, want) {
		t.Errorf("Expected %v, got %v", want, j.CDS)
	}
}

// Two providers' keys may share tag and algorithm.
func TestUnionKeepsADigestOfEachPeerWhoseKeyIsUnknown(t *testing.T) {
	other := digest(t, ksk(3), dns.SHA384)
	other.Digest = strings.Repeat("22", 48) // of another key with this tag
	one := Peer{Announcement: Announcement{CDS: []DS{digest(t, ksk(3), dns.SHA256)}}}
	two := Peer{Announcement: Announcement{CDS: []DS{other}}}
	want := sortDS([]DS{digest(t, ksk(3), dns.SHA256), other})
	for _, peers := range [][]Peer{{one, two}, {two, one}} {
		if j := Union(zone, Local{}, peers); !reflect.DeepEqual(j.CDS, want) || !reflect.DeepEqual(j.Unmatched, want) {
			t.Errorf("Expected %v, got %+v", want, j)
		}
	}
}

// A parent would drop a key that has digests of unlike types, or give up.
func TestUnionKeepsOneDigestOfWhatOneProvidersHostsName(t *testing.T) {
	one := Peer{Announcement: Announcement{DNSKEY: []Key{zsk(4)}, CDS: []DS{digest(t, ksk(3), dns.SHA256)}}}
	two := Peer{Announcement: Announcement{DNSKEY: []Key{zsk(4)}, CDS: []DS{digest(t, ksk(3), dns.SHA384)}}}
	for _, peers := range [][]Peer{{one, two}, {two, one}} {
		if j := Union(zone, Local{}, peers); !reflect.DeepEqual(j.CDS, one.Announcement.CDS) || !reflect.DeepEqual(j.Unmatched, one.Announcement.CDS) {
			t.Errorf("Expected %v, got %+v", one.Announcement.CDS, j)
		}
	}
}

func TestUnionFindsAKeyThatAnotherHostAnnounces(t *testing.T) {
	only := Announcement{DNSKEY: []Key{zsk(4)}, CDS: []DS{digest(t, ksk(3), dns.SHA256)}}
	full := announcement([]Key{ksk(3)}, []Key{zsk(4)})
	for _, peers := range [][]Peer{{{Announcement: only}, {Announcement: full}}, {{Announcement: full}, {Announcement: only}}} {
		if j := Union(zone, Local{}, peers); len(j.Unmatched) != 0 || len(j.CDS) != 1 || len(j.CDNSKEY) != 1 {
			t.Errorf("Expected one matched key, got %+v", j)
		}
	}
}

func TestUnionFindsTheKeyOfACSKInDNSKEY(t *testing.T) {
	a := Announcement{DNSKEY: []Key{ksk(3)}, CDS: []DS{digest(t, ksk(3), dns.SHA384)}}
	j := Union(zone, Local{}, []Peer{{Announcement: a}})
	if want := []Key{ksk(3)}; !reflect.DeepEqual(j.CDNSKEY, want) || len(j.Unmatched) != 0 {
		t.Errorf("Expected CDNSKEY %v, got %+v", want, j)
	}
}

// Every provider computes the same sets, however it came by the keys.
func TestUnionIsTheSameAtEveryProvider(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		n := 2 + r.IntN(4)
		locals := make([]Local, n)
		for i := range locals {
			k, z := ksk(byte(r.IntN(250))), zsk(byte(r.IntN(250)))
			locals[i] = Local{DNSKEY: []Key{k, z}, SecureEntry: []Key{k}}
		}
		var cds []DS
		var cdnskey []Key
		for i := range locals {
			var peers []Peer
			for _, p := range r.Perm(n) {
				if p != i {
					peers = append(peers, Peer{Announcement: announcement(locals[p].SecureEntry, locals[p].DNSKEY[1:])})
				}
			}
			j := Union(zone, locals[i], peers)
			if i > 0 && (!reflect.DeepEqual(cds, j.CDS) || !reflect.DeepEqual(cdnskey, j.CDNSKEY)) {
				t.Fatalf("Expected provider %d to compute %v and %v, got %v and %v", i, cds, cdnskey, j.CDS, j.CDNSKEY)
			}
			cds, cdnskey = j.CDS, j.CDNSKEY
			for p := range locals {
				if !slices.Contains(j.DNSKEY, locals[p].DNSKEY[1]) {
					t.Fatalf("Expected provider %d to publish the ZSK of %d", i, p)
				}
			}
		}
	}
}

// gap is how far apart announcements may be in these tests.
const gap = 100 * time.Hour

func TestRetiredKeyStaysWhileCachesMayHoldItsSignatures(t *testing.T) {
	const maxZoneTTL = 24 * time.Hour
	p, _ := Peer{Host: "ns1.example.net."}.Collect(announcement([]Key{ksk(3)}, []Key{zsk(4), zsk(5)}), epoch, maxZoneTTL, gap)
	without := announcement([]Key{ksk(3)}, []Key{zsk(5)})

	p, change := p.Collect(without, epoch.Add(time.Hour), maxZoneTTL, gap)
	if !change.None() || !slices.Contains(p.dnskeys(), zsk(4)) {
		t.Fatalf("Expected the key to stay at first, got change %v", change)
	}
	leaves := epoch.Add(time.Hour + maxZoneTTL + time.Hour)
	p, change = p.Collect(without, leaves.Add(-time.Second), maxZoneTTL, gap)
	if !change.None() || !slices.Contains(p.dnskeys(), zsk(4)) {
		t.Fatalf("Expected the key to stay until max_zone_ttl and the TTL have passed, got change %v", change)
	}
	p, change = p.Collect(without, leaves, maxZoneTTL, gap)
	if slices.Contains(p.dnskeys(), zsk(4)) || len(change.DNSKEY.Removed) != 1 {
		t.Errorf("Expected the key to go, got change %v", change)
	}
}

// A cache may hold the former announcement for as long as that one said.
func TestRetiredKeyStaysForTheLongerOfBothTTLs(t *testing.T) {
	const maxZoneTTL = time.Hour
	for _, ttls := range [][2]time.Duration{{24 * time.Hour, time.Minute}, {time.Minute, 24 * time.Hour}} {
		with, without := announcement(nil, []Key{zsk(4), zsk(5)}), announcement(nil, []Key{zsk(5)})
		with.TTL, without.TTL = ttls[0], ttls[1]
		p, _ := Peer{}.Collect(with, epoch, maxZoneTTL, gap)
		p, _ = p.Collect(without, epoch, maxZoneTTL, gap)
		leaves := epoch.Add(maxZoneTTL + 24*time.Hour)
		if p, _ = p.Collect(without, leaves.Add(-time.Second), maxZoneTTL, gap); !slices.Contains(p.dnskeys(), zsk(4)) {
			t.Errorf("TTLs %v: expected the key to stay for the longer one", ttls)
		}
		if p, _ = p.Collect(without, leaves, maxZoneTTL, gap); slices.Contains(p.dnskeys(), zsk(4)) {
			t.Errorf("TTLs %v: expected the key to go", ttls)
		}
	}
}

func TestRetiredKeyThatComesBackStartsItsWaitAnew(t *testing.T) {
	const maxZoneTTL = time.Hour
	with, without := announcement(nil, []Key{zsk(4), zsk(5)}), announcement(nil, []Key{zsk(5)})
	p, _ := Peer{}.Collect(with, epoch, maxZoneTTL, gap)
	p, _ = p.Collect(without, epoch.Add(1*time.Hour), maxZoneTTL, gap)
	p, _ = p.Collect(with, epoch.Add(2*time.Hour), maxZoneTTL, gap)
	p, _ = p.Collect(without, epoch.Add(10*time.Hour), maxZoneTTL, gap)
	p, _ = p.Collect(without, epoch.Add(11*time.Hour), maxZoneTTL, gap)
	if !slices.Contains(p.dnskeys(), zsk(4)) {
		t.Error("Expected the wait to start with the last absence")
	}
}

// Over a silence nobody knows whether it was in use again, until just now.
func TestAbsenceIsNotUninterruptedOverASilence(t *testing.T) {
	const maxZoneTTL, gap = 24 * time.Hour, 2 * time.Hour
	with, without := announcement(nil, []Key{zsk(4), zsk(5)}), announcement(nil, []Key{zsk(5)})
	p, _ := Peer{}.Collect(with, epoch, maxZoneTTL, gap)
	p, _ = p.Collect(without, epoch.Add(time.Hour), maxZoneTTL, gap)
	heard := epoch.Add(31 * time.Hour)
	p, change := p.Collect(without, heard, maxZoneTTL, gap)
	if !change.None() || !slices.Contains(p.dnskeys(), zsk(4)) {
		t.Fatalf("Expected the key to stay, got change %v", change)
	}
	leaves := heard.Add(maxZoneTTL + time.Hour)
	for now := heard; now.Before(leaves); now = now.Add(gap) {
		if p, change = p.Collect(without, now, maxZoneTTL, gap); !change.None() {
			t.Fatalf("Expected the key to stay until the wait is over anew, got change %v %v after the silence", change, now.Sub(heard))
		}
	}
	if p, _ = p.Collect(without, leaves, maxZoneTTL, gap); slices.Contains(p.dnskeys(), zsk(4)) {
		t.Errorf("Expected the key to go though announcements are %v apart", gap)
	}
}

func TestSecureEntryKeyLeavesCDSAtOnce(t *testing.T) {
	p, _ := Peer{}.Collect(announcement([]Key{ksk(3), ksk(6)}, []Key{zsk(4)}), epoch, time.Hour, gap)
	p, change := p.Collect(announcement([]Key{ksk(3)}, []Key{zsk(4)}), epoch.Add(time.Minute), time.Hour, gap)
	if j := Union(zone, Local{}, []Peer{p}); len(j.CDS) != 1 || len(j.CDNSKEY) != 1 {
		t.Errorf("Expected one secure-entry key, got %+v", j)
	}
	if len(change.SecureEntry.Removed) != 1 {
		t.Errorf("Expected the change to name it, got %v", change)
	}
}

func TestCollectLeavesItsReceiverAlone(t *testing.T) {
	p, _ := Peer{}.Collect(announcement(nil, []Key{zsk(4), zsk(5)}), epoch, time.Hour, gap)
	p, _ = p.Collect(announcement(nil, []Key{zsk(5)}), epoch.Add(time.Minute), time.Hour, gap)
	until := p.Retiring[0].Until
	p.Collect(announcement(nil, []Key{zsk(5)}), epoch.Add(2*time.Minute), 48*time.Hour, gap)
	if p.Retiring[0].Until != until {
		t.Error("Expected Collect to copy what it changes")
	}
}

func TestAdmit(t *testing.T) {
	local := Local{DNSKEY: []Key{ksk(1), zsk(2)}, SecureEntry: []Key{ksk(1)}}
	rsa := announcement([]Key{key(257, dns.RSASHA256, 3)}, []Key{key(256, dns.RSASHA256, 4)})
	colliding := zsk(2)
	colliding.PublicKey = twin(t, colliding)
	tests := []struct {
		name      string
		a         Announcement
		lax       bool
		algorithm bool
		collision bool
	}{
		{name: "like algorithms", a: announcement([]Key{ksk(3)}, []Key{zsk(4)})},
		{name: "unlike algorithms", a: rsa, algorithm: true},
		{name: "unlike algorithms, lax", a: rsa, lax: true},
		{name: "one algorithm more", a: announcement([]Key{ksk(3)}, []Key{zsk(4), key(256, dns.RSASHA256, 4)}), algorithm: true},
		{name: "same tag and algorithm", a: announcement([]Key{ksk(3)}, []Key{colliding}), collision: true},
		{name: "collision within", a: announcement([]Key{ksk(3)}, []Key{zsk(4), {256, 3, 13, twin(t, zsk(4))}}), collision: true},
		{name: "our own key", a: announcement([]Key{ksk(1)}, []Key{zsk(2)})},
	}
	for _, tc := range tests {
		err := Admit(tc.a, local, nil, tc.lax)
		var ae *AlgorithmError
		var ce *CollisionError
		if errors.As(err, &ae) != tc.algorithm || errors.As(err, &ce) != tc.collision {
			t.Errorf("%s: expected algorithm error %t, collision %t, got %v", tc.name, tc.algorithm, tc.collision, err)
		}
	}
	others := []Peer{{Announcement: announcement(nil, []Key{zsk(4)})}}
	if err := Admit(announcement([]Key{ksk(3)}, []Key{{256, 3, 13, twin(t, zsk(4))}}), local, others, false); err == nil {
		t.Error("Expected a collision with another peer's key to be refused")
	}
}

// Two other peers hold keys of one tag already, having been in NS before.
func TestAdmitIsTheSameWhicheverPeerComesFirst(t *testing.T) {
	local := Local{DNSKEY: []Key{ksk(1), zsk(2)}, SecureEntry: []Key{ksk(1)}}
	one := Peer{Announcement: announcement(nil, []Key{zsk(4)})}
	two := Peer{Announcement: announcement(nil, []Key{{256, 3, 13, twin(t, zsk(4))}})}
	for _, others := range [][]Peer{{one, two}, {two, one}} {
		var ce *CollisionError
		if err := Admit(announcement([]Key{ksk(3)}, []Key{zsk(4)}), local, others, false); !errors.As(err, &ce) {
			t.Errorf("Expected a collision, got %v", err)
		}
	}
}

// twin returns another public key that gives the same key tag: swapping two
// 16-bit words of it leaves the checksum as it is.
func twin(t testing.TB, k Key) string {
	t.Helper()
	octets, err := base64.StdEncoding.DecodeString(k.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	octets[0], octets[1], octets[4], octets[5] = octets[4], octets[5], octets[0], octets[1]
	other := k
	other.PublicKey = base64.StdEncoding.EncodeToString(octets)
	if other == k || other.Tag() != k.Tag() {
		t.Fatalf("Expected another key with tag %d, got tag %d", k.Tag(), other.Tag())
	}
	return other.PublicKey
}

func TestChangeNamesTags(t *testing.T) {
	p, change := Peer{}.Collect(announcement([]Key{ksk(3)}, []Key{zsk(4)}), epoch, time.Hour, gap)
	if change.None() || len(change.DNSKEY.Added) != 1 || len(change.SecureEntry.Added) != 1 {
		t.Errorf("Expected one key of each role, got %v", change)
	}
	if _, change = p.Collect(p.Announcement, epoch.Add(time.Hour), time.Hour, gap); !change.None() {
		t.Errorf("Expected the same announcement to change nothing, got %v", change)
	}
	if got, want := (Change{DNSKEY: Delta{Added: []Ref{{12345, 13}}}}).String(), "DNSKEY +1/-0 (+12345), CDS +0/-0"; got != want {
		t.Errorf("Expected %q, got %q", want, got)
	}
}

func TestKeysAreInCanonicalOrder(t *testing.T) {
	var ks []Key
	for i := range 60 {
		ks = append(ks, zsk(byte(i*4)))
	}
	sorted := sortKeys(ks)
	for i := 1; i < len(sorted); i++ {
		a, _ := base64.StdEncoding.DecodeString(sorted[i-1].PublicKey)
		b, _ := base64.StdEncoding.DecodeString(sorted[i].PublicKey)
		if slices.Compare(a, b) >= 0 {
			t.Fatalf("Expected octets in order (RFC 4034 section 6.3), got %x before %x", a, b)
		}
	}
}

// What a peer announces anew is in memory once, and only what is the same.
func TestCollectKeepsWhatIsTheSame(t *testing.T) {
	a, b := Key{Flags: 256, Algorithm: 13, PublicKey: "AAAA"}, Key{Flags: 257, Algorithm: 13, PublicKey: "BBBB"}
	was := Announcement{DNSKEY: []Key{a}, CDNSKEY: []Key{b}, CDS: []DS{{KeyTag: 1, Digest: "00"}}}
	p := Peer{Announcement: was}
	for _, tt := range []struct {
		name              string
		is                Announcement
		dnskey, key, dses bool // whether it is what was
	}{
		{"nothing new", Announcement{DNSKEY: []Key{a}, CDNSKEY: []Key{b}, CDS: []DS{{KeyTag: 1, Digest: "00"}}}, true, true, true},
		{"another key", Announcement{DNSKEY: []Key{b}, CDNSKEY: []Key{b}, CDS: []DS{{KeyTag: 1, Digest: "00"}}}, false, true, true},
		{"one more entry", Announcement{DNSKEY: []Key{a}, CDNSKEY: []Key{b, a}, CDS: []DS{{KeyTag: 1, Digest: "00"}}}, true, false, true},
		{"another digest", Announcement{DNSKEY: []Key{a}, CDNSKEY: []Key{b}, CDS: []DS{{KeyTag: 1, Digest: "01"}}}, true, true, false},
	} {
		next, _ := p.Collect(tt.is, time.Unix(1, 0), time.Hour, gap)
		got := next.Announcement
		if !slices.Equal(got.DNSKEY, tt.is.DNSKEY) || !slices.Equal(got.CDNSKEY, tt.is.CDNSKEY) || !slices.Equal(got.CDS, tt.is.CDS) {
			t.Errorf("%s: expected what was announced, got %+v", tt.name, got)
		}
		if same := &got.DNSKEY[0] == &was.DNSKEY[0]; same != tt.dnskey {
			t.Errorf("%s: expected DNSKEY as it was in memory: %v", tt.name, tt.dnskey)
		}
		if same := &got.CDNSKEY[0] == &was.CDNSKEY[0]; same != tt.key {
			t.Errorf("%s: expected CDNSKEY as it was in memory: %v", tt.name, tt.key)
		}
		if same := &got.CDS[0] == &was.CDS[0]; same != tt.dses {
			t.Errorf("%s: expected CDS as it was in memory: %v", tt.name, tt.dses)
		}
	}
}
