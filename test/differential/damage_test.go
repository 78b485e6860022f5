package differential

import (
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
)

// effect is what a damage does to the answers it is about.
type effect string

const (
	breaks     effect = "bogus"    // some answer has to be bogus
	downgrades effect = "insecure" // some answer has to be insecure, or bogus
	harmless   effect = "none"     // all answers stay what they are
	anything   effect = "any"      // it depends
)

// damage is one way in which a world can be wrong. Its hooks are called in
// turn, with a secure zone; file and message report whether there was anything
// to damage.
type damage struct {
	name    string
	effect  effect
	fits    func(h *hit) bool // whether the zone is one for it; nil: all are
	plan    func(h *hit)      // changes keys and DS before anything is signed
	file    func(h *hit) bool // changes the records of zone files
	message func(h *hit) bool // sets the world's tamper
}

// damages returns all there are.
func damages() []damage {
	return slices.Concat(signatureDamages, contentDamages, keyDamages, dsDamages, denialDamages, replayDamages, messageDamages)
}

// undamaged is how often a world is left as it is: one in that many.
const undamaged = 4

// damageOf returns the damage of a case, nil if it has none.
func damageOf(number int) *damage {
	if number%undamaged == 0 {
		return nil
	}
	all := damages()
	return &all[(number-number/undamaged-1)%len(all)]
}

// rrset is an RRset of a zone file.
type rrset = lab.RRset

// hit is a damage about to be done to a zone.
type hit struct {
	*world
	z *zone
}

// plan chooses the zone to damage, and does what has to be done early.
func (w *world) plan() bool {
	if w.damage == nil {
		return true
	}
	var candidates []*zone
	for _, z := range w.zones {
		if z.secure() && (w.damage.fits == nil || w.damage.fits(&hit{w, z})) {
			candidates = append(candidates, z)
		}
	}
	if len(candidates) == 0 {
		return false
	}
	w.damaged = pick(w.rng, candidates)
	if w.damage.plan != nil {
		w.damage.plan(&hit{w, w.damaged})
	}
	return true
}

// inflict does what is left to be done.
func (w *world) inflict() bool {
	if w.damage == nil {
		return true
	}
	h := &hit{w, w.damaged}
	return (w.damage.file == nil || w.damage.file(h)) && (w.damage.message == nil || w.damage.message(h))
}

// about adds a question that the damage is about.
func (h *hit) about(name string, qtype uint16) { h.targets = append(h.targets, question{name, qtype}) }

// signals says whether the zone holds the announcement.
func (h *hit) signals() bool { return h.z == h.holder }

// data returns a random RRset of the zone that a question is about.
func (h *hit) data() *rrset {
	at := question{h.z.at("www"), dns.TypeA}
	switch {
	case h.signals() && h.chance(60):
		at = question{h.owner, pick(h.rng, announcement)}
	default:
		at = pick(h.rng, []question{at, {h.z.at("text"), dns.TypeTXT}, {h.z.at("single"), dns.TypeA}, {h.z.name, dns.TypeTXT},
			{h.z.name, dns.TypeSOA}, {h.z.at("zero"), dns.TypeA}, {h.z.at("host.wild"), dns.TypeTXT}})
	}
	set := h.z.set(at.name, at.qtype)
	if set == nil || len(set.Sigs) == 0 {
		set, at = h.z.set(h.z.at("single"), dns.TypeA), question{h.z.at("single"), dns.TypeA}
	}
	h.about(at.name, at.qtype)
	return set
}

// inside adds a question about the zone's data, for damages of its chain.
func (h *hit) inside() {
	h.about(h.z.at("single"), dns.TypeA)
	if h.signals() {
		for _, qtype := range announcement {
			h.about(h.owner, qtype)
		}
	}
}

// resign signs an RRset of the zone anew.
func (h *hit) resign(set *rrset, edits ...func(*dns.RRSIG)) {
	set.Sigs = h.signed(set.RRs, edits...)
}

// signed returns the signatures by the zone's keys.
func (h *hit) signed(rrs []dns.RR, edits ...func(*dns.RRSIG)) []dns.RR {
	var sigs []dns.RR
	for _, k := range h.z.signers(rrs[0].Header().Name, rrs[0].Header().Rrtype) {
		sigs = append(sigs, h.z.built.SignWith(k.Key, rrs, edits...))
	}
	return sigs
}

// below says whether the zone has a parent in its world.
func (h *hit) below() bool { return h.z.parent != nil }

// provable says whether the zone's denials are proofs to us.
func (h *hit) provable() bool { return h.z.provable() }

// belowProvable says whether the zone's and its parent's are.
func (h *hit) belowProvable() bool { return h.provable() && h.below() && h.z.parent.provable() }

// hashes says whether they are NSEC3.
func (h *hit) hashes() bool { return h.provable() && h.z.denial == lab.NSEC3 }

// elsewhere says whether there is another secure zone beside.
func (h *hit) elsewhere() bool { return h.other() != nil }

// other returns another secure zone, no ancestor nor descendant of the zone,
// or nil.
func (h *hit) other() *zone {
	for _, z := range h.zones {
		if z.secure() && !dns.IsSubDomain(z.name, h.z.name) && !dns.IsSubDomain(h.z.name, z.name) {
			return z
		}
	}
	return nil
}

// expired makes an RRSIG that was valid until three days ago.
func expired(now time.Time) func(*dns.RRSIG) {
	return valid(now.Add(-30*24*time.Hour), now.Add(-3*24*time.Hour))
}

// valid makes an RRSIG that is valid in that time.
func valid(inception, expiration time.Time) func(*dns.RRSIG) {
	return func(sig *dns.RRSIG) {
		sig.Inception, sig.Expiration = uint32(inception.Unix()), uint32(expiration.Unix()) // #nosec G115 -- serial numbers
	}
}

// copies returns copies of records under another name.
func copies(rrs []dns.RR, name string) []dns.RR {
	out := make([]dns.RR, len(rrs))
	for i, rr := range rrs {
		out[i] = dns.Copy(rr)
		out[i].Header().Name = name
	}
	return out
}
