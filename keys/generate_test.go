package keys

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestWrittenKeysReadBack(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, zone := range []string{"example.co.uk.", "Example.ORG", "0/25.2.0.192.in-addr.arpa.", `a\.b\000.example.`, "."} {
		for _, algorithm := range supported {
			dir := t.TempDir()
			k, private, err := Generate(zone, algorithm, 257, nil)
			if err != nil {
				t.Fatalf("%s: %v", zone, err)
			}
			k.Timing = Timing{Created: now, Publish: now, Activate: now, SyncPublish: now.Add(time.Hour)}
			base, err := Write(dir, k, private)
			if err != nil {
				t.Fatalf("%s: %v", zone, err)
			}
			got, warnings, err := Read(base)
			if err != nil || len(warnings) > 0 {
				t.Fatalf("%s: expected neither error nor warning, got %v, %v", zone, err, warnings)
			}
			if got.ID() != k.ID() || got.Zone() != k.Zone() || got.Timing != k.Timing {
				t.Errorf("%s: expected %+v, got %+v", zone, k, got)
			}
			signs(t, got)
			if names, err := os.ReadDir(dir); err != nil || len(names) != 2 {
				t.Errorf("%s: expected two files and nothing else, got %v, %v", zone, names, err)
			}
			if info, err := os.Stat(base + privateExt); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: expected mode 0600 of the private half, got %v, %v", zone, info.Mode(), err)
			}
		}
	}
}

func TestWriteReplacesNothing(t *testing.T) {
	dir := t.TempDir()
	k, private, err := Generate("example.co.uk.", dns.ED25519, 256, nil)
	if err != nil {
		t.Fatal(err)
	}
	base, err := Write(dir, k, private)
	if err != nil {
		t.Fatal(err)
	}
	before := readText(t, base+privateExt)
	if _, err := Write(dir, k, "other\n"); err == nil || !strings.Contains(err.Error(), base) {
		t.Errorf("Expected an error that names the file, got %v", err)
	}
	os.Remove(base + privateExt)
	if _, err := Write(dir, k, private); err == nil {
		t.Error("Expected an error while the .key is there")
	}
	if _, err := os.Stat(base + privateExt); err == nil {
		t.Error("Expected no private half to be left behind")
	}
	writeText(t, base+privateExt, before)
	if names, _ := os.ReadDir(dir); len(names) != 2 {
		t.Errorf("Expected nothing to be left behind, got %v", names)
	}
	if _, err := Write(filepath.Join(dir, "none"), k, private); err == nil {
		t.Error("Expected an error for a directory that is not there")
	}
}

func TestGenerateAvoidsTags(t *testing.T) {
	avoid := make(map[uint16]bool)
	for tag := range 1 << 16 {
		avoid[uint16(tag)] = tag%2 == 0
	}
	for range 10 {
		if k, _, err := Generate("example.co.uk.", dns.ED25519, 256, avoid); err != nil || k.Tag()%2 == 0 {
			t.Errorf("Expected an odd tag, got %v, %v", k, err)
		}
	}
	for tag := range avoid {
		avoid[tag] = true
	}
	if _, _, err := Generate("example.co.uk.", dns.ED25519, 256, avoid); err == nil {
		t.Error("Expected an error when all tags are taken")
	}
}

func TestGenerateRefuses(t *testing.T) {
	if _, _, err := Generate("example..org", dns.ED25519, 256, nil); err == nil {
		t.Error("Expected an error for a bad zone name")
	}
	if _, _, err := Generate("example.org.", dns.RSASHA1, 256, nil); err == nil || !strings.Contains(err.Error(), "ED25519 (15)") {
		t.Errorf("Expected an error with the algorithms there are, got %v", err)
	}
}

// BIND signs with keys of ours, by their timing metadata, and verifies it.
func TestBINDSignsWithWrittenKeys(t *testing.T) {
	signzone, verify := tool(t, "dnssec-signzone"), tool(t, "dnssec-verify")
	dir, now := t.TempDir(), time.Now()
	for _, algorithm := range supported {
		for _, flags := range []uint16{256, 257} {
			k, private, err := Generate("example.co.uk.", algorithm, flags, nil)
			if err != nil {
				t.Fatal(err)
			}
			k.Timing = Timing{Created: now, Publish: now, Activate: now}
			if _, err := Write(dir, k, private); err != nil {
				t.Fatal(err)
			}
		}
	}
	zone := filepath.Join(dir, "db")
	writeText(t, zone, "@ 3600 IN SOA ns1.example.net. hostmaster.example.net. 1 3600 600 86400 300\n@ 3600 IN NS ns1.example.net.\n")
	for _, args := range [][]string{
		{signzone, "-S", "-K", dir, "-d", dir, "-f", zone + ".signed", "-o", "example.co.uk.", zone},
		{verify, "-o", "example.co.uk.", zone + ".signed"},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	signers := make(map[uint8]bool)
	zp := dns.NewZoneParser(strings.NewReader(readText(t, zone+".signed")), "example.co.uk.", "")
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		if sig, ok := rr.(*dns.RRSIG); ok && sig.TypeCovered == dns.TypeNS {
			signers[sig.Algorithm] = true
		}
	}
	if len(signers) != len(supported) {
		t.Errorf("Expected signatures by all %d algorithms, got %v", len(supported), signers)
	}
}
