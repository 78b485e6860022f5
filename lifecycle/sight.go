package lifecycle

import (
	"fmt"
	"slices"
	"strings"

	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/observe"
)

// LookOf returns what a sight of the nameservers tells about each of them, by
// what the joint sets have to be.
func LookOf(s observe.Sight, joint merge.Joint) Look {
	l := Look{At: s.At}
	silence := s.Silence()
	faults := slices.Concat(s.Crossings(), s.Disagreements())
	if len(joint.CDS) > 0 { // else nothing is known of what they have to be
		faults = append(faults, s.Unanchored(joint.CDS)...)
	}
	for _, server := range s.Servers {
		at := func(f observe.Fault) bool { return f.Place.Host == server.Host }
		seen := Seen{Host: server.Host, Lacks: s.Tell(only(faults, at))}
		why := s.Tell(only(silence, at))
		if !server.Routed() {
			why = append(why, server.Host+" cannot be asked from here: there is no route to any of its addresses")
		}
		seen.Silent, seen.Why = len(why) > 0, strings.Join(why, "; ")
		seen.show(server)
		for _, other := range l.Seen { // nameservers of a zone mostly show the same
			seen.NS, seen.CNS, seen.Keys = like(seen.NS, other.NS), like(seen.CNS, other.CNS), like(seen.Keys, other.Keys)
		}
		l.Seen = append(l.Seen, seen)
	}
	return l
}

// like returns list in the memory of other if that holds the same.
func like[T comparable](list, other []T) []T {
	if slices.Equal(list, other) {
		return other
	}
	return list
}

// Admit returns l with what newcomers lack of keys, those that sign the zone's data
// or may at any time: who has them in use makes sure that the nameservers have them
// which it knows to be the zone's, and it may hear of a newcomer later than we.
func (l Look) Admit(newcomers []string, keys []merge.Key) Look {
	l.Seen = slices.Clone(l.Seen)
	for i := range l.Seen {
		s := &l.Seen[i]
		if s.Silent || !slices.Contains(newcomers, s.Host) {
			continue
		}
		for _, k := range minus(keys, s.Keys) {
			text := fmt.Sprintf("%s: its DNSKEY lacks key %d (%s)", s.Host, k.Tag(), algorithm(k.Algorithm))
			said := func(lack string) bool { return strings.HasPrefix(lack, text) }
			if !slices.ContainsFunc(s.Lacks, said) {
				s.Lacks = append(slices.Clone(s.Lacks), text+", which may come to sign data")
			}
		}
	}
	return l
}

func only(faults []observe.Fault, fits func(observe.Fault) bool) []observe.Fault {
	return slices.DeleteFunc(slices.Clone(faults), func(f observe.Fault) bool { return !fits(f) })
}

// show takes over the keys and nameservers that a host serves.
func (s *Seen) show(server observe.Server) {
	first := true
	for _, apex := range apexes(server) {
		s.KeyTTL, s.NSTTL = max(s.KeyTTL, apex.DNSKEY.TTL), max(s.NSTTL, apex.NS.TTL)
		s.NS, s.CNS = union(s.NS, apex.NS.Records), union(s.CNS, apex.CNS.Records)
		switch {
		case apex.DNSKEY.Err != nil:
		case first:
			s.Keys, first = slices.Clone(apex.DNSKEY.Records), false
		default:
			s.Keys = common(s.Keys, apex.DNSKEY.Records)
		}
	}
}

// apexes returns what a host serves where it was heard.
func apexes(server observe.Server) []observe.Apex {
	var heard []observe.Apex
	for _, a := range server.Addresses {
		for _, apex := range []observe.Apex{a.UDP, a.TCP} {
			if apex.Err == nil && !a.NoRoute {
				heard = append(heard, apex)
			}
		}
	}
	return heard
}
