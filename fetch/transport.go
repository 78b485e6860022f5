package fetch

import (
	"context"
	"net"
	"net/netip"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/validate"
)

// Session returns a session of validated look-ups through the resolvers, which
// shares the chain of trust with all collections.
func (f *Fetcher) Session() *validate.Session { return f.validator.Session(f) }

// AskUDP asks the authoritative server at addr, without recursion, over UDP as
// resolvers do, and over TCP what is truncated. See [Client.AskDirect].
func (f *Fetcher) AskUDP(ctx context.Context, addr netip.AddrPort, name string, qtype uint16) (*dns.Msg, error) {
	return f.client.AskDirect(ctx, addr, name, qtype)
}

// ConnectTCP returns what asks the authoritative server at addr over TCP alone,
// without recursion, else as [Client.AskDirect] does: one question after the other
// over one connection as far as the server lets it (RFC 7766 section 6.2.1). It
// is not for concurrent use. The connection is opened for the first question, and
// closed by end.
func (f *Fetcher) ConnectTCP(addr netip.AddrPort) (ask func(ctx context.Context, name string, qtype uint16) (*dns.Msg, error), end func()) {
	s := &stream{client: f.client, to: Resolver{Addr: addr}}
	ask = func(ctx context.Context, name string, qtype uint16) (*dns.Msg, error) {
		q := newQuestion(name, qtype)
		q.SetEdns0(ednsSize, true)
		m, err := s.exchange(ctx, q)
		return f.client.settle(ctx, s.to, true, q, m, err)
	}
	return ask, s.close
}

// HasRoute reports whether this machine can send to addr at all: many have no
// IPv6. It sends nothing.
func (f *Fetcher) HasRoute(addr netip.AddrPort) bool {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(addr)) // connect(2) looks for a route
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
