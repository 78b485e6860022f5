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
// What the chain is made of is kept by its TTL and shared by all look-ups. Where
// the keys that are kept lack the one that signed, the zone is asked again, once
// in a [Session]. What failed is kept for the session only, so that another
// resolver can be asked at once.
//
// Whoever answers can make a session do so much and no more: limits.go lists the
// bounds, cost.go what counts against the last of them, the CPU time.
//
// # Limitations
//
// An alias is validated and reported, not followed. An answer that is signed by
// an ancestor of the zone that holds its owner is refused only once that zone
// is known: to ask for all cuts between would take a question for each label.
// Whoever holds that ancestor's key holds the zone's delegation too, and
// [Session.Apex] tells the zone to callers who have to know. A replay
// of what was once true, and is still within its signatures' validity, cannot
// be told from the truth. Trust anchors are not updated (RFC 5011).
package validate

import (
	"cmp"
	"context"
	"errors"
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
	// with canonical owner names and without duplicates. Nothing else of the
	// answer is handed on.
	RRset []dns.RR

	// Sig is the RRSIG that verified: of RRset, of Alias or, if the type is
	// denied at a name that exists, of the NSEC or NSEC3 of that name. It dates
	// the answer. It is nil for other denials, which take several records.
	Sig *dns.RRSIG

	// Key identifies the key that made Sig, if that is of RRset or Alias: see
	// [Validator.Makers].
	Key Fingerprint

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
	Now        func() time.Time // the clock; nil: time.Now
	Signatures *Signatures      // those known to be good, and that will be; nil: none yet
}

// Validator judges look-ups. It may be used concurrently.
type Validator struct {
	anchors  *Anchors
	now      func() time.Time
	zones    *zoneCache
	apexes   *zoneCache // by names in the zones
	verified *Fingerprints
}

// New returns a Validator that trusts the anchors.
func New(anchors *Anchors, o Options) *Validator {
	if anchors == nil {
		anchors = new(Anchors)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Signatures == nil {
		o.Signatures = NewSignatures()
	}
	return &Validator{
		anchors: anchors, now: o.Now,
		zones: newZoneCache(maxZones), apexes: newZoneCache(maxZones), verified: o.Signatures.good,
	}
}

// clock returns the time by the wall clock alone: a clock that is set is to be
// believed, as signatures are valid by it.
func (v *Validator) clock() time.Time { return v.now().Round(0) }

// Lookup is [Session.Lookup] in a session of its own.
func (v *Validator) Lookup(ctx context.Context, x Exchanger, name string, qtype uint16) (Result, error) {
	return v.Session(x).Lookup(ctx, name, qtype)
}

// ProbeAnchor asks x for the DNSKEY RRset of every trust anchor's zone and
// validates it. The error says why x is not fit to validate through: it does
// not answer, or strips signatures, or gives others' keys. A zone that is out of
// reach is not x's fault if another anchor's is not. What was validated before
// does not count.
func (v *Validator) ProbeAnchor(ctx context.Context, x Exchanger) error {
	if len(v.anchors.zones) == 0 {
		return errors.New("there is no trust anchor")
	}
	w := v.Session(x).walk(ctx)
	var unanswered error
	reached := false
	for _, name := range v.anchors.names() {
		z, err := w.fetchZone(name)
		if _, bogus := err.(*Error); err != nil && !bogus {
			unanswered = cmp.Or(unanswered, err)
			continue
		}
		if err != nil {
			return err
		}
		if z.insecure != nil {
			return z.insecure
		}
		v.zones.put(z, w.now)
		reached = true
	}
	if !reached {
		return unanswered
	}
	return nil
}
