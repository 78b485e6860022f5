package differential

import (
	"net"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// proxy stands in front of the authoritative server at the address of one
// world, and changes the answers of that world as its damage wants.
type proxy struct {
	world  *world
	server string // the real one
}

// upstream is how long the real server may take.
const upstream = 3 * time.Second

// startProxy serves a world until the test ends.
func startProxy(tb testing.TB, w *world, port, server string) {
	tb.Helper()
	p := &proxy{world: w, server: server}
	addr := net.JoinHostPort(w.ip, port)
	packets, err := net.ListenPacket("udp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	for _, s := range []*dns.Server{{PacketConn: packets, Handler: p}, {Listener: listener, Handler: p}} {
		done := make(chan struct{})
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() {
			defer close(done)
			_ = s.ActivateAndServe() // ends by Shutdown
		}()
		<-started
		tb.Cleanup(func() {
			_ = s.Shutdown() // nobody waits for it
			<-done
		})
	}
}

// ServeDNS implements [dns.Handler].
func (p *proxy) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	if len(r.Question) != 1 {
		return
	}
	client := &dns.Client{Timeout: upstream, UDPSize: dns.DefaultMsgSize}
	m, _, err := client.Exchange(r, p.server)
	if err == nil && m.Truncated {
		client.Net = "tcp"
		m, _, err = client.Exchange(r, p.server)
	}
	if err != nil {
		return // the resolver asks again
	}
	if p.world.tamper != nil {
		p.world.tamper(r.Question[0], m)
		m = m.Copy() // some records may be the world's own
	}
	if p.world.mixedCase {
		shout(m)
	}
	m.Question[0] = r.Question[0]
	m.Compress = true
	if w.LocalAddr().Network() == "udp" {
		size := dns.MinMsgSize
		if opt := r.IsEdns0(); opt != nil {
			size = int(opt.UDPSize())
		}
		m.Truncate(size)
	}
	_ = w.WriteMsg(m) // the resolver may have given up
}
