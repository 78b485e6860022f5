package lifecycle

import (
	"slices"
	"time"
)

// nsSet is an NS RRset as it changes.
type nsSet struct {
	hosts []string
	since map[string]time.Time // when a host came or went
}

// newNS is one that has been so for long.
func newNS(hosts ...string) nsSet {
	return nsSet{hosts: hosts, since: make(map[string]time.Time)}
}

func (s *nsSet) set(hosts []string) {
	now := time.Now()
	for _, host := range slices.Concat(s.hosts, hosts) {
		if slices.Contains(s.hosts, host) != slices.Contains(hosts, host) {
			s.since[host] = now
		}
	}
	s.hosts = hosts
}

// settled reports whether host has been in the set, or not been in it, for so
// long that every cache knows.
func (s *nsSet) settled(host string, in bool) bool {
	return slices.Contains(s.hosts, host) == in && time.Since(s.since[host]) > 3*nsTTL*time.Second
}
