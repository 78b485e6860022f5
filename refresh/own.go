package refresh

import (
	"cmp"
	"slices"
	"time"

	"github.com/coredns-mske/mske/chain"
	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/observe"
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
		if slices.Contains(l.Signers, k) {
			marks[i] = signing(marks[i], now)
		}
	}
	for i := range marks {
		seen := slices.Contains(l.Keys, marks[i].Key) || slices.Contains(l.Signers, marks[i].Key)
		if marks[i].Chain && !seen && marks[i].Gone.IsZero() {
			marks[i].Gone = now
		}
	}
	return marks
}

// signing returns o as the mark of a key that signs zone data.
func signing(o store.Own, now time.Time) store.Own {
	if o.SignedSince.IsZero() {
		o.SignedSince = now
		if o.Signed && !o.Published.IsZero() {
			o.SignedSince = o.Published // of an older state file
		}
	}
	o.Signed = true
	return o
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

	// everywhere are those that every cache has which has any (rule S2).
	everywhere []merge.Key

	// may is from when each key may leave DNSKEY, of those that may.
	may map[merge.Key]time.Time

	next time.Time // when time alone changes this
}

// planOwn decides what our keys do at now: those of the files, and those that
// only the marks know.
func planOwn(z *Zone, f facts, now time.Time) ours {
	p := ownPlan{cfg: z, facts: f, now: now, chainUntil: make(map[merge.Key]time.Time)}
	p.zone = z.Name
	given := z.trustedFiles(f.files)
	for _, k := range given {
		c := *k // roles depend on the other keys of the zone
		p.keys = append(p.keys, &c)
	}
	var rest []store.Own
	for _, o := range f.state.Own {
		if z.distrustsKey(o.Key) {
			continue
		}
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
	for i, k := range given {
		if p.keys[i].Role == k.Role {
			p.keys[i] = k // what is kept of the plan, is kept once
		}
	}

	p.usable = keys.CheckSet(z.Name, p.keys)
	p.addStored(rest)
	p.Schedule = keys.Plan(p.keys, now, p.planFacts(rest))
	p.next = earliest(p.next, p.Next)
	p.lost = ids(p.Lost)
	for _, k := range f.state.Life.Keys {
		if due(k.KnownFrom, now) {
			p.everywhere = append(p.everywhere, k.Key)
		}
	}
	for _, k := range p.keys {
		if k.Signer != nil {
			p.private = append(p.private, k)
		}
	}
	for _, k := range p.Published {
		p.publish(k, rest)
	}
	for _, o := range rest {
		p.remember(o)
	}
	p.sign()
	p.mayGo()
	return p.ours
}

// mayGo finds out from when which key may leave DNSKEY: a secure entry as the
// plan says, what signed data once caches have forgotten that.
func (p *ownPlan) mayGo() {
	p.may = make(map[merge.Key]time.Time)
	for _, m := range p.marks {
		from, entry := p.Go[m.Key]
		switch {
		case m.SignsKeys && !entry:
			continue
		case m.SignsData && m.Signed && m.Gone.IsZero():
			continue // the zone is signed with it
		case m.SignsData && m.Signed:
			from = latest(from, m.Gone.Add(p.cfg.MaxZoneTTL))
		case m.SignsData && !m.SignsKeys:
			continue // it has never signed anything
		}
		p.may[m.Key] = from
	}
}

// planFacts returns what is known of our keys, and from outside, for the plan.
func (p *ownPlan) planFacts(marks []store.Own) keys.Facts {
	life := p.facts.state.Life
	f := keys.Facts{
		Chain: p.chain, ChainUntil: p.chainUntil, MaxZoneTTL: p.cfg.MaxZoneTTL, Seen: make(map[merge.Key]keys.Seen),
		Left:    life.Phase == lifecycle.Left,
		KeysTTL: max(p.cfg.TTL, life.HeldKeys.TTL), KeysUntil: life.HeldKeys.Until,
	}
	switch {
	case life.DSStatus == observe.DSPresent:
		f.DS = keys.DSThere
	case life.DSStatus.Absent():
		f.DS = keys.DSAbsent
	}
	for _, d := range life.DS {
		f.DSAlgorithms = append(f.DSAlgorithms, d.Algorithm)
	}
	for _, k := range life.Keys {
		f.Seen[k.Key] = keys.Seen{KnownFrom: k.KnownFrom, InDS: k.DSSince, InDSFrom: k.InDSFrom, GoneFrom: k.GoneFrom}
	}
	for _, o := range marks {
		// Of any other nothing is in caches for longer than the keys themselves.
		if o.Signed {
			if o.Gone.IsZero() {
				f.SigningData = append(f.SigningData, o.Key)
				o.Gone = p.now // at the earliest
			}
			if f.CachedUntil == nil {
				f.CachedUntil = make(map[merge.Key]time.Time)
			}
			f.CachedUntil[o.Key] = p.heldUntil(o)
		}
		if o.Signed || p.cfg.Whole {
			f.Signed = append(f.Signed, o.Key)
			seen := f.Seen[o.Key]
			seen.Signed = o.SignedSince
			f.Seen[o.Key] = seen
		}
		if o.SignsKeys {
			seen := f.Seen[o.Key]
			seen.Signing = o.SigningFrom
			f.Seen[o.Key] = seen
		}
		if o.SecureEntry {
			f.Entries = append(f.Entries, o.Key)
		}
		if o.SignsKeys {
			f.Signing = append(f.Signing, o.Key)
		}
		if !o.Published.IsZero() {
			f.Published = append(f.Published, o.Key)
		}
	}
	return f
}

// addStored takes in the secure-entry keys of which only what they signed is
// left. Without their files they go as others do (rule K3).
func (p *ownPlan) addStored(marks []store.Own) {
	for _, o := range marks {
		file := slices.ContainsFunc(p.keys, func(k *keys.Key) bool { return k.ID() == o.Key })
		if file || !o.SecureEntry && !o.SignsKeys {
			continue
		}
		role := keys.KSK
		if o.SignsData {
			role = keys.CSK
		}
		p.keys = append(p.keys, keys.Stored(p.zone, o.Key, role))
	}
}

// sign marks the keys that we are going to sign CDS, CDNSKEY and denials with,
// and a zone that is ours as a whole, and those that did so until now. While it is
// not known what another zone is signed with, nothing is served.
func (p *ownPlan) sign() {
	if len(p.facts.state.Signers) == 0 && !p.cfg.Whole {
		return
	}
	signers := ids(p.dataSigners(p.facts.state.Signers))
	for i, o := range p.marks {
		switch {
		case slices.Contains(signers, o.Key):
			o = signing(o, p.now)
			if !o.Gone.IsZero() { // not with us
				o.Chain, o.Gone = false, time.Time{}
			}
		case o.Signed && !o.Chain && o.Gone.IsZero():
			o.Gone = p.now
		}
		p.marks[i] = o
	}
}

type ownPlan struct {
	ours
	cfg   *Zone
	facts facts
	now   time.Time
	keys  []*keys.Key

	// chain are kept because of rule K2, some of them until then.
	chain      []merge.Key
	chainUntil map[merge.Key]time.Time
}

// hold ends rule K2's hold of a key that left the zone long enough ago.
func (p *ownPlan) hold(o store.Own) store.Own {
	if !o.Chain || o.Gone.IsZero() {
		return o
	}
	if !p.ended(o) {
		return o
	}
	o.Chain, o.Signed, o.SignedSince = false, false, time.Time{}
	return o
}

// ended reports whether caches have forgotten what a key signed that is gone,
// and if not yet, sees to it that this is asked again.
func (p *ownPlan) ended(o store.Own) bool {
	end := p.heldUntil(o)
	if !end.After(p.now) {
		return !p.facts.unsteady && (p.facts.looked || p.cfg.Whole) // a new Corefile may bring it back
	}
	p.next = earliest(p.next, end)
	return false
}

// heldUntil returns when the hold of a key ends that left the zone.
func (p *ownPlan) heldUntil(o store.Own) time.Time {
	end := o.Gone.Add(p.cfg.MaxZoneTTL)
	if p.facts.unsteady {
		end = latest(end, p.facts.settled)
	}
	return end
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
	if !o.Gone.IsZero() {
		p.chainUntil[o.Key] = p.heldUntil(o)
	}
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
	switch {
	case o.Chain, o.Gone.IsZero():
	case !o.Signed:
		o.Gone = time.Time{}
	case p.ended(o):
		o.Signed, o.SignedSince, o.Gone = false, time.Time{}, time.Time{}
	}
	o.SecureEntry = slices.Contains(p.SecureEntry, k)
	o.SignsKeys = slices.Contains(p.SignDNSKEY, k) || slices.Contains(p.lost, k.ID())
	switch {
	case !o.SignsKeys:
		o.SigningFrom = time.Time{}
	case o.SigningFrom.IsZero():
		o.SigningFrom = p.now
	}
	o.SignsData = k.Role.SignsData()
	p.marks = append(p.marks, o)
}

// remember decides about a key that is marked but that the schedule does not
// publish. One that signed data stays while caches may need it (rule K4), unless
// the schedule saw to that.
func (p *ownPlan) remember(o store.Own) {
	if mark(p.marks, o.Key) >= 0 {
		return
	}
	i := slices.IndexFunc(p.keys, func(k *keys.Key) bool { return k.ID() == o.Key })
	switch {
	case o.Chain: // a peer's
		p.marks = append(p.marks, o)
	case o.Published.IsZero(), i >= 0 && p.deleted(p.keys[i]):
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
	l := merge.Local{DNSKEY: slices.Concat(ids(o.Published), o.held), SecureEntry: ids(o.SecureEntry)}
	signing := slices.DeleteFunc(slices.Clone(l.SecureEntry), func(k merge.Key) bool { return slices.Contains(o.lost, k) })
	if !lostSign && len(signing) > 0 {
		l.SecureEntry = signing
	}
	return l
}

// roles returns the role of each key that is published. Of those without a file
// the marks tell.
func (o *ours) roles() map[merge.Key]keys.Role {
	roles := make(map[merge.Key]keys.Role)
	for _, m := range o.marks {
		switch {
		case m.SignsData && (m.SecureEntry || m.SignsKeys):
			roles[m.Key] = keys.CSK
		case m.SignsData:
			roles[m.Key] = keys.ZSK
		default:
			roles[m.Key] = keys.KSK
		}
	}
	for _, k := range o.Published {
		roles[k.ID()] = k.Role
	}
	return roles
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
// one of ours that is in every cache, of these the one that has been published
// longest.
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
	slices.SortStableFunc(ready, func(a, b *keys.Key) int {
		return cmp.Or(cmp.Compare(o.unknown(a), o.unknown(b)), o.published(a).Compare(o.published(b)))
	})
	for _, k := range ready {
		if needed(k.DNSKEY.Algorithm, chain) {
			add(k)
		}
	}
	return signers
}

// unknown returns 1 for a key that some caches may not have yet, as far as
// known, else 0.
func (o *ours) unknown(k *keys.Key) int {
	if slices.Contains(o.everywhere, k.ID()) {
		return 0
	}
	return 1
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
