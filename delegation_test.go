package mske

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/serve"
)

// delegating has a running server of p answer NS and CSYNC at example.org as
// if the owner wanted one more nameserver.
func (p *provider) delegating(t *testing.T) *server {
	t.Helper()
	s := start(t, p.corefile(""))
	s.until("an answer", question("example.org.", dns.TypeDNSKEY, true), answered)
	zsk, _, err := keys.Read(filepath.Join(p.dir, p.zsk))
	if err != nil {
		t.Fatal(err)
	}
	z := runningHandler(t).zones["example.org."]
	view := z.view.Load()
	d := serve.Delegation{NS: []string{"ns1.example.net.", "ns1.example.co.uk."}, TTL: 600, CSYNC: true}
	view, err = view.WithDelegation(d, serve.Signers{Data: []*keys.Key{zsk}}, serve.Params{TTL: 300, Now: time.Now()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	z.view.Store(view)
	return s
}

func TestNSIsOursWhereverItIsAnswered(t *testing.T) {
	p := newProvider(t)
	writeFile(t, filepath.Join(p.dir, "db.example.org"), zoneOrg+"sub 60 IN NS ns1.example.net.\n")
	s := p.delegating(t)
	want := []string{"ns1.example.co.uk.", "ns1.example.net."}
	zsk := p.key(t, p.zsk)
	for _, do := range []bool{true, false} {
		for _, q := range []struct {
			name    string
			qtype   uint16
			section func(*dns.Msg) []dns.RR
		}{
			{"example.org.", dns.TypeNS, func(m *dns.Msg) []dns.RR { return m.Answer }},
			{"eXample.org.", dns.TypeNS, func(m *dns.Msg) []dns.RR { return m.Answer }},
			{"www.example.org.", dns.TypeA, func(m *dns.Msg) []dns.RR { return m.Ns }},
		} {
			m := s.ask(question(q.name, q.qtype, do))
			var got []string
			for _, rr := range records(q.section(m), dns.TypeNS) {
				got = append(got, rr.(*dns.NS).Ns)
			}
			if !m.Authoritative || !slices.Equal(got, want) {
				t.Errorf("DO %t: expected %v for %s %s, got\n%v", do, want, q.name, dns.Type(q.qtype), m)
			}
			if do {
				expectSigned(t, q.section(m), zsk)
			} else if n := len(records(slices.Concat(m.Answer, m.Ns), dns.TypeRRSIG)); n > 0 {
				t.Errorf("Expected no signatures without DO, got\n%v", m)
			}
		}
		m := s.ask(question("www.sub.example.org.", dns.TypeA, do))
		if ns := records(m.Ns, dns.TypeNS); m.Authoritative || len(ns) != 1 || ns[0].Header().Name != "sub.example.org." {
			t.Errorf("Expected a referral to stay as it is, got\n%v", m)
		}
	}
}

func TestCSYNCIsAnsweredAndNotDenied(t *testing.T) {
	p := newProvider(t)
	s := p.delegating(t)
	m := s.ask(question("example.org.", dns.TypeCSYNC, true))
	if got := records(m.Answer, dns.TypeCSYNC); len(got) != 1 || !m.Authoritative {
		t.Errorf("Expected CSYNC, got\n%v", m)
	}
	expectSigned(t, m.Answer, p.key(t, p.zsk))
	m = s.ask(question("example.org.", dns.TypeTXT, true))
	nsec := records(m.Ns, dns.TypeNSEC)
	if len(nsec) != 1 || !slices.Contains(nsec[0].(*dns.NSEC).TypeBitMap, dns.TypeCSYNC) {
		t.Errorf("Expected CSYNC in the proof that there is no TXT, got\n%v", m)
	}
}

// Whoever keeps an answer to ANY would go on with the chain's NS RRset.
func TestNSBehindUsIsInNoAnswerToANY(t *testing.T) {
	p := newProvider(t)
	p.delegating(t)
	m := *runningHandler(t)
	m.Next = nextFunc(anyNS)
	for _, do := range []bool{true, false} {
		rec := dnstest.NewRecorder(&test.ResponseWriter{})
		if _, err := m.ServeDNS(t.Context(), rec, question("example.org.", dns.TypeANY, do)); err != nil {
			t.Fatal(err)
		}
		if got := rec.Msg.Answer; len(got) != 1 || got[0].Header().Rrtype != dns.TypeTXT {
			t.Errorf("DO %t: expected all but NS and CSYNC, got\n%v", do, rec.Msg)
		}
	}
}

func anyNS(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	reply := new(dns.Msg).SetReply(r)
	reply.Authoritative = true
	reply.Answer = []dns.RR{
		test.NS("example.org. 300 IN NS ns1.example.net."),
		test.RRSIG("example.org. 300 IN RRSIG NS 13 2 300 20300101000000 20200101000000 1 example.org. c2ln"),
		test.TXT(`example.org. 300 IN TXT "text"`),
	}
	return dns.RcodeSuccess, w.WriteMsg(reply)
}

// What is answered comes from the view that has it, though another one has been published
// since.
func TestAnswerIsFromOneView(t *testing.T) {
	newProvider(t).delegating(t)
	m := runningHandler(t)
	q := question("example.org.", dns.TypeCSYNC, true)
	at := m.locate(q)
	without := *m.zones["example.org."].view.Load()
	without.NS, without.CSYNC = nil, nil
	m.zones["example.org."].view.Store(&without)
	var out outgoing
	rcode, err := m.serve(t.Context(), &at, dnstest.NewRecorder(&test.ResponseWriter{}), q, &out)
	if out.reply == nil || len(out.reply.Answer) != 2 {
		t.Errorf("Expected CSYNC with its signature, got %v, %s, %v", out.reply, dns.RcodeToString[rcode], err)
	}
}
