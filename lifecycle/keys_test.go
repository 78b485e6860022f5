package lifecycle

import (
	"testing"
	"time"

	"github.com/coredns-mske/mske/merge"
)

func (z *life) keyOf(k merge.Key) Key {
	z.t.Helper()
	if r := z.s.key(k); r != nil {
		return *r
	}
	z.t.Fatalf("Expected key %d to be remembered", k.Tag())
	return Key{}
}

func TestAKeyMaySignOnceAllCachesHaveIt(t *testing.T) {
	z := newLife(t)
	z.f.NS = []string{a1, b1}
	z.read(z.parent(nil, a1, b1), z.good(a1, b1).spoil(b1, func(s *Seen) { s.KeyTTL = 5 * time.Hour; s.Keys = nil }))
	z.f.Keys = append(z.f.Keys, OwnKey{Key: zsk(9), SignsData: true, Published: z.now})
	has := func(hosts ...string) Look {
		l := z.good(a1, b1)
		for _, h := range hosts {
			l = l.spoil(h, func(s *Seen) { s.Keys = append([]merge.Key{zsk(9)}, s.Keys...) })
		}
		return l
	}
	if z.pass(time.Minute).read(Parent{}, has(a1)); !z.keyOf(zsk(9)).Everywhere.IsZero() {
		t.Error("Expected a key that one nameserver lacks not to be everywhere")
	}
	everywhere := z.pass(time.Minute).now
	z.read(Parent{}, has(a1, b1))
	known := epoch.Add(time.Minute + 5*time.Hour) // b1's RRset of five hours was served until a minute after the start
	if k := z.keyOf(zsk(9)); !k.Everywhere.Equal(everywhere) || !k.KnownFrom.Equal(known) {
		t.Errorf("Expected %v and %v, got %v and %v", everywhere, known, k.Everywhere, k.KnownFrom)
	}
	z.pass(time.Minute).read(Parent{}, has(a1, b1).spoil(b1, silent))
	if k := z.keyOf(zsk(9)); !k.Everywhere.Equal(everywhere) {
		t.Error("Expected a nameserver that is silent for a moment to change nothing")
	}
	z.pass(time.Minute).read(Parent{}, has(a1))
	if k := z.keyOf(zsk(9)); !k.Everywhere.IsZero() || !k.KnownFrom.IsZero() {
		t.Error("Expected a nameserver that lost the key to count")
	}
}

func TestAKSKNeedsOurNameserversOnly(t *testing.T) {
	z := newLife(t)
	z.read(z.parent(nil, a1), z.good(a1, b1).spoil(b1, func(s *Seen) { s.Keys = []merge.Key{zsk(1), ksk(2)} }))
	if k := z.keyOf(ksk(1)); !k.Everywhere.Equal(epoch) {
		t.Error("Expected a KSK not to be looked for at other providers")
	}
	z.pass(time.Minute).read(Parent{}, z.good(a1, b1).spoil(a1, func(s *Seen) { s.Keys = []merge.Key{zsk(1)} }))
	if k := z.keyOf(ksk(1)); !k.Everywhere.IsZero() {
		t.Error("Expected a KSK that one of our nameservers lacks not to be everywhere")
	}
	if k := z.keyOf(zsk(1)); !k.Everywhere.Equal(epoch) {
		t.Error("Expected the ZSK to have stayed everywhere")
	}
}

func TestWhenAKeyIsInDS(t *testing.T) {
	z := newLife(t)
	z.f.Joint.CDNSKEY = []merge.Key{ksk(2)}
	z.read(z.parent(digests(ksk(2)), a1), Look{})
	if k := z.keyOf(ksk(1)); !k.DSSince.IsZero() || !k.DSGone.Equal(epoch) || !k.GoneFrom.Equal(epoch.Add(24*time.Hour)) {
		t.Errorf("Expected a key that DS does not name to be gone since the first reading, got %+v", k)
	}
	in := z.pass(time.Hour).now
	z.read(z.parent(digests(ksk(1), ksk(2)), a1), Look{})
	if k := z.keyOf(ksk(1)); !k.DSSince.Equal(in) || !k.InDSFrom.Equal(in.Add(24*time.Hour)) || !k.DSGone.IsZero() {
		t.Errorf("Expected the key to be in DS, got %+v", k)
	}
	z.pass(time.Hour).read(Parent{}, Look{})
	z.pass(time.Hour).read(z.parent(digests(ksk(1)), a1), Look{})
	if k := z.keyOf(ksk(1)); !k.DSSince.Equal(in) {
		t.Error("Expected a reading that names it again to change nothing")
	}
	out := z.pass(time.Hour).now
	z.read(z.parent(nil, a1), Look{})
	if k := z.keyOf(ksk(1)); !k.DSSince.IsZero() || !k.DSGone.Equal(out) || !k.GoneFrom.Equal(out.Add(24*time.Hour)) {
		t.Errorf("Expected the key to have gone, got %+v", k)
	}
}

// A parent may follow CDS without our seeing that: only a reading made after a key
// has left CDS tells that DS does not name it any more.
func TestAKeyInCDSIsNotGoneFromDS(t *testing.T) {
	z := newLife(t)
	z.f.Joint.CDNSKEY = nil
	z.read(z.parent(digests(ksk(2)), a1), Look{})
	if k := z.keyOf(ksk(1)); k.GoneFrom.IsZero() {
		t.Errorf("Expected a key that is neither in CDS nor in DS to be gone, got %+v", k)
	}
	z.f.Joint.CDNSKEY = []merge.Key{ksk(1)}
	z.pass(time.Hour).read(Parent{}, Look{})
	if k := z.keyOf(ksk(1)); !k.DSGone.IsZero() || !k.GoneFrom.IsZero() {
		t.Errorf("Expected nothing to be known of a key that has come into CDS since, got %+v", k)
	}
	z.pass(time.Hour).read(z.parent(digests(ksk(2)), a1), Look{})
	z.f.Joint.CDNSKEY = nil
	z.pass(time.Hour).read(Parent{}, Look{})
	if k := z.keyOf(ksk(1)); !k.GoneFrom.IsZero() {
		t.Errorf("Expected nothing to be known before the parent is read again, got %+v", k)
	}
	gone := z.pass(time.Hour).now
	z.read(z.parent(digests(ksk(2)), a1), Look{})
	if k := z.keyOf(ksk(1)); !k.DSGone.Equal(gone) || !k.GoneFrom.Equal(gone.Add(24*time.Hour)) {
		t.Errorf("Expected the key to be gone since that reading, got %+v", k)
	}
}
