package main

import (
	"slices"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/domain"
	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/observe"
)

// phase is where a zone is on its way, as far as can be told from outside.
type phase string

// The phases, in their order; insecure is beside them.
const (
	phaseUnseen     phase = "unseen"     // no nameserver answers
	phaseInsecure   phase = "insecure"   // no DS: nothing validates, NS may change at any time
	phaseSingle     phase = "single"     // one provider
	phaseCollecting phase = "collecting" // an announcement is missing
	phaseJoint      phase = "joint"      // some nameserver does not serve the joint sets
	phaseConverged  phase = "converged"  // whichever nameservers are asked, all validates
	phaseDS         phase = "ds"         // the parent's DS names every secure-entry key
	phaseComplete   phase = "complete"   // NS at child and parent are the target
)

// assessment is what a look at a zone means. It is made of plain values: what
// is printed follows from it.
type assessment struct {
	sight     observe.Sight
	announced map[string]fetch.Result // by host

	target     []string // the nameservers that the owner wants
	targetType uint16   // where that is from: CNS, or NS where there is none
	providers  []provider
	keys       []keyRow

	phase     phase
	converged bool

	obstacles []observe.Fault // what keeps the zone from being converged
	waiting   []observe.Fault // announced keys that some nameserver does not serve yet
	lackDS    []observe.Entry // secure-entry keys that the parent's DS does not name
	excessDS  []merge.DS      // DS records that no nameserver's CDS or DNSKEY calls for
	leaving   []string        // in NS at child or parent, but not in the target
}

// typeCNS stands for CNS, whatever its type number, in an assessment.
const typeCNS = 0

// exitStatus is that of the command.
func (a assessment) exitStatus() int {
	switch {
	case a.phase == phaseUnseen:
		return exitUsage
	case a.converged:
		return exitOK
	}
	return exitFailed
}

// assess works out what was seen. The announcements are in the order of the
// sight's servers.
func assess(sight observe.Sight, announced []fetch.Result) assessment {
	a := assessment{sight: sight, announced: make(map[string]fetch.Result)}
	for i, server := range sight.Servers {
		if i < len(announced) {
			a.announced[server.Host] = announced[i]
		}
	}
	a.target, a.targetType = target(sight)
	a.providers = groupProviders(sight, a.announced)
	a.leaving = a.leavers()

	entries := a.entries()
	a.obstacles = a.findObstacles(entries)
	a.waiting = a.findWaiting()
	for _, e := range entries {
		if !slices.ContainsFunc(sight.Parent.DS, func(d merge.DS) bool { return isOf(sight.Zone, d, e) }) {
			a.lackDS = append(a.lackDS, e)
		}
	}
	for _, d := range sight.Parent.DS {
		if !slices.ContainsFunc(entries, func(e observe.Entry) bool { return isOf(sight.Zone, d, e) }) && len(entries) > 0 {
			a.excessDS = append(a.excessDS, d)
		}
	}
	a.phase = a.findPhase()
	a.keys = a.keyRows(entries)
	a.recall(newMemory())
	return a
}

// target returns the nameservers that the owner wants. The nameservers' own CNS
// counts before what a resolver may remember.
func target(s observe.Sight) (hosts []string, from uint16) {
	if hosts = s.ChildCNS(); len(hosts) == 0 {
		hosts = s.CNS.Hosts
	}
	if len(hosts) > 0 {
		return hosts, typeCNS
	}
	if hosts = s.ChildNS(); len(hosts) == 0 {
		hosts = s.NS.Hosts
	}
	return hosts, dns.TypeNS
}

// leavers returns the nameservers that are still in NS, but not wanted.
func (a assessment) leavers() []string {
	if len(a.target) == 0 {
		return nil
	}
	hosts := slices.Concat(a.sight.ChildNS(), a.sight.Parent.NS)
	slices.SortFunc(hosts, domain.Compare)
	hosts = slices.DeleteFunc(hosts, func(h string) bool { return slices.Contains(a.target, h) })
	return slices.Compact(hosts)
}

// entries returns the secure-entry keys that CDS and CDNSKEY name anywhere.
func (a assessment) entries() []observe.Entry {
	return slices.DeleteFunc(a.sight.Entries(), func(e observe.Entry) bool { return e == observe.Entry{} })
}

// isOf reports whether d names the entry.
func isOf(zone string, d merge.DS, e observe.Entry) bool {
	if e.Key == (merge.Key{}) {
		return d == e.DS
	}
	return observe.Names(zone, d, e.Key)
}

// findObstacles returns what keeps the zone from being converged. Without CDS
// anywhere, as where providers share a zone by other means, there is no joint DS
// that the DNSKEY RRsets could be held against, but for the one that there is.
func (a assessment) findObstacles(entries []observe.Entry) []observe.Fault {
	failing := a.sight.Failing()
	if !a.signed() {
		return append(failing, a.sight.Silence()...)
	}
	faults := append(failing, a.sight.Obstacles(a.sight.JointDS())...)
	faults = slices.DeleteFunc(faults, a.excused)
	if len(entries) == 0 {
		faults = slices.DeleteFunc(faults, func(f observe.Fault) bool { return f.Kind == observe.Unanchored })
	}
	for _, host := range a.target {
		for _, k := range a.announced[host].Announcement.CDNSKEY {
			if !slices.Contains(entries, observe.Entry{Key: k}) {
				faults = append(faults, observe.Fault{Place: observe.Place{Host: host}, Kind: observe.Lacking, Type: dns.TypeCDS, Key: k.Ref()})
			}
		}
	}
	return faults
}

// excused reports whether the fault keeps nothing back: a nameserver that is to
// leave and does not answer any more harms nobody who asks another.
func (a assessment) excused(f observe.Fault) bool {
	server, ok := a.sight.Server(f.Place.Host)
	return ok && f.Kind == observe.Silent && !server.Answers() && slices.Contains(a.leaving, server.Host)
}

// findWaiting returns where a data-signing key that the target's nameservers
// announce is not served, besides those that already sign.
func (a assessment) findWaiting() []observe.Fault {
	var keys []merge.Key
	for _, host := range a.target {
		keys = append(keys, a.announced[host].Announcement.DNSKEY...)
	}
	return slices.DeleteFunc(a.sight.Missing(keys), func(f observe.Fault) bool {
		return slices.ContainsFunc(a.obstacles, func(o observe.Fault) bool {
			return o.Kind == observe.Unverifiable && o.Place == f.Place && o.Key == f.Key
		})
	})
}

// signed reports whether any nameserver has a DNSKEY RRset.
func (a assessment) signed() bool {
	return slices.ContainsFunc(a.sight.Servers, func(s observe.Server) bool {
		return slices.ContainsFunc(s.Addresses, func(addr observe.Address) bool {
			return len(addr.UDP.DNSKEY.Records) > 0 || len(addr.TCP.DNSKEY.Records) > 0
		})
	})
}

// findPhase also sets whether the zone is converged.
func (a *assessment) findPhase() phase {
	p := a.sight.Parent
	single := len(a.providers) < 2
	a.converged = a.signed() && !single && len(a.obstacles) == 0
	switch {
	case !slices.ContainsFunc(a.sight.Servers, observe.Server.Answers):
		return phaseUnseen
	case p.DSStatus.Absent() || !a.signed() && p.DSStatus != observe.DSPresent:
		return phaseInsecure
	case single && a.signed():
		return phaseSingle
	case !a.converged && a.signed() && len(a.unannounced()) > 0:
		return phaseCollecting
	case !a.converged:
		return phaseJoint
	case p.DSStatus != observe.DSPresent || len(a.lackDS) > 0:
		return phaseConverged
	case len(a.delegation()) > 0 || !p.NSRead || !slices.Equal(p.NS, a.target):
		return phaseDS
	}
	return phaseComplete
}

// delegation returns where the zone's own NS is not the target.
func (a assessment) delegation() []observe.Fault { return a.sight.NSFaults(a.target) }

// unannounced returns the nameservers of the target whose announcement is
// missing, but for those that serve what they should all the same: plain
// secondaries of a signer.
func (a assessment) unannounced() []string {
	var hosts []string
	for _, host := range a.target {
		if a.announced[host].Verdict == fetch.Secure || a.faultless(host) {
			continue
		}
		hosts = append(hosts, host)
	}
	return hosts
}

// faultless reports whether the host serves the zone, and no fault is there or
// about it.
func (a assessment) faultless(host string) bool {
	server, ok := a.sight.Server(host)
	return ok && server.Answers() && !slices.ContainsFunc(a.obstacles, func(f observe.Fault) bool {
		return f.Place.Host == host || f.Name == host
	})
}
