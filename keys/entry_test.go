package keys

import (
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/merge"
)

// Two KSKs, of which the old one is to go since day 0: what each does on days 0,
// 10, 20 and 30, as letters (see planned), and what the plan says on day 0.
func TestASecureEntryKeyGoesOnceAnotherTakesItsPlace(t *testing.T) {
	const other = dns.ECDSAP256SHA256
	inDS := func(since, from int) Seen {
		return Seen{KnownFrom: day(since), Signing: day(since), InDS: day(since), InDSFrom: day(from)}
	}
	gone := func(from int) Seen { return Seen{KnownFrom: day(-90), GoneFrom: day(from)} }
	for _, tt := range []struct {
		name     string
		role     Role // of the old one
		alg      uint8
		old, new Seen
		facts    Facts
		edit     func(old, new *Key)
		want     string
		wantNew  string
		why      string
	}{
		{name: "DS was never read", facts: Facts{DS: DSUnknown}, old: inDS(-90, -90), new: inDS(-9, -9), want: "pck pck pck pck", wantNew: "pck pck pck pck", why: "DS has not been read"},
		{name: "the new one is not in DS", old: inDS(-90, -90), new: Seen{KnownFrom: day(-9)}, want: "pck pck pck pck", wantNew: "pck pck pck pck", why: "DS does not name key"},
		{name: "it was never seen in DNSKEY", old: inDS(-90, -90), new: Seen{InDS: day(-9), InDSFrom: day(-8)}, want: "pck pck pck pck", wantNew: "pck pck pck pck", why: "was not seen in DNSKEY"},
		{name: "it is not in every cache yet", old: inDS(-90, -90), new: Seen{KnownFrom: day(5), Signing: day(-9), InDS: day(-9), InDSFrom: day(-8)}, want: "pck - - -", wantNew: "pck pck pck pck", why: "until 2026-01-06T00:00:00Z caches may hold a DNSKEY RRset without"},
		{name: "its signature is not in every cache yet", old: inDS(-90, -90), new: Seen{KnownFrom: day(-9), Signing: day(4), InDS: day(-9), InDSFrom: day(-8)}, want: "pck - - -", wantNew: "pck pck pck pck", why: "until 2026-01-08T00:00:00Z caches may hold a DNSKEY RRset without"},
		{name: "nor in every cache's DS", old: inDS(-90, -90), new: inDS(-9, 15), want: "pk pk - -", wantNew: "pck pck pck pck", why: "signs until 2026-01-19T00:00:00Z"},
		{name: "all is ready", old: inDS(-90, -90), new: inDS(-90, -90), want: "- - - -", wantNew: "pck pck pck pck"},
		{name: "the new one has another algorithm", alg: other, old: inDS(-90, -90), new: inDS(-90, -90), want: "pk pk pk pk", wantNew: "pck pck pck pck", why: "until the parent's DS no longer names it"},
		{name: "and the old one's DS is gone", alg: other, old: gone(15), new: inDS(-90, -90), want: "pk pk - -", wantNew: "pck pck pck pck", why: "caches may hold DS"},
		{name: "DS is absent", facts: Facts{DS: DSAbsent}, old: gone(5), new: gone(5), want: "pk - - -", wantNew: "pck pck pck pck", why: "caches may hold DS"},
		{name: "the new one is to go, too", old: inDS(-90, -90), new: inDS(-90, -90), edit: func(_, k *Key) { k.Timing.Delete = day(-1) }, want: "pck pck pck pck", wantNew: "pck pck pck pck", why: "no other key of ours"},
		{name: "the new one is public only", old: inDS(-90, -90), new: inDS(-90, -90), edit: func(_, k *Key) { k.Signer = nil }, want: "pck pck pck pck", wantNew: "p p p p", why: "no other key of ours"},
		{name: "it is to leave CDS alone", old: inDS(-90, -90), new: inDS(-90, -90), edit: func(k, _ *Key) { k.Timing.Delete, k.Timing.SyncDelete = time.Time{}, day(-1) }, want: "pk pk pk pk", wantNew: "pck pck pck pck"},
		{name: "it is to sign no more", old: inDS(-90, -90), new: inDS(-90, -90), edit: func(k, _ *Key) { k.Timing.Delete, k.Timing.Inactive = time.Time{}, day(-1) }, want: "p p p p", wantNew: "pck pck pck pck"},
		{name: "the plugins behind us have it", facts: Facts{Chain: []merge.Key{{}}}, old: inDS(-90, -90), new: inDS(-90, -90), want: "pk pk pk pk", wantNew: "pck pck pck pck", why: "stays in DNSKEY"},
		{name: "nobody learns of the new one any more", facts: Facts{Left: true}, old: inDS(-90, -90), new: inDS(-90, -90), want: "pck pck pck pck", wantNew: "pck pck pck pck", why: "nobody learns of a key"},
		{name: "its private half is gone", old: inDS(-90, -90), new: inDS(-9, 15), edit: func(k, _ *Key) { k.Signer = nil }, want: "p p - -", wantNew: "pck pck pck pck", why: "has left CDS"},
		{name: "and DS does not name the other", old: inDS(-90, -90), new: Seen{KnownFrom: day(-9)}, edit: func(k, _ *Key) { k.Signer = nil }, want: "pc pc pc pc", wantNew: "pck pck pck pck", why: "stays in DNSKEY and CDS"},
		{name: "a CSK that signed data", role: CSK, old: inDS(-90, -90), new: inDS(-90, -90), want: "p p - -", wantNew: "pck pck pck pck", why: "caches may hold its signatures"},
	} {
		if tt.role == RoleUnknown {
			tt.role = KSK
		}
		old := planned{role: tt.role, timing: Timing{Created: day(-99), Publish: day(-99), Activate: day(-99), Delete: day(-1)}}.key(t)
		next := planned{role: KSK, alg: tt.alg}.key(t)
		zsk := planned{role: ZSK}.key(t)
		if tt.edit != nil {
			tt.edit(old, next)
		}
		f := tt.facts
		if f.DS == DSUnknown && tt.name != "DS was never read" {
			f.DS = DSThere
		}
		if len(f.Chain) > 0 {
			f.Chain = []merge.Key{old.ID()}
		}
		f.KeysTTL, f.MaxZoneTTL = 3*24*time.Hour, 14*24*time.Hour
		f.DSAlgorithms = []uint8{dns.ED25519, other}
		f.Entries, f.Signing, f.Published = []merge.Key{old.ID()}, []merge.Key{old.ID()}, []merge.Key{old.ID(), next.ID()}
		if tt.role == CSK {
			f.Signed = []merge.Key{old.ID()}
		}
		f.Seen = map[merge.Key]Seen{old.ID(): tt.old, next.ID(): tt.new}
		var got, gotNew []string
		for i := range 4 {
			s := Plan([]*Key{old, next, zsk}, day(10*i), f)
			got, gotNew = append(got, letters(s, old)), append(gotNew, letters(s, next))
			if why := strings.Join(s.Why, "\n"); i == 0 && (!strings.Contains(why, tt.why) || tt.why == "" && why != "") {
				t.Errorf("%s: expected it to say %q, got %q", tt.name, tt.why, why)
			}
		}
		if x, y := strings.Join(got, " "), strings.Join(gotNew, " "); x != tt.want || y != tt.wantNew {
			t.Errorf("%s: expected %q and %q, got %q and %q", tt.name, tt.want, tt.wantNew, x, y)
		}
	}
}

func TestANewAlgorithmIsInCDSOnceEverythingIsSignedWithIt(t *testing.T) {
	const other = dns.ECDSAP256SHA256
	for _, tt := range []struct {
		name   string
		ds     DSState
		algs   []uint8
		in     bool // CDS named it before
		signed int  // day from which data is signed with it; 99: it is not
		known  int  // day from which every cache has it; 99: it is not known
		want   string
	}{
		{"no data is signed with it", DSThere, []uint8{dns.ED25519}, false, 99, 0, "pk pk pk"},
		{"caches hold data without it", DSThere, []uint8{dns.ED25519}, false, -5, -9, "pk pck pck"},
		{"caches hold DNSKEY without it", DSThere, []uint8{dns.ED25519}, false, -90, 15, "pk pk pck"},
		{"it was not seen", DSThere, []uint8{dns.ED25519}, false, -90, 99, "pk pk pk"},
		{"another in DS has it", DSThere, []uint8{dns.ED25519, other}, false, 99, 99, "pck pck pck"},
		{"it is there already", DSThere, []uint8{dns.ED25519}, true, 99, 99, "pck pck pck"},
		{"no DS", DSAbsent, nil, false, 99, 99, "pck pck pck"},
		{"DS was never read", DSUnknown, nil, false, -90, -90, "pk pk pk"},
	} {
		old, next, zsk, zsk2 := planned{role: KSK}.key(t), planned{role: KSK, alg: other}.key(t), planned{role: ZSK}.key(t), planned{role: ZSK, alg: other}.key(t)
		f := Facts{DS: tt.ds, DSAlgorithms: tt.algs, Entries: []merge.Key{old.ID()}, MaxZoneTTL: 7 * 24 * time.Hour, Seen: make(map[merge.Key]Seen)}
		if tt.in {
			f.Entries = append(f.Entries, next.ID())
		}
		if tt.signed != 99 {
			f.Seen[zsk2.ID()] = Seen{Signed: day(tt.signed)}
		}
		if tt.known != 99 {
			f.Seen[next.ID()] = Seen{KnownFrom: day(tt.known)}
		}
		var got []string
		for i := range 3 {
			got = append(got, letters(Plan([]*Key{old, next, zsk, zsk2}, day(10*i), f), next))
		}
		if x := strings.Join(got, " "); x != tt.want {
			t.Errorf("%s: expected %q, got %q", tt.name, tt.want, x)
		}
	}
}

func TestAKeyWhoseTimeWasOverBeforeItCameIsLeftOut(t *testing.T) {
	old := planned{role: KSK, timing: Timing{Created: day(-99), Publish: day(-99), Activate: day(-99), Delete: day(-50)}}.key(t)
	ks := []*Key{old, planned{role: KSK}.key(t), planned{role: ZSK}.key(t)}
	for name, tt := range map[string]struct {
		f    Facts
		want string
	}{
		"DS is known, and names another":   {Facts{DS: DSThere, DSAlgorithms: []uint8{dns.ED25519}}, "-"},
		"DS names it":                      {Facts{DS: DSThere, DSAlgorithms: []uint8{dns.ED25519}, Seen: map[merge.Key]Seen{old.ID(): {InDS: day(-1)}}}, "pck"},
		"DS is not known, so it may be it": {Facts{}, "pck"},
	} {
		if got := letters(Plan(ks, day(0), tt.f), old); got != tt.want {
			t.Errorf("%s: expected %q, got %q", name, tt.want, got)
		}
	}
}

func TestPlanSaysFromWhenASecureEntryMayGo(t *testing.T) {
	a, b, zsk := planned{role: KSK}.key(t), planned{role: KSK}.key(t), planned{role: ZSK}.key(t)
	f := Facts{DS: DSThere, DSAlgorithms: []uint8{dns.ED25519}, KeysTTL: time.Hour, Seen: map[merge.Key]Seen{
		a.ID(): {KnownFrom: day(-9), Signing: day(-9), InDS: day(-9), InDSFrom: day(-9)},
		b.ID(): {KnownFrom: day(-9), Signing: day(-9)},
	}}
	s := Plan([]*Key{a, b, zsk}, day(0), f)
	if _, ok := s.Go[a.ID()]; ok {
		t.Error("Expected the only key in DS not to be one that may go")
	}
	if at, ok := s.Go[b.ID()]; !ok || !at.Equal(day(-9).Add(time.Hour)) {
		t.Errorf("Expected the other to be one that may, got %v", s.Go)
	}
}

// A TTL that was lowered counts until what was answered with it has expired: it is
// a time, which does not come nearer for being looked at later.
func TestALoweredTTLOfTheKeysIsWaitedFor(t *testing.T) {
	old, heir, zsk := planned{role: KSK}.key(t), planned{role: KSK}.key(t), planned{role: ZSK}.key(t)
	old.Timing.Inactive, old.Timing.Delete = day(0), day(0)
	f := Facts{DS: DSThere, DSAlgorithms: []uint8{dns.ED25519}, KeysTTL: time.Hour, KeysUntil: day(2), Seen: map[merge.Key]Seen{
		old.ID():  {KnownFrom: day(-9), Signing: day(-9), InDS: day(-9), InDSFrom: day(-9)},
		heir.ID(): {KnownFrom: day(-9), Signing: day(0), InDS: day(0), InDSFrom: day(0)},
	}, Published: []merge.Key{old.ID(), heir.ID()}, Entries: []merge.Key{old.ID(), heir.ID()}, Signing: []merge.Key{old.ID(), heir.ID()}}
	for _, tt := range []struct {
		at   time.Time
		want string
	}{{day(1), "pck"}, {day(2).Add(-time.Second), "pck"}, {day(2), "-"}} {
		if got := letters(Plan([]*Key{old, heir, zsk}, tt.at, f), old); got != tt.want {
			t.Errorf("%v: expected %q, got %q", tt.at, tt.want, got)
		}
	}
}
