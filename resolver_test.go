package mske

import (
	"bytes"
	golog "log"
	"strings"
	"testing"

	clog "github.com/coredns/coredns/plugin/pkg/log"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/internal/daemon"
	"github.com/coredns-mske/mske/merge"
)

// A resolver that strips signatures would make every peer look bogus (rule
// F10): the operator has to hear of it, and peers are not blamed.
func TestUnusableResolverIsReported(t *testing.T) {
	started := make(chan struct{})
	stub := &dns.Server{Addr: "127.0.0.1:" + daemon.FreePort(t), Net: "udp", NotifyStartedFunc: func() { close(started) },
		Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
			w.WriteMsg(new(dns.Msg).SetReply(r)) // without any record
		})}
	go stub.ListenAndServe()
	defer stub.Shutdown()
	<-started

	f := newCorefile(t)
	m, err := f.parse("mske example.org {\nnameservers ns1.example.net\nkey file KSK ZSK\nresolver " + stub.Addr + "\n}")
	if err != nil {
		t.Fatal(err)
	}
	var lines bytes.Buffer
	golog.SetOutput(&lines)
	defer clog.Discard()
	fetcher, err := newParts(nil).fetcher(m.zones["example.org."].stanza)
	if err != nil {
		t.Fatal(err)
	}
	if r := fetcher.Fetch(t.Context(), "example.org.", "ns1.example.com.", merge.Announcement{}); r.Verdict != fetch.Unreachable {
		t.Errorf("Expected unreachable, got %v: %s", r.Verdict, r.Reason)
	}
	clog.Discard()
	if got := lines.String(); !strings.Contains(got, "[ERROR]") || !strings.Contains(got, stub.Addr) || !strings.Contains(got, "not used") {
		t.Errorf("Expected an error line that names the resolver, got %q", got)
	}
}
