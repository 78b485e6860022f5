package refresh

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/store"
)

// lifeConfig returns what the rules of a zone's life have to know of its
// configuration.
func (z *Zone) lifeConfig() lifecycle.Config {
	return lifecycle.Config{Zone: z.Name, Own: z.Nameservers, RefreshMin: z.RefreshMin, RefreshMax: z.RefreshMax, TTL: z.TTL, MaxZoneTTL: z.MaxZoneTTL}
}

// lifeFacts returns what the rules of a zone's life depend on, as it is served
// now.
func (z *zone) lifeFacts() lifecycle.Facts {
	s := z.open().facts.state
	f := lifecycle.Facts{
		Began: z.open().began, Read: z.open().facts.looked || z.Whole, Held: z.open().facts.unsteady,
		Target: s.Target, NS: s.NS, NSTTL: s.NSTTL,
		Joint: s.Joint, Former: s.Joint, Serving: z.open().shown.answer == full, Peers: peerHosts(s.Peers),
	}
	if z.Whole { // its NS is that nameserver, see serve
		f.Target, f.NS, f.NSTTL = z.signaled(), z.signaled(), z.TTL
	}
	for _, o := range s.Own {
		if len(f.Keys) < store.MaxOwnKeys {
			f.Keys = append(f.Keys, lifecycle.OwnKey{Key: o.Key, SignsData: o.SignsData, Published: o.Published})
		}
	}
	for _, k := range z.open().facts.files {
		if mark(s.Own, k.ID()) < 0 && len(f.Keys) < store.MaxOwnKeys {
			f.Keys = append(f.Keys, lifecycle.OwnKey{Key: k.ID(), SignsData: k.Role.SignsData()})
		}
	}
	for _, host := range z.external(s.Target) {
		if why := z.unknownKeys(host); why != "" {
			f.Missing = append(f.Missing, lifecycle.Missing{Host: host, Why: why})
		}
	}
	return f
}

// signaled returns, of a delegated signaling zone, the nameserver it is for.
func (z *zone) signaled() []string {
	var hosts []string
	for _, t := range z.encloses {
		hosts = append(hosts, t.NS)
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// unknownKeys returns why nothing is known of the keys of an external host in the
// target, "" if they are known or it serves the joint sets without announcing
// any (rule D5).
func (z *zone) unknownKeys(host string) string {
	if peer(z.open().facts.state.Peers, host) >= 0 && !z.distrusts(host) || slices.Contains(z.open().facts.served, host) || z.servedBefore(host) {
		return ""
	}
	if err := z.incapable(host); err != nil {
		return fmt.Sprintf("%s cannot take part: it does not serve the joint sets, and %v", host, err)
	}
	switch c := z.collectionOf(host); {
	case z.distrusts(host):
		return fmt.Sprintf("%s is in the target, but distrusted", host)
	case c == nil && !z.collects(host):
		return fmt.Sprintf("the announcement of %s is not collected", host)
	case c == nil, c.ended.IsZero():
		return fmt.Sprintf("the announcement of %s has not been collected yet", host)
	default:
		return fmt.Sprintf("the announcement of %s is %s", host, c.verdict)
	}
}

// servedBefore reports whether nothing says yet, after a start, that a host no
// longer serves the joint sets.
func (z *zone) servedBefore(host string) bool {
	life := z.open().facts.state.Life
	return z.open().outside.look.At.IsZero() && life.Phase != "" && life.Phase != lifecycle.Collecting && !z.distrusts(host) &&
		slices.ContainsFunc(life.Hosts, func(h lifecycle.Host) bool { return h.Name == host && !h.Heard.IsZero() })
}

// collects reports whether announcements are to be had from host.
func (z *zone) collects(host string) bool {
	hosts, _ := z.imports(z.open().facts.state)
	return slices.Contains(hosts, host)
}

// live takes over what was read from outside, and what follows of it for the
// other providers' keys: those of hosts that have left go (rule D3), and a zone
// that begins cold is seeded (rule M5).
func (e *Engine) live(z *zone) {
	now, s, o := e.loop.now, &z.open().facts.state, &z.open().outside
	before := s.Life
	s.Life = lifecycle.Advance(z.lifeConfig(), before, z.lifeFacts(), o.newParent, o.newLook, now)
	o.newParent, o.newLook = lifecycle.Parent{}, lifecycle.Look{}
	z.dropLeft()
	z.reportLeavers(before)
	z.seed(now)
}

// grow takes over what was decided to be served, says what phase that is and
// what it waits for, and sees to it that this is looked at again in time.
func (e *Engine) grow(z *zone, d *decision) {
	now, s, o := e.loop.now, &z.open().facts.state, &z.open().outside
	f := z.lifeFacts()
	f.Serving = d.view.answer == full
	if f.Serving {
		f.Joint = d.view.joint
	}
	s.Life = lifecycle.Advance(z.lifeConfig(), s.Life, f, lifecycle.Parent{}, lifecycle.Look{}, now)
	was := o.report
	o.report = lifecycle.ReportOf(z.lifeConfig(), s.Life, f, o.look, now)
	for i := range o.report.Keys {
		k := &o.report.Keys[i]
		k.GoFrom = d.may[k.Key]
		if j := mark(d.own, k.Key); j >= 0 {
			k.Signs = d.own[j].Signed && d.own[j].Gone.IsZero()
		}
	}
	d.life = o.report
	d.boot = d.bootstrap(z.Zone, s.Life)
	d.next = earliest(d.next, o.report.Next)
	if z.open().facts.unsteady && (len(o.report.Leaving) > 0 || !s.Seed.Empty()) {
		d.next = earliest(d.next, z.open().facts.settled)
	}
	for i := range o.report.Leaving {
		l := &o.report.Leaving[i]
		l.Until = latest(l.Until, z.open().facts.settled)
	}
	z.reportPhase()
	z.reportKeys(was, now)
	z.reportExits(was, now)
	z.open().roles, z.news = d.roles, true
	if z.Outside == nil {
		return
	}
	if !slices.Equal(z.lookedAt(), o.hosts) || !z.sameJoint(d.view) {
		e.lookSoon(z)
	}
	e.lookAtDeadline(z)
}

// sameJoint reports whether v has the joint sets that are published.
func (z *zone) sameJoint(v view) bool {
	return v.answer == z.open().shown.answer && difference(z.open().shown.joint, v.joint).None()
}

// dropLeft drops the keys of the hosts that have left.
func (z *zone) dropLeft() {
	s := &z.open().facts.state
	there := func(host string) bool {
		return slices.ContainsFunc(s.Life.Hosts, func(h lifecycle.Host) bool { return h.Name == host })
	}
	var peers []merge.Peer
	for _, p := range s.Peers {
		if there(p.Host) {
			peers = append(peers, p)
			continue
		}
		z.log.Infof("%s: %s has left, and caches have forgotten it: its keys go", z.title(), p.Host)
		z.settle("named " + p.Host)
		s.Imported = slices.DeleteFunc(slices.Clone(s.Imported), func(h string) bool { return h == p.Host })
	}
	s.Peers = peers
}

// reportLeavers says, once, of whom nothing depends on any more but what is
// cached, and who wants one of these all the same.
func (z *zone) reportLeavers(before lifecycle.State) {
	for _, h := range z.open().facts.state.Life.Hosts {
		if len(h.NamedBy) > 0 && !h.Missing.IsZero() && peer(z.open().facts.state.Peers, h.Name) >= 0 {
			z.say("named "+h.Name, levelInfo, "", "%s is no nameserver that the owner wants any more, but its keys stay as long as CNS at %s names it", h.Name, strings.Join(h.NamedBy, ", "))
		} else {
			z.settle("named " + h.Name)
		}
		i := slices.IndexFunc(before.Hosts, func(b lifecycle.Host) bool { return b.Name == h.Name })
		was := i >= 0 && !before.Hosts[i].Missing.IsZero()
		switch is := !h.Missing.IsZero(); {
		case is == was || z.own(h.Name) || peer(z.open().facts.state.Peers, h.Name) < 0:
		case is && h.Until.IsZero():
			z.log.Infof("%s: %s is no nameserver that the owner wants any more, and never was one: its keys go with the next reading that lacks it", z.title(), h.Name)
		case is:
			z.log.Infof("%s: %s is leaving: it is in none of target, NS and the parent's NS; its keys stay until %s, as long as caches may need them", z.title(), h.Name, timestamp(latest(h.Until, z.open().facts.settled)))
		default:
			z.log.Infof("%s: %s is back: its keys stay", z.title(), h.Name)
		}
	}
}

// reportPhase says which phase z is in now if that has changed. Nothing is said
// when the server starts with zones that are as they were, nor of a zone that
// begins with no other providers, of which a fleet has many.
func (z *zone) reportPhase() {
	r, was := z.open().outside.report, z.open().spoken
	z.open().spoken = r.Phase
	if r.Phase == was || was == "" && r.Phase == lifecycle.Single {
		return
	}
	text := fmt.Sprintf("%s is %s", z.title(), r)
	switch {
	case r.Phase == lifecycle.Left && !r.DeleteFrom.IsZero():
		text += fmt.Sprintf(": none of our nameservers is one of its any more; it may be deleted here from %s", timestamp(r.DeleteFrom))
	case r.Phase == lifecycle.Synced && r.MayAdd:
		text += ": NS may be the target now"
	case r.Phase == lifecycle.Insecure:
		text += "; its NS may change at any time"
	}
	if was.MayAdd() && was != lifecycle.Insecure && (r.Phase == lifecycle.Collecting || r.Phase == lifecycle.Joint) {
		z.log.Warningf("%s", text)
		return
	}
	z.log.Infof("%s", text)
}

// reportKeys says when a key that came while the zone was served may take its
// next step. After a start that is said again for waits that are not over.
func (z *zone) reportKeys(was lifecycle.Report, now time.Time) {
	fresh := func(until time.Time) bool { return was.Phase != "" || until.After(now) }
	for _, k := range z.open().outside.report.Keys {
		var before lifecycle.KeyReport // of a key that is served since the last decision, nothing
		if i := slices.IndexFunc(was.Keys, func(o lifecycle.KeyReport) bool { return o.Key == k.Key }); i >= 0 {
			before = was.Keys[i]
		}
		if !z.newer(k.Key) {
			continue
		}
		if k.Everywhere.After(before.Everywhere) && !k.SignFrom.IsZero() && fresh(k.SignFrom) {
			z.log.Infof("%s: our key %d is at every nameserver since %s; it may sign the zone's data from %s", z.title(), k.Key.Tag(), timestamp(k.Everywhere), timestamp(k.SignFrom))
		}
		if k.InDS.After(before.InDS) && fresh(k.InDSFrom) {
			z.log.Infof("%s: our key %d is in the parent's DS, and from %s in that of every cache", z.title(), k.Key.Tag(), timestamp(k.InDSFrom))
		}
	}
}

// reportExits says from when a key may go that another one of ours was published
// after.
func (z *zone) reportExits(was lifecycle.Report, now time.Time) {
	for _, k := range z.open().outside.report.Keys {
		i := slices.IndexFunc(was.Keys, func(o lifecycle.KeyReport) bool { return o.Key == k.Key })
		before := i >= 0 && !was.Keys[i].GoFrom.IsZero()
		started := was.Phase == "" && !k.GoFrom.After(now) // it was said before
		if k.GoFrom.IsZero() || before || started || !z.older(k.Key) {
			continue
		}
		z.log.Infof("%s: our key %d may go from %s", z.title(), k.Key.Tag(), timestamp(k.GoFrom))
	}
}

// newer reports whether k was published after another key of ours.
func (z *zone) newer(k merge.Key) bool {
	own := z.open().facts.state.Own
	i := mark(own, k)
	return i >= 0 && slices.ContainsFunc(own, func(o store.Own) bool { return !o.Published.IsZero() && o.Published.Before(own[i].Published) })
}

// older reports whether another key of ours was published after k.
func (z *zone) older(k merge.Key) bool {
	own := z.open().facts.state.Own
	i := mark(own, k)
	return i >= 0 && slices.ContainsFunc(own, func(o store.Own) bool { return o.Published.After(own[i].Published) })
}

// seed takes the other providers' keys from the zone itself where nothing is
// known of them (rule M5), and lets these keys go once their holders have told
// them.
func (z *zone) seed(now time.Time) {
	s := &z.open().facts.state
	hosts := z.external(slices.Concat(s.NS, s.Life.ParentNS))
	if s.Seed.At.IsZero() {
		if cold := !s.Cold.IsZero() && len(s.Joint.DNSKEY) == 0; !cold {
			return
		}
		var sets []lifecycle.Vouched
		var from []string
		for _, host := range hosts {
			if by := z.open().facts.vouchedBy(host); len(by) > 0 {
				sets, from = append(sets, by...), append(from, host)
			}
		}
		known := func(host string) bool { return peer(s.Peers, host) >= 0 }
		if len(sets) == 0 || !slices.ContainsFunc(hosts, func(h string) bool { return !known(h) }) {
			return
		}
		s.Seed = lifecycle.SeedFrom(z.Name, z.knownOwn(), sets, s.Life.DS, now)
		z.log.Infof("%s: nothing is stored of it; the keys of its other providers are taken from the zone itself, as %s serves it and the parent's DS vouches for: DNSKEY %s, secure entries %s",
			z.title(), strings.Join(from, " and "), refsOf(s.Seed.DNSKEY), refsOf(merge.Union(z.Name, merge.Local{}, []merge.Peer{s.Seed.Peer()}).CDNSKEY))
		return
	}
	if z.open().facts.unsteady {
		return // no wait ends
	}
	for _, h := range s.Life.Hosts { // those that leave, too
		if h.Delegated && !z.own(h.Name) {
			hosts = append(hosts, h.Name)
		}
	}
	// Nor is it known whose key is whose: one may be that of a provider which was
	// heard before it had the key, but is not in NS yet.
	wanted, _ := z.imports(*s)
	for _, host := range wanted {
		if peer(s.Peers, host) >= 0 {
			hosts = append(hosts, host)
		}
	}
	hosts = slices.DeleteFunc(hosts, z.distrusts)
	heard := now // all of them
	if !z.open().facts.looked || s.Life.NSAt.Before(z.open().began) {
		heard = time.Time{}
	}
	for _, host := range hosts {
		if at := z.toldSinceSeed(host, now); at.Before(heard) {
			heard = at
		}
	}
	s.Seed = s.Seed.Settle(heard, z.MaxZoneTTL, now)
}

// toldSinceSeed returns when host last told all of its keys, by an announcement or
// by what it serves; zero if it has not since the zone was seeded, or so long ago that
// it may have had others since.
func (z *zone) toldSinceSeed(host string, now time.Time) time.Time {
	s := z.open().facts.state
	var at time.Time
	every := z.RefreshMax
	if i := peer(s.Peers, host); i >= 0 {
		p := s.Peers[i] // it may come from a resolver's cache
		if !p.Collected.Add(-p.Announcement.TTL).Before(s.Seed.At) {
			at, every = p.Collected, z.every(p.Announcement.TTL)
		}
	} else if slices.Contains(z.open().facts.explained, host) {
		at = z.open().outside.look.At
	}
	if now.Sub(at) > lifecycle.Gap(every) {
		return time.Time{}
	}
	return at
}

// knownOwn returns our keys as far as they are known before anything is served.
func (z *zone) knownOwn() []merge.Key {
	ours := ids(z.open().facts.files)
	for _, o := range z.open().facts.state.Own {
		ours = append(ours, o.Key)
	}
	return ours
}

// refsOf returns the tags of keys for a message.
func refsOf(ks []merge.Key) string {
	if len(ks) == 0 {
		return "none"
	}
	return tags(ks)
}

// others returns the peers whose keys go into the joint sets: those that are
// trusted, and what the zone was seeded with.
func (f facts) others(z *Zone) []merge.Peer {
	peers := f.state.Peers
	if !f.state.Seed.Empty() {
		peers = append(slices.Clone(peers), f.state.Seed.Peer())
	}
	return z.trusted(peers)
}

// bootstrap returns what the bootstrapping announcement of z holds: the joint CDS and
// CDNSKEY, only while the parent provably has no DS, both are complete and all
// nameservers serve them (rule P5, RFC 9615 section 4).
func (d *decision) bootstrap(z *Zone, s lifecycle.State) merge.Announcement {
	j := d.view.joint
	if z.Whole || !s.DSStatus.Absent() || !d.life.Converged || d.view.answer != full || d.view.deleting ||
		len(j.CDNSKEY) == 0 || len(j.Unmatched) > 0 {
		return merge.Announcement{}
	}
	return merge.Announcement{CDNSKEY: j.CDNSKEY, CDS: j.CDS}
}

// deleteSets are what CDS and CDNSKEY hold to ask the parent to remove DS
// (RFC 8078 section 4).
func deleteSets(j merge.Joint) merge.Joint {
	j.CDNSKEY = []merge.Key{{Protocol: 3, PublicKey: "AA=="}}
	j.CDS = []merge.DS{{Digest: "00"}}
	j.Unmatched = nil
	return j
}

// consented returns the part of an announcement that counts, or why none does: of
// a host that no CNS ever named only the keys that the zone's apex there holds,
// too (rule D2).
func (z *zone) consented(host string, a merge.Announcement) (merge.Announcement, error) {
	if z.consents(z.open().facts.state, host) {
		return a, nil
	}
	const only = "it was in no CNS RRset, so that only those of its keys count which the zone's apex there holds, validated from the parent's DS"
	if len(z.open().facts.vouchedBy(host)) == 0 {
		return a, fmt.Errorf("%s, and that has not been seen", only)
	}
	part, left := z.vouchedPart(host, a)
	if len(part.DNSKEY) == 0 || len(part.CDS)+len(part.CDNSKEY) == 0 {
		return a, fmt.Errorf("%s: not %s", only, refTexts(left))
	}
	if len(left) > 0 {
		z.say("consent "+host, levelWarning, "", "of the keys that %s announces, %s do not count: %s", host, refTexts(left), only)
	} else {
		z.settle("consent " + host)
	}
	return part, nil
}

func refTexts(refs []merge.Ref) string {
	var texts []string
	for _, r := range refs {
		texts = append(texts, fmt.Sprint(r.Tag))
	}
	return strings.Join(texts, ", ")
}
