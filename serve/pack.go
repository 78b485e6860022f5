package serve

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/miekg/dns"
)

// packer puts an RRset together.
type packer struct {
	owner   string
	rrtype  uint16
	records int

	wire, text []byte
	marks      []mark // with the ends of texts counted from that of the first
}

// pack packs the records of an RRset, in the room of those before.
func (p *packer) pack(rrs []dns.RR) error {
	h := rrs[0].Header()
	if len(rrs) > math.MaxUint16 {
		return fmt.Errorf("%s of %q: %d records", dns.Type(h.Rrtype), h.Name, len(rrs))
	}
	p.owner, p.rrtype, p.records = h.Name, h.Rrtype, len(rrs)
	p.wire, p.text, p.marks = p.wire[:0], p.text[:0], p.marks[:0]
	for _, rr := range rrs {
		wire, length, err := appendRecord(p.wire, rr)
		if err != nil {
			return fmt.Errorf("%s of %q: %w", dns.Type(h.Rrtype), h.Name, err)
		}
		p.wire = wire
		p.mark(length, textOf(rr))
	}
	return nil
}

// NewRRset returns rrs with sigs, which are by keys of one zone and not verified. It
// is an error if one of them cannot be packed. There are records, and nobody else
// reads them meanwhile: miekg/dns writes to what it packs.
func NewRRset(rrs []dns.RR, sigs []*dns.RRSIG) (*RRset, error) {
	var p packer
	if err := p.pack(rrs); err != nil {
		return nil, err
	}
	kept := make([]Signature, len(sigs))
	signer := ""
	for i, sig := range sigs {
		var err error
		if kept[i], err = NewSignature(sig, Digest{}); err != nil {
			return nil, err
		}
		signer = sig.SignerName
	}
	return p.with(kept, signer), nil
}

// textOf returns what of a record messages have as text, and is long.
func textOf(rr dns.RR) string {
	switch rr := rr.(type) {
	case *dns.DNSKEY:
		return rr.PublicKey
	case *dns.CDNSKEY:
		return rr.PublicKey
	case *dns.CDS:
		return rr.Digest
	}
	return ""
}

// mark marks the end of a record that miekg/dns takes for that long.
func (p *packer) mark(length int, text string) {
	p.text = append(p.text, text...)
	if n := len(p.marks); n > 0 {
		length += int(p.marks[n-1].length)
	}
	p.marks = append(p.marks, mark{extent: extent{end: uint32(len(p.wire)), length: uint32(length)}, text: uint32(len(p.text))})
}

// ttl returns the TTL of the records, in seconds.
func (p *packer) ttl() uint32 { return binary.BigEndian.Uint32(p.wire[pointerSize+4:]) }

// recordOctets returns the octets of the records.
func (p *packer) recordOctets() []byte { return p.wire[:p.marks[p.records-1].end] }

// with returns the RRset with sigs, all by the keys of signer.
func (p *packer) with(sigs []Signature, signer string) *RRset {
	for _, sig := range sigs {
		start := len(p.wire)
		p.wire = sig.appendRecord(p.wire)
		octets := sig.rdata[sig.signerEnd():]
		text := base64.StdEncoding.EncodeToString([]byte(octets))
		padding := base64.StdEncoding.DecodedLen(len(text)) - len(octets)
		p.mark(len(p.wire)-start+padding, text)
	}
	s := &RRset{
		owner: p.owner, signer: signer, rrtype: p.rrtype, records: uint16(p.records),
		marks: slices.Clone(p.marks), whole: p.marks[len(p.marks)-1].extent, plain: p.marks[p.records-1].extent,
	}
	for i := range s.marks {
		s.marks[i].text += uint32(len(p.wire))
	}
	p.wire = append(p.wire, p.text...)
	for _, sig := range sigs {
		p.wire = append(p.wire, sig.Over[:]...)
	}
	s.data = string(p.wire)
	return s
}

// is reports whether s is the RRset that with would return.
func (p *packer) is(s *RRset, sigs []Signature, signer string) bool {
	if !p.holds(s) || s.signer != signer || s.signatures() != len(sigs) {
		return false
	}
	for i, sig := range sigs {
		if s.signature(i) != sig {
			return false
		}
	}
	return true
}

// holds reports whether the records are those of s with the same TTL, in the same
// order.
func (p *packer) holds(s *RRset) bool {
	return s != nil && s.owner == p.owner && s.rrtype == p.rrtype && int(s.records) == p.records && s.wire(p.records) == string(p.recordOctets())
}

// appendRecord appends rr with a pointer for its owner, and returns how long
// miekg/dns reckons it to be.
func appendRecord(wire []byte, rr dns.RR) (_ []byte, length int, err error) {
	at, size := len(wire), dns.Len(rr)
	room := slices.Grow(wire, size+pointerSize)[:at+size+pointerSize]
	h := *rr.Header() // packing writes to it
	end, err := dns.PackRR(rr, room, at, nil, false)
	*rr.Header() = h
	if err != nil {
		return wire, 0, err
	}
	owner := at
	for room[owner] != 0 { // no name is compressed
		owner += 1 + int(room[owner])
	}
	owner++
	n := copy(room[at+pointerSize:], room[owner:end])
	binary.BigEndian.PutUint16(room[at:], toQuestion)
	return room[:at+pointerSize+n], size - (owner - at) + pointerSize, nil
}

// appendRecord appends the record that s is, with a pointer for its owner.
func (s Signature) appendRecord(wire []byte) []byte {
	wire = binary.BigEndian.AppendUint16(wire, toQuestion)
	wire = binary.BigEndian.AppendUint16(wire, dns.TypeRRSIG)
	wire = binary.BigEndian.AppendUint16(wire, dns.ClassINET)
	wire = binary.BigEndian.AppendUint32(wire, s.TTL)
	wire = binary.BigEndian.AppendUint16(wire, uint16(len(s.rdata)))
	return append(wire, s.rdata...)
}
