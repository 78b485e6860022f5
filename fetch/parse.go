package fetch

import (
	"encoding/binary"
	"errors"

	"github.com/miekg/dns"
)

// What is read of a message at most. The octets of a message are bounded, but
// not what becomes of them: a name of 255 octets takes two when compressed.
const (
	// maxRecords bounds the records. An apex RRset of 64 keys with its
	// signatures has fewer than a hundred.
	maxRecords = 512

	// maxOptions bounds the octets of EDNS options that are read.
	maxOptions = 512

	// maxProofs bounds the octets of NSEC and NSEC3 that are read: an octet of
	// their bitmaps becomes eight types. A proof takes at most three or four
	// records, of hardly more than 300 octets each.
	maxProofs = 4096
)

var errMalformed = errors.New("malformed message")

// parse reads the message p, whose question ends at off: of its records those
// that an answer to a question for qtype is made of. Others are dropped unread
// (rule F9). What there is has to be whole.
func parse(p []byte, off int, qtype uint16) (*dns.Msg, error) {
	m, err := parseHead(p, off)
	if err != nil {
		return nil, err
	}
	options, proofs := 0, 0
	for i, section := range []*[]dns.RR{&m.Answer, &m.Ns, &m.Extra} {
		for range entries(p, 1+i) {
			fixed, err := skipName(p, off)
			if err != nil || len(p) < fixed+10 {
				return nil, errMalformed
			}
			end := fixed + 10 + int(binary.BigEndian.Uint16(p[fixed+8:]))
			if len(p) < end {
				return nil, errMalformed
			}
			rrtype := binary.BigEndian.Uint16(p[fixed:])
			proof := rrtype == dns.TypeNSEC || rrtype == dns.TypeNSEC3
			if proof {
				proofs += end - fixed
			}
			if wanted(rrtype, qtype) && !(proof && proofs > maxProofs) {
				rr, err := record(p, off, fixed, end)
				if err != nil {
					return nil, err
				}
				if rrtype == dns.TypeOPT {
					options++
				}
				*section = append(*section, rr)
			}
			off = end
		}
	}
	if options > 1 { // RFC 6891 section 6.1.1
		return nil, errMalformed
	}
	if opt := m.IsEdns0(); opt != nil {
		m.Rcode |= opt.ExtendedRcode()
	}
	return m, nil
}

// parseHead reads the header of p and its question, if that makes it end at off.
func parseHead(p []byte, off int) (*dns.Msg, error) {
	flags := binary.BigEndian.Uint16(p[2:])
	flag := func(bit int) bool { return flags>>bit&1 == 1 }
	m := &dns.Msg{MsgHdr: dns.MsgHdr{ // RFC 1035 section 4.1.1, RFC 4035 section 3.2
		Id: binary.BigEndian.Uint16(p), Response: flag(15), Opcode: int(flags >> 11 & 0xf),
		Authoritative: flag(10), Truncated: flag(9), RecursionDesired: flag(8), RecursionAvailable: flag(7),
		Zero: flag(6), AuthenticatedData: flag(5), CheckingDisabled: flag(4), Rcode: int(flags & 0xf),
	}}
	if off == headerSize {
		return m, nil
	}
	name, end, err := dns.UnpackDomainName(p, headerSize)
	if err != nil || end+4 != off {
		return nil, errMalformed
	}
	m.Question = []dns.Question{{Name: name, Qtype: binary.BigEndian.Uint16(p[end:]), Qclass: binary.BigEndian.Uint16(p[end+2:])}}
	return m, nil
}

// wanted reports whether records of rrtype can belong to an answer to a question
// for qtype: what was asked for, what leads elsewhere, and what proves.
func wanted(rrtype, qtype uint16) bool {
	switch rrtype {
	case qtype, dns.TypeCNAME, dns.TypeDNAME, dns.TypeSOA, dns.TypeNS, dns.TypeDS,
		dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeOPT:
		return true
	}
	return false
}

// record reads the record from off to end of p, whose type stands at fixed.
func record(p []byte, off, fixed, end int) (dns.RR, error) {
	h := dns.RR_Header{
		Name: ".", Rrtype: binary.BigEndian.Uint16(p[fixed:]), Class: binary.BigEndian.Uint16(p[fixed+2:]),
		Ttl: binary.BigEndian.Uint32(p[fixed+4:]),
	}
	if h.Rrtype == dns.TypeOPT && end-fixed-10 > maxOptions {
		return &dns.OPT{Hdr: h}, nil // without its options
	}
	rr, next, err := dns.UnpackRR(p, off)
	if err == nil && next != end {
		err = errMalformed
	}
	return rr, err
}

// skipName returns where the name at off ends.
func skipName(p []byte, off int) (int, error) {
	for off < len(p) {
		switch length := int(p[off]); {
		case length == 0:
			return off + 1, nil
		case length&0xc0 == 0xc0: // a pointer ends a name (RFC 1035 section 4.1.4)
			return off + 2, nil
		case length&0xc0 != 0:
			return 0, errMalformed
		default:
			off += 1 + length
		}
	}
	return 0, errMalformed
}

// entries returns how many entries a section has, as p's header says.
func entries(p []byte, section int) int { return int(binary.BigEndian.Uint16(p[4+2*section:])) }

// name returns the octets of the name that asked, a message of ours, asks for.
func name(asked []byte) []byte {
	end, _ := skipName(asked, headerSize)
	return asked[headerSize:end]
}

// question returns the octets of asked's question.
func question(asked []byte) []byte { return asked[headerSize : headerSize+len(name(asked))+4] }

// qtype returns the type that asked asks for.
func qtype(asked []byte) uint16 {
	return binary.BigEndian.Uint16(asked[headerSize+len(name(asked)):])
}
