package lifecycle

import (
	"reflect"
	"testing"
	"time"
)

// A clock that is set makes no wait shorter or longer: the same readings lead to
// the same state, by the other clock.
func TestASetClockChangesNoWait(t *testing.T) {
	both := digests(ksk(1), ksk(2))
	for _, d := range []time.Duration{48 * time.Hour, 1000 * time.Hour} {
		run := func(set time.Duration) *life {
			z := newLife(t)
			z.f.NS = []string{a1, b1}
			z.read(z.parent(both, a1, b1), z.good(a1, b1))
			z.pass(time.Minute).read(z.parent(digests(ksk(1)), a1, b1), z.good(a1, b1).spoil(b1, silent))
			z.f.Target, z.f.NS = []string{a1}, []string{a1}
			z.pass(time.Minute).read(z.parent(both, a1), z.good(a1))
			z.s = z.s.Edit(func(since time.Time) time.Time { return since.Add(set) })
			z.now = z.now.Add(set)
			for range 20 {
				z.pass(time.Hour).read(z.parent(both, a1), z.good(a1))
			}
			return z
		}
		want, got := run(0), run(d)
		back := got.s.Edit(func(since time.Time) time.Time { return since.Add(-d) })
		if x, y := reload(t, back), reload(t, want.s); !reflect.DeepEqual(x, y) {
			t.Errorf("Expected a clock set by %v to change nothing, got\n%+v\nand without\n%+v", d, x, y)
		}
	}
	if s := (State{}).Edit(func(time.Time) time.Time { return epoch }); !reflect.DeepEqual(s, State{}) {
		t.Errorf("Expected times that are not set to stay so, got %+v", s)
	}
}
