package yield

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestTurn(t *testing.T) {
	for _, tc := range []struct{ waited, want time.Duration }{
		{0, minTurn},
		{3 * time.Microsecond, minTurn},
		{4500 * time.Microsecond, 500 * time.Microsecond},
		{time.Second, maxTurn},
	} {
		if got := turn(tc.waited); got != tc.want {
			t.Errorf("Waited %v: expected a turn of %v, got %v", tc.waited, tc.want, got)
		}
	}
}

// However many queries there are, one part of the time in ten is left for the work
// in the background, and all of it that they do not take.
func TestShareOfTheTime(t *testing.T) {
	for _, tc := range []struct {
		queries     time.Duration // that are answered whenever there is a look at the network
		least, most float64       // the share of the work in the background
	}{
		{0, 1, 1},
		{10 * time.Microsecond, 0.89, 1},
		{5 * time.Millisecond, 0.09, 0.12},
		{9 * time.Millisecond, 0.09, 0.11},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &place{poll: func() time.Duration { time.Sleep(tc.queries); return tc.queries }}
			const piece = 10 * time.Microsecond
			began, worked := time.Now(), time.Duration(0)
			for time.Since(began) < time.Second {
				time.Sleep(piece)
				worked += piece
				p.yield()
			}
			if share := worked.Seconds() / time.Since(began).Seconds(); share < tc.least || share > tc.most {
				t.Errorf("Queries for %v at once: expected a share of %v to %v, got %v", tc.queries, tc.least, tc.most, share)
			}
		})
	}
}

// A clock that is set back does not keep queries waiting until it has caught up.
func TestClockSetBack(t *testing.T) {
	polls := 0
	p := &place{poll: func() time.Duration { polls++; return 0 }}
	p.began.Store(time.Now().Add(time.Hour).UnixNano())
	p.length.Store(int64(maxTurn))
	if p.yield(); polls != 1 {
		t.Errorf("Expected a look at the network, got %d", polls)
	}
}

// Many may give way at once, and each of them goes on.
func TestManyGiveWay(t *testing.T) {
	p := &place{poll: newPoll()}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 200 {
				p.poll()
				p.yield()
			}
		})
	}
	wg.Wait()
}

func BenchmarkToQueries(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		process().poll()
	}
}
