// Package chain looks at a zone as the plugins behind ours answer it: what
// they sign with (rule K2), which nameservers the owner wants (D1, D4), and
// whether their denial of existence leaves room for our names (P4). It asks
// through a function, so it knows nothing of CoreDNS.
package chain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coredns-mske/mske/cns"
	"github.com/coredns-mske/mske/domain"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/validate"
	"github.com/coredns-mske/mske/yield"

	"github.com/miekg/dns"
)

// Asker puts one question to the plugins behind ours. It returns an error if
// none of them wrote an answer. The message returned belongs to the caller.
type Asker func(ctx context.Context, q *dns.Msg) (*dns.Msg, error)

// maxKeys bounds the keys of the chain's own DNSKEY RRset, and with that the
// signature verifications of one look. It is operator's data, not a peer's, so
// the bound is generous.
const maxKeys = 32

// ErrChanging says that the zone changed while it was looked at: the serial of
// its SOA record before and after differ (rule D4). A second look helps.
var ErrChanging = errors.New("the zone changed while it was read")

// Look is one look at a zone.
type Look struct {
	Serial uint32
	SOA    *dns.SOA

	NS    []string      // the zone's own NS RRset, canonical and sorted
	NSTTL time.Duration // its TTL
	CNS   []string      // the CNS RRset, canonical and sorted

	HasCNS   bool // whether there is a CNS RRset; it is never an empty one
	HasCSYNC bool // whether there is a CSYNC RRset

	Keys    []merge.Key // the DNSKEY RRset that the chain itself holds
	Signers []merge.Key // keys with which a signature over SOA verifies
}

// Options are what a look depends on beside the zone.
type Options struct {
	CNSType uint16      // type number of CNS
	Known   []merge.Key // our published keys, beside those the chain holds
	Now     time.Time

	// Signatures knows what was verified at an earlier look, nil if nothing was.
	Signatures *validate.Signatures
}

// UnknownSignerError says that the chain's signatures do not fit the keys we
// publish (rule K2): a resolver that has our DNSKEY RRset would find its data
// bogus.
type UnknownSignerError struct {
	Zone string
	Tags []uint16 // key tags of signatures no published key verifies; empty: SOA is not signed at all
}

// Error implements the error interface.
func (e *UnknownSignerError) Error() string {
	if len(e.Tags) == 0 {
		return fmt.Sprintf("the answer for %s SOA carries no valid signature: let the dnssec plugin (or whatever serves the zone behind mske) sign it with the zone's data-signing key", e.Zone)
	}
	tags := make([]string, len(e.Tags))
	for i, t := range e.Tags {
		tags[i] = fmt.Sprint(t)
	}
	return fmt.Sprintf("%s SOA is signed with key %s, which is none of the keys configured for mske: give it that key's .key file", e.Zone, strings.Join(tags, ", "))
}

// Serial returns the serial of zone's SOA record.
func Serial(ctx context.Context, ask Asker, zone string) (uint32, error) {
	soa, _, err := askSOA(ctx, ask, zone)
	if err != nil {
		return 0, err
	}
	return soa.Serial, nil
}

// Read takes one look at zone. It fails with [ErrChanging] if the zone changed
// meanwhile, and with another error if one of the answers does not count: only
// an authoritative one without error does, whose signatures, if there are any,
// include one by a known key (rule D1). An [*UnknownSignerError] comes with the
// Look that it was found in; without signatures to hold them against, CNS and
// NS are not in that one.
func Read(ctx context.Context, ask Asker, zone string, o Options) (Look, error) {
	soa, soaMsg, err := askSOA(ctx, ask, zone)
	if err != nil {
		return Look{}, err
	}
	l := Look{Serial: soa.Serial, SOA: soa}

	if l.Keys, err = askKeys(ctx, ask, zone); err != nil {
		return Look{}, err
	}
	v := verifier{zone: zone, keys: slices.Clone(o.Known), now: o.Now, signatures: o.Signatures}
	if v.signatures == nil {
		v.signatures = validate.NewSignatures()
	}
	for _, k := range l.Keys {
		if !slices.Contains(v.keys, k) { // no signature is verified twice with one key
			v.keys = append(v.keys, k)
		}
	}
	signers, unknown, signed := v.signers(rrset(soaMsg.Answer, zone, dns.TypeSOA), soaMsg.Answer)
	l.Signers = signers
	if !signed || len(unknown) > 0 {
		return l, &UnknownSignerError{Zone: zone, Tags: unknown}
	}

	ns, err := v.ask(ctx, ask, dns.TypeNS)
	if err != nil {
		return Look{}, err
	}
	for _, rr := range ns {
		l.NS = append(l.NS, domain.Shared(dns.CanonicalName(rr.(*dns.NS).Ns)))
		l.NSTTL = time.Duration(rr.Header().Ttl) * time.Second
	}
	l.NS = sorted(l.NS)

	owners, err := v.ask(ctx, ask, o.CNSType)
	if err != nil {
		return Look{}, err
	}
	for _, rr := range owners {
		host, err := cns.Host(rr)
		if err != nil {
			return Look{}, fmt.Errorf("%s CNS: %w", zone, err)
		}
		l.CNS = append(l.CNS, domain.Shared(host))
	}
	l.CNS = sorted(l.CNS)
	l.HasCNS = len(l.CNS) > 0

	csync, err := v.ask(ctx, ask, dns.TypeCSYNC)
	if err != nil {
		return Look{}, err
	}
	l.HasCSYNC = len(csync) > 0

	again, err := Serial(ctx, ask, zone)
	if err != nil {
		return Look{}, err
	}
	if again != l.Serial {
		return Look{}, fmt.Errorf("%s: %w (serial %d, then %d)", zone, ErrChanging, l.Serial, again)
	}
	return l, nil
}

func sorted(hosts []string) []string {
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// Question returns the question that the chain is asked: recursion is not
// wanted, signatures are.
func Question(name string, qtype uint16) *dns.Msg {
	q := new(dns.Msg)
	q.SetQuestion(name, qtype)
	q.RecursionDesired = false
	q.SetEdns0(dns.MaxMsgSize, true)
	return q
}

func askSOA(ctx context.Context, ask Asker, zone string) (*dns.SOA, *dns.Msg, error) {
	m, err := authoritative(ctx, ask, zone, dns.TypeSOA)
	if err != nil {
		return nil, nil, err
	}
	set := rrset(m.Answer, zone, dns.TypeSOA)
	if len(set) != 1 {
		return nil, nil, fmt.Errorf("%s SOA: the answer holds %d SOA records instead of one", zone, len(set))
	}
	return set[0].(*dns.SOA), m, nil
}

// askKeys returns the chain's own DNSKEY RRset, empty if it has none.
func askKeys(ctx context.Context, ask Asker, zone string) ([]merge.Key, error) {
	m, err := authoritative(ctx, ask, zone, dns.TypeDNSKEY)
	if err != nil {
		return nil, err
	}
	set := rrset(m.Answer, zone, dns.TypeDNSKEY)
	if len(set) > maxKeys {
		return nil, fmt.Errorf("%s DNSKEY: the zone data holds %d keys, more than %d", zone, len(set), maxKeys)
	}
	keys := make([]merge.Key, 0, len(set))
	for _, rr := range set {
		keys = append(keys, merge.KeyOf(rr.(*dns.DNSKEY)))
	}
	return keys, nil
}

// authoritative asks for name and type and returns the answer if it is one to
// rely on: authoritative, without error, and with records of that type or the
// SOA record of a denial.
func authoritative(ctx context.Context, ask Asker, name string, qtype uint16) (*dns.Msg, error) {
	yield.ToQueries()
	m, err := ask(ctx, Question(name, qtype))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", name, typeName(qtype), err)
	}
	switch {
	case m.Rcode != dns.RcodeSuccess:
		return nil, fmt.Errorf("%s %s: the zone's plugin answers %s", name, typeName(qtype), dns.RcodeToString[m.Rcode])
	case !m.Authoritative:
		return nil, fmt.Errorf("%s %s: the answer is not authoritative", name, typeName(qtype))
	case len(rrset(m.Answer, name, qtype)) == 0 && len(rrset(m.Ns, name, dns.TypeSOA)) == 0:
		return nil, fmt.Errorf("%s %s: the answer holds neither the records nor the zone's SOA", name, typeName(qtype))
	}
	return m, nil
}

// rrset returns the records of section with that owner and type.
func rrset(section []dns.RR, owner string, rrtype uint16) []dns.RR {
	var set []dns.RR
	for _, rr := range section {
		if h := rr.Header(); h.Rrtype == rrtype && h.Class == dns.ClassINET && dns.CanonicalName(h.Name) == owner {
			set = append(set, rr)
		}
	}
	return set
}

func typeName(t uint16) string { return dns.Type(t).String() }
