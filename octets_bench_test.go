package mske

import (
	"context"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/coredns/coredns/request"

	"github.com/miekg/dns"
)

// nowhere is a socket that takes everything.
type nowhere struct{ net.PacketConn }

func (nowhere) WriteTo(b []byte, _ net.Addr) (int, error) { return len(b), nil }

// droppingWriter returns a writer of the type that servers make, whose answers go
// nowhere.
func droppingWriter(b testing.TB) dns.ResponseWriter {
	b.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	made := make(chan dns.ResponseWriter, 1)
	// Not a *net.UDPConn, so that the server sends by WriteTo.
	server := &dns.Server{PacketConn: nowhere{conn}, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, _ *dns.Msg) { made <- w })}
	go func() { _ = server.ActivateAndServe() }()
	b.Cleanup(func() { _ = server.Shutdown() })
	q, err := question("example.org.", dns.TypeNS, false).Pack()
	if err != nil {
		b.Fatal(err)
	}
	client, err := net.Dial("udp", conn.LocalAddr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Write(q); err != nil {
		b.Fatal(err)
	}
	return <-made
}

// dropping is a writer of no server, which takes messages as a server does.
type dropping struct{ test.ResponseWriter }

func (dropping) WriteMsg(m *dns.Msg) error {
	_, err := m.Pack()
	return err
}

// reportCPU returns what reports the CPU time of an operation, in nanoseconds.
// On a machine with other work it is steadier than the time on the clock.
func reportCPU(b *testing.B) func() {
	used := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/float64(b.N), "cpu-ns/op") }
}

func benchmarkHandler(b *testing.B) (apex, signaling *MSKE) {
	p := newProvider(b)
	start(b, octetsCorefile(p, "dns://", ""))
	inst := runningHandler(b).instance
	for _, m := range inst.handlers {
		for name, s := range m.sites.at {
			switch {
			case s.subtree != nil:
				signaling = m
			case name == "example.org.":
				apex = m
			}
		}
	}
	for _, at := range []struct {
		m     *MSKE
		name  string
		qtype uint16
	}{{apex, "example.org.", dns.TypeDNSKEY}, {signaling, "_multi.example.org._signal.ns1.example.net.", dns.TypeCDS}} {
		eventually(b, "an answer of "+at.name, func() bool {
			w := &capture{}
			_, err := at.m.ServeDNS(b.Context(), w, question(at.name, at.qtype, true))
			return err == nil && w.msg != nil && answered(w.msg)
		}, func() string { return "none" })
	}
	return apex, signaling
}

// capture keeps what is written.
type capture struct {
	test.ResponseWriter
	msg *dns.Msg
}

func (c *capture) WriteMsg(m *dns.Msg) error { c.msg = m; return nil }

// BenchmarkServeDNS is the handler, with what the server does to an answer but
// without the system call that sends it.
func BenchmarkServeDNS(b *testing.B) {
	apex, signaling := benchmarkHandler(b)
	next := plugin.HandlerFunc(func(context.Context, dns.ResponseWriter, *dns.Msg) (int, error) { return dns.RcodeSuccess, nil })
	apex = &MSKE{Next: next, config: apex.config, instance: apex.instance, blockZones: apex.blockZones, zones: apex.zones, sites: apex.sites, ask: apex.ask, counts: apex.counts}
	drop := &dropping{ResponseWriter: test.ResponseWriter{}}
	for _, bm := range []struct {
		name   string
		m      *MSKE
		q      *dns.Msg
		octets bool
	}{
		{"another's", apex, question("www.example.com.", dns.TypeA, true), true},
		{"another's, mixed case", apex, question("wWw.eXample.cOm.", dns.TypeA, true), true},
		{"nothing to correct", apex, question("www.example.org.", dns.TypeA, true), true},
		{"DNSKEY/octets", apex, question("example.org.", dns.TypeDNSKEY, true), true},
		{"DNSKEY/log", apex, question("example.org.", dns.TypeDNSKEY, true), true},
		{"DNSKEY/message", apex, question("example.org.", dns.TypeDNSKEY, true), false},
		{"announcement/octets", signaling, question("_multi.example.org._signal.ns1.example.net.", dns.TypeCDS, true), true},
		{"announcement/message", signaling, question("_multi.example.org._signal.ns1.example.net.", dns.TypeCDS, true), false},
		{"NXDOMAIN/octets", signaling, question("no.such.org._signal.ns1.example.net.", dns.TypeCDS, true), true},
		{"NXDOMAIN/message", signaling, question("no.such.org._signal.ns1.example.net.", dns.TypeCDS, true), false},
	} {
		b.Run(bm.name, func(b *testing.B) {
			var inner dns.ResponseWriter = drop
			if bm.octets {
				inner = droppingWriter(b)
			}
			var w dns.ResponseWriter = request.NewScrubWriter(bm.q, inner)
			if strings.HasSuffix(bm.name, "/log") {
				w = dnstest.NewRecorder(w)
			}
			b.ReportAllocs()
			defer reportCPU(b)()
			for b.Loop() {
				if _, err := bm.m.ServeDNS(context.Background(), w, bm.q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
