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
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// RRset is an RRset with its signatures. It does not change once it is built:
// what goes into a message is made out of it, because plugins change what they
// write. A fleet has hundreds of thousands, so it is little more than octets, in
// one piece: what the garbage collector has to visit, it visits again and again.
type RRset struct {
	// What an answer needs comes first, in one line of a processor's cache: in a fleet
	// it is in memory, and each line is waited for.

	// data is all records on the wire, then what of them messages have as text:
	// the keys, digests and signatures in base64 or hexadecimal, then a Digest for
	// each signature.
	//
	// On the wire, each has a pointer to the question's name for its owner. No
	// names in them are compressed: so the spelling of the question does not reach
	// them.
	data  string
	whole extent // of all records
	plain extent // of those before the signatures

	rrtype  uint16
	records uint16 // how many come before the signatures
	marks   []mark // one for each record

	owner  string // the name of the records
	signer string // of all signatures, "" without any
}

// extent is how far some records reach from the beginning of data.
type extent struct {
	end uint32 // in octets
	// length is end as miekg/dns reckons it, who takes a base64 field for up to two
	// octets longer than it is. Truncation goes by these.
	length uint32
}

// mark says where a record is.
type mark struct {
	extent        // of the records up to this one
	text   uint32 // where its text in data ends, which begins where that before does
}

// recordHeader is how many octets of a record come before its rdata, after a
// pointer for its owner.
const recordHeader = pointerSize + 10

// count returns how many records a client gets.
func (s *RRset) count(do bool) int {
	if do {
		return len(s.marks)
	}
	return int(s.records)
}

// upTo returns the extent of the first n records, of which there is one.
func (s *RRset) upTo(n int) extent {
	switch n {
	case len(s.marks):
		return s.whole
	case int(s.records):
		return s.plain
	}
	return s.marks[n-1].extent
}

// wire returns the octets of the first n records.
func (s *RRset) wire(n int) string { return s.data[:s.upTo(n).end] }

// length returns how many octets miekg/dns reckons these to be.
func (s *RRset) length(n int) int { return int(s.upTo(n).length) }

// octets returns those of one record.
func (s *RRset) octets(i int) string {
	start := uint32(0)
	if i > 0 {
		start = s.marks[i-1].end
	}
	return s.data[start:s.marks[i].end]
}

// rdata returns the rdata of one record.
func (s *RRset) rdata(i int) string { return s.octets(i)[recordHeader:] }

// ttl returns the TTL of one record, in seconds.
func (s *RRset) ttl(i int) uint32 { return uint32At(s.octets(i), pointerSize+4) }

// text returns what of a record messages have as text.
func (s *RRset) text(i int) string {
	start := s.marks[len(s.marks)-1].end
	if i > 0 {
		start = s.marks[i-1].text
	}
	return s.data[start:s.marks[i].text]
}

// signatures returns how many there are.
func (s *RRset) signatures() int { return len(s.marks) - int(s.records) }

// signature returns a signature as it is kept.
func (s *RRset) signature(i int) Signature {
	at := int(s.records) + i
	over := int(s.marks[len(s.marks)-1].text) + i*len(Digest{})
	return Signature{
		Owner: s.owner, TTL: s.ttl(at), rdata: s.rdata(at),
		Over: Digest([]byte(s.data[over : over+len(Digest{})])),
	}
}

// kept returns all signatures as they are kept.
func (s *RRset) kept() []Signature {
	sigs := make([]Signature, s.signatures())
	for i := range sigs {
		sigs[i] = s.signature(i)
	}
	return sigs
}

// RRs returns the records, which the caller may change.
func (s *RRset) RRs() []dns.RR { return s.appendTo(nil, s.owner, false) }

// Sigs returns the signatures, which the caller may change.
func (s *RRset) Sigs() []*dns.RRSIG {
	sigs := make([]*dns.RRSIG, s.signatures())
	for i := range sigs {
		sigs[i] = new(dns.RRSIG)
		s.fillRRSIG(sigs[i], i, s.owner)
	}
	return sigs
}

// appendTo appends the records to section, and with do their signatures, at
// owner: the question's spelling of the name.
func (s *RRset) appendTo(section []dns.RR, owner string, do bool) []dns.RR {
	n := int(s.records)
	section = slices.Grow(section, s.count(do))
	switch s.rrtype {
	case dns.TypeDNSKEY:
		rrs := make([]dns.DNSKEY, n)
		for i := range rrs {
			s.fillKey(&rrs[i], i, owner)
			section = append(section, &rrs[i])
		}
	case dns.TypeCDNSKEY:
		rrs := make([]dns.CDNSKEY, n)
		for i := range rrs {
			s.fillKey(&rrs[i].DNSKEY, i, owner)
			section = append(section, &rrs[i])
		}
	case dns.TypeCDS:
		rrs := make([]dns.CDS, n)
		for i := range rrs {
			rdata := s.rdata(i)
			rrs[i].DS = dns.DS{
				Hdr: s.header(i, owner), KeyTag: uint16At(rdata, 0), Algorithm: rdata[2], DigestType: rdata[3], Digest: s.text(i),
			}
			section = append(section, &rrs[i])
		}
	default:
		for i := range n {
			section = append(section, s.unpack(i, owner))
		}
	}
	if do {
		section = s.appendSigs(section, owner)
	}
	return section
}

// appendSigs appends the signatures alone.
func (s *RRset) appendSigs(section []dns.RR, owner string) []dns.RR {
	sigs := make([]dns.RRSIG, s.signatures())
	for i := range sigs {
		s.fillRRSIG(&sigs[i], i, owner)
		section = append(section, &sigs[i])
	}
	return section
}

// header returns the header of one record, without the length of the rdata, which
// says nothing before a record is packed.
func (s *RRset) header(i int, owner string) dns.RR_Header {
	return dns.RR_Header{Name: owner, Rrtype: s.rrtype, Class: dns.ClassINET, Ttl: s.ttl(i)}
}

// fillKey makes rr one of the records, which are keys.
func (s *RRset) fillKey(rr *dns.DNSKEY, i int, owner string) {
	rdata := s.rdata(i)
	*rr = dns.DNSKEY{Hdr: s.header(i, owner), Flags: uint16At(rdata, 0), Protocol: rdata[2], Algorithm: rdata[3], PublicKey: s.text(i)}
}

// fillRRSIG makes sig one of the signatures.
func (s *RRset) fillRRSIG(sig *dns.RRSIG, i int, owner string) {
	at := int(s.records) + i
	fillRRSIG(sig, owner, s.ttl(at), s.rdata(at), s.signer, s.text(at))
}

// unpack returns one of the records.
func (s *RRset) unpack(i int, owner string) dns.RR {
	h := s.header(i, owner)
	rdata := []byte(s.rdata(i))
	h.Rdlength = uint16(len(rdata))
	rr, _, err := dns.UnpackRRWithHeader(h, rdata, 0)
	if err != nil { // it was packed by the same package
		return &dns.RFC3597{Hdr: h, Rdata: fmt.Sprintf("%x", rdata)}
	}
	rr.Header().Rdlength = 0
	return rr
}

// holds reports whether section is the records and then the signatures of s at
// owner as appendTo makes them, the first of them at least, and nothing in them
// has changed.
func (s *RRset) holds(section []dns.RR, owner string) bool {
	if len(section) == 0 || len(section) > len(s.marks) {
		return false
	}
	for i, rr := range section {
		if !s.isCopy(rr, i, owner) {
			return false
		}
	}
	return true
}

// isCopy reports whether c is one of the records at owner, and of one of the types
// that are made without unpacking. Strings that are the same memory are not read.
// It takes no memory, and little of the stack.
func (s *RRset) isCopy(c dns.RR, i int, owner string) bool {
	switch rrtype := s.typeOf(i); c := c.(type) {
	case *dns.DNSKEY:
		return rrtype == dns.TypeDNSKEY && s.isKey(c, i, owner)
	case *dns.CDNSKEY:
		return rrtype == dns.TypeCDNSKEY && s.isKey(&c.DNSKEY, i, owner)
	case *dns.CDS:
		rdata := s.rdata(i)
		return rrtype == dns.TypeCDS && s.isHeader(&c.Hdr, i, owner) && c.KeyTag == uint16At(rdata, 0) &&
			c.Algorithm == rdata[2] && c.DigestType == rdata[3] && c.Digest == s.text(i)
	case *dns.RRSIG:
		rdata := s.rdata(i)
		return rrtype == dns.TypeRRSIG && s.isHeader(&c.Hdr, i, owner) && c.TypeCovered == uint16At(rdata, 0) &&
			c.Algorithm == rdata[2] && c.Labels == rdata[3] && c.OrigTtl == uint32At(rdata, 4) &&
			c.Expiration == uint32At(rdata, 8) && c.Inception == uint32At(rdata, 12) && c.KeyTag == uint16At(rdata, 16) &&
			c.SignerName == s.signer && c.Signature == s.text(i)
	}
	return false
}

// typeOf returns the type of one record.
func (s *RRset) typeOf(i int) uint16 {
	if i >= int(s.records) {
		return dns.TypeRRSIG
	}
	return s.rrtype
}

// isKey is isCopy for a key.
func (s *RRset) isKey(c *dns.DNSKEY, i int, owner string) bool {
	rdata := s.rdata(i)
	return s.isHeader(&c.Hdr, i, owner) && c.Flags == uint16At(rdata, 0) && c.Protocol == rdata[2] && c.Algorithm == rdata[3] && c.PublicKey == s.text(i)
}

// isHeader reports whether h is the header of one record. Rdlength says nothing
// before a record is packed.
func (s *RRset) isHeader(h *dns.RR_Header, i int, owner string) bool {
	return h.Name == owner && h.Rrtype == s.typeOf(i) && h.Class == dns.ClassINET && h.Ttl == s.ttl(i)
}

// span is how long a set of signatures lasts, in seconds since 1970. Zero times
// say nothing.
type span struct {
	renew   int64 // when the first is due
	expires int64 // when the first ends
}

// add narrows s to what it has in common with t.
func (s *span) add(t span) {
	s.renew = earlier(s.renew, t.renew)
	s.expires = earlier(s.expires, t.expires)
}

// earlier returns the earlier of two times of which a zero one is none.
func earlier(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// timeOf returns a time of a span.
func timeOf(t int64) time.Time {
	if t == 0 {
		return time.Time{}
	}
	return time.Unix(t, 0)
}
