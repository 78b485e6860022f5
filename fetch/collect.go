package fetch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/announce"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/validate"
)

// collection is the collecting of one announcement.
type collection struct {
	f          *Fetcher
	zone, host string // canonical
	owner      string // the signaling name
	known      merge.Announcement
	at         time.Time
	afresh     bool // what was insecure is asked again
}

// outcome is what one way of collecting came to.
type outcome struct {
	Result      // without Zone, Host and At
	again  bool // it may be a cache's or a forger's doing: other ways may do better
	costly bool // its session was used up
}

// collect tries the ways there are, until one gives a proof.
func (c *collection) collect(ctx context.Context) Result {
	owner, err := announce.Name(c.zone, c.host)
	if err != nil {
		return Result{Verdict: Refused, Reason: unannounceable(err)}
	}
	c.owner = owner

	var first outcome
	through := c.f.route()
	if err := guard(func() { first = c.by(ctx, way{x: through}) }); err != nil {
		return Result{Verdict: Unreachable, Reason: err.Error()}
	}
	if !first.again {
		return first.Result
	}
	res := first.Result
	if err := guard(func() { res = c.otherwise(ctx, first, through) }); err != nil {
		res.Reason += "; " + err.Error()
	}
	return res
}

// unannounceable says why there is no signaling name.
func unannounceable(err error) string {
	reason := "DNSKEY, CDNSKEY and CDS: " + err.Error()
	if errors.Is(err, announce.ErrTooLong) {
		reason += " (RFC 1035 section 2.3.4)"
	}
	return reason
}

// by collects in one way.
func (c *collection) by(ctx context.Context, w way) outcome {
	if w.direct {
		return c.direct(ctx, c.session(w))
	}
	h := c.together(ctx, w.x)
	if h == nil {
		got, _ := c.through(ctx, w, c.lookup)
		return got
	}
	defer h.free()
	w.x.hand = h
	defer func() { w.x.hand = nil }()
	lookup := c.lookup
	seen, ok := c.look(h)
	if ok {
		if res, ok := c.recall(ctx, w.x, seen); ok {
			return outcome{Result: res}
		}
		lookup = c.lookupInTurn
	}
	got, answers := c.through(ctx, w, lookup)
	if got.Verdict != Secure {
		return got
	}
	if !ok {
		seen, ok = c.look(h) // by the chain that is known now
	}
	if ok {
		c.remember(h, seen, got.Announcement, answers)
	}
	return got
}

// session returns a session that asks in way w.
func (c *collection) session(w way) *validate.Session {
	s := c.f.validator.Session(w.x)
	if c.afresh {
		s.Afresh()
	}
	return s
}

// through looks the RRsets up in way w.
func (c *collection) through(ctx context.Context, w way, lookup func(context.Context, asker) []answer) (outcome, []answer) {
	s := c.session(w)
	answers := lookup(ctx, func(ctx context.Context, qtype uint16) (validate.Result, error) {
		return s.Lookup(ctx, c.owner, qtype)
	})
	return c.conclude(ctx, s, answers), answers
}

// asker returns the verdict on the RRset of a type at the signaling name.
type asker func(ctx context.Context, qtype uint16) (validate.Result, error)

// answer is what came of one of the look-ups.
type answer struct {
	qtype  uint16
	result validate.Result
	err    error // of the network
}

// types are the types of an announcement, in the order in which they are
// reported.
var types = [...]uint16{dns.TypeDNSKEY, dns.TypeCDNSKEY, dns.TypeCDS}

// lookup asks for the RRsets at the signaling name, all at once. Once one of
// them is bogus, the others are no longer waited for with all the time there is:
// the verdict stands, and other ways need it.
func (c *collection) lookup(ctx context.Context, ask asker) []answer {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make([]answer, len(types))
	one := func(i int) {
		answers[i] = c.lookupOne(ctx, types[i], ask)
		if a := &answers[i]; a.err == nil && a.result.Status == validate.Bogus {
			timer := time.AfterFunc(c.f.timeout/partShare, cancel)
			context.AfterFunc(ctx, func() { timer.Stop() })
		}
	}
	var wg sync.WaitGroup
	for i := range types[1:] {
		wg.Go(func() { one(1 + i) })
	}
	one(0) // here, as each goroutine's stack has to grow first
	wg.Wait()
	return answers
}

// lookupInTurn asks for one after the other: where the answers and the chain are at
// hand, nobody waits, and three goroutines cost more than what they do.
func (c *collection) lookupInTurn(ctx context.Context, ask asker) []answer {
	answers := make([]answer, len(types))
	for i, qtype := range types {
		answers[i] = c.lookupOne(ctx, qtype, ask)
	}
	return answers
}

func (c *collection) lookupOne(ctx context.Context, qtype uint16, ask asker) answer {
	a := answer{qtype: qtype}
	if err := guard(func() { a.result, a.err = ask(ctx, qtype) }); err != nil {
		a.err = err
	}
	a.err = c.unanswered(qtype, a.err)
	return a
}

// refFailure is where it is written what counts as no answer.
const refFailure = "RFC 9520 section 2"

// unanswered returns err with what it is about.
func (c *collection) unanswered(qtype uint16, err error) error {
	var failed *FailedError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s at %s: the chain of trust did not come in time (%s)", dns.Type(qtype), c.owner, refFailure)
	case errors.As(err, &failed):
		return fmt.Errorf("%w (%s)", err, refFailure)
	default:
		return fmt.Errorf("%s at %s: %w (%s)", dns.Type(qtype), c.owner, err, refFailure)
	}
}

// conclude judges the answers that one way gave.
func (c *collection) conclude(ctx context.Context, s *validate.Session, answers []answer) outcome {
	c.checkSigners(ctx, s, answers)
	v, err := judge(c.zone, c.owner, answers)
	if err != nil {
		var fault *validate.Error
		costly := errors.As(err, &fault) && fault.Check == validate.CheckLimit
		again := v == Bogus || apart(err) || c.doubtful(v, answers)
		return outcome{Result: Result{Verdict: v, Reason: err.Error()}, again: again, costly: costly}
	}
	a := assemble(answers, c.at)
	reason := fmt.Sprintf("%s: nothing is announced, as %s proves (RFC 4035 section 5.4)", c.rrsets(a), answers[0].result.Signer)
	if v == Secure {
		rrsets := c.rrsets(a)
		missing := c.completeKeys(ctx, s, &a)
		reason = c.accepted(rrsets, a, missing, answers[0].result.Signer)
	}
	if why := c.known.Replayed(a); why != "" {
		return outcome{Result: Result{Verdict: Stale, Reason: fmt.Sprintf("%s: %s (RFC 4034 section 3.1.5)", c.owner, why)}, again: true}
	}
	again := v == Absent && c.doubtful(v, answers)
	res := Result{Verdict: v, Reason: reason, TTL: min(answers[0].result.TTL, answers[1].result.TTL, answers[2].result.TTL)}
	if v == Secure {
		res.Announcement = a
	}
	return outcome{Result: res, again: again}
}

// accepted says what a, made of those RRsets, holds.
func (c *collection) accepted(rrsets string, a merge.Announcement, missing []merge.DS, signer string) string {
	return rrsets + ": " + summary(a, missing, signer) + " (RFC 4035 section 5.3)"
}

// doubtful reports whether a verdict that validates may all the same be an old
// answer's, though the host announced something before: nothing dates the lack of
// a chain of trust or of the name, and what is refused may be older than what was
// accepted.
func (c *collection) doubtful(v Verdict, answers []answer) bool {
	if len(c.known.DNSKEY) == 0 {
		return false
	}
	return v == Insecure || v == Absent && slices.ContainsFunc(answers, undated) ||
		v == Refused && c.known.Replayed(assemble(answers, c.at)) != ""
}

// undated reports whether an answer is a denial that no signature of the name
// itself dates: it says that there is no such name.
func undated(a answer) bool { return a.result.Denied && a.result.Sig == nil }

// rrsets names the RRsets that a was made of, or all if there was none.
func (c *collection) rrsets(a merge.Announcement) string {
	var names []string
	for i, n := range []int{len(a.DNSKEY), len(a.CDNSKEY), len(a.CDS)} {
		if n > 0 {
			names = append(names, dns.Type(types[i]).String())
		}
	}
	if len(names) == 0 {
		names = []string{"DNSKEY", "CDNSKEY", "CDS"}
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last] + " at " + c.owner
}

// summary says what a holds, for an operator.
func summary(a merge.Announcement, missing []merge.DS, signer string) string {
	s := count(len(a.DNSKEY)) + " for data, " + count(len(a.CDNSKEY)) + " as secure entry, signed by " + signer
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
	return strconv.Itoa(keys) + " keys"
}

// checkSigners turns answers bogus that a zone above the one that holds the
// host's signaling domain signs (RFC 4035 section 5.3.1): a registry does not
// announce for its registrants. Which zone that is is asked for only if the
// signer is none of the host's own, and once for all zones that the host
// announces. Where that cannot be found out, the signer's key, which is valid for
// all below, stands.
func (c *collection) checkSigners(ctx context.Context, s *validate.Session, answers []answer) {
	domain := announce.SignalingDomain(c.host)
	above := func(a answer) bool {
		return a.err == nil && a.result.Status == validate.Secure && !dns.IsSubDomain(domain, a.result.Signer)
	}
	if !slices.ContainsFunc(answers, above) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, c.f.timeout/partShare)
	defer cancel()
	for i, a := range answers {
		signer := a.result.Signer
		if !above(a) {
			continue
		}
		apex, err := s.Apex(ctx, domain)
		if err != nil || apex == "" || dns.IsSubDomain(apex, signer) {
			continue
		}
		answers[i].result = validate.Result{Status: validate.Bogus, Reason: fmt.Errorf(
			"%s at %s: signed by %s, but %s between is a zone of its own (RFC 4035 section 5.3.1)", dns.Type(a.qtype), c.owner, signer, apex)}
	}
}
