package main

import (
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/cns"
	"github.com/coredns-mske/mske/domain"
)

// FuzzArguments has any words be the command line of the commands that take
// names: they are understood, and the names canonical, or there is an error of
// one line.
func FuzzArguments(f *testing.F) {
	for _, words := range []string{
		"example.co.uk", "-a\x0013\x00--csk\x00Example.Co.UK", "--ns\x00ns1.Example.net\x00ns2.example.net.\x00example.org", "-d\x00dir\x00--\x00-a", "-h", "--ns=",
		"example.org\x00ns1.example.net\x00--port\x0053\x00--timeout=5s\x00--json", "--resolver\x00192.0.2.53\x00--cns-type\x0065302\x00.\x00a", "", "\x00", "-a=300\x00.",
	} {
		f.Add(words)
	}
	f.Fuzz(func(t *testing.T, text string) {
		words := strings.Split(text, "\x00")
		zones := make(map[string]string)
		var hosts []string
		k, errKeygen := parseKeygen(words, io.Discard)
		if errKeygen == nil {
			zones["keygen"] = k.zone
		}
		a, errAnnounce := parseAnnounce(words, io.Discard)
		if errAnnounce == nil {
			zones["announce"], hosts = a.zone, a.hosts
			if len(hosts) == 0 {
				t.Error("Expected a nameserver")
			}
		}
		fetch, errFetch := parseFetch(words, io.Discard)
		if errFetch == nil && (fetch.port == 0 || fetch.port > 65535 || fetch.cnsType == 0 || fetch.cnsType > 65535 || fetch.timeout <= 0) {
			t.Errorf("Expected numbers within bounds, got %+v", fetch)
		}
		for _, err := range []error{errKeygen, errAnnounce, errFetch} {
			if err != nil && err != flag.ErrHelp && (err.Error() == "" || strings.Contains(err.Error(), "\n") && !strings.Contains(text, "\n")) {
				t.Errorf("Expected an error of one line, got %q", err)
			}
		}
		for command, zone := range zones {
			if name, err := domain.Canonical(zone); err != nil || name != zone {
				t.Errorf("%s: expected a canonical zone, got %q", command, zone)
			}
		}
		for _, host := range hosts {
			if name, err := cns.HostName(host); err != nil || name != host {
				t.Errorf("Expected a canonical host name, got %q", host)
			}
		}
	})
}

// FuzzKeyDirectory has files of any name and content be a key in the directory.
// What is announced is zone-file text of three types at one
// name, or there is an error.
func FuzzKeyDirectory(f *testing.F) {
	good := filepath.Join("..", "..", "keys", "testdata", "bind")
	names, err := os.ReadDir(good)
	if err != nil {
		f.Fatal(err)
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(good, name))
		if err != nil {
			f.Fatal(err)
		}
		return string(text)
	}
	for _, entry := range names {
		if base, ok := strings.CutSuffix(entry.Name(), ".key"); ok {
			f.Add(base, read(base+".key"), read(base+".private"))
			f.Add(base, read(base+".key"), read(base+".private")+"Inactive: 20260101000000\nDelete: 20260102000000\n")
			f.Add(base+"x", read(base + ".key")[1:], "")
		}
	}
	f.Add("Kexample.co.uk.+013+00000", "example.co.uk. IN DNSKEY 256 3 13 AAAA\n", "Private-key-format: v1.3\n")
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, base, public, private string) {
		if base == "" || len(base) > 200 || strings.ContainsAny(base, "/\x00") {
			return
		}
		dir := t.TempDir()
		for name, text := range map[string]string{base + ".key": public, base + ".private": private} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				return // no name for a file
			}
		}
		a := announceArgs{zone: "example.co.uk.", hosts: []string{"ns1.example.net."}, dir: dir}
		var notes strings.Builder
		text, err := announcement(a, now, &notes)
		if err != nil {
			if text != "" || err.Error() == "" {
				t.Errorf("Expected an error alone, got %q and %v", text, err)
			}
			return
		}
		types := make(map[uint16]int)
		for _, rr := range zoneRecords(t, text) {
			types[rr.Header().Rrtype]++
			if rr.Header().Name != "_multi.example.co.uk._signal.ns1.example.net." || rr.Header().Class != dns.ClassINET {
				t.Errorf("Expected records of the signaling name, got %v", rr)
			}
		}
		if types[dns.TypeCDS] == 0 || types[dns.TypeCDS] != types[dns.TypeCDNSKEY] || types[dns.TypeDNSKEY] == 0 || len(types) != 3 {
			t.Errorf("Expected CDS, CDNSKEY and DNSKEY, got\n%s", text)
		}
	})
}
