package lifecycle

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/coredns-mske/mske/observe"
)

// settled returns a complete zone of two providers.
func settled(t *testing.T) *life {
	z := newLife(t)
	z.f.NS = []string{a1, b1}
	for range 30 {
		z.pass(time.Hour).read(z.parent(digests(ksk(1), ksk(2)), a1, b1), z.good(a1, b1))
	}
	z.expect(Complete)
	return z
}

func TestAHostThatLeavesIsKeptAsLongAsCachesNeedIt(t *testing.T) {
	z := settled(t)
	z.f.Target = []string{a1}
	z.pass(time.Hour).read(z.parent(digests(ksk(1), ksk(2)), a1, b1), z.good(a1, b1)).expectKept(b1, true)
	z.f.NS = []string{a1}
	z.pass(time.Hour).read(z.parent(digests(ksk(1), ksk(2)), a1, b1), z.good(a1, b1)).expectKept(b1, true)
	if l := z.report().Leaving; len(l) > 0 {
		t.Fatalf("Expected a host that the parent names not to be leaving yet, got %v", l)
	}
	gone := z.pass(time.Hour).now
	z.read(z.parent(digests(ksk(1), ksk(2)), a1), z.good(a1))
	hold := 48*time.Hour + 24*time.Hour // the parent's NS TTL and max_zone_ttl
	if l := z.report().Leaving; len(l) != 1 || !l[0].Until.Equal(gone.Add(hold)) {
		t.Fatalf("Expected the hold-down to end after %v, got %v", hold, l)
	}
	without := func() (Parent, Look) { return z.parent(digests(ksk(1), ksk(2)), a1), z.good(a1) }
	z.until(gone.Add(hold-time.Second), without).read(without()).expectKept(b1, true)
	z.now = gone.Add(hold)
	z.read(Parent{}, z.good(a1)).expectKept(b1, true) // time alone does nothing
	z.read(Parent{At: z.now, DSStatus: observe.DSPresent}, Look{}).expectKept(b1, true)
	z.read(z.parent(digests(ksk(1)), a1), Look{}).expectKept(b1, false)
}

func TestWhatKeepsALeaver(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(z *life) (Parent, Look)
		kept bool
	}{
		{"nothing", func(z *life) (Parent, Look) { return z.parent(nil, a1), z.good(a1) }, false},
		{"the parent cannot be read", func(z *life) (Parent, Look) { return Parent{}, z.good(a1) }, true},
		{"the parent was not read since the start", func(z *life) (Parent, Look) { z.f.Began = z.now; return Parent{}, z.good(a1) }, true},
		{"the clock may be ahead", func(z *life) (Parent, Look) { z.f.Held = true; return z.parent(nil, a1), z.good(a1) }, true},
		{"the zone was not read since the start", func(z *life) (Parent, Look) { z.f.Read = false; return z.parent(nil, a1), Look{} }, true},
		{"it is back in the target", func(z *life) (Parent, Look) { z.f.Target = []string{a1, b1}; return z.parent(nil, a1), z.good(a1) }, true},
		{"it is back in the zone's NS", func(z *life) (Parent, Look) { z.f.NS = []string{a1, b1}; return z.parent(nil, a1), z.good(a1) }, true},
		{"it is back in the parent's NS", func(z *life) (Parent, Look) { return z.parent(nil, a1, b1), z.good(a1) }, true},
		{"a nameserver that stays still names it", func(z *life) (Parent, Look) {
			return z.parent(nil, a1), z.good(a1).spoil(a1, func(s *Seen) { s.NS = []string{a1, b1} })
		}, true},
		{"a nameserver knows that it is wanted again", func(z *life) (Parent, Look) {
			return z.parent(nil, a1), z.good(a1).spoil(a1, func(s *Seen) { s.CNS = []string{a1, b1} })
		}, true},
		{"a nameserver knew that when it was heard", func(z *life) (Parent, Look) {
			z.read(Parent{}, z.good(a1).spoil(a1, func(s *Seen) { s.CNS = []string{a1, b1} }))
			z.pass(time.Minute).read(Parent{}, z.good(a1).spoil(a1, silent))
			return z.parent(nil, a1), z.pass(patience).good(a1).spoil(a1, silent)
		}, true},
		{"a nameserver may know more", func(z *life) (Parent, Look) { return z.parent(nil, a1), z.good(a1).spoil(a1, silent) }, true},
		{"one that is dead", func(z *life) (Parent, Look) {
			z.read(Parent{}, z.good(a1).spoil(a1, silent))
			return z.pass(patience).parent(nil, a1), z.good(a1).spoil(a1, silent)
		}, false},
		{"nobody was asked lately", func(z *life) (Parent, Look) {
			z.read(Parent{}, z.good(a1))
			return z.pass(z.c.fresh()+time.Second).parent(nil, a1), Look{}
		}, true},
		{"it may have been back, while nothing was read", func(z *life) (Parent, Look) { return z.pass(z.c.gap()).parent(nil, a1), z.good(a1) }, true},
		{"it may have been back, while no nameserver was asked", func(z *life) (Parent, Look) {
			for range 3 {
				z.read(z.parent(nil, a1), Look{}).pass(time.Hour)
			}
			return z.parent(nil, a1), z.good(a1)
		}, true},
		{"a failure and a restart are no silence", func(z *life) (Parent, Look) {
			z.f.Began = z.pass(time.Hour - time.Minute).now
			return z.parent(nil, a1), z.good(a1)
		}, false},
	} {
		z := settled(t)
		z.f.Target, z.f.NS = []string{a1}, []string{a1}
		without := func() (Parent, Look) { return z.parent(digests(ksk(1)), a1), z.good(a1) }
		z.read(without())
		z.until(z.s.host(b1).Until, without).read(tt.edit(z)).expectKept(b1, tt.kept)
		if t.Failed() {
			t.Fatal(tt.name)
		}
	}
}

// Whoever left may have been back while nothing was read, and have left just before:
// what caches hold is as if it had been there until now.
func TestALeaverIsHeldDownAnewAfterASilence(t *testing.T) {
	for name, wanted := range map[string]bool{"gone": false, "wanted for a moment": true} {
		t.Run(name, func(t *testing.T) {
			z := settled(t)
			z.f.Target, z.f.NS = []string{a1}, []string{a1}
			z.f.Peers = nil // so that it is not taken for one of an older state file once it is dropped
			without := func() (Parent, Look) { return z.parent(digests(ksk(1)), a1), z.good(z.f.Target...) }
			z.read(without()).until(z.now.Add(10*time.Hour), without)
			z.f.Began = z.pass(14 * 24 * time.Hour).now
			if wanted {
				z.f.Target = []string{a1, b1}
			}
			heard := z.now
			z.read(without()).expectKept(b1, true)
			z.f.Target = []string{a1}
			hold := 48*time.Hour + 24*time.Hour // the parent's NS TTL and max_zone_ttl
			z.until(heard.Add(hold-time.Second), without).read(without()).expectKept(b1, true)
			z.until(z.now.Add(4*time.Hour), without).expectKept(b1, false)
		})
	}
}

func TestANameserverThatIsBehindStartsTheHoldDownAnew(t *testing.T) {
	z := settled(t)
	z.f.Target, z.f.NS = []string{a1, c1}, []string{a1, c1}
	behind := func() Look { return z.good(a1, c1).spoil(c1, func(s *Seen) { s.NS = []string{a1, b1} }) }
	without := func() (Parent, Look) { return z.parent(nil, a1, c1), z.good(a1, c1) }
	z.read(z.parent(nil, a1, c1), behind())
	z.pass(200*time.Hour).read(z.parent(nil, a1, c1), z.good(a1, c1).spoil(c1, silent)).expectKept(b1, true)
	z.pass(time.Hour).read(without()).expectKept(b1, true)
	z.until(z.now.Add(48*time.Hour+24*time.Hour-time.Second), without).read(without()).expectKept(b1, true)
	z.pass(time.Second).read(z.parent(nil, a1, c1), z.good(a1, c1)).expectKept(b1, false)
}

func TestAHostThatNeverWasDelegatedToGoesWithTheSecondReading(t *testing.T) {
	z := newLife(t)
	z.read(z.parent(digests(ksk(1)), a1), z.good(a1, b1))
	z.f.Target = []string{a1}
	z.pass(time.Hour).read(z.parent(digests(ksk(1)), a1), z.good(a1)).expectKept(b1, true)
	z.pass(59*time.Second).read(z.parent(digests(ksk(1)), a1), Look{}).expectKept(b1, true)
	z.pass(time.Hour).read(Parent{}, z.good(a1)).expectKept(b1, true)
	z.read(z.parent(digests(ksk(1)), a1), Look{}).expectKept(b1, false)
}

func TestAHostThatFlapsKeepsItsKeys(t *testing.T) {
	z := newLife(t)
	z.read(z.parent(digests(ksk(1)), a1), z.good(a1, b1))
	for range 5 {
		z.f.Target = []string{a1}
		z.pass(50*time.Second).read(z.parent(digests(ksk(1)), a1), z.good(a1)).expectKept(b1, true)
		z.f.Target = []string{a1, b1}
		z.pass(50*time.Second).read(z.parent(digests(ksk(1)), a1), z.good(a1)).expectKept(b1, true)
	}
}

// What the parent said before a restart is too old to begin with.
func TestNobodyLeavesBeforeTheParentWasReadSinceTheStart(t *testing.T) {
	z := newLife(t)
	z.read(z.parent(digests(ksk(1)), a1), z.good(a1, b1))
	z.f.Target, z.f.Began = []string{a1}, z.pass(time.Hour).now
	z.read(Parent{}, z.good(a1))
	if h := z.s.host(b1); h == nil || !h.Missing.IsZero() {
		t.Errorf("Expected nobody to be missed before the parent was read, got %+v", h)
	}
	z.pass(time.Minute).read(z.parent(nil, a1), Look{})
	if h := z.s.host(b1); h == nil || h.Missing.IsZero() {
		t.Errorf("Expected the host to be missed, got %+v", h)
	}
}

func TestUnknownDelegationTTLIsTwoDays(t *testing.T) {
	z := newLife(t)
	z.f.NS = []string{a1, b1}
	z.read(Parent{}, z.good(a1, b1)) // the parent cannot be read yet
	z.f.NS, z.f.Target = []string{a1}, []string{a1}
	gone := z.pass(time.Hour).now
	z.read(z.parent(nil, a1), z.good(a1))
	if l := z.report().Leaving; len(l) != 1 || !l[0].Until.Equal(gone.Add(72*time.Hour)) {
		t.Errorf("Expected the hold-down to take 72h, got %v", l)
	}

	// A peer of an older state file, which says nothing of NS.
	z = newLife(t)
	z.f.Target = []string{a1}
	z.read(z.parent(nil, a1), z.good(a1))
	if l := z.report().Leaving; len(l) != 1 || !l[0].Until.Equal(epoch.Add(72*time.Hour)) {
		t.Errorf("Expected the hold-down to take 72h, got %v", l)
	}
}

func TestTheLeaverKnowsFromWhenItMayDeleteTheZone(t *testing.T) {
	z := settled(t)
	z.f.Target, z.f.NS = []string{b1}, []string{b1}
	z.pass(time.Hour).read(z.parent(nil, a1, b1), z.good(a1, b1))
	gone := z.pass(time.Hour).now
	z.read(z.parent(nil, b1), z.good(b1)).expect(Left)
	if r := z.report(); !r.DeleteFrom.Equal(gone.Add(72 * time.Hour)) {
		t.Errorf("Expected the zone to be kept for 72h, got %v", r.DeleteFrom.Sub(gone))
	}
	z.pass(100*time.Hour).read(z.parent(nil, b1), z.good(b1)).expect(Left)
	z.f.Target = []string{a1, b1}
	z.pass(time.Hour).read(z.parent(nil, b1), z.good(a1, b1))
	if z.s.Phase == Left {
		t.Error("Expected a zone that names us again not to be left")
	}
}

func TestTheHoldDownIsForTheLongestDNSKEYTTLToo(t *testing.T) {
	z := settled(t)
	z.read(Parent{}, z.good(a1, b1).spoil(a1, func(s *Seen) { s.KeyTTL = 100 * time.Hour }))
	z.f.Target, z.f.NS = []string{a1}, []string{a1}
	gone := z.pass(time.Minute).now
	z.read(z.parent(nil, a1), z.good(a1))
	if l := z.report().Leaving; len(l) != 1 || !l[0].Until.Equal(gone.Add(148*time.Hour)) {
		t.Errorf("Expected the hold-down to take 148h, got %v", l)
	}
}

func TestHostsAreBounded(t *testing.T) {
	z := newLife(t)
	p := z.parent(nil, a1)
	for i := range 500 {
		p.NS = append(p.NS, string(rune('a'+i%26))+string(rune('a'+i/26))+".example.com.")
	}
	z.read(p, Look{})
	lists := func(s *Seen) {
		for i := range 500 {
			s.NS = append(s.NS, fmt.Sprintf("ns%d.example.com.", i))
		}
	}
	z.read(Parent{}, z.good(a1, b1).spoil(b1, lists))
	z.f.Target = append(z.f.Target, c1)
	z.read(z.parent(nil, a1), z.good(a1, b1))
	if z.s.host(c1) == nil {
		t.Errorf("Expected names that nobody wants to make room for %s", c1)
	}
	if n := len(z.s.Hosts); n > MaxHosts || z.s.host(a1) == nil || z.s.host(b1) == nil {
		t.Errorf("Expected at most %d hosts, with those that matter, got %d", MaxHosts, n)
	}
}

// Whoever comes while another leaves never had the leaver's keys, and a key that
// comes then never was at the leaver: both wait until caches have forgotten it, also
// one of which nothing but what the zone was seeded with is known.
func TestWhatComesWaitsForLeavers(t *testing.T) {
	for name, peers := range map[string][]string{"peer": {b1, c1}, "seeded": {c1}} {
		t.Run(name, func(t *testing.T) {
			z := settled(t)
			z.f.Target, z.f.NS, z.f.Peers = []string{a1}, []string{a1}, peers
			both := digests(ksk(1), ksk(2))
			z.pass(time.Hour).read(z.parent(both, a1), z.good(a1))
			until := z.s.host(b1).Until
			if !until.After(z.now) {
				t.Fatalf("Expected %s to be leaving, got %+v", b1, z.report())
			}
			z.f.Keys = append(z.f.Keys, OwnKey{Key: zsk(9), SignsData: true, Published: z.now})
			z.f.Target = []string{a1, c1}
			z.f.Joint.CDNSKEY = append(z.f.Joint.CDNSKEY, ksk(3))
			all := digests(ksk(1), ksk(2), ksk(3))
			good := func() Look {
				look := z.good(a1, c1)
				for i := range look.Seen {
					look.Seen[i].Keys = append(look.Seen[i].Keys, zsk(9))
				}
				return look
			}
			z.pass(time.Hour).read(z.parent(all, a1), good())
			if k := z.keyOf(zsk(9)); k.Everywhere.IsZero() || !k.KnownFrom.Equal(until) {
				t.Errorf("Expected a key that %s may lack to be known from %v, got %+v", b1, until, k)
			}
			if k := z.keyOf(zsk(1)); !k.KnownFrom.Before(z.now) {
				t.Errorf("Expected a key that was everywhere to stay known, got %+v", k)
			}
			for z.now.Add(time.Hour).Before(until) {
				z.pass(time.Hour).read(z.parent(all, a1), good()).expect(Converged)
			}
			z.now = until
			z.read(z.parent(all, a1), good()).expect(Synced)
		})
	}
}

// The others may know before us, or later, that the owner wants a host. What CNS
// says elsewhere keeps the keys of one that was never delegated to, too, and the
// report says whose CNS that is.
func TestAHostThatIsStillWantedElsewhereKeepsItsKeys(t *testing.T) {
	z := newLife(t)
	wanted := func(s *Seen) { s.CNS = []string{a1, b1} }
	z.f.NS, z.f.Target = []string{a1, c1}, []string{a1, b1, c1}
	z.read(z.parent(nil, a1, c1), z.good(a1, b1, c1))
	z.f.Target = []string{a1, c1}
	for range 10 {
		z.pass(time.Hour).read(z.parent(nil, a1, c1), z.good(a1, c1).spoil(c1, wanted)).expectKept(b1, true)
	}
	if l := z.report().Leaving; len(l) != 1 || !slices.Equal(l[0].NamedBy, []string{c1}) {
		t.Errorf("Expected %s to be said to name it, got %+v", c1, l)
	}
	z.pass(time.Hour).read(z.parent(nil, a1, c1), z.good(a1, c1)).expectKept(b1, false)
}

// While the parent cannot be read it may name a host, as the zone does, and that may
// end with the next reading that can be made.
func TestAHostIsNotMissedBeforeTheParentWasReadWithoutIt(t *testing.T) {
	z := newLife(t)
	z.read(z.parent(nil, a1), z.good(a1, b1))
	z.f.NS = []string{a1, b1}
	z.pass(time.Hour).read(Parent{}, z.good(a1, b1))
	z.f.Target, z.f.NS = []string{a1}, []string{a1}
	z.pass(time.Hour).read(Parent{}, z.good(a1))
	if h := z.s.host(b1); !h.Missing.IsZero() {
		t.Errorf("Expected %s not to be missed before the parent was read, got %+v", b1, h)
	}
	z.pass(72*time.Hour).read(z.parent(nil, a1), z.good(a1))
	z.expectKept(b1, true)
	if l := z.report().Leaving; len(l) != 1 || !l[0].Until.Equal(z.now.Add(72*time.Hour)) {
		t.Errorf("Expected %s to be kept for the parent's NS TTL and max_zone_ttl, got %+v", b1, l)
	}
}

// A nameserver that is behind sends resolvers to a leaver that nobody looks at: what
// comes now waits until that has ended.
func TestWhatComesWaitsForNSThatIsBehind(t *testing.T) {
	for name, peers := range map[string][]string{"peer": {b1, c1}, "seeded": {c1}} {
		t.Run(name, func(t *testing.T) {
			z := settled(t)
			both := digests(ksk(1), ksk(2))
			z.f.Target, z.f.NS, z.f.Peers = []string{a1, c1}, []string{a1, c1}, peers
			z.f.Keys = append(z.f.Keys, OwnKey{Key: zsk(9), SignsData: true, Published: z.now})
			look := func(ns ...string) Look {
				l := z.good(a1, c1).spoil(c1, func(s *Seen) { s.NS = ns })
				for i := range l.Seen {
					l.Seen[i].Keys = append(l.Seen[i].Keys, zsk(9))
				}
				return l
			}
			for range 10 {
				z.pass(time.Hour).read(z.parent(both, a1, c1), look(a1, b1))
				z.expect(Converged, "NS at ns1.example.com. still names ns1.example.org.")
				if k := z.keyOf(zsk(9)); !k.Everywhere.IsZero() {
					t.Fatalf("Expected a key that %s may lack not to be everywhere, got %+v", b1, k)
				}
			}
			z.pass(time.Hour).read(z.parent(both, a1, c1), look(a1, c1)).expect(Converged, "until")
			if k := z.keyOf(zsk(9)); !k.KnownFrom.Equal(z.now.Add(72 * time.Hour)) {
				t.Errorf("Expected the key to be known once caches have forgotten %s, got %+v", b1, k)
			}
		})
	}
}

// Between two readings a host may come into the parent's NS, and the TTL be lowered.
func TestAHostThatCameBeforeTheTTLWasLoweredIsHeldThatLong(t *testing.T) {
	z := newLife(t)
	lowered := z.parent(nil, a1, b1)
	lowered.NSTTL = time.Minute
	z.read(z.parent(nil, a1), z.good(a1, b1))
	z.f.NS = []string{a1, b1}
	z.f.NSTTL = time.Minute
	z.pass(time.Minute)
	lowered.At = z.now
	z.read(lowered, z.good(a1, b1))
	h := z.s.host(b1)
	if got := h.Parent.After(z.now); !got.Equal(z.now.Add(48 * time.Hour)) {
		t.Errorf("Expected the parent's NS to be held for the TTL before, got until %v", got)
	}
	if got := h.Child.After(z.now); !got.Equal(z.now.Add(2 * time.Hour)) {
		t.Errorf("Expected the zone's NS to be held for the TTL before, got until %v", got)
	}
	until := h.Parent.Until
	z.pass(time.Minute)
	lowered.At = z.now
	if z.read(lowered, z.good(a1, b1)); !z.s.host(b1).Parent.Until.Equal(until) {
		t.Error("Expected no more to come of it")
	}
}

// While the parent cannot be read it may go on naming a leaver, for whatever TTL.
func TestWhatComesWaitsForTheParentThatMayNameALeaver(t *testing.T) {
	z := settled(t)
	both := digests(ksk(1), ksk(2))
	z.f.Target, z.f.NS, z.f.Peers = []string{a1, c1}, []string{a1, c1}, []string{b1, c1}
	z.f.Keys = append(z.f.Keys, OwnKey{Key: zsk(9), SignsData: true, Published: z.now})
	z.s.ParentNS = []string{a1, c1} // it came to name b1 after it was read
	look := func() Look {
		l := z.good(a1, c1)
		for i := range l.Seen {
			l.Seen[i].Keys = append(l.Seen[i].Keys, zsk(9))
		}
		return l
	}
	unread := z.parent(both)
	unread.NSRead, unread.NS, unread.NSTTL = false, nil, 0
	for range 10 {
		z.pass(time.Hour)
		unread.At, unread.DSFrom = z.now, z.now
		z.read(unread, look()).expect(Converged, "the parent's NS, which has not been read since, may still name "+b1)
		if k := z.keyOf(zsk(9)); !k.Everywhere.IsZero() {
			t.Fatalf("Expected a key that %s may lack not to be everywhere, got %+v", b1, k)
		}
	}
	z.pass(time.Hour).read(z.parent(both, a1, c1), look()).expect(Converged, "until")
	if k := z.keyOf(zsk(9)); !k.KnownFrom.Equal(z.now.Add(72 * time.Hour)) {
		t.Errorf("Expected the key to be known once caches have forgotten %s, got %+v", b1, k)
	}
}

// What we serve at a nameserver of ours that has left we know.
func TestNothingWaitsForOurOwnLeaver(t *testing.T) {
	const a2 = "ns2.example.net."
	z := newLife(t)
	z.c.Own = []string{a1, a2}
	z.f.Target, z.f.NS = []string{a1, a2, b1}, []string{a1, a2, b1}
	both := digests(ksk(1), ksk(2))
	for range 30 {
		z.pass(time.Hour).read(z.parent(both, a1, a2, b1), z.good(a1, a2, b1))
	}
	z.f.Target, z.f.NS = []string{a1, b1}, []string{a1, b1}
	z.f.Keys = append(z.f.Keys, OwnKey{Key: zsk(9), SignsData: true, Published: z.now})
	z.pass(time.Hour)
	look := z.good(a1, b1).spoil(b1, func(s *Seen) { s.NS = []string{a1, a2, b1} })
	for i := range look.Seen {
		look.Seen[i].Keys = append(look.Seen[i].Keys, zsk(9))
	}
	z.read(z.parent(both, a1, b1), look)
	if k := z.keyOf(zsk(9)); k.Everywhere.IsZero() {
		t.Errorf("Expected the key to be everywhere, got %+v", k)
	}
}

// The owner had wanted it once, but it never was there.
func TestNothingWaitsForANameThatNeverServed(t *testing.T) {
	z := settled(t)
	both := digests(ksk(1), ksk(2))
	look := func(more ...Seen) Look {
		l := z.good(a1, b1).spoil(b1, func(s *Seen) { s.NS = []string{a1, b1, c1} })
		for i := range l.Seen {
			l.Seen[i].Keys = append(l.Seen[i].Keys, zsk(9))
		}
		l.Seen = append(l.Seen, more...)
		return l
	}
	z.f.Target = []string{a1, b1, c1}
	z.pass(time.Hour).read(z.parent(both, a1, b1), look(Seen{Host: c1, Silent: true, Why: "no answer"}))
	z.f.Target = []string{a1, b1}
	z.f.Keys = append(z.f.Keys, OwnKey{Key: zsk(9), SignsData: true, Published: z.now})
	z.pass(time.Hour).read(z.parent(both, a1, b1), look())
	if k := z.keyOf(zsk(9)); k.Everywhere.IsZero() {
		t.Errorf("Expected the key to be everywhere, got %+v", k)
	}
}

// A name that a nameserver has in its NS RRset, and nobody else ever had in one,
// holds nothing up: providers add names of their own.
func TestNothingWaitsForAStrayName(t *testing.T) {
	z := settled(t)
	both := digests(ksk(1), ksk(2))
	z.f.Keys = append(z.f.Keys, OwnKey{Key: zsk(9), SignsData: true, Published: z.now})
	look := z.good(a1, b1).spoil(b1, func(s *Seen) { s.NS = []string{a1, b1, c1} })
	for i := range look.Seen {
		look.Seen[i].Keys = append(look.Seen[i].Keys, zsk(9))
	}
	z.read(z.parent(both, a1, b1), look)
	if k := z.keyOf(zsk(9)); k.Everywhere.IsZero() || !k.KnownFrom.Before(z.now.Add(2*time.Hour)) {
		t.Errorf("Expected the key to be known after the TTL of DNSKEY, got %+v", k)
	}
}

// Nobody looks at a leaver to see that it is wanted again, and while caches know of it
// what it serves as NS matters.
func TestALeaverThatIsBackNamesItselfAfterTheHoldDownOnly(t *testing.T) {
	z := settled(t)
	z.f.Target, z.f.NS = []string{b1}, []string{b1}
	both := digests(ksk(1), ksk(2))
	z.pass(time.Hour).read(z.parent(both, b1), z.good(b1)).expect(Left)
	from := z.report().DeleteFrom.Add(2 * z.c.RefreshMax)
	z.f.Target = []string{a1, b1}
	for z.now.Before(from) {
		z.pass(time.Hour).read(z.parent(both, b1), z.good(a1, b1))
		if z.report().MayAdd {
			t.Fatalf("Expected us not to be named again before %v, got %s at %v", from, z.report(), z.now)
		}
	}
	for range 26 {
		z.pass(time.Hour).read(z.parent(both, b1), z.good(a1, b1))
	}
	z.expect(Synced)
}

// What was not heard has not changed: a leaver that is silent may name itself still.
func TestALeaversOwnNSCountsWhileItIsSilent(t *testing.T) {
	z := settled(t)
	z.f.Target, z.f.NS = []string{a1}, []string{a1}
	listing := func(s *Seen) { s.NS, s.NSTTL = []string{a1, b1}, 100*time.Hour }
	z.pass(time.Hour).read(z.parent(nil, a1, b1), z.good(a1, b1).spoil(b1, listing))
	z.pass(50*time.Minute).read(z.parent(nil, a1, b1), z.good(a1, b1).spoil(b1, silent))
	last := z.pass(time.Minute).now
	z.read(z.parent(nil, a1), z.good(a1))
	if l := z.report().Leaving; len(l) != 1 || !l[0].Until.Equal(last.Add(100*time.Hour+24*time.Hour)) {
		t.Errorf("Expected %s to be kept for 124h from %v, got %+v", b1, last, l)
	}
}

// A nameserver of the zone may name one in NS that nobody asked for. If that is
// wanted later, and then no longer, caches still know of it.
func TestAHostThatWasNamedBeforeItWasWantedIsHeldDown(t *testing.T) {
	z := newLife(t)
	z.f.Target, z.f.Peers = []string{a1}, nil
	z.read(z.parent(nil, a1), z.good(a1).spoil(a1, func(s *Seen) { s.NS, s.NSTTL = []string{a1, c1}, 48*time.Hour }))
	z.pass(time.Hour).read(z.parent(nil, a1), z.good(a1))
	z.f.Target, z.f.Peers = []string{a1, c1}, []string{c1}
	z.pass(time.Hour).read(z.parent(nil, a1), z.good(a1, c1))
	z.f.Target = []string{a1}
	z.pass(time.Hour).read(z.parent(nil, a1), z.good(a1))
	for z.now.Before(epoch.Add(48*time.Hour + 24*time.Hour)) {
		z.expectKept(c1, true)
		z.pass(time.Hour).read(z.parent(nil, a1), z.good(a1))
	}
	without := func() (Parent, Look) { return z.parent(nil, a1), z.good(a1) }
	z.until(z.s.host(c1).Until, without).read(without()).expectKept(c1, false)
}

// A leaver that drops itself from NS later than the others did was asked for
// longer.
func TestALeaversOwnNSCounts(t *testing.T) {
	z := settled(t)
	z.f.Target, z.f.NS = []string{a1}, []string{a1}
	listing := func(s *Seen) { s.NS, s.NSTTL = []string{a1, b1}, 100*time.Hour }
	z.pass(time.Hour).read(z.parent(nil, a1, b1), z.good(a1, b1).spoil(b1, listing))
	z.pass(time.Minute).read(Parent{}, Look{})
	last := z.pass(time.Hour).now
	z.read(z.parent(nil, a1, b1), z.good(a1, b1))
	z.pass(time.Hour).read(z.parent(nil, a1), z.good(a1))
	want := last.Add(100*time.Hour + 24*time.Hour)
	if l := z.report().Leaving; len(l) != 1 || !l[0].Until.Equal(want) {
		t.Errorf("Expected %s to be kept until %v, got %+v", b1, want, l)
	}
}

// One that nobody had looked at when the host was missed may have named it in NS
// until it was.
func TestTheHoldDownBeginsWhenAllNameserversWereHeard(t *testing.T) {
	z := settled(t)
	z.f.Target, z.f.NS = []string{a1, c1}, []string{a1, c1}
	z.read(z.parent(nil, a1, c1), z.good(a1)) // c1 has not been asked yet
	heard := z.pass(100 * time.Hour).now
	z.read(z.parent(nil, a1, c1), z.good(a1, c1))
	hold := 48*time.Hour + 24*time.Hour
	without := func() (Parent, Look) { return z.parent(nil, a1, c1), z.good(a1, c1) }
	z.until(heard.Add(hold-time.Second), without).read(without()).expectKept(b1, true)
	z.now = heard.Add(hold)
	z.read(without()).expectKept(b1, false)
}
