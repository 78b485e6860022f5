package fetch

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// ednsSize is the UDP payload that goes through everywhere unfragmented (DNS
// Flag Day 2020, RFC 9715 section 3).
const ednsSize = 1232

// ClientOptions are what a [Client] can be told. The zero value is usable.
type ClientOptions struct {
	// Try is how long one datagram is waited for, 2.5 s by default. A
	// connection may take twice as long.
	Try time.Duration

	// RootCAs are the authorities that tls:// servers are verified by, the
	// system's by default.
	RootCAs *x509.CertPool
}

const defaultTry = 2500 * time.Millisecond

// TryFor returns how long one try should wait so that a collection that may
// take timeout gets to a second try, and to a second resolver.
func TryFor(timeout time.Duration) time.Duration { return min(defaultTry, timeout/8) }

// Client asks recursive resolvers, and single name servers directly. It holds no
// connection between two questions, and UDP sockets to resolvers for a few
// questions and seconds. It is safe for concurrent use.
type Client struct {
	resolvers []Resolver
	try       time.Duration
	roots     *x509.CertPool
	sockets   map[netip.AddrPort]*sockets // by the resolver's address

	// roundTrip sends a question to r and returns what came back, whatever
	// it is. Tests put one here that needs no socket; nil is the network.
	roundTrip func(ctx context.Context, r Resolver, stream bool, q *dns.Msg) (*dns.Msg, error)
}

// NewClient returns a client of the resolvers that addrs names, in the form
// that [ParseResolvers] reads.
func NewClient(addrs []string, o ClientOptions) (*Client, error) {
	rs, err := ParseResolvers(addrs)
	if err != nil {
		return nil, err
	}
	if o.Try <= 0 {
		o.Try = defaultTry
	}
	c := &Client{resolvers: rs, try: o.Try, roots: o.RootCAs, sockets: make(map[netip.AddrPort]*sockets)}
	for _, r := range rs {
		c.sockets[r.Addr] = new(sockets)
	}
	return c, nil
}

// AnswerError says that a server answered, but not in a way that helps.
type AnswerError struct {
	Rcode int    // of the answer
	EDE   string // its extended error (RFC 8914), "" without
}

// Error implements the error interface.
func (e *AnswerError) Error() string {
	if e.EDE == "" {
		return "answers " + rcodeString(e.Rcode)
	}
	return "answers " + rcodeString(e.Rcode) + " (" + e.EDE + ")"
}

func rcodeString(rcode int) string {
	if rcode == dns.RcodeBadVers {
		return "BADVERS" // only TSIG has another meaning for it
	}
	if s, ok := dns.RcodeToString[rcode]; ok {
		return s
	}
	return fmt.Sprintf("RCODE%d", rcode)
}

// Ask asks resolver r for name and qtype with DO, RD, and CD if cd: by UDP,
// and by TCP if the answer is truncated or garbage, or if a forger may be at work,
// or at once if stream. An answer has the question's ID and question and is
// NOERROR, NXDOMAIN or, as a DNAME can bring about, YXDOMAIN (RFC 6672 section
// 2.2). All else is an error, an [*AnswerError] for another RCODE.
func (c *Client) Ask(ctx context.Context, r Resolver, stream bool, name string, qtype uint16, cd bool) (*dns.Msg, error) {
	q := newQuestion(name, qtype)
	q.RecursionDesired, q.CheckingDisabled = true, cd
	return c.ask(ctx, r, stream, q)
}

// finish is [Client.Ask] for a question that r was asked already, by UDP.
func (c *Client) finish(ctx context.Context, r Resolver, asked *inquest, name string, qtype uint16, cd bool) (*dns.Msg, error) {
	q := newQuestion(name, qtype)
	q.RecursionDesired, q.CheckingDisabled = true, cd
	q.SetEdns0(ednsSize, true)
	m, err := asked.read()
	if err == nil {
		m.Question = q.Question
	}
	return c.settle(ctx, r, false, q, m, err)
}

// AskDirect asks the authoritative server at addr for name and qtype with DO
// and without RD, and is else as [Client.Ask].
func (c *Client) AskDirect(ctx context.Context, addr netip.AddrPort, name string, qtype uint16) (*dns.Msg, error) {
	return c.ask(ctx, Resolver{Addr: addr}, false, newQuestion(name, qtype))
}

// newQuestion returns a question without flags.
func newQuestion(name string, qtype uint16) *dns.Msg {
	return &dns.Msg{MsgHdr: dns.MsgHdr{Id: newID()}, Question: []dns.Question{{Name: name, Qtype: qtype, Qclass: dns.ClassINET}}}
}

func (c *Client) ask(ctx context.Context, r Resolver, stream bool, q *dns.Msg) (*dns.Msg, error) {
	q.SetEdns0(ednsSize, true)
	stream = stream || r.TLS
	m, err := c.exchange(ctx, r, stream, q)
	return c.settle(ctx, r, stream, q, m, err)
}

func (c *Client) exchange(ctx context.Context, r Resolver, stream bool, q *dns.Msg) (*dns.Msg, error) {
	if c.roundTrip != nil {
		return c.roundTrip(ctx, r, stream, q)
	}
	return c.overNetwork(ctx, r, stream, q)
}

// settle makes of what came first what [Client.Ask] returns.
func (c *Client) settle(ctx context.Context, r Resolver, stream bool, q, m *dns.Msg, err error) (*dns.Msg, error) {
	if !stream && (errors.Is(err, errGarbage) || err == nil && m.Truncated) {
		q.Id = newID()
		m, err = c.exchange(ctx, r, true, q)
	}
	if err != nil {
		return nil, err
	}
	if m.Truncated {
		return nil, errTruncated
	}
	if !useful(m.Rcode) {
		return nil, &AnswerError{Rcode: m.Rcode, EDE: extendedError(m)}
	}
	return m, nil
}

// useful reports whether an answer of that RCODE can say what is at a name.
func useful(rcode int) bool {
	return rcode == dns.RcodeSuccess || rcode == dns.RcodeNameError || rcode == dns.RcodeYXDomain
}

// extendedError returns the name of m's first extended error code. The text
// that comes with a code is the server's own and stays out of our log.
func extendedError(m *dns.Msg) string {
	opt := m.IsEdns0()
	if opt == nil {
		return ""
	}
	for _, o := range opt.Option {
		if ede, ok := o.(*dns.EDNS0_EDE); ok {
			return dns.ExtendedErrorCodeToString[ede.InfoCode]
		}
	}
	return ""
}
