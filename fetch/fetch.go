// Package fetch collects what one name server announces for one zone: the CDS,
// CDNSKEY and DNSKEY RRsets at _multi.<zone>._signal.<host>, asked of recursive
// resolvers, validated here from the trust anchor down, and held against the
// rules an announcement has to keep (draft-thomassen-dnsop-mske section 4,
// RFC 9615).
//
// The package knows when an answer counts. When to ask again, what to keep and
// how the zone's own keys relate to the announced ones is for its callers.
//
// Limitations: CDS, CDNSKEY and DNSKEY that do not fit together are refused at
// once although they may be caches of different age, and no announcement is
// called stale yet.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/announce"
	"github.com/coredns-mske/mske/domain"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/validate"
)

const (
	// DefaultTimeout is how long one collection may take.
	DefaultTimeout = 20 * time.Second

	// partShare is the share of the time for a collection that the probe of
	// one resolver, the question which zone holds the signaling domain, and the
	// search for keys that only digests name, may take each, so that a dead
	// server leaves time for the rest.
	partShare = 4

	// maxReason bounds a reason, in octets: host names in it are the peer's.
	maxReason = 1000
)

// Options are what a [Fetcher] can be told. The zero value is usable.
type Options struct {
	// Port is where name servers are asked directly, 53 by default.
	Port uint16

	// Timeout is how long one collection may take, [DefaultTimeout] by
	// default.
	Timeout time.Duration

	// Now is the clock, time.Now by default.
	Now func() time.Time

	// Unfit is told of each resolver that is not used because it failed its
	// probe, once until that or the reason changes. It must not block.
	Unfit func(r Resolver, why error)
}

// Fetcher collects announcements. It is safe for concurrent use, and keeps the
// validated chain of trust from one collection to the next.
type Fetcher struct {
	client    *Client
	validator *validate.Validator
	port      uint16
	timeout   time.Duration
	now       func() time.Time
	unfit     func(Resolver, error)

	// standings holds one channel for each of the client's resolvers, with
	// the resolver's standing in it: a lock that can be waited for with a
	// context.
	standings []chan standing

	// streams tells of each resolver whether it answered its last probe by
	// TCP only: a firewall that drops UDP would cost a wait for each question.
	streams []atomic.Bool
}

var _ validate.Exchanger = (*Fetcher)(nil)

// New returns a Fetcher that asks through client and trusts anchors.
func New(client *Client, anchors *validate.Anchors, o Options) *Fetcher {
	if o.Port == 0 {
		o.Port = portDNS
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	f := &Fetcher{
		client: client, port: o.Port, timeout: o.Timeout, now: o.Now, unfit: o.Unfit,
		validator: validate.New(anchors, validate.Options{Now: o.Now}),
		standings: make([]chan standing, len(client.resolvers)),
		streams:   make([]atomic.Bool, len(client.resolvers)),
	}
	for i := range f.standings {
		f.standings[i] = make(chan standing, 1)
		f.standings[i] <- standing{}
	}
	return f
}

// Fetch collects what host announces for zone. What is known of it already is
// what an older announcement, replayed, is told by; zero if nothing is. Fetch
// returns in time for the timeout whatever its peers do, and does not panic.
func (f *Fetcher) Fetch(ctx context.Context, zone, host string, known merge.Announcement) Result {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	res := Result{Zone: canonical(zone), Host: canonical(host), At: f.now()}
	if err := guard(func() { f.collect(ctx, &res) }); err != nil {
		res = Result{Zone: res.Zone, Host: res.Host, At: res.At, Verdict: Unreachable, Reason: err.Error()}
	}
	res.Reason = oneLine(res.Reason)
	return res
}

// canonical returns name as it comes in answers, so that names are equal as
// strings. What is no name is left for [announce.Name] to refuse.
func canonical(name string) string {
	if c, err := domain.Canonical(name); err == nil {
		return c
	}
	return dns.CanonicalName(name)
}

// guard runs do and returns a panic in it as an error. What peers send must
// not take the server down, whatever we overlooked.
func guard(do func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("internal error, please report it: %v", p)
		}
	}()
	do()
	return nil
}

// oneLine makes s fit for a log line and for a comment in a zone file.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "") + "..."
	}
	return s
}

// collect fills in res.
func (f *Fetcher) collect(ctx context.Context, res *Result) {
	owner, err := announce.Name(res.Zone, res.Host)
	if err != nil {
		res.Verdict, res.Reason = Refused, err.Error()
		return
	}
	x := f.validator.Session(f)
	answers := f.lookup(ctx, x, owner)
	f.checkSigners(ctx, x, res.Host, owner, answers)
	if res.Verdict, err = judge(res.Zone, owner, answers); err != nil {
		res.Reason = err.Error()
		return
	}
	res.TTL = min(answers[0].result.TTL, answers[1].result.TTL, answers[2].result.TTL)
	if res.Verdict == Absent {
		res.Reason = "nothing is announced at " + owner + ", as its zone proves"
		return
	}
	a := assemble(answers, res.At)
	missing := f.completeKeys(ctx, x, res.Zone, res.Host, &a)
	res.Reason = summary(a, missing, answers[0].result.Signer)
	res.Announcement = a
}

// summary says what a holds, for an operator.
func summary(a merge.Announcement, missing []merge.DS, signer string) string {
	s := fmt.Sprintf("%s for data, %s as secure entry, signed by %s", count(len(a.DNSKEY)), count(len(a.CDNSKEY)), signer)
	for i, d := range missing {
		if i == 0 {
			s += "; CDNSKEY is not complete, as no key is found for the digest of"
		}
		s += fmt.Sprintf(" %d", d.KeyTag)
	}
	return s
}

func count(keys int) string {
	if keys == 1 {
		return "1 key"
	}
	return fmt.Sprintf("%d keys", keys)
}

// answer is what came of one of the look-ups.
type answer struct {
	qtype  uint16
	result validate.Result
	err    error // of the network
}

// types are the types of an announcement, in the order in which they are
// reported.
var types = [...]uint16{dns.TypeDNSKEY, dns.TypeCDNSKEY, dns.TypeCDS}

// lookup asks for the RRsets at owner, all at once.
func (f *Fetcher) lookup(ctx context.Context, x *validate.Session, owner string) []answer {
	answers := make([]answer, len(types))
	var wg sync.WaitGroup
	for i, qtype := range types {
		wg.Go(func() {
			a := answer{qtype: qtype}
			if err := guard(func() { a.result, a.err = x.Lookup(ctx, owner, qtype) }); err != nil {
				a.err = fmt.Errorf("%s at %s: %w", dns.Type(qtype), owner, err)
			}
			if errors.Is(a.err, context.DeadlineExceeded) {
				a.err = fmt.Errorf("%s at %s: the chain of trust did not come in time", dns.Type(qtype), owner)
			}
			answers[i] = a
		})
	}
	wg.Wait()
	return answers
}

// checkSigners turns answers bogus that a zone above the one that holds host's
// signaling domain signs (RFC 4035 section 5.3.1): a registry does not announce
// for its registrants. Which zone that is is asked for only if the signer is
// none of host's own, and once for all zones that host announces. Where that
// cannot be found out, the signer's key, which is valid for all below, stands.
func (f *Fetcher) checkSigners(ctx context.Context, x *validate.Session, host, owner string, answers []answer) {
	ctx, cancel := context.WithTimeout(ctx, f.timeout/partShare)
	defer cancel()
	domain := announce.SignalingDomain(host)
	for i, a := range answers {
		signer := a.result.Signer
		if a.err != nil || a.result.Status != validate.Secure || dns.IsSubDomain(domain, signer) {
			continue
		}
		apex, err := x.Apex(ctx, domain)
		if err != nil || apex == "" || dns.IsSubDomain(apex, signer) {
			continue
		}
		answers[i].result = validate.Result{Status: validate.Bogus, Reason: fmt.Errorf(
			"%s at %s: signed by %s, but %s between is a zone of its own (RFC 4035 section 5.3.1)", dns.Type(a.qtype), owner, signer, apex)}
	}
}

// judge returns the verdict on the three RRsets as one unit (rule F3), and for
// any but Secure and Absent the reason. The worst of the three decides.
func judge(zone, owner string, answers []answer) (Verdict, error) {
	worst, reason := Absent, error(nil)
	for _, a := range answers {
		if v, err := judgeOne(owner, a); severity[v] > severity[worst] {
			worst, reason = v, err
		}
	}
	if worst != Secure {
		return worst, reason
	}
	if err := checkUnit(zone, owner, assemble(answers, time.Time{})); err != nil {
		return Refused, err
	}
	return Secure, nil
}

// severity orders the verdicts on single RRsets: the highest decides. Secure
// stands above Absent since what is there has to be complete.
var severity = map[Verdict]int{Absent: 0, Secure: 1, Stale: 2, Refused: 3, Insecure: 4, Unreachable: 5, Bogus: 6}

// judgeOne returns the verdict on one RRset, and the reason if it is neither
// Secure nor Absent.
func judgeOne(owner string, a answer) (Verdict, error) {
	switch {
	case a.err != nil:
		return Unreachable, a.err
	case a.result.Status == validate.Bogus:
		return Bogus, explain(owner, a, "validation failed")
	case a.result.Status == validate.Insecure:
		return Insecure, explain(owner, a, "no chain of trust leads there")
	case a.result.Status != validate.Secure:
		return Unreachable, explain(owner, a, "validation came to no conclusion")
	}
	if err := checkPlace(owner, a); err != nil {
		return Refused, err
	}
	if a.result.Denied {
		return Absent, nil
	}
	if err := checkRecords(owner, a.qtype, a.result.RRset); err != nil {
		return Refused, err
	}
	return Secure, nil
}

// explain returns the validator's reason, or a poorer one if it gave none.
func explain(owner string, a answer, otherwise string) error {
	if a.result.Reason != nil {
		return a.result.Reason
	}
	return fmt.Errorf("%s at %s: %s", dns.Type(a.qtype), owner, otherwise)
}

// assemble returns the announcement that the accepted answers make at now.
func assemble(answers []answer, now time.Time) merge.Announcement {
	var a merge.Announcement
	for _, ans := range answers {
		sig := ans.result.Sig
		if sig == nil || len(ans.result.RRset) == 0 {
			continue
		}
		a.TTL = max(a.TTL, time.Duration(sig.OrigTtl)*time.Second)
		switch inception := serialTime(sig.Inception, now); ans.qtype {
		case dns.TypeDNSKEY:
			a.DNSKEY, a.Inception.DNSKEY = keysOf(ans.result.RRset), inception
		case dns.TypeCDNSKEY:
			a.CDNSKEY, a.Inception.CDNSKEY = keysOf(ans.result.RRset), inception
		case dns.TypeCDS:
			a.CDS, a.Inception.CDS = digestsOf(ans.result.RRset), inception
		}
	}
	return a
}

// serialTime returns the time that an RRSIG's field means, the one nearest to
// now (RFC 4034 section 3.1.5).
func serialTime(field uint32, now time.Time) time.Time {
	sec := now.Unix()
	return time.Unix(sec+int64(int32(field-uint32(sec))), 0).UTC() // #nosec G115 -- serial number arithmetic
}
