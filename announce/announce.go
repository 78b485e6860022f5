// Package announce is what a provider announces of its keys for a zone: the
// CDS, CDNSKEY and DNSKEY RRsets at _multi.<zone>._signal.<nameserver>
// (draft-thomassen-dnsop-mske, with the signaling names of RFC 9615).
package announce

import (
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/merge"
)

const (
	prefix = "_multi."
	boot   = "_dsboot."
	signal = "_signal."
)

// maxName is the longest a name may be on the wire, in octets (RFC 1035
// section 2.3.4).
const maxName = 255

// Why a zone cannot be announced under a nameserver (rule P2).
var (
	ErrTooLong  = errors.New("the signaling name is longer than 255 octets")
	ErrInDomain = errors.New("the nameserver is inside the zone, so that its signaling name would be too (RFC 9615 section 4)")
)

// SignalingDomain returns the signaling domain of the nameserver ns, which is
// a canonical name.
func SignalingDomain(ns string) string { return signal + ns }

// Name returns the signaling name of zone under the nameserver ns, both
// canonical names. Its errors wrap ErrTooLong or ErrInDomain.
func Name(zone, ns string) (string, error) { return owner(prefix, zone, ns) }

// BootName returns the name at which the CDS and CDNSKEY RRsets of zone are
// copied for a parent that has no DS of it yet (RFC 9615 section 4.1.1), as Name
// does.
func BootName(zone, ns string) (string, error) { return owner(boot, zone, ns) }

func owner(prefix, zone, ns string) (string, error) {
	if dns.IsSubDomain(zone, ns) {
		return "", fmt.Errorf("zone %q cannot be announced under %q: %w", zone, ns, ErrInDomain)
	}
	name := prefix + zone + SignalingDomain(ns)
	if wire := make([]byte, maxName); !packs(name, wire) {
		return "", fmt.Errorf("zone %q cannot be announced under %q: %w", zone, ns, ErrTooLong)
	}
	return name, nil
}

// packs reports whether name fits into wire, which has the size of the
// longest name: its length as text may be larger by escapes.
func packs(name string, wire []byte) bool {
	_, err := dns.PackDomainName(name, wire, 0, nil, false)
	return err == nil
}

// Split returns the zone whose signaling name under the nameserver ns, a
// canonical name, name is.
func Split(name, ns string) (zone string, ok bool) {
	zone, ok = strings.CutSuffix(name, SignalingDomain(ns))
	if !ok {
		return "", false
	}
	if zone, ok = strings.CutPrefix(zone, prefix); !ok || !dns.IsFqdn(zone) {
		return "", false
	}
	again, err := Name(zone, ns)
	return zone, err == nil && again == name
}

// Own returns our own announcement for zone (rule P1): digests and public
// halves of the secure-entry keys, DNSKEYs of those that sign data. A KSK
// alone is not announced as DNSKEY, since only the provider that holds it
// signs with it (RFC 8901 section 6.2).
func Own(zone string, s keys.Schedule) merge.Announcement {
	var a merge.Announcement
	for _, k := range s.SecureEntry {
		a.CDNSKEY = append(a.CDNSKEY, k.ID())
		if ds, ok := k.ID().DS(zone, dns.SHA256); ok {
			a.CDS = append(a.CDS, ds)
		}
	}
	for _, k := range s.Announced {
		a.DNSKEY = append(a.DNSKEY, k.ID())
	}
	return a
}
