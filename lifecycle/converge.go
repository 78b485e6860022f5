package lifecycle

import (
	"slices"
	"time"
)

// answer is what a look says of something that every nameserver has to show.
type answer uint8

const (
	unknown answer = iota // some nameserver was not heard
	yes
	no
)

// leaving reports whether a host is one of the zone's but not to stay.
func leaving(f Facts, host string) bool { return !slices.Contains(f.Target, host) }

// excused reports whether a host that is to leave has been silent for so long
// that nobody waits for it any more.
func excused(s *State, f Facts, name string, now time.Time) bool {
	h := s.host(name)
	return h != nil && leaving(f, name) && !h.Silent.IsZero() && now.Sub(h.Silent) >= patience
}

// converge decides whether every nameserver serves the joint sets. One that was
// not heard is taken to be as it was seen last, for a while.
func (a *advance) converge() {
	all := hosts(a.State, a.f)
	for i := range a.Hosts {
		if h := &a.Hosts[i]; !slices.Contains(all, h.Name) {
			h.Heard, h.Silent = time.Time{}, time.Time{} // what it served counts no more if it comes back
		}
	}
	result, interrupted := yes, false
	if len(all) == 0 || !a.f.Serving {
		result = no
	}
	for _, name := range all {
		h := a.host(name)
		if h == nil { // beyond the most that are remembered
			result = no
			continue
		}
		seen, asked := a.look.seen(name)
		heard := asked && !seen.Silent
		switch {
		case len(seen.Lacks) > 0:
			result = no
		case a.look.At.IsZero() || !heard:
		case !h.Heard.IsZero() && a.look.At.Sub(h.Heard) <= a.c.gap():
		case h.Heard.IsZero() || a.Phase != Complete:
			interrupted = true
		}
		a.note(h, heard)
		if excused(&a.State, a.f, name, a.now) || heard {
			continue
		}
		switch {
		case h.Heard.IsZero(), !a.look.At.IsZero() && a.now.Sub(h.Heard) > a.c.gap():
			result = no
		case result == yes:
			result = unknown
		}
	}
	for _, seen := range a.look.Seen {
		if len(seen.Lacks) > 0 && !slices.Contains(all, seen.Host) {
			result = no // it left while it was asked, and caches hold what it lacks
		}
	}
	switch {
	case result == no:
		a.ConvergedSince, a.ConvergedAt = time.Time{}, time.Time{}
	case result == yes && !a.look.At.IsZero():
		if a.ConvergedSince.IsZero() || interrupted {
			a.ConvergedSince = a.look.At
			a.SyncFrom, a.SyncedAt = time.Time{}, time.Time{}
		}
		a.ConvergedAt = a.look.At
	}
}

// note remembers whether a host was heard by the look, if there is one.
func (a *advance) note(h *Host, heard bool) {
	switch {
	case a.look.At.IsZero():
	case heard:
		h.Heard, h.Silent = a.look.At, time.Time{}
	case h.Silent.IsZero():
		h.Silent = a.look.At
	}
}

// keys takes over which of our keys every nameserver has.
func (a *advance) keys() {
	if a.look.At.IsZero() {
		return
	}
	for _, o := range a.f.Keys {
		k := a.key(o.Key)
		switch a.everywhere(o) {
		case no:
			k.Everywhere, k.KnownFrom = time.Time{}, time.Time{}
		case yes:
			if k.Everywhere.IsZero() && len(lingering(a.c, &a.State, a.f)) == 0 {
				k.Everywhere, k.KnownFrom = a.look.At, latest(a.HeldKeys.After(a.look.At), a.leaversForgotten())
			}
		}
	}
}

// everywhere reports whether every nameserver that is to have a key of ours
// does: all of the zone's for one that signs data, ours for another. A key that
// none of them is asked for is where we publish it.
func (a *advance) everywhere(o OwnKey) answer {
	if o.Published.IsZero() {
		return no
	}
	result := yes
	for _, name := range hosts(a.State, a.f) {
		if !o.SignsData && !a.c.own(name) || excused(&a.State, a.f, name, a.now) {
			continue
		}
		seen, asked := a.look.seen(name)
		switch h := a.host(name); {
		case asked && len(seen.Keys) > 0 && !slices.Contains(seen.Keys, o.Key):
			return no
		case asked && !seen.Silent:
		case h == nil || h.Heard.IsZero() || a.now.Sub(h.Heard) > a.c.gap():
			return no
		default:
			result = unknown
		}
	}
	return result
}
