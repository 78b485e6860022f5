// Package keys reads, writes, watches and schedules DNSSEC key files, and
// signs with what they hold. The files are those of dnssec-keygen,
// ldns-keygen and coredns-keygen: a DNSKEY record in K<zone>+<alg>+<tag>.key,
// the private half in the .private beside it.
//
// # Limitations
//
// Keys in an HSM (files with an Engine or Label) cannot be used, nor can keys
// with the REVOKE flag (RFC 5011). Timing metadata is read from .private, so
// that a key without it has none.
package keys

import (
	"crypto"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/merge"
)

// Key is one of our keys. It is not changed once it has been handed out.
type Key struct {
	DNSKEY *dns.DNSKEY   // the owner is the zone, in canonical form
	Signer crypto.Signer // nil: only the public half is here
	Role   Role
	// Override says that Role was given by the operator, so that AssignRoles
	// keeps it.
	Override bool
	Timing   Timing
	// Gone says that the key's file has gone while others of its zone remain.
	// Timing.Delete is when; Signer is what was read while it was there.
	Gone bool
	Base string // path of the files, without .key and .private
}

// Timing is the timing metadata of a key file: when each step of the key's
// life is wished for. A zero time is one that is not set.
type Timing struct {
	Created     time.Time
	Publish     time.Time // in DNSKEY from here
	Activate    time.Time // signs from here
	Inactive    time.Time // signs until here
	Delete      time.Time // in DNSKEY until here
	SyncPublish time.Time // in CDS and CDNSKEY from here
	SyncDelete  time.Time // in CDS and CDNSKEY until here
}

// supported are the algorithms of keys that peers take (rule F4).
var supported = []uint8{dns.RSASHA256, dns.RSASHA512, dns.ECDSAP256SHA256, dns.ECDSAP384SHA384, dns.ED25519}

// CheckAlgorithm returns an error with the algorithms there are if keys of the
// DNSSEC algorithm given by number are not supported.
func CheckAlgorithm(algorithm uint8) error {
	if slices.Contains(supported, algorithm) {
		return nil
	}
	return fmt.Errorf("algorithm %s is not supported: use one of %s", AlgorithmName(algorithm), algorithmNames())
}

// AlgorithmName returns the mnemonic of a DNSSEC algorithm, or its number if
// it has none.
func AlgorithmName(algorithm uint8) string {
	if name, ok := dns.AlgorithmToString[algorithm]; ok {
		return name
	}
	return fmt.Sprint(algorithm)
}

func algorithmNames() string {
	names := make([]string, len(supported))
	for i, a := range supported {
		names[i] = fmt.Sprintf("%s (%d)", AlgorithmName(a), a)
	}
	return strings.Join(names, ", ")
}

// Zone returns the zone that the key belongs to, in canonical form.
func (k *Key) Zone() string { return k.DNSKEY.Hdr.Name }

// ID returns the identity of the key.
func (k *Key) ID() merge.Key { return merge.KeyOf(k.DNSKEY) }

// Tag returns the key tag (RFC 4034 appendix B).
func (k *Key) Tag() uint16 { return k.DNSKEY.KeyTag() }

// String returns the key as logs show it: zone, role, tag and algorithm.
func (k *Key) String() string {
	return fmt.Sprintf("%s %s %d %s", k.Zone(), k.Role, k.Tag(), AlgorithmName(k.DNSKEY.Algorithm))
}
