package chain

import (
	"context"
	"encoding/base32"
	"fmt"
	"math/big"
	"strings"

	"github.com/coredns-mske/mske/cns"
	"github.com/coredns-mske/mske/domain"

	"github.com/miekg/dns"
)

// UnfitError says that the chain's own denial of existence denies names that
// we answer (rule P4), or that it delegates them: a resolver that has seen it
// may refuse our answers for as long as it is cached.
type UnfitError struct {
	Name   string // the name asked for
	Denial dns.RR // the record that spans more than that name, or the NS record above it
}

// Error implements the error interface.
func (e *UnfitError) Error() string {
	if ns, ok := e.Denial.(*dns.NS); ok {
		return fmt.Sprintf("%s is delegated to %s, while mske answers below it as a part of the zone above", ns.Hdr.Name, ns.Ns)
	}
	return fmt.Sprintf("the %s record of %s denies more than %s, so resolvers may deny our announcements below it (RFC 8198)",
		dns.Type(e.Denial.Header().Rrtype), e.Denial.Header().Name, e.Name)
}

// ProbeDenial asks the chain for name, one below a `_signal` name that does
// not exist, and returns an [*UnfitError] if the answer proves the absence of
// more than that name, or refers to the servers of a zone in between. Another
// error says that the chain did not answer. No proof at all is fine.
func ProbeDenial(ctx context.Context, ask Asker, name string) error {
	m, err := ask(ctx, Question(name, dns.TypeTXT))
	if err != nil {
		return fmt.Errorf("%s TXT: %w", name, err)
	}
	for _, rr := range m.Ns {
		switch d := rr.(type) {
		case *dns.NSEC:
			if spansSibling(d, name) {
				return &UnfitError{Name: name, Denial: d}
			}
		case *dns.NS:
			if !m.Authoritative && len(m.Answer) == 0 && d.Hdr.Name != "." {
				return &UnfitError{Name: name, Denial: d}
			}
		case *dns.NSEC3:
			if d.Cover(name) && !minimal(d) {
				return &UnfitError{Name: name, Denial: d}
			}
		}
	}
	return nil
}

// spansSibling reports whether d denies a neighbour of name, under the same
// parent. Records made for one name (RFC 4470, RFC 9824) do not.
func spansSibling(d *dns.NSEC, name string) bool {
	next, end := dns.NextLabel(name, 0)
	if end || next < 2 {
		return false
	}
	label, parent := name[:next-1], name[next:]
	for _, sibling := range []string{label + "0." + parent, "-" + label + "." + parent} {
		if covers(d, sibling) {
			return true
		}
	}
	return false
}

// covers reports whether name lies between owner and next name of d in
// canonical order (RFC 4034 section 6.1).
func covers(d *dns.NSEC, name string) bool {
	owner, next := dns.CanonicalName(d.Hdr.Name), dns.CanonicalName(d.NextDomain)
	after := domain.Compare(owner, name) < 0
	before := domain.Compare(name, next) < 0
	if domain.Compare(owner, next) < 0 {
		return after && before
	}
	return after || before // the last record of the zone
}

// minimal reports whether the hashes that d lies between are as near to each
// other as those of a record made for one name (RFC 7129 appendix B).
func minimal(d *dns.NSEC3) bool {
	owner, _, _ := strings.Cut(d.Hdr.Name, ".")
	from, errFrom := hash(owner)
	to, errTo := hash(d.NextDomain)
	if errFrom != nil || errTo != nil {
		return false
	}
	width := new(big.Int).Sub(to, from)
	return width.Sign() > 0 && width.Cmp(big.NewInt(2)) <= 0
}

// base32Hash is how hashes are written in NSEC3 records (RFC 5155 section 3.3).
var base32Hash = base32.HexEncoding.WithPadding(base32.NoPadding)

func hash(text string) (*big.Int, error) {
	octets, err := base32Hash.DecodeString(strings.ToUpper(text))
	if err != nil {
		return nil, err
	}
	return new(big.Int).SetBytes(octets), nil
}

// ProbeType returns the chain's answer for a type that no zone holds: SOA and,
// with a signed zone, the record that says which types there are at the apex.
func ProbeType(ctx context.Context, ask Asker, zone string) (*dns.Msg, error) {
	return ask(ctx, Question(zone, cns.AbsentType))
}
