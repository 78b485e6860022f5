package notify

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/daemon"
	"github.com/coredns-mske/mske/internal/lab"
)

// endpoint is a server that takes NOTIFY messages, over UDP and TCP.
type endpoint struct {
	addr netip.AddrPort
	mu   sync.Mutex
	got  []*dns.Msg
	over []string
}

// listen starts an endpoint, which answers what reply returns; nil is silence.
func listen(t *testing.T, reply func(network string, r *dns.Msg) *dns.Msg) *endpoint {
	t.Helper()
	e := new(endpoint)
	addr := net.JoinHostPort("127.0.0.1", daemon.FreePort(t))
	pc, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	e.addr = netip.MustParseAddrPort(pc.LocalAddr().String())
	handle := func(network string) dns.HandlerFunc {
		return func(w dns.ResponseWriter, r *dns.Msg) {
			e.mu.Lock()
			e.got, e.over = append(e.got, r), append(e.over, network)
			e.mu.Unlock()
			if m := reply(network, r); m != nil {
				w.WriteMsg(m)
			}
		}
	}
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: handle("udp")}, {Listener: l, Handler: handle("tcp")}} {
		go s.ActivateAndServe()
		t.Cleanup(func() { s.Shutdown() })
	}
	return e
}

func (e *endpoint) messages() ([]*dns.Msg, []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.got), slices.Clone(e.over)
}

func acknowledge(_ string, r *dns.Msg) *dns.Msg {
	m := new(dns.Msg).SetReply(r)
	m.Authoritative = true
	return m
}

func TestParentIsToldAtItsEndpoint(t *testing.T) {
	n := parents(t)
	e := listen(t, acknowledge)
	d := DSYNC{RRtype: dns.TypeCSYNC, Scheme: SchemeNotify, Port: e.addr.Port(), Target: "endpoint.example."}
	n.lab.Add(lab.Zone{Name: "each.", Records: at(t, "child._dsync.each.", d)})
	n.addrs["endpoint.example."] = []netip.AddrPort{netip.AddrPortFrom(e.addr.Addr(), 53)}
	s := New(n, time.Now)
	if told, err := s.Parent(t.Context(), "child.each.", dns.TypeCSYNC); err != nil || !told {
		t.Fatalf("Expected somebody to be told, got %v, %v", told, err)
	}
	got, _ := e.messages()
	if len(got) != 1 {
		t.Fatalf("Expected one message, got %v", got)
	}
	q := dns.Question{Name: "child.each.", Qtype: dns.TypeCSYNC, Qclass: dns.ClassINET}
	if m := got[0]; m.Opcode != dns.OpcodeNotify || m.Response || !m.Authoritative || m.RecursionDesired || len(m.Question) != 1 || m.Question[0] != q ||
		len(m.Answer)+len(m.Ns)+len(m.Extra) > 0 {
		t.Errorf("Expected a NOTIFY as in RFC 1996 section 3.7, got\n%v", m)
	}
	for _, zone := range []string{"child.each.", "child.none."} {
		if told, err := s.Parent(t.Context(), zone, dns.TypeCDS); told || err != nil {
			t.Errorf("Expected nobody to be told of CDS of %s, got %v, %v", zone, told, err)
		}
	}
	if told, err := s.Parent(t.Context(), "child.flat.", dns.TypeCDS); told || err == nil || !strings.Contains(err.Error(), "scanner.example.") {
		t.Errorf("Expected an error that names the endpoint without an address, got %v", err)
	}
}

func TestHostIsToldAtEachAddress(t *testing.T) {
	n := parents(t)
	refusing := listen(t, func(_ string, r *dns.Msg) *dns.Msg { return new(dns.Msg).SetRcode(r, dns.RcodeNotImplemented) })
	good := listen(t, acknowledge)
	n.addrs["ns.example."] = []netip.AddrPort{refusing.addr, good.addr}
	n.addrs["old.example."] = []netip.AddrPort{refusing.addr}
	s := New(n, time.Now)
	if err := s.Host(t.Context(), "example.org.", "ns.example."); err != nil {
		t.Errorf("Expected one that answers to be enough, got %v", err)
	}
	for _, e := range []*endpoint{refusing, good} {
		if got, _ := e.messages(); len(got) != 1 || got[0].Question[0] != (dns.Question{Name: "example.org.", Qtype: HostType, Qclass: dns.ClassINET}) {
			t.Errorf("Expected each address to be told once, got %v", got)
		}
	}
	if err := s.Host(t.Context(), "example.org.", "old.example."); err == nil || !strings.Contains(err.Error(), "NOTIMP") {
		t.Errorf("Expected the RCODE, got %v", err)
	}
	if got, _ := refusing.messages(); len(got) != 2 {
		t.Errorf("Expected an error to be an answer, got %d messages", len(got))
	}
	if err := s.Host(t.Context(), "example.org.", "none.example."); err == nil {
		t.Error("Expected an error without an address")
	}
}

func TestAnswersOfOthersAreSkipped(t *testing.T) {
	asked, err := message("example.org.", dns.TypeCDS)
	if err != nil {
		t.Fatal(err)
	}
	r := new(dns.Msg)
	if err := r.Unpack(asked); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		edit func(*dns.Msg)
		want bool
	}{
		{"the answer", func(*dns.Msg) {}, true},
		{"another case", func(m *dns.Msg) { m.Question[0].Name = "EXAMPLE.org." }, true},
		{"an error", func(m *dns.Msg) { m.Rcode = dns.RcodeRefused }, true},
		{"an error without the question", func(m *dns.Msg) { m.Rcode, m.Question = dns.RcodeFormatError, nil }, true},
		{"no question", func(m *dns.Msg) { m.Question = nil }, false},
		{"another ID", func(m *dns.Msg) { m.Id++ }, false},
		{"no response", func(m *dns.Msg) { m.Response = false }, false},
		{"another opcode", func(m *dns.Msg) { m.Opcode = dns.OpcodeQuery }, false},
		{"another type", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeSOA }, false},
		{"another name", func(m *dns.Msg) { m.Question[0].Name = "example.net." }, false},
		{"a longer name", func(m *dns.Msg) { m.Question[0].Name = "a.example.org." }, false},
	} {
		m := new(dns.Msg).SetReply(r)
		tc.edit(m)
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if got := answers(wire, asked); got != tc.want {
			t.Errorf("%s: expected %v, got %v", tc.name, tc.want, got)
		}
		for n := range len(wire) - 1 {
			if tc.want && len(m.Question) > 0 && n < len(asked) && answers(wire[:n], asked) {
				t.Errorf("%s: expected the first %d octets to be no answer", tc.name, n)
			}
		}
	}
	var stray atomic.Int32
	e := listen(t, func(_ string, r *dns.Msg) *dns.Msg {
		m := acknowledge("", r)
		if stray.Add(1) == 1 {
			m.Id++
		}
		return m
	})
	pause := []time.Duration{50 * time.Millisecond, 10 * time.Second}
	s := New(parents(t), time.Now)
	if err := s.send(t.Context(), e.addr, "example.org.", dns.TypeCDS, plan{waits: pause}); err != nil {
		t.Errorf("Expected the second copy to be answered, got %v", err)
	}
}

func TestTCPIsTheLastResort(t *testing.T) {
	e := listen(t, func(network string, r *dns.Msg) *dns.Msg {
		if network == "udp" {
			return nil
		}
		return acknowledge(network, r)
	})
	s := New(parents(t), time.Now)
	short := []time.Duration{10 * time.Millisecond, 10 * time.Millisecond}
	if err := s.send(t.Context(), e.addr, "example.org.", dns.TypeCDS, plan{waits: short, stream: true}); err != nil {
		t.Error(err)
	}
	if _, over := e.messages(); !slices.Equal(over, []string{"udp", "udp", "tcp"}) {
		t.Errorf("Expected UDP, then TCP, got %v", over)
	}
	if err := s.send(t.Context(), e.addr, "example.org.", dns.TypeCDS, plan{waits: short}); !errors.Is(err, errNoAnswer) {
		t.Errorf("Expected no answer without TCP, got %v", err)
	}
	// A closed port is an answer, too.
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := netip.MustParseAddrPort(pc.LocalAddr().String())
	pc.Close()
	if err := s.send(t.Context(), gone, "example.org.", dns.TypeCDS, plan{waits: parentWaits}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Expected no more tries at a port that is unreachable, got %v", err)
	}
}

// silent is a roundTrip that nobody answers, and counts.
func silent(sent *[]time.Duration, began time.Time) func(context.Context, netip.AddrPort, bool, []byte) ([]byte, error) {
	return func(ctx context.Context, _ netip.AddrPort, _ bool, _ []byte) ([]byte, error) {
		*sent = append(*sent, time.Since(began))
		<-ctx.Done()
		return nil, errNoAnswer
	}
}

func TestCopiesAreSentWithBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent []time.Duration
		s := New(parents(t), time.Now)
		s.roundTrip = silent(&sent, time.Now())
		err := s.send(t.Context(), netip.MustParseAddrPort("192.0.2.1:53"), "example.org.", dns.TypeCDS, plan{waits: parentWaits, stream: true})
		want := []time.Duration{0, 2 * time.Second, 6 * time.Second, 14 * time.Second, 30 * time.Second, 62 * time.Second, 94 * time.Second}
		if !slices.Equal(sent, want) || !errors.Is(err, errNoAnswer) {
			t.Errorf("Expected copies after %v, got %v and %v", want, sent, err)
		}
		sent = nil
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := s.send(ctx, netip.MustParseAddrPort("192.0.2.1:53"), "example.org.", dns.TypeCDS, plan{waits: parentWaits}); err == nil || len(sent) != 2 {
			t.Errorf("Expected no copy after the context's end, got %v and %v", sent, err)
		}
	})
}

// Whoever is named in many zones, or in a forged DSYNC record, gets no more than
// an address may get.
func TestAnAddressIsSentOnlySoMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(parents(t), time.Now)
		victim := netip.MustParseAddr("192.0.2.1")
		sent := 0
		s.roundTrip = func(_ context.Context, _ netip.AddrPort, _ bool, asked []byte) ([]byte, error) {
			sent++
			return asked, nil
		}
		try := func(n int) (dropped int) {
			for port := range uint16(n) {
				if err := s.send(t.Context(), netip.AddrPortFrom(victim, 1+port), "example.org.", dns.TypeCDS, plan{waits: hostWaits}); errors.Is(err, ErrBusy) {
					dropped++
				} else if err != nil {
					t.Fatal(err)
				}
			}
			return dropped
		}
		if dropped := try(1000); sent != burst || dropped != 1000-burst {
			t.Errorf("Expected %d at once, got %d, %d dropped", burst, sent, dropped)
		}
		time.Sleep(time.Second)
		if sent = 0; try(1000) != 1000-perSecond || sent != perSecond {
			t.Errorf("Expected %d a second, got %d", perSecond, sent)
		}
		other := netip.MustParseAddrPort("192.0.2.2:53")
		if err := s.send(t.Context(), other, "example.org.", dns.TypeCDS, plan{waits: hostWaits}); err != nil {
			t.Errorf("Expected another address to be told, got %v", err)
		}
	})
}

func TestADeadAddressHoldsFewUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(parents(t), time.Now)
		s.roundTrip = func(ctx context.Context, _ netip.AddrPort, _ bool, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, errNoAnswer
		}
		var dropped atomic.Int32
		for range 50 {
			go func() {
				if errors.Is(s.send(t.Context(), netip.MustParseAddrPort("192.0.2.1:53"), "example.org.", dns.TypeCDS, plan{waits: hostWaits}), ErrBusy) {
					dropped.Add(1)
				}
			}()
		}
		synctest.Wait()
		if got := dropped.Load(); got != 50-maxUnderWay {
			t.Errorf("Expected all but %d to be dropped at once, got %d", maxUnderWay, got)
		}
		time.Sleep(time.Minute)
		if !s.rates.take(netip.MustParseAddr("192.0.2.1")) {
			t.Error("Expected the address to be tried again")
		}
	})
}

func TestFewAddressesAreRemembered(t *testing.T) {
	at := now
	r := newRates(func() time.Time { return at })
	addr := netip.MustParseAddr("10.0.0.0")
	for range maxTracked {
		if addr = addr.Next(); !r.take(addr) {
			t.Fatal("Expected room")
		}
	}
	if r.take(addr.Next()) {
		t.Error("Expected no more than are remembered")
	}
	for a := range r.byAddr {
		r.done(a)
	}
	at = at.Add(-time.Hour) // a clock that was set back fills nothing
	if r.take(addr.Next()) {
		t.Error("Expected no room yet")
	}
	at = at.Add(burst / perSecond * time.Second)
	if !r.take(addr.Next()) || len(r.byAddr) != 1 {
		t.Errorf("Expected those that owe nothing to be forgotten, got %d", len(r.byAddr))
	}
}

// FuzzAnswers reads any octets as what comes back.
func FuzzAnswers(f *testing.F) {
	asked, err := message("example.org.", dns.TypeCDS)
	if err != nil {
		f.Fatal(err)
	}
	asked[0], asked[1] = 0, 1
	reply := slices.Clone(asked)
	reply[2] |= 0x80
	f.Add(reply)
	f.Add(asked)
	f.Fuzz(func(t *testing.T, p []byte) {
		if answers(p, asked) && (len(p) < 12 || p[1] != 1 || p[2]&0x80 == 0) {
			t.Errorf("%x was taken for an answer", p)
		}
	})
}
