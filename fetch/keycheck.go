package fetch

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"math/big"
	"slices"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/validate"
)

const (
	refAlgorithm = "RFC 8624 section 3.1"
	refRSA       = "RFC 3110 section 2"
	refKey       = "RFC 4034 section 2.1"

	// The sizes of RSA keys, in bits, that resolvers are known to take: less
	// is refused by common crypto policies, more by RFC 3110 section 2.
	minRSA = 1024
	maxRSA = 4096

	// maxExponent is the largest RSA exponent that Go's crypto/rsa takes.
	maxExponent = 1<<31 - 1
)

// The delete sentinels of RFC 8078 section 4.
var (
	deleteKey = merge.Key{Protocol: 3, PublicKey: "AA=="}
	deleteDS  = merge.DS{Digest: "00"}
)

// checkKey returns which rule k breaks and where it is written, or "".
func checkKey(k merge.Key) (check, ref string) {
	tagged := func(format string, args ...any) string {
		return fmt.Sprintf("key %d: ", k.Tag()) + fmt.Sprintf(format, args...)
	}
	switch {
	case k == deleteKey:
		return "the delete sentinel 0 3 0 AA==", refDelete
	case k.Flags&dns.ZONE == 0:
		return tagged("the ZONE flag is not set, so it is no zone key"), refKey
	case k.Flags&dns.REVOKE != 0:
		return tagged("the REVOKE flag is set"), "RFC 5011 section 2.1"
	case k.Protocol != 3:
		return tagged("protocol %d instead of 3", k.Protocol), refKey
	case !validate.SupportedAlgorithm(k.Algorithm):
		return tagged("%s", unsupported(k.Algorithm)), refAlgorithm
	}
	if fault, ref := checkPublicKey(k); fault != "" {
		return tagged("%s", fault), ref
	}
	return "", ""
}

func unsupported(algorithm uint8) string {
	name, ok := dns.AlgorithmToString[algorithm]
	if !ok {
		name = "unknown"
	}
	return fmt.Sprintf("algorithm %d (%s) is not supported", algorithm, name)
}

// checkPublicKey says what is wrong with the public key of k, or "".
func checkPublicKey(k merge.Key) (fault, ref string) {
	octets, err := base64.StdEncoding.DecodeString(k.PublicKey)
	if err != nil {
		return "the public key is not base64", refKey
	}
	switch k.Algorithm {
	case dns.RSASHA256, dns.RSASHA512:
		return checkRSA(octets), refRSA
	case dns.ECDSAP256SHA256:
		return checkPoint(ecdh.P256(), octets), "RFC 6605 section 4"
	case dns.ECDSAP384SHA384:
		return checkPoint(ecdh.P384(), octets), "RFC 6605 section 4"
	case dns.ED25519:
		return checkEdwards(octets), "RFC 8080 section 3"
	}
	return "", ""
}

// checkPoint says what is wrong with an ECDSA public key, or "".
func checkPoint(curve ecdh.Curve, octets []byte) string {
	// The record leaves out the octet that says "uncompressed".
	if _, err := curve.NewPublicKey(append([]byte{4}, octets...)); err != nil {
		return "malformed public key: not a point on the curve"
	}
	return ""
}

// checkEdwards says what is wrong with an Ed25519 public key, or "". Whether it
// is a point the standard library tells only by refusing every signature. So this
// decodes it: y, and x by the curve's equation (RFC 8032 section 5.1.3).
func checkEdwards(octets []byte) string {
	if len(octets) != ed25519.PublicKeySize {
		return "malformed public key: not 32 octets"
	}
	bigEndian := slices.Clone(octets)
	slices.Reverse(bigEndian)
	sign := bigEndian[0] >> 7
	bigEndian[0] &= 0x7f
	y, one := new(big.Int).SetBytes(bigEndian), big.NewInt(1)
	square := new(big.Int).Mul(y, y)
	over := new(big.Int).Add(new(big.Int).Mul(edwardsD, square), one) // d y^2 + 1
	square.Sub(square, one)                                           // y^2 - 1
	x2 := square.Mod(square.Mul(square, over.ModInverse(over.Mod(over, edwardsP), edwardsP)), edwardsP)
	x := new(big.Int).ModSqrt(x2, edwardsP)
	if y.Cmp(edwardsP) >= 0 || x == nil || x.Sign() == 0 && sign == 1 {
		return "malformed public key: not a point on the curve"
	}
	return ""
}

// The field of edwards25519 and its constant d = -121665/121666 (RFC 8032 section
// 5.1).
var (
	edwardsP = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	edwardsD = new(big.Int).Mul(big.NewInt(-121665), new(big.Int).ModInverse(big.NewInt(121666), edwardsP))
)

// checkRSA says what is wrong with an RSA public key, or "".
func checkRSA(octets []byte) string {
	const malformed = "malformed public key"
	if len(octets) < 3 {
		return malformed
	}
	size, rest := int(octets[0]), octets[1:]
	if size == 0 {
		size, rest = int(octets[1])<<8|int(octets[2]), octets[3:]
	}
	if size == 0 || size >= len(rest) || rest[0] == 0 || rest[size] == 0 {
		return malformed
	}
	e, n := new(big.Int).SetBytes(rest[:size]), new(big.Int).SetBytes(rest[size:])
	switch {
	case n.BitLen() < minRSA || n.BitLen() > maxRSA:
		return fmt.Sprintf("an RSA key of %d bits, not %d to %d", n.BitLen(), minRSA, maxRSA)
	case n.Bit(0) == 0 || e.Bit(0) == 0 || e.Cmp(big.NewInt(3)) < 0:
		return malformed
	case e.Cmp(big.NewInt(maxExponent)) > 0:
		return "the RSA exponent is too large to be used"
	}
	return ""
}
