package lab

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"sync"

	"github.com/miekg/dns"
)

// Key is a zone's key. Without a Signer (an algorithm that Go cannot sign
// with) its signatures are noise.
type Key struct {
	*dns.DNSKEY
	Signer crypto.Signer
}

// rsaBits is the size of RSA keys: the least that crypto/rsa allows.
const rsaBits = 1024

// NewKey returns a key of the zone. The same arguments give the same key. It
// panics if the key cannot be made.
func NewKey(zone string, algorithm uint8, flags uint16, seed string) *Key {
	zone = dns.CanonicalName(zone)
	k := &Key{DNSKEY: &dns.DNSKEY{
		Hdr:       dns.RR_Header{Name: zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: defaultTTL},
		Flags:     flags,
		Protocol:  3,
		Algorithm: algorithm,
	}}
	signer, public, err := generate(algorithm, fmt.Sprintf("%s/%d/%d/%s", zone, algorithm, flags, seed))
	if err != nil {
		panic(fmt.Sprintf("lab: key for %q: %v", zone, err))
	}
	k.Signer = signer
	k.PublicKey = base64.StdEncoding.EncodeToString(public)
	return k
}

// generate derives a private key from the seed, and its public half as RDATA.
func generate(algorithm uint8, seed string) (crypto.Signer, []byte, error) {
	sum := sha512.Sum512([]byte(seed))
	switch algorithm {
	case dns.ECDSAP256SHA256:
		return generateECDSA(elliptic.P256(), sum[:32])
	case dns.ECDSAP384SHA384:
		return generateECDSA(elliptic.P384(), sum[:48])
	case dns.ED25519:
		k := ed25519.NewKeyFromSeed(sum[:32])
		return k, k.Public().(ed25519.PublicKey), nil
	case dns.RSASHA1, dns.RSASHA1NSEC3SHA1, dns.RSASHA256, dns.RSASHA512:
		k, err := generateRSA(seed)
		if err != nil {
			return nil, nil, err
		}
		e := big.NewInt(int64(k.E)).Bytes()
		return k, append(append([]byte{byte(len(e))}, e...), k.N.Bytes()...), nil
	}
	noise := sha256.Sum256(sum[:])
	return nil, noise[:], nil
}

func generateECDSA(curve elliptic.Curve, d []byte) (crypto.Signer, []byte, error) {
	k, err := ecdsa.ParseRawPrivateKey(curve, d)
	if err != nil {
		return nil, nil, err
	}
	point, err := k.PublicKey.Bytes()
	if err != nil {
		return nil, nil, err
	}
	return k, point[1:], nil // without the "uncompressed" octet
}

// rsaKeys keeps RSA keys by their seed, since they are slow to make.
var rsaKeys sync.Map

func generateRSA(seed string) (*rsa.PrivateKey, error) {
	if k, ok := rsaKeys.Load(seed); ok {
		return k.(*rsa.PrivateKey), nil
	}
	k, err := deriveRSA(rand.NewChaCha8(sha256.Sum256([]byte(seed))))
	if err != nil {
		return nil, err
	}
	rsaKeys.Store(seed, k)
	return k, nil
}

// deriveRSA makes a key of what it reads from random, which crypto/rsa does
// not: its keys differ even if the octets are the same.
func deriveRSA(random io.Reader) (*rsa.PrivateKey, error) {
	const exponent = 65537
	one, e := big.NewInt(1), big.NewInt(exponent)
	for {
		p, q := prime(random, rsaBits/2), prime(random, rsaBits/2)
		n := new(big.Int).Mul(p, q)
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		d := new(big.Int).ModInverse(e, phi)
		if d == nil || n.BitLen() != rsaBits {
			continue
		}
		k := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: n, E: exponent}, D: d, Primes: []*big.Int{p, q}}
		k.Precompute()
		return k, k.Validate()
	}
}

// prime returns the first prime after a number that it reads, whose two highest
// bits are set so that the product of two has all the bits it should.
func prime(random io.Reader, bits int) *big.Int {
	octets := make([]byte, bits/8)
	if _, err := io.ReadFull(random, octets); err != nil {
		panic(err) // a generator has no end
	}
	octets[0] |= 0xc0
	octets[len(octets)-1] |= 1
	p, two := new(big.Int).SetBytes(octets), big.NewInt(2)
	for !p.ProbablyPrime(0) {
		p.Add(p, two)
	}
	return p
}
