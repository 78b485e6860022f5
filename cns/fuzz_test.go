package cns

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// FuzzHost has any text be a host name, in a zone file and as a record of
// another type number.
func FuzzHost(f *testing.F) {
	for _, s := range []string{"ns1.example.net.", "NS1.Example.NET", "192.0.2.1", "a_b.example.", "-a.", `a\.b.`, "xn--bcher-kva.example.", "..", strings.Repeat("a.", 127), "a b.", "a;b.", "@", strings.Repeat("a", 64) + ".b.", `\# 0`} {
		f.Add(s)
	}
	Register()
	f.Fuzz(func(t *testing.T, s string) {
		host, err := HostName(s)
		if err != nil {
			if msg := err.Error(); len(msg) > 2000 || strings.Contains(msg, "\n") {
				t.Errorf("Expected an error of one line, got %.3000q", msg)
			}
		} else if again, err := HostName(host); err != nil || again != host || host != strings.ToLower(host) || !strings.EqualFold(strings.TrimSuffix(host, "."), strings.TrimSuffix(s, ".")) {
			t.Fatalf("Expected the canonical form of %q, got %q, %q, %v", s, host, again, err)
		} else if _, err := dns.PackDomainName(host, make([]byte, maxName), 0, nil, false); err != nil || !dns.IsFqdn(host) {
			t.Fatalf("Expected %q to be a domain name, got %v", host, err)
		}

		rr, err := dns.NewRR("example.org. 300 IN CNS " + s)
		if err != nil || rr == nil {
			return
		}
		private, ok := rr.(*dns.PrivateRR)
		if !ok {
			return // a directive, or a record of another type
		}
		host, err = Host(private)
		if err != nil && strings.Contains(s, `\#`) {
			return // octets, which may be those of any name, or of none
		}
		if err != nil {
			t.Fatalf("Expected what the parser accepts to be a host, got %v", err)
		}
		wire := make([]byte, 512)
		end, err := dns.PackRR(private, wire, 0, nil, false)
		if err != nil {
			t.Fatalf("Expected %v to pack, got %v", private, err)
		}
		back, _, err := dns.UnpackRR(wire[:end], 0)
		if err != nil {
			t.Fatalf("Expected %v to unpack, got %v", private, err)
		}
		unknown := new(dns.RFC3597)
		if err := unknown.ToRFC3597(private); err != nil {
			t.Fatal(err)
		}
		for _, same := range []dns.RR{back, unknown, dns.Copy(private)} {
			if got, err := Host(same); err != nil || got != host {
				t.Errorf("Expected %q of %v, got %q, %v", host, same, got, err)
			}
		}
	})
}
