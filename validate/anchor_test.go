package validate_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/validate"
)

// rootKeys are the keys that IANA's DS records are of.
const rootKeys = `
. 172800 IN DNSKEY 257 3 8 AwEAAaz/tAm8yTn4Mfeh5eyI96WSVexTBAvkMgJzkKTOiW1vkIbzxeF3+/4RgWOq7HrxRixHlFlExOLAJr5emLvN7SWXgnLh4+B5xQlNVz8Og8kvArMtNROxVQuCaSnIDdD5LKyWbRd2n9WGe2R8PzgCmr3EgVLrjyBxWezF0jLHwVN8efS3rCj/EWgvIWgb9tarpVUDK/b58Da+sqqls3eNbuv7pr+eoZG+SrDK6nWeL3c6H5Apxz7LjVc1uTIdsIXxuOLYA4/ilBmSVIzuDWfdRUfhHdY6+cn8HFRm+2hM8AnXGXws9555KrUB5qihylGa8subX2Nn6UwNR1AkUTV74bU=
. 172800 IN DNSKEY 257 3 8 AwEAAa96jeuknZlaeSrvyAJj6ZHv28hhOKkx3rLGXVaC6rXTsDc449/cidltpkyGwCJNnOAlFNKF2jBosZBU5eeHspaQWOmOElZsjICMQMC3aeHbGiShvZsx4wMYSjH8e7Vrhbu6irwCzVBApESjbUdpWWmEnhathWu1jo+siFUiRAAxm9qyJNg/wOZqqzL/dL/q8PkcRU5oUKEpUge71M3ej2/7CPqpdVwuMoTvoB+ZOT4YeGyxMvHmbrxlFzGOHOijtzN+u1TQNatX2XBuzZNQ1K+s2CXkPIZo7s6JgZyvaBevYtxPvYLw4z9mR7K2vaF18UYH9Z9GNUUeayffKC73PYc=
`

func TestRootAnchorsAreOfTheRootKeys(t *testing.T) {
	parser := dns.NewZoneParser(strings.NewReader(rootKeys), "", "")
	tags := map[uint16]bool{}
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		k := rr.(*dns.DNSKEY)
		tags[k.KeyTag()] = validate.Trusts(validate.RootAnchors(), k)
	}
	for _, tag := range []uint16{20326, 38696} {
		if !tags[tag] {
			t.Errorf("Expected key %d to be trusted, got %v", tag, tags)
		}
	}
	other := lab.NewKey(".", dns.RSASHA256, 257, "")
	if validate.Trusts(validate.RootAnchors(), other.DNSKEY) {
		t.Error("Expected another key not to be trusted")
	}
}

func TestReadAnchors(t *testing.T) {
	key := lab.NewKey("example.net.", dns.ECDSAP256SHA256, 257, "")
	ds := key.ToDS(dns.SHA256).String() + "\n"
	revoked := dns.Copy(key.DNSKEY).(*dns.DNSKEY)
	revoked.Flags |= dns.REVOKE
	tests := []struct {
		name, text string
		err        string // "" for none
	}{
		{"DS", ds, ""},
		{"DNSKEY", key.String(), ""},
		{"unbound's form", "; autotrust trust anchor file\n;;id: . 1\n" + strings.TrimSpace(rootKeys) + " ;{id = 1} ;;state=2\n", ""},
		{"DS that is supported beside one that is not", "example.net. IN DS 1 250 2 00\n" + ds, ""},
		{"empty", "", "no DS or DNSKEY record"},
		{"comments", "; nothing\n", "no DS or DNSKEY record"},
		{"unsupported algorithm", "example.net. IN DS 1 250 2 00\n", "no DS or DNSKEY record"},
		{"unsupported digest", "example.net. IN DS 1 13 99 00\n", "no DS or DNSKEY record"},
		{"revoked key", revoked.String(), "no DS or DNSKEY record"},
		{"another type", "example.net. IN A 192.0.2.1\n", "not a DS or DNSKEY record"},
		{"another class", "example.net. CH DS 1 13 2 00\n", "not IN"},
		{"relative name", "example IN DS 1 13 2 00\n", "dns:"},
		{"digest that is no hex", "example.net. IN DS 1 13 2 zz\n", "line 1: example.net. DS 1: the digest is not made of pairs of hexadecimal digits: copy the record again"},
		{"half an octet", "example.net. IN DS 1 13 2 " + strings.Repeat("ab", 31) + "a\n", "not made of pairs"},
		{"SHA-1 in SHA-256's place", "example.net. IN DS 1 13 2 " + strings.Repeat("ab", 20) + "\n", "the digest has 20 octets, and those of type 2 (SHA256) have 32: copy the whole record again"},
		{"long SHA-1", "example.net. IN DS 1 13 1 " + strings.Repeat("ab", 21) + "\n", "type 1 (SHA1) have 20"},
		{"cut SHA-384", "example.net. IN DS 1 13 4 " + strings.Repeat("ab", 47) + "\n", "type 4 (SHA384) have 48"},
		{"SHA-1", "example.net. IN DS 1 13 1 " + strings.Repeat("ab", 20) + "\n", ""},
		{"SHA-384", "example.net. IN DS 1 13 4 " + strings.Repeat("ab", 48) + "\n", ""},
		{"no digest", "example.net. IN DS 1 13 2\n", "line"},
		{"bad digest after good ones", "; two\n" + ds + "example.net. ( IN DS\n 1 13 2 " + strings.Repeat("ab", 32) + " )\n" + "example.net. IN DS 7 13 2 00 ; cut", "line 5: example.net. DS 7"},
		{"BIND's form", "trust-anchors { . initial-key 257 3 8 \"AwEAAa\"; };\n", "dns:"},
		{"include", "$INCLUDE /etc/passwd\n", "dns:"},
		{"too many", "$GENERATE 0-65535 a$.net. DS 1 13 2 " + strings.Repeat("00", 32) + "\n", "more than"},
		{"too long", strings.Repeat(";\n", 1<<20), "more than"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "anchors")
			if err := os.WriteFile(file, []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			a, err := validate.ReadAnchors(file)
			if (err == nil) != (tc.err == "") || err != nil && (!strings.Contains(err.Error(), tc.err) || !strings.Contains(err.Error(), file)) {
				t.Errorf("Expected an error with %q and %q, got %v", tc.err, file, err)
			}
			if (a != nil) != (tc.err == "") {
				t.Errorf("Expected anchors or an error, got %v", a)
			}
		})
	}
	if _, err := validate.ReadAnchors(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("Expected an error for a missing file, got none")
	}
}

func FuzzReadAnchors(f *testing.F) {
	f.Add(rootKeys)
	f.Add(". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n")
	f.Add("$ORIGIN net.\n$GENERATE 1-9 a$ DS 1 13 2 00\n")
	f.Fuzz(func(t *testing.T, text string) {
		file := filepath.Join(t.TempDir(), "anchors")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := validate.ReadAnchors(file)
		if err == nil && len(validate.Names(a)) == 0 {
			t.Errorf("Expected an error for a file without anchors: %q", text)
		}
	})
}
