package validate

import (
	"context"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

// Session is the look-ups that are made for one purpose. What they may cost is
// counted for all of them together: whoever has many looked up by one
// announcement gets no more than with one. It may be used concurrently.
type Session struct {
	v      *Validator
	x      Exchanger
	budget budget
}

// Session returns a new session, which asks x.
func (v *Validator) Session(x Exchanger) *Session { return &Session{v: v, x: x} }

// Lookup asks for the RRset of that name and type, and for what its validation
// needs. The error is the Exchanger's, or says that an answer was none
// (SERVFAIL, REFUSED): then there is no verdict.
func (s *Session) Lookup(ctx context.Context, name string, qtype uint16) (Result, error) {
	name, err := question(name, qtype)
	if err != nil {
		return Result{}, err
	}
	w := s.walk(ctx)
	m, err := w.ask(name, qtype)
	if err != nil {
		return verdict(answer{}, err)
	}
	return verdict(w.judge(m, name, qtype))
}

// Check judges an answer in hand as [Session.Lookup] does, asking only for the
// chain.
func (s *Session) Check(ctx context.Context, m *dns.Msg, name string, qtype uint16) (Result, error) {
	name, err := question(name, qtype)
	if err != nil {
		return Result{}, err
	}
	if err := usable(m, name, qtype); err != nil {
		return Result{}, err
	}
	return verdict(s.walk(ctx).judge(m, name, qtype))
}

// Apex returns the secure zone that holds the name: the one that SOA shows there
// and that a chain of trust leads to. It is "" if that zone is insecure. A zone
// that is secure is remembered by its TTL. The error is an [*Error] if the chain
// is bogus, or the Exchanger's.
//
// It is for callers that ask for many names below one: a [Result] whose Signer
// is above the zone that holds them is not to be believed (RFC 4035 section
// 5.3.1), and a look-up alone does not ask for that zone.
func (s *Session) Apex(ctx context.Context, name string) (string, error) {
	name, err := question(name, dns.TypeSOA)
	if err != nil {
		return "", err
	}
	w := s.walk(ctx)
	if z := s.v.apexes.known(name, w.now); z != nil {
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
	s.v.apexes.putAs(name, z, w.now)
	return z.name, nil
}

// Exchange implements [Exchanger] for questions whose answers need no
// validation: they count as the others do. The error is an [*Error] if the
// session has used up what it may cost.
func (s *Session) Exchange(ctx context.Context, name string, qtype uint16, cd bool) (*dns.Msg, error) {
	if err := s.budget.ask(name, qtype); err != nil {
		return nil, err
	}
	m, err := s.x.Exchange(ctx, name, qtype, cd)
	if err != nil || m == nil {
		return nil, err
	}
	if err := s.budget.read(m, name, qtype); err != nil {
		return nil, err
	}
	return m, nil
}

// walk is the state of one look-up.
type walk struct {
	s   *Session
	v   *Validator
	ctx context.Context
	now time.Time

	depth    int    // zones being fetched, each above the last
	fetching string // the last of them, "" if none is
}

func (s *Session) walk(ctx context.Context) *walk {
	return &walk{s: s, v: s.v, ctx: ctx, now: s.v.now()}
}

// ask makes one look-up with CD.
func (w *walk) ask(name string, qtype uint16) (*dns.Msg, error) {
	m, err := w.s.Exchange(w.ctx, name, qtype, true)
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

// meta says whether a type has no RRsets (RFC 6895 section 3.1), or is RRSIG,
// which has no signatures.
func meta(qtype uint16) bool {
	return qtype == dns.TypeNone || qtype == dns.TypeRRSIG || qtype == dns.TypeOPT || qtype >= 128 && qtype <= 255
}

// verdict is judge's for callers outside. What an Exchanger's error wraps is not
// about the answer, even if it is an [*Error]: a resolver that failed its probe.
func verdict(a answer, err error) (Result, error) {
	if e, ok := err.(*Error); ok {
		return Result{Status: Bogus, Reason: e}, nil
	}
	return a.Result, err
}
