package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// The moduli of RSA keys that are accepted, in bits (rule F4; RFC 3110
// section 2 allows no more than 4096).
const (
	minRSABits = 1024
	maxRSABits = 4096
)

var errMismatch = errors.New("the private half does not belong to the public half in the .key file beside it: " +
	"put back the two files that were made together")

// parsePrivate reads the text of a .private file and returns the private half
// of k, having checked that it is.
func parsePrivate(text string, k *dns.DNSKEY) (crypto.Signer, Timing, error) {
	fields, err := parseFields(text)
	if err != nil {
		return nil, Timing{}, err
	}
	if err := fields.checkFormat(k.Algorithm); err != nil {
		return nil, Timing{}, err
	}
	timing, err := fields.timing()
	if err != nil {
		return nil, Timing{}, err
	}
	wire, err := base64.StdEncoding.DecodeString(k.PublicKey)
	if err != nil {
		return nil, Timing{}, err
	}
	public, err := publicHalf(k.Algorithm, wire)
	if err != nil {
		return nil, Timing{}, err
	}
	if k.KeyTag() == 0 {
		return nil, Timing{}, errors.New("a key with tag 0 cannot sign (a limitation of miekg/dns): make another")
	}
	signer, err := fields.privateHalf(public)
	return signer, timing, err
}

// fields are the lines of a .private file, by their name in lower case.
type fields map[string]string

func parseFields(text string) (fields, error) {
	f := make(fields)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == ';' {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, errors.New("a line has no colon: it is not a private key file of dnssec-keygen, ldns-keygen or coredns-keygen")
		}
		name = strings.ToLower(name)
		if _, again := f[name]; again {
			return nil, fmt.Errorf("there are two %s lines", name)
		}
		f[name] = strings.TrimSpace(value)
	}
	return f, nil
}

func (f fields) checkFormat(algorithm uint8) error {
	// BIND reads every minor version of its major one.
	if format := f["private-key-format"]; !strings.HasPrefix(format, "v1.") {
		return fmt.Errorf("the Private-key-format is %.20q: expected v1.2 or v1.3", format)
	}
	if f["label"] != "" || f["engine"] != "" {
		return errors.New("the private half is in an HSM, which is not supported: use a key whose private half is in the file")
	}
	number, _, _ := strings.Cut(f["algorithm"], " ")
	if number != strconv.Itoa(int(algorithm)) {
		return fmt.Errorf("the private half is of algorithm %.20q and the public half of %d: %w", number, algorithm, errMismatch)
	}
	return nil
}

// timing returns the timing metadata, in UTC.
func (f fields) timing() (t Timing, err error) {
	for name, to := range map[string]*time.Time{
		"created": &t.Created, "publish": &t.Publish, "activate": &t.Activate, "inactive": &t.Inactive,
		"delete": &t.Delete, "syncpublish": &t.SyncPublish, "syncdelete": &t.SyncDelete,
	} {
		value, ok := f[name]
		if !ok {
			continue
		}
		// Parse takes a fraction of a second that the layout does not have.
		if *to, err = time.Parse(timeFormat, value); err != nil || len(value) != len(timeFormat) {
			return Timing{}, fmt.Errorf("the time %s is %.30q: expected YYYYMMDDHHMMSS (set it with dnssec-settime)", name, value)
		}
	}
	return t, nil
}

// timeFormat is how BIND writes times in key files, always in UTC.
const timeFormat = "20060102150405"

func (f fields) octets(name string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(f[strings.ToLower(name)])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(b) == 0 {
		return nil, fmt.Errorf("%s is missing", name)
	}
	return b, nil
}

// privateHalf returns the private half of public, having checked that they
// belong together.
func (f fields) privateHalf(public crypto.PublicKey) (crypto.Signer, error) {
	switch public := public.(type) {
	case *rsa.PublicKey:
		return f.rsa(public)
	case *ecdsa.PublicKey:
		return f.ecdsa(public)
	case ed25519.PublicKey:
		return f.ed25519(public)
	}
	return nil, fmt.Errorf("no private half for a %T", public)
}

func (f fields) rsa(public *rsa.PublicKey) (crypto.Signer, error) {
	d, errD := f.octets("PrivateExponent")
	p, errP := f.octets("Prime1")
	q, errQ := f.octets("Prime2")
	if err := errors.Join(errD, errP, errQ); err != nil {
		return nil, err
	}
	key := &rsa.PrivateKey{
		PublicKey: *public,
		D:         new(big.Int).SetBytes(d),
		Primes:    []*big.Int{new(big.Int).SetBytes(p), new(big.Int).SetBytes(q)},
	}
	// This includes that the public modulus is the product of the primes.
	if err := key.Validate(); err != nil {
		return nil, fmt.Errorf("%w (%w)", errMismatch, err)
	}
	key.Precompute()
	return key, nil
}

func (f fields) ecdsa(public *ecdsa.PublicKey) (crypto.Signer, error) {
	d, err := f.octets("PrivateKey")
	if err != nil {
		return nil, err
	}
	size := octetsOf(public.Curve)
	if len(d) > size {
		return nil, fmt.Errorf("PrivateKey has %d octets: expected %d", len(d), size)
	}
	// BIND leaves out leading zeros.
	d = append(make([]byte, size-len(d)), d...)
	half, its, err := newECDSAHalf(public.Curve, d)
	if err != nil {
		return nil, fmt.Errorf("PrivateKey: %w", err)
	}
	if !public.Equal(its) {
		return nil, errMismatch
	}
	return half, nil
}

func (f fields) ed25519(public ed25519.PublicKey) (crypto.Signer, error) {
	seed, err := f.octets("PrivateKey")
	if err != nil {
		return nil, err
	}
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("PrivateKey has %d octets: expected %d", len(seed), ed25519.SeedSize)
	}
	key := ed25519.NewKeyFromSeed(seed)
	if !bytes.Equal(key[ed25519.SeedSize:], public) {
		return nil, errMismatch
	}
	return key, nil
}

// publicHalf returns the public key whose DNSKEY octets are wire (RFC 3110
// section 2, RFC 6605 section 4, RFC 8080 section 3).
func publicHalf(algorithm uint8, wire []byte) (crypto.PublicKey, error) {
	switch algorithm {
	case dns.ECDSAP256SHA256:
		return ecdsaPublic(elliptic.P256(), wire)
	case dns.ECDSAP384SHA384:
		return ecdsaPublic(elliptic.P384(), wire)
	case dns.ED25519:
		if len(wire) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("it has %d octets: expected %d", len(wire), ed25519.PublicKeySize)
		}
		return ed25519.PublicKey(wire), nil
	}
	return rsaPublic(wire)
}

func ecdsaPublic(curve elliptic.Curve, wire []byte) (crypto.PublicKey, error) {
	const uncompressed = 4 // SEC 1 section 2.3.3, left out in DNSKEY
	key, err := ecdsa.ParseUncompressedPublicKey(curve, append([]byte{uncompressed}, wire...))
	if err != nil {
		return nil, fmt.Errorf("it is not a point on the curve %s: %w", curve.Params().Name, err)
	}
	return key, nil
}

func rsaPublic(wire []byte) (crypto.PublicKey, error) {
	if len(wire) < 3 {
		return nil, errors.New("it is too short")
	}
	size, rest := int(wire[0]), wire[1:]
	if size == 0 {
		size, rest = int(wire[1])<<8|int(wire[2]), wire[3:]
	}
	if size > len(rest) {
		return nil, errors.New("it is too short")
	}
	if size == len(rest) || rest[0] == 0 || rest[size] == 0 {
		return nil, errors.New("a part of it is missing or starts with a zero (RFC 3110 section 2)")
	}
	n := new(big.Int).SetBytes(rest[size:])
	if bits := n.BitLen(); bits < minRSABits || bits > maxRSABits {
		return nil, fmt.Errorf("it has %d bits: expected %d to %d", bits, minRSABits, maxRSABits)
	}
	e := new(big.Int).SetBytes(rest[:size])
	if e.BitLen() > 31 || e.Bit(0) == 0 || e.BitLen() < 2 {
		return nil, errors.New("its exponent is not supported: make a key with exponent 65537")
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
}
