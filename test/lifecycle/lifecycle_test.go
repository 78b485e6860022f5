package lifecycle

import (
	"fmt"
	"testing"
	"time"
)

// leastAnswers is how many questions the full form asks at least.
const leastAnswers = 20000

// TestNoResolverSeesABogusAnswer is the short form: B joins A, A rolls its ZSK,
// and A leaves.
func TestNoResolverSeesABogusAnswer(t *testing.T) {
	if *fullFlag {
		t.Skip("The full form is asked for")
	}
	w := newWorld(t, 2)
	a, b := w.providers[0], w.providers[1]
	w.begin(a, false)
	w.calm = false
	b.makeKeys(true)

	w.load.begin("B joins")
	w.join(w.hosts(a, b), []*provider{a}, []*provider{b}, false)
	w.complete(a, b)

	w.load.begin("A rolls its ZSK")
	a.rollZSK()

	w.load.begin("A leaves")
	w.leave(a, b)
	b.gone(b.keyOf(a))
	w.load.stop()
}

// keyOf returns the secure-entry key of another provider.
func (p *provider) keyOf(q *provider) string { return q.signers[0] }

// TestWholeLife is the full form. Between the steps that have an order, the
// rolls come in one that the seed decides.
func TestWholeLife(t *testing.T) {
	if !*fullFlag {
		t.Skip("Run with -full")
	}
	w := newWorld(t, 4)
	a, b, c, d := w.providers[0], w.providers[1], w.providers[2], w.providers[3]
	for _, p := range w.providers {
		p.ahead = time.Duration(w.rng.Int64N(2*int64(*skewFlag)+1) - int64(*skewFlag)).Truncate(time.Second)
	}
	w.begin(a, false)
	w.calm = false
	b.makeKeys(true)
	c.makeKeys(false)

	w.load.begin("B joins A")
	w.join(w.hosts(a, b), []*provider{a}, []*provider{b}, false)
	w.complete(a, b)

	w.load.begin("steady, without CNS")
	w.publish(nil, w.ns.hosts)
	w.pass("a while", time.Now().Add(15*time.Second))
	w.complete(a, b)

	w.rolls([]roll{{"A rolls its ZSK", a.rollZSK}, {"A rolls its KSK", a.rollKSK}, {"B rolls its CSK", b.rollCSK}})

	w.load.begin("C and a static peer join")
	all := append(w.hosts(a, b, c), w.static.host)
	w.join(all, []*provider{a, b}, []*provider{c}, true)
	w.complete(a, b, c)

	w.rolls([]roll{
		{"C rolls its ZSK", c.rollZSK}, {"C rolls its KSK", c.rollKSK}, {"B rolls its CSK again", b.rollCSK},
	})

	w.load.begin("the static peer leaves")
	w.leaveStatic(a, b, c)
	w.complete(a, b, c)

	w.load.begin("all roll the algorithm")
	w.rollAlgorithm("ED25519", a, b, c)

	w.load.begin("B leaves")
	w.leave(b, a, c)
	w.load.begin("C leaves")
	w.leave(c, a)

	w.load.begin("migration from A to D in one step")
	d.makeKeys(false, "-a", "ED25519")
	marks := map[*provider]int{a: len(a.log()), d: 0}
	w.join(w.hosts(d), []*provider{a}, []*provider{d}, false)
	w.left(a, marks, d)
	for _, key := range a.signers {
		d.gone(key)
	}

	w.load.begin("steady, with D alone")
	w.await("enough answers", func() error {
		if n := w.load.total(); n < leastAnswers {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	w.load.stop()
}

// roll is a roll of keys.
type roll struct {
	name string
	run  func()
}

// rolls takes rolls in random order.
func (w *world) rolls(rolls []roll) {
	w.t.Helper()
	for _, i := range w.rng.Perm(len(rolls)) {
		w.load.begin(rolls[i].name)
		rolls[i].run()
	}
}
