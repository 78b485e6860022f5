package hostile

import (
	"slices"

	"github.com/coredns-mske/mske/fetch"
)

// attack is something that can be wrong with answers.
type attack struct {
	name    string
	about   string
	allowed []fetch.Verdict // any of them is right
	arm     func(w *world)
}

func verdicts(v ...fetch.Verdict) []fetch.Verdict { return v }

// attacks are all attacks.
func attacks() []attack {
	return slices.Concat(keyTraps(), hashings(), bulks(), delegations(), mangled(), transports())
}
