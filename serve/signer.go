package serve

import (
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/yield"
)

// Signers are the keys that sign a zone. A key without its private half
// contributes the signatures it made before, to their end.
type Signers struct {
	SecureEntry []*keys.Key // active secure-entry keys
	Data        []*keys.Key // data-signing keys
}

// Params are the circumstances of signing.
type Params struct {
	TTL    uint32         // of the apex key sets, in seconds
	Now    time.Time      // the time
	Jitter func() float64 // in [0,1), spreads the expirations; nil: no jitter
	Stored []Signature    // signatures made before, used where they fit

	// Kept returns the signatures made before over RRsets of a name, used where they
	// are known to fit and no older than what is announced (see Announced.Since); nil:
	// there are none. Only views of what is announced ask.
	Kept func(owner string) []Signature
}

const day = 24 * time.Hour

// backdate is how far in the past inceptions are, for clocks that are slow.
const backdate = 3 * time.Hour

// life is how long signatures over a kind of RRset last.
type life struct {
	valid  time.Duration // from the time of signing
	left   time.Duration // with this much left they are made anew
	jitter time.Duration // they end earlier by up to this
	grain  time.Duration // they end at a multiple of this
}

var (
	// apexLife is rule M4.
	apexLife = life{valid: 14 * day, left: 14 * day / 4, jitter: 14 * day / 10, grain: time.Second}
	// subtreeLife is rule P1. Renewal at full hours does many names at once.
	subtreeLife = life{valid: 3 * day, left: 2 * day, jitter: day / 4, grain: time.Hour}
)

// signer makes signed RRsets, out of signatures made before where they fit.
type signer struct {
	life   life
	now    time.Time
	jitter func() float64
	stored map[setID][]Signature
	kept   func(owner string) []Signature
	since  int64    // kept signatures made before are not used, in seconds since 1970
	last   struct { // that kept was asked for
		owner string
		sigs  []Signature
	}

	known  []*maker // keys that have signed
	packer packer   // of the RRset that is being signed
	hasher hasher
	sig    []byte // room for a signature
}

// setID names an RRset.
type setID struct {
	owner  string
	rrtype uint16
}

func newSigner(l life, p Params) *signer {
	s := &signer{life: l, now: p.Now, jitter: p.Jitter, kept: p.Kept, stored: make(map[setID][]Signature)}
	for _, sig := range p.Stored {
		id := setID{dns.CanonicalName(sig.Owner), sig.Covers()}
		s.stored[id] = append(s.stored[id], sig)
	}
	return s
}

// expiration draws the end of signatures made now. RRsets that are renewed
// together share one.
func (s *signer) expiration() time.Time {
	end := s.now.Add(s.life.valid)
	if s.jitter != nil {
		end = end.Add(-time.Duration(s.jitter() * float64(s.life.jitter)))
	}
	return end.Truncate(s.life.grain)
}

// sign returns rrs with a signature by each of ks, at most one for each key, and
// how long these last. Those of old and the stored ones are used again where they
// are over exactly these records by the same key and are not due. If nothing is
// new, old itself is returned. All of ks are keys of one zone.
func (s *signer) sign(rrs []dns.RR, ks []*keys.Key, old *RRset, expiration time.Time) (*RRset, span, error) {
	p := &s.packer
	if err := p.pack(rrs); err != nil {
		return nil, span{}, err
	}
	like := old
	if !p.holds(old) {
		like = nil
	}
	var (
		makers []*maker
		sigs   []Signature
		fresh  []*keys.Key
	)
	for _, k := range ks {
		m, err := s.maker(k)
		if err != nil {
			return nil, span{}, err
		}
		if slices.ContainsFunc(makers, func(other *maker) bool { return other.id == m.id }) {
			continue
		}
		sig, ok := s.again(m, rrs, like)
		if !ok {
			if k.Signer == nil {
				continue
			}
			fresh = append(fresh, k)
		}
		makers, sigs = append(makers, m), append(sigs, sig)
	}
	if len(sigs) == 0 {
		return nil, span{}, fmt.Errorf("%s of %q: no key of ours with its private half signs it, and no signature made before is left", dns.Type(p.rrtype), p.owner)
	}
	if len(fresh) > 0 {
		if err := s.make(rrs, fresh, makers, sigs, expiration); err != nil {
			return nil, span{}, err
		}
	}
	signer := makers[0].Zone()
	if !p.is(old, sigs, signer) {
		old = p.with(sigs, signer)
	}
	return old, s.span(sigs, makers), nil
}

// make makes those of sigs by makers that are missing, which are by fresh.
func (s *signer) make(rrs []dns.RR, fresh []*keys.Key, makers []*maker, sigs []Signature, expiration time.Time) error {
	yield.ToQueries()
	made, err := keys.Sign(rrs, fresh, s.now.Add(-backdate), expiration)
	if err != nil {
		return err
	}
	for i := range sigs {
		if sigs[i].rdata != "" {
			continue
		}
		if sigs[i], err = NewSignature(made[0], Digest{}); err != nil {
			return err
		}
		sigs[i].Over = s.digest(makers[i].id, sigs[i])
		made = made[1:]
	}
	return nil
}

// digest returns the Digest of sig by the key id over the records that are packed.
func (s *signer) digest(id merge.Key, sig Signature) Digest {
	s.sig = sig.appendRecord(s.sig[:0])
	return s.hasher.digest(s.packer.owner, s.packer.recordOctets(), id, s.sig)
}

// maker is a key with what identifies it.
type maker struct {
	*keys.Key
	id   merge.Key
	tag  uint16
	zone string // in wire form
}

// maker returns k with what identifies it, which is found out once.
func (s *signer) maker(k *keys.Key) (*maker, error) {
	for _, m := range s.known {
		if m.Key == k {
			return m, nil
		}
	}
	var room [maxName]byte
	zone, err := pack(room[:], k.Zone())
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", k, err)
	}
	m := &maker{Key: k, id: k.ID(), zone: string(zone)}
	m.tag = m.id.Tag()
	s.known = append(s.known, m)
	return m, nil
}

// again returns the signature by m over exactly rrs, which are packed, of like, which
// has these records or is nil, or else a stored one, if it is not due and known to
// fit or verifies.
func (s *signer) again(m *maker, rrs []dns.RR, like *RRset) (Signature, bool) {
	if like != nil {
		for i := range like.signatures() {
			if sig, ok := s.fits(like.signature(i), m, rrs); ok {
				return sig, true
			}
		}
	}
	for _, sig := range s.stored[setID{s.packer.owner, s.packer.rrtype}] {
		if sig, ok := s.fits(sig, m, rrs); ok {
			return sig, true
		}
	}
	for _, sig := range s.keptOf(s.packer.owner) {
		if sig, known, ok := s.matches(sig, m); ok && known && !s.outdated(sig, m.Key) {
			return sig, true
		}
	}
	return Signature{}, false
}

// keptOf returns the signatures that are kept of the RRsets of a name.
func (s *signer) keptOf(owner string) []Signature {
	if s.kept == nil {
		return nil
	}
	if s.last.owner != owner {
		s.last.owner, s.last.sigs = owner, s.kept(owner)
	}
	return s.last.sigs
}

// fits returns sig for the RRset that is packed, if it is by m over exactly rrs.
func (s *signer) fits(sig Signature, m *maker, rrs []dns.RR) (Signature, bool) {
	sig, known, ok := s.matches(sig, m)
	if !ok || !known && sig.RRSIG().Verify(m.DNSKEY, rrs) != nil {
		return Signature{}, false
	}
	return sig, true
}

// matches returns sig for the RRset that is packed, if it may be by m over that and
// is not due, and whether it is known to be.
func (s *signer) matches(sig Signature, m *maker) (_ Signature, known, ok bool) {
	p := &s.packer
	if sig.Covers() != p.rrtype || sig.KeyTag() != m.tag || sig.Algorithm() != m.DNSKEY.Algorithm || sig.OrigTTL() != p.ttl() || int(sig.Labels()) != dns.CountLabel(p.owner) ||
		sig.signer() != m.zone || !s.usable(sig, m.Key) {
		return Signature{}, false, false
	}
	sig.Owner, sig.TTL = p.owner, p.ttl()
	over := s.digest(m.id, sig)
	known = over == sig.Over
	sig.Over = over
	return sig, known, true
}

// usable reports whether sig, by k, may be served on: it is valid, of no longer
// life than ours have, and not due unless k cannot make another.
func (s *signer) usable(sig Signature, k *keys.Key) bool {
	inception, expiration := sig.Inception(s.now), sig.Expiration(s.now)
	switch {
	case s.now.Before(inception), !s.now.Before(expiration):
		return false
	case expiration.Sub(inception) > s.life.valid+backdate:
		return false
	}
	return k.Signer == nil || s.now.Before(expiration.Add(-s.life.left))
}

// outdated reports whether sig, a kept one by k, was made before what is signed came in
// place of something else. If k cannot make another, it is better than none.
func (s *signer) outdated(sig Signature, k *keys.Key) bool {
	return k.Signer != nil && sig.Inception(s.now).Add(backdate).Unix() < s.since
}

// span returns when sigs are due and when they end. Signatures by keys without
// their private halves are never due.
func (s *signer) span(sigs []Signature, makers []*maker) span {
	var all span
	for i, sig := range sigs {
		end := sig.Expiration(s.now)
		one := span{expires: end.Unix()}
		if makers[i].Signer != nil {
			one.renew = end.Add(-s.life.left).Unix()
		}
		all.add(one)
	}
	return all
}

// onePerAlgorithm returns the first of ks with its private half of each
// algorithm.
func onePerAlgorithm(ks []*keys.Key) []*keys.Key {
	var first []*keys.Key
	for _, k := range ks {
		same := func(f *keys.Key) bool { return f.DNSKEY.Algorithm == k.DNSKEY.Algorithm }
		if k.Signer != nil && !slices.ContainsFunc(first, same) {
			first = append(first, k)
		}
	}
	return first
}

// identities returns what identifies ks, and which of them can sign.
func identities(ks []*keys.Key) []identity {
	ids := make([]identity, len(ks))
	for i, k := range ks {
		ids[i] = identity{k.ID(), k.Signer != nil}
	}
	return ids
}

// identity is a key and whether its private half is here.
type identity struct {
	key     merge.Key
	private bool
}
