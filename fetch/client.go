package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

const (
	// ednsSize is the UDP payload that goes through everywhere unfragmented
	// (DNS Flag Day 2020, RFC 9715 section 3).
	ednsSize = 1232

	// maxStray is how many datagrams that answer something else are skipped
	// while waiting for an answer: a forger's, or late ones.
	maxStray = 32
)

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

// Client asks recursive resolvers, and single name servers directly. It holds
// no connection between two questions. It is safe for concurrent use.
type Client struct {
	resolvers []Resolver
	try       time.Duration
	roots     *x509.CertPool

	// roundTrip sends a question to r and returns what came back, whatever
	// it is. Tests put one here that needs no socket.
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
	c := &Client{resolvers: rs, try: o.Try, roots: o.RootCAs}
	c.roundTrip = c.overNetwork
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
	if s, ok := dns.RcodeToString[rcode]; ok {
		return s
	}
	return fmt.Sprintf("RCODE%d", rcode)
}

var (
	errTimeout   = errors.New("does not answer in time")
	errClosed    = errors.New("closes the connection without an answer")
	errGarbage   = errors.New("sends what does not answer the question")
	errTruncated = errors.New("truncates its answer even over TCP")
)

// Ask asks resolver r for name and qtype with DO, RD, and CD if cd: by UDP,
// and by TCP if the answer is truncated or garbage, or at once if stream. An
// answer has the question's ID and question and is NOERROR, NXDOMAIN or, as a
// DNAME can bring about, YXDOMAIN (RFC 6672 section 2.2). All else is an error,
// an [*AnswerError] for another RCODE.
func (c *Client) Ask(ctx context.Context, r Resolver, stream bool, name string, qtype uint16, cd bool) (*dns.Msg, error) {
	q := new(dns.Msg).SetQuestion(name, qtype)
	q.CheckingDisabled = cd
	return c.ask(ctx, r, stream, q)
}

// AskDirect asks the authoritative server at addr for name and qtype with DO
// and without RD, and is else as [Client.Ask].
func (c *Client) AskDirect(ctx context.Context, addr netip.AddrPort, name string, qtype uint16) (*dns.Msg, error) {
	q := new(dns.Msg).SetQuestion(name, qtype)
	q.RecursionDesired = false
	return c.ask(ctx, Resolver{Addr: addr}, false, q)
}

func (c *Client) ask(ctx context.Context, r Resolver, stream bool, q *dns.Msg) (*dns.Msg, error) {
	q.SetEdns0(ednsSize, true)
	stream = stream || r.TLS
	m, err := c.roundTrip(ctx, r, stream, q)
	if !stream && (errors.Is(err, errGarbage) || err == nil && m.Truncated) {
		q.Id = dns.Id()
		stream = true
		m, err = c.roundTrip(ctx, r, stream, q)
	}
	if err != nil {
		return nil, err
	}
	if m.Truncated {
		return nil, errTruncated
	}
	switch m.Rcode {
	case dns.RcodeSuccess, dns.RcodeNameError, dns.RcodeYXDomain:
		return m, nil
	default:
		return nil, &AnswerError{Rcode: m.Rcode, EDE: extendedError(m)}
	}
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

// overNetwork is the roundTrip of a client in use.
func (c *Client) overNetwork(ctx context.Context, r Resolver, stream bool, q *dns.Msg) (*dns.Msg, error) {
	timeout := c.try
	if stream {
		timeout *= 2
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := c.dial(ctx, r, stream)
	if err != nil {
		return nil, plain(ctx, err)
	}
	defer conn.Close()
	// The context's end is the deadline, and also ends a wait early.
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	co := &dns.Conn{Conn: conn, UDPSize: dns.DefaultMsgSize}
	if err := co.WriteMsg(q); err != nil {
		return nil, plain(ctx, err)
	}
	m, err := receive(co, q, stream)
	return m, plain(ctx, err)
}

// plain returns err without what differs from one try to the next, such as our
// port, so that a lasting failure reads the same every time.
func plain(ctx context.Context, err error) error {
	var errno syscall.Errno
	var slow net.Error
	switch {
	case err == nil || errors.Is(err, errGarbage):
		return err
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case ctx.Err() != nil || errors.As(err, &slow) && slow.Timeout():
		return errTimeout
	case errors.Is(err, io.EOF):
		return errClosed
	case errors.As(err, &errno):
		return fmt.Errorf("fails: %w", errno)
	default:
		return fmt.Errorf("fails: %w", err)
	}
}

func (c *Client) dial(ctx context.Context, r Resolver, stream bool) (net.Conn, error) {
	var d net.Dialer
	network := "udp"
	if stream {
		network = "tcp"
	}
	if !r.TLS {
		return d.DialContext(ctx, network, r.Addr.String())
	}
	name := r.ServerName
	if name == "" {
		name = r.Addr.Addr().WithZone("").String()
	}
	td := tls.Dialer{NetDialer: &d, Config: &tls.Config{
		ServerName: name,
		RootCAs:    c.roots,
		MinVersion: tls.VersionTLS12, // RFC 9325 section 3.1.1
	}}
	return td.DialContext(ctx, "tcp", r.Addr.String())
}

// receive reads the answer to q. On UDP it skips what is another's.
func receive(co *dns.Conn, q *dns.Msg, stream bool) (*dns.Msg, error) {
	for range maxStray {
		p, err := co.ReadMsgHeader(nil)
		if errors.Is(err, dns.ErrShortRead) {
			continue
		}
		if err != nil {
			return nil, err
		}
		m := new(dns.Msg)
		err = m.Unpack(p)
		if m.Id != q.Id && !stream {
			continue
		}
		if err != nil || !answers(m, q) {
			return nil, errGarbage
		}
		return m, nil
	}
	return nil, errGarbage
}

// answers reports whether m is an answer to q (RFC 5452 section 9.1). A refusal
// may come without the question: some servers send a bare header.
func answers(m, q *dns.Msg) bool {
	if m.Id != q.Id || !m.Response || m.Opcode != dns.OpcodeQuery {
		return false
	}
	if len(m.Question) == 0 {
		return m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError && m.Rcode != dns.RcodeYXDomain
	}
	return len(m.Question) == 1 && strings.EqualFold(m.Question[0].Name, q.Question[0].Name) &&
		m.Question[0].Qtype == q.Question[0].Qtype && m.Question[0].Qclass == q.Question[0].Qclass
}
