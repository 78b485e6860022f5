package lifecycle

import (
	"slices"
	"testing"
	"time"

	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/observe"
)

func TestAJoiningProviderGoesThroughAllPhases(t *testing.T) {
	z := newLife(t)
	z.f.Missing, z.f.Peers = []Missing{{b1, "the announcement of ns1.example.org. is absent"}}, nil
	z.read(Parent{}, Look{}).expect(Collecting, "is absent")

	z.f.Missing, z.f.Peers = nil, []string{b1}
	z.pass(time.Minute).read(z.parent(digests(ksk(1)), a1), z.good(a1, b1).spoil(b1, lacks)).expect(Joint, "its DNSKEY lacks a key")
	z.pass(time.Minute).read(Parent{}, z.good(a1, b1)).expect(Converged, "lacks key")

	z.pass(time.Hour).read(z.parent(digests(ksk(1), ksk(2)), a1), Look{}).expect(Converged, "until 2026-01-02T01:02:00Z")
	began := z.now
	for range 23 {
		z.pass(time.Hour).read(z.parent(digests(ksk(1), ksk(2)), a1), z.good(a1, b1)).expect(Converged)
	}
	z.pass(time.Hour-time.Second).read(z.parent(digests(ksk(1), ksk(2)), a1), z.good(a1, b1)).expect(Converged)
	z.now = began.Add(24 * time.Hour)
	z.read(Parent{}, z.good(a1, b1)).expect(Converged) // the parent has not been read since
	z.read(z.parent(digests(ksk(1), ksk(2)), a1), Look{}).expect(Synced, "the zone's NS lacks ns1.example.org.", "the parent's NS lacks ns1.example.org.")
	if r := z.report(); !r.MayAdd || !slices.Equal(r.NS, []string{a1, b1}) || len(r.Waits) > 2 {
		t.Errorf("Expected NS to be allowed to be the target, got %+v", r)
	}

	z.f.NS = []string{a1, b1}
	z.pass(time.Minute).read(z.parent(digests(ksk(1), ksk(2)), a1, b1), z.good(a1, b1).spoil(b1, func(s *Seen) { s.NS = []string{b1} })).expect(Synced, "another NS RRset is served by ns1.example.org.")
	z.pass(time.Minute).read(Parent{}, z.good(a1, b1)).expect(Complete)
}

func TestPhasesOfOtherZones(t *testing.T) {
	both := digests(ksk(1), ksk(2))
	for _, tt := range []struct {
		name string
		edit func(*life)
		p    func(*life) Parent
		want Phase
	}{
		{"no other provider", func(z *life) { z.f.Target, z.f.Peers = []string{a1}, nil }, func(z *life) Parent { return z.parent(digests(ksk(1)), a1) }, Single},
		{"another only at the parent", func(z *life) { z.f.Target, z.f.Peers = []string{a1}, nil }, func(z *life) Parent { return z.parent(digests(ksk(1)), a1, c1) }, Joint},
		{"nothing was read", func(*life) {}, func(*life) Parent { return Parent{} }, Joint},
		{"the apex is not served", func(z *life) { z.f.Serving = false }, func(z *life) Parent { return z.parent(both, a1) }, Collecting},
		{"no DS", func(*life) {}, func(z *life) Parent { return z.parent(nil, a1) }, Insecure},
		{"no DS, and we are gone", func(z *life) { z.f.Target, z.f.NS = []string{b1}, []string{b1} }, func(z *life) Parent { return z.parent(nil, b1) }, Left},
		{"gone from the target only", func(z *life) { z.f.Target = []string{b1} }, func(z *life) Parent { return z.parent(both, b1) }, Joint},
	} {
		z := newLife(t)
		tt.edit(z)
		z.read(tt.p(z), Look{})
		if z.s.Phase != tt.want {
			t.Errorf("%s: expected %s, got %s", tt.name, tt.want, z.report())
		}
	}
}

// Only what was seen resets a wait. Who is not heard is taken to be as before,
// for a while.
func TestWhatInterruptsTheWaitForCaches(t *testing.T) {
	both := digests(ksk(1), ksk(2))
	for _, tt := range []struct {
		name  string
		again bool // whether the wait begins anew
		edit  func(z *life) (Parent, Look)
	}{
		{"nothing", false, func(z *life) (Parent, Look) { return z.parent(both, a1), z.good(a1, b1) }},
		{"nobody was heard", false, func(z *life) (Parent, Look) { return Parent{}, z.good(a1, b1).spoil(a1, silent).spoil(b1, silent) }},
		{"a key is missing", true, func(z *life) (Parent, Look) { return z.parent(both, a1), z.good(a1, b1).spoil(b1, lacks) }},
		{"DS lacks a key", true, func(z *life) (Parent, Look) { return z.parent(digests(ksk(1)), a1), z.good(a1, b1) }},
		{"DS was deleted", true, func(z *life) (Parent, Look) { return z.parent(nil, a1), z.good(a1, b1) }},
		{"a new nameserver", true, func(z *life) (Parent, Look) {
			z.f.Target = []string{a1, b1, c1}
			return z.parent(both, a1), z.good(a1, b1)
		}},
		{"the parent names another", true, func(z *life) (Parent, Look) { return z.parent(both, a1, c1), z.good(a1, b1) }},
		{"a provider has a new secure entry", true, func(z *life) (Parent, Look) {
			z.f.Joint.CDNSKEY = []merge.Key{ksk(1), ksk(2), ksk(3)}
			return Parent{}, Look{}
		}},
		{"nothing is served", true, func(z *life) (Parent, Look) { z.f.Serving = false; return Parent{}, Look{} }},
		{"a nameserver was silent for long", true, func(z *life) (Parent, Look) {
			for range 5 {
				z.pass(30*time.Minute).read(z.parent(both, a1), z.good(a1, b1).spoil(b1, silent))
			}
			return z.parent(both, a1), z.good(a1, b1)
		}},
		{"nobody was asked for long", true, func(z *life) (Parent, Look) {
			for range 5 {
				z.pass(30*time.Minute).read(z.parent(both, a1), Look{})
			}
			return z.parent(both, a1), z.good(a1, b1)
		}},
		{"the parent was not read for long", true, func(z *life) (Parent, Look) {
			for range 5 {
				z.pass(30*time.Minute).read(Parent{}, z.good(a1, b1))
			}
			return z.parent(both, a1), z.good(a1, b1)
		}},
		{"we were away for long", true, func(z *life) (Parent, Look) { z.pass(3 * time.Hour); return z.parent(both, a1), z.good(a1, b1) }},
	} {
		z := newLife(t)
		z.read(z.parent(both, a1), z.good(a1, b1)).expect(Converged)
		from := z.s.SyncFrom
		z.pass(time.Minute).read(tt.edit(z))
		z.f.Serving, z.f.Target, z.f.Joint.CDNSKEY = true, []string{a1, b1}, []merge.Key{ksk(1), ksk(2)}
		z.pass(time.Minute).read(z.parent(both, a1), z.good(a1, b1))
		if again := !z.s.SyncFrom.Equal(from); again != tt.again || z.s.SyncFrom.Before(from) {
			t.Errorf("%s: expected the wait to begin anew %v, got until %v after %v", tt.name, tt.again, z.s.SyncFrom.Sub(epoch), from.Sub(epoch))
		}
	}
}

// A key that was taken out of CDS and comes back: the parent may have followed the
// first change, after it was read last, and caches hold that.
func TestDSFromBeforeAKeyCameDoesNotCountForIt(t *testing.T) {
	z := settled(t)
	z.f.NS = []string{a1}
	both := z.f.Joint
	ds := digests(ksk(1), ksk(2))
	z.f.Joint.CDNSKEY, z.f.Joint.CDS = both.CDNSKEY[:1], both.CDS[:1]
	z.pass(time.Hour).read(z.parent(ds, a1), z.good(a1, b1)).expect(Synced)
	z.f.Joint = both
	z.pass(time.Minute).read(Parent{}, z.good(a1, b1)).expect(Converged, "has not been read since a key came into CDS")
	z.pass(time.Minute)
	cached := z.parent(ds, a1)
	cached.DSFrom = z.now.Add(-time.Hour)
	z.read(cached, z.good(a1, b1)).expect(Converged, "has not been read since a key came into CDS")
	z.pass(time.Minute).read(z.parent(ds, a1), z.good(a1, b1)).expect(Converged, "until 2026-01-03T07:03:00Z")
}

// A provider's digest alone says that the key is to be in DS, too.
func TestAKeyThatIsKnownByItsDigestIsNoOther(t *testing.T) {
	z := settled(t)
	both := z.f.Joint
	ds := digests(ksk(1), ksk(2))
	for range 3 {
		z.f.Joint.CDNSKEY, z.f.Joint.Unmatched = both.CDNSKEY[:1], ds[1:]
		z.pass(time.Hour).read(Parent{}, z.good(a1, b1)).expect(Complete)
		z.f.Joint = both
		z.pass(time.Hour).read(Parent{}, z.good(a1, b1)).expect(Complete)
	}
}

// The others may have left out our keys, and the parent followed, while none of our
// nameservers was wanted.
func TestOurReturnWaitsForDSAnew(t *testing.T) {
	z := settled(t)
	ds := digests(ksk(1), ksk(2))
	z.f.Target, z.f.NS = []string{b1}, []string{b1}
	z.pass(time.Hour).read(z.parent(ds, b1), z.good(b1))
	z.f.Target = []string{a1, b1}
	z.pass(time.Hour)
	cached := z.parent(ds, b1)
	cached.DSFrom = z.now.Add(-time.Minute)
	z.read(cached, z.good(a1, b1)).expect(Converged, "has not been read since a key came into CDS")
	if k := z.keyOf(ksk(1)); !k.DSSince.IsZero() {
		t.Errorf("Expected nothing to be known of our key in DS, got %+v", k)
	}
	z.pass(time.Minute).read(z.parent(ds, b1), z.good(a1, b1)).expect(Converged, "until")
}

// By a clock that was set back, a reading from before a key came is no newer.
func TestAClockSetBackMakesNoReadingNewer(t *testing.T) {
	s := State{DSFrom: epoch.Add(time.Hour), Entered: epoch.Add(2 * time.Hour)}
	back := func(since time.Time) time.Time {
		if since.After(epoch) {
			return epoch
		}
		return since
	}
	if got := s.Edit(back); !got.DSFrom.Before(got.Entered) {
		t.Errorf("Expected DS to be from before the key, got %+v", got)
	}
}

func TestAKeyOfOursThatReturnsToCDSIsInDSOnlyOnceItWasReadAnew(t *testing.T) {
	z := settled(t)
	if k := z.keyOf(ksk(1)); k.DSSince.IsZero() {
		t.Fatalf("Expected our key to be in DS, got %+v", k)
	}
	both := z.f.Joint
	ds := digests(ksk(1), ksk(2))
	z.f.Joint.CDNSKEY, z.f.Joint.CDS = both.CDNSKEY[1:], both.CDS[1:]
	z.pass(time.Hour).read(z.parent(ds, a1, b1), z.good(a1, b1))
	z.f.Joint = both
	z.pass(time.Minute).read(Parent{}, z.good(a1, b1))
	cached := z.parent(ds, a1, b1)
	cached.DSFrom = z.now.Add(-time.Second)
	z.read(cached, z.good(a1, b1))
	if k := z.keyOf(ksk(1)); !k.DSSince.IsZero() {
		t.Errorf("Expected nothing to be known of our key in DS, got %+v", k)
	}
	z.pass(time.Minute).read(z.parent(ds, a1, b1), z.good(a1, b1))
	if k := z.keyOf(ksk(1)); !k.DSSince.Equal(z.now) || !k.InDSFrom.Equal(z.now.Add(24*time.Hour)) {
		t.Errorf("Expected it to be in DS since now, got %+v", k)
	}
}

// The parent is read and the nameservers are asked at about the same time. Caches hold
// what one lacks that was asked and is found not to be the zone's any more.
func TestWhatALeaverLackedWhenItWasAskedCounts(t *testing.T) {
	both := digests(ksk(1), ksk(2))
	z := newLife(t)
	z.read(z.parent(both, a1, c1), z.good(a1, b1, c1)).expect(Converged)
	z.pass(time.Minute).read(z.parent(both, a1), z.good(a1, b1, c1).spoil(c1, lacks)).expect(Joint)
	z.pass(time.Minute).read(z.parent(both, a1), z.good(a1, b1)).expect(Converged)
}

func TestNSGainsNoHostThatDoesNotAnswer(t *testing.T) {
	both := digests(ksk(1), ksk(2))
	z := newLife(t)
	for range 26 {
		z.pass(time.Hour).read(z.parent(both, a1), z.good(a1, b1))
	}
	z.expect(Synced)
	z.pass(time.Minute).read(Parent{}, z.good(a1, b1).spoil(b1, silent)).expect(Synced, "ns1.example.org. does not answer")
	if r := z.report(); r.MayAdd || !slices.Equal(r.NS, []string{a1}) {
		t.Errorf("Expected NS to stay as it is, got %+v", r)
	}
	z.pass(time.Minute).read(Parent{}, z.good(a1, b1).spoil(a1, silent)).expect(Synced)
	if r := z.report(); !r.MayAdd {
		t.Errorf("Expected NS to gain %s, got %+v", b1, r)
	}
}

// A host that is wanted again was looked at all along, but the others may be about
// to forget its keys: they do not know yet, or the hold-down is over for them.
func TestNSGainsAHostOnlyOnceItIsPlainThatItIsWanted(t *testing.T) {
	both := digests(ksk(1), ksk(2))
	z := settled(t)
	z.f.Target, z.f.NS = []string{a1}, []string{a1}
	z.pass(time.Hour).read(z.parent(both, a1, b1), z.good(a1, b1)).expect(Synced)
	z.f.Target = []string{a1, b1}
	again := z.pass(time.Minute).now
	z.read(Parent{}, Look{}).expect(Converged)
	if wait := z.s.SyncFrom.Sub(again); wait != 24*time.Hour {
		t.Errorf("Expected a wait for the longest TTL, got %v", wait)
	}
	z.pass(time.Minute).read(z.parent(both, a1), z.good(a1, b1).spoil(b1, lacks)).expect(Joint)
	z.read(z.parent(both, a1), z.good(a1, b1)).expect(Converged)
	for range 25 {
		z.pass(time.Hour).read(z.parent(both, a1), z.good(a1, b1))
	}
	z.expect(Synced)

	// However short the TTLs, the others get to see it.
	p := z.parent(both, a1, b1)
	p.DSTTL = time.Second
	short := z.good(a1, b1)
	for i := range short.Seen {
		short.Seen[i].KeyTTL = time.Second
	}
	z.c.TTL = time.Second
	z.read(p, short)
	z.f.Target = []string{a1}
	z.pass(72*time.Hour).read(Parent{}, Look{})
	z.f.Target = []string{a1, b1}
	z.read(Parent{}, Look{})
	if wait := z.s.SyncFrom.Sub(z.now); wait != z.c.notice() {
		t.Errorf("Expected a wait of %v, got %v", z.c.notice(), wait)
	}
}

func TestTheWaitEndsWithReadingsMadeAfterIt(t *testing.T) {
	both := digests(ksk(1), ksk(2))
	for _, lookLast := range []bool{false, true} {
		z := newLife(t)
		z.read(z.parent(both, a1), z.good(a1, b1))
		for range 25 {
			p, l := z.pass(time.Hour).parent(both, a1), z.good(a1, b1)
			switch {
			case z.now.Before(z.s.SyncFrom):
			case lookLast:
				l = Look{}
			default:
				p = Parent{}
			}
			z.read(p, l)
		}
		z.expect(Converged)
		if lookLast {
			z.read(Parent{}, z.good(a1, b1)).expect(Synced)
		} else {
			z.read(z.parent(both, a1), Look{}).expect(Synced)
		}
	}
}

func TestTheWaitIsForTheLongestTTLInForce(t *testing.T) {
	z := newLife(t)
	p := z.parent(digests(ksk(1)), a1)
	p.DSTTL = 48 * time.Hour // of the DS RRset that lacks the new key
	z.read(p, z.good(a1, b1))
	z.pass(time.Minute)
	p = z.parent(digests(ksk(1), ksk(2)), a1)
	p.DSTTL = time.Minute
	z.read(p, Look{})
	if want := z.now.Add(48 * time.Hour); !z.s.SyncFrom.Equal(want) {
		t.Errorf("Expected the wait to end at %v, got %v", want, z.s.SyncFrom)
	}

	z = newLife(t)
	z.read(z.parent(digests(ksk(1), ksk(2)), a1), z.good(a1, b1).spoil(b1, func(s *Seen) { lacks(s); s.KeyTTL = 72 * time.Hour }))
	z.pass(time.Minute).read(Parent{}, z.good(a1, b1))
	if want := z.now.Add(72 * time.Hour); !z.s.SyncFrom.Equal(want) {
		t.Errorf("Expected the wait to end at %v, got %v", want, z.s.SyncFrom)
	}
}

func TestACompleteZoneSurvivesOurAbsence(t *testing.T) {
	z := newLife(t)
	both := digests(ksk(1), ksk(2))
	z.f.NS = []string{a1, b1}
	for range 40 {
		z.pass(time.Hour).read(z.parent(both, a1, b1), z.good(a1, b1))
	}
	z.expect(Complete)
	z.pass(100*time.Hour).read(Parent{}, Look{}).expect(Complete)
	z.read(z.parent(both, a1, b1), z.good(a1, b1)).expect(Complete)
}

func TestALeaverThatCannotBeReachedDoesNotBlock(t *testing.T) {
	z := newLife(t)
	both := digests(ksk(1), ksk(2))
	z.f.NS, z.f.Target = []string{a1, b1, c1}, []string{a1, b1}
	quiet := func() Look { return z.good(a1, b1, c1).spoil(c1, silent) }
	z.read(z.parent(both, a1, b1, c1), quiet()).expect(Joint, "ns1.example.com.: no answer")
	z.pass(59*time.Minute).read(Parent{}, quiet()).expect(Joint)
	z.pass(time.Minute).read(Parent{}, quiet()).expect(Converged)
	z.pass(time.Minute).read(Parent{}, z.good(a1, b1, c1).spoil(c1, lacks)).expect(Joint)

	z = newLife(t) // one that stays does
	z.read(z.parent(both, a1), z.good(a1, b1).spoil(b1, silent)).expect(Joint)
	z.pass(100*time.Hour).read(Parent{}, z.good(a1, b1).spoil(b1, silent)).expect(Joint)
}

func TestWhatNSMayBe(t *testing.T) {
	for _, tt := range []struct {
		name       string
		ns, target []string
		phase      Phase
		want       []string
	}{
		{"adding waits", []string{a1}, []string{a1, b1}, Converged, []string{a1}},
		{"until it may", []string{a1}, []string{a1, b1}, Synced, []string{a1, b1}},
		{"removing does not", []string{a1, b1}, []string{a1}, Joint, []string{a1}},
		{"a swap is an addition", []string{a1}, []string{b1}, Converged, []string{a1}},
		{"of which the removal comes first", []string{a1, b1}, []string{b1, c1}, Converged, []string{b1}},
		{"nothing validates", []string{a1}, []string{b1}, Insecure, []string{b1}},
		{"unknown", []string{a1}, []string{b1}, "", []string{a1}},
	} {
		z := newLife(t)
		z.f.NS, z.f.Target, z.s.Phase = tt.ns, tt.target, tt.phase
		if r := z.report(); !slices.Equal(r.NS, tt.want) {
			t.Errorf("%s: expected %v, got %v", tt.name, tt.want, r.NS)
		}
	}
}

// Nobody looked at it meanwhile.
func TestAHostThatComesBackIsLookedAtAnew(t *testing.T) {
	z := newLife(t)
	both := digests(ksk(1), ksk(2))
	for range 30 {
		z.pass(time.Hour).read(z.parent(both, a1), z.good(a1, b1))
	}
	z.expect(Synced)
	z.f.Target = []string{a1}
	z.pass(time.Minute).read(z.parent(both, a1), Look{})
	z.f.Target = []string{a1, b1}
	z.pass(time.Minute).read(Parent{}, Look{}).expect(Joint)
	z.pass(time.Minute).read(z.parent(both, a1), z.good(a1, b1)).expect(Converged, "until")
}

// A zone of ours alone gains nameservers of ours.
func TestOneProviderWaitsForItsOwnNameservers(t *testing.T) {
	const a2 = "ns2.example.net."
	z := newLife(t)
	z.c.Own, z.f.Target, z.f.Peers, z.f.Joint.CDNSKEY = []string{a1, a2}, []string{a1, a2}, nil, []merge.Key{ksk(1)}
	for range 30 {
		z.pass(time.Hour).read(z.parent(digests(ksk(1)), a1), z.good(a1, a2).spoil(a2, lacks)).expect(Single)
	}
	if r := z.report(); r.MayAdd || !slices.Equal(r.NS, []string{a1}) {
		t.Errorf("Expected a nameserver that lacks keys to wait, got %+v", r)
	}
	for range 30 {
		z.pass(time.Hour).read(z.parent(digests(ksk(1)), a1), z.good(a1, a2))
	}
	if r := z.report(); !r.MayAdd || !slices.Equal(r.NS, []string{a1, a2}) {
		t.Errorf("Expected NS to be allowed to gain it, got %+v", r)
	}
}

func TestHostsThatOnlyTheParentNamesAreLookedAtLast(t *testing.T) {
	z := newLife(t)
	z.read(z.parent(nil, a1, "a.example.com."), Look{})
	if got, want := Hosts(z.s, z.f), []string{a1, b1, "a.example.com."}; !slices.Equal(got, want) {
		t.Errorf("Expected %v, got %v", want, got)
	}
}

func TestDeletedDSCountsOnceCachesHaveForgottenIt(t *testing.T) {
	z := newLife(t)
	z.read(z.parent(digests(ksk(1)), a1), z.good(a1, b1)).expect(Converged)
	z.pass(time.Hour).read(z.parent(nil, a1), Look{}).expect(Converged, "DS lacks key")
	z.pass(23*time.Hour).read(z.parent(nil, a1), Look{}).expect(Converged)
	z.pass(time.Hour).read(Parent{At: z.now, DSStatus: observe.DSInsecure}, Look{}).expect(Insecure)
}
