package differential

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/validate"
)

// verdict is what a validator finds.
type verdict string

const (
	secure      verdict = "secure"
	insecure    verdict = "insecure"
	bogus       verdict = "bogus"
	unreachable verdict = "unreachable" // no answer, whoever validates
)

// opinion is a verdict with what is said of it.
type opinion struct {
	verdict
	reason string
	denied bool   // by ours: there is no such data
	proof  string // of ours: the zone whose NSEC or NSEC3 it rests on, "" if on none
}

func (o opinion) String() string {
	if o.reason == "" {
		return string(o.verdict)
	}
	return fmt.Sprintf("%s: %s", o.verdict, o.reason)
}

// resolverTime is how long a resolver may take for one answer.
const resolverTime = 8 * time.Second

// maxAliases bounds how many aliases are followed.
const maxAliases = 8

// through is a resolver that our validator asks.
type through struct {
	client   *fetch.Client
	resolver fetch.Resolver
}

// newThrough returns the resolver at an address.
func newThrough(addr string) (through, error) {
	resolvers, err := fetch.ParseResolvers([]string{addr})
	if err != nil {
		return through{}, err
	}
	client, err := fetch.NewClient([]string{addr}, fetch.ClientOptions{Try: resolverTime})
	return through{client, resolvers[0]}, err
}

// Exchange implements [validate.Exchanger].
func (r through) Exchange(ctx context.Context, name string, qtype uint16, cd bool) (*dns.Msg, error) {
	return r.client.Ask(ctx, r.resolver, false, name, qtype, cd)
}

// ours returns the opinion of our validator. Its resolver may have been busy
// once.
func (r through) ours(ctx context.Context, v *validate.Validator, q question) opinion {
	o := r.lookup(ctx, v, q)
	if o.verdict == unreachable {
		o = r.lookup(ctx, v, q)
	}
	return o
}

// lookup is one attempt. Aliases, which our validator does not follow, are
// followed here, as resolvers do.
func (r through) lookup(ctx context.Context, v *validate.Validator, q question) opinion {
	proof := ""
	for range maxAliases {
		result, err := v.Lookup(ctx, r, q.name, q.qtype)
		if err != nil {
			return opinion{verdict: unreachable, reason: err.Error()}
		}
		reason := ""
		if result.Reason != nil {
			reason = result.Reason.Error()
		}
		if result.Denied || result.Wildcard {
			proof = result.Signer
		}
		switch {
		case result.Status == validate.Bogus:
			return opinion{verdict: bogus, reason: reason}
		case result.Status == validate.Insecure:
			return opinion{verdict: insecure, reason: reason}
		case result.Status != validate.Secure:
			return opinion{verdict: unreachable, reason: result.Status.String()}
		case result.Alias == nil:
			return opinion{verdict: secure, denied: result.Denied, proof: proof}
		}
		if q.name, err = follow(dns.CanonicalName(q.name), result.Alias); err != nil {
			return opinion{verdict: bogus, reason: err.Error()}
		}
	}
	return opinion{verdict: unreachable, reason: "aliases do not end"}
}

// follow returns where an alias leads to.
func follow(name string, alias dns.RR) (string, error) {
	switch alias := alias.(type) {
	case *dns.CNAME:
		return dns.CanonicalName(alias.Target), nil
	case *dns.DNAME:
		return strings.TrimSuffix(name, dns.CanonicalName(alias.Hdr.Name)) + dns.CanonicalName(alias.Target), nil
	}
	return "", errors.New("not an alias")
}

// theirs returns the opinion of the resolver at addr. One that fails once may
// have been busy.
func theirs(addr string, q question) opinion {
	m, err := ask(addr, q, false)
	if err != nil || m.Rcode == dns.RcodeServerFailure {
		m, err = ask(addr, q, false)
	}
	switch {
	case err != nil:
		return opinion{verdict: unreachable, reason: err.Error()}
	case m.Rcode == dns.RcodeServerFailure:
		reason := extendedErrors(m)
		if m, err = ask(addr, q, true); err != nil || m.Rcode == dns.RcodeServerFailure {
			return opinion{verdict: unreachable, reason: reason}
		}
		return opinion{verdict: bogus, reason: reason}
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError && m.Rcode != dns.RcodeYXDomain:
		return opinion{verdict: unreachable, reason: dns.RcodeToString[m.Rcode]}
	case m.AuthenticatedData:
		return opinion{verdict: secure}
	}
	return opinion{verdict: insecure}
}

func ask(addr string, q question, cd bool) (*dns.Msg, error) {
	r := new(dns.Msg).SetQuestion(q.name, q.qtype)
	r.AuthenticatedData, r.CheckingDisabled = true, cd
	r.SetEdns0(dns.DefaultMsgSize, true)
	client := &dns.Client{Timeout: resolverTime}
	m, _, err := client.Exchange(r, addr)
	if err == nil && m.Truncated {
		client.Net = "tcp"
		m, _, err = client.Exchange(r, addr)
	}
	return m, err
}

// extendedErrors returns what an answer says of its failure (RFC 8914).
func extendedErrors(m *dns.Msg) string {
	var texts []string
	if opt := m.IsEdns0(); opt != nil {
		for _, option := range opt.Option {
			if ede, ok := option.(*dns.EDNS0_EDE); ok {
				texts = append(texts, strings.TrimSpace(dns.ExtendedErrorCodeToString[ede.InfoCode]+" "+ede.ExtraText))
			}
		}
	}
	return strings.Join(texts, ", ")
}
