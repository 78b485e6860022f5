package fetch

import (
	"time"

	"github.com/coredns-mske/mske/merge"
)

// Verdict is what became of the attempt to collect an announcement (rule F3).
type Verdict uint8

// The verdicts. Only Secure changes what is known of a peer (rule F7).
const (
	Indeterminate Verdict = iota // none was reached
	Secure                       // validated and accepted
	Absent                       // validated proof that nothing is announced
	Insecure                     // no chain of trust leads to the signaling name
	Bogus                        // validation failed
	Unreachable                  // no usable answer came
	Refused                      // validated, but policy forbids to use it
	Stale                        // older than what is known: a replay
)

var verdicts = [...]struct {
	name string
	exit int
}{
	Indeterminate: {"indeterminate", 5},
	Secure:        {"secure", 0},
	Absent:        {"absent", 1},
	Insecure:      {"insecure", 3},
	Bogus:         {"bogus", 4},
	Unreachable:   {"unreachable", 5},
	Refused:       {"refused", 6},
	Stale:         {"stale", 6},
}

// String returns the verdict in lower case.
func (v Verdict) String() string {
	if int(v) >= len(verdicts) {
		v = Indeterminate
	}
	return verdicts[v].name
}

// ExitStatus returns the exit status of `mske fetch`.
func (v Verdict) ExitStatus() int {
	if int(v) >= len(verdicts) {
		v = Indeterminate
	}
	return verdicts[v].exit
}

// Result is what one collection came to.
type Result struct {
	Zone    string // canonical
	Host    string // canonical
	Verdict Verdict

	// Reason says in one line why, for an operator: which RRset, at which
	// name, which check.
	Reason string

	// Tried says, where another way of asking might have done better, which
	// were no better and what they came to. It changes from one collection to
	// the next while the reason is the same.
	Tried string

	// Announcement is set if, and only if, Verdict is Secure.
	Announcement merge.Announcement

	// TTL is for how long the answers may still be kept, by their TTL and
	// their signatures. It is zero unless Verdict is Secure or Absent.
	TTL time.Duration

	At time.Time // when it was collected
}

// Why returns the reason and what else was tried, for an operator.
func (r Result) Why() string {
	if r.Tried == "" {
		return r.Reason
	}
	return r.Reason + "; other ways were no better: " + r.Tried
}
