package lifecycle

import (
	"time"

	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/observe"
)

// State is what is kept of a zone's life. The zero value is that of a zone that
// was never looked at. It is a value: functions return a changed copy.
type State struct {
	Phase Phase // as it was last found

	// ConvergedSince is the first of the looks, without one between that shows
	// otherwise, that found every nameserver serving the joint sets. DSSince is
	// the same for readings of the parent's DS that hold every secure-entry key.
	// ConvergedAt is the last look that confirmed it.
	ConvergedSince time.Time
	ConvergedAt    time.Time
	DSSince        time.Time

	// SyncFrom is the deadline of the wait that began when both came true, and
	// SyncedAt when it was found to be over with both still true. Both are zero
	// when either is lost.
	SyncFrom time.Time
	SyncedAt time.Time

	// The last reading of the parent, each part for itself.
	DSAt     time.Time
	DSStatus observe.DSStatus
	DS       []merge.DS
	NSAt     time.Time
	ParentNS []string

	// AbsentFrom is when no cache holds a DS RRset any more that was there
	// before DS was found to be absent.
	AbsentFrom time.Time

	// What caches hold: the parent's DS, or its absence, the DNSKEY RRset of any
	// nameserver.
	HeldDS   Held
	HeldKeys Held

	Hosts []Host // by name
	Keys  []Key  // of ours
}

// Host is what is remembered of a nameserver that is, or was, in the target, the
// zone's NS or the parent's NS.
type Host struct {
	Name string

	// Heard is when all of it was last heard, Silent since when it has not been;
	// both zero if it was never asked.
	Heard  time.Time
	Silent time.Time

	// KeyTTL is the longest TTL of its DNSKEY RRset in force when it was last
	// heard.
	KeyTTL time.Duration

	// Child and Parent are how long caches may hold an NS RRset that names it,
	// of any nameserver of the zone and of the parent's; Delegated is whether
	// there ever was one. ParentRead says that the parent was read while the
	// host was one of the zone's.
	Child      Held
	Parent     Held
	Delegated  bool
	ParentRead bool

	// ListedBy are the nameservers of the target whose NS RRset named it when
	// they were last heard. Differs says that its own NS was not the target.
	ListedBy []string
	Differs  bool

	// Missing is the first reading that found it in none of target, NS and
	// parent's NS, zero while it is in one. Until is when its hold-down ends,
	// zero for a host that never was in an NS RRset (rule D3).
	Missing time.Time
	Until   time.Time
}

// Key is what is remembered of one of our keys.
type Key struct {
	Key merge.Key

	// Everywhere is the first of the looks, without one between that shows
	// otherwise, that found it in the DNSKEY RRset of every nameserver that is
	// to have it. KnownFrom is when no cache holds a DNSKEY RRset without it any
	// more.
	Everywhere time.Time
	KnownFrom  time.Time

	// DSSince is the first reading of the parent's DS that names it, zero if it
	// does not now; InDSFrom is when no cache holds a DS RRset without it.
	// DSGone is the first reading that no longer names it, GoneFrom when no
	// cache holds one that does. Both are zero for a key that never was there.
	DSSince  time.Time
	InDSFrom time.Time
	DSGone   time.Time
	GoneFrom time.Time
}
