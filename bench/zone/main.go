// Command zone writes what bench/serve serves: keys, the zone example.org signed
// with them and unsigned, and the key of its nameserver's signaling zone.
package main

import (
	"crypto"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const unsigned = `$ORIGIN example.org.
@ 3600 IN SOA ns1.example.net. hostmaster.example.org. 1 7200 3600 1209600 300
@ 3600 IN NS ns1.example.net.
www 300 IN A 192.0.2.80
`

func main() {
	dir := flag.String("dir", ".", "where to write")
	n := flag.Int("keys", 6, "how many keys the zone has, one of them its secure-entry key")
	flag.Parse()
	if err := write(*dir, *n); err != nil {
		log.Fatal(err)
	}
}

// write writes everything to dir.
func write(dir string, n int) error {
	var set []dns.RR
	var bases []string
	var first crypto.Signer
	for i := range n {
		flags := uint16(dns.ZONE | dns.SEP)
		if i > 0 {
			flags = dns.ZONE
		}
		k, signer, base, err := makeKey(dir, "example.org.", flags)
		if err != nil {
			return err
		}
		if i == 0 {
			first = signer
		}
		set, bases = append(set, k), append(bases, base)
	}
	sig := &dns.RRSIG{
		Hdr: dns.RR_Header{Ttl: 3600}, Algorithm: dns.ECDSAP256SHA256, KeyTag: set[0].(*dns.DNSKEY).KeyTag(), SignerName: "example.org.",
		Inception: uint32(time.Now().Add(-time.Hour).Unix()), Expiration: uint32(time.Now().AddDate(0, 0, 7).Unix()),
	}
	if err := sig.Sign(first, set); err != nil {
		return err
	}
	signed := unsigned
	for _, rr := range set {
		signed += rr.String() + "\n"
	}
	_, _, signal, err := makeKey(dir, "_signal.ns1.example.net.", dns.ZONE|dns.SEP)
	if err != nil {
		return err
	}
	for name, text := range map[string]string{
		"db.unsigned": unsigned,
		"db.signed":   signed + sig.String() + "\n",
		"ours":        bases[0] + " " + bases[n-1] + "\n",
		"all":         strings.Join(bases, " ") + "\n",
		"signal":      signal + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// makeKey writes a key pair as dnssec-keygen does, and returns it with the base
// name of its files.
func makeKey(dir, zone string, flags uint16) (*dns.DNSKEY, crypto.Signer, string, error) {
	k := &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600},
		Flags: flags, Protocol: 3, Algorithm: dns.ECDSAP256SHA256,
	}
	private, err := k.Generate(256)
	if err != nil {
		return nil, nil, "", err
	}
	base := fmt.Sprintf("K%s+%03d+%05d", zone, k.Algorithm, k.KeyTag())
	if err := os.WriteFile(filepath.Join(dir, base+".key"), []byte(k.String()+"\n"), 0o600); err != nil {
		return nil, nil, "", err
	}
	if err := os.WriteFile(filepath.Join(dir, base+".private"), []byte(k.PrivateKeyString(private)), 0o600); err != nil {
		return nil, nil, "", err
	}
	return k, private.(crypto.Signer), base, nil
}
