//go:build !unix

package yield

import "time"

// newPoll returns a poll that lets others go first that can run.
func newPoll() func() time.Duration { return gosched }
