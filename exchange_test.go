package mske

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/validate"
)

// demo starts Corefile.example, on other ports than it says and with these
// replacements.
func demo(t *testing.T, replace ...string) (s *server, port string) {
	t.Helper()
	text, err := os.ReadFile("Corefile.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, bind := range regexp.MustCompile(`bind (\S+)`).FindAllStringSubmatch(string(text), -1) {
		l, err := net.Listen("tcp", net.JoinHostPort(bind[1], "0"))
		if err != nil {
			t.Skipf("This system has no address %s without set-up: %v", bind[1], err)
		}
		l.Close()
	}
	corefile := strings.NewReplacer(append(replace, "1053", "PORT", "example/mske.db", filepath.Join(t.TempDir(), "mske.db"), "refresh 1s 10s", "refresh 1s 1s")...).Replace(string(text))
	s = start(t, corefile)
	_, port, err = net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	return s, port
}

// resolver asks a recursive resolver, as validate wants it.
type resolver string

func (r resolver) Exchange(_ context.Context, name string, qtype uint16, cd bool) (*dns.Msg, error) {
	q := new(dns.Msg).SetQuestion(name, qtype)
	q.CheckingDisabled = cd
	q.SetEdns0(4096, true)
	return exchange(string(r), q)
}

// TestTwoProvidersExchangeKeys is what README's first command shows.
func TestTwoProvidersExchangeKeys(t *testing.T) {
	s, port := demo(t)
	const zone = "example.co.uk."
	a, b := net.JoinHostPort("127.0.0.2", port), net.JoinHostPort("127.0.0.3", port)
	ask := func(addr, name string, qtype uint16) *dns.Msg {
		t.Helper()
		reply, err := exchange(addr, question(name, qtype, true))
		if err != nil {
			t.Fatal(err)
		}
		return reply
	}

	// Each serves the other's data-signing key beside its own two.
	for _, addr := range []string{a, b} {
		provider := &server{t: t, addr: addr}
		provider.until("three keys and the secure entries of both at "+addr, question(zone, dns.TypeDNSKEY, true), func(m *dns.Msg) bool {
			return len(records(m.Answer, dns.TypeDNSKEY)) == 3 && len(records(ask(addr, zone, dns.TypeCDS).Answer, dns.TypeCDS)) == 2
		})
	}
	for _, qtype := range []uint16{dns.TypeCDS, dns.TypeCDNSKEY} {
		one, other := records(ask(a, zone, qtype).Answer, qtype), records(ask(b, zone, qtype).Answer, qtype)
		if !slices.Equal(wire(t, one), wire(t, other)) {
			t.Errorf("Expected the same %s records from both, got\n%v\nand\n%v", dns.Type(qtype), one, other)
		}
	}

	// What either signs verifies with the keys that the other serves: a
	// resolver may have got these (RFC 8901 section 3.2).
	keys := func(addr string) (ks []*dns.DNSKEY) {
		for _, rr := range records(ask(addr, zone, dns.TypeDNSKEY).Answer, dns.TypeDNSKEY) {
			ks = append(ks, rr.(*dns.DNSKEY))
		}
		return ks
	}
	for _, pair := range [][2]string{{a, a}, {a, b}, {b, a}, {b, b}} {
		for _, qtype := range []uint16{dns.TypeSOA, dns.TypeNS, dns.TypeCDS, dns.TypeCDNSKEY} {
			reply := ask(pair[0], zone, qtype)
			set := records(reply.Answer, qtype)
			if !slices.ContainsFunc(records(reply.Answer, dns.TypeRRSIG), func(rr dns.RR) bool {
				return slices.ContainsFunc(keys(pair[1]), func(k *dns.DNSKEY) bool { return verifies(rr.(*dns.RRSIG), k, set) })
			}) {
				t.Errorf("Expected %s from %s to verify with the keys at %s, got\n%v", dns.Type(qtype), pair[0], pair[1], reply)
			}
		}
	}

	// And all of it, announcements and denials too, validates from the anchor.
	anchors, err := validate.ReadAnchors("example/anchor.ds")
	if err != nil {
		t.Fatal(err)
	}
	v := validate.New(anchors, validate.Options{})
	for _, tt := range []struct {
		name   string
		qtype  uint16
		denied bool
	}{
		{zone, dns.TypeDNSKEY, false},
		{zone, dns.TypeCDS, false},
		{zone, dns.TypeCDNSKEY, false},
		{zone, dns.TypeTXT, true},
		{"_multi.example.co.uk._signal.ns1.provider-a.net.", dns.TypeDNSKEY, false},
		{"_multi.example.co.uk._signal.ns1.provider-a.net.", dns.TypeCDS, false},
		{"_multi.example.co.uk._signal.ns1.provider-b.org.", dns.TypeDNSKEY, false},
		{"_multi.example.co.uk._signal.ns1.provider-b.org.", dns.TypeCDNSKEY, false},
		{"_multi.example.com._signal.ns1.provider-a.net.", dns.TypeCDS, true},
		{"_multi.example.com._signal.ns1.provider-b.org.", dns.TypeCDS, true},
		{"_signal.ns1.provider-b.org.", dns.TypeCDS, true},
	} {
		r, err := v.Lookup(t.Context(), resolver(s.addr), tt.name, tt.qtype)
		if err != nil || r.Status != validate.Secure || r.Denied != tt.denied {
			t.Errorf("%s %s: expected it secure, and denied %v, got %v %v (%v, %v)", tt.name, dns.Type(tt.qtype), tt.denied, r.Status, r.Denied, r.Reason, err)
		}
	}
}
