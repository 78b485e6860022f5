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
	d     string // as many octets as the curve has

	mu    sync.Mutex
	ready weak.Pointer[ecdsa.PrivateKey]
}

var _ crypto.Signer = (*ecdsaHalf)(nil)

// newECDSAHalf returns the private half that d is, and makes sure that it is one.
func newECDSAHalf(curve elliptic.Curve, d []byte) (*ecdsaHalf, error) {
	h := &ecdsaHalf{curve: curve, d: string(d)}
	_, err := h.key()
	return h, err
}

// key returns the key ready to sign.
func (h *ecdsaHalf) key() (*ecdsa.PrivateKey, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if k := h.ready.Value(); k != nil {
		return k, nil
	}
	k, err := ecdsa.ParseRawPrivateKey(h.curve, []byte(h.d))
	if err != nil {
		return nil, err
	}
	h.ready = weak.Make(k)
	return k, nil
}

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
