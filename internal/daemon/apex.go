package daemon

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// RRset returns the records of one type in the answer section of m.
func RRset(m *dns.Msg, qtype uint16) []dns.RR {
	var rrs []dns.RR
	for _, rr := range m.Answer {
		if rr.Header().Rrtype == qtype {
			rrs = append(rrs, rr)
		}
	}
	return rrs
}

// Authoritative returns the RRset of one type at the apex of zone, as the
// server at addr has it.
func Authoritative(addr, zone string, qtype uint16) ([]dns.RR, error) {
	m, err := Ask(addr, zone, qtype)
	if err != nil {
		return nil, err
	}
	if m.Rcode != dns.RcodeSuccess || !m.Authoritative {
		return nil, fmt.Errorf("%s, authoritative %t", dns.RcodeToString[m.Rcode], m.Authoritative)
	}
	return RRset(m, qtype), nil
}

// Tags returns the key tags of a DNSKEY, CDNSKEY, CDS or DS RRset, sorted.
func Tags(rrs []dns.RR) []uint16 {
	var tags []uint16
	for _, rr := range rrs {
		switch rr := rr.(type) {
		case *dns.DNSKEY:
			tags = append(tags, rr.KeyTag())
		case *dns.CDNSKEY:
			tags = append(tags, rr.KeyTag())
		case *dns.CDS:
			tags = append(tags, rr.KeyTag)
		case *dns.DS:
			tags = append(tags, rr.KeyTag)
		}
	}
	slices.Sort(tags)
	return tags
}

// AwaitTags waits until the server at addr serves a key set of exactly the keys
// with the tags want at the apex of zone.
func AwaitTags(tb testing.TB, addr, zone string, qtype uint16, want ...uint16) {
	tb.Helper()
	slices.Sort(want)
	Await(tb, fmt.Sprintf("%s %s with the keys %v at %s", zone, dns.Type(qtype), want, addr), func() error {
		rrs, err := Authoritative(addr, zone, qtype)
		if err != nil {
			return err
		}
		if got := Tags(rrs); !slices.Equal(got, want) {
			return fmt.Errorf("got the keys %v", got)
		}
		return nil
	})
}

// CheckSignatures fails the test if an RRset at the apex of zone has no
// signature that is valid now and made by a key that the same server serves.
func CheckSignatures(tb testing.TB, addr, zone string, qtypes ...uint16) {
	tb.Helper()
	dnskeys, err := Authoritative(addr, zone, dns.TypeDNSKEY)
	if err != nil {
		tb.Fatal(err)
	}
	for _, qtype := range qtypes {
		m, err := Ask(addr, zone, qtype)
		if err != nil {
			tb.Fatal(err)
		}
		if err := verify(m, qtype, dnskeys); err != nil {
			tb.Errorf("Expected a valid %s RRset at %s, got %v", dns.Type(qtype), addr, err)
		}
	}
}

func verify(m *dns.Msg, qtype uint16, dnskeys []dns.RR) error {
	rrs := RRset(m, qtype)
	for _, rr := range RRset(m, dns.TypeRRSIG) {
		sig := rr.(*dns.RRSIG)
		if sig.TypeCovered != qtype || !sig.ValidityPeriod(time.Now()) {
			continue
		}
		for _, rr := range dnskeys {
			if k := rr.(*dns.DNSKEY); k.KeyTag() == sig.KeyTag && sig.Verify(k, rrs) == nil {
				return nil
			}
		}
	}
	return errors.New("none")
}
