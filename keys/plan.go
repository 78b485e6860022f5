package keys

import (
	"fmt"
	"slices"
	"time"

	"github.com/coredns-mske/mske/merge"
)

// Facts are what decides, besides the key files, whether a wish of their
// timing metadata can be carried out. With the zero value no secure-entry key
// goes.
type Facts struct {
	// Chain are the keys that the plugin chain publishes or was seen signing
	// with in the last max_zone_ttl (rule K2). None of them leaves DNSKEY.
	Chain []merge.Key
	// ChainUntil is, of those that the plugin chain no longer has, until when
	// caches may need them.
	ChainUntil map[merge.Key]time.Time
	// Signed are the keys that the zone's data is or was signed with. Of any
	// other nothing can be cached, so that it goes as soon as it is to.
	Signed []merge.Key
	// SigningData are those that it is signed with now, by us or by the plugin chain.
	SigningData []merge.Key
	// CachedUntil is until when caches may hold what keys signed that sign the zone's
	// data no more or, if they do now, stop. It does not matter of keys that have none.
	CachedUntil map[merge.Key]time.Time
	// Entries are the keys that CDS named when it was last served, Signing those
	// that signed DNSKEY, Published those that were in it. Whatever has become
	// of their files, the first two only go as secure-entry keys do.
	Entries, Signing, Published []merge.Key
	// MaxZoneTTL is the longest TTL in the zone: for so long a cache may hold
	// a signature of a key that signs no more.
	MaxZoneTTL time.Duration

	// DS is what is known of the parent's DS RRset, and DSAlgorithms those of
	// all digests in it, whosever they are.
	DS           DSState
	DSAlgorithms []uint8
	// KeysTTL is the longest TTL of the DNSKEY RRset in force, at any
	// nameserver. What was answered with a longer one has expired by KeysUntil.
	KeysTTL   time.Duration
	KeysUntil time.Time
	// Seen is what was seen of our keys from outside.
	Seen map[merge.Key]Seen
	// Left says that none of our nameservers is the zone's any more.
	Left bool
}

// DSState is what is known of the parent's DS RRset.
type DSState uint8

// The states of the DS RRset.
const (
	DSUnknown DSState = iota // it was never read
	DSThere
	DSAbsent // provably
)

// Seen is what was seen of one of our keys from outside. A zero time is one that
// is not known, or has not come.
type Seen struct {
	KnownFrom time.Time // no cache holds our DNSKEY RRset without it
	Signing   time.Time // since when it signs DNSKEY
	Signed    time.Time // since when it signs the zone's data
	InDS      time.Time // since when DS names it, zero if it does not
	InDSFrom  time.Time // no cache holds DS without it
	GoneFrom  time.Time // no cache holds DS with it
}

// Schedule is what each key of a zone does at one time.
type Schedule struct {
	Published   []*Key // in our DNSKEY RRset
	Announced   []*Key // in the DNSKEY RRset of our announcements
	SecureEntry []*Key // in CDS and CDNSKEY, both ours and announced
	SignDNSKEY  []*Key // sign the apex key sets
	DataSigning []*Key // sign the zone's data, where mske does
	// Lost have to stay secure entries, but their private halves are gone:
	// signatures that they made before have to do.
	Lost []*Key
	// Go is from when secure-entry keys may leave DNSKEY and sign no more, those
	// that others can take the place of, whether or not they are to.
	Go map[merge.Key]time.Time
	// Why says, a line for each, which wishes of the key files are not
	// carried out.
	Why []string
	// Next is when the first of the times in the key files changes the
	// schedule; zero if none does.
	Next time.Time
}

// Plan returns what ks, the keys of one zone with their roles, do at now
// (rule K3). It only carries out those wishes of the key files that are safe:
// a secure-entry key goes once another can take its place (see entry.go), a key
// of f.Chain stays, a data-signing key is published until the caches have
// forgotten its signatures, and the last one of an algorithm goes on signing.
func Plan(ks []*Key, now time.Time, f Facts) Schedule {
	p := planner{now: now, facts: f}
	for _, k := range ks {
		p.secureEntry(k, ks)
	}
	for _, k := range p.SignDNSKEY {
		p.mayGo(k, ks)
	}
	for _, k := range ks {
		p.activeData(k)
	}
	heirs := p.DataSigning
	for _, k := range ks {
		p.untilKnown(k, heirs)
	}
	p.lastData(ks)
	for _, k := range ks {
		p.publish(k)
	}
	return p.Schedule
}

type planner struct {
	Schedule
	now   time.Time
	facts Facts
}

// reached reports whether at, a time in a key file, is set and has come. It
// notes the ones to come.
func (p *planner) reached(at time.Time) bool {
	if at.IsZero() {
		return false
	}
	if !at.After(p.now) {
		return true
	}
	p.next(at)
	return false
}

func (p *planner) why(k *Key, format string, args ...any) {
	file := ""
	if k.Base != "" {
		file = fmt.Sprintf(" (%s%s)", k.Base, publicExt)
	}
	p.Why = append(p.Why, fmt.Sprintf("%s%s: ", k, file)+fmt.Sprintf(format, args...))
}

// begun reports whether k is to be published, as BIND reads the metadata: a
// key that has none at all always is, one made with "dnssec-keygen -G" never.
func (p *planner) begun(k *Key) bool {
	t := k.Timing
	if t.Publish.IsZero() {
		return !t.Activate.IsZero() || t.Created.IsZero()
	}
	return p.reached(t.Publish)
}

// active reports whether k is to sign, leaving aside when it is to stop.
func (p *planner) active(k *Key) bool {
	t := k.Timing
	if k.Signer == nil || !p.begun(k) {
		return false
	}
	if t.Activate.IsZero() {
		return t.Publish.IsZero() // without it, BIND's is a stand-by key
	}
	return p.reached(t.Activate)
}

func (p *planner) inChain(k *Key) bool { return slices.Contains(p.facts.Chain, k.ID()) }

// activeData decides whether k is to sign the zone's data.
func (p *planner) activeData(k *Key) {
	if k.Role.SignsData() && p.active(k) && !p.reached(stop(k.Timing)) {
		p.DataSigning = append(p.DataSigning, k)
	}
}

// untilKnown lets k, which signs the zone's data and was to stop, go on as long as
// some caches may have none of heirs, the keys that are to: what these sign does not
// validate there.
func (p *planner) untilKnown(k *Key, heirs []*Key) {
	if !slices.Contains(p.facts.SigningData, k.ID()) || slices.Contains(heirs, k) || !k.Role.SignsData() || !p.active(k) {
		return
	}
	var next *Key
	for _, h := range heirs {
		if h.DNSKEY.Algorithm != k.DNSKEY.Algorithm {
			continue
		}
		if p.reached(p.facts.Seen[h.ID()].KnownFrom) || slices.Contains(p.facts.SigningData, h.ID()) {
			return
		}
		next = h
	}
	if next == nil {
		return // see lastData
	}
	p.DataSigning = append(p.DataSigning, k)
	wait := "it was not seen at all nameservers for long enough yet"
	if from := p.facts.Seen[next.ID()].KnownFrom; !from.IsZero() {
		wait = fmt.Sprintf("until %s caches may lack it", rfc3339(from))
	}
	p.why(k, "it was to stop signing at %s, but goes on, since key %d cannot take its place yet: %s", rfc3339(stop(k.Timing)), next.Tag(), wait)
}

// stop returns when a data-signing key is to sign no more; zero for never.
func stop(t Timing) time.Time {
	if t.Inactive.IsZero() || !t.Delete.IsZero() && t.Delete.Before(t.Inactive) {
		return t.Delete
	}
	return t.Inactive
}

// lastData lets the last data-signing key of an algorithm go on while that
// algorithm has a key that signs the DNSKEY RRset (RFC 4035 section 2.2 wants
// every algorithm of DS to sign the data), and the last of all in any case.
func (p *planner) lastData(ks []*Key) {
	for _, entry := range slices.Clone(p.SignDNSKEY) {
		algorithm := entry.DNSKEY.Algorithm
		p.keepLast(ks, func(k *Key) bool { return k.DNSKEY.Algorithm == algorithm })
	}
	p.keepLast(ks, func(*Key) bool { return true })
}

// keepLast makes, if no key of the kind signs data, the one go on that was to
// stop last.
func (p *planner) keepLast(ks []*Key, kind func(*Key) bool) {
	if slices.ContainsFunc(p.DataSigning, kind) {
		return
	}
	var last *Key
	for _, k := range ks {
		if !kind(k) || !k.Role.SignsData() || !p.active(k) {
			continue
		}
		if last == nil || stop(k.Timing).After(stop(last.Timing)) {
			last = k
		}
	}
	if last == nil {
		return
	}
	p.DataSigning = append(p.DataSigning, last)
	p.why(last, "it was to stop signing at %s, but goes on: no other key of ours signs the zone's data with %s",
		rfc3339(stop(last.Timing)), AlgorithmName(last.DNSKEY.Algorithm))
}

// chained says that the plugin chain has k, or until when it matters that it had.
func (p *planner) chained(k *Key) string {
	if until := p.facts.ChainUntil[k.ID()]; !until.IsZero() {
		return fmt.Sprintf(" until %s: the zone was published or signed with it by the plugins behind mske, and caches may hold that until then", rfc3339(until))
	}
	return ": the zone is published or signed with it by the plugins behind mske"
}

// publish decides whether k is in the DNSKEY RRset and is announced there.
func (p *planner) publish(k *Key) {
	chain := p.inChain(k)
	begun, deleted := p.begun(k), p.reached(k.Timing.Delete)
	signs := slices.Contains(p.DataSigning, k)
	if k.Role.SignsData() && (chain || signs || begun && !deleted) {
		p.Announced = append(p.Announced, k)
	}
	switch {
	case begun && !deleted, signs, slices.Contains(p.SignDNSKEY, k), slices.Contains(p.Lost, k):
	case begun && k.Role.SecureEntry() && k.Signer == nil && p.facts.DS == DSUnknown:
		p.why(k, "its Delete time has come or its file has gone, but it stays in DNSKEY: the parent's DS has not been read")
	case chain:
		p.why(k, "it stays in DNSKEY%s", p.chained(k))
	case p.cached(k) && slices.Contains(p.facts.SigningData, k.ID()): // until just now
		p.why(k, "its Delete time has come, but it stays in DNSKEY as long as caches may hold its signatures")
	case p.cached(k):
		p.why(k, "its Delete time has come, but it stays in DNSKEY until %s: caches may hold its signatures until then",
			rfc3339(p.cachedUntil(k)))
	default:
		return
	}
	p.Published = append(p.Published, k)
}

// cached reports whether caches may hold signatures of k, which has stopped
// signing.
func (p *planner) cached(k *Key) bool {
	return slices.Contains(p.facts.Signed, k.ID()) && !p.reached(p.cachedUntil(k))
}

// cachedUntil returns until when they may. It may have signed for longer than its file
// says.
func (p *planner) cachedUntil(k *Key) time.Time {
	until := stop(k.Timing).Add(p.facts.MaxZoneTTL)
	if seen := p.facts.CachedUntil[k.ID()]; seen.After(until) {
		return seen
	}
	return until
}
