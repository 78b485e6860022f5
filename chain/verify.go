package chain

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/validate"

	"github.com/miekg/dns"
)

// verifier holds the chain's signatures against the keys we know. This is not
// validation of somebody else's data: chain and keys belong to one operator,
// and the question is whether they fit together.
type verifier struct {
	zone string
	keys []merge.Key
	now  time.Time

	signatures *validate.Signatures
}

// ask returns the zone's apex RRset of a type, or none if there is none. If
// the answer is signed, one signature has to verify with a known key.
func (v verifier) ask(ctx context.Context, ask Asker, qtype uint16) ([]dns.RR, error) {
	m, err := authoritative(ctx, ask, v.zone, qtype)
	if err != nil {
		return nil, err
	}
	section, covered := m.Answer, qtype
	set := rrset(section, v.zone, qtype)
	if len(set) == 0 {
		section, covered = m.Ns, dns.TypeSOA
	}
	signed := rrset(section, v.zone, covered)
	if signers, unknown, ok := v.signers(signed, section); ok && len(signers) == 0 {
		return nil, fmt.Errorf("%s %s: %w", v.zone, typeName(qtype), &UnknownSignerError{Zone: v.zone, Tags: unknown})
	}
	return set, nil
}

// signers returns the known keys with which a signature over set verifies, and
// the tags of the signatures of every algorithm for which there is none.
// signed reports whether section holds any signature over set at all.
func (v verifier) signers(set, section []dns.RR) (signers []merge.Key, unknown []uint16, signed bool) {
	verified := make(map[uint8]bool)
	var sigs []*dns.RRSIG
	for _, rr := range section {
		sig, ok := rr.(*dns.RRSIG)
		if !ok || len(set) == 0 || sig.TypeCovered != set[0].Header().Rrtype || dns.CanonicalName(sig.SignerName) != v.zone {
			continue
		}
		if len(sigs) == maxKeys {
			break
		}
		sigs = append(sigs, sig)
		for _, k := range v.keys {
			if v.verifies(sig, k, set) {
				verified[sig.Algorithm] = true
				if !slices.Contains(signers, k) {
					signers = append(signers, k)
				}
			}
		}
	}
	for _, sig := range sigs {
		if !verified[sig.Algorithm] && !slices.Contains(unknown, sig.KeyTag) {
			unknown = append(unknown, sig.KeyTag)
		}
	}
	return signers, unknown, len(sigs) > 0
}

func (v verifier) verifies(sig *dns.RRSIG, k merge.Key, set []dns.RR) bool {
	if sig.Algorithm != k.Algorithm || k.Flags&dns.REVOKE != 0 || !sig.ValidityPeriod(v.now) {
		return false
	}
	if sig.KeyTag != k.Tag() {
		return false
	}
	return v.signatures.Made(sig, k.DNSKEY(v.zone, set[0].Header().Ttl), set)
}
