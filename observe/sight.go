package observe

import (
	"net/netip"
	"time"

	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/validate"
)

// Sight is what a zone looks like from outside at one time. The zero value has
// seen nothing.
type Sight struct {
	Zone string // canonical

	// At is when the last answer had come: what a Sight shows was in place
	// everywhere by then, and signatures were verified for then.
	At time.Time

	Parent  Parent
	Servers []Server // by host

	// NS and CNS are what the zone says of its nameservers as resolvers see it.
	// Only [Observer.Explore] asks.
	NS, CNS Resolved

	// Skipped are hosts past the limit of [MaxHosts], which were not looked at.
	Skipped []string
}

// Resolved is an RRset of host names as it comes through the resolvers.
type Resolved struct {
	Status validate.Status // Indeterminate: it was not asked, or not answered
	Hosts  []string        // in order, none if there is no such RRset
	TTL    time.Duration   // Original TTL, zero without hosts
	Err    error           // why it is Indeterminate or Bogus
}

// DSStatus is what is known of the parent's DS RRset.
type DSStatus uint8

// The states of the DS RRset.
const (
	// DSUnread is the zero DSStatus: it could not be read, or what was read is
	// bogus. Nothing follows from it.
	DSUnread DSStatus = iota
	// DSPresent: there are DS records, validated.
	DSPresent
	// DSDenied: the parent, which is secure, proves that there are none.
	DSDenied
	// DSInsecure: no chain of trust leads to the zone, as is proved further up
	// or by an NSEC3 with opt-out (RFC 5155 section 6).
	DSInsecure
)

// Absent reports whether no resolver can validate the zone from its DS: that is
// proved, not assumed.
func (s DSStatus) Absent() bool { return s == DSDenied || s == DSInsecure }

// String returns the status in lower case.
func (s DSStatus) String() string {
	switch s {
	case DSPresent:
		return "present"
	case DSDenied:
		return "denied"
	case DSInsecure:
		return "insecure"
	}
	return "unread"
}

// Parent is what the parent zone says of the zone. DS and NS are read, or not,
// each on its own: what was not read has not changed (rule D3).
type Parent struct {
	// Name is the parent zone, "" if it was not found. The root has none.
	Name string

	DSStatus DSStatus
	DS       []merge.DS    // sorted
	DSTTL    time.Duration // Original TTL of DS or of its denial: how long caches keep it
	DSAge    time.Duration // how long ago the resolver may have asked the parent for it
	DSErr    error         // why DSStatus is DSUnread

	// NS is the union of what the parent's servers delegate to, in order; NSTTL
	// the longest of their TTLs.
	NS    []string
	NSTTL time.Duration

	// NSRead says that NS can be relied on to be all: at least one of the
	// parent's nameservers was heard, and no more are silent than were heard. A
	// silent one may delegate to others, but to nobody that cannot hear it
	// either; to wait for all would let one dead server of a parent keep all
	// its zones' providers from leaving.
	NSRead bool

	Servers []ParentServer // by host and address
}

// ParentServer is what one address of one of the parent's nameservers says of
// the delegation.
type ParentServer struct {
	Host string
	Addr netip.Addr // zero if no address of Host was found

	NS  []string // in order; none if it does not delegate the zone
	TTL time.Duration

	// Child says that this server has the zone itself, so that NS is the
	// zone's own RRset: resolvers that ask here never see the delegation.
	Child bool

	NoRoute bool  // as in [Address]
	Err     error // it was not heard
}

// Server is one nameserver of the zone.
type Server struct {
	Host      string
	Addresses []Address
	Err       error // why there are no addresses
}

// Address is what one address of a nameserver serves.
type Address struct {
	Addr netip.Addr

	// NoRoute says that this machine has no way to send to the address, as
	// where it has no IPv6. Then nothing is known of it.
	NoRoute bool

	// UDP is what is served to who asks as resolvers do: over UDP, over TCP
	// what comes truncated. TCP is what is served over TCP at once.
	UDP, TCP Apex
}

// Apex is what is served at the zone's apex.
type Apex struct {
	// Err says why the server is of no use: it does not answer, or not with
	// authority. Then nothing else is set.
	Err error

	SOA     Set[uint32] // the serial
	DNSKEY  Set[merge.Key]
	CDNSKEY Set[merge.Key]
	CDS     Set[merge.DS]
	NS      Set[string] // canonical host names
	CNS     Set[string] // canonical host names
}

// Set is one RRset as a server has it.
type Set[T any] struct {
	Records []T // sorted, none if the server has none

	// TTL is the Original TTL, or the TTL of what is not signed and of NS, at
	// most [MaxTTL]; zero without records.
	TTL time.Duration

	// Signers are those of the keys seen, in any server's DNSKEY RRset, whose
	// signature over the RRset verifies.
	Signers []merge.Key

	// Expires is when the last of these signatures expires.
	Expires time.Time

	Err error // it was not answered, so that nothing is known of it
}
