package refresh

import (
	"context"
	"math"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/lifecycle"
)

func never() bool  { return false }
func always() bool { return true }

// run lets p begin as much as it may for some time, and returns how much that was.
func (p *pace) run(from time.Time, length time.Duration, crowded func() bool) (begun int) {
	for now := from; now.Before(from.Add(length)); now = now.Add(time.Millisecond) {
		p.adjust(now, crowded)
		for !p.ready(now).After(now) {
			p.begin(now)
			begun++
		}
	}
	return begun
}

func TestPace(t *testing.T) {
	now := later()
	p := newPace(20, 1000)
	if n := p.run(now, 10*time.Second, always); n < 195 || n > 210 {
		t.Errorf("Expected the least of 20 in a second while others wait for a processor, got %d in ten", n)
	}
	now = now.Add(10 * time.Second)
	p.run(now, 5*time.Second, never)
	now = now.Add(5 * time.Second)
	if n := p.run(now, time.Second, never); n < 950 || n > 1110 {
		t.Errorf("Expected the most, 1000 in a second, once nobody waits, got %d", n)
	}
	now = now.Add(time.Second)
	p.run(now, time.Second, always)
	now = now.Add(time.Second)
	if n := p.run(now, 10*time.Second, always); n < 195 || n > 210 {
		t.Errorf("Expected the least a second after others wait, got %d in ten", n)
	}
	if n := p.run(now.Add(-time.Hour), 10*time.Second, always); n < 195 || n > 210 {
		t.Errorf("Expected the same pace after the clock was set back, got %d in ten", n)
	}
}

func TestCrowded(t *testing.T) {
	buckets := []float64{math.Inf(-1), 0, 1e-6, 500e-6, 1e-3, math.Inf(1)}
	before := []uint64{10, 10, 10, 10, 10}
	for _, tc := range []struct {
		name   string
		counts []uint64
		want   bool
	}{
		{"nothing new", []uint64{10, 10, 10, 10, 10}, false},
		{"few", []uint64{10, 10, 10, 10, 25}, false},
		{"all at once", []uint64{10, 110, 110, 10, 10}, false},
		{"a quarter late", []uint64{10, 10, 85, 25, 20}, false},
		{"more than a quarter late", []uint64{10, 10, 84, 25, 21}, true},
		{"all late", []uint64{10, 10, 10, 10, 26}, true},
	} {
		if got := crowded(&metrics.Float64Histogram{Buckets: buckets, Counts: tc.counts}, before); got != tc.want {
			t.Errorf("%s: expected %t, got %t", tc.name, tc.want, got)
		}
	}
}

// A collection that waits as a routine one does not when the owner changes CNS.
func TestCollectionThatWaitsIsAwaitedAfterAChange(t *testing.T) {
	w := newWorld(t)
	e := New(w.config())
	e.loop.now = later()
	z := e.zones[0]
	l := e.loop.fetches.join(place{host: theirNS})
	c := &collection{host: theirNS, line: l, running: true}
	z.fetching = append(z.fetching, c)
	for range 1000 {
		e.loop.fetches.add(l, turn{collection: new(collection), routine: true})
	}
	e.loop.fetches.add(l, turn{collection: c, routine: true})
	if e.collectNow(z); c.awaited || l.take().collection != c {
		t.Error("Expected it to be the next, and the one after it to be as others")
	}
}

// Where there is no time to ask all zones for their serials, each has its turn now
// and then.
func TestEveryZoneIsAskedForItsSerial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.config()
		w.fleet(&c, pollBatch-1)
		asked := make([]atomic.Int32, len(c.Zones))
		var slow atomic.Bool
		for i, z := range c.Zones {
			ask := z.Ask
			z.Ask = func(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
				if slow.Load() && q.Question[0].Qtype == dns.TypeSOA {
					asked[i].Add(1)
					time.Sleep(400 * time.Millisecond)
				}
				return ask(ctx, q)
			}
		}
		e := New(c)
		if err := e.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Stop)
		w.pass(5 * time.Minute)
		slow.Store(true)
		w.pass(15 * time.Minute)
		slow.Store(false)
		w.pass(time.Minute)
		for i := range asked {
			if asked[i].Load() == 0 {
				t.Errorf("Expected zone %d to be asked in a quarter of an hour", i)
			}
		}
	})
}

// Many that never rest, on few processors, are a crowd.
func TestCrowdIsHere(t *testing.T) {
	c := NewCrowd()
	var over atomic.Bool
	var wg sync.WaitGroup
	for range 200 * runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for !over.Load() {
				for began := time.Now(); time.Since(began) < 20*time.Microsecond; {
				}
				runtime.Gosched()
			}
		})
	}
	for end := time.Now().Add(20 * time.Second); !c.Here() && time.Now().Before(end); {
		runtime.Gosched()
	}
	over.Store(true)
	wg.Wait()
	if c.mu.Lock(); !c.crowded {
		t.Error("Expected a crowd")
	}
	c.mu.Unlock()
}

// Routine collections keep to the pace of all together; what somebody waits for
// does not, and goes first.
func TestRoutineCollectionsArePaced(t *testing.T) {
	q := lines{pace: newPace(10, 10)}
	routine, awaited := &collection{}, &collection{}
	now := later()
	for host := range 20 {
		l := q.join(place{host: string(rune('a' + host))})
		l.proven = true
		for _, c := range []*collection{routine, routine, awaited, awaited} {
			q.add(l, turn{collection: c, routine: c == routine})
		}
	}
	var first []*collection
	for at := now; at.Before(now.Add(time.Second)); at = at.Add(time.Millisecond) {
		for {
			got, s, ok, _ := q.next(at)
			if !ok {
				break
			}
			first = append(first, got.collection)
			q.end(s)
		}
	}
	i := slices.Index(first, routine)
	if i < 40 || slices.Contains(first[i:], awaited) {
		t.Errorf("Expected what is awaited to go first, got a routine one as number %d of %d", i, len(first))
	}
	if n := len(first) - 40; n < 9 || n > 12 {
		t.Errorf("Expected about ten routine ones in a second, got %d", n)
	}
	last := now.Add(999 * time.Millisecond)
	_, _, ok, at := q.next(last)
	if ok || !at.After(last) || at.Sub(last) > 200*time.Millisecond {
		t.Errorf("Expected to be told when the next may begin, got %v, %v", ok, at.Sub(last))
	}
}

// What waits as a routine collection gets more urgent with what is learned.
func TestWaitingCollectionsGetMoreUrgent(t *testing.T) {
	q := lines{pace: newPace(1, 1)}
	l := q.join(place{host: "a"})
	l.proven = true
	add := func(routine bool) *collection {
		c := &collection{line: l}
		q.add(l, turn{collection: c, routine: routine})
		return c
	}
	first, second, third, known := add(true), add(true), add(true), add(false)
	q.hurry(known)
	q.await(third)
	q.await(known) // is urgent
	q.hurry(third)
	q.await(second)
	q.hurry(&collection{line: l}) // runs
	for i, want := range []*collection{known, third, second, first} {
		if got, _, ok, _ := q.next(later()); !ok || got.collection != want {
			t.Errorf("Expected another collection as number %d", i)
		}
	}
	if l.len() != 0 || len(q.order) != 0 {
		t.Errorf("Expected nobody to wait, got %d in %d lines", l.len(), len(q.order))
	}
}

// However crowded it is, all collections of a fleet get their turn in time.
func TestPaceOfAFleet(t *testing.T) {
	var q lines
	var all []*collection
	for range 200_000 {
		c := &collection{line: q.join(place{host: "a"})}
		q.expect(c, time.Hour)
		q.expect(c, 30*time.Minute)
		all = append(all, c)
	}
	if q.load < 111 || q.load > 112 {
		t.Errorf("Expected 111 collections a second in the long run, got %v", q.load)
	}
	for _, c := range all {
		q.leave(c)
	}
	if q.load > 1e-6 || len(q.byPlace) != 0 {
		t.Errorf("Expected none any more, got %v", q.load)
	}
	var zones []*Zone
	for range 72_000 {
		zones = append(zones, &Zone{RefreshMax: time.Hour})
	}
	var l loop
	l.lookRates(zones)
	if now := later(); l.sightPace.run(now, 10*time.Second, always) < 290 || l.parentPace.run(now, 10*time.Second, always) < 290 {
		t.Error("Expected at least 30 looks in a second, so that each zone is looked at every hour")
	}
}

// A zone that is complete is collected for and looked at for a day; that is written
// now and then, so that after a restart nobody is taken to be silent for long.
func TestSteadyZoneIsWrittenNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		w.complete(n)
		w.pass(3 * time.Hour)
		writes, asked := 0, len(w.peers.times(theirNS))
		var last []byte
		for range 24 * 60 {
			w.pass(time.Minute)
			text, err := os.ReadFile(w.zone.Store)
			if err != nil {
				t.Fatal(err)
			}
			if string(text) != string(last) {
				writes++
			}
			last = text
		}
		if writes < 12 || writes > 49 {
			t.Errorf("Expected at most two writes an hour, and one in two hours, got %d on a day", writes)
		}
		if n := len(w.peers.times(theirNS)) - asked; n < 23 {
			t.Errorf("Expected to collect every hour, got %d times", n)
		}
	})
}

// One silent look after a restart does not make a zone that was complete for a day
// any less.
func TestSteadyZoneOutlivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		e, _ := w.complete(n)
		w.pass(24 * time.Hour)
		e.Stop()
		next := w.again(n)
		n.change(func(n *internet) { n.hosts[theirNS].silent = true })
		e = next.startMinutely()
		next.pass(10 * time.Minute)
		next.expectPhase(e, lifecycle.Complete)
	})
}

// What changes is written before what only was seen again.
func TestChangesAreDecidedBeforeOtherWrites(t *testing.T) {
	c := Config{Log: new(logbook)}
	for range 5 * maxBatch {
		c.Zones = append(c.Zones, &Zone{Name: zoneName, Nameservers: []string{ourNS}, RefreshMin: time.Minute, RefreshMax: time.Hour})
	}
	e := New(c)
	e.connect()
	e.loop.now = later()
	decided := make(map[*zone]bool)
	for _, z := range e.zones {
		e.loop.due.Push(z)
		e.loop.lazy[z] = true
	}
	e.loop.dirty[e.zones[17]] = true
	for range 2 {
		e.jobs()
	}
	for _, z := range e.zones {
		decided[z] = !e.loop.lazy[z] && !e.loop.dirty[z]
	}
	if !decided[e.zones[17]] {
		t.Error("Expected the zone that changed to be decided about first")
	}
	if len(e.loop.lazy) < 3*maxBatch {
		t.Errorf("Expected no more than a batch at a time, got %d left", len(e.loop.lazy))
	}
}
