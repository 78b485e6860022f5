package fetch

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/validate"
)

// route is a way for questions through the resolvers: some of them, in an order.
type route struct {
	f       *Fetcher
	through []int // resolvers, by index
	checked bool  // ask without CD, so that they validate, too

	answered []atomic.Bool // those of all resolvers that answered
	hand     *hand         // questions that were asked already; nil: none were
}

var _ validate.Exchanger = (*route)(nil)

// route returns the way through these resolvers, or through all.
func (f *Fetcher) route(through ...int) *route {
	if len(through) == 0 {
		for i := range f.client.resolvers {
			through = append(through, i)
		}
	}
	return &route{f: f, through: through, answered: make([]atomic.Bool, len(f.client.resolvers))}
}

// Exchange implements [validate.Exchanger]: it asks the resolvers that may be
// believed, in their order, until one answers. Who stays silent, by UDP at
// first, is asked again by TCP when all others failed too, and by TCP only if
// that is how it answered its probe. The error is a
// [*FailedError] or a [*NoResolverError].
func (f *Fetcher) Exchange(ctx context.Context, name string, qtype uint16, cd bool) (*dns.Msg, error) {
	return f.route().Exchange(ctx, name, qtype, cd)
}

// Exchange implements [validate.Exchanger], as [Fetcher.Exchange] does.
func (r *route) Exchange(ctx context.Context, name string, qtype uint16, cd bool) (*dns.Msg, error) {
	q := &inquiry{f: r.f, hand: r.hand, name: name, qtype: qtype, cd: cd && !r.checked, failed: make([]error, len(r.answered))}
	m, i := q.make(ctx, r.through)
	if m != nil {
		r.answered[i].Store(true)
		return m, nil
	}
	errs := slices.DeleteFunc(q.failed, func(err error) bool { return err == nil })
	if len(q.asked) == 0 && ctx.Err() == nil {
		return nil, &NoResolverError{Errs: errs}
	}
	return nil, &FailedError{Name: name, Qtype: qtype, Errs: errs}
}

// inquiry is one question on its way through the resolvers.
type inquiry struct {
	f      *Fetcher
	hand   *hand
	name   string
	qtype  uint16
	cd     bool
	asked  []int   // resolvers, by index
	failed []error // what each resolver did
}

// make asks until a resolver answers, and returns its answer and its index. It
// returns nil if none does, or when the context ends.
func (q *inquiry) make(ctx context.Context, through []int) (*dns.Msg, int) {
	var doubtful []int
	for _, i := range through {
		doubted, err := q.f.fit(ctx, i, false)
		if q.failed[i] = err; err == nil && doubted {
			doubtful = append(doubtful, i)
		} else if m := q.ask(ctx, i, err); m != nil {
			return m, i
		}
	}
	for _, i := range doubtful {
		if m := q.ask(ctx, i, nil); m != nil {
			return m, i
		}
	}
	if len(q.asked) == 0 {
		for _, i := range through {
			_, err := q.f.fit(ctx, i, true)
			if m := q.ask(ctx, i, err); m != nil {
				return m, i
			}
		}
	}
	for _, i := range q.asked {
		if !silent(q.failed[i]) {
			continue
		}
		if m := q.send(ctx, i, true); m != nil {
			return m, i
		}
	}
	return nil, 0
}

// ask asks resolver i, unless it is unfit.
func (q *inquiry) ask(ctx context.Context, i int, unfit error) *dns.Msg {
	if unfit != nil || ctx.Err() != nil {
		q.failed[i] = unfit
		return nil
	}
	q.asked = append(q.asked, i)
	return q.send(ctx, i, q.f.streams[i].Load())
}

// send sends the question to resolver i, and notes what came of it.
func (q *inquiry) send(ctx context.Context, i int, stream bool) *dns.Msg {
	if ctx.Err() != nil {
		return nil
	}
	r := q.f.client.resolvers[i]
	m, err := q.exchange(ctx, i, stream)
	if err == nil {
		return m
	}
	if silent(err) && ctx.Err() == nil {
		q.f.doubt(i)
	}
	q.failed[i] = fmt.Errorf("%s: %w", r, err)
	return nil
}

// exchange asks resolver i, unless it was asked already.
func (q *inquiry) exchange(ctx context.Context, i int, stream bool) (*dns.Msg, error) {
	c := q.f.client
	if !stream {
		if asked := q.hand.take(i, q.name, q.qtype, q.cd); asked != nil {
			return c.finish(ctx, c.resolvers[i], asked, q.name, q.qtype, q.cd)
		}
	}
	return c.Ask(ctx, c.resolvers[i], stream, q.name, q.qtype, q.cd)
}
