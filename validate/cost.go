package validate

import (
	"math/bits"

	"github.com/miekg/dns"
)

// What work costs, in units of maxCost: about a microsecond each on the slow side
// of today's servers. BenchmarkCosts measures them.
const (
	costP256    = 190
	costP384    = 730
	costEd25519 = 90
)

// rsaCost returns what a verification with an RSA key costs: it grows with the
// square of the modulus's size and with the multiplications that the exponent
// takes. 65537 takes 17, the largest exponent that is supported 60.
func rsaCost(size int, exponent uint32) int {
	kilobits := (size + 1023) / 1024
	multiplications := bits.Len32(exponent) + bits.OnesCount32(exponent) - 1
	return kilobits * kilobits * (80 + 7*multiplications) / 10
}

// readCost returns what it costs to sort out records of that size together.
func readCost(records, octets int) int { return records + octets/128 }

// cost returns what it costs to put the RRset in canonical form and hash it.
func (s *rrset) cost() int { return 2*len(s.rrs) + s.octets/128 }

// tagCost returns what it costs to compute the tag of a DNSKEY, and to hash it
// once for each kind of digest.
func tagCost(k *dns.DNSKEY) int { return 4 + len(k.PublicKey)/32 }

// hashCost returns what it costs to hash a name for NSEC3: each iteration hashes
// 20 octets and the salt, in blocks of 64 (RFC 5155 section 5).
func hashCost(iterations, salt int) int {
	blocks := (20 + salt + 9 + 63) / 64
	return 3 + iterations*(blocks+1)/16
}
