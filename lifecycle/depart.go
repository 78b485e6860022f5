package lifecycle

import (
	"slices"
	"time"
)

// depart decides which hosts are none of the zone's any more, and drops those
// whose hold-down is over (rule D3).
func (a *advance) depart() {
	known := a.f.Read && !a.NSAt.IsZero() && !a.NSAt.Before(a.f.Began)
	there := hosts(a.State, a.f)
	gone := func(h Host) bool {
		return !a.f.Held && !a.c.own(h.Name) && !h.Missing.IsZero() && known && !a.now.Before(a.c.leaves(h)) && !a.NSAt.Before(a.c.leaves(h))
	}
	for i := range a.Hosts {
		switch h := &a.Hosts[i]; {
		case slices.Contains(there, h.Name) || len(h.ListedBy) > 0:
			h.Missing, h.Until = time.Time{}, time.Time{}
		case known && h.Missing.IsZero():
			h.Missing = a.now
			if h.Delegated {
				h.Until = a.holdDown(*h)
			}
		}
	}
	a.Hosts = slices.DeleteFunc(a.Hosts, gone)
}

// holdDown returns until when the keys of a host stay that just left: as long as
// a resolver may still ask it, and then as long as what it answered may be
// cached.
func (a *advance) holdDown(h Host) time.Time {
	ns := latest(h.Child.After(a.now), h.Parent.After(a.now))
	if !h.ParentRead {
		ns = latest(ns, a.now.Add(unknownNSTTL))
	}
	return ns.Add(max(a.c.MaxZoneTTL, h.KeyTTL, a.HeldKeys.After(a.now).Sub(a.now)))
}

// leaversForgotten returns from when caches have forgotten what the hosts served
// that are none of the zone's any more. Nobody looks at these, but resolvers go on
// asking them until caches have forgotten the NS RRsets that named them: what they
// serve may lack keys that come now, and whoever comes now may lack theirs.
func (a *advance) leaversForgotten() time.Time {
	var from time.Time
	there := hosts(a.State, a.f)
	for _, h := range a.Hosts {
		switch {
		case a.c.own(h.Name) || !h.Delegated || slices.Contains(there, h.Name):
		case h.Missing.IsZero():
			from = latest(from, a.holdDown(h))
		default:
			from = latest(from, h.Until)
		}
	}
	return from
}

// leaves returns from when a reading that still lacks h, which is missing, ends
// its retention. One that never was in NS leaves with the second.
func (c Config) leaves(h Host) time.Time {
	return latest(h.Missing.Add(c.RefreshMin), h.Until)
}
