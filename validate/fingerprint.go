package validate

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync"
)

// Fingerprint identifies octets in this process: 128 bits of SHA-256 over them and
// a secret. Who does not know that cannot look for two that have the same, so that
// as many bits are enough as for the keys that signatures are by. A fleet has
// millions.
type Fingerprint [16]byte

// secret is what fingerprints of this process are made with.
var secret = func() (s [sha256.BlockSize]byte) {
	_, _ = rand.Read(s[:]) // never fails
	return s
}()

// hasher is what a fingerprint is made in.
type hasher struct {
	hash.Hash
	sum [sha256.Size]byte
}

var hashers = sync.Pool{New: func() any { return &hasher{Hash: sha256.New()} }}

// FingerprintOf returns the fingerprint of octets.
func FingerprintOf(octets []byte) Fingerprint { return fingerprint(octets) }

// fingerprint returns that of parts, each of which begins where it does.
func fingerprint(parts ...[]byte) Fingerprint {
	h := hashers.Get().(*hasher)
	defer hashers.Put(h)
	h.Reset()
	h.Write(secret[:])
	for _, part := range parts {
		binary.BigEndian.PutUint64(h.sum[:], uint64(len(part)))
		h.Write(h.sum[:8])
		h.Write(part)
	}
	return Fingerprint(h.Sum(h.sum[:0])[:len(Fingerprint{})])
}

// Fingerprints remembers what octets were found to be, so that the same octets are
// not looked into twice. What depends on anything else, such as the time, is not
// to be remembered. Two generations bound it: when the younger is full, the elder
// goes. It is safe for concurrent use.
type Fingerprints struct {
	max int

	mu           sync.Mutex
	young, elder map[Fingerprint]struct{}
}

// NewFingerprints returns a memory of at most size fingerprints, of which the
// newest half is never forgotten.
func NewFingerprints(size int) *Fingerprints {
	return &Fingerprints{max: size, young: make(map[Fingerprint]struct{})}
}

// Has says whether f is remembered.
func (c *Fingerprints) Has(f Fingerprint) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.young[f]; ok {
		return true
	}
	_, ok := c.elder[f]
	if ok {
		c.add(f)
	}
	return ok
}

// Put remembers f.
func (c *Fingerprints) Put(f Fingerprint) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(f)
}

func (c *Fingerprints) add(f Fingerprint) {
	if len(c.young) >= c.max/2 {
		c.elder, c.young = c.young, make(map[Fingerprint]struct{})
	}
	c.young[f] = struct{}{}
}
