package serve

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/merge"
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

	hasher hasher
	sig    []byte // room for a signature
}

// setID names an RRset.
type setID struct {
	owner  string
	rrtype uint16
}

func newSigner(l life, p Params) *signer {
	s := &signer{life: l, now: p.Now, jitter: p.Jitter, stored: make(map[setID][]Signature)}
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
	p, err := packRRset(rrs)
	if err != nil {
		return nil, span{}, err
	}
	candidates := s.stored[setID{p.owner, p.rrtype}]
	if p.holds(old) {
		candidates = slices.Concat(old.kept(), candidates)
	}
	var (
		makers []*keys.Key
		sigs   []Signature
		fresh  []*keys.Key
	)
	for _, k := range ks {
		if slices.ContainsFunc(makers, func(m *keys.Key) bool { return m.ID() == k.ID() }) {
			continue
		}
		sig, ok := s.again(k, p, rrs, candidates)
		if !ok {
			if k.Signer == nil {
				continue
			}
			fresh = append(fresh, k)
		}
		makers, sigs = append(makers, k), append(sigs, sig)
	}
	if len(sigs) == 0 {
		return nil, span{}, fmt.Errorf("%s of %q: no key of ours with its private half signs it, and no signature made before is left", dns.Type(p.rrtype), p.owner)
	}
	if len(fresh) > 0 {
		if err := s.make(rrs, p, fresh, makers, sigs, expiration); err != nil {
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
func (s *signer) make(rrs []dns.RR, p *packer, fresh, makers []*keys.Key, sigs []Signature, expiration time.Time) error {
	runtime.Gosched() // queries are answered first
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
		sigs[i].Over = s.digest(p, makers[i].ID(), sigs[i])
		made = made[1:]
	}
	return nil
}

// digest returns the Digest of sig by the key id over the records of p.
func (s *signer) digest(p *packer, id merge.Key, sig Signature) Digest {
	s.sig = sig.appendRecord(s.sig[:0])
	return s.hasher.digest(p.owner, p.recordOctets(), id, s.sig)
}

// again returns the one of candidates by k over exactly rrs, which p has packed, if
// it is not due and known to fit or verifies.
func (s *signer) again(k *keys.Key, p *packer, rrs []dns.RR, candidates []Signature) (Signature, bool) {
	var room [maxName]byte
	for _, sig := range candidates {
		if sig.KeyTag() != k.Tag() || sig.Algorithm() != k.DNSKEY.Algorithm || sig.OrigTTL() != p.ttl() ||
			int(sig.Labels()) != dns.CountLabel(p.owner) || !s.usable(sig, k) {
			continue
		}
		if zone, err := pack(room[:], k.Zone()); err != nil || string(zone) != sig.signer() {
			continue
		}
		sig.Owner, sig.TTL = p.owner, p.ttl()
		over := s.digest(p, k.ID(), sig)
		if over != sig.Over && sig.RRSIG().Verify(k.DNSKEY, rrs) != nil {
			continue
		}
		sig.Over = over
		return sig, true
	}
	return Signature{}, false
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

// span returns when sigs are due and when they end. Signatures by keys without
// their private halves are never due.
func (s *signer) span(sigs []Signature, makers []*keys.Key) span {
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
