package lifecycle

import (
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/observe"
)

// MaxSeeds bounds the keys of a kind that a zone is seeded with: those of 32
// hosts with one or two each.
const MaxSeeds = 64

// Seed are other providers' keys that a zone which begins cold takes from the
// zone itself (rule M5). They belong to no host.
type Seed struct {
	At      time.Time     `json:",omitzero"` // when they were taken; zero: there was no seed
	DNSKEY  []merge.Key   `json:",omitzero"`
	CDNSKEY []merge.Key   `json:",omitzero"`
	CDS     []merge.DS    `json:",omitzero"`
	TTL     time.Duration `json:",omitzero"` // of the DNSKEY RRset they come from

	// Until is when the DNSKEYs go if their holders are still known by other
	// ways; zero while they are not. The others went when it was set.
	Until time.Time `json:",omitzero"`
}

// Empty reports whether there is no key in s.
func (s Seed) Empty() bool { return len(s.DNSKEY)+len(s.CDNSKEY)+len(s.CDS) == 0 }

// Peer returns s as it goes into the joint sets.
func (s Seed) Peer() merge.Peer {
	return merge.Peer{Announcement: merge.Announcement{DNSKEY: s.DNSKEY, CDNSKEY: s.CDNSKEY, CDS: s.CDS, TTL: s.TTL}}
}

// SeedFrom returns the keys in the vouched for sets that are not ours. That
// there is none is an answer, too. What the sets do not say of secure entries,
// DS says: a provider that serves no CDS wants it to stay as it is.
func SeedFrom(zone string, ours []merge.Key, sets []Vouched, ds []merge.DS, now time.Time) Seed {
	s := Seed{At: now}
	entry := func(d merge.DS) {
		mine := slices.ContainsFunc(ours, func(k merge.Key) bool { return d.Names(zone, k) })
		if !mine && d.Algorithm != 0 && !slices.Contains(s.CDS, d) && len(s.CDS) < MaxSeeds {
			s.CDS = append(s.CDS, d)
		}
	}
	foreign := func(set []merge.Key, k merge.Key) []merge.Key {
		if slices.Contains(ours, k) || slices.Contains(set, k) || len(set) >= MaxSeeds {
			return set
		}
		return append(set, k)
	}
	for _, v := range sets {
		s.TTL = max(s.TTL, v.TTL)
		for _, k := range v.DNSKEY {
			if signs := k.Flags&dns.ZONE != 0 && k.Flags&dns.REVOKE == 0; signs && !slices.Contains(v.Entries, k) {
				s.DNSKEY = foreign(s.DNSKEY, k)
			}
		}
		for _, k := range v.CDNSKEY {
			if k.Algorithm != 0 {
				s.CDNSKEY = foreign(s.CDNSKEY, k)
			}
		}
		wishes := slices.ContainsFunc(v.CDS, func(d merge.DS) bool { return d.Algorithm != 0 }) ||
			slices.ContainsFunc(v.CDNSKEY, func(k merge.Key) bool { return k.Algorithm != 0 })
		for _, d := range v.CDS {
			entry(d)
		}
		if !wishes {
			for _, d := range ds {
				entry(d)
			}
		}
		for _, k := range v.Entries {
			if names(zone, s.CDS, k) {
				s.CDNSKEY = foreign(s.CDNSKEY, k)
			}
		}
	}
	return s
}

// Settle returns s as it is at now. heard is the earliest of the times when every external
// nameserver in NS, and each that was heard before, was last known to tell its keys without
// these, or to serve the joint sets without them; zero if one has not since the zone was seeded,
// or was not heard for long. Once none is left that has not, the secure entries go at once, and
// the DNSKEYs when it was so for as long as caches may hold what they signed and all were heard
// after that (rule M2): whoever is not heard may have taken one up again.
func (s Seed) Settle(heard time.Time, maxZoneTTL time.Duration, now time.Time) Seed {
	switch {
	case s.Empty():
	case heard.IsZero():
		s.Until = time.Time{}
	case s.Until.IsZero():
		s.CDNSKEY, s.CDS = nil, nil
		s.Until = now.Add(maxZoneTTL + s.TTL)
	case !heard.Before(s.Until):
		s.DNSKEY, s.CDNSKEY, s.CDS = nil, nil, nil
		s.Until = time.Time{}
	}
	return s
}

// Explained reports whether a nameserver was heard and every key that it names as
// a secure entry, or signs with, is in the sets known: without a seed there is
// nothing of it that would be missing.
func Explained(zone string, server observe.Server, known merge.Joint) bool {
	heard := apexes(server)
	for _, apex := range heard {
		for _, k := range apex.CDNSKEY.Records {
			if !slices.Contains(known.CDNSKEY, k) {
				return false
			}
		}
		for _, d := range apex.CDS.Records {
			named := slices.ContainsFunc(known.CDNSKEY, func(k merge.Key) bool { return d.Names(zone, k) })
			if !named && !slices.Contains(known.Unmatched, d) {
				return false
			}
		}
		entries := slices.Concat(known.CDNSKEY, known.DNSKEY)
		if apex.DNSKEY.Err != nil || !signedBy(apex.DNSKEY.Signers, entries) || apex.SOA.Err != nil || !signedBy(apex.SOA.Signers, known.DNSKEY) {
			return false
		}
	}
	return len(heard) > 0
}
