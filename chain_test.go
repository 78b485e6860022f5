package mske

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/metrics"
	"github.com/coredns/coredns/plugin/test"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/chain"
)

// nextFunc is a next plugin.
type nextFunc func(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error)

func (f nextFunc) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	return f(ctx, w, r)
}
func (nextFunc) Name() string { return "next" }

func TestAsk(t *testing.T) {
	records := []dns.RR{test.A("example.org. 60 IN A 192.0.2.1")}
	answer := func(r *dns.Msg) *dns.Msg {
		m := new(dns.Msg).SetReply(r)
		m.Answer = records
		return m
	}
	for _, tt := range []struct {
		name string
		next plugin.Handler
		want string // part of the error
	}{
		{"message", nextFunc(func(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
			return dns.RcodeSuccess, w.WriteMsg(answer(r))
		}), ""},
		{"octets", nextFunc(func(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
			wire, err := answer(r).Pack()
			if err != nil {
				return dns.RcodeServerFailure, err
			}
			_, err = w.Write(wire)
			return dns.RcodeSuccess, err
		}), ""},
		{"no plugin", nil, "no next plugin found"},
		{"nothing written", nextFunc(func(context.Context, dns.ResponseWriter, *dns.Msg) (int, error) {
			return dns.RcodeRefused, nil
		}), "REFUSED"},
		{"an error", nextFunc(func(context.Context, dns.ResponseWriter, *dns.Msg) (int, error) {
			return dns.RcodeServerFailure, errors.New("disk on fire")
		}), "disk on fire"},
		{"a panic", nextFunc(func(context.Context, dns.ResponseWriter, *dns.Msg) (int, error) {
			panic("index out of range")
		}), "index out of range"},
	} {
		reply, err := ask(t.Context(), tt.next, chain.Question("example.org.", dns.TypeA))
		if tt.want != "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: expected an error with %q, got %v", tt.name, tt.want, err)
			}
			continue
		}
		if err != nil || len(reply.Answer) != 1 {
			t.Errorf("%s: expected one record, got %v, %v", tt.name, reply, err)
			continue
		}
		if reply.Answer[0] == records[0] {
			t.Errorf("%s: expected a copy of the record that the plugin holds", tt.name)
		}
	}
}

func TestAskerTellsPluginsWhereTheyAre(t *testing.T) {
	var server, view, remote string
	m := &MSKE{
		config: &dnsserver.Config{Transport: "dns", ListenHosts: []string{"127.0.0.2"}, Port: "1053", ViewName: "inside"},
		Next: nextFunc(func(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
			server, view, remote = metrics.WithServer(ctx), metrics.WithView(ctx), w.RemoteAddr().Network()
			return dns.RcodeSuccess, w.WriteMsg(new(dns.Msg).SetReply(r))
		}),
	}
	if _, err := m.asker()(t.Context(), chain.Question("example.org.", dns.TypeSOA)); err != nil {
		t.Fatal(err)
	}
	if server != "dns://127.0.0.2:1053" || view != "inside" || remote != "tcp" {
		t.Errorf("Expected dns://127.0.0.2:1053, inside and tcp, got %q, %q and %q", server, view, remote)
	}
}
