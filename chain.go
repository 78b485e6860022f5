package mske

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/chain"
)

// asker returns the function that puts questions of our own to the plugins
// behind m. They see a client at the loopback address that uses TCP, so that
// nothing is cut off.
func (m *MSKE) asker() chain.Asker {
	server := &dnsserver.Server{Addr: m.address()} // a label of the plugins' metrics
	return func(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
		if ctx.Value(dnsserver.Key{}) == nil {
			ctx = context.WithValue(ctx, dnsserver.Key{}, server)
		}
		if m.config.ViewName != "" {
			ctx = context.WithValue(ctx, dnsserver.ViewKey{}, m.config.ViewName)
		}
		return ask(ctx, m.Next, q)
	}
}

// address returns the first address of m's server block, as CoreDNS writes it.
func (m *MSKE) address() string {
	host := ""
	if len(m.config.ListenHosts) > 0 {
		host = m.config.ListenHosts[0]
	}
	return m.config.Transport + "://" + net.JoinHostPort(host, m.config.Port)
}

// askSOA returns the SOA record of zone with its signatures, as the plugins
// behind us serve it.
func (m *MSKE) askSOA(ctx context.Context, zone string) ([]dns.RR, error) {
	reply, err := m.ask(ctx, chain.Question(zone, dns.TypeSOA))
	if err != nil {
		return nil, err
	}
	if reply.Rcode != dns.RcodeSuccess || len(reply.Answer) == 0 {
		return nil, fmt.Errorf("no SOA record of %s to deny with: the next plugin answers %s", zone, dns.RcodeToString[reply.Rcode])
	}
	return reply.Answer, nil
}

// ask puts q to next and returns a copy of what it writes, since plugins hand
// out records that are shared with their zone data.
func ask(ctx context.Context, next plugin.Handler, q *dns.Msg) (reply *dns.Msg, err error) {
	defer func() {
		if r := recover(); r != nil {
			reply, err = nil, fmt.Errorf("the next plugin panicked: %v", r)
		}
	}()
	w := new(recorder)
	rcode, err := plugin.NextOrFailure(pluginName, next, ctx, w, q)
	switch {
	case w.reply != nil:
		return w.reply, nil
	case err != nil:
		return nil, err
	default:
		return nil, fmt.Errorf("the next plugin answers %s", dns.RcodeToString[rcode])
	}
}

// recorder is a client that keeps the last message it was sent.
type recorder struct {
	reply *dns.Msg
}

var loopback = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: defaultPort}

var errNoClient = errors.New("there is no client behind this question")

// WriteMsg implements the dns.ResponseWriter interface.
func (w *recorder) WriteMsg(m *dns.Msg) error {
	w.reply = m.Copy()
	return nil
}

// Write implements the dns.ResponseWriter interface.
func (w *recorder) Write(wire []byte) (int, error) {
	m := new(dns.Msg)
	if err := m.Unpack(wire); err != nil {
		return 0, err
	}
	w.reply = m
	return len(wire), nil
}

// LocalAddr implements the dns.ResponseWriter interface.
func (w *recorder) LocalAddr() net.Addr { return loopback }

// RemoteAddr implements the dns.ResponseWriter interface.
func (w *recorder) RemoteAddr() net.Addr { return loopback }

// Close implements the dns.ResponseWriter interface.
func (w *recorder) Close() error { return nil }

// TsigStatus implements the dns.ResponseWriter interface.
func (w *recorder) TsigStatus() error { return errNoClient }

// TsigTimersOnly implements the dns.ResponseWriter interface.
func (w *recorder) TsigTimersOnly(bool) {}

// Hijack implements the dns.ResponseWriter interface.
func (w *recorder) Hijack() {}
