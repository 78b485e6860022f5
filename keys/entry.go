package keys

import (
	"fmt"
	"slices"
	"time"

	"github.com/coredns-mske/mske/merge"
)

// exit is how far a secure-entry key is to go.
type exit uint8

const (
	stays      exit = iota
	leavesCDS       // from CDS and CDNSKEY
	stopsSigns      // and it is to sign no more
	leavesAll       // and to leave DNSKEY
)

// wish returns how far k is to go, and what says so.
func (p *planner) wish(k *Key) (exit, string) {
	t := k.Timing
	switch {
	case k.Gone:
		return leavesAll, "its file has gone"
	case p.reached(t.Delete):
		return leavesAll, "its Delete time has come"
	case p.reached(t.Inactive):
		return stopsSigns, "its Inactive time has come"
	case k.Signer == nil:
		return leavesAll, "its private half is gone"
	case !p.active(k):
		return stopsSigns, "its file no longer says that it signs"
	case p.reached(t.SyncDelete):
		return leavesCDS, "its SyncDelete time has come"
	case !t.SyncPublish.IsZero() && !p.reached(t.SyncPublish):
		return leavesCDS, "its SyncPublish time is to come"
	}
	return stays, ""
}

// secureEntry decides what k, one of ks, does as a secure-entry key. A key that
// does not sign the DNSKEY RRset is not in CDS.
//
// One that is to go leaves CDS first, once another key of ours is in DS and no
// cache holds our DNSKEY RRset without that one's signature: from then on the parent may
// take the old DS away at any moment. It signs DNSKEY until no cache holds a DS
// RRset from before the other came, and for the DNSKEY TTL more; where no key in
// DS shares its algorithm, until none holds one with its own DS, since some
// resolvers want every algorithm in DS to sign (RFC 6840 section 5.11, RFC 6781
// section 4.1.4).
func (p *planner) secureEntry(k *Key, ks []*Key) {
	in := slices.Contains(p.facts.Entries, k.ID())
	was := in || slices.Contains(p.facts.Signing, k.ID())
	if !k.Role.SecureEntry() || !p.active(k) && !was {
		return
	}
	far, because := p.wish(k)
	if far == stays || far == leavesCDS && !in && !p.reached(k.Timing.SyncDelete) {
		p.enter(k, in, far == stays)
		return
	}
	seen := p.facts.Seen[k.ID()]
	if !was && far > leavesCDS && p.facts.DS != DSUnknown && seen.InDS.IsZero() && !slices.Contains(p.facts.Published, k.ID()) {
		return // its time was over before we had it
	}
	heirs, wait := p.heirs(k, ks)
	if len(heirs) == 0 {
		p.keep(k, true)
		p.why(k, "%s, but it stays in DNSKEY and CDS and signs: %s%s", because, wait, lostWithFile(k))
		return
	}
	if far == leavesCDS {
		p.keep(k, false)
		return
	}
	switch from, wait := p.goes(k, heirs); {
	case wait != "":
		p.keep(k, false)
		p.why(k, "%s and it has left CDS, but it stays in DNSKEY and signs %s%s", because, wait, lostWithFile(k))
	case p.inChain(k) && k.Signer != nil:
		p.keep(k, false)
		p.why(k, "%s and it has left CDS, but it stays in DNSKEY and signs%s", because, p.chained(k))
	case from.After(p.now):
		p.keep(k, false)
		p.next(from)
		p.why(k, "%s and it has left CDS, but it stays in DNSKEY and signs until %s: caches may hold DS as it was until then%s", because, rfc3339(from), lostWithFile(k))
	}
}

func lostWithFile(k *Key) string {
	if !k.Gone || k.Signer == nil {
		return ""
	}
	return "; put its file back, since after a restart it cannot sign"
}

// enter lets k sign DNSKEY and, if it is to and may, be in CDS. A key that is
// there stays.
func (p *planner) enter(k *Key, in, cds bool) {
	p.SignDNSKEY = append(p.SignDNSKEY, k)
	if !cds {
		return
	}
	if wait := p.newAlgorithm(k); wait != "" && !in {
		p.why(k, "it signs DNSKEY, but is not in CDS yet: %s", wait)
		return
	}
	p.SecureEntry = append(p.SecureEntry, k)
}

// keep lets k go on signing DNSKEY, with its stored signatures if there is no
// private half, and stay in CDS.
func (p *planner) keep(k *Key, cds bool) {
	if k.Signer == nil {
		p.Lost = append(p.Lost, k)
	} else {
		p.SignDNSKEY = append(p.SignDNSKEY, k)
	}
	if cds {
		p.SecureEntry = append(p.SecureEntry, k)
	}
}

// heirs returns the keys that can take the place of k, or what is waited for.
func (p *planner) heirs(k *Key, ks []*Key) (heirs []*Key, wait string) {
	if p.facts.DS == DSUnknown {
		return nil, "the parent's DS has not been read, so whether another key can take its place is not known"
	}
	if p.facts.Left && p.facts.DS == DSThere {
		// What the parent has of our keys is up to the others, who go by what
		// we announced while we were one of them.
		return nil, "our nameservers are none of the zone's any more, so that nobody learns of a key that is to take its place"
	}
	wait = "no other key of ours that is to stay signs DNSKEY"
	for _, h := range ks {
		if far, _ := p.wish(h); h.ID() == k.ID() || !h.Role.SecureEntry() || far != stays {
			continue
		}
		switch seen := p.facts.Seen[h.ID()]; {
		case p.facts.DS == DSAbsent:
			heirs = append(heirs, h)
		case seen.InDS.IsZero():
			wait = fmt.Sprintf("the parent's DS does not name key %d, which is to take its place, yet", h.Tag())
		case seen.KnownFrom.IsZero() || seen.Signing.IsZero():
			wait = fmt.Sprintf("key %d, which is to take its place, was not seen in DNSKEY at all of our nameservers yet", h.Tag())
		case p.signedFrom(seen).After(p.now):
			p.next(p.signedFrom(seen))
			wait = fmt.Sprintf("until %s caches may hold a DNSKEY RRset without key %d, which is to take its place, or its signature", rfc3339(p.signedFrom(seen)), h.Tag())
		default:
			heirs = append(heirs, h)
		}
	}
	return heirs, wait
}

// signedFrom returns from when no cache holds our DNSKEY RRset without a key's
// signature. A key may have been in it for long before it signs.
func (p *planner) signedFrom(seen Seen) time.Time {
	if from := p.keysFrom(seen.Signing); from.After(seen.KnownFrom) {
		return from
	}
	return seen.KnownFrom
}

// keysFrom returns from when no cache holds a DNSKEY RRset that was served before a
// time.
func (p *planner) keysFrom(at time.Time) time.Time {
	if from := at.Add(p.facts.KeysTTL); from.After(p.facts.KeysUntil) {
		return from
	}
	return p.facts.KeysUntil
}

// goes returns from when k, which has heirs, need not sign any more, or what is
// waited for without knowing until when.
func (p *planner) goes(k *Key, heirs []*Key) (from time.Time, wait string) {
	seen := p.facts.Seen[k.ID()]
	if p.facts.DS == DSThere {
		for _, h := range heirs {
			at := p.facts.Seen[h.ID()].InDSFrom
			if h.DNSKEY.Algorithm == k.DNSKEY.Algorithm && !at.IsZero() && (from.IsZero() || at.Before(from)) {
				from = at
			}
		}
	}
	if from.IsZero() {
		if from = seen.GoneFrom; from.IsZero() {
			return from, "until the parent's DS no longer names it, since no other key of ours there has its algorithm"
		}
	}
	return p.keysFrom(from), ""
}

// mayGo notes from when k, one of ks, may go.
func (p *planner) mayGo(k *Key, ks []*Key) {
	next := p.Next // nothing changes then unless it is to
	heirs, _ := p.heirs(k, ks)
	if from, wait := p.goes(k, heirs); len(heirs) > 0 && wait == "" {
		if p.Go == nil {
			p.Go = make(map[merge.Key]time.Time)
		}
		p.Go[k.ID()] = from
	}
	p.Next = next
}

// newAlgorithm returns what CDS has to wait for before it names k, because DS has
// no key of its algorithm yet: some resolvers want everything signed with every
// algorithm in DS, so DNSKEY and the zone's data have to be, in every cache
// (RFC 6781 section 4.1.4). It returns "" if it need not wait.
func (p *planner) newAlgorithm(k *Key) string {
	algorithm := k.DNSKEY.Algorithm
	same := func(e merge.Key) bool { return e.Algorithm == algorithm }
	switch {
	case p.facts.DS == DSUnknown && len(p.facts.Entries) > 0 && !slices.ContainsFunc(p.facts.Entries, same):
		return "the parent's DS has not been read, so whether it has a key of the same algorithm is not known"
	case p.facts.DS != DSThere, slices.Contains(p.facts.DSAlgorithms, algorithm):
		return ""
	}
	var signed time.Time
	for id, seen := range p.facts.Seen {
		if id.Algorithm == algorithm && !seen.Signed.IsZero() && (signed.IsZero() || seen.Signed.Before(signed)) {
			signed = seen.Signed
		}
	}
	known, name := p.facts.Seen[k.ID()].KnownFrom, AlgorithmName(algorithm)
	switch {
	case signed.IsZero():
		return fmt.Sprintf("no key in the parent's DS is of %s, and the zone's data is not signed with that", name)
	case known.IsZero():
		return fmt.Sprintf("no key in the parent's DS is of %s, and it was not seen in DNSKEY at all of our nameservers yet", name)
	}
	from := signed.Add(p.facts.MaxZoneTTL)
	if known.After(from) {
		from = known
	}
	if !from.After(p.now) {
		return ""
	}
	p.next(from)
	return fmt.Sprintf("no key in the parent's DS is of %s, and until %s caches may hold what is not signed with that", name, rfc3339(from))
}

// next notes a time that changes the schedule.
func (p *planner) next(at time.Time) {
	if p.Next.IsZero() || at.Before(p.Next) {
		p.Next = at
	}
}

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Stored returns a secure-entry key of ours of which nothing is left but what it
// signed: its files were gone when the server started.
func Stored(zone string, k merge.Key, role Role) *Key {
	long := time.Unix(1, 0)
	return &Key{DNSKEY: k.DNSKEY(zone, 0), Role: role, Override: true, Gone: true,
		Timing: Timing{Created: long, Publish: long, Delete: long}}
}
