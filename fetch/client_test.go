package fetch

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// serve starts a server that handles UDP and TCP on one loopback port, and
// returns its address.
func serve(t *testing.T, h dns.HandlerFunc) string {
	t.Helper()
	l, p := listen(t)
	run(t, &dns.Server{Listener: l, Handler: h})
	run(t, &dns.Server{PacketConn: p, Handler: h})
	return l.Addr().String()
}

// listen returns sockets for TCP and UDP on one loopback port.
func listen(t *testing.T) (net.Listener, net.PacketConn) {
	t.Helper()
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		p, err := net.ListenPacket("udp", l.Addr().String())
		if err == nil {
			return l, p
		}
		l.Close() // a client has that port for UDP
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

func run(t *testing.T, s *dns.Server) {
	t.Helper()
	started := make(chan struct{})
	s.NotifyStartedFunc = func() { close(started) }
	go s.ActivateAndServe()
	<-started
	t.Cleanup(func() { s.Shutdown() })
}

func overTCP(w dns.ResponseWriter) bool { return w.LocalAddr().Network() == "tcp" }

// txt answers r with one TXT record.
func txt(r *dns.Msg, text string) *dns.Msg {
	m := new(dns.Msg).SetReply(r)
	m.Answer = []dns.RR{&dns.TXT{
		Hdr: dns.RR_Header{Name: r.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60},
		Txt: []string{text},
	}}
	return m
}

func client(t *testing.T, try time.Duration, addrs ...string) *Client {
	t.Helper()
	c, err := NewClient(addrs, ClientOptions{Try: try})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAsk(t *testing.T) {
	const short, mid, long = 50 * time.Millisecond, 400 * time.Millisecond, 10 * time.Second
	tests := []struct {
		name    string
		try     time.Duration
		handler dns.HandlerFunc
		stream  bool   // asked over TCP at once
		want    string // the answer's text
		err     string // or a part of the error
	}{
		{"plain answer", long, func(w dns.ResponseWriter, r *dns.Msg) { w.WriteMsg(txt(r, "udp")) }, false, "udp", ""},
		{"stream", long, func(w dns.ResponseWriter, r *dns.Msg) { w.WriteMsg(txt(r, w.LocalAddr().Network())) }, true, "tcp", ""},
		{"TC leads to TCP", long, func(w dns.ResponseWriter, r *dns.Msg) {
			m := txt(r, "tcp")
			if !overTCP(w) {
				m.Truncated, m.Answer = true, nil
			}
			w.WriteMsg(m)
		}, false, "tcp", ""},
		{"TC on TCP too", long, func(w dns.ResponseWriter, r *dns.Msg) {
			m := txt(r, "")
			m.Truncated = true
			w.WriteMsg(m)
		}, false, "", "truncates"},
		{"garbage leads to TCP", long, func(w dns.ResponseWriter, r *dns.Msg) {
			if overTCP(w) {
				w.WriteMsg(txt(r, "tcp"))
				return
			}
			p, _ := txt(r, "udp").Pack()
			w.Write(p[:len(p)-3])
		}, false, "tcp", ""},
		{"garbage only", long, func(w dns.ResponseWriter, r *dns.Msg) {
			p, _ := txt(r, "").Pack()
			w.Write(p[:len(p)-3])
		}, false, "", "does not answer the question"},
		{"wrong ID is not an answer", long, func(w dns.ResponseWriter, r *dns.Msg) {
			m := txt(r, "forged")
			m.Id++
			w.WriteMsg(m)
			w.WriteMsg(txt(r, "right"))
		}, false, "right", ""},
		{"wrong ID only", short, func(w dns.ResponseWriter, r *dns.Msg) {
			m := txt(r, "forged")
			m.Id++
			w.WriteMsg(m)
		}, false, "", "does not answer in time"},
		{"a flood of wrong IDs leads to TCP", long, func(w dns.ResponseWriter, r *dns.Msg) {
			if overTCP(w) {
				w.WriteMsg(txt(r, "tcp"))
				return
			}
			m := txt(r, "forged")
			m.Id++
			for range maxStray {
				w.WriteMsg(m)
			}
		}, false, "tcp", ""},
		{"wrong ID on TCP", long, func(w dns.ResponseWriter, r *dns.Msg) {
			m := txt(r, "forged")
			m.Id++
			w.WriteMsg(m)
		}, true, "", "does not answer the question"},
		{"wrong name", mid, func(w dns.ResponseWriter, r *dns.Msg) {
			m := txt(r, "forged")
			m.Question[0].Name = "example.net."
			w.WriteMsg(m)
		}, false, "", "does not answer the question"},
		{"wrong type", mid, func(w dns.ResponseWriter, r *dns.Msg) {
			m := txt(r, "forged")
			m.Question[0].Qtype = dns.TypeA
			w.WriteMsg(m)
		}, false, "", "does not answer the question"},
		{"no question", mid, func(w dns.ResponseWriter, r *dns.Msg) {
			m := txt(r, "forged")
			m.Question = nil
			w.WriteMsg(m)
		}, false, "", "does not answer the question"},
		{"the question itself", mid, func(w dns.ResponseWriter, r *dns.Msg) { w.WriteMsg(r) }, false, "", "does not answer the question"},
		{"other case", mid, func(w dns.ResponseWriter, r *dns.Msg) {
			r.Question[0].Name = strings.ToUpper(r.Question[0].Name)
			w.WriteMsg(txt(r, w.LocalAddr().Network()))
		}, false, "tcp", ""},
		{"the right case after another", mid, func(w dns.ResponseWriter, r *dns.Msg) {
			other := txt(r, "forged")
			other.Question[0].Name = swapCase(r.Question[0].Name)
			w.WriteMsg(other)
			w.WriteMsg(txt(r, "right"))
		}, false, "right", ""},
		{"SERVFAIL", long, func(w dns.ResponseWriter, r *dns.Msg) {
			m := new(dns.Msg).SetRcode(r, dns.RcodeServerFailure)
			m.SetEdns0(ednsSize, true)
			m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeNoReachableAuthority, ExtraText: "spite"}}
			w.WriteMsg(m)
		}, false, "", "answers SERVFAIL (No Reachable Authority)"},
		{"bare REFUSED", mid, func(w dns.ResponseWriter, r *dns.Msg) {
			m := new(dns.Msg).SetRcode(r, dns.RcodeRefused)
			m.Question = nil
			w.WriteMsg(m)
		}, false, "", "answers REFUSED"},
		{"silence", short, func(dns.ResponseWriter, *dns.Msg) {}, false, "", "does not answer in time"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			c := client(t, tc.try, serve(t, tc.handler))
			m, err := c.Ask(t.Context(), c.resolvers[0], tc.stream, "example.org.", dns.TypeTXT, true)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) || strings.Contains(err.Error(), "spite") {
					t.Fatalf("Expected an error with %q, got %v, %v", tc.err, m, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := m.Answer[0].(*dns.TXT).Txt[0]; got != tc.want {
				t.Errorf("Expected %q, got %q", tc.want, got)
			}
		})
	}
}

// swapCase returns name with one letter in the other case.
func swapCase(name string) string { return string(name[0]^0x20) + name[1:] }

func TestAskSetsTheFlags(t *testing.T) {
	var asked atomic.Pointer[dns.Msg]
	addr := serve(t, func(w dns.ResponseWriter, r *dns.Msg) {
		asked.Store(r)
		w.WriteMsg(txt(r, ""))
	})
	c := client(t, 10*time.Second, addr)
	ids := make(map[uint16]bool)
	check := func(rd, cd bool, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		q := asked.Load()
		ids[q.Id] = true
		opt := q.IsEdns0()
		if q.RecursionDesired != rd || q.CheckingDisabled != cd || opt == nil || !opt.Do() || opt.UDPSize() != ednsSize {
			t.Errorf("Expected RD %t, CD %t, DO and size %d, got %v", rd, cd, ednsSize, q)
		}
	}
	for range 3 {
		_, err := c.Ask(t.Context(), c.resolvers[0], false, "example.org.", dns.TypeTXT, true)
		check(true, true, err)
		_, err = c.Ask(t.Context(), c.resolvers[0], false, "example.org.", dns.TypeTXT, false)
		check(true, false, err)
		_, err = c.AskDirect(t.Context(), netip.MustParseAddrPort(addr), "example.org.", dns.TypeTXT)
		check(false, false, err)
	}
	if len(ids) < 2 {
		t.Error("Expected differing IDs, got one for all")
	}
}

func TestAQuestionOverTCPHasAnIDOfItsOwn(t *testing.T) {
	// Who saw, or guessed, that of the datagram has nothing of it.
	c := client(t, time.Second, "192.0.2.1")
	ids := make(map[bool]uint16) // by transport
	c.roundTrip = func(_ context.Context, _ Resolver, stream bool, q *dns.Msg) (*dns.Msg, error) {
		ids[stream] = q.Id
		m := txt(q, "")
		m.Truncated = !stream
		return m, nil
	}
	for range 4 { // by chance two are equal, but not each time
		if _, err := c.Ask(t.Context(), c.resolvers[0], false, "example.org.", dns.TypeTXT, true); err != nil {
			t.Fatal(err)
		}
		if ids[false] != ids[true] {
			return
		}
	}
	t.Errorf("Expected another ID over TCP, got %v", ids)
}

func TestAskReportsTheSameFailureInTheSameWords(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	c := client(t, 10*time.Second, addr)
	for _, stream := range []bool{false, true} {
		_, err := c.Ask(t.Context(), c.resolvers[0], stream, "example.org.", dns.TypeTXT, true)
		if err == nil || err.Error() != "fails: connection refused" {
			t.Errorf("Expected %q, got %v", "fails: connection refused", err)
		}
	}
}

func TestAskSaysThatAConnectionWasClosed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Read(make([]byte, dns.MaxMsgSize))
			conn.Close()
		}
	}()
	c := client(t, 10*time.Second, l.Addr().String())
	const want = "closes the connection without an answer"
	if _, err := c.Ask(t.Context(), c.resolvers[0], true, "example.org.", dns.TypeTXT, true); err == nil || err.Error() != want {
		t.Errorf("Expected %q, got %v", want, err)
	}
}

func TestAskEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := client(t, time.Hour, serve(t, func(dns.ResponseWriter, *dns.Msg) { cancel() }))
	if _, err := c.Ask(ctx, c.resolvers[0], false, "example.org.", dns.TypeTXT, true); !errors.Is(err, context.Canceled) {
		t.Errorf("Expected %v, got %v", context.Canceled, err)
	}
}

// certificate returns a self-signed certificate for name and 127.0.0.1, and
// a pool that trusts it.
func certificate(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// serveTLS starts a server at the name dns.example.net that answers what
// answer makes of a query. It returns its address, the roots to verify it with
// and a count of its queries.
func serveTLS(t *testing.T, answer func(*dns.Msg) *dns.Msg) (addr string, roots *x509.CertPool, queries *atomic.Int32) {
	t.Helper()
	cert, roots := certificate(t, "dns.example.net")
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	queries = new(atomic.Int32)
	run(t, &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		queries.Add(1)
		w.WriteMsg(answer(r))
	})})
	return l.Addr().String(), roots, queries
}

func TestAskOverTLSVerifiesTheServer(t *testing.T) {
	addr, pool, queries := serveTLS(t, func(r *dns.Msg) *dns.Msg { return txt(r, "tls") })
	_, port, _ := net.SplitHostPort(addr)
	tests := []struct {
		addr  string
		roots *x509.CertPool
		ok    bool
	}{
		{"tls://127.0.0.1@dns.example.net:" + port, pool, true},
		{"tls://127.0.0.1:" + port, pool, true}, // by the address in it
		{"tls://127.0.0.1@dns.example.org:" + port, pool, false},
		{"tls://127.0.0.1@dns.example.net:" + port, nil, false}, // system roots
	}
	for _, tc := range tests {
		c, err := NewClient([]string{tc.addr}, ClientOptions{Try: 10 * time.Second, RootCAs: tc.roots})
		if err != nil {
			t.Fatal(err)
		}
		before := queries.Load()
		_, err = c.Ask(t.Context(), c.resolvers[0], false, "example.org.", dns.TypeTXT, true)
		if (err == nil) != tc.ok {
			t.Errorf("%s: Expected ok %t, got %v", tc.addr, tc.ok, err)
		}
		if asked := queries.Load() > before; asked != tc.ok {
			t.Errorf("%s: Expected a question %t, got %t", tc.addr, tc.ok, asked)
		}
	}
}

func TestAskOverTLSStaysWithTLS(t *testing.T) {
	addr, pool, queries := serveTLS(t, func(r *dns.Msg) *dns.Msg {
		m := txt(r, "")
		m.Truncated = true
		return m
	})
	c, err := NewClient([]string{"tls://" + addr}, ClientOptions{Try: 10 * time.Second, RootCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Ask(t.Context(), c.resolvers[0], false, "example.org.", dns.TypeTXT, true); !errors.Is(err, errTruncated) {
		t.Errorf("Expected %v, got %v", errTruncated, err)
	}
	if got := queries.Load(); got != 1 {
		t.Errorf("Expected one question, got %d", got)
	}
}
