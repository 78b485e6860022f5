package refresh

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/store"
)

// reopen shuts z's dossier and opens it again, after which everything is as it was.
func reopen(t *testing.T, z *zone) {
	t.Helper()
	was, told := *z.open(), z.summary()
	z.shut()
	if z.filed.open != nil || z.looked() != was.facts.looked || !reflect.DeepEqual(z.summary(), told) {
		t.Errorf("Expected what is told of a shut dossier to be what was of the open one, got %+v, not %+v", z.summary(), told)
	}
	if is := *z.open(); !reflect.DeepEqual(is, was) {
		t.Errorf("Expected a dossier to be as before it was shut, got\n%+v\nnot\n%+v", is, was)
	}
}

// inLoop has f run where the zones may be touched.
func inLoop(e *Engine, f func()) {
	done := make(chan struct{})
	e.loop.done <- func() {
		defer close(done)
		f()
	}
	<-done
}

func TestDossierIsTheSameWhenOpenedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.startSlow()
		checked := 0
		check := func() {
			w.pass(3 * time.Hour)
			inLoop(e, func() {
				z := e.zones[0]
				reopen(t, z)
				if z.filed.open.facts.state.Signatures != nil {
					checked++
				}
			})
		}
		check()
		p := w.join()
		check()
		w.peers.set(theirNS, func() fetch.Result { return fetch.Result{Verdict: fetch.Unreachable, At: time.Now()} })
		check()
		next := newProvider(t)
		p.zsk = next.zsk
		w.peers.set(theirNS, announces(p.announcement()))
		check()
		if checked < 4 {
			t.Errorf("Expected the zone to be signed each time, was %d times", checked)
		}
	})
}

// What is not among the last to be opened is shut, in time: the loop does not stop
// for it.
func TestFewDossiersAreOpen(t *testing.T) {
	const zones, limit = 3 * maxShut, 10
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.config()
		w.fleet(&c, zones, ourNS)
		e := New(c)
		e.desk.limit = limit
		e.pollEvery, e.scanEvery = time.Minute, time.Minute
		open := func() (n int) {
			for _, z := range e.zones {
				if z.filed.open != nil {
					n++
				}
			}
			return n
		}
		if n := open(); n != zones+1 {
			t.Fatalf("Expected all dossiers to be open before the start, got %d", n)
		}
		if err := e.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Stop)
		w.pass(10 * time.Minute)
		if n := e.Status().Phases["single"]; n != zones+1 {
			t.Errorf("Expected all zones to have no other providers, got %d: %v", n, e.Status())
		}
		inLoop(e, func() {
			before := open()
			if before != limit || len(e.desk.zones) != limit {
				t.Errorf("Expected %d open dossiers, got %d of which the desk knows %d", limit, before, len(e.desk.zones))
			}
			openAll := func() {
				for range 2 { // the second time nothing is opened
					for _, z := range e.zones {
						z.open()
					}
				}
			}
			openAll()
			oldest := slices.Clone(e.desk.zones[:maxShut])
			e.desk.opened = 0
			e.clearDesk()
			if n := open(); n != zones+1-maxShut || len(e.desk.zones) != n {
				t.Errorf("Expected %d open dossiers, got %d of which the desk knows %d", zones+1-maxShut, n, len(e.desk.zones))
			}
			if slices.ContainsFunc(oldest, func(z *zone) bool { return z.filed.open != nil }) {
				t.Error("Expected those to be shut that have been open for longest")
			}
			openAll()
			e.desk.opened = zones
			if e.clearDesk(); open() != limit {
				t.Errorf("Expected as many to be shut as were opened, but for %d, got %d open", limit, open())
			}
			e.clockSet(2 * time.Second)
			if n := open(); n > limit+1 {
				t.Errorf("Expected no more open dossiers when the clock is set, got %d", n)
			}
			e.loop.begun = false
			e.resume()
			if n := open(); n > limit+1 {
				t.Errorf("Expected no more open dossiers when the clock is right at last, got %d", n)
			}
		})
	})
}

// Whatever keeps a dossier from being opened, an empty one does not take its place:
// the zone would be one that no key is known of.
func TestDossierThatCannotBeOpenedIsNotLost(t *testing.T) {
	z := ofTwo()
	z.shut()
	z.filed.signed = true // a defect: there is no apex
	for range 2 {
		func() {
			defer func() { _ = recover() }()
			z.open()
			t.Error("Expected a panic")
		}()
		if z.filed.open != nil {
			t.Fatal("Expected no dossier to be open")
		}
	}
	z.filed.signed = false
	if n := len(z.open().facts.state.Joint.DNSKEY); n != 3 {
		t.Errorf("Expected the joint set of three keys, got %d", n)
	}
}

// What becomes of a host is told of zones that are shut as well.
func TestStaleOfShutDossiers(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	z := e.zones[0]
	z.log = w.log
	for _, host := range []string{theirNS, theirNS2} {
		z.fetching = append(z.fetching, &collection{host: host, line: new(line), verdict: fetch.Secure})
	}
	z.open().facts.state.Peers = []merge.Peer{{Host: theirNS}}
	z.decided, e.desk.alone = true, true
	e.clearDesk()
	for _, c := range z.fetching {
		c.ended, c.verdict = time.Unix(1, 0), fetch.Unreachable
	}
	if n := e.summarize().Stale; n != 1 || z.filed.open != nil {
		t.Errorf("Expected one stale announcement of the shut dossier, got %d", n)
	}
	z.open().facts.state.Peers = nil
	if n := e.summarize().Stale; n != 0 {
		t.Errorf("Expected none of the open dossier, got %d", n)
	}
}

// A zone that nothing was decided about is about to be, and before the loop has begun
// there are others who may open one.
func TestDossierStaysOpen(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	z := e.zones[0]
	for _, z.decided = range []bool{false, true} {
		e.desk.alone = !z.decided
		e.clearDesk()
		if z.filed.open == nil {
			t.Errorf("Expected the dossier to be open, decided about: %v", z.decided)
		}
	}
	e.desk.alone = true
	e.clearDesk()
	if z.filed.open != nil || len(e.desk.zones) > 0 {
		t.Error("Expected the dossier to be shut")
	}
}

// ofTwo returns a zone of two providers, which is as it should be.
func ofTwo() *zone {
	key := func(flags uint16, n byte) merge.Key {
		return merge.Key{Flags: flags, Protocol: 3, Algorithm: dns.ECDSAP256SHA256, PublicKey: strings.Repeat(string('A'+n), 88)}
	}
	ours, theirs := []merge.Key{key(257, 0), key(256, 1)}, []merge.Key{key(257, 2), key(256, 3)}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	z := newZone(&Zone{Name: zoneName, Nameservers: []string{ourNS}})
	d := z.open()
	s := &d.facts.state
	s.Saved, s.Target, s.NS = now, []string{ourNS, theirNS}, []string{ourNS, theirNS}
	said := merge.Announcement{DNSKEY: theirs[1:], CDNSKEY: theirs[:1], CDS: []merge.DS{{KeyTag: 1, Algorithm: 13, DigestType: 2, Digest: strings.Repeat("AB", 32)}}, TTL: time.Hour}
	s.Peers = []merge.Peer{{Host: theirNS, Announcement: said, Collected: now}}
	s.Joint = merge.Union(zoneName, merge.Local{DNSKEY: ours, SecureEntry: ours[:1]}, s.Peers)
	for _, k := range ours {
		s.Own = append(s.Own, store.Own{Key: k, Signed: true, Published: now, SignedSince: now})
		s.Life.Keys = append(s.Life.Keys, lifecycle.Key{Key: k, Everywhere: now, KnownFrom: now})
	}
	for _, host := range s.Target {
		s.Life.Hosts = append(s.Life.Hosts, lifecycle.Host{Name: host, Heard: now, Delegated: true, KeyTTL: time.Hour})
		d.outside.look.Seen = append(d.outside.look.Seen, lifecycle.Seen{Host: host, Keys: s.Joint.DNSKEY, NS: s.NS, CNS: s.Target})
	}
	d.shown = view{answer: full, joint: s.Joint}
	d.outside.report = lifecycle.Report{Phase: lifecycle.Complete, NS: s.NS}
	d.local = merge.Local{DNSKEY: ours, SecureEntry: ours[:1]}
	return z
}

// A fleet has as many shut dossiers as zones. This one's keys and digest take 416
// octets once.
func TestShutDossierTakesLittleMemory(t *testing.T) {
	const most = 1200
	z := ofTwo()
	z.shut()
	if size := z.filed.shut.Size(); size > most {
		t.Errorf("Expected a shut dossier of at most %d octets, got %d", most, size)
	}
}

// What it costs to come to a zone whose dossier is shut, and to shut it again.
func BenchmarkDossier(b *testing.B) {
	z := ofTwo()
	b.ReportAllocs()
	for b.Loop() {
		z.shut()
		z.open()
	}
}
