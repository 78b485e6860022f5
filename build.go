package mske

import (
	"runtime/debug"
	"time"
)

// released is before anything was built from these sources. It stands in where
// the build says nothing of its time.
var released = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// built returns a time before which this program cannot run: when the sources
// that it was built from were committed. A clock that is earlier is wrong (rule
// M6).
func built(info *debug.BuildInfo) time.Time {
	if info == nil {
		return released
	}
	for _, s := range info.Settings {
		if s.Key != "vcs.time" {
			continue
		}
		if at, err := time.Parse(time.RFC3339, s.Value); err == nil && at.After(released) {
			return at
		}
	}
	return released
}
