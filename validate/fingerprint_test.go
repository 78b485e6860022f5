package validate

import (
	"crypto/sha256"
	"testing"
)

func TestFingerprintsTellPartsApart(t *testing.T) {
	a, b := []byte("ab"), []byte("c")
	if fingerprint(a, b) == fingerprint([]byte("a"), []byte("bc")) {
		t.Error("parts that begin elsewhere have the same fingerprint")
	}
	if again := fingerprint([]byte("ab"), []byte("c")); fingerprint(a, b) != again {
		t.Error("the same parts have different fingerprints")
	}
}

// Whoever wants two octets of one fingerprint has nothing to try them with.
func TestFingerprintsAreSecret(t *testing.T) {
	sum := sha256.Sum256(append(make([]byte, len(secret)), 0, 0, 0, 0, 0, 0, 0, 1, 'a'))
	if FingerprintOf([]byte("a")) == Fingerprint(sum[:len(Fingerprint{})]) {
		t.Error("the secret is not one")
	}
}

func TestFingerprintAllocatesNothing(t *testing.T) {
	octets := make([]byte, 1000)
	if n := testing.AllocsPerRun(100, func() { FingerprintOf(octets) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
