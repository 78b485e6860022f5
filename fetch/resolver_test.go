package fetch

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func plainResolver(addr string) Resolver { return Resolver{Addr: netip.MustParseAddrPort(addr)} }

func tlsResolver(addr, name string) Resolver {
	return Resolver{Addr: netip.MustParseAddrPort(addr), TLS: true, ServerName: name}
}

func TestParseResolvers(t *testing.T) {
	tests := []struct {
		in   []string
		want []Resolver
		err  string // part of the error
	}{
		{in: []string{"192.0.2.1"}, want: []Resolver{plainResolver("192.0.2.1:53")}},
		{in: []string{"192.0.2.1:5353"}, want: []Resolver{plainResolver("192.0.2.1:5353")}},
		{in: []string{"2001:db8::1"}, want: []Resolver{plainResolver("[2001:db8::1]:53")}},
		{in: []string{"[2001:db8::1]"}, want: []Resolver{plainResolver("[2001:db8::1]:53")}},
		{in: []string{"[2001:db8::1]:5353"}, want: []Resolver{plainResolver("[2001:db8::1]:5353")}},
		{in: []string{"[fe80::1%eth0]:53"}, want: []Resolver{plainResolver("[fe80::1%eth0]:53")}},
		{in: []string{"::ffff:192.0.2.1"}, want: []Resolver{plainResolver("192.0.2.1:53")}},
		{in: []string{"dns://192.0.2.1"}, want: []Resolver{plainResolver("192.0.2.1:53")}},
		{in: []string{"dns://[2001:db8::1]:54"}, want: []Resolver{plainResolver("[2001:db8::1]:54")}},
		{in: []string{"tls://192.0.2.1"}, want: []Resolver{tlsResolver("192.0.2.1:853", "")}},
		{in: []string{"tls://192.0.2.1:8853"}, want: []Resolver{tlsResolver("192.0.2.1:8853", "")}},
		{in: []string{"tls://192.0.2.1@dns.example.net"}, want: []Resolver{tlsResolver("192.0.2.1:853", "dns.example.net")}},
		{in: []string{"tls://192.0.2.1%dns.example.net"}, want: []Resolver{tlsResolver("192.0.2.1:853", "dns.example.net")}},
		{in: []string{"tls://192.0.2.1@dns.example.net.:8853"}, want: []Resolver{tlsResolver("192.0.2.1:8853", "dns.example.net")}},
		{in: []string{"tls://192.0.2.1%dns.example.net:8853"}, want: []Resolver{tlsResolver("192.0.2.1:8853", "dns.example.net")}},
		{in: []string{"tls://2001:db8::1@dns.example.net"}, want: []Resolver{tlsResolver("[2001:db8::1]:853", "dns.example.net")}},
		{in: []string{"tls://2001:db8::1@dns.example.net:8853"}, want: []Resolver{tlsResolver("[2001:db8::1]:8853", "dns.example.net")}},
		{in: []string{"tls://[2001:db8::1]@dns.example.net:8853"}, want: []Resolver{tlsResolver("[2001:db8::1]:8853", "dns.example.net")}},
		{in: []string{"tls://[2001:db8::1%dns.example.net]:8853"}, want: []Resolver{tlsResolver("[2001:db8::1]:8853", "dns.example.net")}},
		{in: []string{"192.0.2.1", "192.0.2.2", "192.0.2.1:53"}, want: []Resolver{plainResolver("192.0.2.1:53"), plainResolver("192.0.2.2:53")}},

		{in: nil, err: "no resolver given"},
		{in: []string{""}, err: "not an IP address"},
		{in: []string{"192.0.2"}, err: "not an IP address"},
		{in: []string{"192.0.2.256"}, err: "not an IP address"},
		{in: []string{"192.0.2.1:"}, err: `port ""`},
		{in: []string{"192.0.2.1:0"}, err: `port "0"`},
		{in: []string{"192.0.2.1:65536"}, err: `port "65536"`},
		{in: []string{"192.0.2.1:-1"}, err: "neither an IP address nor a file"},
		{in: []string{"[2001:db8::1"}, err: "not an IP address"},
		{in: []string{"[2001:db8::1]:x"}, err: `port "x"`},
		{in: []string{"dns.example.net"}, err: "neither an IP address nor a file"},
		{in: []string{"dns://dns.example.net"}, err: "not an IP address"},
		{in: []string{"tls://dns.example.net"}, err: "not an IP address"},
		{in: []string{"tls://192.0.2.1@"}, err: "not a server name"},
		{in: []string{"tls://192.0.2.1@a..b"}, err: "not a server name"},
		{in: []string{"tls://192.0.2.1@dns.example.net:"}, err: `port ""`},
		{in: []string{"https://192.0.2.1/dns-query"}, err: "https:// is not supported"},
		{in: []string{"/does/not/exist"}, err: "no such file"},
	}
	for _, tc := range tests {
		got, err := ParseResolvers(tc.in)
		if tc.err == "" {
			if err != nil || !slices.Equal(got, tc.want) {
				t.Errorf("%q: Expected %v, got %v, %v", tc.in, tc.want, got, err)
			}
			continue
		}
		var typed *ResolverError
		if !errors.As(err, &typed) || !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%q: Expected a ResolverError with %q, got %v, %v", tc.in, tc.err, got, err)
		}
	}
}

func TestParseResolversTakesAsManyAsForward(t *testing.T) {
	var in []string
	for i := range maxResolvers + 1 {
		in = append(in, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}).String())
	}
	if _, err := ParseResolvers(in[1:]); err != nil {
		t.Errorf("Expected no error, got %v", err)
	}
	if _, err := ParseResolvers(in); err == nil {
		t.Error("Expected an error, got none")
	}
}

func TestParseResolversReadsResolvConf(t *testing.T) {
	tests := []struct {
		text string
		want []Resolver
		err  string
	}{
		{"search example.org\nnameserver 192.0.2.1\nnameserver 2001:db8::1\noptions edns0\n",
			[]Resolver{plainResolver("192.0.2.1:53"), plainResolver("[2001:db8::1]:53")}, ""},
		{"; comment\n", nil, "no nameserver line"},
		{"nameserver ns.example.org\n", nil, `nameserver "ns.example.org"`},
	}
	for _, tc := range tests {
		path := filepath.Join(t.TempDir(), "resolv.conf")
		if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := ParseResolvers([]string{path})
		if !slices.Equal(got, tc.want) || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%q: Expected %v, %q, got %v, %v", tc.text, tc.want, tc.err, got, err)
		}
	}
}

func FuzzParseResolver(f *testing.F) {
	for _, s := range []string{"192.0.2.1", "[2001:db8::1]:53", "tls://192.0.2.1@dns.example.net:853", "tls://[fe80::1%a]", "dns://", "fe80::1%eth0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !strings.Contains(s, "://") && !looksLikeAddr(s) {
			return // a file of the machine that runs the test
		}
		rs, err := parseResolver(s)
		if err != nil {
			return
		}
		for _, r := range rs {
			again, err := ParseResolvers([]string{r.String()})
			if err != nil || len(again) != 1 || again[0] != r {
				t.Errorf("%q: Expected that %q reads as %v, got %v, %v", s, r.String(), r, again, err)
			}
		}
	})
}
