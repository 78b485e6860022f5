package serve

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/merge"
)

// Signature is a signature of ours as it is kept for the next start.
type Signature struct {
	*dns.RRSIG

	// Over identifies the records, the key and the signature itself, which were
	// known to fit together: a signature is a function of octets, and verifying
	// those of a large fleet takes long. The zero value says nothing, so that the
	// signature is verified before it is used again.
	Over Digest
}

// Digest is the beginning of a SHA-256 hash.
type Digest [16]byte

// digest returns the Digest of sig by the key id over the records whose
// octets records begins with, at owner. It is zero if there is none.
func (s *signer) digest(owner string, records *octets, id merge.Key, sig *dns.RRSIG) Digest {
	wire, _, ok := appendRecord(s.wire[:0], sig)
	s.wire = wire
	if !ok || len(records.ends) < records.records || records.records == 0 {
		return Digest{}
	}
	octets := s.octets[:0]
	for _, part := range [][]byte{
		[]byte(owner), records.wire[:records.ends[records.records-1]],
		{byte(id.Flags >> 8), byte(id.Flags), id.Protocol, id.Algorithm}, []byte(id.PublicKey), wire,
	} {
		octets = binary.BigEndian.AppendUint32(octets, uint32(len(part))) // no two sequences of parts look alike
		octets = append(octets, part...)
	}
	s.octets = octets
	sum := sha256.Sum256(octets)
	return Digest(sum[:len(Digest{})])
}
