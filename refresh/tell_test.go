package refresh

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/observe"
	"github.com/coredns-mske/mske/store"
)

// post is a Notifier that keeps what is sent.
type post struct {
	mu     sync.Mutex
	hosts  []string
	parent []uint16
	err    error
	hang   bool
}

// Host implements the Notifier interface.
func (p *post) Host(ctx context.Context, _, host string) error {
	p.mu.Lock()
	p.hosts = append(p.hosts, host)
	hang := p.hang
	p.mu.Unlock()
	if hang {
		<-ctx.Done()
	}
	return p.err
}

// Parent implements the Notifier interface.
func (p *post) Parent(_ context.Context, _ string, qtype uint16) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parent = append(p.parent, qtype)
	return p.err == nil, p.err
}

// sent returns what was sent since the last call.
func (p *post) sent() (hosts []string, parent []uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	hosts, parent = p.hosts, p.parent
	p.hosts, p.parent = nil, nil
	return hosts, parent
}

// mail gives the world a Notifier.
func (w *world) mail() *post {
	p := new(post)
	w.zone.Notifier = p
	return p
}

func TestPeersAreToldWithinSecondsThatOurAnnouncementChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withSignaling()
		p := w.mail()
		w.join()
		e := w.start()
		if hosts, _ := p.sent(); !slices.Equal(hosts, []string{theirNS}) {
			t.Errorf("Expected the other provider to be told of a new zone, got %v", hosts)
		}
		w.newKey(zoneName, 256)
		w.pass(5 * time.Second)
		if hosts, _ := p.sent(); !slices.Equal(hosts, []string{theirNS}) {
			t.Errorf("Expected the other provider alone to be told of a new key, got %v", hosts)
		}
		w.pass(2 * lazyWrite)
		e.Stop()
		w.start()
		w.pass(time.Hour)
		if hosts, parent := p.sent(); len(hosts)+len(parent) != 0 {
			t.Errorf("Expected a restart to tell nothing, got %v, %v", hosts, parent)
		}
	})
}

// A parent that scans at once is seen to have followed before its TTLs say so.
func TestAParentThatWasToldIsReadSooner(t *testing.T) {
	for _, told := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			n := w.online()
			n.dsTTL, n.nsTTL = day, day
			post := w.mail()
			if !told {
				post.err = errors.New("nobody is there")
			}
			p := w.join()
			n.serves(theirNS, p)
			e := w.startMinutely()
			w.until(e, lifecycle.Converged, time.Hour)
			w.pass(time.Second)
			before := n.readings()
			w.pass(5 * time.Minute)
			soon := n.readings() - before
			w.pass(24 * time.Minute)
			later := n.readings() - before
			if told && (soon < 2 || soon > 5 || later > eagerReadings+1) || !told && later > 1 {
				t.Errorf("Told %v: expected few readings soon and then none, got %d in 5 minutes, %d in 29", told, soon, later)
			}
		})
	}
}

func (n *internet) readings() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.parents
}

func TestParentIsToldOnceWhenAllServeWhatIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.zone.Auto = true
		post, n := w.mail(), w.online()
		p := w.join()
		n.alone(theirNS, p)
		e := w.startMinutely()
		w.until(e, lifecycle.Joint, time.Hour)
		w.pass(3 * time.Hour)
		if _, parent := post.sent(); len(parent) != 0 {
			t.Errorf("Expected nothing to be told while a nameserver lacks keys, got %v", parent)
		}
		n.serves(theirNS, p)
		w.until(e, lifecycle.Converged, 2*time.Hour)
		w.pass(2 * time.Minute)
		if _, parent := post.sent(); !slices.Equal(parent, []uint16{dns.TypeCDS}) {
			t.Errorf("Expected CDS to be told, got %v", parent)
		}
		w.pass(5 * time.Hour)
		n.change(func(n *internet) { n.ds = digestsOf(w.ksk.ID(), p.ksk) })
		w.until(e, lifecycle.Synced, 5*time.Hour)
		w.pass(time.Hour)
		if _, parent := post.sent(); !slices.Equal(parent, []uint16{dns.TypeCSYNC}) {
			t.Errorf("Expected CSYNC to be told, got %v", parent)
		}
		n.change(func(n *internet) { n.ns = []string{ourNS, theirNS} })
		w.pass(48 * time.Hour)
		if _, parent := post.sent(); len(parent) != 0 {
			t.Errorf("Expected nothing to be told on steady days, got %v", parent)
		}
		expectLog(t, w.log, 2, "INFO", "the parent was told")
	})
}

func TestParentThatCannotBeToldIsTriedAFewTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		post, n := w.mail(), w.online()
		post.err = errors.New("no answer")
		p := w.join()
		n.serves(theirNS, p)
		e := w.startMinutely()
		w.until(e, lifecycle.Converged, time.Hour)
		w.pass(48 * time.Hour)
		if _, parent := post.sent(); len(parent) != 1+len(parentRetries) {
			t.Errorf("Expected %d tries, got %d", 1+len(parentRetries), len(parent))
		}
		expectLog(t, w.log, 1, "INFO", "could not be told")
	})
}

func TestErrandsAreOfWhatEverybodyServes(t *testing.T) {
	ksk, other := newPublic(t, 257), newPublic(t, 257)
	at := time.Unix(1000, 0)
	joint := merge.Joint{CDNSKEY: []merge.Key{ksk}, CDS: digestsOf(ksk)}
	base := func() sighted {
		return sighted{
			zone: zoneName, published: at, shown: view{answer: full, joint: joint},
			life: lifecycle.State{ConvergedAt: at.Add(1), DSStatus: observe.DSPresent, DS: digestsOf(other), ParentNS: []string{ourNS}},
			look: lifecycle.Look{At: at.Add(1), Seen: []lifecycle.Seen{{Host: ourNS, NS: []string{ourNS, theirNS}}, {Host: theirNS, NS: []string{theirNS}}}},
		}
	}
	csync := delegation{Delegation: store.Delegation{NS: []string{theirNS, ourNS}, CSYNC: true}}
	for _, tc := range []struct {
		name  string
		edit  func(*sighted)
		cds   bool
		csync bool
	}{
		{"DS lacks a key", func(*sighted) {}, true, false},
		{"DS has one more", func(s *sighted) { s.life.DS = digestsOf(ksk, other) }, true, false},
		{"DS is as CDS", func(s *sighted) { s.life.DS = digestsOf(ksk) }, false, false},
		{"DS was not read", func(s *sighted) { s.life.DSStatus, s.life.DS = observe.DSUnread, nil }, false, false},
		{"there is none", func(s *sighted) { s.life.DSStatus, s.life.DS = observe.DSDenied, nil }, true, false},
		{"it is to go", func(s *sighted) { s.shown.deleting = true }, true, false},
		{"it has gone", func(s *sighted) { s.shown.deleting, s.life.DSStatus, s.life.DS = true, observe.DSDenied, nil }, false, false},
		{"not seen since", func(s *sighted) { s.life.ConvergedAt, s.look.At, s.shown.delegation = at, at, csync }, false, false},
		{"not served", func(s *sighted) { s.shown.answer = keysAlone }, false, false},
		{"CSYNC", func(s *sighted) { s.shown.delegation = csync }, true, true},
		{"CSYNC, a nameserver is behind", func(s *sighted) { s.shown.delegation, s.life.ParentNS = csync, []string{ourNS, theirNS} }, true, false},
		{"CSYNC, that one is silent", func(s *sighted) {
			s.shown.delegation, s.life.ParentNS, s.look.Seen[1].Silent = csync, []string{ourNS, theirNS}, true
		}, true, true},
		{"CSYNC, nobody was heard", func(s *sighted) { s.shown.delegation, s.look.Seen = csync, nil }, true, false},
		{"no CSYNC", func(s *sighted) { s.shown.delegation = delegation{Delegation: store.Delegation{NS: csync.NS}} }, true, false},
	} {
		s := base()
		tc.edit(&s)
		if ids := s.errands(); (ids[0] != "") != tc.cds || (ids[1] != "") != tc.csync {
			t.Errorf("%s: expected CDS %v, CSYNC %v, got %q", tc.name, tc.cds, tc.csync, ids)
		}
	}
}

// Nobody who hangs has notices pile up, or the engine wait.
func TestNoticesThatHangAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withSignaling()
		post := w.mail()
		post.hang = true
		w.join()
		e := w.start()
		dropped := 0
		done := make(chan struct{})
		e.loop.done <- func() {
			for range 2 * maxNoticesWaiting {
				if !e.notice(e.zones[0], func(ctx context.Context) func() { <-ctx.Done(); return nil }) {
					dropped++
				}
			}
			close(done)
		}
		<-done
		if want := maxNoticesWaiting - maxNotices + 1; dropped != want {
			t.Errorf("Expected %d to be dropped, got %d", want, dropped)
		}
		began := time.Now()
		e.Stop()
		if took := time.Since(began); took > time.Second {
			t.Errorf("Expected to stop at once, took %v", took)
		}
	})
}
