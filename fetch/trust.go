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
)

const (
	// trustLife is how long a resolver that passed the probe is believed.
	trustLife = time.Hour

	// distrustLife is how long one that failed it is left alone: long enough
	// for many zones not to wait for it one after the other, short enough for a
	// resolver that starts a moment after us not to cost us a minute.
	// It doubles with each probe that fails, up to maxDistrust: one that is
	// down for a day must not delay a collection every two seconds.
	distrustLife = 2 * time.Second
	maxDistrust  = 5 * time.Minute
)

// standing is what is known of a resolver. A resolver is tried before it is
// believed (rule F10): one that strips signatures would make every peer look
// bogus. The zero standing is that of one that was not tried yet.
type standing struct {
	mu      sync.Mutex
	probed  time.Time     // zero: not yet
	unfit   error         // what it does wrong, nil if nothing
	failed  int           // probes in a row
	doubted bool          // it was silent since
	probing chan struct{} // closed when the probe under way ends; nil: none is
}

// lasts reports whether the last probe still says enough at now. Who fails again
// and again is probed less and less often, unless there is none to ask instead.
// The standing is locked.
func (s *standing) lasts(now time.Time, eager bool) bool {
	if s.probed.IsZero() || s.doubted {
		return false
	}
	life := trustLife
	if s.unfit != nil {
		life = distrustLife
		if !eager {
			life = min(distrustLife<<min(s.failed-1, 16), maxDistrust)
		}
	}
	age := now.Sub(s.probed)
	return age >= 0 && age < life
}

// NoResolverError says that no resolver can be used, and why of each.
type NoResolverError struct {
	Errs []error // a [*UnfitError] for each resolver
}

// Error implements the error interface.
func (e *NoResolverError) Error() string {
	return "no usable resolver: " + joinErrors(e.Errs)
}

// UnfitError says what makes a resolver unusable.
type UnfitError struct {
	Resolver Resolver
	Err      error
}

// Error implements the error interface.
func (e *UnfitError) Error() string { return fmt.Sprintf("%s: %v", e.Resolver, e.Err) }

// Unwrap returns the cause.
func (e *UnfitError) Unwrap() error { return e.Err }

// FailedError says that no resolver could answer a question.
type FailedError struct {
	Name  string
	Qtype uint16
	Errs  []error // for each resolver
}

// Error implements the error interface.
func (e *FailedError) Error() string {
	return fmt.Sprintf("%s at %s: no answer: %s", dns.Type(e.Qtype), e.Name, joinErrors(e.Errs))
}

// Unwrap returns what each resolver did.
func (e *FailedError) Unwrap() []error { return e.Errs }

func joinErrors(errs []error) string {
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

// single is one resolver as a [validate.Exchanger], for its probe.
type single struct {
	client   *Client
	resolver Resolver
	stream   *atomic.Bool // set if it answers by TCP only
}

// Exchange implements [validate.Exchanger]: by UDP, and by TCP if that fails.
func (s single) Exchange(ctx context.Context, name string, qtype uint16, cd bool) (*dns.Msg, error) {
	m, err := s.client.Ask(ctx, s.resolver, false, name, qtype, cd)
	var answered *AnswerError
	if err != nil && !errors.As(err, &answered) && ctx.Err() == nil {
		m, err = s.client.Ask(ctx, s.resolver, true, name, qtype, cd)
		s.stream.Store(err == nil)
	}
	if err != nil {
		return nil, fmt.Errorf("asked for %s %s, it %w", name, dns.Type(qtype), err)
	}
	return m, nil
}

// fit returns nil if resolver i may be believed, else why not. It probes the
// resolver if its standing is not known, too old or in doubt, one caller at a
// time: others go on with the standing that the resolver has, and are told that
// it is in doubt. Eager callers have nobody else to ask.
func (f *Fetcher) fit(ctx context.Context, i int, eager bool) (doubtful bool, err error) {
	s := &f.standings[i]
	s.mu.Lock()
	for !s.lasts(f.now(), eager) {
		if s.probing == nil {
			s.probing = make(chan struct{})
			s.mu.Unlock()
			return false, f.probe(ctx, i)
		}
		if !s.probed.IsZero() && !eager {
			defer s.mu.Unlock()
			return true, s.unfit
		}
		done := s.probing
		s.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
			return false, &UnfitError{Resolver: f.client.resolvers[i], Err: errTimeout}
		}
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	return false, s.unfit
}

// probe tries resolver i, for all who wait for that.
func (f *Fetcher) probe(ctx context.Context, i int) error {
	r, s := f.client.resolvers[i], &f.standings[i]
	var was, unfit error
	ended := false
	defer func() {
		s.mu.Lock()
		if was = s.unfit; ended {
			s.judge(f.now(), unfit)
		}
		close(s.probing)
		s.probing = nil
		s.mu.Unlock()
		if f.unfit != nil && unfit != nil && (was == nil || was.Error() != unfit.Error()) {
			f.unfit(r, errors.Unwrap(unfit))
		}
	}()
	probe, cancel := context.WithTimeout(ctx, f.timeout/partShare)
	defer cancel()
	var stream atomic.Bool
	err := f.validator.ProbeAnchor(probe, single{f.client, r, &stream})
	if ctx.Err() != nil {
		return &UnfitError{Resolver: r, Err: errTimeout} // not kept: nobody waited long enough
	}
	if err != nil {
		unfit = &UnfitError{Resolver: r, Err: err}
	}
	f.streams[i].Store(stream.Load())
	ended = true
	return unfit
}

// judge notes how a probe went that ended at now. The standing is locked.
func (s *standing) judge(now time.Time, unfit error) {
	s.probed, s.unfit, s.doubted = now, unfit, false
	if s.failed++; unfit == nil {
		s.failed = 0
	}
}

// doubt has resolver i probed before its next use, unless that was just done.
func (f *Fetcher) doubt(i int) {
	s := &f.standings[i]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doubted = s.doubted || f.now().Sub(s.probed).Abs() >= distrustLife
}

// silent reports whether err means that a resolver gave no answer at all, as
// opposed to one that says it cannot help, one that sends nonsense also over TCP
// and one that may not be asked.
func silent(err error) bool {
	var answered *AnswerError
	var unfit *UnfitError
	if err == nil || errors.As(err, &answered) || errors.As(err, &unfit) {
		return false
	}
	return !errors.Is(err, errGarbage) && !errors.Is(err, errLarge) && !errors.Is(err, errTruncated)
}
