package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"fmt"
	"io"
	"sync"
	"weak"
)

// ecdsaHalf is the private half of a key on an elliptic curve, as octets. Ready to
// sign it is some ten objects, which the garbage collector of a fleet would visit
// again and again though hardly any key signs something today. So they are made
// when the key signs, and last until the garbage collector comes.
type ecdsaHalf struct {
	curve elliptic.Curve
	d     [maxECDSAHalf]byte // the first ones, as many as the curve has

	mu    sync.Mutex
	ready weak.Pointer[ecdsa.PrivateKey]
}

var _ crypto.Signer = (*ecdsaHalf)(nil)

// maxECDSAHalf is how many octets a private half on P-384 has.
const maxECDSAHalf = 48

// newECDSAHalf returns the private half that d is, and its public half. It is an error
// if d is none.
func newECDSAHalf(curve elliptic.Curve, d []byte) (*ecdsaHalf, *ecdsa.PublicKey, error) {
	k, err := ecdsa.ParseRawPrivateKey(curve, d)
	if err != nil {
		return nil, nil, err
	}
	h := &ecdsaHalf{curve: curve}
	copy(h.d[:], d)
	return h, &k.PublicKey, nil
}

// key returns the key ready to sign.
func (h *ecdsaHalf) key() (*ecdsa.PrivateKey, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if k := h.ready.Value(); k != nil {
		return k, nil
	}
	k, err := ecdsa.ParseRawPrivateKey(h.curve, h.d[:octetsOf(h.curve)])
	if err != nil {
		return nil, err
	}
	h.ready = weak.Make(k)
	return k, nil
}

// octetsOf returns how many octets a private half on a curve has.
func octetsOf(curve elliptic.Curve) int { return (curve.Params().BitSize + 7) / 8 }

// Public implements the crypto.Signer interface.
func (h *ecdsaHalf) Public() crypto.PublicKey {
	k, err := h.key()
	if err != nil { // not of what newECDSAHalf returned
		return nil
	}
	return k.Public()
}

// Sign implements the crypto.Signer interface.
func (h *ecdsaHalf) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	k, err := h.key()
	if err != nil {
		return nil, fmt.Errorf("the private half: %w", err)
	}
	return k.Sign(rand, digest, opts)
}
