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
		from := a.c.leaves(h)
		return !a.f.Held && !a.c.own(h.Name) && !h.Missing.IsZero() && known && !a.now.Before(from) && !a.NSAt.Before(from) &&
			!h.Clear.Before(from) && a.now.Sub(h.Clear) <= a.c.fresh()
	}
	for i := range a.Hosts {
		if h := &a.Hosts[i]; a.mayHaveBeenBack(*h) {
			h.Until = latest(h.Until, a.holdDown(*h))
		}
	}
	a.clear()
	for i := range a.Hosts {
		switch h := &a.Hosts[i]; {
		case slices.Contains(there, h.Name) || len(h.ListedBy) > 0:
			h.Missing, h.Until = time.Time{}, time.Time{}
		case known && a.delegated && h.Missing.IsZero(): // until then the parent may name it
			h.Missing = a.now
			if h.Delegated {
				h.Until = a.holdDown(*h)
			}
		}
	}
	a.Hosts = slices.DeleteFunc(a.Hosts, gone)
}

// mayHaveBeenBack reports whether h, which has left, may have been one of the zone's
// again until just now: for so long nobody looked whether the parent, or a nameserver of
// the zone, names it. Nameservers are asked as often as the parent, but one that is silent
// is waited for before the others count.
func (a *advance) mayHaveBeenBack(h Host) bool {
	unseen := !h.Clear.IsZero() && a.look.At.Sub(h.Clear) > a.c.gap()+patience
	return h.HeldDown() && (a.silence || unseen)
}

// clear takes over which hosts no nameserver of the zone names any more. Others
// may know before us that the owner wants a host back, and go on to have NS name
// it, or know later that it is wanted no more.
func (a *advance) clear() {
	if a.look.At.IsZero() {
		return
	}
	all, heard := hosts(a.State, a.f), true
	for _, name := range all {
		seen, asked := a.look.seen(name)
		h := a.host(name)
		late := h != nil && !h.Silent.IsZero() && a.now.Sub(h.Silent) >= patience
		heard = heard && (asked && !seen.Silent || late)
	}
	for i := range a.Hosts {
		h := &a.Hosts[i]
		h.NamedBy = common(h.NamedBy, all)
		for _, seen := range a.look.Seen {
			switch {
			case slices.Contains(seen.CNS, h.Name) && slices.Contains(all, seen.Host):
				h.NamedBy = union(h.NamedBy, []string{seen.Host})
			case !seen.Silent:
				h.NamedBy = minus(h.NamedBy, []string{seen.Host})
			}
		}
		if slices.Contains(all, h.Name) {
			h.Clear, h.NamedBy = time.Time{}, nil
		} else if heard && len(h.NamedBy)+len(h.ListedBy) == 0 {
			if h.Clear.IsZero() && !h.Until.IsZero() {
				// Until now a nameserver that had not been heard since may have gone on
				// to name it in NS.
				h.Until = latest(h.Until, a.holdDown(*h))
			}
			h.Clear = a.look.At
		} else if len(h.NamedBy)+len(h.ListedBy) > 0 {
			h.Clear = time.Time{}
		}
	}
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
		if !a.c.own(h.Name) && h.Delegated && !slices.Contains(there, h.Name) && h.belonged(a.f) {
			from = latest(from, h.Until)
		}
	}
	return from
}

// belonged reports whether h was one of the zone's and served its keys, and is not
// only a name that some nameserver has in its NS RRset. Of one that a zone was seeded
// from there may be no peer.
func (h Host) belonged(f Facts) bool { return h.KeyTTL > 0 || slices.Contains(f.Peers, h.Name) }

// lingering returns the other providers' hosts that are none of the zone's any more
// but that a nameserver of the target still names in NS, or the parent may, which
// was not read since: until that ends, resolvers ask hosts that nobody looks at.
func lingering(c Config, s *State, f Facts) []Host {
	there := hosts(*s, f)
	return slices.DeleteFunc(slices.Clone(s.Hosts), func(h Host) bool {
		named := len(h.ListedBy) > 0 || h.Delegated && h.Missing.IsZero()
		return !named || c.own(h.Name) || slices.Contains(there, h.Name) || !h.belonged(f)
	})
}

// leaves returns from when a reading that still lacks h, which is missing, ends
// its retention. One that never was in NS leaves with the second.
func (c Config) leaves(h Host) time.Time {
	return latest(h.Missing.Add(c.RefreshMin), h.Until)
}
