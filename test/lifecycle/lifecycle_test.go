package lifecycle

import "testing"

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
