package hostile

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"encoding/base64"
	mathrand "math/rand/v2"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
)

// cipher is a kind of keys that an attacker chooses for what they cost.
type cipher struct {
	name      string
	algorithm uint8
	signature int // octets
}

var ciphers = []cipher{
	{"P-256", dns.ECDSAP256SHA256, 64},
	{"P-384", dns.ECDSAP384SHA384, 96},
	{"Ed25519", dns.ED25519, 64},
	// Any odd number does for a modulus, 2^31-1 is the largest exponent that
	// crypto/rsa takes.
	{"RSA-4096", dns.RSASHA512, 512},
}

// noise is for octets that look random and are the same in each run.
func noise(seed string) *mathrand.ChaCha8 {
	var key [32]byte
	copy(key[:], seed)
	return mathrand.NewChaCha8(key)
}

func octets(r *mathrand.ChaCha8, n int) []byte {
	p := make([]byte, n)
	_, _ = r.Read(p) // it cannot fail
	return p
}

// publicKey returns a key that nobody has the private half of, or need not.
func (c cipher) publicKey(r *mathrand.ChaCha8) []byte {
	switch c.algorithm {
	case dns.ECDSAP256SHA256:
		return point(ecdh.P256(), r, 32)
	case dns.ECDSAP384SHA384:
		return point(ecdh.P384(), r, 48)
	case dns.ED25519:
		return point25519(r)
	}
	modulus := octets(r, 512)
	modulus[0] |= 0x80
	modulus[511] |= 1
	return append([]byte{4, 0x7f, 0xff, 0xff, 0xff}, modulus...)
}

// point returns a point of a curve, as a DNSKEY has it.
func point(curve ecdh.Curve, r *mathrand.ChaCha8, size int) []byte {
	for {
		k, err := curve.NewPrivateKey(octets(r, size))
		if err == nil {
			return k.PublicKey().Bytes()[1:]
		}
	}
}

// junkSignature returns octets that take as long to refuse as a signature does
// to accept.
func (c cipher) junkSignature(r *mathrand.ChaCha8) []byte {
	p := octets(r, c.signature)
	switch c.algorithm {
	case dns.ED25519:
		copy(p, point25519(r))
		p[63] &= 0x0f // below the order
	default:
		p[0] &= 0x7f
		p[c.signature/2] &= 0x7f
	}
	return p
}

// point25519 returns a point of Ed25519's curve.
func point25519(r *mathrand.ChaCha8) []byte {
	return ed25519.NewKeyFromSeed(octets(r, ed25519.SeedSize)).Public().(ed25519.PublicKey)
}

// junkKeys returns n different keys of a zone whose tag is junkTag, with SEP or
// without. The tag of a key is a checksum, and most flags mean nothing, so
// that they can be chosen to make up for the rest.
func (c cipher) junkKeys(zone string, sep bool, n int) []*lab.Key {
	r := noise(c.name + zone)
	var keys []*lab.Key
	for len(keys) < n {
		k := &dns.DNSKEY{
			Hdr:   dns.RR_Header{Name: zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600},
			Flags: dns.ZONE, Protocol: 3, Algorithm: c.algorithm,
			PublicKey: base64.StdEncoding.EncodeToString(c.publicKey(r)),
		}
		if flags, ok := flagsFor(k, sep); ok {
			k.Flags = flags
			keys = append(keys, &lab.Key{DNSKEY: k})
		}
	}
	return keys
}

// flagsFor returns flags that give k the tag junkTag, if there are such.
func flagsFor(k *dns.DNSKEY, sep bool) (uint16, bool) {
	base := uint32(dns.ZONE)
	if sep {
		base |= dns.SEP
	}
	k.Flags = 0
	without := uint32(k.KeyTag())
	for extra := range uint32(1 << 16) {
		if extra&(dns.ZONE|dns.SEP|dns.REVOKE) != 0 {
			continue
		}
		sum := without + (base | extra)
		if uint16(sum+sum>>16) != junkTag {
			continue
		}
		k.Flags = uint16(base | extra)
		if k.KeyTag() == junkTag {
			return k.Flags, true
		}
	}
	return 0, false
}

// junkSigs returns n RRSIGs over rrs that say that a key of tag junkTag made
// them, and do not verify.
func (c cipher) junkSigs(z *lab.Zone, rrs []dns.RR, n int) []dns.RR {
	h := rrs[0].Header()
	r := noise(c.name + h.Name + dns.TypeToString[h.Rrtype])
	template := z.SignWith(z.Keys[0], rrs)
	var sigs []dns.RR
	for range n {
		sig := *template
		sig.Algorithm, sig.KeyTag = c.algorithm, junkTag
		sig.Signature = base64.StdEncoding.EncodeToString(c.junkSignature(r))
		sigs = append(sigs, &sig)
	}
	return sigs
}

// sigsThatFit is how many signatures a message of 64 KB has room for, next to
// other records.
func (c cipher) sigsThatFit(others int) int {
	const fixed = 12 + 18 + 40 // owner, type, class, TTL, length; fields; signer
	return min(500-others, (60000-others*(c.signature+24))/(c.signature+fixed))
}

// junkTag is the one tag of all junk keys.
const junkTag = 4242
