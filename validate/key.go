package validate

import (
	"encoding/base64"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// RSA keys outside these sizes are not supported (RFC 8624 section 3.1 and
// what crypto/rsa does).
const (
	minRSABits = 1024
	maxRSABits = 4096
)

// key is a DNSKEY whose tag has been computed.
type key struct {
	*dns.DNSKEY
	tag uint16
}

// SupportedAlgorithm says whether signatures of that algorithm can be
// verified. RSASHA1 is not among them: RFC 9905 section 2.
func SupportedAlgorithm(algorithm uint8) bool {
	switch algorithm {
	case dns.RSASHA256, dns.RSASHA512, dns.ECDSAP256SHA256, dns.ECDSAP384SHA384, dns.ED25519:
		return true
	}
	return false
}

// supportedDS says whether a key can be matched with the DS and then verify.
func supportedDS(ds *dns.DS) bool {
	switch ds.DigestType {
	case dns.SHA1, dns.SHA256, dns.SHA384:
		return SupportedAlgorithm(ds.Algorithm)
	}
	return false
}

// strongest drops digests of SHA-1 where others are to be had (RFC 4509
// section 3).
func strongest(ds []*dns.DS) []*dns.DS {
	weak := func(ds *dns.DS) bool { return ds.DigestType == dns.SHA1 }
	if strong := slices.DeleteFunc(slices.Clone(ds), weak); len(strong) > 0 {
		return strong
	}
	return ds
}

// keyFault says why a DNSKEY cannot verify anything, "" if it can.
func keyFault(k *dns.DNSKEY) string {
	switch {
	case k.Flags&dns.ZONE == 0:
		return "has no ZONE flag (RFC 4034 section 2.1.1)"
	case k.Flags&dns.REVOKE != 0:
		return "is revoked (RFC 5011 section 2.1)"
	case k.Protocol != 3:
		return fmt.Sprintf("has protocol %d instead of 3 (RFC 4034 section 2.1.2)", k.Protocol)
	}
	return ""
}

// supportedSize says whether a key of a supported algorithm is one that can be
// verified with: RSA from 1024 to 4096 bits with an exponent below 2^31, and the
// right length for others.
func supportedSize(k *dns.DNSKEY) bool {
	public, err := base64.StdEncoding.DecodeString(k.PublicKey)
	if err != nil {
		return false
	}
	switch k.Algorithm {
	case dns.ECDSAP256SHA256:
		return len(public) == 64
	case dns.ECDSAP384SHA384:
		return len(public) == 96
	case dns.ED25519:
		return len(public) == 32
	}
	size := rsaBits(public)
	return minRSABits <= size && size <= maxRSABits
}

// rsaBits returns the size of an RSA key's modulus (RFC 3110 section 2), 0 if
// it cannot be told or if the exponent is one that crypto/rsa does not take.
func rsaBits(public []byte) int {
	if len(public) < 3 {
		return 0
	}
	size, rest := int(public[0]), public[1:]
	if size == 0 {
		size, rest = int(public[1])<<8|int(public[2]), public[3:]
	}
	if size == 0 || len(rest) <= size {
		return 0
	}
	exponent, modulus := rest[:size], rest[size:]
	if exponent[0] == 0 || modulus[0] == 0 {
		return 0 // a leading zero is prohibited
	}
	if size > 4 || size == 4 && exponent[0] > 0x7f {
		return 0 // 2^31 or more
	}
	return 8*(len(modulus)-1) + bits.Len8(modulus[0])
}

// usableKeys returns those of a zone's keys that can verify its signatures.
func usableKeys(rrs []dns.RR) []key {
	var keys []key
	for _, rr := range rrs {
		k, ok := rr.(*dns.DNSKEY)
		if ok && keyFault(k) == "" && SupportedAlgorithm(k.Algorithm) && supportedSize(k) {
			keys = append(keys, key{k, k.KeyTag()})
		}
	}
	return keys
}

// matches says whether the trust names this key: by its digest (RFC 4035
// section 5.2) or by itself.
func (t *trust) matches(k key) bool {
	for _, ds := range t.ds {
		if ds.KeyTag != k.tag || ds.Algorithm != k.Algorithm {
			continue
		}
		if d := k.ToDS(ds.DigestType); d != nil && strings.EqualFold(d.Digest, ds.Digest) {
			return true
		}
	}
	return slices.ContainsFunc(t.keys, func(anchor *dns.DNSKEY) bool {
		return anchor.Flags == k.Flags && anchor.Protocol == k.Protocol && anchor.Algorithm == k.Algorithm && anchor.PublicKey == k.PublicKey
	})
}
