package refresh

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/announce"
	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/serve"
	"github.com/coredns-mske/mske/store"
)

// signatures returns those of the announcement of our zone, as text.
func (w *world) signatures() string {
	w.t.Helper()
	name, err := announce.Name(zoneName, ourNS)
	if err != nil {
		w.t.Fatal(err)
	}
	var text strings.Builder
	for _, qtype := range []uint16{dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY} {
		for _, rr := range w.query(name, qtype) {
			if rr.Header().Rrtype == dns.TypeRRSIG {
				text.WriteString(rr.String() + "\n")
			}
		}
	}
	if text.Len() == 0 {
		w.t.Fatal("Expected signatures over the announcement")
	}
	return text.String()
}

// A start makes the signatures over what we announce anew only if it came before
// they were written.
func TestAnnouncementsAreSignedOnce(t *testing.T) {
	for _, tt := range []struct {
		ran  time.Duration
		same bool
	}{{2 * keepAfter, true}, {keepAfter / 2, false}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.withSignaling()
			w.startOnly()
			w.pass(tt.ran)
			before := w.signatures()
			n := w.crash()
			n.chain.down = nil
			n.pass(time.Hour)
			n.startOnly()
			n.pass(time.Second)
			if same := n.signatures() == before; same != tt.same {
				t.Errorf("After %v: expected the same signatures %v, got %v", tt.ran, tt.same, same)
			}
		})
	}
}

// announcement returns what is announced for our zone, as others collect it.
func (w *world) announcement() (a merge.Announcement) {
	w.t.Helper()
	name, err := announce.Name(zoneName, ourNS)
	if err != nil {
		w.t.Fatal(err)
	}
	for qtype, inception := range map[uint16]*time.Time{
		dns.TypeDNSKEY: &a.Inception.DNSKEY, dns.TypeCDS: &a.Inception.CDS, dns.TypeCDNSKEY: &a.Inception.CDNSKEY,
	} {
		for _, rr := range w.query(name, qtype) {
			switch rr := rr.(type) {
			case *dns.DNSKEY:
				a.DNSKEY = append(a.DNSKEY, merge.KeyOf(rr))
			case *dns.CDNSKEY:
				a.CDNSKEY = append(a.CDNSKEY, merge.KeyOf(&rr.DNSKEY))
			case *dns.CDS:
				a.CDS = append(a.CDS, merge.DSOf(&rr.DS))
			case *dns.RRSIG:
				*inception = time.Unix(int64(rr.Inception), 0)
			}
		}
	}
	return a
}

// What is announced again after something else is no replay to a peer that collects
// all of it (rule F8), whatever signatures are kept and whatever a crash loses.
func TestWhatIsAnnouncedAgainIsNoReplay(t *testing.T) {
	const (
		soon = 10 * time.Second // nothing that may wait is written by then
		long = 30 * time.Minute // everything is
	)
	type step struct {
		crash bool
		keys  int // announced as DNSKEY: with the files of a second one or without
		lasts time.Duration
	}
	for name, steps := range map[string][]step{
		"without a crash":                  {{false, 2, long}, {false, 1, soon}, {false, 2, soon}},
		"back after a crash":               {{false, 2, long}, {false, 1, soon}, {true, 2, soon}},
		"back after a crash, then another": {{false, 2, long}, {false, 1, soon}, {true, 2, soon}, {true, 2, soon}},
		"away after a crash":               {{false, 2, long}, {true, 1, soon}, {false, 2, soon}},
		"away and back by crashes":         {{false, 2, long}, {true, 1, soon}, {true, 2, soon}, {true, 1, soon}},
		"away for long":                    {{false, 2, long}, {false, 1, long}, {true, 2, soon}, {true, 1, soon}},
		"away for long, then a crash":      {{false, 2, long}, {false, 1, long}, {false, 2, soon}, {true, 1, soon}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.withSignaling()
				second, private := generate(t, zoneName, 256)
				writeKey(t, w.dir, second, private)
				w.startOnly()
				var known merge.Peer
				for i, s := range steps {
					if s.crash {
						w = w.crash()
						w.chain.down = nil
					}
					switch base := filepath.Join(w.dir, fmt.Sprintf("K%s+%03d+%05d", zoneName, second.DNSKEY.Algorithm, second.Tag())); {
					case s.keys == 2:
						writeKey(t, w.dir, second, private)
					case steps[i-1].keys == 2:
						w.removeKey(&keys.Key{Base: base})
					}
					if s.crash {
						w.startOnly()
					}
					w.pass(s.lasts)
					a := w.announcement()
					if len(a.DNSKEY) != s.keys {
						t.Fatalf("Step %d: expected %d keys, got %d", i, s.keys, len(a.DNSKEY))
					}
					if why := known.Announcement.Replayed(a); why != "" {
						t.Errorf("Step %d: expected no replay, got %s", i, why)
					}
					known, _ = known.Collect(a, time.Now(), day, time.Hour)
				}
			})
		})
	}
}

// Nothing is written while nothing changes, and what is no longer announced is
// forgotten, after a restart too.
func TestKeptSignaturesFollowWhatIsAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		signing := w.withSignaling()
		e := w.startOnly()
		w.pass(2 * keepAfter)
		sub := e.subtrees[0]
		owners := func() []string {
			t.Helper()
			owners, err := e.leases.byPath[signing.Store].AnnouncedOwners(sub.domain())
			if err != nil {
				t.Fatal(err)
			}
			return owners
		}
		name, _ := announce.Name(zoneName, ourNS)
		if got := owners(); len(got) == 0 || got[0] != name && got[len(got)-1] != name {
			t.Fatalf("Expected the signatures of %s to be kept, got those of %q", name, got)
		}
		if sub.kept != sub.view || !e.keepDue().IsZero() {
			t.Error("Expected nothing more to be kept")
		}
		e.Stop()

		n := w.crash()
		n.chain.down = nil
		n.subs = nil // of the same zones: nothing is announced any more
		n.withSignaling()
		n.more = n.more[1:]
		n.zone.Nameservers = []string{"ns9.example.net."}
		e = n.startOnly()
		n.pass(2 * keepAfter)
		signing, sub = n.more[0], e.subtrees[0]
		for _, owner := range owners() {
			if owner == name {
				t.Errorf("Expected the signatures of %s to be forgotten", name)
			}
		}
	})
}

// While the state file cannot be written, nothing is kept; afterwards it is.
func TestSignaturesAreKeptWhenTheStateFileCanBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		signing := w.withSignaling()
		e := w.startOnly()
		elsewhere := filepath.Join(w.dir, "elsewhere")
		if err := os.Rename(signing.Store, elsewhere); err != nil {
			t.Fatal(err)
		}
		w.pass(3 * keepAfter)
		w.signatures()
		if e.subtrees[0].kept != nil {
			t.Error("Expected nothing to be kept")
		}
		if err := os.Rename(elsewhere, signing.Store); err != nil {
			t.Fatal(err)
		}
		w.pass(keepRetry + 3*keepAfter)
		if sub := e.subtrees[0]; sub.kept != sub.view {
			t.Error("Expected the signatures to be kept")
		}
	})
}

// That signatures cannot be kept is said once, and tried again in a while.
func TestSignaturesThatCannotBeKept(t *testing.T) {
	w := newWorld(t)
	e := New(w.config())
	e.loop.now = later()
	sub := &subtree{Subtree: &Subtree{NS: ourNS}, zone: e.zones[0], view: new(serve.Subtree)}
	e.subtrees = []*subtree{sub}
	for range 2 {
		sub.keeps, sub.keeping, sub.kept = true, &keeping{view: sub.view}, new(serve.Subtree)
		e.keptSome(sub, errors.New("no"))
		if sub.keeps || sub.keeping != nil || sub.kept != nil || !e.keepDue().Equal(e.loop.now.Add(keepRetry)) {
			t.Errorf("Expected all to be kept anew after %v, got %+v", keepRetry, sub)
		}
	}
	e.keptSome(sub, store.ErrRevoked) // another engine does it
	if n := len(w.log.lines); n != 1 || !strings.Contains(w.log.lines[0], "are not kept in the state file") {
		t.Errorf("Expected one line, got %q", w.log.lines)
	}
}

// Signatures that are kept are written in turns, one domain at a time, and zones go
// first.
func TestKeepingTakesTurns(t *testing.T) {
	w := newWorld(t)
	e := New(w.config())
	l := &e.loop
	l.now = later()
	const names = 3*keptAtOnce - 1
	var owners []string
	for i := range names {
		owners = append(owners, fmt.Sprintf("_multi.z%04d.example.", i))
	}
	view := new(serve.Subtree)
	e.leases = &leases{}
	for range 2 {
		e.subtrees = append(e.subtrees, &subtree{Subtree: &Subtree{NS: ourNS}, zone: e.zones[0], view: view, keeping: &keeping{view, owners}})
	}
	l.writes.limit = 0 // nothing is really written
	sub := e.subtrees[0]
	running := func() (n int) {
		for _, t := range e.subtrees {
			if t.keeps {
				n++
			}
		}
		return n
	}
	for name, busy := range map[string]func(){
		"a zone is to be decided about": func() { l.dirty[e.zones[0]] = true },
		"a write runs":                  func() { l.writes.running = 1 },
		"a write was just now":          func() { l.writeAt = l.now.Add(writeGap) },
		"others were kept just now":     func() { l.keptAt = l.now.Add(keepGap) },
	} {
		busy()
		if e.keep(); running() > 0 {
			t.Errorf("%s: expected nothing to be kept", name)
		}
		if at := e.keepDue(); !at.IsZero() && !at.After(l.now) {
			t.Errorf("%s: expected the loop to wait for that, got %v", name, at)
		}
		clear(l.dirty)
		l.writes.running, l.writeAt, l.keptAt = 0, l.now, l.now
	}
	for turn := range 3 {
		e.keep()
		if running() != 1 || !sub.keeps {
			t.Fatalf("Turn %d: expected one domain's to be written, got %d", turn, running())
		}
		if got, want := len(sub.keeping.owners), max(names-(turn+1)*keptAtOnce, 0); got != want {
			t.Fatalf("Turn %d: expected %d names to be left, got %d", turn, want, got)
		}
		if !l.writeAt.Equal(l.now.Add(writeGap)) || !l.keptAt.Equal(l.now.Add(keepGap)) {
			t.Errorf("Turn %d: expected the gaps to begin", turn)
		}
		l.now = l.keptAt
		e.keptSome(sub, nil)
	}
	if sub.kept != view || sub.keeping != nil || sub.keeps {
		t.Error("Expected all to be kept")
	}
}
