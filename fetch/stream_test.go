package fetch

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// streaming starts a server that answers so many questions of each connection,
// then does what after says, and counts the connections.
func streaming(t *testing.T, questions int, after func(net.Conn)) (addr netip.AddrPort, connections *atomic.Int32) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	connections = new(atomic.Int32)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			go func() {
				defer conn.Close()
				c := &dns.Conn{Conn: conn}
				for range questions {
					q, err := c.ReadMsg()
					if err != nil {
						return
					}
					c.WriteMsg(new(dns.Msg).SetReply(q))
				}
				after(conn)
			}()
		}
	}()
	return netip.MustParseAddrPort(listener.Addr().String()), connections
}

func TestConnectTCP(t *testing.T) {
	hangUp := func(net.Conn) {}
	reset := func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) }
	readOn := func(c net.Conn) { (&dns.Conn{Conn: c}).ReadMsg() } // hangs up on the next question
	silent := func(c net.Conn) { io.Copy(io.Discard, c) }
	garbage := func(c net.Conn) { c.Write([]byte{0, 1, 'x'}); io.Copy(io.Discard, c) }
	for _, tc := range []struct {
		name        string
		questions   int // answered of each connection
		after       func(net.Conn)
		connections int32
		fails       string // what the last of six questions fails with
	}{
		{"one for all", 6, hangUp, 1, ""},
		{"closed after each", 1, hangUp, 6, ""},
		{"closed after two", 2, hangUp, 3, ""},
		{"reset after two", 2, reset, 3, ""},
		{"closed in place of an answer", 3, readOn, 2, ""},
		{"never answers", 0, readOn, 1, "closes the connection"},
		{"silent after one", 1, silent, 6, ""},
		{"garbage after one", 1, garbage, 6, ""},
		{"goes silent", 5, silent, 2, ""},
		{"never answers, but stays", 0, silent, 1, "does not answer in time"},
		{"nothing but garbage", 0, garbage, 1, "does not answer the question"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addr, connections := streaming(t, tc.questions, tc.after)
			c, err := NewClient([]string{"192.0.2.1"}, ClientOptions{Try: 250 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			ask, end := New(c, nil, Options{}).ConnectTCP(addr)
			defer end()
			questions := 6
			if tc.questions == 0 {
				questions = 1
			}
			for i := range questions {
				_, err = ask(t.Context(), "example.org.", dns.TypeSOA)
				if err != nil && i < questions-1 {
					t.Fatalf("Question %d: %v", i, err)
				}
			}
			if tc.fails == "" && err != nil || tc.fails != "" && (err == nil || !strings.Contains(err.Error(), tc.fails)) {
				t.Errorf("Expected the last question to end with %q, got %v", tc.fails, err)
			}
			if n := connections.Load(); n != tc.connections {
				t.Errorf("Expected %d connections, got %d", tc.connections, n)
			}
		})
	}
}

func TestConnectTCPAfterItsContextEnded(t *testing.T) {
	addr, connections := streaming(t, 9, func(net.Conn) {})
	c, err := NewClient([]string{"192.0.2.1"}, ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ask, end := New(c, nil, Options{}).ConnectTCP(addr)
	defer end()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ask(gone, "example.org.", dns.TypeSOA); err == nil {
		t.Error("Expected an error when the context has ended")
	}
	for range 2 {
		if _, err := ask(t.Context(), "example.org.", dns.TypeSOA); err != nil {
			t.Error(err)
		}
	}
	if n := connections.Load(); n > 2 {
		t.Errorf("Expected no more than two connections, got %d", n)
	}
}
