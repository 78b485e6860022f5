package mske

import (
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/coredns-mske/mske/serve"
)

// answered reports whether a question was answered with records.
func answered(m *dns.Msg) bool { return m.Rcode == dns.RcodeSuccess && len(m.Answer) > 0 }

// TestBesideACL, and those that follow, hold rule S4: the plugins in the same
// server block keep working as their READMEs say.
func TestBesideACL(t *testing.T) {
	p := newProvider(t)
	s := start(t, p.corefile("acl {\n block type CDS net 127.0.0.0/8\n}"))
	s.until("an answer", question("example.org.", dns.TypeDNSKEY, true), answered)
	if reply := s.ask(question("example.org.", dns.TypeCDS, true)); reply.Rcode != dns.RcodeRefused {
		t.Errorf("Expected REFUSED for what acl blocks, got\n%v", reply)
	}
}

func TestBesideCache(t *testing.T) {
	p := newProvider(t)
	s := start(t, p.corefile("cache"))
	q := question("example.org.", dns.TypeDNSKEY, true)
	s.until("an answer", q, answered)
	runningHandler(t).zones["example.org."].view.Store(new(serve.Apex))
	if reply := s.ask(q); reply.Rcode != dns.RcodeServerFailure {
		t.Errorf("Expected the key sets of now, got those of before\n%v", reply)
	}
}

func TestBesideRewrite(t *testing.T) {
	p := newProvider(t)
	s := start(t, p.corefile("rewrite stop name exact alias.example.org. example.org. answer auto"))
	reply := s.until("an answer", question("alias.example.org.", dns.TypeDNSKEY, false), answered)
	if name := reply.Question[0].Name; name != "alias.example.org." {
		t.Errorf("Expected the question as it was asked, got %q", name)
	}
	for range 3 { // what rewrite does to the names must not reach our copy
		for _, rr := range s.ask(question("example.org.", dns.TypeDNSKEY, false)).Answer {
			if rr.Header().Name != "example.org." {
				t.Errorf("Expected the name of the zone, got %v", rr)
			}
		}
	}
}

func TestBesideTSIG(t *testing.T) {
	p := newProvider(t)
	const key, secret = "clients.example.", "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"
	s := start(t, p.corefile("tsig {\n secret "+key+" "+secret+"\n require DNSKEY\n}"))
	s.until("an answer", question("example.org.", dns.TypeCDS, true), answered)

	if reply := s.ask(question("example.org.", dns.TypeDNSKEY, true)); reply.Rcode != dns.RcodeRefused {
		t.Errorf("Expected REFUSED without TSIG, got\n%v", reply)
	}
	q := question("example.org.", dns.TypeDNSKEY, true)
	q.SetTsig(key, dns.HmacSHA256, 300, time.Now().Unix())
	c := &dns.Client{Net: "tcp", TsigSecret: map[string]string{key: secret}}
	reply, _, err := c.Exchange(q, s.addr) // checks the answer's TSIG
	if err != nil || !answered(reply) || reply.IsTsig() == nil {
		t.Errorf("Expected an answer with TSIG, got %v\n%v", err, reply)
	}
}

func TestBesideView(t *testing.T) {
	p := newProvider(t)
	block := func(view string) string {
		_, block, _ := strings.Cut(p.corefile(view), "example.org:PORT")
		block, _, _ = strings.Cut(block, "example.net:PORT")
		return "example.org:PORT" + block
	}
	s := start(t, block("view inside {\n expr type() == 'CDS'\n}")+block(""))
	cds := s.until("an answer", question("example.org.", dns.TypeCDS, true), answered)
	dnskey := s.until("an answer", question("example.org.", dns.TypeDNSKEY, true), answered)
	expectSigned(t, cds.Answer, p.key(t, p.ksk), p.key(t, p.zsk))
	expectSigned(t, dnskey.Answer, p.key(t, p.ksk))
	if m := runningHandler(t); len(m.instance.handlers) != 2 || len(m.instance.zones["example.org."]) != 1 {
		t.Errorf("Expected two handlers that share one zone, got %d and %d", len(m.instance.handlers), len(m.instance.zones["example.org."]))
	}
	eventually(t, "the view among the labels of the answer's metric",
		func() bool { return hasLabel(t, "coredns_mske_responses_total", "view", "inside") }, func() string { return "no such sample" })
}

func TestBesidePrometheusAndLog(t *testing.T) {
	p := newProvider(t)
	s := start(t, p.corefile("prometheus 127.0.0.1:0\nlog"))
	s.until("an answer", question("example.org.", dns.TypeDNSKEY, true), answered)
	for _, metric := range []string{"coredns_dns_requests_total", "coredns_mske_responses_total"} {
		// prometheus counts an answer after it was sent.
		eventually(t, metric+" to count the answer", func() bool { return hasLabel(t, metric, "server", "dns://"+s.addr) }, func() string { return "no such sample" })
	}
}

// hasLabel reports whether the metric has a sample with that label.
func hasLabel(t *testing.T, metric, label, value string) bool {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == metric && l.GetName() == label && l.GetValue() == value {
					return true
				}
			}
		}
	}
	return false
}
