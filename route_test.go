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
		{"prometheus", behind(metrics.NewRecorder(behind(scrub))), true, false},
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
