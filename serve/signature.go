package serve

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/merge"
)

// Signature is an RRSIG of ours as it is kept for the next start. In this form a
// fleet's take little memory and none of the garbage collector's time.
type Signature struct {
	Owner string // of the RRset
	TTL   uint32 // of the record, in seconds

	// Over identifies the records, the key and the signature itself, which were
	// known to fit together: a signature is a function of octets, and verifying
	// those of a large fleet takes long. The zero value says nothing, so that the
	// signature is verified before it is used again.
	Over Digest

	rdata string // in wire form (RFC 4034 section 3.1)
}

// Digest is the beginning of a SHA-256 hash.
type Digest [16]byte

// rrsigFixed is how many octets come before the signer's name in an RRSIG.
const rrsigFixed = 18

var errSignature = errors.New("not the rdata of an RRSIG record")

// NewSignature returns sig as it is kept. It is an error if sig cannot be packed.
func NewSignature(sig *dns.RRSIG, over Digest) (Signature, error) {
	wire, _, err := appendRecord(nil, sig)
	if err != nil {
		return Signature{}, fmt.Errorf("a signature of %q: %w", sig.Hdr.Name, err)
	}
	return ParseSignature(sig.Hdr.Name, sig.Hdr.Ttl, wire[recordHeader:], over)
}

// ParseSignature returns the signature with that rdata, in wire form. It is an
// error if it is none, or the signer's name is compressed.
func ParseSignature(owner string, ttl uint32, rdata []byte, over Digest) (Signature, error) {
	end := rrsigFixed
	for end < len(rdata) && rdata[end] != 0 {
		if rdata[end] > maxLabel {
			return Signature{}, errSignature
		}
		end += 1 + int(rdata[end])
	}
	end++
	if end >= len(rdata) || end-rrsigFixed > maxName || len(rdata) > dns.MaxMsgSize {
		return Signature{}, errSignature
	}
	return Signature{Owner: owner, TTL: ttl, Over: over, rdata: string(rdata)}, nil
}

// RDATA returns the rdata of the record in wire form.
func (s Signature) RDATA() string { return s.rdata }

// Covers returns the type of the RRset.
func (s Signature) Covers() uint16 { return uint16At(s.rdata, 0) }

// Algorithm returns the algorithm of the key.
func (s Signature) Algorithm() uint8 { return s.rdata[2] }

// Labels returns how many labels the name of the RRset has; fewer, if it was made
// from a wildcard.
func (s Signature) Labels() uint8 { return s.rdata[3] }

// OrigTTL returns the TTL of the RRset, in seconds.
func (s Signature) OrigTTL() uint32 { return uint32At(s.rdata, 4) }

// KeyTag returns the tag of the key.
func (s Signature) KeyTag() uint16 { return uint16At(s.rdata, 16) }

// Expiration returns when the signature ends, and Inception from when it is
// valid: the times nearest to now that the fields can mean (RFC 4034 section
// 3.1.5).
func (s Signature) Expiration(now time.Time) time.Time { return sigTime(uint32At(s.rdata, 8), now) }

// Inception returns from when the signature is valid.
func (s Signature) Inception(now time.Time) time.Time { return sigTime(uint32At(s.rdata, 12), now) }

// RRSIG returns the record.
func (s Signature) RRSIG() *dns.RRSIG {
	sig := new(dns.RRSIG)
	signer, _, _ := dns.UnpackDomainName([]byte(s.rdata[:s.signerEnd()]), rrsigFixed)
	fillRRSIG(sig, s.Owner, s.TTL, s.rdata, signer, base64.StdEncoding.EncodeToString([]byte(s.rdata[s.signerEnd():])))
	return sig
}

// signer returns the signer's name in wire form.
func (s Signature) signer() string { return s.rdata[rrsigFixed:s.signerEnd()] }

// signerEnd returns where the signature follows the signer's name.
func (s Signature) signerEnd() int {
	end := rrsigFixed
	for s.rdata[end] != 0 {
		end += 1 + int(s.rdata[end])
	}
	return end + 1
}

// fillRRSIG makes sig the record with that rdata, of which the names and the
// signature are given as text.
func fillRRSIG(sig *dns.RRSIG, owner string, ttl uint32, rdata, signer, signature string) {
	*sig = dns.RRSIG{
		Hdr:         dns.RR_Header{Name: owner, Rrtype: dns.TypeRRSIG, Class: dns.ClassINET, Ttl: ttl},
		TypeCovered: uint16At(rdata, 0), Algorithm: rdata[2], Labels: rdata[3], OrigTtl: uint32At(rdata, 4),
		Expiration: uint32At(rdata, 8), Inception: uint32At(rdata, 12), KeyTag: uint16At(rdata, 16),
		SignerName: signer, Signature: signature,
	}
}

// sigTime returns the time that a field of an RRSIG means, which is the one
// nearest to now (RFC 4034 section 3.1.5).
func sigTime(field uint32, now time.Time) time.Time {
	t := now.Unix()
	return time.Unix(t+int64(int32(field-uint32(t))), 0)
}

func uint16At(wire string, at int) uint16 { return uint16(wire[at])<<8 | uint16(wire[at+1]) }

func uint32At(wire string, at int) uint32 {
	return uint32(uint16At(wire, at))<<16 | uint32(uint16At(wire, at+2))
}

// hasher makes digests, in room that it keeps.
type hasher struct{ room []byte }

// digest returns the Digest of sig, a record as [RRset] has them, by the key id
// over the records at owner.
func (h *hasher) digest(owner string, records []byte, id merge.Key, sig []byte) Digest {
	all := h.room[:0]
	for _, part := range [][]byte{
		[]byte(owner), records, {byte(id.Flags >> 8), byte(id.Flags), id.Protocol, id.Algorithm}, []byte(id.PublicKey), sig,
	} {
		all = binary.BigEndian.AppendUint32(all, uint32(len(part))) // no two sequences of parts look alike
		all = append(all, part...)
	}
	return h.sum(all)
}

// announced returns the Digest of what is announced for a zone.
func (h *hasher) announced(a Announced) Digest { return h.sum(a.append(h.room[:0])) }

// sum returns the Digest of octets, whose room is h's from then on.
func (h *hasher) sum(octets []byte) Digest {
	h.room = octets
	sum := sha256.Sum256(octets)
	return Digest(sum[:len(Digest{})])
}
