// Package merge computes what a multi-signer zone's apex key sets are: our
// keys and the peers' announcements in, the joint DNSKEY, CDS and CDNSKEY sets
// out (RFC 8901 section 3.2, model 2). Everything here is a pure function of
// its arguments; the caller brings the time, the network and the disk.
package merge

import (
	"slices"
	"time"
)

// Announcement is what one nameserver announces for one zone, after validation
// and policy: its keys by role.
type Announcement struct {
	DNSKEY  []Key // data-signing keys
	CDNSKEY []Key // secure-entry keys whose public half is known
	CDS     []DS  // digests of secure-entry keys, as announced

	// TTL is the longest original TTL of the three RRsets: how long a cache
	// may hold them.
	TTL time.Duration

	// Inception is the newest inception of the RRSIGs accepted for each of
	// the RRsets; of the RRSIG over its denial for one that is not there; zero
	// if unknown. It orders announcements in time, so that an older one
	// replayed can be told (rule F8).
	Inception Inceptions
}

// Inceptions holds one RRSIG inception for each RRset of an announcement.
type Inceptions struct {
	DNSKEY, CDNSKEY, CDS time.Time
}

// Local is our own contribution to the joint sets.
type Local struct {
	DNSKEY      []Key // published keys, whatever their role
	SecureEntry []Key // those that CDS and CDNSKEY name
}

// Joint holds the apex key sets that every provider of the zone has to serve,
// each deduplicated and in canonical order.
type Joint struct {
	DNSKEY  []Key
	CDNSKEY []Key
	CDS     []DS

	// Unmatched are the digests in CDS whose key is not known. While there
	// are any, CDNSKEY cannot be complete and is not served (rule F6).
	Unmatched []DS
}

// sortKeys returns the distinct keys of all sets in canonical order.
func sortKeys(sets ...[]Key) []Key {
	all := slices.Concat(sets...)
	slices.SortFunc(all, CompareKeys)
	return slices.Compact(all)
}
