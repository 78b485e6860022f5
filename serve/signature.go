package serve

import (
	"crypto/sha256"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/keys"
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

// digestOf returns the Digest of sig by k over the records whose octets records
// begins with, at owner. It is zero if there is none.
func digestOf(owner string, records *octets, k *keys.Key, sig *dns.RRSIG) Digest {
	id := k.ID()
	wire, _, ok := appendRecord(make([]byte, 0, dns.Len(sig)+1), sig)
	if !ok || len(records.ends) < records.records || records.records == 0 {
		return Digest{}
	}
	h := sha256.New()
	for _, part := range [][]byte{
		[]byte(owner), records.wire[:records.ends[records.records-1]],
		{byte(id.Flags >> 8), byte(id.Flags), id.Protocol, id.Algorithm}, []byte(id.PublicKey), wire,
	} {
		n := len(part)
		h.Write([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}) // no two sequences of parts look alike
		h.Write(part)
	}
	return Digest(h.Sum(nil))
}
