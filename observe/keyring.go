package observe

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/validate"
)

const (
	// maxKeys bounds the keys of a DNSKEY RRset that are considered, as a
	// validator does.
	maxKeys = 64

	// maxSignatures bounds the RRSIGs of an RRset that are considered.
	maxSignatures = 16

	// maxCandidates bounds the keys of one tag that a signature is tried with:
	// tags can be made to collide (CVE-2023-50387).
	maxCandidates = 4

	// maxChecks bounds the signatures that are verified for one host: about ten
	// RRsets at eight addresses, each over two transports, with two signatures
	// that are made anew for each answer.
	maxChecks = 192
)

var errCostly = errors.New("has more signatures than are checked")

// keyring is all keys that were seen, and what they signed.
type keyring struct {
	zone string
	now  time.Time
	keys map[merge.Ref][]merge.Key // sorted

	signatures *validate.Signatures
	verified   map[signed]merge.Key
}

// signed is a signature and what it is over, by their octets.
type signed struct{ set, sig validate.Fingerprint }

// account is what a host may still cost, and what was found out at its cost.
type account struct {
	checks int             // left
	failed map[signed]bool // no key made these
}

func newAccount() *account { return &account{checks: maxChecks, failed: make(map[signed]bool)} }

// newKeyring returns a keyring of the DNSKEY RRsets seen at now. What was
// verified before is known to signatures.
func newKeyring(zone string, now time.Time, all []glance, signatures *validate.Signatures) *keyring {
	r := &keyring{zone: zone, now: now, keys: make(map[merge.Ref][]merge.Key), signatures: signatures, verified: make(map[signed]merge.Key)}
	seen := make(map[merge.Key]bool)
	for _, g := range all {
		for _, k := range keysOf(g.sets[dns.TypeDNSKEY].rrs) {
			if !seen[k] {
				seen[k] = true
				r.keys[k.Ref()] = append(r.keys[k.Ref()], k)
			}
		}
	}
	for _, ks := range r.keys {
		sortKeys(ks)
	}
	return r
}

// keysOf returns the keys in DNSKEY or CDNSKEY records, sorted.
func keysOf(rrs []dns.RR) []merge.Key {
	var ks []merge.Key
	for _, rr := range rrs[:min(len(rrs), maxKeys)] {
		switch rr := rr.(type) {
		case *dns.DNSKEY:
			ks = append(ks, merge.KeyOf(rr))
		case *dns.CDNSKEY:
			ks = append(ks, merge.KeyOf(&rr.DNSKEY))
		}
	}
	return sortKeys(ks)
}

// digestsOf returns the digests in DS or CDS records, sorted.
func digestsOf(rrs []dns.RR) []merge.DS {
	var ds []merge.DS
	for _, rr := range rrs[:min(len(rrs), maxKeys)] {
		switch rr := rr.(type) {
		case *dns.DS:
			ds = append(ds, merge.DSOf(rr))
		case *dns.CDS:
			ds = append(ds, merge.DSOf(&rr.DS))
		}
	}
	slices.SortFunc(ds, func(a, b merge.DS) int {
		return cmp.Or(cmp.Compare(a.KeyTag, b.KeyTag), cmp.Compare(a.Algorithm, b.Algorithm),
			cmp.Compare(a.DigestType, b.DigestType), cmp.Compare(a.Digest, b.Digest))
	})
	return slices.Compact(ds)
}

func sortKeys(ks []merge.Key) []merge.Key {
	slices.SortFunc(ks, func(a, b merge.Key) int {
		return cmp.Or(cmp.Compare(a.Flags, b.Flags), cmp.Compare(a.Algorithm, b.Algorithm),
			cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.PublicKey, b.PublicKey))
	})
	return slices.Compact(ks)
}

func serialsOf(rrs []dns.RR) []uint32 {
	var serials []uint32
	for _, rr := range rrs {
		if soa, ok := rr.(*dns.SOA); ok {
			serials = append(serials, soa.Serial)
		}
	}
	return serials
}

// apex makes of what came what it means.
func (r *keyring) apex(g glance, cnsType uint16, acc *account) Apex {
	if g.err != nil {
		return Apex{Err: g.err}
	}
	own := keysOf(g.sets[dns.TypeDNSKEY].rrs)
	ns := setOf(r, g.sets[dns.TypeNS], hostsOf, own, acc)
	// Resolvers follow NS records without validating them, for their whole TTL,
	// and CoreDNS's dnssec plugin has the Original TTL be 3600 whatever that is.
	ns.TTL = longest(g.sets[dns.TypeNS].rrs)
	return Apex{
		SOA:     setOf(r, g.sets[dns.TypeSOA], serialsOf, own, acc),
		DNSKEY:  setOf(r, g.sets[dns.TypeDNSKEY], keysOf, own, acc),
		CDNSKEY: setOf(r, g.sets[dns.TypeCDNSKEY], keysOf, own, acc),
		CDS:     setOf(r, g.sets[dns.TypeCDS], digestsOf, own, acc),
		NS:      ns,
		CNS:     setOf(r, g.sets[cnsType], hostsOf, own, acc),
	}
}

// setOf returns an RRset with those keys whose signature over it verifies. The
// keys of its server are own.
func setOf[T any](r *keyring, a answer, rdata func([]dns.RR) []T, own []merge.Key, acc *account) Set[T] {
	s := Set[T]{Records: rdata(a.rrs), Err: a.err}
	if len(a.rrs) == 0 || a.err != nil {
		return s
	}
	s.TTL = longest(a.rrs)
	var original time.Duration
	id, ok := validate.Digest(a.rrs)
	if !ok {
		return s
	}
	for _, sig := range a.sigs[:min(len(a.sigs), maxSignatures)] {
		k, found, err := r.signer(a.rrs, id, sig, own, acc)
		if err != nil {
			s.Err = err
			break
		}
		if !found {
			continue
		}
		s.Signers = append(s.Signers, k)
		original = max(original, ttlOf(sig.OrigTtl))
		if end := serialTime(sig.Expiration, r.now); end.After(s.Expires) {
			s.Expires = end
		}
	}
	if s.Signers = sortKeys(s.Signers); len(s.Signers) > 0 {
		s.TTL = original
	}
	return s
}

// longest returns the longest TTL of records.
func longest(rrs []dns.RR) time.Duration {
	var ttl time.Duration
	for _, rr := range rrs {
		ttl = max(ttl, ttlOf(rr.Header().Ttl))
	}
	return ttl
}

// signer returns the key that made the signature over rrs, which set identifies,
// and whether one of those seen did. Keys of the server itself are tried first, so that nobody
// else's with the same tag get in the way. The error says that the account is
// used up.
func (r *keyring) signer(rrs []dns.RR, set validate.Fingerprint, sig *dns.RRSIG, own []merge.Key, acc *account) (by merge.Key, found bool, err error) {
	octets, ok := validate.Digest([]dns.RR{sig})
	if !ok {
		return merge.Key{}, false, nil
	}
	id := signed{set, octets}
	if k, ok := r.verified[id]; ok {
		return k, true, nil
	}
	if acc.failed[id] {
		return merge.Key{}, false, nil
	}
	candidates := slices.Clone(r.keys[merge.Ref{Tag: sig.KeyTag, Algorithm: sig.Algorithm}])
	slices.SortStableFunc(candidates, func(a, b merge.Key) int {
		return cmp.Compare(foreign(own, a), foreign(own, b))
	})
	for _, k := range candidates[:min(len(candidates), maxCandidates)] {
		if acc.checks == 0 {
			return merge.Key{}, false, errCostly
		}
		acc.checks--
		if r.signatures.Verify(r.zone, rrs, sig, k.DNSKEY(r.zone, 0), r.now) == nil {
			r.verified[id] = k
			return k, true, nil
		}
	}
	acc.failed[id] = true
	return merge.Key{}, false, nil
}

func foreign(own []merge.Key, k merge.Key) int {
	if slices.Contains(own, k) {
		return 0
	}
	return 1
}

// serialTime returns the time that an RRSIG's field means, the one nearest to
// now (RFC 4034 section 3.1.5).
func serialTime(field uint32, now time.Time) time.Time {
	sec := now.Unix()
	return time.Unix(sec+int64(int32(field-uint32(sec))), 0).UTC() // #nosec G115 -- serial number arithmetic
}
