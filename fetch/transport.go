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

// AskOver asks the authoritative server at addr, without recursion: over TCP if
// stream, else over UDP as resolvers do, and over TCP what is truncated. See
// [Client.AskDirect].
func (f *Fetcher) AskOver(ctx context.Context, addr netip.AddrPort, stream bool, name string, qtype uint16) (*dns.Msg, error) {
	return f.client.ask(ctx, Resolver{Addr: addr}, stream, newQuestion(name, qtype))
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
