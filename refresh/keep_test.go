package refresh

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/announce"
	"github.com/coredns-mske/mske/serve"
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

// That signatures cannot be kept is said once, and harms nothing.
func TestSignaturesThatCannotBeKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		signing := w.withSignaling()
		w.startOnly()
		if err := os.Rename(signing.Store, filepath.Join(w.dir, "elsewhere")); err != nil {
			t.Fatal(err)
		}
		w.pass(keepAfter + 3*keepRetry)
		w.signatures()
		said := 0
		for _, line := range w.log.lines {
			if strings.Contains(line, "are not kept in the state file") {
				said++
			}
		}
		if said != 1 {
			t.Errorf("Expected one line about signatures that cannot be kept, got %d", said)
		}
	})
}

// A fleet's are written in turns that keep to the gap between writes, and others
// write in between.
func TestKeepingTakesTurns(t *testing.T) {
	w := newWorld(t)
	e := New(w.config())
	e.loop.now = later()
	sub := &subtree{Subtree: &Subtree{NS: ourNS}, zone: e.zones[0], keeping: &keeping{signatures: make(map[string][]serve.Signature)}}
	const names = 3*keptAtOnce - 1
	for i := range names {
		owner := fmt.Sprintf("_multi.z%04d.example.", i)
		sub.keeping.owners = append(sub.keeping.owners, owner)
		sub.keeping.signatures[owner] = nil
	}
	e.subtrees, e.leases = []*subtree{sub}, &leases{}
	first := sub.keeping.owners[0]
	for turn := range 3 {
		some := sub.keeping.take()
		if want := min(keptAtOnce, names-turn*keptAtOnce); len(some) != want {
			t.Fatalf("Turn %d: expected %d names, got %d", turn, want, len(some))
		}
		if _, there := some[first]; there != (turn == 0) {
			t.Errorf("Turn %d: expected each name once", turn)
		}
		e.keptSome(sub, nil)
		last := turn == 2
		want := keepGap
		if last {
			want = keepAfter
		}
		if wait := sub.keepAt.Sub(e.loop.now); wait != want || last != (sub.keeping == nil) {
			t.Errorf("Turn %d: expected the next after %v, got %v", turn, want, wait)
		}
	}

	sub.keeping, sub.keepAt, e.loop.writeAt = &keeping{}, e.loop.now, e.loop.now.Add(writeGap)
	if at := e.keepDue(); !at.Equal(e.loop.writeAt) {
		t.Errorf("Expected to wait for the gap between writes until %v, got %v", e.loop.writeAt, at)
	}
	if e.keep(); sub.keeps {
		t.Error("Expected nothing to be written before that")
	}
	e.loop.writeAt, e.loop.writes.running = e.loop.now, 1
	if at := e.keepDue(); !at.IsZero() {
		t.Errorf("Expected to wait for the write to end, got %v", at)
	}
	if e.keep(); sub.keeps {
		t.Error("Expected one write at a time")
	}
}
