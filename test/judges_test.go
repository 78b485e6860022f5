package test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/cns"
	"github.com/coredns-mske/mske/internal/daemon"
)

// denial is what a resolver is to find for a question.
type denial int

const (
	exists denial = iota
	noData
	noName
)

// question is one for a validating resolver.
type question struct {
	name  string
	qtype uint16
	want  denial
}

// apexQuestions ask for all that mske serves or corrects at the apex.
var apexQuestions = []question{
	{shared, dns.TypeDNSKEY, exists},
	{shared, dns.TypeCDS, exists},
	{shared, dns.TypeCDNSKEY, exists},
	{shared, cns.DefaultType, exists},
	{shared, dns.TypeSOA, exists},
	{shared, dns.TypeNS, exists},
	{shared, dns.TypeTXT, noData},
	{shared, dns.TypeCSYNC, noData},
	{"www." + shared, dns.TypeA, exists},
	{"www." + shared, dns.TypeAAAA, noData},
}

// signalQuestions ask for announcements and what is not there beside them.
// CoreDNS's dnssec plugin and compact denial (RFC 9824) turn a name that does
// not exist into one without the type.
func (n *network) signalQuestions() []question {
	a, b := "_signal."+n.a.host, "_signal."+n.b.host
	return []question{
		{"_multi." + shared + a, dns.TypeDNSKEY, exists},
		{"_multi." + shared + a, dns.TypeCDS, exists},
		{"_multi." + shared + a, dns.TypeCDNSKEY, exists},
		{"_multi." + shared + a, dns.TypeA, noData},
		{shared + a, dns.TypeCDS, noData},
		{"_multi.example.org." + a, dns.TypeCDS, noName},
		{a, dns.TypeSOA, exists},
		{a, dns.TypeNS, exists},
		{a, dns.TypeDNSKEY, exists},
		{a, dns.TypeCDS, exists},
		{a, dns.TypeDS, exists},
		{a, dns.TypeTXT, noData},

		{"_multi." + shared + b, dns.TypeDNSKEY, exists},
		{"_multi." + shared + b, dns.TypeCDS, exists},
		{"_multi." + shared + b, dns.TypeCDNSKEY, exists},
		{"_multi." + shared + b, dns.TypeA, noData},
		{shared + b, dns.TypeCDS, noData},
		{"_multi.example.org." + b, dns.TypeCDS, noData},
		{b, dns.TypeTXT, noData},
		{n.b.domain, dns.TypeDNSKEY, exists},
		{n.b.domain, dns.TypeCDS, exists},
		{n.b.domain, dns.TypeTXT, noData},
		{n.b.host, dns.TypeA, exists},
	}
}

// ask returns an error unless the resolver at addr finds what is expected and
// has validated it.
func ask(addr string, q question) error {
	m, err := daemon.Ask(addr, q.name, q.qtype)
	if err != nil {
		return err
	}
	found := noData
	switch {
	case m.Rcode == dns.RcodeNameError:
		found = noName
	case m.Rcode != dns.RcodeSuccess:
		return errors.New(dns.RcodeToString[m.Rcode])
	case len(daemon.RRset(m, q.qtype)) > 0:
		found = exists
	}
	if found != q.want {
		return fmt.Errorf("expected %d, got %d:\n%v", q.want, found, m)
	}
	if !m.AuthenticatedData {
		return fmt.Errorf("not validated:\n%v", m)
	}
	return nil
}

// judge asks all questions and reports each that is not answered as expected.
func judge(t *testing.T, addr string, questions []question) {
	t.Helper()
	for _, q := range questions {
		if err := ask(addr, q); err != nil {
			t.Errorf("%s %s: %v", q.name, dns.Type(q.qtype), err)
		}
	}
}

// awaitJoint waits until both providers serve the joint sets.
func (n *network) awaitJoint() {
	n.t.Helper()
	kskA, zskA, kskB, zskB := tag(n.t, n.a.ksk), tag(n.t, n.a.zsk), tag(n.t, n.b.ksk), tag(n.t, n.b.zsk)
	daemon.AwaitTags(n.t, n.addr(ipA), shared, dns.TypeDNSKEY, kskA, zskA, zskB)
	daemon.AwaitTags(n.t, n.addr(ipB), shared, dns.TypeDNSKEY, kskB, zskB, zskA)
	for _, addr := range []string{n.addr(ipA), n.addr(ipB)} {
		for _, qtype := range []uint16{dns.TypeCDS, dns.TypeCDNSKEY} {
			daemon.AwaitTags(n.t, addr, shared, qtype, kskA, kskB)
		}
	}
}

// TestJudgesValidateEverythingServed has two providers on our build, in the
// delegation both, so that each judge gets answers of the one and keys of the
// other.
func TestJudgesValidateEverythingServed(t *testing.T) {
	daemon.Need(t, "unbound", "named", "pdns_recursor", "delv", "dnssec-cds")
	n := newNetwork(t, false)
	n.startProviders(n.addr(ipFetch))
	n.startUnbound(ipFetch, shortMemory...)
	n.awaitJoint()

	t.Run("unbound", func(t *testing.T) {
		n.in(t).startUnbound(ipJudge)
		judge(t, n.addr(ipJudge), slices.Concat(apexQuestions, n.signalQuestions()))
	})
	t.Run("unbound with each provider alone", func(t *testing.T) {
		testAggressiveNSEC(n.in(t))
	})
	t.Run("pdns-recursor", func(t *testing.T) {
		n.in(t).startRecursor(ipJudge)
		judge(t, n.addr(ipJudge), slices.Concat(apexQuestions, n.signalQuestions()))
	})
	t.Run("BIND", func(t *testing.T) {
		addr := n.in(t).startBIND()
		// BIND's validator expects DNSKEY at an apex only.
		judge(t, addr, slices.DeleteFunc(slices.Concat(apexQuestions, n.signalQuestions()), func(q question) bool {
			return q.qtype == dns.TypeDNSKEY && strings.HasPrefix(q.name, "_multi.")
		}))
	})
	t.Run("delv", func(t *testing.T) { testDelv(n.in(t)) })
	t.Run("dnssec-cds", func(t *testing.T) { testDNSSECCDS(n.in(t)) })
}

// testAggressiveNSEC asks one provider after the other for types that are not
// there first: a resolver that uses the denial for what comes next (RFC 8198)
// must not deny the types that mske serves.
func testAggressiveNSEC(n *network) {
	for i, p := range []*provider{n.a, n.b} {
		last := ipJudge + 1 + i
		c := n.in(n.t)
		c.only = p
		c.startUnbound(last)
		var questions []question
		for _, qtype := range []uint16{dns.TypeTXT, dns.TypeMX, dns.TypeLOC, dns.TypeCAA, dns.TypeCSYNC} {
			questions = append(questions, question{shared, qtype, noData})
		}
		questions = append(questions, apexQuestions...)
		questions = append(questions, question{n.b.domain, dns.TypeTXT, noData}, question{"_signal." + n.a.host, dns.TypeTXT, noData})
		judge(n.t, n.addr(last), append(questions, n.signalQuestions()...))
	}
}

// testDelv has BIND's own validator look at the apex, through unbound.
func testDelv(n *network) {
	anchors := filepath.Join(n.dir, "delv.anchors")
	n.write(anchors, n.bindAnchors())
	for _, qtype := range []string{"DNSKEY", "CDS", "CDNSKEY", "TYPE65302", "SOA"} {
		out := run(n.t, n.dir, daemon.Path(n.t, "delv"), "@"+n.ip(ipFetch), "-p", n.port, "-a", anchors, "+root=.", shared, qtype)
		if !strings.Contains(out, "; fully validated") {
			n.t.Errorf("Expected delv to validate %s, got\n%s", qtype, out)
		}
	}
}

// testDNSSECCDS plays the parent: it has DS records of provider A alone and
// takes over what each provider's CDS asks for (RFC 7344).
func testDNSSECCDS(n *network) {
	for _, last := range []int{ipA, ipB} {
		child := filepath.Join(n.dir, fmt.Sprintf("child-%d", last))
		var text strings.Builder
		for _, qtype := range []uint16{dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY} {
			m, err := daemon.Ask(n.addr(last), shared, qtype)
			if err != nil {
				n.t.Fatal(err)
			}
			for _, rr := range m.Answer {
				fmt.Fprintln(&text, rr)
			}
		}
		n.write(child, text.String())
		p := n.a
		if last == ipB {
			p = n.b
		}
		parent := filepath.Join(n.dir, fmt.Sprintf("dsset-%d", last))
		n.write(parent, n.ds(p.ksk))

		out := run(n.t, n.dir, daemon.Path(n.t, "dnssec-cds"), "-f", child, "-d", parent, "-s", "-86400", shared)
		var got []dns.RR
		zp := dns.NewZoneParser(strings.NewReader(out), "", "")
		zp.SetDefaultTTL(60)
		for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
			got = append(got, rr)
		}
		want := []uint16{tag(n.t, n.a.ksk), tag(n.t, n.b.ksk)}
		slices.Sort(want)
		if err := zp.Err(); err != nil || !slices.Equal(daemon.Tags(got), want) {
			n.t.Errorf("Expected dnssec-cds to make DS records of the keys %v, got (%v)\n%s", want, err, out)
		}
	}
}
