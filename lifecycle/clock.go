package lifecycle

import (
	"slices"
	"time"
)

// Edit returns s with the beginnings of all waits changed, and with them their
// ends, so that none gets shorter or longer: for when the clock was set
// (rule M6). What s shares with others is not changed.
func (s State) Edit(edit func(since time.Time) time.Time) State {
	stale := s.DSFrom.Before(s.Entered)
	synced := latest(s.ConvergedSince, s.DSSince, s.Grown)
	along(edit, synced, &s.SyncFrom)
	along(edit, s.DSAt, &s.HeldDS.Until, &s.AbsentFrom)
	var heard time.Time
	s.Hosts = slices.Clone(s.Hosts)
	for i := range s.Hosts {
		h := &s.Hosts[i]
		heard = latest(heard, h.Heard)
		along(edit, s.NSAt, &h.Child.Until, &h.Parent.Until)
		along(edit, h.Missing, &h.Until)
		change(edit, &h.Heard, &h.Silent, &h.Missing, &h.Clear)
	}
	along(edit, heard, &s.HeldKeys.Until)
	s.Keys = slices.Clone(s.Keys)
	for i := range s.Keys {
		k := &s.Keys[i]
		along(edit, k.Everywhere, &k.KnownFrom)
		along(edit, k.DSSince, &k.InDSFrom)
		along(edit, k.DSGone, &k.GoneFrom)
		change(edit, &k.Everywhere, &k.DSSince, &k.DSGone)
	}
	change(edit, &s.Grown, &s.ConvergedSince, &s.ConvergedAt, &s.DSSince, &s.SyncedAt, &s.DSAt, &s.DSFrom, &s.NSAt, &s.Entered)
	if stale && !s.DSFrom.Before(s.Entered) {
		s.DSFrom = time.Time{} // both are now
	}
	return s
}

// along moves the ends of a wait as its beginning is.
func along(edit func(time.Time) time.Time, since time.Time, ends ...*time.Time) {
	if since.IsZero() {
		return
	}
	d := edit(since).Sub(since)
	for _, end := range ends {
		if !end.IsZero() {
			*end = end.Add(d)
		}
	}
}

func change(edit func(time.Time) time.Time, times ...*time.Time) {
	for _, t := range times {
		if !t.IsZero() {
			*t = edit(*t)
		}
	}
}

// Edit returns s with its wait changed in the same way.
func (s Seed) Edit(edit func(since time.Time) time.Time) Seed {
	along(edit, s.At, &s.Until)
	change(edit, &s.At)
	return s
}
