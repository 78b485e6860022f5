package merge

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// signed returns a with all its inceptions at the given time.
func signed(a Announcement, at time.Time) Announcement {
	a.Inception = Inceptions{DNSKEY: at, CDNSKEY: at, CDS: at}
	return a
}

func TestReplayed(t *testing.T) {
	before, after := announcement([]Key{ksk(3)}, []Key{zsk(4)}), announcement([]Key{ksk(3)}, []Key{zsk(5)})
	entry := announcement([]Key{ksk(6)}, []Key{zsk(4)})
	two := announcement([]Key{ksk(3), ksk(6)}, []Key{zsk(4), zsk(5)})
	reversed := two
	reversed.DNSKEY, reversed.CDNSKEY, reversed.CDS = slices.Clone(two.DNSKEY), slices.Clone(two.CDNSKEY), slices.Clone(two.CDS)
	slices.Reverse(reversed.DNSKEY)
	slices.Reverse(reversed.CDNSKEY)
	slices.Reverse(reversed.CDS)
	bare := before
	bare.CDNSKEY = nil
	old, edge := epoch.Add(-time.Hour), epoch.Add(-replayGrace)
	undated := signed(bare, old)
	undated.Inception.CDNSKEY = time.Time{}
	only := signed(before, epoch)
	only.CDS, only.Inception.CDS = after.CDS[:0:0], old
	tests := []struct {
		name     string
		known, a Announcement
		replayed string // the type named in the reason
	}{
		{"nothing known", Announcement{}, signed(before, old), ""},
		{"known without dates", after, signed(before, old), ""},
		{"newer", signed(before, old), signed(after, epoch), ""},
		{"same time", signed(before, epoch), signed(after, epoch), ""},
		{"within the grace", signed(before, epoch), signed(after, edge), ""},
		{"past the grace", signed(after, epoch), signed(before, edge.Add(-time.Second)), "DNSKEY"},
		{"same content, older", signed(before, epoch), signed(before, old), ""},
		{"same content in another order, older", signed(two, epoch), signed(reversed, old), ""},
		{"same content with another TTL, older", signed(before, epoch), func() Announcement { a := signed(before, old); a.TTL = time.Second; return a }(), ""},
		{"fewer keys, older", signed(two, epoch), signed(before, old), "DNSKEY"},
		{"more keys, older", signed(before, epoch), signed(two, old), "DNSKEY"},
		{"other secure entry, older", signed(before, epoch), signed(entry, old), "CDNSKEY"},
		{"CDS alone, older", signed(before, epoch), only, "CDS"},
		{"a type denied, newer", signed(before, old), signed(bare, epoch), ""},
		{"a type denied, older", signed(before, epoch), signed(bare, old), "CDNSKEY"},
		{"a type denied, denial without a date", signed(before, epoch), undated, ""},
		{"a type back, older than its denial", signed(bare, epoch), signed(before, old), "CDNSKEY"},
		{"a type back, newer than its denial", signed(bare, old), signed(before, epoch), ""},
		{"a type denied both times, older", signed(bare, epoch), signed(bare, old), ""},
	}
	for _, tc := range tests {
		why := tc.known.Replayed(tc.a)
		if (why != "") != (tc.replayed != "") || !strings.HasPrefix(why, tc.replayed) {
			t.Errorf("%s: expected %q to be replayed, got %q", tc.name, tc.replayed, why)
		}
		if strings.Contains(why, "\n") {
			t.Errorf("%s: expected one line, got %q", tc.name, why)
		}
	}
}

func TestReplayedNamesBothTimes(t *testing.T) {
	why := signed(announcement(nil, []Key{zsk(5)}), epoch).Replayed(signed(announcement(nil, []Key{zsk(4)}), epoch.Add(-time.Hour)))
	for _, want := range []string{"DNSKEY", "2026-01-01T00:00:00Z", "2025-12-31T23:00:00Z"} {
		if !strings.Contains(why, want) {
			t.Errorf("Expected %q in %q", want, why)
		}
	}
}

// A resolver's cache may still have what was announced minutes before.
func TestWhatWasSignedEarlierRemovesNothing(t *testing.T) {
	const wait = time.Hour
	both := signed(announcement([]Key{ksk(3), ksk(6)}, []Key{zsk(4), zsk(5)}), epoch)
	p, _ := Peer{}.Collect(both, epoch, wait, gap)
	p, change := p.Collect(signed(announcement([]Key{ksk(3), ksk(7)}, []Key{zsk(4)}), epoch.Add(-5*time.Minute)), epoch.Add(time.Minute), wait, gap)
	want := announcement([]Key{ksk(3), ksk(6), ksk(7)}, []Key{zsk(4), zsk(5)})
	if a := p.Announcement; !sameSet(a.DNSKEY, want.DNSKEY) || !sameSet(a.CDNSKEY, want.CDNSKEY) || !sameSet(a.CDS, want.CDS) || len(p.Retiring) > 0 {
		t.Errorf("Expected the keys of both, got %v, retiring %v", a, p.Retiring)
	}
	if len(change.SecureEntry.Removed)+len(change.DNSKEY.Removed) > 0 || len(change.SecureEntry.Added) != 1 {
		t.Errorf("Expected one key to be added, got %v", change)
	}
	p, change = p.Collect(signed(announcement([]Key{ksk(3)}, []Key{zsk(4)}), epoch), epoch.Add(2*time.Minute), wait, gap)
	if len(change.SecureEntry.Removed) != 2 || len(p.Retiring) != 1 {
		t.Errorf("Expected what is signed no earlier to count as it is, got %v, retiring %v", change, p.Retiring)
	}
}

// Several servers of a provider do not sign at the same moment. No digest is left without
// its key, which would have CDNSKEY withheld.
func TestSecureEntriesSignedEarlierStayTogether(t *testing.T) {
	known := signed(announcement([]Key{ksk(3), ksk(6)}, []Key{zsk(4)}), epoch)
	known.Inception.CDS = epoch.Add(5 * time.Minute)
	for name, edit := range map[string]func(*Announcement){
		"both": func(*Announcement) {},
		"CDNSKEY is not announced, but was found": func(a *Announcement) { a.Inception.CDNSKEY = time.Time{} },
	} {
		edit(&known)
		a := signed(announcement([]Key{ksk(3)}, []Key{zsk(4)}), epoch.Add(2*time.Minute))
		edit(&a)
		p, _ := Peer{Host: "ns1.example.net.", Announcement: known}.Collect(a, epoch.Add(time.Hour), time.Hour, gap)
		if j := Union(zone, Local{}, []Peer{p}); len(j.Unmatched) > 0 || len(j.CDS) != 2 || len(j.CDNSKEY) != 2 {
			t.Errorf("%s: expected two secure entries, got %v and %v, without a key %v", name, j.CDS, j.CDNSKEY, j.Unmatched)
		}
	}
}

func TestCollectNeverLowersAnInception(t *testing.T) {
	a := announcement([]Key{ksk(3)}, []Key{zsk(4)})
	p, _ := Peer{}.Collect(signed(a, epoch), epoch, time.Hour, gap)
	older := signed(a, epoch.Add(-time.Hour))
	older.Inception.CDS = epoch.Add(time.Hour)
	older.Inception.CDNSKEY = time.Time{}
	p, _ = p.Collect(older, epoch.Add(time.Minute), time.Hour, gap)
	want := Inceptions{DNSKEY: epoch, CDNSKEY: epoch, CDS: epoch.Add(time.Hour)}
	if !reflect.DeepEqual(p.Announcement.Inception, want) {
		t.Errorf("Expected the later of each inception, %v, got %v", want, p.Announcement.Inception)
	}
	other := signed(announcement([]Key{ksk(3)}, []Key{zsk(5)}), epoch.Add(-30*time.Minute))
	if p.Announcement.Replayed(other) == "" {
		t.Error("Expected content older than the latest inception to be replayed, though not older than the last one's")
	}
}
