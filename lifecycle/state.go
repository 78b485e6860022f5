package lifecycle

import (
	"time"

	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/observe"
)

// State is what is kept of a zone's life. The zero value is that of a zone that
// was never looked at. It is a value: functions return a changed copy.
type State struct {
	Phase Phase `json:",omitzero"` // as it was last found

	// ConvergedSince is the first of the looks, without one between that shows
	// otherwise, that found every nameserver serving the joint sets. DSSince is
	// the same for readings of the parent's DS that hold every secure-entry key.
	// ConvergedAt is the last look that confirmed it.
	ConvergedSince time.Time `json:",omitzero"`
	ConvergedAt    time.Time `json:",omitzero"`
	DSSince        time.Time `json:",omitzero"`

	// SyncFrom is the deadline of the wait that began when both came true, and
	// SyncedAt when it was found to be over with both still true. Both are zero
	// when either is lost.
	SyncFrom time.Time `json:",omitzero"`
	SyncedAt time.Time `json:",omitzero"`

	// The last reading of the parent, each part for itself.
	DSAt     time.Time        `json:",omitzero"`
	DSFrom   time.Time        `json:",omitzero"` // when the parent itself may have said it last
	DSStatus observe.DSStatus `json:",omitzero"`
	DS       []merge.DS       `json:",omitzero"`
	NSAt     time.Time        `json:",omitzero"`
	ParentNS []string         `json:",omitzero"`

	// Entered is when a secure-entry key last came into the joint sets. What the
	// parent said before tells nothing of it: if DS held it, the parent may have
	// followed since to the sets without it.
	Entered time.Time `json:",omitzero"`

	// Target are the nameservers that the owner was last read to want, Grown is
	// when there was last one more.
	Target []string  `json:",omitzero"`
	Grown  time.Time `json:",omitzero"`

	// AbsentFrom is when no cache holds a DS RRset any more that was read
	// before DS was found to be absent; zero if none was.
	AbsentFrom time.Time `json:",omitzero"`

	// What caches hold: the parent's DS, or its absence, the DNSKEY RRset of any
	// nameserver.
	HeldDS   Held `json:",omitzero"`
	HeldKeys Held `json:",omitzero"`

	Hosts []Host `json:",omitzero"` // by name
	Keys  []Key  `json:",omitzero"` // of ours
}

// Host is what is remembered of a nameserver that is, or was, in the target, the
// zone's NS or the parent's NS.
type Host struct {
	Name string `json:",omitzero"`

	// Heard is when all of it was last heard, Silent since when it has not been;
	// both zero if it was never asked.
	Heard  time.Time `json:",omitzero"`
	Silent time.Time `json:",omitzero"`

	// KeyTTL is the longest TTL of its DNSKEY RRset in force when it was last
	// heard.
	KeyTTL time.Duration `json:",omitzero"`

	// Child and Parent are how long caches may hold an NS RRset that names it,
	// of any nameserver of the zone and of the parent's; Delegated is whether
	// there ever was one. ParentRead says that the parent was read while the
	// host was one of the zone's.
	Child      Held `json:",omitzero"`
	Parent     Held `json:",omitzero"`
	Delegated  bool `json:",omitzero"`
	ParentRead bool `json:",omitzero"`

	// ListedBy are the nameservers of the target whose NS RRset named it when
	// they were last heard. Differs says that its own NS was not the target.
	ListedBy []string `json:",omitzero"`
	Differs  bool     `json:",omitzero"`

	// Clear is when a look last found that no nameserver of the zone names it, in
	// CNS or NS; NamedBy are those whose CNS did when they were last heard.
	Clear   time.Time `json:",omitzero"`
	NamedBy []string  `json:",omitzero"`

	// Missing is the first reading that found it in none of target, NS and
	// parent's NS, zero while it is in one. Until is when its hold-down ends,
	// zero for a host that never was in an NS RRset (rule D3).
	Missing time.Time `json:",omitzero"`
	Until   time.Time `json:",omitzero"`
}

// Key is what is remembered of one of our keys.
type Key struct {
	Key merge.Key `json:",omitzero"`

	// Everywhere is the first of the looks, without one between that shows
	// otherwise, that found it in the DNSKEY RRset of every nameserver that is
	// to have it. KnownFrom is when no cache holds a DNSKEY RRset without it any
	// more.
	Everywhere time.Time `json:",omitzero"`
	KnownFrom  time.Time `json:",omitzero"`

	// DSSince is the first reading of the parent's DS that names it, zero if it
	// does not now; InDSFrom is when no cache holds a DS RRset without it.
	// DSGone is the first reading that no longer names it, GoneFrom when no
	// cache holds one that does. Both are zero for a key that never was there.
	DSSince  time.Time `json:",omitzero"`
	InDSFrom time.Time `json:",omitzero"`
	DSGone   time.Time `json:",omitzero"`
	GoneFrom time.Time `json:",omitzero"`
}
