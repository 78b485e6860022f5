package fetch

import (
	"errors"
	"fmt"
	"slices"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/validate"
)

const (
	// MaxKeys is how many keys an RRset of an announcement may name (rule
	// F4): a provider in the middle of two rolls at once has four of a role.
	MaxKeys = 8

	// maxDigests is how many digests a key may have, on average: one of each
	// type that can be computed here.
	maxDigests = 3
)

// RefusedError says which rule an announcement that validates breaks (rule F4).
type RefusedError struct {
	Qtype uint16 // of the RRset
	Owner string // the signaling name
	Check string // what is wrong
	Ref   string // where the rule is written

	// Apart says that each RRset is fit, but they do not fit together: caches
	// of different age look like that too (rule F5).
	Apart bool
}

// Error implements the error interface.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s at %s: %s (%s)", dns.Type(e.Qtype), e.Owner, e.Check, e.Ref)
}

func refuse(qtype uint16, owner, check, ref string) error {
	return &RefusedError{Qtype: qtype, Owner: owner, Check: check, Ref: ref}
}

func refuseApart(qtype uint16, owner, check, ref string) error {
	return &RefusedError{Qtype: qtype, Owner: owner, Check: check, Ref: ref, Apart: true}
}

// apart reports whether err means that the RRsets do not fit together.
func apart(err error) bool {
	var refused *RefusedError
	return errors.As(err, &refused) && refused.Apart
}

// The texts the rules are taken from.
const (
	refSignal   = "RFC 9615 section 4.1"
	refWildcard = "RFC 4035 section 5.3.4"
	refBitmap   = "RFC 4035 section 5.4"
	refDelete   = "RFC 8078 section 4"
	refMatch    = "RFC 7344 section 4"
	refAnnounce = "draft-thomassen-dnsop-mske section 4.1"
	refMany     = "limit of this software"
)

// checkPlace refuses an answer that validates but does not stand at the
// signaling name itself, or stands at a zone's apex there.
func checkPlace(owner string, a answer) error {
	r := a.result
	switch {
	case r.Alias != nil:
		return refuse(a.qtype, owner, fmt.Sprintf("a %s at %s leads elsewhere, and is not followed",
			dns.Type(r.Alias.Header().Rrtype), dns.CanonicalName(r.Alias.Header().Name)), refSignal)
	case r.Wildcard:
		return refuse(a.qtype, owner, "made from a wildcard, so nobody announced this zone", refWildcard)
	case r.Signer == owner:
		return refuse(a.qtype, owner, "there is a zone cut at the signaling name", refSignal)
	}
	return nil
}

// checkRecords applies the rules that concern the records of one RRset.
func checkRecords(owner string, qtype uint16, rrs []dns.RR) error {
	if n := countKeys(rrs); n > MaxKeys {
		return refuse(qtype, owner, fmt.Sprintf("%d keys, more than %d", n, MaxKeys), refMany)
	}
	if n := len(rrs); n > MaxKeys*maxDigests {
		return refuse(qtype, owner, fmt.Sprintf("%d records, more than %d", n, MaxKeys*maxDigests), refMany)
	}
	for _, rr := range rrs {
		var check, ref string
		switch rr := rr.(type) {
		case *dns.DNSKEY:
			check, ref = checkKey(merge.KeyOf(rr))
		case *dns.CDNSKEY:
			check, ref = checkKey(merge.KeyOf(&rr.DNSKEY))
		case *dns.CDS:
			check, ref = checkDigest(merge.DSOf(&rr.DS))
		default:
			check, ref = "a record that cannot be read", refAnnounce
		}
		if check != "" {
			return refuse(qtype, owner, check, ref)
		}
	}
	return nil
}

// countKeys returns how many keys rrs name: digests of one tag and algorithm
// count once.
func countKeys(rrs []dns.RR) int {
	type id struct {
		tag       uint16
		algorithm uint8
	}
	digested := make(map[id]bool)
	n := 0
	for _, rr := range rrs {
		if ds, ok := rr.(*dns.CDS); ok {
			digested[id{ds.KeyTag, ds.Algorithm}] = true
		} else {
			n++
		}
	}
	return n + len(digested)
}

// checkDigest returns which rule d breaks and where it is written, or "".
func checkDigest(d merge.DS) (check, ref string) {
	switch {
	case d == deleteDS:
		return "the delete sentinel 0 0 0 00", refDelete
	case !validate.SupportedAlgorithm(d.Algorithm):
		return fmt.Sprintf("digest of key %d: %s", d.KeyTag, unsupported(d.Algorithm)), refAlgorithm
	case digestSize[d.DigestType] != 0 && len(d.Digest) != 2*digestSize[d.DigestType]:
		return fmt.Sprintf("digest of key %d: wrong length for digest type %d", d.KeyTag, d.DigestType), "RFC 4034 section 5.1.4"
	}
	return "", ""
}

// digestSize holds the length in octets of each digest type that can be
// computed here.
var digestSize = map[uint8]int{dns.SHA1: 20, dns.SHA256: 32, dns.SHA384: 48}

// strong reports whether d's digest type is fit to be published: SHA-1 must
// not be used in CDS, the others are not known here (RFC 8624 section 3.3).
func strong(d merge.DS) bool { return d.DigestType == dns.SHA256 || d.DigestType == dns.SHA384 }

// checkNames refuses RRsets of which one proves that there is no such name where
// others are at that name: it is older, or was replayed, and nothing dates it.
func checkNames(owner string, answers []answer) error {
	for _, a := range answers {
		if undated(a) {
			return refuseApart(a.qtype, owner, "denied as if there was no such name, though other types are there", refBitmap)
		}
	}
	return nil
}

// checkUnit applies the rules that concern the three RRsets of a together.
func checkUnit(zone, owner string, a merge.Announcement) error {
	switch {
	case len(a.DNSKEY) == 0:
		return refuseApart(dns.TypeDNSKEY, owner, "incomplete: there is CDS or CDNSKEY, but no DNSKEY", refAnnounce)
	case len(a.CDNSKEY) == 0 && len(a.CDS) == 0:
		return refuseApart(dns.TypeCDS, owner, "incomplete: there is DNSKEY, but neither CDS nor CDNSKEY", refAnnounce)
	}
	if d, weak := weakest(a.CDS); weak {
		return refuse(dns.TypeCDS, owner, fmt.Sprintf("key %d has no SHA-256 or SHA-384 digest", d.KeyTag), "RFC 8624 section 3.3")
	}
	if len(a.CDNSKEY) > 0 && len(a.CDS) > 0 {
		if why := mismatch(zone, a.CDNSKEY, a.CDS); why != "" {
			return refuseApart(dns.TypeCDS, owner, why, refMatch)
		}
	}
	return nil
}

// weakest returns a digest of a key that ds names by no strong digest type.
func weakest(ds []merge.DS) (merge.DS, bool) {
	for _, d := range ds {
		if !slices.ContainsFunc(ds, func(o merge.DS) bool {
			return strong(o) && o.KeyTag == d.KeyTag && o.Algorithm == d.Algorithm
		}) {
			return d, true
		}
	}
	return merge.DS{}, false
}

// mismatch decides whether CDNSKEY and CDS name the same keys of zone, and
// says what does not fit, or "" (RFC 7344 section 4: both must match if both
// are there). A digest whose type cannot be computed is held against tag and
// algorithm.
func mismatch(zone string, keys []merge.Key, ds []merge.DS) string {
	named := make(map[merge.DS]bool) // by CDNSKEY
	refs := make(map[merge.Ref]bool)
	unnamed := make(map[merge.Key]bool) // by CDS
	for _, k := range keys {
		refs[k.Ref()], unnamed[k] = true, true
		for digestType := range digestSize {
			if !slices.ContainsFunc(ds, func(d merge.DS) bool { return d.DigestType == digestType }) {
				continue
			}
			d, _ := k.DS(zone, digestType)
			named[d] = true
			if strong(d) && slices.Contains(ds, d) {
				delete(unnamed, k)
			}
		}
	}
	for _, d := range ds {
		fits := named[d]
		if digestSize[d.DigestType] == 0 {
			fits = refs[merge.Ref{Tag: d.KeyTag, Algorithm: d.Algorithm}]
		}
		if !fits {
			return fmt.Sprintf("the digest of type %d of key %d fits no CDNSKEY record", d.DigestType, d.KeyTag)
		}
	}
	for _, k := range keys {
		if unnamed[k] {
			return fmt.Sprintf("there is no digest of CDNSKEY's key %d", k.Tag())
		}
	}
	return ""
}

// keysOf returns the keys of DNSKEY or CDNSKEY records.
func keysOf(rrs []dns.RR) []merge.Key {
	var ks []merge.Key
	for _, rr := range rrs {
		switch rr := rr.(type) {
		case *dns.DNSKEY:
			ks = append(ks, merge.KeyOf(rr))
		case *dns.CDNSKEY:
			ks = append(ks, merge.KeyOf(&rr.DNSKEY))
		}
	}
	return ks
}

// digestsOf returns the digests of CDS records.
func digestsOf(rrs []dns.RR) []merge.DS {
	var ds []merge.DS
	for _, rr := range rrs {
		if rr, ok := rr.(*dns.CDS); ok {
			ds = append(ds, merge.DSOf(&rr.DS))
		}
	}
	return ds
}
