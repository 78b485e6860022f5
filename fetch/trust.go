package fetch

import (
	"context"
	"errors"
	"fmt"
	"strings"
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
	distrustLife = 2 * time.Second
)

// standing is what is known of a resolver. A resolver is tried before it is
// believed (rule F10): one that strips signatures would make every peer look
// bogus.
type standing struct {
	probed time.Time // zero: not yet, or in doubt
	unfit  error     // what it does wrong, nil if nothing
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
// resolver if its standing is not known or too old, one caller at a time.
func (f *Fetcher) fit(ctx context.Context, i int) error {
	var s standing
	select {
	case s = <-f.standings[i]:
	case <-ctx.Done():
		return &UnfitError{Resolver: f.client.resolvers[i], Err: errTimeout}
	}
	defer func() { f.standings[i] <- s }()

	life := trustLife
	if s.unfit != nil {
		life = distrustLife
	}
	if age := f.now().Sub(s.probed); !s.probed.IsZero() && age >= 0 && age < life {
		return s.unfit
	}

	r := f.client.resolvers[i]
	probe, cancel := context.WithTimeout(ctx, f.timeout/partShare)
	defer cancel()
	f.streams[i].Store(false)
	err := f.validator.ProbeAnchor(probe, single{f.client, r, &f.streams[i]})
	if ctx.Err() != nil {
		return &UnfitError{Resolver: r, Err: errTimeout} // not kept: nobody waited long enough
	}
	was := s.unfit
	s = standing{probed: f.now()}
	if err != nil {
		s.unfit = &UnfitError{Resolver: r, Err: err}
	}
	if f.unfit != nil && s.unfit != nil && (was == nil || was.Error() != s.unfit.Error()) {
		f.unfit(r, err)
	}
	return s.unfit
}

// doubt has resolver i probed before its next use.
func (f *Fetcher) doubt(i int) {
	select {
	case s := <-f.standings[i]:
		s.probed = time.Time{}
		f.standings[i] <- s
	default: // somebody is probing it just now
	}
}

// Exchange implements [validate.Exchanger]: it asks the resolvers that may be
// believed, in their order, until one answers. Who stays silent, by UDP at
// first, is asked again by TCP when all others failed too, and by TCP only if
// that is how it answered its probe. The error is a
// [*FailedError] or a [*NoResolverError].
func (f *Fetcher) Exchange(ctx context.Context, name string, qtype uint16, cd bool) (*dns.Msg, error) {
	failed := make([]error, len(f.client.resolvers))
	usable := false
	for _, stream := range []bool{false, true} {
		for i, r := range f.client.resolvers {
			if stream && !silent(failed[i]) {
				continue
			}
			err := f.fit(ctx, i)
			if err == nil {
				usable = true
				var m *dns.Msg
				if m, err = f.client.Ask(ctx, r, stream || f.streams[i].Load(), name, qtype, cd); err == nil {
					return m, nil
				}
				if silent(err) {
					f.doubt(i)
				}
				err = fmt.Errorf("%s: %w", r, err)
			}
			failed[i] = err
			if ctx.Err() != nil {
				return nil, &FailedError{Name: name, Qtype: qtype, Errs: failed[:i+1]}
			}
		}
	}
	if !usable {
		return nil, &NoResolverError{Errs: failed}
	}
	return nil, &FailedError{Name: name, Qtype: qtype, Errs: failed}
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
