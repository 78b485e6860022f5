// Package serve holds what is answered: immutable views of the apex key sets
// of a zone and of the names below a signaling domain, signed beforehand, and
// the two things that are signed when a query asks for them: compact denial
// (RFC 9824) and corrected denials of apex types.
//
// A view is built in the background and published by swapping a pointer.
// Answering takes no lock, does no I/O and costs the same however many names a
// view has, but for the search of a pre-signed NSEC chain, which is logarithmic.
//
// # Limitations
//
// Replies carry an OPT record only if it says something, a flag or an extended
// error: the server adds it otherwise, and truncates.
package serve

import (
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/merge"
)

// RRset is an RRset with its signatures. It does not change once it is built:
// what goes into a message is a copy, because plugins change what they write.
type RRset struct {
	RRs  []dns.RR
	Sigs []*dns.RRSIG

	makers []merge.Key // the key of each of Sigs
	over   []Digest    // and the digest
	octets octets      // the same, ready to be sent
}

// appendTo appends copies of the records to section, and with do their
// signatures, at owner: the question's spelling of the name.
func (s *RRset) appendTo(section []dns.RR, owner string, do bool) []dns.RR {
	section = slices.Grow(section, len(s.RRs)+len(s.Sigs))
	switch s.rrtype() {
	case dns.TypeDNSKEY:
		section = appendCopies[dns.DNSKEY](section, s.RRs, owner)
	case dns.TypeCDS:
		section = appendCopies[dns.CDS](section, s.RRs, owner)
	case dns.TypeCDNSKEY:
		section = appendCopies[dns.CDNSKEY](section, s.RRs, owner)
	default:
		for _, rr := range s.RRs {
			section = append(section, at(rr, owner))
		}
	}
	if do {
		section = s.appendSigs(section, owner)
	}
	return section
}

// appendSigs appends copies of the signatures alone.
func (s *RRset) appendSigs(section []dns.RR, owner string) []dns.RR {
	return appendCopies[dns.RRSIG](section, s.Sigs, owner)
}

// appendCopies appends copies of rrs at owner, made in one piece. It is for
// types whose fields are all values: what has a slice needs a copy of that as
// well.
func appendCopies[T any, P interface {
	*T
	dns.RR
}, R dns.RR](section []dns.RR, rrs []R, owner string) []dns.RR {
	copies := make([]T, len(rrs))
	for i, rr := range rrs {
		c := P(&copies[i])
		*c = *any(rr).(P)
		c.Header().Name = owner
		section = append(section, c)
	}
	return section
}

// holds reports whether section is copies of the records and then the signatures
// of s at owner, the first of them at least, and nothing in them has changed.
func (s *RRset) holds(section []dns.RR, owner string) bool {
	n := min(len(section), len(s.RRs))
	if n == 0 || len(section) > len(s.RRs)+len(s.Sigs) {
		return false
	}
	for i, rr := range section[:n] {
		if !isCopy(rr, s.RRs[i], owner) {
			return false
		}
	}
	for i, sig := range section[n:] {
		if !isCopy(sig, s.Sigs[i], owner) {
			return false
		}
	}
	return true
}

// isCopy reports whether c is rr at owner, which is of one of the types that
// appendCopies is for. Strings that are the same memory are not read. It takes
// no memory, and little of the stack.
func isCopy(c, rr dns.RR, owner string) bool {
	switch c := c.(type) {
	case *dns.DNSKEY:
		rr, ok := rr.(*dns.DNSKEY)
		return ok && isKey(c, rr, owner)
	case *dns.CDNSKEY:
		rr, ok := rr.(*dns.CDNSKEY)
		return ok && isKey(&c.DNSKEY, &rr.DNSKEY, owner)
	case *dns.CDS:
		rr, ok := rr.(*dns.CDS)
		return ok && isHeader(&c.Hdr, &rr.Hdr, owner) && c.KeyTag == rr.KeyTag && c.Algorithm == rr.Algorithm && c.DigestType == rr.DigestType && c.Digest == rr.Digest
	case *dns.RRSIG:
		rr, ok := rr.(*dns.RRSIG)
		return ok && isHeader(&c.Hdr, &rr.Hdr, owner) && c.TypeCovered == rr.TypeCovered && c.Algorithm == rr.Algorithm && c.Labels == rr.Labels &&
			c.OrigTtl == rr.OrigTtl && c.Expiration == rr.Expiration && c.Inception == rr.Inception && c.KeyTag == rr.KeyTag &&
			c.SignerName == rr.SignerName && c.Signature == rr.Signature
	}
	return false
}

// isKey is isCopy for a key.
func isKey(c, k *dns.DNSKEY, owner string) bool {
	return isHeader(&c.Hdr, &k.Hdr, owner) && c.Flags == k.Flags && c.Protocol == k.Protocol && c.Algorithm == k.Algorithm && c.PublicKey == k.PublicKey
}

// isHeader reports whether c is h with owner for its name. Rdlength says nothing
// before a record is packed.
func isHeader(c, h *dns.RR_Header, owner string) bool {
	return c.Name == owner && c.Rrtype == h.Rrtype && c.Class == h.Class && c.Ttl == h.Ttl
}

// at returns a copy of rr at owner.
func at(rr dns.RR, owner string) dns.RR {
	c := dns.Copy(rr)
	c.Header().Name = owner
	return c
}

// signature returns a signature as it is kept.
func (s *RRset) signature(i int) Signature {
	if i >= len(s.over) { // s was put together elsewhere
		return Signature{RRSIG: s.Sigs[i]}
	}
	return Signature{s.Sigs[i], s.over[i]}
}

// owner returns the name of the records.
func (s *RRset) owner() string { return s.RRs[0].Header().Name }

// rrtype returns the type of the records.
func (s *RRset) rrtype() uint16 { return s.RRs[0].Header().Rrtype }

// sameRecords reports whether a and b are the same records with the same TTL,
// in the same order.
func sameRecords(a, b []dns.RR) bool {
	return slices.EqualFunc(a, b, func(x, y dns.RR) bool {
		return x.Header().Ttl == y.Header().Ttl && dns.IsDuplicate(x, y)
	})
}

// span is how long a set of signatures lasts.
type span struct {
	renew   time.Time // when the first is due
	expires time.Time // when the first ends
}

// add narrows s to what it has in common with t. Zero times say nothing.
func (s *span) add(t span) {
	s.renew = earlier(s.renew, t.renew)
	s.expires = earlier(s.expires, t.expires)
}

// earlier returns the earlier of two times of which a zero one is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
