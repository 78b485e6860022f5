package mske

import (
	"context"
	"testing"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/dnstap"
	"github.com/coredns/coredns/plugin/metrics"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/coredns/coredns/request"

	"github.com/miekg/dns"
)

// behind returns the writer that the next plugin gets of one that writes to w.
func behind(w dns.ResponseWriter) (inner dns.ResponseWriter) {
	learn := plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, _ *dns.Msg) (int, error) {
		inner = w
		return dns.RcodeSuccess, nil
	})
	_, _ = plugin.NextOrFailure("", learn, context.Background(), w, new(dns.Msg))
	return inner
}

// another is a writer of a plugin that nobody knows.
type another struct{ dns.ResponseWriter }

func TestRouteOf(t *testing.T) {
	server := droppingWriter(t)
	r := question("example.org.", dns.TypeDNSKEY, true)
	scrub := request.NewScrubWriter(r, server)
	for _, tt := range []struct {
		what         string
		w            dns.ResponseWriter
		known, naked bool
	}{
		{"the server's", scrub, true, true},
		{"behind plugins without writers", behind(behind(scrub)), true, true},
		{"log", behind(dnstest.NewRecorder(behind(scrub))), true, false},
		{"prometheus", behind(metrics.NewRecorder(behind(scrub))), true, true},
		{"prometheus twice", behind(metrics.NewRecorder(behind(metrics.NewRecorder(behind(scrub))))), true, false},
		{"prometheus and log", behind(metrics.NewRecorder(behind(dnstest.NewRecorder(behind(scrub))))), true, false},
		{"log and prometheus", behind(dnstest.NewRecorder(behind(metrics.NewRecorder(behind(scrub))))), true, false},
		{"dnstap", behind(&dnstap.ResponseWriter{ResponseWriter: behind(scrub)}), true, false},
		{"all", behind(metrics.NewRecorder(behind(dnstest.NewRecorder(behind(&dnstap.ResponseWriter{ResponseWriter: behind(scrub)}))))), true, false},
		{"another plugin's", behind(&another{behind(scrub)}), false, false},
		{"another plugin's in front", behind(dnstest.NewRecorder(&another{behind(scrub)})), false, false},
		{"of no server", request.NewScrubWriter(r, &test.ResponseWriter{}), false, false},
		{"without the server's scrubbing", behind(server), false, false},
		{"none", nil, false, false},
		{"nothing below", behind(nil), false, false},
		{"nothing in the server's", request.NewScrubWriter(r, nil), false, false},
	} {
		to := routeOf(tt.w)
		if known := to.server != nil; known != tt.known || known && (to.bare != tt.naked || to.scrub != scrub || to.server != server) {
			t.Errorf("%s: expected to be known %v, bare %v, got %+v", tt.what, tt.known, tt.naked, to)
		}
	}
}

// TestRouteOfQuestion is for what cache does: to go on with a copy.
func TestRouteOfQuestion(t *testing.T) {
	server := droppingWriter(t)
	for _, do := range []bool{true, false} {
		r := question("example.org.", dns.TypeDNSKEY, do)
		to := routeOf(request.NewScrubWriter(r, server))
		if !to.of(r) || !to.of(r.Copy()) {
			t.Error("Expected the question and a copy to have the same answer")
		}
	}
	for what, change := range map[string]func(*dns.Msg){
		"without EDNS": func(q *dns.Msg) { q.Extra = nil },
		"size":         func(q *dns.Msg) { q.IsEdns0().SetUDPSize(1400) },
		"DO":           func(q *dns.Msg) { q.IsEdns0().Hdr.Ttl = 0 },
		"options":      func(q *dns.Msg) { q.IsEdns0().Option = []dns.EDNS0{new(dns.EDNS0_NSID)} },
		"more":         func(q *dns.Msg) { q.Extra = append(q.Extra, new(dns.A)) },
		"another":      func(q *dns.Msg) { q.Extra = []dns.RR{new(dns.A)} },
	} {
		r := question("example.org.", dns.TypeDNSKEY, true)
		q := r.Copy()
		change(q)
		if routeOf(request.NewScrubWriter(r, server)).of(q) || routeOf(request.NewScrubWriter(q, server)).of(r) {
			t.Errorf("%s: expected another answer", what)
		}
	}
}

// TestThrough writes by way of a recorder: what comes out is kept to be sent in
// octets, unless it has changed, and the server's writer is in its place again.
func TestThrough(t *testing.T) {
	p := newProvider(t)
	start(t, octetsCorefile(p, "dns://", ""))
	eventually(t, "an answer", func() bool { return answers(t, "example.org.", dns.TypeDNSKEY) }, func() string { return "none" })
	view := handlerOf(t, "example.org.").zones["example.org."].view.Load()
	r := question("example.org.", dns.TypeDNSKEY, true)
	set := view.RRset(r.Question[0])
	for _, changed := range []bool{false, true} {
		server := droppingWriter(t)
		scrub := request.NewScrubWriter(r, server)
		recorder := dnstest.NewRecorder(scrub)
		reply, _ := view.Reply(r)
		if changed {
			reply.Answer[0].Header().Ttl--
		}
		m, err := routeOf(recorder).through(recorder, reply, set)
		if err != nil || (m == nil) != changed {
			t.Errorf("Changed %v: expected octets otherwise, got %v, %v", changed, m, err)
		}
		if recorder.Msg != reply || recorder.Len == 0 {
			t.Errorf("Expected the recorder to have the message, got %v, %d octets", recorder.Msg, recorder.Len)
		}
		if scrub.ResponseWriter != server {
			t.Errorf("Expected the server's writer to be in its place again, got %T", scrub.ResponseWriter)
		}
	}
}

// named returns the writer that a plugin of that name gets behind w.
func named(name string, w dns.ResponseWriter) (inner dns.ResponseWriter) {
	_, _ = plugin.NextOrFailure("", namedPlugin{name, &inner}, context.Background(), w, new(dns.Msg))
	return inner
}

type namedPlugin struct {
	name  string
	inner *dns.ResponseWriter
}

func (p namedPlugin) Name() string { return p.name }

func (p namedPlugin) ServeDNS(_ context.Context, w dns.ResponseWriter, _ *dns.Msg) (int, error) {
	*p.inner = w
	return dns.RcodeSuccess, nil
}

// TestPrometheusIsToldTheSame is rule S4 for the prometheus plugin: what it counts
// of an answer that is sent past its writer is what it counts of a message.
func TestPrometheusIsToldTheSame(t *testing.T) {
	p := newProvider(t)
	start(t, octetsCorefile(p, "dns://", ""))
	for _, name := range []string{"example.org.", "_signal.ns1.example.net."} {
		eventually(t, "an answer of "+name, func() bool { return answers(t, name, dns.TypeDNSKEY) }, func() string { return "none" })
	}
	eventually(t, "an announcement", func() bool { return answers(t, "_multi.example.org._signal.ns1.example.net.", dns.TypeCDS) }, func() string { return "none" })
	server := droppingWriter(t)
	past := 0
	for _, q := range manyQuestions() {
		m := handlerOf(t, q.Question[0].Name)
		ask := func(front func(dns.ResponseWriter) dns.ResponseWriter) *metrics.Recorder {
			r := overWire(t, q.Msg)
			rec := metrics.NewRecorder(named("acl", front(request.NewScrubWriter(r, server))))
			_, _ = m.ServeDNS(t.Context(), named("mske", named("errors", rec)), r)
			return rec
		}
		got := ask(func(w dns.ResponseWriter) dns.ResponseWriter { return w })
		want := ask(func(w dns.ResponseWriter) dns.ResponseWriter { return &another{w} })
		if got.Rcode != want.Rcode || got.Len != want.Len || got.Plugin != want.Plugin {
			t.Errorf("%s: expected RCODE %d, %d octets, by %q, got %d, %d, %q", q.what, want.Rcode, want.Len, want.Plugin, got.Rcode, got.Len, got.Plugin)
		}
		if got.Msg == nil && got.Len > 0 {
			past++
		}
	}
	if past == 0 {
		t.Error("Expected answers to be sent past the writer of prometheus")
	}
}
