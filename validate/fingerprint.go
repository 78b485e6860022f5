package validate

import (
	"crypto/sha256"
	"sync"
)

// Fingerprint identifies octets: it is a digest of them that nobody can find
// others for, nor two such octets (160 bits of SHA-256). A fleet has millions.
type Fingerprint [20]byte

// FingerprintOf returns the fingerprint of octets.
func FingerprintOf(octets []byte) Fingerprint {
	sum := sha256.Sum256(octets)
	return Fingerprint(sum[:len(Fingerprint{})])
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
