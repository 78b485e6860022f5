package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/keys"
)

// zoneRecords reads zone-file text without an origin.
func zoneRecords(t *testing.T, text string) (rrs []dns.RR) {
	t.Helper()
	zp := dns.NewZoneParser(strings.NewReader(text), "", "")
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		rrs = append(rrs, rr)
	}
	if zp.Err() != nil {
		t.Fatalf("Expected zone-file text, got %v in\n%s", zp.Err(), text)
	}
	return rrs
}

func TestAnnouncePrintsAllRRsetsForEachNameserver(t *testing.T) {
	dir := t.TempDir()
	_, printed, _ := call("keygen", "-d", dir, "example.co.uk")
	call("keygen", "-d", dir, "example.org") // of no concern
	ks := readAll(t, printed)
	hosts := []string{"ns1.provider-a.net.", "ns2.provider-a.org.", "ns3.provider-a.net."}
	for _, args := range []string{
		"--ns ns1.provider-a.net ns2.Provider-A.org. ns3.provider-a.net example.co.uk",
		"--ns ns1.provider-a.net --ns ns2.provider-a.org --ns=ns3.provider-a.net Example.co.uk.",
		"--ns ns1.provider-a.net ns2.provider-a.org --ns ns3.provider-a.net example.co.uk",
	} {
		status, stdout, stderr := call(append([]string{"announce", "-d", dir}, strings.Fields(args)...)...)
		if status != exitOK || stderr != "" {
			t.Fatalf("%q: expected status 0, got %d, %q", args, status, stderr)
		}
		var got, want []string
		for _, rr := range zoneRecords(t, stdout) {
			got = append(got, rr.String())
		}
		for _, host := range hosts {
			owner := "_multi.example.co.uk._signal." + host
			ksk, zsk := ks[0].ID(), ks[1].ID()
			ds, _ := ksk.DS("example.co.uk.", dns.SHA256)
			want = append(want, ds.CDS(owner, 3600).String(), ksk.CDNSKEY(owner, 3600).String(), zsk.DNSKEY(owner, 3600).String())
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%q: expected\n%s\ngot\n%s", args, strings.Join(want, "\n"), strings.Join(got, "\n"))
		}
	}
}

func TestAnnounceFailsWithTheReason(t *testing.T) {
	empty, good, held := t.TempDir(), t.TempDir(), t.TempDir()
	call("keygen", "-d", good, "example.co.uk")
	for _, flags := range []uint16{256, 257} {
		k, private, err := keys.Generate("example.co.uk.", dns.ED25519, flags, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := keys.Write(held, k, private+"Created: 20260101000000\n"); err != nil { // dnssec-keygen -G
			t.Fatal(err)
		}
	}
	long := strings.TrimSuffix(strings.Repeat(strings.Repeat("a", 60)+".", 4), ".")
	for _, tc := range []struct{ dir, host, zone, say string }{
		{empty, "ns1.provider-a.net", "example.co.uk", "mske keygen example.co.uk."},
		{empty + "/none", "ns1.provider-a.net", "example.co.uk", "no such file"},
		{good, "ns1.example.co.uk", "example.co.uk", "inside the zone"},
		{good, long, "example.co.uk", "longer than 255 octets"},
		{held, "ns1.provider-a.net", "example.co.uk", "dnssec-settime"},
	} {
		status, stdout, stderr := call("announce", "-d", tc.dir, "--ns", tc.host, tc.zone)
		if status != exitFailed || stdout != "" || !strings.Contains(stderr, tc.say) {
			t.Errorf("%s in %s: expected status 1 and %q, got %d, %q, %q", tc.zone, tc.dir, tc.say, status, stdout, stderr)
		}
	}
}
