// Package lifecycle holds the rules by which a multi-signer zone changes its
// providers and its keys: what phase the zone is in and what it waits for, whose
// keys are taken in and whose are kept, when the keys of a nameserver that left
// go, and when each of our own keys may take its next step.
//
// Everything here is a pure function of plain values and of the time. What has
// to survive a restart is in [State]. Only what was read moves a zone on, never
// the passing of time alone: a deadline that has passed counts once a reading
// made after it shows that all is still as it has to be.
//
// # Waits
//
// Caches hold an RRset for its Original TTL. When an RRset changes, the one
// before it may have been answered until just before the change was seen, so
// every wait runs from the reading that shows the change, for the longest TTL
// that any reading of this RRset before it may still be cached with (see
// [Held]). Joining waits for max(DS, DNSKEY), replacing a secure-entry key for
// their sum, leaving for NS and then for max(max_zone_ttl, DNSKEY); what comes
// while somebody leaves waits for that, too: these are the waits of RFC 6781 section 4.1, RFC 7583 section 3 and of
// draft-ietf-dnsop-dnssec-automation.
package lifecycle

import (
	"reflect"
	"slices"
	"time"

	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/observe"
)

const (
	// unknownNSTTL is the TTL of a delegation NS RRset that was never read (rule
	// D3): two days, that of .com and the longest in common use.
	unknownNSTTL = 172800 * time.Second

	// patience is how long a nameserver may be silent before that counts: one
	// that is to leave no longer holds up the others, and one that stays is no
	// longer taken to be as it was seen last (section 5).
	patience = time.Hour

	// MaxHosts is the most nameservers of a zone that are remembered: those of
	// ours and the external ones of rule D2, and as many that are leaving.
	MaxHosts = 96
)

// Config is what stays the same while a zone is configured one way.
type Config struct {
	Zone       string   // canonical
	Own        []string // our nameservers
	RefreshMin time.Duration
	RefreshMax time.Duration
	TTL        time.Duration // of the key sets that we publish
	MaxZoneTTL time.Duration // the longest TTL in the zone
}

func (c Config) own(host string) bool { return slices.Contains(c.Own, host) }

// external returns those of hosts that are not ours, sorted, each once.
func (c Config) external(hosts ...[]string) []string {
	return slices.DeleteFunc(union(hosts...), c.own)
}

// fresh is how old what a nameserver said may be to have a host forgotten, and
// notice how long, at least, before NS may gain a host it has to be plain from
// outside that the owner wants it: longer, so that one of two that know of different
// wishes sees the other's. Providers differ in RefreshMin, but the wait is no less
// than the TTL of DNSKEY, too.
func (c Config) fresh() time.Duration  { return 3 * c.RefreshMin }
func (c Config) notice() time.Duration { return 5 * c.RefreshMin }

// gap is the longest time between two looks from outside that still tells of the
// time between them.
func (c Config) gap() time.Duration { return Gap(c.RefreshMax) }

// Gap returns the longest time between two readings that still tells of the time
// between them, of something that is read every so often: one may fail, and a
// server be restarted.
func Gap(every time.Duration) time.Duration { return max(patience, 2*every) }

// Facts are what is known now, beside the [State].
type Facts struct {
	// Began is when the server started: no hold-down ends before the parent
	// was read since then (rule M6). Read says that the zone itself was. Held
	// says that the clock may be ahead, so that none ends.
	Began time.Time
	Read  bool
	Held  bool

	Target []string      // the nameservers that the owner wants (rule D1)
	NS     []string      // the zone's own NS RRset
	NSTTL  time.Duration // its TTL

	Joint   merge.Joint // the sets that we serve
	Former  merge.Joint // those before, if Joint is about to take their place; else the same
	Serving bool        // whether they are served
	Keys    []OwnKey    // our keys in them
	Peers   []string    // the external hosts whose keys are known

	// Missing are the nameservers whose announcements are to be had and are
	// not; each says why in one line.
	Missing []Missing
}

// Missing is a nameserver without an announcement.
type Missing struct {
	Host string
	Why  string
}

// OwnKey is one of our keys in the joint sets.
type OwnKey struct {
	Key       merge.Key
	SignsData bool      // it may sign the zone's data, so that every nameserver needs it
	Published time.Time // since when we serve it
}

// Parent is one reading of the parent. The zero value read nothing.
type Parent struct {
	At       time.Time
	DSFrom   time.Time // when the parent itself may have said so last: a resolver answers from its cache
	DSStatus observe.DSStatus
	DS       []merge.DS
	DSTTL    time.Duration
	NSRead   bool
	NS       []string
	NSTTL    time.Duration
}

// Look is one round of asking the zone's nameservers. The zero value asked
// nobody.
type Look struct {
	At   time.Time
	Seen []Seen // by host
}

// Seen is what one nameserver showed.
type Seen struct {
	Host string

	// Silent says that not all of its addresses were heard, Why which ones.
	Silent bool
	Why    string

	// Lacks are what is not as it has to be where it was heard, a line each.
	Lacks []string

	KeyTTL time.Duration // the longest TTL of its DNSKEY RRsets
	Keys   []merge.Key   // those in every DNSKEY RRset that it was heard to serve
	NS     []string      // all that its NS RRsets name
	CNS    []string      // all that its CNS RRsets name
	NSTTL  time.Duration
}

// Like returns l in the memory of the last look where that showed the same. A
// fleet's looks do again and again.
func (l Look) Like(last Look) Look {
	l.Seen = slices.Clone(l.Seen)
	for i, s := range l.Seen {
		if was, ok := last.seen(s.Host); ok && reflect.DeepEqual(s, was) {
			l.Seen[i] = was
		}
	}
	return l
}

// seen returns what host showed, if it was asked.
func (l Look) seen(host string) (Seen, bool) {
	i := slices.IndexFunc(l.Seen, func(s Seen) bool { return s.Host == host })
	if i < 0 {
		return Seen{}, false
	}
	return l.Seen[i], true
}

// union returns the distinct names of all lists, sorted.
func union(lists ...[]string) []string {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return slices.Compact(all)
}

// latest returns the last of times.
func latest(times ...time.Time) time.Time {
	var last time.Time
	for _, t := range times {
		if t.After(last) {
			last = t
		}
	}
	return last
}

// earliest returns the first of times of which a zero one is none.
func earliest(times ...time.Time) time.Time {
	var first time.Time
	for _, t := range times {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}
