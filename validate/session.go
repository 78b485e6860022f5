package validate

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Session is the look-ups that are made for one purpose. What they may cost is
// counted for all of them together: whoever has many looked up by one
// announcement gets no more than with one. It may be used concurrently.
type Session struct {
	v       *Validator
	x       Exchanger
	started time.Time
	afresh  bool // what was insecure before is asked again
	budget  budget

	mu        sync.Mutex
	failed    map[string]*Error  // zones whose chain is bogus, by name
	refetched map[string]*flight // zones whose keys were asked for again, by name
}

// Session returns a new session, which asks x.
func (v *Validator) Session(x Exchanger) *Session {
	return &Session{v: v, x: x, started: v.clock(), failed: make(map[string]*Error), refetched: make(map[string]*flight)}
}

// Afresh makes the session ask again for zones that were found to be insecure
// before it began: a resolver may have shown an old proof that there is no DS,
// which all that share the chain believe for its TTL. It returns the session.
func (s *Session) Afresh() *Session {
	s.afresh = true
	return s
}

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
		return verdict(nil, err)
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
	if err := s.budget.read(m, name, qtype); err != nil {
		return verdict(nil, err)
	}
	return verdict(s.walk(ctx).judge(m, name, qtype))
}

// Apex returns the zone that holds the name: the one that SOA shows there, if a
// chain of trust leads to it or provably does not. Nobody has to sign a SOA, but
// whoever forges one has to name a zone that exists. A zone that is secure is
// remembered by its TTL. It is "" if there is no trust anchor above. The error is
// an [*Error] if the chain is bogus, or the Exchanger's.
//
// It is for callers that ask for many names below one: a [Result] whose Signer
// is above the zone that holds them is not to be believed, be that zone signed or
// not (RFC 4035 section 5.3.1), and a look-up alone does not ask for that zone.
func (s *Session) Apex(ctx context.Context, name string) (string, error) {
	name, err := question(name, dns.TypeSOA)
	if err != nil {
		return "", err
	}
	if _, ok := s.v.anchors.above(name); !ok {
		return "", nil
	}
	if z := s.v.apexes.known(name, s.v.clock()); z != nil && s.v.zones.secure(z.name, s.v.clock()) {
		return z.name, nil
	}
	w := s.walk(ctx)
	apex, err := w.apex(name)
	if err != nil {
		return "", err
	}
	z, err := w.zone(apex)
	if err != nil {
		return "", err
	}
	if z.insecure == nil {
		s.v.apexes.putAs(name, z, w.now)
	}
	return apex, nil
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

// failure returns why the chain of a zone was found bogus before, or nil.
func (s *Session) failure(name string) *Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed[name]
}

// fail remembers that the chain of a zone is bogus: for one session, the same
// questions have the same answers. How deep a chain is depends on where it ends.
func (s *Session) fail(name string, e *Error) {
	if e.Check == CheckLimit {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed[name] = e
}

// refetch returns the flight for a zone that is asked for again. Who is the first
// to ask leads it.
func (s *Session) refetch(name string) (f *flight, leads bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f = s.refetched[name]; f != nil {
		return f, false
	}
	f = &flight{done: make(chan struct{})}
	s.refetched[name] = f
	return f, true
}

// walk is the state of one look-up.
type walk struct {
	s   *Session
	v   *Validator
	ctx context.Context
	now time.Time

	depth    int    // zones being fetched, each above the last
	fetching string // the last of them, "" if none is

	unknownKey bool // an RRSIG names a key that its zone is not known to have
}

func (s *Session) walk(ctx context.Context) *walk {
	return &walk{s: s, v: s.v, ctx: ctx, now: s.v.clock()}
}

// ask makes one look-up with CD.
func (w *walk) ask(name string, qtype uint16) (*dns.Msg, error) {
	m, err := w.s.Exchange(w.ctx, name, qtype, true)
	if err != nil {
		return nil, err
	}
	return m, usable(m, name, qtype)
}

// usable returns an error unless m is an answer that can be judged. One that is
// not a success can be for the alias in it: its target may be what failed, or too
// long a name (YXDOMAIN, RFC 6672 section 2.2).
func usable(m *dns.Msg, name string, qtype uint16) error {
	switch {
	case m == nil:
		return fmt.Errorf("%s %s: no answer", name, dns.Type(qtype))
	case len(m.Question) > 0 && (dns.CanonicalName(m.Question[0].Name) != name || m.Question[0].Qtype != qtype):
		return fmt.Errorf("%s %s: the answer is to another question", name, dns.Type(qtype))
	case m.Truncated:
		return fmt.Errorf("%s %s: the answer is truncated", name, dns.Type(qtype))
	case len(m.Answer) == 0:
		return succeeded(m, name, qtype)
	}
	return nil
}

// succeeded returns an error unless the RCODE says what is at the name.
func succeeded(m *dns.Msg, name string, qtype uint16) error {
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return fmt.Errorf("%s %s: the resolver answered %s", name, dns.Type(qtype), rcode(m.Rcode))
	}
	return nil
}

func rcode(code int) string {
	if code == dns.RcodeBadVers {
		return "BADVERS" // without TSIG it is not BADSIG (RFC 6891 section 9)
	}
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
func verdict(a *answer, err error) (Result, error) {
	if e, ok := err.(*Error); ok {
		return Result{Status: Bogus, Reason: e}, nil
	}
	if err != nil {
		return Result{}, err
	}
	return a.Result, nil
}
