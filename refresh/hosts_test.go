package refresh

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
)

// queue adds n turns of a host.
func queue(q *lines, host string, n int) *line {
	l := q.join(place{host: host})
	for range n {
		q.add(l, turn{collection: &collection{line: l}})
	}
	return l
}

// later is a time long after the last that it returned.
var later = func() func() time.Time {
	now := time.Unix(1_800_000_000, 0)
	return func() time.Time { now = now.Add(time.Hour); return now }
}()

// begin begins all that may run, and returns the slots.
func begin(q *lines) []slot { return beginAt(q, later()) }

func beginAt(q *lines, now time.Time) (slots []slot) {
	for {
		_, s, ok, _ := q.next(now)
		if !ok {
			return slots
		}
		slots = append(slots, s)
	}
}

// However many zones wait for a host, and however fast it answers, it is asked at
// its pace.
func TestHostIsAskedAtItsPace(t *testing.T) {
	var q lines
	l := queue(&q, "a", 10*perSecond)
	queue(&q, "b", 1)
	l.proven = true
	now := later()
	begun := 0
	for at := now; at.Before(now.Add(time.Second)); at = at.Add(time.Millisecond) {
		for _, s := range beginAt(&q, at) {
			begun++
			q.end(s)
		}
	}
	if most := perSecond + burst + 2; begun > most || begun < perSecond {
		t.Errorf("Expected about %d collections in a second, got %d", perSecond, begun)
	}
	if _, _, ok, at := q.next(now.Add(time.Second - time.Microsecond)); ok || at.Sub(now) < 999*time.Millisecond || at.Sub(now) > 1010*time.Millisecond {
		t.Errorf("Expected to be told when the next may begin, got %v", at.Sub(now))
	}
	if n := len(beginAt(&q, now.Add(-time.Hour))); n == 0 {
		t.Errorf("Expected the pace to begin anew when the clock is set back")
	}
}

// What a NOTIFY asked for waits for none of the others, be it new or waiting
// already.
func TestUrgentCollectionsAreFirst(t *testing.T) {
	var q lines
	queue(&q, "z", 10)
	l := queue(&q, "a", 10_000)
	now := later()
	for _, s := range beginAt(&q, now) {
		q.end(s)
	}
	waiting := l.waiting[awaited][5000].collection
	q.hurry(waiting)
	q.hurry(waiting)
	fresh := &collection{line: l, notified: true}
	q.add(l, turn{collection: fresh})
	for _, want := range []*collection{waiting, fresh} {
		if got, s, ok, _ := q.next(now); !ok || got.collection != want {
			t.Errorf("Expected the urgent ones in turn, got %v, %v", got.collection, ok)
		} else {
			q.end(s)
		}
	}
	if n := l.len(); len(l.waiting[urgent]) != 0 || n != 9994 && n != 9995 {
		t.Errorf("Expected the others to wait on, got %d, %d of them urgent", n, len(l.waiting[urgent]))
	}
}

func hostsOf(slots []slot) (hosts []string) {
	for _, s := range slots {
		hosts = append(hosts, s.line.at.host)
	}
	return hosts
}

func TestHostsTakeTurns(t *testing.T) {
	var q lines
	queue(&q, "a", 10)
	queue(&q, "b", 2)
	queue(&q, "c", 3)
	slots := begin(&q)
	want := []string{"a", "b", "c", "a", "b", "c", "a", "c", "a"} // no host more than four
	if got := hostsOf(slots); !slices.Equal(got, want) {
		t.Errorf("Expected %v, got %v", want, got)
	}
	q.end(slots[0])
	if got := hostsOf(begin(&q)); !slices.Equal(got, []string{"a"}) {
		t.Errorf("Expected the next of a once one has ended, got %v", got)
	}
}

func TestHostThatIsAtItsLimitKeepsItsTurn(t *testing.T) {
	var q lines
	queue(&q, "a", 10)
	slots := begin(&q)
	queue(&q, "b", 10)
	begin(&q)
	q.end(slots[0])
	if got := hostsOf(begin(&q)); !slices.Equal(got, []string{"a"}) {
		t.Errorf("Expected a to go on, got %v", got)
	}
}

func TestHostsThatWereNotHeardNeverTakeAllSlots(t *testing.T) {
	var q lines
	for i := range 1000 {
		queue(&q, fmt.Sprint("mute", i), 10)
	}
	if n := len(begin(&q)); n != maxUnproven {
		t.Errorf("Expected %d collections of hosts never heard, got %d", maxUnproven, n)
	}
	for i := range 100 {
		queue(&q, fmt.Sprint("proven", i), 10).proven = true
	}
	proven := begin(&q)
	if len(proven) != maxFetches-maxUnproven {
		t.Errorf("Expected %d more of proven hosts, got %d", maxFetches-maxUnproven, len(proven))
	}
	proven[0].line.proven = false // it times out
	q.end(proven[0])
	if got := begin(&q); len(got) != 1 || !got[0].proven {
		t.Errorf("Expected its slot to be another proven host's, got %v", hostsOf(got))
	}
}

func TestDeadHostIsProbedByOne(t *testing.T) {
	var q lines
	l := queue(&q, "a", 10)
	l.silent = deadAfter
	slots := begin(&q)
	if len(slots) != 1 {
		t.Fatalf("Expected one probe, got %d", len(slots))
	}
	if n := len(q.dismiss(l)); n != 9 || len(q.order) != 0 {
		t.Errorf("Expected 9 to be dismissed, got %d", n)
	}
	q.end(slots[0])
	if n := len(begin(&q)); n != 0 {
		t.Errorf("Expected nobody to wait any more, got %d", n)
	}
	l.heard("z1", fetch.Bogus)
	for range 10 {
		q.add(l, turn{collection: &collection{line: l}})
	}
	if n := len(begin(&q)); n != maxPerHost {
		t.Errorf("Expected %d once it is alive, got %d", maxPerHost, n)
	}
}

func TestHostDiesByDifferentZonesOnly(t *testing.T) {
	const lost = fetch.Unreachable
	type event struct {
		zone string
		v    fetch.Verdict
	}
	for _, tc := range []struct {
		name         string
		events       []event
		dead, proven bool
	}{
		{"never asked", nil, false, false},
		{"secure", []event{{"a", fetch.Secure}}, false, true},
		{"absent", []event{{"a", fetch.Absent}}, false, true},
		{"bogus", []event{{"a", fetch.Secure}, {"a", fetch.Bogus}}, false, false},
		{"one zone in trouble", []event{{"a", lost}, {"a", lost}, {"a", lost}, {"a", lost}}, false, false},
		{"three zones", []event{{"a", lost}, {"b", lost}, {"c", lost}}, true, false},
		{"heard between", []event{{"a", lost}, {"b", lost}, {"d", fetch.Refused}, {"c", lost}}, false, false},
		{"back", []event{{"a", lost}, {"b", lost}, {"c", lost}, {"c", fetch.Secure}}, false, true},
		{"our failure", []event{{"a", lost}, {"b", lost}, {"c", fetch.Indeterminate}}, false, false},
	} {
		var l line
		for _, ev := range tc.events {
			was := l.dead()
			if changed := l.heard(ev.zone, ev.v); changed != (l.dead() != was) {
				t.Errorf("%s: expected to be told when it dies or is back, got %v", tc.name, changed)
			}
		}
		if l.dead() != tc.dead || l.proven != tc.proven {
			t.Errorf("%s: expected dead %v, proven %v, got %v, %v", tc.name, tc.dead, tc.proven, l.dead(), l.proven)
		}
	}
}

func TestLinesKeepTheirLimitsAndForgetNobody(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var q lines
	var slots []slot
	added, ran := 0, 0
	for step := range 20_000 {
		l := q.join(place{host: fmt.Sprint(r.IntN(40))})
		switch {
		case step < 10_000 && r.IntN(3) == 0:
			q.add(l, turn{collection: &collection{line: l}})
			added++
		case len(slots) > 0:
			i := r.IntN(len(slots))
			q.end(slots[i])
			slots[i].line.heard(fmt.Sprint(r.IntN(5)), fetch.Verdict(r.IntN(int(fetch.Stale)+1)))
			slots = slices.Delete(slots, i, i+1)
		}
		started := begin(&q)
		slots, ran = append(slots, started...), ran+len(started)
		unproven := 0
		for _, s := range slots {
			if !s.proven {
				unproven++
			}
			if s.line.running > maxPerHost {
				t.Fatalf("Expected at most %d of a host, got %d", maxPerHost, s.line.running)
			}
		}
		if len(slots) > maxFetches || unproven > maxUnproven || q.running != len(slots) || q.unproven != unproven {
			t.Fatalf("Expected the limits to be kept, got %d running, %d unproven", len(slots), unproven)
		}
	}
	if ran != added || len(q.order) != 0 {
		t.Errorf("Expected all of %d to have run, got %d", added, ran)
	}
}

func TestHostsNobodyCollectsFromAreForgotten(t *testing.T) {
	var q lines
	a, b := q.join(place{host: "a"}), q.join(place{host: "a"})
	if a != b || a.zones != 2 {
		t.Error("Expected two zones to share a host's line")
	}
	q.leave(&collection{line: a})
	q.leave(&collection{line: b})
	if len(q.byPlace) != 0 {
		t.Error("Expected nothing to stay")
	}
}

// One peer that always times out, for all zones, delays none of the healthy
// peer's announcements, and costs one line in the log.
func TestPeerThatTimesOutDelaysNobody(t *testing.T) {
	const (
		zones   = 500
		timeout = 20 * time.Second
		healthy = 100 * time.Millisecond
	)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p, q := newProvider(t), newProvider(t)
		w.peers.set(theirNS, announces(p.announcement()))
		w.zone.Fetcher = fetcherFunc(func(ctx context.Context, zone, host string, known merge.Announcement) fetch.Result {
			r := w.peers.Fetch(ctx, zone, host, known)
			took := healthy
			if r.Verdict == fetch.Unreachable {
				took = timeout
			}
			select {
			case <-time.After(took):
			case <-ctx.Done():
			}
			return r
		})
		c := w.config()
		w.fleet(&c, zones, ourNS, theirNS, theirNS2)
		e := New(c)
		e.pollEvery, e.scanEvery = 10*time.Minute, 10*time.Minute
		began := time.Now()
		if err := e.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Stop)
		w.pass(2 * time.Minute)
		asked := w.peers.times(theirNS)
		if len(asked) != zones {
			t.Fatalf("Expected %d collections of the healthy peer, got %d", zones, len(asked))
		}
		const own = zones / maxPerHost * healthy
		if took := asked[zones-1].Sub(began); took > 2*own {
			t.Errorf("Expected all within twice %v, got %v", own, took)
		}
		if n := len(w.peers.times(theirNS2)); n > maxPerHost+4 {
			t.Errorf("Expected the dead peer to be asked by few zones, got %d", n)
		}
		expectLog(t, w.log, 1, "WARNING", theirNS2+" cannot be reached", fmt.Sprintf("%d zones", zones), "no answer")
		if n := w.log.count(theirNS2 + " is unreachable"); n >= deadAfter {
			t.Errorf("Expected no line for each zone, got %d", n)
		}

		w.peers.set(theirNS2, announces(q.announcement()))
		w.pass(12 * time.Minute)
		expectLog(t, w.log, 1, "INFO", theirNS2+" can be reached again")
		if s := e.Status(); s.Phases[string(lifecycle.Joint)] != zones {
			t.Errorf("Expected every zone to have both peers' keys, got %v", s.Phases)
		}
	})
}

// What is unreachable for one zone alone is that zone's trouble.
func TestZoneInTroubleDoesNotCostOthersTheirHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := newProvider(t)
		bad := fmt.Sprintf("z%d.example.org.", 0)
		w.zone.Fetcher = fetcherFunc(func(_ context.Context, zone, _ string, _ merge.Announcement) fetch.Result {
			if zone == bad {
				return fetch.Result{Verdict: fetch.Unreachable, Reason: "SERVFAIL"}
			}
			return announces(p.announcement())()
		})
		c := w.config()
		w.fleet(&c, 3, ourNS, theirNS)
		e := New(c)
		e.pollEvery, e.scanEvery = time.Minute, time.Minute
		if err := e.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Stop)
		w.pass(3 * time.Hour)
		expectLog(t, w.log, 0, "cannot be reached")
		expectLog(t, w.log, 1, "WARNING", bad, theirNS+" is unreachable: SERVFAIL")
		if s := e.Status(); s.Phases[string(lifecycle.Joint)] != 2 || s.Phases[string(lifecycle.Collecting)] != 1 {
			t.Errorf("Expected two zones with the peer's keys, got %v", s.Phases)
		}
	})
}
