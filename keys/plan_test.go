package keys

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/merge"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// day returns the nth day of the year.
func day(n int) time.Time { return epoch.AddDate(0, 0, n) }

// planned is one key of a test and when it does what, as letters: p
// published, a announced, c in CDS, k signs DNSKEY, d signs data.
type planned struct {
	role   Role
	timing Timing
	public bool
	gone   bool
	chain  bool
	unused bool // the zone was never signed with it
	alg    uint8
	want   string // on days 0, 10, 20 ...
}

func (p planned) key(t *testing.T) *Key {
	algorithm, flags := p.alg, uint16(257)
	if algorithm == 0 {
		algorithm = dns.ED25519
	}
	if p.role == ZSK {
		flags = 256
	}
	k := generate(t, zone1, algorithm, flags)
	k.Role, k.Timing, k.Gone = p.role, p.timing, p.gone
	if p.public {
		k.Signer = nil
	}
	return k
}

// letters returns what s says that k does.
func letters(s Schedule, k *Key) (l string) {
	for _, set := range []struct {
		letter string
		keys   []*Key
	}{{"p", s.Published}, {"a", s.Announced}, {"c", s.SecureEntry}, {"k", s.SignDNSKEY}, {"d", s.DataSigning}} {
		if slices.Contains(set.keys, k) {
			l += set.letter
		}
	}
	if l == "" {
		return "-"
	}
	return l
}

func TestPlanCarriesOutWishesThatAreSafe(t *testing.T) {
	ksk, zsk := planned{role: KSK}, planned{role: ZSK}
	with := func(p planned, want string) planned { p.want = want; return p }
	bind := func(t Timing) Timing { t.Created = epoch.AddDate(-1, 0, 0); return t }
	for _, tc := range []struct {
		name string
		keys []planned
	}{
		{"no timing: everything at once", []planned{with(ksk, "pck"), with(zsk, "pad"), {role: CSK, want: "packd"}}},
		{"public only", []planned{with(ksk, "pck"), with(zsk, "pad"), {role: ZSK, public: true, want: "pa"}, {role: KSK, public: true, want: "p"}, {role: CSK, public: true, want: "pa"}}},
		{"a ZSK comes", []planned{with(ksk, "pck pck pck pck"), with(zsk, "pad pad pad pad"),
			{role: ZSK, timing: bind(Timing{Publish: day(10), Activate: day(20)}), want: "- pa pad pad"}}},
		{"a ZSK goes: it stays as long as caches hold its signatures", []planned{with(ksk, "pck pck pck pck pck"), with(zsk, "pad pad pad pad pad"),
			{role: ZSK, timing: bind(Timing{Publish: day(-9), Activate: day(-9), Inactive: day(10), Delete: day(15)}), want: "pad pa p - -"}}},
		{"a ZSK goes at once", []planned{with(ksk, "pck pck pck pck"), with(zsk, "pad pad pad pad"),
			{role: ZSK, timing: bind(Timing{Publish: day(-9), Activate: day(-9), Delete: day(10)}), want: "pad p p -"}}},
		{"a ZSK whose file has gone", []planned{with(ksk, "pck pck pck"), with(zsk, "pad pad pad"),
			{role: ZSK, gone: true, timing: bind(Timing{Publish: day(-9), Activate: day(-9), Delete: day(0)}), want: "p p -"}}},
		{"a ZSK whose file has gone before it was to stop", []planned{with(ksk, "pck pck pck"), with(zsk, "pad pad pad"),
			{role: ZSK, gone: true, timing: bind(Timing{Publish: day(-9), Activate: day(-9), Inactive: day(90), Delete: day(0)}), want: "p p -"}}},
		{"the last ZSK of all goes on", []planned{with(ksk, "pck pck"),
			{role: ZSK, alg: dns.ECDSAP256SHA256, timing: bind(Timing{Publish: day(-9), Activate: day(-9), Inactive: day(5)}), want: "pad pad"}}},
		{"a ZSK that was never used goes when it is to", []planned{with(ksk, "pck pck"), with(zsk, "pad pad"),
			{role: ZSK, unused: true, timing: bind(Timing{Publish: day(-9), Activate: day(-9), Delete: day(10)}), want: "pad -"}}},
		{"and so does one whose file has gone", []planned{with(ksk, "pck"), with(zsk, "pad"),
			{role: ZSK, unused: true, gone: true, timing: Timing{Delete: day(0)}, want: "-"}}},
		{"a ZSK that is not active yet goes when it is to", []planned{with(ksk, "pck pck"), with(zsk, "pad pad"),
			{role: ZSK, timing: bind(Timing{Publish: day(-9), Activate: day(90), Delete: day(10)}), want: "pa -"}}},
		{"the last ZSK goes on", []planned{with(ksk, "pck pck pck"),
			{role: ZSK, timing: bind(Timing{Publish: day(-9), Activate: day(-9), Inactive: day(2), Delete: day(3)}), want: "pad p -"},
			{role: ZSK, timing: bind(Timing{Publish: day(-9), Activate: day(-9), Inactive: day(5), Delete: day(15)}), want: "pad pad pad"}}},
		{"the last ZSK of an algorithm goes on while a KSK has that algorithm", []planned{
			{role: KSK, alg: dns.ECDSAP256SHA256, want: "pck pck"}, with(ksk, "pck pck"), with(zsk, "pad pad"),
			{role: ZSK, alg: dns.ECDSAP256SHA256, timing: bind(Timing{Publish: day(-9), Activate: day(-9), Inactive: day(5)}), want: "pad pad"}}},
		{"and stops without one", []planned{with(ksk, "pck pck"), with(zsk, "pad pad"),
			{role: ZSK, alg: dns.ECDSAP256SHA256, timing: bind(Timing{Publish: day(-9), Activate: day(-9), Inactive: day(5)}), want: "pad pa"}}},
		{"made with -G: nothing", []planned{with(ksk, "pck"), with(zsk, "pad"), {role: ZSK, timing: bind(Timing{}), want: "-"}, {role: KSK, timing: bind(Timing{}), want: "-"}}},
		{"-A none: a stand-by key", []planned{with(ksk, "pck"), with(zsk, "pad"), {role: KSK, timing: bind(Timing{Publish: day(-1)}), want: "p"}}},
		{"-P none -A: published at once", []planned{with(ksk, "pck pck"), with(zsk, "pad pad"), {role: ZSK, timing: bind(Timing{Activate: day(10)}), want: "pa pad"}}},
		{"a KSK comes: CDS only once it signs", []planned{with(ksk, "pck pck pck pck"), with(zsk, "pad pad pad pad"),
			{role: KSK, timing: bind(Timing{Publish: day(10), Activate: day(20), SyncPublish: day(10)}), want: "- p pck pck"}}},
		{"a KSK comes: CDS from SyncPublish on", []planned{with(ksk, "pck pck pck pck"), with(zsk, "pad pad pad pad"),
			{role: KSK, timing: bind(Timing{Publish: day(0), Activate: day(10), SyncPublish: day(20)}), want: "p pk pck pck"}}},
		{"a KSK is to go, but the parent's DS is not known", []planned{with(ksk, "pck pck pck pck"), with(zsk, "pad pad pad pad"),
			{role: KSK, timing: bind(Timing{Publish: day(-9), Activate: day(-9), SyncDelete: day(1), Inactive: day(11), Delete: day(21)}), want: "pck pck pck pck"}}},
		{"a KSK whose file has gone goes on", []planned{with(ksk, "pck"), with(zsk, "pad"), {role: KSK, gone: true, timing: Timing{Delete: day(-1)}, want: "pck"}}},
		{"a CSK that is to go stays a KSK", []planned{{role: CSK, want: "packd packd"},
			{role: CSK, timing: bind(Timing{Publish: day(-9), Activate: day(-9), Inactive: day(5), Delete: day(8)}), want: "packd pck"}}},
		{"what the plugins behind us use stays", []planned{with(ksk, "pck pck pck"), with(zsk, "pad pad pad"),
			{role: ZSK, chain: true, timing: bind(Timing{Publish: day(-9), Activate: day(-9), Inactive: day(-8), Delete: day(-7)}), want: "pa pa pa"},
			{role: ZSK, chain: true, timing: bind(Timing{}), want: "pa pa pa"}}},
	} {
		facts := Facts{MaxZoneTTL: 12 * 24 * time.Hour}
		var ks []*Key
		for _, p := range tc.keys {
			k := p.key(t)
			ks = append(ks, k)
			if p.chain {
				facts.Chain = append(facts.Chain, k.ID())
			}
			if !p.unused && p.timing.Activate.Before(day(0)) {
				facts.Signed = append(facts.Signed, k.ID())
			}
		}
		for i, p := range tc.keys {
			var got []string
			for n := range strings.Fields(p.want) {
				got = append(got, letters(Plan(ks, day(10*n), facts), ks[i]))
			}
			if strings.Join(got, " ") != p.want {
				t.Errorf("%s: expected key %d (%s) to do %q, got %q", tc.name, i, p.role, p.want, got)
			}
		}
	}
}

// What the next key signs does not validate where caches do not have it yet, so that
// the one before goes on. Then it stays until they have forgotten what it signed last.
func TestADataSigningKeyGoesOnUntilCachesHaveTheNext(t *testing.T) {
	ksk := planned{role: KSK}.key(t)
	old := planned{role: ZSK, timing: Timing{Created: day(-99), Publish: day(-99), Activate: day(-99), Inactive: day(0), Delete: day(1)}}.key(t)
	next := planned{role: ZSK, timing: Timing{Created: day(-1), Publish: day(-1), Activate: day(0)}}.key(t)
	other := planned{role: ZSK, alg: dns.ECDSAP256SHA256}.key(t)
	ks := []*Key{ksk, old, next, other}
	for _, tc := range []struct {
		name          string
		now           time.Time
		signing       bool      // old does
		both          bool      // and next
		known         time.Time // next is
		cached        time.Time // until when that of old is
		oldDoes, next string
		say           string
		changes       time.Time
	}{
		{name: "not seen yet", now: day(2), signing: true, oldDoes: "pad", next: "pad", say: "it was to stop signing at 2026-01-01T00:00:00Z, but goes on, since key %d cannot take its place yet: it was not seen"},
		{name: "not in every cache", now: day(2), signing: true, known: day(3), oldDoes: "pad", next: "pad", say: "since key %d cannot take its place yet: until 2026-01-04T00:00:00Z caches may lack it", changes: day(3)},
		{name: "in every cache", now: day(3), signing: true, known: day(3), cached: day(6), oldDoes: "p", next: "pad", say: "it stays in DNSKEY as long as caches may hold its signatures", changes: day(6)},
		{name: "forgotten", now: day(6), known: day(3), cached: day(6), oldDoes: "-", next: "pad"},
		{name: "not seen, but it signs already", now: day(2), signing: true, both: true, cached: day(3), oldDoes: "p", next: "pad", say: "it stays in DNSKEY as long as", changes: day(3)},
		{name: "it does not sign any more", now: day(2), cached: day(3), oldDoes: "p", next: "pad", say: "it stays in DNSKEY until 2026-01-04T00:00:00Z", changes: day(3)},
	} {
		f := Facts{MaxZoneTTL: 12 * time.Hour, Signed: []merge.Key{old.ID()}, Seen: map[merge.Key]Seen{next.ID(): {KnownFrom: tc.known}, other.ID(): {KnownFrom: day(-9)}}}
		if tc.signing {
			f.SigningData = slices.Clone(f.Signed)
		}
		if tc.both {
			f.SigningData = append(f.SigningData, next.ID())
		}
		if !tc.cached.IsZero() {
			f.CachedUntil = map[merge.Key]time.Time{old.ID(): tc.cached}
		}
		s := Plan(ks, tc.now, f)
		if got, its := letters(s, old), letters(s, next); got != tc.oldDoes || its != tc.next {
			t.Errorf("%s: expected the key to do %q and the next %q, got %q and %q", tc.name, tc.oldDoes, tc.next, got, its)
		}
		say := strings.ReplaceAll(tc.say, "%d", fmt.Sprint(next.Tag()))
		if why := strings.Join(s.Why, "\n"); !strings.Contains(why, say) || say == "" && why != "" {
			t.Errorf("%s: expected %q to be said, got %q", tc.name, say, why)
		}
		if !s.Next.Equal(tc.changes) {
			t.Errorf("%s: expected the next change at %v, got %v", tc.name, tc.changes, s.Next)
		}
	}
}

func TestPlanSaysWhyAWishIsNotCarriedOut(t *testing.T) {
	always := planned{role: KSK}
	for _, tc := range []struct {
		key planned
		say string // empty: nothing
	}{
		{planned{role: ZSK}, ""},
		{planned{role: KSK, timing: Timing{Publish: day(-2), Activate: day(-2), Inactive: day(-1)}}, "its Inactive time has come, but it stays in DNSKEY and CDS and signs: the parent's DS has not been read"},
		{planned{role: KSK, timing: Timing{Publish: day(-2), Activate: day(-2), Delete: day(-1)}}, "its Delete time has come, but it stays"},
		{planned{role: KSK, timing: Timing{Publish: day(-2), Activate: day(-2), SyncDelete: day(-1)}}, "its SyncDelete time has come, but it stays"},
		{planned{role: KSK, gone: true, timing: Timing{Delete: day(-1)}}, "its file has gone, but it stays"},
		{planned{role: KSK, public: true, gone: true, timing: Timing{Delete: day(-1)}}, "stays in DNSKEY: the parent's DS has not been read"},
		{planned{role: ZSK, timing: Timing{Publish: day(-2), Activate: day(-2), Inactive: day(-1)}}, "goes on: no other key of ours signs the zone's data with ED25519"},
		{planned{role: ZSK, timing: Timing{Created: day(-1)}, chain: true}, "published or signed with it by the plugins"},
	} {
		k := tc.key.key(t)
		var facts Facts
		if tc.key.chain {
			facts.Chain = []merge.Key{k.ID()}
		}
		why := Plan([]*Key{always.key(t), k}, day(0), facts).Why
		if tc.say == "" {
			if len(why) > 0 {
				t.Errorf("Expected nothing to be said, got %q", why)
			}
			continue
		}
		if len(why) != 1 || !strings.Contains(why[0], tc.say) || !strings.Contains(why[0], k.String()) {
			t.Errorf("Expected a line with %q and %q, got %q", k, tc.say, why)
		}
	}
}

func TestPlanSaysWhenItChangesNext(t *testing.T) {
	timing := Timing{Publish: day(1), SyncPublish: day(2), Activate: day(3), Inactive: day(4), Delete: day(5)}
	late := Timing{Publish: day(-1), Activate: day(-1), Delete: day(9)}
	ks := []*Key{planned{role: CSK}.key(t), planned{role: ZSK, timing: late}.key(t), planned{role: ZSK, timing: timing}.key(t)}
	facts := Facts{MaxZoneTTL: 24 * 3 * time.Hour, Signed: []merge.Key{ks[1].ID(), ks[2].ID()}}
	now, steps := epoch, []time.Time(nil)
	for {
		next := Plan(ks, now, facts).Next
		if next.IsZero() {
			break
		}
		if !next.After(now) {
			t.Fatalf("Expected the next change after %v, got %v", now, next)
		}
		steps, now = append(steps, next), next
	}
	// SyncPublish is none of a ZSK's; on days 7 and 12 caches have forgotten
	// the signatures of one.
	if want := []time.Time{day(1), day(3), day(4), day(5), day(7), day(9), day(12)}; !slices.Equal(steps, want) {
		t.Errorf("Expected changes at %v, got %v", want, steps)
	}
}

// Whatever the timing, no key is in CDS that does not sign DNSKEY, none signs
// that is not published, and a zone that has signed goes on signing.
func TestPlanNeverLeavesAZoneUnsigned(t *testing.T) {
	ks := []*Key{
		planned{role: KSK, timing: Timing{Publish: day(0), Activate: day(1), SyncPublish: day(1), SyncDelete: day(3), Inactive: day(4), Delete: day(5)}}.key(t),
		planned{role: ZSK, timing: Timing{Publish: day(0), Activate: day(1), Inactive: day(4), Delete: day(6)}}.key(t),
		planned{role: ZSK, timing: Timing{Publish: day(2), Activate: day(3), Inactive: day(5), Delete: day(5)}}.key(t),
		planned{role: ZSK, alg: dns.ECDSAP256SHA256, timing: Timing{Publish: day(2), Activate: day(3), Delete: day(4)}}.key(t),
	}
	for n := range 40 {
		s := Plan(ks, day(n/4).Add(time.Duration(n%4)*6*time.Hour), Facts{MaxZoneTTL: 24 * time.Hour})
		for _, k := range ks {
			l := letters(s, k)
			if strings.Contains(l, "c") && !strings.Contains(l, "k") || strings.ContainsAny(l, "kd") && !strings.Contains(l, "p") {
				t.Errorf("Quarter %d: %s does %q", n, k, l)
			}
		}
		if n >= 4 && (len(s.SignDNSKEY) == 0 || len(s.DataSigning) == 0 || len(s.SecureEntry) == 0) {
			t.Errorf("Quarter %d: expected the zone to be signed, got %+v", n, s)
		}
	}
}
