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

// maxSignature is how many octets an RRSIG takes, but for one with long names.
const maxSignature = 700

// Digest is the beginning of a SHA-256 hash.
type Digest [16]byte

// digestOf returns the Digest of sig by k, which is id, over the records whose
// octets records begins with, at owner. It is zero if there is none.
func digestOf(owner string, records *octets, id merge.Key, sig *dns.RRSIG) Digest {
	var room [maxSignature]byte
	wire, _, ok := appendRecord(room[:0], sig)
	if !ok || len(records.ends) < records.records || records.records == 0 {
		return Digest{}
	}
	var space [4096]byte
	octets := space[:0]
	for _, part := range [][]byte{
		[]byte(owner), records.wire[:records.ends[records.records-1]],
		{byte(id.Flags >> 8), byte(id.Flags), id.Protocol, id.Algorithm}, []byte(id.PublicKey), wire,
	} {
		octets = binary.BigEndian.AppendUint32(octets, uint32(len(part))) // no two sequences of parts look alike
		octets = append(octets, part...)
	}
	sum := sha256.Sum256(octets)
	return Digest(sum[:len(Digest{})])
}
