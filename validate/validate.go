// Package validate is a DNSSEC validator (RFC 4033-4035, 5155, 6840, 9276) of
// single look-ups made through a recursive resolver that is not trusted.
//
// Every question goes to an [Exchanger], which asks a resolver with DO, so that
// signatures come along, and CD, so that the resolver's own judgement does not
// get in the way. The answer is judged here, from the trust anchors down:
//
//	v := validate.New(validate.RootAnchors(), validate.Options{})
//	r, err := v.Lookup(ctx, resolver, "example.org.", dns.TypeSOA)
//
// The chain of an answer is that of the signer its RRSIGs name, an ancestor of
// the answer's owner: DS and DNSKEY of that zone, of the zone that signs its
// DS, and so on. Names between are not asked, as some servers' denials on the
// fly look like insecure delegations there (CoreDNS's dnssec plugin answers DS
// at any name with an NSEC that lists NS). An answer without RRSIG is insecure
// only if one of the zones above it provably is: these are found by SOA, which
// nobody has to sign, and judged by DS, which has to be.
//
// What the chain is made of is kept by its TTL and shared by all look-ups.
// What failed is not kept, so that another resolver can be asked at once.
//
// # Limitations
//
// An alias is validated and reported, not followed. An answer that is signed by
// an ancestor of the zone that holds its owner is refused only once that zone
// is known: to ask for all cuts between would take a question for each label.
// Whoever holds that ancestor's key holds the zone's delegation too, and
// [Validator.Apex] tells the zone to callers who have to know. A replay
// of what was once true, and is still within its signatures' validity, cannot
// be told from the truth. Trust anchors are not updated (RFC 5011).
package validate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

// Exchanger makes one recursive look-up: it asks with RD and DO, and with CD if
// cd is set, and returns the answer whole (over TCP if it was truncated), when
// it has made sure that it belongs to the question. It is called concurrently.
type Exchanger interface {
	Exchange(ctx context.Context, name string, qtype uint16, cd bool) (*dns.Msg, error)
}

// Status is how far an answer is to be believed (RFC 4033 section 5).
type Status uint8

const (
	// Indeterminate is the zero Status: there was no answer to judge.
	Indeterminate Status = iota
	// Secure answers are validated from a trust anchor down.
	Secure
	// Insecure answers come from where provably no chain of trust leads to.
	Insecure
	// Bogus answers ought to validate and do not.
	Bogus
)

// String returns the status in lower case.
func (s Status) String() string {
	switch s {
	case Secure:
		return "secure"
	case Insecure:
		return "insecure"
	case Bogus:
		return "bogus"
	}
	return "indeterminate"
}

// Result is the verdict on one look-up. Its records are the caller's.
type Result struct {
	Status Status

	// RRset is the validated RRset of the name and type that were asked for,
	// with canonical owner names and without duplicates; Sig is the RRSIG that
	// verified. Nothing else of the answer is handed on.
	RRset []dns.RR
	Sig   *dns.RRSIG

	// Denied says that the name, or the type at it, provably does not exist.
	Denied bool

	// Alias is the CNAME or DNAME, validated, that was met at or above the name
	// in place of an answer. It was not followed.
	Alias dns.RR

	// Wildcard says that RRset or Alias was expanded from a wildcard, with
	// proof that the name itself does not exist (RFC 4035 section 5.3.4).
	Wildcard bool

	// Signer is the zone whose keys signed RRset, Alias or the denial.
	Signer string

	// TTL is how long the verdict holds: the shortest TTL and Original TTL in
	// it, no longer than its signatures.
	TTL time.Duration

	// Reason says why the answer is insecure or bogus: an [*Error].
	Reason error
}

// Options configures a [Validator]. The zero value is fit for use.
type Options struct {
	Now func() time.Time // the clock; nil: time.Now
}

// Validator judges look-ups. It may be used concurrently.
type Validator struct {
	anchors  *Anchors
	now      func() time.Time
	zones    *zoneCache
	apexes   *zoneCache // by names in the zones
	verified *signatureCache
}

// New returns a Validator that trusts the anchors.
func New(anchors *Anchors, o Options) *Validator {
	if anchors == nil {
		anchors = new(Anchors)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Validator{
		anchors: anchors, now: o.Now,
		zones: newZoneCache(maxZones), apexes: newZoneCache(maxZones), verified: newSignatureCache(maxVerified),
	}
}

// Lookup asks x for the RRset of that name and type, and for what its
// validation needs. The error is x's, or says that an answer was none (SERVFAIL,
// REFUSED): then there is no verdict.
func (v *Validator) Lookup(ctx context.Context, x Exchanger, name string, qtype uint16) (Result, error) {
	name, err := question(name, qtype)
	if err != nil {
		return Result{}, err
	}
	w := v.walk(ctx, x)
	m, err := w.ask(name, qtype)
	if err != nil {
		return Result{}, err
	}
	return w.verdict(m, name, qtype)
}

// Check judges an answer in hand as [Validator.Lookup] does, asking x only for
// the chain.
func (v *Validator) Check(ctx context.Context, x Exchanger, m *dns.Msg, name string, qtype uint16) (Result, error) {
	name, err := question(name, qtype)
	if err != nil {
		return Result{}, err
	}
	if err := usable(m, name, qtype); err != nil {
		return Result{}, err
	}
	return v.walk(ctx, x).verdict(m, name, qtype)
}

// Apex returns the secure zone that holds the name: the one that SOA shows there
// and that a chain of trust leads to. It is "" if that zone is insecure. A zone
// that is secure is remembered by its TTL. The error is an [*Error] if the chain
// is bogus, or x's.
//
// It is for callers that ask for many names below one: a [Result] whose Signer
// is above the zone that holds them is not to be believed (RFC 4035 section
// 5.3.1), and a look-up alone does not ask for that zone.
func (v *Validator) Apex(ctx context.Context, x Exchanger, name string) (string, error) {
	name, err := question(name, dns.TypeSOA)
	if err != nil {
		return "", err
	}
	w := v.walk(ctx, x)
	if z := v.apexes.known(name, w.now); z != nil {
		return z.name, nil
	}
	apex, err := w.apex(name)
	if err != nil {
		return "", err
	}
	z, err := w.zone(apex)
	if err != nil || z.insecure != nil {
		return "", err
	}
	v.apexes.putAs(name, z, w.now)
	return z.name, nil
}

// ProbeAnchor asks x for the DNSKEY RRset of every trust anchor's zone and
// validates it. The error says why x is not fit to validate through: it does
// not answer, or strips signatures, or gives others' keys. What was validated
// before does not count.
func (v *Validator) ProbeAnchor(ctx context.Context, x Exchanger) error {
	if len(v.anchors.zones) == 0 {
		return errors.New("there is no trust anchor")
	}
	w := v.walk(ctx, x)
	for _, name := range v.anchors.names() {
		z, err := w.fetchZone(name)
		if err != nil {
			return err
		}
		if z.insecure != nil {
			return z.insecure
		}
		v.zones.put(z, w.now)
	}
	return nil
}

// walk is the state of one look-up: what it may still spend.
type walk struct {
	v   *Validator
	ctx context.Context
	x   Exchanger
	now time.Time

	queries  int    // asked
	checks   int    // signatures verified
	depth    int    // zones being fetched, each above the last
	fetching string // the last of them, "" if none is
}

func (v *Validator) walk(ctx context.Context, x Exchanger) *walk {
	return &walk{v: v, ctx: ctx, x: x, now: v.now()}
}

// ask makes one look-up with CD.
func (w *walk) ask(name string, qtype uint16) (*dns.Msg, error) {
	if w.queries++; w.queries > maxQueries {
		return nil, fail(name, qtype, CheckLimit, "", "its validation takes more than %d questions", maxQueries)
	}
	m, err := w.x.Exchange(w.ctx, name, qtype, true)
	if err != nil {
		return nil, err
	}
	return m, usable(m, name, qtype)
}

// usable returns an error unless m is an answer that can be judged.
func usable(m *dns.Msg, name string, qtype uint16) error {
	switch {
	case m == nil:
		return fmt.Errorf("%s %s: no answer", name, dns.Type(qtype))
	case len(m.Question) > 0 && (dns.CanonicalName(m.Question[0].Name) != name || m.Question[0].Qtype != qtype):
		return fmt.Errorf("%s %s: the answer is to another question", name, dns.Type(qtype))
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return fmt.Errorf("%s %s: the resolver answered %s", name, dns.Type(qtype), rcode(m.Rcode))
	case m.Truncated:
		return fmt.Errorf("%s %s: the answer is truncated", name, dns.Type(qtype))
	}
	return nil
}

func rcode(code int) string {
	if s, ok := dns.RcodeToString[code]; ok {
		return s
	}
	return fmt.Sprintf("RCODE %d", code)
}

// question returns the name in canonical form, or what is wrong with asking for
// that name and type.
func question(name string, qtype uint16) (string, error) {
	if _, ok := dns.IsDomainName(name); !ok {
		return "", fmt.Errorf("%q is not a domain name", name)
	}
	if meta(qtype) {
		return "", fmt.Errorf("%s %s: there are no signed RRsets of that type", name, dns.Type(qtype))
	}
	return dns.CanonicalName(name), nil
}

// verdict is judge for callers outside.
func (w *walk) verdict(m *dns.Msg, name string, qtype uint16) (Result, error) {
	a, err := w.judge(m, name, qtype)
	var e *Error
	switch {
	case errors.As(err, &e):
		return Result{Status: Bogus, Reason: e}, nil
	case err != nil:
		return Result{}, err
	}
	return a.Result, nil
}

// meta says whether a type has no RRsets (RFC 6895 section 3.1), or is RRSIG,
// which has no signatures.
func meta(qtype uint16) bool {
	return qtype == dns.TypeNone || qtype == dns.TypeRRSIG || qtype == dns.TypeOPT || qtype >= 128 && qtype <= 255
}
