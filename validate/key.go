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

// key is a DNSKEY with what is asked of it again and again.
type key struct {
	*dns.DNSKEY
	tag  uint16
	cost int         // of a verification, 0 if the size is not supported
	id   Fingerprint // of its octets, with the owner
}

func newKey(k *dns.DNSKEY) key {
	wire := pack(k)
	if wire == nil {
		return key{DNSKEY: k} // not what a message can hold
	}
	return key{DNSKEY: k, tag: k.KeyTag(), cost: verifyCost(k), id: fingerprint(wire)}
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
	return digestSize(ds.DigestType) > 0 && SupportedAlgorithm(ds.Algorithm)
}

// digestSize returns the length of a digest of that type, in octets, 0 if it is not
// supported.
func digestSize(digestType uint8) int {
	switch digestType {
	case dns.SHA1:
		return 20
	case dns.SHA256:
		return 32
	case dns.SHA384:
		return 48
	}
	return 0
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

// keyRules is where it is written which keys can verify.
const keyRules = "RFC 4034 section 2.1"

// keyFault says why a DNSKEY cannot verify anything, "" if it can.
func keyFault(k *dns.DNSKEY) string {
	switch {
	case k.Flags&dns.ZONE == 0:
		return "has no ZONE flag"
	case k.Flags&dns.REVOKE != 0: // RFC 5011 section 2.1
		return "is revoked"
	case k.Protocol != 3:
		return fmt.Sprintf("has protocol %d instead of 3", k.Protocol)
	}
	return ""
}

// supportedSize says whether a key of a supported algorithm is one that can be
// verified with: RSA from 1024 to 4096 bits with an exponent below 2^31, and the
// right length for others.
func supportedSize(k *dns.DNSKEY) bool { return verifyCost(k) > 0 }

// verifyCost returns what a verification with the key costs, 0 if its size is not
// supported.
func verifyCost(k *dns.DNSKEY) int {
	public, err := base64.StdEncoding.DecodeString(k.PublicKey)
	if err != nil {
		return 0
	}
	fixed := func(size, cost int) int {
		if len(public) != size {
			return 0
		}
		return cost
	}
	switch k.Algorithm {
	case dns.ECDSAP256SHA256:
		return fixed(64, costP256)
	case dns.ECDSAP384SHA384:
		return fixed(96, costP384)
	case dns.ED25519:
		return fixed(32, costEd25519)
	}
	size, exponent := rsaKey(public)
	if size < minRSABits || size > maxRSABits {
		return 0
	}
	return rsaCost(size, exponent)
}

// rsaKey returns the size of an RSA key's modulus and its exponent (RFC 3110
// section 2), 0 if they cannot be told or if the exponent is one that crypto/rsa
// does not take.
func rsaKey(public []byte) (size int, exponent uint32) {
	if len(public) < 3 {
		return 0, 0
	}
	length, rest := int(public[0]), public[1:]
	if length == 0 {
		length, rest = int(public[1])<<8|int(public[2]), public[3:]
	}
	if length == 0 || len(rest) <= length {
		return 0, 0
	}
	octets, modulus := rest[:length], rest[length:]
	if octets[0] == 0 || modulus[0] == 0 {
		return 0, 0 // a leading zero is prohibited
	}
	if length > 4 || length == 4 && octets[0] > 0x7f {
		return 0, 0 // 2^31 or more
	}
	for _, o := range octets {
		exponent = exponent<<8 | uint32(o)
	}
	return 8*(len(modulus)-1) + bits.Len8(modulus[0]), exponent
}

// usableKeys returns those of a zone's keys that can verify its signatures.
func usableKeys(rrs []dns.RR) []key {
	var keys []key
	for _, rr := range rrs {
		k, ok := rr.(*dns.DNSKEY)
		if !ok || keyFault(k) != "" || !SupportedAlgorithm(k.Algorithm) {
			continue
		}
		if k := newKey(k); k.cost > 0 {
			keys = append(keys, k)
		}
	}
	return keys
}

// names returns which of the trust's DS records name the key (RFC 4035 section
// 5.2), as indices. Each kind of digest is computed once.
func (t *trust) names(k key) []int {
	var found []int
	digests := make(map[uint8]string)
	for i, ds := range t.ds {
		if ds.KeyTag != k.tag || ds.Algorithm != k.Algorithm {
			continue
		}
		d, ok := digests[ds.DigestType]
		if !ok {
			if computed := k.ToDS(ds.DigestType); computed != nil {
				d = computed.Digest
			}
			digests[ds.DigestType] = d
		}
		if d != "" && strings.EqualFold(d, ds.Digest) {
			found = append(found, i)
		}
	}
	return found
}

// is says whether the key itself is trusted.
func (t *trust) is(k key) bool {
	return slices.ContainsFunc(t.keys, func(anchor *dns.DNSKEY) bool {
		return anchor.Flags == k.Flags && anchor.Protocol == k.Protocol && anchor.Algorithm == k.Algorithm && anchor.PublicKey == k.PublicKey
	})
}

// entryKeys returns the keys that t names and that can verify. If each DS names
// a key that is there and whose size is not supported, the zone is insecure, as
// with an algorithm that is not: the parent, or the anchor, vouches for these
// keys by digests that it signed, whoever sent them. One DS that names no such
// key is enough for the zone to be bogus: its key may have been taken away.
func entryKeys(name string, t *trust, rrs []dns.RR) ([]key, *Error) {
	reason := fail(name, dns.TypeDNSKEY, CheckKey, "RFC 4035 section 5.2", "no key matches the parent's DS or the trust anchor")
	var keys []key
	var unsupported *Error
	vouched := make(map[int]bool) // DS that name a key of a size that is not supported
	for _, rr := range rrs {
		k, ok := rr.(*dns.DNSKEY)
		if !ok {
			continue
		}
		candidate := newKey(k)
		named := t.names(candidate)
		switch fault := keyFault(k); {
		case len(named) == 0 && !t.is(candidate):
		case fault != "":
			reason = fail(name, dns.TypeDNSKEY, CheckKey, keyRules, "key %d %s", candidate.tag, fault).by(name, candidate.tag)
		case candidate.cost == 0:
			unsupported = fail(name, dns.TypeDNSKEY, CheckAlgorithm, "RFC 4035 section 5.2", "key %d, which DS names, is of a size that is not supported",
				candidate.tag).by(name, candidate.tag)
			for _, i := range named {
				vouched[i] = true
			}
		default:
			keys = append(keys, candidate)
		}
	}
	switch {
	case len(keys) > 0:
		return keys, nil
	case unsupported != nil && len(vouched) == len(t.ds) && len(t.keys) == 0:
		return nil, unsupported
	}
	return nil, reason
}
