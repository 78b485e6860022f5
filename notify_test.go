package mske

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/coredns/coredns/plugin/pkg/dnstest"
	_ "github.com/coredns/coredns/plugin/secondary"
	"github.com/coredns/coredns/plugin/test"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/daemon"
)

// newNotify returns a NOTIFY.
func newNotify(zone string, qtype uint16) *dns.Msg {
	m := new(dns.Msg).SetNotify(zone)
	m.Question[0].Qtype = qtype
	return m
}

// expectAcknowledged checks that reply is what answers a NOTIFY: nothing but
// its header and question.
func expectAcknowledged(t *testing.T, r, reply *dns.Msg) {
	t.Helper()
	if reply.Rcode != dns.RcodeSuccess || !reply.Authoritative || !reply.Response || reply.Opcode != dns.OpcodeNotify || reply.Id != r.Id ||
		len(reply.Question) != 1 || reply.Question[0] != r.Question[0] || len(reply.Answer)+len(reply.Ns)+len(reply.Extra) > 0 {
		t.Errorf("Expected %v to be acknowledged, got\n%v", &r.Question[0], reply)
	}
}

// file drops every NOTIFY in silence, and dnssec takes one for DNSKEY for a
// question.
func TestNotifyIsAcknowledged(t *testing.T) {
	p := newProvider(t)
	s := start(t, p.corefile("cache\nacl {\n allow net 127.0.0.1\n block\n}"))
	s.until("an answer", question("example.org.", dns.TypeDNSKEY, true), answered)
	for _, qtype := range []uint16{dns.TypeDNSKEY, dns.TypeSOA, dns.TypeCDS, dns.TypeCSYNC, dns.TypeANY, 65302} {
		r := newNotify("Example.org.", qtype)
		expectAcknowledged(t, r, s.ask(r))
	}
	// Not to be kept by cache, nor taken for an answer.
	if reply := s.ask(question("example.org.", dns.TypeSOA, false)); len(reply.Answer) == 0 {
		t.Errorf("Expected questions to be answered as before, got\n%v", reply)
	}
}

func TestNotifyIsBlockedByACL(t *testing.T) {
	p := newProvider(t)
	s := start(t, p.corefile("acl {\n block\n}"))
	if reply := s.ask(newNotify("example.org.", dns.TypeCDS)); reply.Rcode != dns.RcodeRefused {
		t.Errorf("Expected REFUSED, got\n%v", reply)
	}
}

func TestNotifyIsPassedOn(t *testing.T) {
	p := newProvider(t)
	start(t, p.corefile(""))
	for name, tc := range map[string]struct {
		zone   string
		answer func(w dns.ResponseWriter, r *dns.Msg) (int, error)
		rcode  int
	}{
		"answered":            {"example.org.", func(w dns.ResponseWriter, r *dns.Msg) (int, error) { return 0, w.WriteMsg(notAuth(r)) }, dns.RcodeNotAuth},
		"answered in octets":  {"example.org.", func(w dns.ResponseWriter, r *dns.Msg) (int, error) { return 0, octetsOf(w, notAuth(r)) }, dns.RcodeNotAuth},
		"nothing written":     {"example.org.", func(dns.ResponseWriter, *dns.Msg) (int, error) { return dns.RcodeServerFailure, nil }, dns.RcodeSuccess},
		"below the zone":      {"www.example.org.", func(w dns.ResponseWriter, r *dns.Msg) (int, error) { return 0, w.WriteMsg(notAuth(r)) }, dns.RcodeNotAuth},
		"of another zone":     {"example.com.", func(w dns.ResponseWriter, r *dns.Msg) (int, error) { return 0, w.WriteMsg(notAuth(r)) }, dns.RcodeNotAuth},
		"of a signaling name": {"_signal.ns1.example.net.", func(w dns.ResponseWriter, r *dns.Msg) (int, error) { return 0, w.WriteMsg(notAuth(r)) }, dns.RcodeNotAuth},
	} {
		m, passed := *runningHandler(t), false
		m.Next = nextFunc(func(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
			passed = true
			return tc.answer(w, r)
		})
		rec := dnstest.NewRecorder(&test.ResponseWriter{})
		if _, err := m.ServeDNS(t.Context(), rec, newNotify(tc.zone, dns.TypeSOA)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !passed || rec.Msg == nil || rec.Msg.Rcode != tc.rcode {
			t.Errorf("%s: expected the next plugin's answer %s or ours, got passed %v and\n%v", name, dns.RcodeToString[tc.rcode], passed, rec.Msg)
		}
	}
	m := *runningHandler(t)
	m.Next = nil
	rec := dnstest.NewRecorder(&test.ResponseWriter{})
	r := newNotify("example.org.", dns.TypeCDS)
	if rcode, err := m.ServeDNS(t.Context(), rec, r); rcode != dns.RcodeSuccess || err != nil {
		t.Errorf("Expected it to be acknowledged without a next plugin, got %d, %v", rcode, err)
	}
	expectAcknowledged(t, r, rec.Msg)
}

func notAuth(r *dns.Msg) *dns.Msg { return new(dns.Msg).SetRcode(r, dns.RcodeNotAuth) }

func octetsOf(w dns.ResponseWriter, m *dns.Msg) error {
	wire, err := m.Pack()
	if err != nil {
		return err
	}
	_, err = w.Write(wire)
	return err
}

// primary is where a secondary transfers example.org from.
type primary struct {
	mu     sync.Mutex
	serial uint32
}

func (p *primary) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	p.mu.Lock()
	defer p.mu.Unlock()
	rr := func(format string, args ...any) dns.RR {
		rr, err := dns.NewRR(fmt.Sprintf(format, args...))
		if err != nil {
			panic(err)
		}
		return rr
	}
	soa := rr("example.org. 3600 IN SOA ns1.example.net. hostmaster.example.org. %d 7200 3600 1209600 300", p.serial)
	m := new(dns.Msg).SetReply(r)
	m.Authoritative = true
	m.Answer = []dns.RR{soa}
	if r.Question[0].Qtype == dns.TypeAXFR {
		m.Answer = append(m.Answer, rr("example.org. 3600 IN NS ns1.example.net."), rr("www.example.org. 300 IN A 192.0.2.%d", p.serial), soa)
	}
	w.WriteMsg(m)
}

// A secondary has to hear that its zone has changed, although we have answered
// what we wanted to know.
func TestNotifyReachesTheSecondaryBehindUs(t *testing.T) {
	from := &primary{serial: 1}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", daemon.FreePort(t)))
	if err != nil {
		t.Fatal(err)
	}
	pc, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*dns.Server{{Listener: l, Handler: from}, {PacketConn: pc, Handler: from}} {
		go s.ActivateAndServe()
		t.Cleanup(func() { s.Shutdown() })
	}
	p := newProvider(t)
	s := start(t, strings.Replace(p.corefile(""), "file db.example.org", "secondary {\n transfer from "+l.Addr().String()+"\n}", 1))
	www := func(address string) func(*dns.Msg) bool {
		return func(m *dns.Msg) bool { return len(m.Answer) == 1 && m.Answer[0].(*dns.A).A.String() == address }
	}
	s.until("the first transfer", question("www.example.org.", dns.TypeA, false), www("192.0.2.1"))
	from.mu.Lock()
	from.serial = 2
	from.mu.Unlock()
	r := newNotify("example.org.", dns.TypeSOA)
	expectAcknowledged(t, r, s.ask(r))
	s.until("the second transfer", question("www.example.org.", dns.TypeA, false), www("192.0.2.2"))
}

func TestNotifyCostsNoAllocationOfOurs(t *testing.T) {
	p := newProvider(t)
	start(t, p.corefile(""))
	m := *runningHandler(t)
	m.Next = nextFunc(func(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) { return 0, w.WriteMsg(r) })
	w, r := &test.ResponseWriter{}, newNotify("example.org.", dns.TypeCDS)
	direct := testing.AllocsPerRun(100, func() { m.Next.ServeDNS(t.Context(), w, r) })
	if n := testing.AllocsPerRun(100, func() { m.ServeDNS(t.Context(), w, r) }); n > direct+3 {
		t.Errorf("Expected no more than the writer and its message, got %v allocations, %v of them the next plugin's", n, direct)
	}
}
