package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/keys"
)

// readAll returns the keys whose base names a command printed.
func readAll(t *testing.T, printed string) (ks []*keys.Key) {
	t.Helper()
	for base := range strings.Lines(printed) {
		k, warnings, err := keys.Read(strings.TrimSpace(base))
		if err != nil || len(warnings) > 0 {
			t.Fatalf("Expected a good key at %q, got %v, %v", base, warnings, err)
		}
		ks = append(ks, k)
	}
	keys.AssignRoles(ks)
	return ks
}

func roles(ks []*keys.Key) (names []string) {
	for _, k := range ks {
		names = append(names, k.Role.String())
	}
	return names
}

func TestKeygenMakesKeysByRole(t *testing.T) {
	for _, tc := range []struct {
		args      []string
		zone      string
		algorithm uint8
		roles     []string
	}{
		{[]string{"Example.Co.UK"}, "example.co.uk.", dns.ECDSAP256SHA256, []string{"KSK", "ZSK"}},
		{[]string{"example.org.", "--csk"}, "example.org.", dns.ECDSAP256SHA256, []string{"CSK"}},
		{[]string{"-a", "ed25519", "--csk", "example.org"}, "example.org.", dns.ED25519, []string{"CSK"}},
		{[]string{"-a=14", "0/25.2.0.192.in-addr.arpa"}, "0/25.2.0.192.in-addr.arpa.", dns.ECDSAP384SHA384, []string{"KSK", "ZSK"}},
		{[]string{"-a", "RSASHA256", "example.org"}, "example.org.", dns.RSASHA256, []string{"KSK", "ZSK"}},
	} {
		dir := t.TempDir()
		status, stdout, stderr := call(append([]string{"keygen", "-d", dir}, tc.args...)...)
		if status != exitOK || stderr != "" {
			t.Fatalf("%q: expected status 0, got %d, %q", tc.args, status, stderr)
		}
		ks := readAll(t, stdout)
		if !slices.Equal(roles(ks), tc.roles) {
			t.Errorf("%q: expected %v, got %v", tc.args, tc.roles, roles(ks))
		}
		for _, k := range ks {
			if k.Zone() != tc.zone || k.DNSKEY.Algorithm != tc.algorithm || k.Timing.Activate.IsZero() || filepath.Dir(k.Base) != dir {
				t.Errorf("%q: expected a key of %s that is active, in %s, got %s, %+v", tc.args, tc.zone, dir, k, k)
			}
		}
		if names, err := os.ReadDir(dir); err != nil || len(names) != 2*len(tc.roles) {
			t.Errorf("%q: expected two files for each key, got %v, %v", tc.args, names, err)
		}
	}
}

func TestKeygenSaysWhereRolesChange(t *testing.T) {
	for _, tc := range []struct {
		first, second []string
		say           string
	}{
		{[]string{"--csk"}, []string{}, "becomes a KSK"},
		{[]string{}, []string{"--csk"}, "the new key is a KSK"},
		{[]string{"--csk"}, []string{"--csk"}, ""},
		{[]string{}, []string{}, ""},
	} {
		dir := t.TempDir()
		for i, args := range [][]string{tc.first, tc.second} {
			status, _, stderr := call(append([]string{"keygen", "-d", dir, "example.org"}, args...)...)
			if status != exitOK || i == 0 && stderr != "" {
				t.Fatalf("Expected status 0, got %d, %q", status, stderr)
			}
			if i == 1 && (!strings.Contains(stderr, tc.say) || tc.say == "" && stderr != "") {
				t.Errorf("%q after %q: expected %q, got %q", tc.second, tc.first, tc.say, stderr)
			}
		}
	}
}

func TestKeygenFailsWhole(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	status, stdout, stderr := call("keygen", "-d", dir, "example.org")
	if status != exitFailed || stdout != "" || !strings.Contains(stderr, dir) {
		t.Errorf("Expected status 1 and the directory's name, got %d, %q, %q", status, stdout, stderr)
	}
}

// manyKeys is what a command says of one key more of example.org. than other
// providers take.
func manyKeys(command, types string) string {
	return fmt.Sprintf("mske %s: zone example.org. has %d keys to announce as %s, and other providers refuse more than %d of a type: remove old key files\n",
		command, fetch.MaxKeys+1, types, fetch.MaxKeys)
}

func TestMoreKeysThanOtherProvidersTakeAreWarnedOf(t *testing.T) {
	for _, flags := range [][]string{{"--csk"}, nil} {
		dir := t.TempDir()
		for i := range fetch.MaxKeys + 1 {
			want := ""
			if i == fetch.MaxKeys {
				want = manyKeys("keygen", "DNSKEY") + manyKeys("keygen", "CDS and CDNSKEY")
			}
			status, stdout, stderr := call(append([]string{"keygen", "-d", dir, "example.org"}, flags...)...)
			if status != exitOK || stdout == "" || stderr != want {
				t.Fatalf("%q, number %d: expected status 0 and %q, got %d, %q", flags, i+1, want, status, stderr)
			}
		}
		want := manyKeys("announce", "DNSKEY") + manyKeys("announce", "CDS and CDNSKEY")
		if status, stdout, stderr := call("announce", "-d", dir, "--ns", "ns1.example.net", "example.org"); status != exitOK || stdout == "" || stderr != want {
			t.Errorf("%q: expected the announcement, status 0 and %q, got %d, %q", flags, want, status, stderr)
		}
	}
}

// Keys that are not announced, or not as that type, do not count.
func TestOnlyKeysOfATypeThatAreAnnouncedCount(t *testing.T) {
	dir := t.TempDir()
	call("keygen", "-d", dir, "example.org")
	tags := make(map[uint16]bool)
	for i := range fetch.MaxKeys + 2 {
		k, private, err := keys.Generate("example.org.", dns.ED25519, 256, tags)
		if err != nil {
			t.Fatal(err)
		}
		tags[k.Tag()] = true
		if i < 3 {
			private += "Delete: 20200101000000\n"
		}
		if _, err := keys.Write(dir, k, private); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, stderr := call("announce", "-d", dir, "--ns", "ns1.example.net", "example.org"); strings.Contains(stderr, "refuse") {
		t.Errorf("Expected no warning of %d keys, got %q", fetch.MaxKeys, stderr)
	}
	if _, _, stderr := call("keygen", "-d", dir, "example.org"); stderr != manyKeys("keygen", "DNSKEY") {
		t.Errorf("Expected a warning of DNSKEY alone, got %q", stderr)
	}
}
