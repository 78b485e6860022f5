package keys

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/coredns-mske/mske/domain"

	"github.com/miekg/dns"
)

// Sign returns one RRSIG over the RRset rrs for each of the signers, which
// have to have their private halves. The signer's name is the zone of the
// key. The records are not changed.
func Sign(rrs []dns.RR, signers []*Key, inception, expiration time.Time) ([]*dns.RRSIG, error) {
	if len(rrs) == 0 {
		return nil, errors.New("signing: there are no records")
	}
	if !dns.IsRRset(rrs) {
		return nil, fmt.Errorf("signing %q: the records are not one RRset", rrs[0].Header().Name)
	}
	owner := rrs[0].Header().Name
	if !domain.IsAbsolute(owner) {
		return nil, fmt.Errorf("signing %.300q: the name is relative", owner)
	}
	if _, ok := dns.IsDomainName(owner); !ok {
		return nil, fmt.Errorf("signing %.300q: it is not a domain name", owner)
	}
	rrs, err := signable(rrs)
	if err != nil {
		return nil, err
	}
	sigs := make([]*dns.RRSIG, len(signers))
	for i, k := range signers {
		if sigs[i], err = sign(rrs, k, inception, expiration); err != nil {
			return nil, fmt.Errorf("signing %s of %q with %s: %w", dns.Type(rrs[0].Header().Rrtype), owner, k, err)
		}
		sigs[i].Hdr.Name = owner
	}
	return sigs, nil
}

func sign(rrs []dns.RR, k *Key, inception, expiration time.Time) (*dns.RRSIG, error) {
	h := rrs[0].Header()
	if k.Signer == nil {
		return nil, errors.New("only the public half is here")
	}
	if !dns.IsSubDomain(k.Zone(), dns.CanonicalName(h.Name)) {
		return nil, errors.New("the name is not in the zone of the key")
	}
	sig := &dns.RRSIG{
		Hdr:        dns.RR_Header{Ttl: h.Ttl},
		Algorithm:  k.DNSKEY.Algorithm,
		KeyTag:     k.Tag(),
		SignerName: k.Zone(),
		// RFC 4034 section 3.1.5: seconds modulo 2^32.
		Inception:  uint32(inception.Unix()),
		Expiration: uint32(expiration.Unix()),
	}
	// With OrigTtl 0 Sign takes that of the records.
	return sig, sig.Sign(k.Signer, rrs)
}

// signable returns rrs with an owner that miekg/dns signs correctly. It takes
// every name that starts with an asterisk for a wildcard and an escaped one
// for none, while RFC 4034 section 3.1.3 means the label that is one asterisk;
// and its dns.CanonicalName garbles octets that are neither ASCII nor escaped.
func signable(rrs []dns.RR) ([]dns.RR, error) {
	owner := rrs[0].Header().Name
	odd := func(r rune) bool { return r == '\\' || r > unicode.MaxASCII }
	if owner[0] != '*' && !strings.ContainsFunc(owner, odd) {
		return rrs, nil
	}
	owner, err := domain.Canonical(owner)
	if err != nil {
		return nil, err
	}
	if owner[0] == '*' && !strings.HasPrefix(owner, "*.") {
		owner = "\\" + owner
	}
	same := make([]dns.RR, len(rrs))
	for i, rr := range rrs {
		same[i] = dns.Copy(rr)
		same[i].Header().Name = owner
	}
	return same, nil
}
