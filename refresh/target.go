package refresh

import (
	"slices"
	"time"

	"github.com/coredns-mske/mske/announce"
	"github.com/coredns-mske/mske/chain"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/store"
)

// target returns the nameservers that the owner of the zone wants (rule D1): by
// default those in its own NS RRset, ns.
func target(z *Zone, l chain.Look, ns []string) []string {
	switch {
	case len(z.CNS) > 0:
		return z.CNS
	case l.HasCNS:
		return l.CNS
	}
	return ns
}

// external returns those of hosts that are not ours, sorted.
func (z *Zone) external(hosts []string) []string {
	var ext []string
	for _, h := range hosts {
		if !z.own(h) {
			ext = append(ext, h)
		}
	}
	slices.Sort(ext)
	return slices.Compact(ext)
}

// imported returns the hosts that were imported under a CNS RRset (rule D2):
// those in one now and, of the earlier ones, those that the zone is still
// delegated to or whose keys are still kept.
func (z *Zone) imported(s store.Zone, cns []string) []string {
	hosts := slices.Clone(cns)
	for _, h := range s.Imported {
		if slices.Contains(s.NS, h) || peer(s.Peers, h) >= 0 {
			hosts = append(hosts, h)
		}
	}
	return clip(z.external(hosts))
}

// consents reports whether new keys of host are taken as it announces them: it
// is in CNS, or was (rule D2).
func (z *Zone) consents(s store.Zone, host string) bool {
	cns := len(z.CNS) > 0 || s.HasCNS
	return cns && slices.Contains(s.Target, host) || slices.Contains(s.Imported, host)
}

// imports returns the hosts that new keys are taken from (rule D2): the
// external ones in CNS, and those in the zone's NS, of which keys that no CNS
// consented to count in part, see life.go. Beyond the most that are dealt with,
// those whose keys are known come first, and then those with consent; the others
// are returned as excess.
func (z *Zone) imports(s store.Zone) (hosts, excess []string) {
	var wanted []string
	for _, h := range z.external(slices.Concat(s.Target, s.NS)) {
		if !z.distrusts(h) && (z.consents(s, h) || z.Outside != nil) {
			wanted = append(wanted, h)
		}
	}
	slices.SortStableFunc(wanted, func(a, b string) int { return second(z.consents(s, a)) - second(z.consents(s, b)) })
	room := store.MaxHosts - len(s.Peers)
	for _, h := range wanted {
		switch known := peer(s.Peers, h) >= 0; {
		case known:
			hosts = append(hosts, h)
		case room > 0:
			hosts = append(hosts, h)
			room--
		default:
			excess = append(excess, h)
		}
	}
	return hosts, excess
}

func second(first bool) int {
	if first {
		return 0
	}
	return 1
}

// incapable returns why no announcement of host can exist (rule P2), or nil.
func (z *Zone) incapable(host string) error {
	_, err := announce.Name(z.Name, host)
	return err
}

// peer returns the index of host in peers, or -1.
func peer(peers []merge.Peer, host string) int {
	return slices.IndexFunc(peers, func(p merge.Peer) bool { return p.Host == host })
}

func peerHosts(peers []merge.Peer) []string {
	var hosts []string
	for _, p := range peers {
		hosts = append(hosts, p.Host)
	}
	return hosts
}

// clip returns at most as many hosts as can be stored.
func clip(hosts []string) []string { return hosts[:min(len(hosts), store.MaxNames)] }

// observe returns s with what a look showed of the owner's wishes, and whether
// these changed, so that a collection has to start (rule D4).
func (z *Zone) observe(s store.Zone, l chain.Look, now time.Time) (_ store.Zone, changed bool) {
	was := s.NS
	s = z.ownNS(s, clip(l.NS))
	wanted := clip(target(z, l, s.NS))
	changed = !slices.Equal(s.Target, wanted) || !slices.Equal(s.NS, was) || s.HasCNS != l.HasCNS
	s.Target, s.NSTTL = wanted, l.NSTTL
	s.HasCNS, s.HasCSYNC = l.HasCNS, l.HasCSYNC
	cns := z.CNS
	if len(cns) == 0 {
		cns = l.CNS
	}
	s.Imported = z.imported(s, cns)
	s.Own = observeOwn(s.Own, l, now)
	s.Signers = l.Signers
	return s, changed
}
