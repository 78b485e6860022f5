package fetch

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
)

// bothTransports starts a nameserver that answers differently over UDP and TCP:
// with a TXT record that names the transport, truncated over UDP if truncate.
func bothTransports(t *testing.T, truncate bool) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	packets, err := net.ListenPacket("udp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	answer := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		_, udp := w.RemoteAddr().(*net.UDPAddr)
		text := "tcp"
		if udp {
			text = "udp"
		}
		if q.RecursionDesired {
			text = "asked with RD"
		}
		m.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{text}}}
		m.Truncated = udp && truncate
		w.WriteMsg(m)
	})
	for _, s := range []*dns.Server{{Listener: listener, Handler: answer}, {PacketConn: packets, Handler: answer}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go s.ActivateAndServe()
		<-started
		t.Cleanup(func() { s.Shutdown() })
	}
	return netip.MustParseAddrPort(listener.Addr().String())
}

func TestQuestionsAreOfOneTransport(t *testing.T) {
	c, err := NewClient([]string{"192.0.2.1"}, ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f := New(c, nil, Options{})
	whole, truncated := bothTransports(t, false), bothTransports(t, true)
	type asker = func(ctx context.Context, name string, qtype uint16) (*dns.Msg, error)
	overUDP := func(addr netip.AddrPort) asker {
		return func(ctx context.Context, name string, qtype uint16) (*dns.Msg, error) {
			return f.AskUDP(ctx, addr, name, qtype)
		}
	}
	overTCP := func(addr netip.AddrPort) asker {
		ask, end := f.ConnectTCP(addr)
		t.Cleanup(end)
		return ask
	}
	for _, tc := range []struct {
		ask  asker
		want string
	}{{overUDP(whole), "udp"}, {overTCP(whole), "tcp"}, {overUDP(truncated), "tcp"}, {overTCP(truncated), "tcp"}} {
		for range 2 {
			m, err := tc.ask(t.Context(), "example.org.", dns.TypeTXT)
			if err != nil {
				t.Fatal(err)
			}
			if got := m.Answer[0].(*dns.TXT).Txt[0]; got != tc.want {
				t.Errorf("Expected the answer over %s, got %q", tc.want, got)
			}
		}
	}
}

func TestHasRoute(t *testing.T) {
	c, err := NewClient([]string{"192.0.2.1"}, ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f := New(c, nil, Options{})
	if !f.HasRoute(netip.MustParseAddrPort("127.0.0.1:53")) {
		t.Error("Expected a route to loopback")
	}
	if f.HasRoute(netip.MustParseAddrPort("[fe80::1]:53")) { // link-local, of no link
		t.Error("Expected no route to a link-local address without its link")
	}
}
