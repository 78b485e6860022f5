package mske

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// A new key of one provider is in the other's DNSKEY RRset within seconds,
// although that one would ask again only in an hour.
func TestANewKeyCrossesByNotify(t *testing.T) {
	dir := t.TempDir()
	const keysOfB = "example/provider-b"
	files, err := os.ReadDir(keysOfB)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(keysOfB, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name()), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, port := demo(t, "key directory "+keysOfB, "key directory "+dir, "refresh 1s 2s", "refresh 1s 1h")
	const zone = "example.co.uk."
	a := net.JoinHostPort("127.0.0.2", port)
	var last string
	serves := func(tags ...uint16) func() bool {
		return func() bool {
			reply, err := exchange(a, question(zone, dns.TypeDNSKEY, true))
			if err != nil {
				return false
			}
			last = reply.String()
			var got []uint16
			for _, rr := range records(reply.Answer, dns.TypeDNSKEY) {
				got = append(got, rr.(*dns.DNSKEY).KeyTag())
			}
			return !slices.ContainsFunc(tags, func(tag uint16) bool { return !slices.Contains(got, tag) })
		}
	}
	eventually(t, "B's key at A", serves(24175), func() string { return last })
	text, err := os.ReadFile(filepath.Join(dir, writeKey(t, dir, zone, 256)+".key"))
	if err != nil {
		t.Fatal(err)
	}
	rr, err := dns.NewRR(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "B's new key at A", serves(rr.(*dns.DNSKEY).KeyTag()), func() string { return last })
}
