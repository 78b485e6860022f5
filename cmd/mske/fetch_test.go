package main

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/merge"
)

const (
	fetchZone  = "example.co.uk."
	fetchHost  = "ns1.example.net."
	fetchOwner = "_multi.example.co.uk._signal.ns1.example.net."
)

var (
	fetchKSK = lab.NewKey(fetchZone, dns.ECDSAP256SHA256, 257, "ksk")
	fetchZSK = lab.NewKey(fetchZone, dns.ECDSAP256SHA256, 256, "zsk")
)

// fetchAnnounced returns the records that fetchHost announces.
func fetchAnnounced() []dns.RR {
	k := merge.KeyOf(fetchKSK.DNSKEY)
	d, _ := k.DS(fetchZone, dns.SHA256)
	return []dns.RR{d.CDS(fetchOwner, 3600), k.CDNSKEY(fetchOwner, 3600), merge.KeyOf(fetchZSK.DNSKEY).DNSKEY(fetchOwner, 3600)}
}

func fetchText(rrs []dns.RR) (text string) {
	for _, rr := range rrs {
		text += rr.String() + "\n"
	}
	return text
}

// startLab serves a hierarchy on loopback, in which the signaling zone is as
// given, and returns the flags that make it the one to ask, also in place of
// fetchHost itself.
func startLab(t *testing.T, signaling lab.Zone) []string {
	t.Helper()
	l := lab.New(t, time.Now())
	l.Add(lab.Zone{Name: "."})
	l.Add(lab.Zone{Name: "net."})
	l.Add(lab.Zone{Name: "example.net.", Records: "ns1 A 127.0.0.1\n"})
	signaling.Name = "_signal." + fetchHost
	l.Add(signaling)

	var listener net.Listener
	var packets net.PacketConn
	for packets == nil {
		var err error
		if listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if packets, err = net.ListenPacket("udp", listener.Addr().String()); err != nil {
			listener.Close() // a socket that asked lately has that port
		}
	}
	for _, s := range []*dns.Server{{Listener: listener, Handler: l}, {PacketConn: packets, Handler: l}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go s.ActivateAndServe()
		<-started
		t.Cleanup(func() { s.Shutdown() })
	}
	anchors := filepath.Join(t.TempDir(), "root.ds")
	if err := os.WriteFile(anchors, []byte(l.Anchors()), 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return []string{"--resolver", listener.Addr().String(), "--trust-anchor", anchors, "--port", port}
}

func TestFetchExitStatus(t *testing.T) {
	text := fetchText(fetchAnnounced())
	tests := []struct {
		status string
		zone   lab.Zone
		exit   int
	}{
		{"secure", lab.Zone{Records: text}, 0},
		{"absent", lab.Zone{}, 1},
		{"insecure", lab.Zone{Records: text, Unsigned: true}, 3},
		{"bogus", lab.Zone{Records: text, Inception: time.Now().AddDate(0, -2, 0), Expiration: time.Now().AddDate(0, -1, 0)}, 4},
		{"refused", lab.Zone{Records: fetchText(fetchAnnounced()[:2])}, 6},
	}
	for _, tc := range tests {
		t.Run(tc.status, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			args := append(startLab(t, tc.zone), fetchZone, fetchHost)
			if exit := runFetch(args, &stdout, &stderr); exit != tc.exit {
				t.Fatalf("Expected exit status %d, got %d: %s%s", tc.exit, exit, &stdout, &stderr)
			}
			out := stdout.String()
			if !strings.Contains(out, "; "+tc.status+": ") || strings.Count("\n"+out, "\n; ") != 1 {
				t.Errorf("Expected one verdict %s, got %q", tc.status, out)
			}
			if !strings.Contains(out, " section ") {
				t.Errorf("Expected the section of a rule, got %q", out)
			}
			checkZoneFile(t, out, tc.status == "secure")
		})
	}
}

// checkZoneFile checks that out is a zone file: of the announcement, or empty.
func checkZoneFile(t *testing.T, out string, announced bool) {
	t.Helper()
	p := dns.NewZoneParser(strings.NewReader(out), "", "")
	var got []dns.RR
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		got = append(got, rr)
	}
	if p.Err() != nil {
		t.Fatalf("Expected a zone file, got %v: %s", p.Err(), out)
	}
	var want []dns.RR
	if announced {
		want = fetchAnnounced()
	}
	if fetchText(got) != fetchText(want) {
		t.Errorf("Expected %s, got %s", fetchText(want), fetchText(got))
	}
}

func TestFetchUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close() // nobody listens there now
	var stdout, stderr bytes.Buffer
	if exit := runFetch([]string{"--resolver", addr, fetchZone, fetchHost}, &stdout, &stderr); exit != 5 {
		t.Errorf("Expected exit status 5, got %d: %s", exit, &stdout)
	}
	if !strings.Contains(stdout.String(), addr) || !strings.Contains(stderr.String(), "resolver "+addr+" is not used") {
		t.Errorf("Expected the resolver to be named, got %q and %q", &stdout, &stderr)
	}
}

func TestFetchJSON(t *testing.T) {
	rrs := fetchAnnounced()
	rdata := func(rr dns.RR) []any { return []any{strings.TrimPrefix(rr.String(), rr.Header().String())} }
	none := []any{}
	tests := []struct {
		status                string
		zone                  lab.Zone
		ttl                   float64
		cds, cdnskey, dnskeys []any
	}{
		{"secure", lab.Zone{Records: fetchText(rrs)}, 3600, rdata(rrs[0]), rdata(rrs[1]), rdata(rrs[2])},
		{"absent", lab.Zone{}, 300, none, none, none},
		{"insecure", lab.Zone{Unsigned: true}, 0, none, none, none},
	}
	for _, tc := range tests {
		t.Run(tc.status, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			runFetch(append(startLab(t, tc.zone), "--json", "Example.co.uk", "NS1.example.net"), &stdout, &stderr)
			var got map[string]any
			if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
				t.Fatalf("Expected one JSON object, got %v: %s", err, &stdout)
			}
			want := map[string]any{
				"zone": fetchZone, "host": fetchHost, "status": tc.status, "reason": got["reason"], "ttl": tc.ttl,
				"cds": tc.cds, "cdnskey": tc.cdnskey, "dnskey": tc.dnskeys,
			}
			if reason, _ := got["reason"].(string); !reflect.DeepEqual(got, want) || !strings.Contains(reason, " section ") {
				t.Errorf("Expected %v, got %v", want, got)
			}
		})
	}
}

func TestFetchTakesFlagsAnywhere(t *testing.T) {
	flags := startLab(t, lab.Zone{Records: fetchText(fetchAnnounced())})
	common := []string{"--cns-type", "65302", "--port=53", "--timeout", "30s"}
	for _, args := range [][]string{
		{fetchZone, fetchHost, flags[0], flags[1], flags[2], flags[3]},
		{flags[0], flags[1], fetchZone, flags[2], flags[3], fetchHost},
		{flags[0], flags[1], flags[2], flags[3], "--", fetchZone, fetchHost},
		append(append([]string{fetchZone}, append(flags, common...)...), fetchHost),
	} {
		var stdout, stderr bytes.Buffer
		if exit := runFetch(args, &stdout, &stderr); exit != 0 {
			t.Errorf("%q: Expected exit status 0, got %d: %s%s", args, exit, &stdout, &stderr)
		}
	}
}

func TestFetchUsage(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("; nothing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		args []string
		want string // part of what is said
	}{
		{nil, "expected ZONE and HOST"},
		{[]string{fetchZone}, "expected ZONE and HOST"},
		{[]string{fetchZone, fetchHost, "ns2.example.net."}, "got 3 arguments"},
		{[]string{"--nonsense", fetchZone, fetchHost}, "-nonsense: see mske fetch -h"},
		{[]string{"--resolver"}, "needs an argument"},
		{[]string{"a..b", fetchHost}, `ZONE: "a..b" is not a domain name`},
		{[]string{"", fetchHost}, `ZONE: ""`},
		{[]string{"bücher.example", fetchHost}, "(international names are written as xn--...)"},
		{[]string{fetchZone, "bücher.example"}, "(international names are written as xn--...)"},
		{[]string{fetchZone, "."}, `HOST "."`},
		{[]string{fetchZone, ""}, `HOST: ""`},
		{[]string{fetchZone, "ns1..net"}, `HOST: "ns1..net"`},
		{[]string{fetchZone, "192.0.2.1"}, "is an address"},
		{[]string{fetchZone, "2001:db8::1"}, "is an address"},
		{[]string{"--resolver", "192.0.2.256", fetchZone, fetchHost}, `resolver "192.0.2.256": not an IP address`},
		{[]string{"--resolver", "quic://192.0.2.1", fetchZone, fetchHost}, "use dns:// or tls://"},
		{[]string{"--resolver", "192.0.2.1", "--trust-anchor", empty, fetchZone, fetchHost}, empty},
		{[]string{"--resolver", "192.0.2.1", "--trust-anchor", "/does/not/exist", fetchZone, fetchHost}, "/does/not/exist"},
		{[]string{"--port", "0", fetchZone, fetchHost}, "--port 0"},
		{[]string{"--port", "65536", fetchZone, fetchHost}, "--port 65536"},
		{[]string{"--port", "dns", fetchZone, fetchHost}, "port"},
		{[]string{"--cns-type", "0", fetchZone, fetchHost}, "--cns-type 0"},
		{[]string{"--cns-type", "2", fetchZone, fetchHost}, "--cns-type 2: type NS cannot be CNS"},
		{[]string{"--timeout", "0s", fetchZone, fetchHost}, "--timeout 0s"},
		{[]string{"--timeout", "5", fetchZone, fetchHost}, "parse error: see mske fetch -h"},
	}
	for _, tc := range tests {
		var stdout, stderr bytes.Buffer
		if exit := runFetch(tc.args, &stdout, &stderr); exit != 2 {
			t.Errorf("%q: Expected exit status 2, got %d", tc.args, exit)
		}
		if !strings.Contains(stderr.String(), tc.want) || stdout.Len() > 0 {
			t.Errorf("%q: Expected %q on stderr alone, got %q and %q", tc.args, tc.want, &stderr, &stdout)
		}
	}
}

func TestFetchHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if exit := runFetch([]string{"-h"}, &stdout, &stderr); exit != 0 || !strings.Contains(stderr.String(), "-trust-anchor FILE") {
		t.Errorf("Expected exit status 0 and the flags, got %d: %s", exit, &stderr)
	}
}
