package serve

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
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

	wire, octets []byte // room for digests
}

// setID names an RRset.
type setID struct {
	owner  string
	rrtype uint16
}

func newSigner(l life, p Params) *signer {
	s := &signer{life: l, now: p.Now, jitter: p.Jitter, stored: make(map[setID][]Signature)}
	for _, sig := range p.Stored {
		id := setID{dns.CanonicalName(sig.Hdr.Name), sig.TypeCovered}
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

// sign returns rrs with a signature by each of ks, at most one for each key.
// Those of old and the stored ones are used again where they are over exactly
// these records by the same key and are not due. If nothing is new, old itself
// is returned.
func (s *signer) sign(rrs []dns.RR, ks []*keys.Key, old *RRset, expiration time.Time) (*RRset, error) {
	if old != nil && !sameRecords(rrs, old.RRs) {
		old = nil
	}
	set := &RRset{RRs: rrs}
	records := sync.OnceValue(func() octets { return packRecords(rrs) })
	var fresh []*keys.Key
	for _, k := range ks {
		id := k.ID()
		if slices.Contains(set.makers, id) {
			continue
		}
		sig := s.reusable(k, id, old)
		if sig.RRSIG == nil {
			sig = s.restorable(k, id, rrs, records)
		}
		if sig.RRSIG == nil && k.Signer == nil {
			continue
		}
		if sig.RRSIG == nil {
			fresh = append(fresh, k)
		}
		set.Sigs, set.over = append(set.Sigs, sig.RRSIG), append(set.over, sig.Over)
		set.makers = append(set.makers, id)
	}
	if len(set.Sigs) == 0 {
		return nil, fmt.Errorf("%s of %q: no key of ours with its private half signs it, and no signature made before is left", dns.Type(set.rrtype()), set.owner())
	}
	if old != nil && slices.Equal(set.Sigs, old.Sigs) {
		return old, nil
	}
	runtime.Gosched() // queries are answered first
	made, err := keys.Sign(rrs, fresh, s.now.Add(-backdate), expiration)
	if err != nil {
		return nil, err
	}
	packed := records()
	for i, sig := range set.Sigs {
		if sig == nil {
			set.Sigs[i], set.over[i] = made[0], s.digest(set.owner(), &packed, set.makers[i], made[0])
			made = made[1:]
		}
	}
	set.octets = packed.with(set.Sigs)
	return set, nil
}

// reusable returns k's signature of old, if it is not due.
func (s *signer) reusable(k *keys.Key, id merge.Key, old *RRset) Signature {
	if old == nil {
		return Signature{}
	}
	for i, sig := range old.Sigs {
		if i < len(old.makers) && old.makers[i] == id && s.usable(sig, k) {
			return old.signature(i)
		}
	}
	return Signature{}
}

// restorable returns a stored signature by k over exactly rrs, whose octets are
// records, if it is not due and known to fit or verifies.
func (s *signer) restorable(k *keys.Key, id merge.Key, rrs []dns.RR, records func() octets) Signature {
	h := rrs[0].Header()
	for _, sig := range s.stored[setID{h.Name, h.Rrtype}] {
		if sig.OrigTtl != h.Ttl || int(sig.Labels) != dns.CountLabel(h.Name) ||
			!strings.EqualFold(sig.SignerName, k.Zone()) || !s.usable(sig.RRSIG, k) {
			continue
		}
		c := dns.Copy(sig.RRSIG).(*dns.RRSIG) // packing writes to it, and that one may be served
		c.Hdr.Name, c.Hdr.Ttl = h.Name, h.Ttl
		packed := records()
		over := s.digest(h.Name, &packed, id, c)
		if (over == Digest{} || over != sig.Over) && c.Verify(k.DNSKEY, rrs) != nil {
			continue
		}
		return Signature{c, over}
	}
	return Signature{}
}

// usable reports whether sig, by k, may be served on: it is valid, of no longer
// life than ours have, and not due unless k cannot make another.
func (s *signer) usable(sig *dns.RRSIG, k *keys.Key) bool {
	inception, expiration := sigTime(sig.Inception, s.now), sigTime(sig.Expiration, s.now)
	switch {
	case s.now.Before(inception), !s.now.Before(expiration):
		return false
	case expiration.Sub(inception) > s.life.valid+backdate:
		return false
	}
	return k.Signer == nil || s.now.Before(expiration.Add(-s.life.left))
}

// span returns when set is due and when it ends. Signatures by keys without
// their private halves are never due.
func (s *signer) span(set *RRset, ks []*keys.Key) span {
	var all span
	for i, sig := range set.Sigs {
		end := sigTime(sig.Expiration, s.now)
		one := span{expires: end}
		if slices.ContainsFunc(ks, func(k *keys.Key) bool { return k.Signer != nil && k.ID() == set.makers[i] }) {
			one.renew = end.Add(-s.life.left)
		}
		all.add(one)
	}
	return all
}

// sigTime returns the time that a field of an RRSIG means, which is the one
// nearest to now (RFC 4034 section 3.1.5).
func sigTime(field uint32, now time.Time) time.Time {
	t := now.Unix()
	return time.Unix(t+int64(int32(field-uint32(t))), 0)
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
