package refresh

import (
	"slices"
	"time"

	"github.com/coredns-mske/mske/chain"
	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/serve"
	"github.com/coredns-mske/mske/store"
)

// observeOwn returns the marks of our keys after a look at the zone (rule K2):
// what the plugins behind ours hold or sign with is there, and what they were
// seen with before and are no longer is gone from now on.
func observeOwn(marks []store.Own, l chain.Look, now time.Time) []store.Own {
	marks = slices.Clone(marks)
	for _, k := range slices.Concat(l.Keys, l.Signers) {
		i := mark(marks, k)
		if i < 0 {
			i = len(marks)
			marks = append(marks, store.Own{Key: k})
		}
		marks[i].Chain, marks[i].Gone = true, time.Time{}
		marks[i].Signed = marks[i].Signed || slices.Contains(l.Signers, k)
	}
	for i := range marks {
		seen := slices.Contains(l.Keys, marks[i].Key) || slices.Contains(l.Signers, marks[i].Key)
		if marks[i].Chain && !seen && marks[i].Gone.IsZero() {
			marks[i].Gone = now
		}
	}
	return marks
}

// mark returns the index of k's mark, or -1.
func mark(marks []store.Own, k merge.Key) int {
	return slices.IndexFunc(marks, func(o store.Own) bool { return o.Key == k })
}

// ours is our part of the joint sets at one time.
type ours struct {
	keys.Schedule
	zone    string
	private []*keys.Key // those with private halves
	marks   []store.Own // of every key published
	usable  error       // why these keys cannot sign the zone (rule K1), or nil

	// held are published though nothing but a mark is left of them: zone data
	// signed with them may be cached.
	held []merge.Key
	// lost are secure-entry keys whose private half is gone for good, since
	// the server was restarted without their files.
	lost []merge.Key

	next time.Time // when time alone changes this
}

// planOwn decides what our keys do at now: those of the files, and those that
// only the marks know.
func planOwn(z *Zone, f facts, now time.Time) ours {
	p := ownPlan{cfg: z, facts: f, now: now}
	p.zone = z.Name
	for _, k := range f.files {
		c := *k // roles depend on the other keys of the zone
		p.keys = append(p.keys, &c)
	}
	var rest []store.Own
	for _, o := range f.state.Own {
		if o = p.hold(o); o.Chain {
			p.addChain(o)
		}
		rest = append(rest, o)
	}
	keys.AssignRoles(p.keys)
	for _, k := range p.keys {
		if i := mark(rest, k.ID()); i >= 0 && rest[i].Signed && k.Role == keys.KSK {
			k.Role = keys.CSK // the plugins behind ours, or we, sign data with it
		}
	}

	p.usable = keys.CheckSet(z.Name, p.keys)
	p.Schedule = keys.Plan(p.keys, now, keys.Facts{Chain: p.chain, Signed: p.signed(rest), MaxZoneTTL: z.MaxZoneTTL})
	p.next = earliest(p.next, p.Next)
	for _, k := range p.keys {
		if k.Signer != nil {
			p.private = append(p.private, k)
		}
		if i := mark(rest, k.ID()); i >= 0 && rest[i].SecureEntry && !slices.Contains(p.SecureEntry, k) {
			p.insist(k)
		}
	}
	for _, k := range p.Published {
		p.publish(k, rest)
	}
	for _, o := range rest {
		p.remember(o)
	}
	p.sign()
	return p.ours
}

// signed returns the keys with which the plugins behind ours, or we, were ever
// seen to sign what caches hold for longer than the keys themselves.
func (p *ownPlan) signed(marks []store.Own) []merge.Key {
	var signed []merge.Key
	for _, o := range marks {
		if o.Signed || p.cfg.Whole {
			signed = append(signed, o.Key)
		}
	}
	return signed
}

// sign marks the keys that we are going to sign CDS, CDNSKEY and denials with,
// and a zone that is ours as a whole. While it is not known what another zone is
// signed with, nothing is served.
func (p *ownPlan) sign() {
	if len(p.facts.state.Signers) == 0 && !p.cfg.Whole {
		return
	}
	for _, k := range p.dataSigners(p.facts.state.Signers) {
		if i := mark(p.marks, k.ID()); i >= 0 {
			p.marks[i].Signed = true
		}
	}
}

// insist keeps k a secure entry, which it was: as long as the parent's DS is
// not known, it may be the only one that is named there (rule K3).
func (p *ownPlan) insist(k *keys.Key) {
	if !slices.Contains(p.Published, k) {
		p.Published = append(p.Published, k)
	}
	if k.Signer == nil {
		p.lost = append(p.lost, k.ID())
		return
	}
	p.SecureEntry = append(p.SecureEntry, k)
	if !slices.Contains(p.SignDNSKEY, k) {
		p.SignDNSKEY = append(p.SignDNSKEY, k)
	}
}

type ownPlan struct {
	ours
	cfg   *Zone
	facts facts
	now   time.Time
	keys  []*keys.Key
	chain []merge.Key // kept because of rule K2
}

// hold ends rule K2's hold of a key that left the zone long enough ago.
func (p *ownPlan) hold(o store.Own) store.Own {
	if !o.Chain || o.Gone.IsZero() {
		return o
	}
	if !p.ended(o) {
		return o
	}
	o.Chain, o.Signed = false, false
	return o
}

// ended reports whether caches have forgotten what a key signed that is gone,
// and if not yet, sees to it that this is asked again.
func (p *ownPlan) ended(o store.Own) bool {
	end := o.Gone.Add(p.cfg.MaxZoneTTL)
	if p.facts.unsteady {
		end = latest(end, p.now.Add(clockSettle))
	}
	if !end.After(p.now) {
		return true
	}
	p.next = earliest(p.next, end)
	return false
}

// addChain takes in a key that the plugins behind ours hold. A peer's is the
// peer's, unless the zone was seen signed with it: whoever copies our key into
// an announcement does not keep us from announcing it.
func (p *ownPlan) addChain(o store.Own) {
	file := slices.ContainsFunc(p.keys, func(k *keys.Key) bool { return k.ID() == o.Key })
	if !file && !o.Signed && announcedBy(p.facts.state.Peers, o.Key) {
		return
	}
	p.chain = append(p.chain, o.Key)
	if !file {
		p.keys = append(p.keys, &keys.Key{DNSKEY: o.Key.DNSKEY(p.zone, 0)})
	}
}

// announcedBy reports whether a peer announces k.
func announcedBy(peers []merge.Peer, k merge.Key) bool {
	return slices.ContainsFunc(peers, func(p merge.Peer) bool {
		return slices.Contains(p.Announcement.DNSKEY, k) || slices.Contains(p.Announcement.CDNSKEY, k)
	})
}

// publish marks k, which the schedule publishes.
func (p *ownPlan) publish(k *keys.Key, old []store.Own) {
	o := store.Own{Key: k.ID()}
	if i := mark(old, k.ID()); i >= 0 {
		o = old[i]
	}
	if o.Published.IsZero() {
		o.Published = p.now
	}
	if !o.Chain {
		o.Gone = time.Time{}
	}
	o.SecureEntry = slices.Contains(p.SecureEntry, k) || slices.Contains(p.lost, k.ID())
	o.SignsData = k.Role.SignsData()
	p.marks = append(p.marks, o)
}

// remember decides about a key that is marked but that the schedule does not
// publish. Of one without a file, the secure entry stays, since the parent's DS
// is not known; a data key stays while caches may need it (rule K4), unless the
// schedule saw to that or it was never used.
func (p *ownPlan) remember(o store.Own) {
	if mark(p.marks, o.Key) >= 0 {
		return
	}
	i := slices.IndexFunc(p.keys, func(k *keys.Key) bool { return k.ID() == o.Key })
	switch {
	case o.Chain: // a peer's
		p.marks = append(p.marks, o)
	case o.Published.IsZero(), i >= 0 && p.deleted(p.keys[i]):
	case i < 0 && o.SecureEntry:
		p.lost = append(p.lost, o.Key)
		p.marks = append(p.marks, o)
	case p.usable == nil && !o.Signed && !p.cfg.Whole:
	default:
		p.keep(o)
	}
}

// deleted reports whether the Delete time of k has come, after which the
// schedule publishes it as long as caches may hold its signatures.
func (p *ownPlan) deleted(k *keys.Key) bool {
	at := k.Timing.Delete
	return k.Signer != nil && !at.IsZero() && !at.After(p.now)
}

// keep holds a key for as long as caches may need it. Without a single usable
// file nothing is concluded from one that is missing.
func (p *ownPlan) keep(o store.Own) {
	if o.Gone.IsZero() && p.usable == nil {
		o.Gone = p.now
	}
	if !o.Gone.IsZero() && p.ended(o) {
		return
	}
	p.held = append(p.held, o.Key)
	p.marks = append(p.marks, o)
}

// local returns our part of the joint sets. lostSign says that the lost keys'
// signatures are still there: a key that signs no more is not in CDS.
func (o *ours) local(lostSign bool) merge.Local {
	l := merge.Local{DNSKEY: slices.Concat(ids(o.Published), o.held, o.lost), SecureEntry: ids(o.SecureEntry)}
	if lostSign || len(l.SecureEntry) == 0 {
		l.SecureEntry = append(l.SecureEntry, o.lost...)
	}
	return l
}

func ids(ks []*keys.Key) []merge.Key {
	all := make([]merge.Key, 0, len(ks))
	for _, k := range ks {
		all = append(all, k.ID())
	}
	return all
}

// signers returns the keys that sign the apex. Those without private halves
// contribute signatures that they made before, for as long as these last.
func (o *ours) signers(chain []merge.Key) serve.Signers {
	var public []merge.Key
	for _, m := range o.marks {
		private := slices.ContainsFunc(o.private, func(k *keys.Key) bool { return k.ID() == m.Key })
		if m.SignsData && !private {
			public = append(public, m.Key)
		}
	}
	return serve.Signers{
		SecureEntry: append(slices.Clone(o.SignDNSKEY), o.public(o.lost)...),
		Data:        append(o.dataSigners(chain), o.public(public)...),
	}
}

func (o *ours) public(ks []merge.Key) []*keys.Key {
	var public []*keys.Key
	for _, k := range ks {
		public = append(public, &keys.Key{DNSKEY: k.DNSKEY(o.zone, 0)})
	}
	return public
}

// dataSigners returns the keys that sign what resolvers may hold against any
// provider's DNSKEY RRset (rules M3 and S2), one for each algorithm: those that
// the zone itself is signed with or, where their private halves are elsewhere,
// the one of ours that has been published longest.
func (o *ours) dataSigners(chain []merge.Key) []*keys.Key {
	var signers []*keys.Key
	add := func(k *keys.Key) {
		if !slices.ContainsFunc(signers, func(s *keys.Key) bool { return s.DNSKEY.Algorithm == k.DNSKEY.Algorithm }) {
			signers = append(signers, k)
		}
	}
	for _, k := range o.private {
		if slices.Contains(chain, k.ID()) {
			add(k)
		}
	}
	ready := slices.Clone(o.DataSigning)
	slices.SortStableFunc(ready, func(a, b *keys.Key) int { return o.published(a).Compare(o.published(b)) })
	for _, k := range ready {
		if needed(k.DNSKEY.Algorithm, chain) {
			add(k)
		}
	}
	return signers
}

// needed reports whether the zone is signed with an algorithm, as far as known.
func needed(algorithm uint8, chain []merge.Key) bool {
	return len(chain) == 0 || slices.ContainsFunc(chain, func(k merge.Key) bool { return k.Algorithm == algorithm })
}

func (o *ours) published(k *keys.Key) time.Time {
	if i := mark(o.marks, k.ID()); i >= 0 {
		return o.marks[i].Published
	}
	return time.Time{}
}
