package lifecycle

import (
	"slices"
	"time"

	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/observe"
)

// Advance returns the state after what was read since the last time: of the
// parent, of the nameservers, either of which may be zero, and of the zone
// itself. Peers whose host has no record in the new state any more have left,
// and their keys go (rule D3).
func Advance(c Config, s State, f Facts, p Parent, l Look, now time.Time) State {
	s.Hosts, s.Keys = slices.Clone(s.Hosts), slices.Clone(s.Keys)
	a := &advance{State: s, c: c, f: f, look: l, now: now}
	a.remember()
	a.want()
	a.readDS(p)
	a.readNS(p)
	a.hear()
	a.list()
	a.converge()
	a.depart()
	a.sync()
	a.keys()
	a.Phase = a.phase()
	return a.State
}

type advance struct {
	State
	c    Config
	f    Facts
	look Look
	now  time.Time

	delegated bool // the parent's NS was read, too
	silence   bool // and had not been for so long that a leaver may have been back
}

// hosts returns those that resolvers may ask, now or once the zone is as the
// owner wants it: target, the zone's NS and the parent's.
func hosts(s State, f Facts) []string { return union(f.Target, f.NS, s.ParentNS) }

// Hosts returns the nameservers that have to be looked at, those first that the
// owner wants and those last that only the parent, without a signature, names.
func Hosts(s State, f Facts) []string {
	var all []string
	for _, host := range slices.Concat(union(f.Target), union(f.NS), s.ParentNS) {
		if !slices.Contains(all, host) {
			all = append(all, host)
		}
	}
	return all
}

// remember makes a record for every host and key that there is none of, and
// drops those that nothing depends on.
func (a *advance) remember() {
	wanted := slices.Concat(a.c.Own, a.f.Peers, a.f.Target, a.f.NS, a.ParentNS)
	// Nobody wants the others, but caches were told of them: that counts for what
	// a zone was seeded with, and if they are wanted later and then no longer.
	a.Hosts = slices.DeleteFunc(a.Hosts, func(h Host) bool {
		return !slices.Contains(wanted, h.Name) && !h.cached(a.now) && !h.HeldDown()
	})
	for _, name := range wanted {
		if a.host(name) == nil && len(a.Hosts) == MaxHosts {
			a.makeRoom(wanted)
		}
		if a.host(name) == nil && len(a.Hosts) < MaxHosts {
			h := Host{Name: name}
			// A peer without a record is one of an older store: it may have been
			// in any NS RRset.
			h.Delegated = slices.Contains(a.f.Peers, name) && !slices.Contains(hosts(a.State, a.f), name)
			a.Hosts = append(a.Hosts, h)
		}
	}
	for _, seen := range a.look.Seen {
		for _, name := range seen.NS {
			if slices.Contains(a.f.Target, seen.Host) && a.host(name) == nil && len(a.Hosts) < MaxHosts {
				a.Hosts = append(a.Hosts, Host{Name: name})
			}
		}
	}
	slices.SortFunc(a.Hosts, func(x, y Host) int { return compare(x.Name, y.Name) })

	for _, k := range a.f.Keys {
		if a.key(k.Key) == nil {
			a.Keys = append(a.Keys, Key{Key: k.Key})
		}
	}
	a.Keys = slices.DeleteFunc(a.Keys, func(k Key) bool {
		return !slices.ContainsFunc(a.f.Keys, func(o OwnKey) bool { return o.Key == k.Key })
	})
}

// HeldDown reports whether h is none of the zone's any more, but caches may need
// what it served (rule D3).
func (h Host) HeldDown() bool { return h.Delegated && !h.Missing.IsZero() }

// cached reports whether caches may hold an NS RRset that names h.
func (h Host) cached(now time.Time) bool {
	return h.Child.TTL > 0 || h.Parent.TTL > 0 || h.Child.Until.After(now) || h.Parent.Until.After(now)
}

// makeRoom forgets a host that is none of those wanted.
func (a *advance) makeRoom(wanted []string) {
	if i := slices.IndexFunc(a.Hosts, func(h Host) bool { return !slices.Contains(wanted, h.Name) }); i >= 0 {
		a.Hosts = slices.Delete(a.Hosts, i, i+1)
	}
}

func compare(x, y string) int {
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// host returns the record of a host, nil if there is none.
func (s *State) host(name string) *Host {
	for i := range s.Hosts {
		if s.Hosts[i].Name == name {
			return &s.Hosts[i]
		}
	}
	return nil
}

// key returns the record of a key, nil if there is none.
func (s *State) key(k merge.Key) *Key {
	for i := range s.Keys {
		if s.Keys[i].Key == k {
			return &s.Keys[i]
		}
	}
	return nil
}

// readDS takes over what the parent says of DS. What was not read has not
// changed.
func (a *advance) readDS(p Parent) {
	a.enter()
	defer a.stay()
	if p.DSStatus == observe.DSUnread {
		a.judgeDS()
		return
	}
	if !a.DSAt.IsZero() && p.At.Sub(a.DSAt) > a.c.gap() && a.Phase != Complete {
		a.DSSince = time.Time{} // nobody knows what it was meanwhile
		a.SyncFrom, a.SyncedAt = time.Time{}, time.Time{}
	}
	a.HeldDS = a.HeldDS.read(p.At, p.DSTTL)
	if present := a.DSStatus == observe.DSPresent; present && p.DSStatus.Absent() {
		a.AbsentFrom = a.HeldDS.After(p.At)
	}
	a.DSAt, a.DSFrom, a.DSStatus, a.DS = p.At, p.DSFrom, p.DSStatus, nil
	if p.DSStatus == observe.DSPresent {
		a.DS = slices.Clone(p.DS)
	}
	a.judgeDS()
	for i := range a.Keys {
		k := &a.Keys[i]
		switch named := names(a.c.Zone, a.DS, k.Key); {
		case named && p.DSFrom.Before(a.Entered) && slices.Contains(a.f.Joint.CDNSKEY, k.Key):
		case named && k.DSSince.IsZero():
			k.DSSince, k.InDSFrom = p.At, a.HeldDS.After(p.At)
			k.DSGone, k.GoneFrom = time.Time{}, time.Time{}
		case !named && k.DSGone.IsZero():
			// Also of a key that was not there before: it may have been before
			// the first reading, or between two of them.
			k.DSGone, k.GoneFrom = p.At, a.HeldDS.After(p.At)
			k.DSSince, k.InDSFrom = time.Time{}, time.Time{}
		}
	}
}

// enter takes over which secure-entry keys come into the joint sets.
func (a *advance) enter() {
	now, before := a.f.Joint, a.f.Former
	if len(before.CDNSKEY)+len(before.Unmatched) == 0 {
		return // there was nothing that the parent could follow
	}
	// A key that was known by a digest before, or is now, is no other.
	came := minus(entries(now), entries(before))
	if len(came) == 0 {
		return
	}
	a.Entered = a.now
	for i := range a.Keys {
		if k := &a.Keys[i]; slices.Contains(came, k.Key.Ref()) {
			k.DSSince, k.InDSFrom = time.Time{}, time.Time{}
		}
	}
}

// enterAll takes all secure-entry keys to come into the joint sets now.
func (a *advance) enterAll() {
	a.Entered = a.now
	for i := range a.Keys {
		a.Keys[i].DSSince, a.Keys[i].InDSFrom = time.Time{}, time.Time{}
	}
}

// entries returns the secure-entry keys of j.
func entries(j merge.Joint) []merge.Ref {
	var refs []merge.Ref
	for _, k := range j.CDNSKEY {
		refs = append(refs, k.Ref())
	}
	for _, d := range j.Unmatched {
		refs = append(refs, merge.Ref{Tag: d.KeyTag, Algorithm: d.Algorithm})
	}
	return refs
}

// stay forgets that keys which are in CDS now had gone from DS: the parent may
// have followed since it was read last.
func (a *advance) stay() {
	for i := range a.Keys {
		if k := &a.Keys[i]; slices.Contains(a.f.Joint.CDNSKEY, k.Key) {
			k.DSGone, k.GoneFrom = time.Time{}, time.Time{}
		}
	}
}

// judgeDS decides whether DS, as it was last read, holds every secure-entry key
// of the joint sets, which may have lost some since.
func (a *advance) judgeDS() {
	switch {
	case a.DSStatus != observe.DSPresent || a.DSFrom.Before(a.Entered) || len(Unnamed(a.c.Zone, a.DS, a.f.Joint)) > 0:
		a.DSSince, a.SyncFrom, a.SyncedAt = time.Time{}, time.Time{}, time.Time{}
	case a.DSSince.IsZero():
		a.DSSince = a.now
	}
}

// names reports whether one of the digests is that of k.
func names(zone string, ds []merge.DS, k merge.Key) bool {
	return slices.ContainsFunc(ds, func(d merge.DS) bool { return d.Names(zone, k) })
}

// Unnamed returns the secure-entry keys of the joint sets that DS does not name.
// A key of which only a digest is known is compared by tag and algorithm, since
// the parent may have another type of digest of it.
func Unnamed(zone string, ds []merge.DS, j merge.Joint) []merge.Ref {
	var lacking []merge.Ref
	for _, k := range j.CDNSKEY {
		if !names(zone, ds, k) {
			lacking = append(lacking, k.Ref())
		}
	}
	for _, u := range j.Unmatched {
		if !slices.ContainsFunc(ds, func(d merge.DS) bool { return d.KeyTag == u.KeyTag && d.Algorithm == u.Algorithm }) {
			lacking = append(lacking, merge.Ref{Tag: u.KeyTag, Algorithm: u.Algorithm})
		}
	}
	return lacking
}

// readNS takes over what the parent delegates to.
func (a *advance) readNS(p Parent) {
	before := a.NSAt
	former := a.longest(func(h Host) Held { return h.Parent })
	if p.NSRead {
		a.silence = !before.IsZero() && p.At.Sub(before) > a.c.gap()
		a.NSAt, a.ParentNS, a.delegated = p.At, like(union(p.NS), a.ParentNS), true
		a.remember()
	}
	for i := range a.Hosts {
		h := &a.Hosts[i]
		switch {
		case !p.NSRead:
		case slices.Contains(p.NS, h.Name):
			h.Parent, h.Delegated = h.Parent.enter(p.At, former, p.NSTTL), true
		case h.Child.TTL > 0 || h.Child.Until.After(before), a.mayHaveBeenBack(*h):
			// The parent may have named it, as the zone did or may have, until just now.
			h.Parent = h.Parent.enter(p.At, former, p.NSTTL).read(p.At, 0)
		default:
			h.Parent = h.Parent.read(p.At, 0)
		}
		if !a.NSAt.IsZero() && slices.Contains(hosts(a.State, a.f), h.Name) {
			h.ParentRead = true
		}
	}
}

// longest returns the TTL of an NS RRset as it was last read.
func (s *State) longest(of func(Host) Held) time.Duration {
	var ttl time.Duration
	for _, h := range s.Hosts {
		ttl = max(ttl, of(h).TTL)
	}
	return ttl
}

// hear takes over which nameservers were heard.
func (a *advance) hear() {
	if a.look.At.IsZero() {
		return
	}
	ttl := a.c.TTL
	for _, name := range hosts(a.State, a.f) {
		h := a.host(name)
		if h == nil {
			continue
		}
		if seen, ok := a.look.seen(name); ok && !seen.Silent {
			h.KeyTTL = seen.KeyTTL
		} else {
			h.KeyTTL = max(h.KeyTTL, seen.KeyTTL)
		}
		ttl = max(ttl, h.KeyTTL)
	}
	a.HeldKeys = a.HeldKeys.read(a.look.At, ttl)
}

// list takes over which nameservers name which hosts in NS, and for how long
// caches may hold that. One of the target that is behind sends resolvers to a host
// that the others name no more.
func (a *advance) list() {
	quiet := slices.ContainsFunc(hosts(a.State, a.f), func(name string) bool {
		seen, asked := a.look.seen(name)
		return (!asked || seen.Silent) && !excused(&a.State, a.f, name, a.now)
	})
	former := a.longest(func(h Host) Held { return h.Child })
	for i := range a.Hosts {
		h := &a.Hosts[i]
		if a.mayHaveBeenBack(*h) {
			h.Child = h.Child.read(a.now, max(former, a.f.NSTTL))
		}
		var ttl time.Duration
		listed := slices.DeleteFunc(slices.Clone(h.ListedBy), func(by string) bool { return !slices.Contains(a.f.Target, by) })
		for _, seen := range a.look.Seen {
			names := slices.Contains(seen.NS, h.Name)
			if names {
				ttl = max(ttl, seen.NSTTL)
			}
			if !slices.Contains(a.f.Target, seen.Host) || len(seen.NS) == 0 {
				continue // a leaver's NS does not keep it
			}
			listed = slices.DeleteFunc(listed, func(by string) bool { return by == seen.Host })
			if names {
				listed = append(listed, seen.Host)
			}
		}
		h.ListedBy = like(union(listed), h.ListedBy)
		if i > 0 {
			h.ListedBy = like(h.ListedBy, a.Hosts[i-1].ListedBy)
		}
		if len(h.ListedBy) > 0 || a.look.At.IsZero() || quiet {
			ttl = max(ttl, h.Child.TTL) // until it is read otherwise
		}
		if slices.Contains(a.f.NS, h.Name) {
			ttl = max(ttl, a.f.NSTTL)
		}
		if ttl > 0 {
			h.Child, h.Delegated = h.Child.enter(a.now, former, ttl), true
		} else {
			h.Child = h.Child.read(a.now, 0)
		}
		if seen, ok := a.look.seen(h.Name); ok && len(seen.NS) > 0 {
			h.Differs = !slices.Equal(union(seen.NS), union(a.f.Target))
		}
	}
}

// want takes over what the owner wants. When that has come to include one more
// host, all is looked at anew before NS may name it: the others may not know yet
// that it is wanted, and be about to forget the keys of one that was leaving.
func (a *advance) want() {
	if !a.f.Read {
		return
	}
	if more := minus(a.f.Target, a.Target); len(a.Target) > 0 && len(more) > 0 {
		a.Grown = a.now
		a.SyncFrom, a.SyncedAt = time.Time{}, time.Time{}
		for _, name := range more {
			// Nobody looks at us any more to see that we are wanted again.
			if h := a.host(name); a.c.own(name) && h != nil && h.HeldDown() {
				a.Grown = latest(a.Grown, h.Until.Add(2*a.c.RefreshMax))
			}
		}
		if slices.ContainsFunc(more, a.c.own) && !slices.ContainsFunc(a.Target, a.c.own) {
			a.enterAll() // the others may have left out our keys meanwhile
		}
	}
	a.Target = like(union(a.f.Target), a.Target)
}

// sync runs the wait that begins once all nameservers and DS are as they have to
// be, and finds it over by readings that were made after its end.
func (a *advance) sync() {
	if a.ConvergedSince.IsZero() || a.DSSince.IsZero() {
		a.SyncFrom, a.SyncedAt = time.Time{}, time.Time{}
		return
	}
	if a.SyncFrom.IsZero() && len(lingering(a.c, &a.State, a.f)) > 0 {
		return
	}
	if a.SyncFrom.IsZero() {
		began := latest(a.ConvergedSince, a.DSSince, a.Grown)
		a.SyncFrom = latest(a.HeldDS.After(began), a.HeldKeys.After(began), a.leaversForgotten(), a.Grown.Add(a.c.notice()))
	}
	if a.SyncedAt.IsZero() && !a.ConvergedAt.Before(a.SyncFrom) && !a.DSAt.Before(a.SyncFrom) {
		a.SyncedAt = a.now
	}
}

// phase returns the phase that the state amounts to.
func (a *advance) phase() Phase {
	all := hosts(a.State, a.f)
	switch {
	case a.left():
		return Left
	case len(a.c.external(all, a.f.Peers)) == 0:
		return Single
	case a.insecure():
		return Insecure
	case !a.f.Serving || len(a.f.Missing) > 0:
		return Collecting
	case a.ConvergedSince.IsZero():
		return Joint
	case a.SyncedAt.IsZero():
		return Converged
	case len(a.delegationDiffers()) > 0:
		return Synced
	}
	return Complete
}

// insecure reports whether nothing validates: DS is absent, and no cache holds one that
// was seen before. Of one that had gone when the parent was first read nothing is known,
// not how long it may be cached either: a zone that never had one would wait for nothing.
func (s *State) insecure() bool { return s.DSStatus.Absent() && !s.DSAt.Before(s.AbsentFrom) }

// left reports whether none of our nameservers is one of the zone's.
func (s *State) left(c Config) bool {
	for _, name := range c.Own {
		if h := s.host(name); h == nil || h.Missing.IsZero() {
			return false
		}
	}
	return len(c.Own) > 0
}

func (a *advance) left() bool { return a.State.left(a.c) }

// delegationDiffers returns where NS is not the target.
func (a *advance) delegationDiffers() []string { return differs(a.State, a.f) }
