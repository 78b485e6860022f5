package keys

import (
	"crypto"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coredns-mske/mske/domain"

	"github.com/miekg/dns"
)

// rsaBits is the size of the RSA keys that Generate makes: dnssec-keygen's.
const rsaBits = 2048

// maxDraws bounds the keys drawn until one has a free tag. With 65,000 of the
// 65,536 tags taken, a free one is found with probability 1 - 10^-4 or so.
const maxDraws = 1000

// Generate draws a key for zone with flags 256 or 257 whose tag is not in
// avoid, and returns it with the text of its .private file, without timing
// metadata.
func Generate(zone string, algorithm uint8, flags uint16, avoid map[uint16]bool) (k *Key, private string, err error) {
	zone, err = domain.Canonical(zone)
	if err != nil {
		return nil, "", err
	}
	if err := CheckAlgorithm(algorithm); err != nil {
		return nil, "", err
	}
	for range maxDraws {
		dnskey := &dns.DNSKEY{
			Hdr:   dns.RR_Header{Name: zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600},
			Flags: flags, Protocol: 3, Algorithm: algorithm,
		}
		half, err := dnskey.Generate(bits(algorithm))
		if err != nil {
			return nil, "", fmt.Errorf("generating a key: %w", err)
		}
		// Nothing signs with tag 0 (see parsePrivate).
		if tag := dnskey.KeyTag(); tag == 0 || avoid[tag] {
			continue
		}
		signer, ok := half.(crypto.Signer)
		if !ok {
			return nil, "", fmt.Errorf("generating a key: a %T cannot sign", half)
		}
		return &Key{DNSKEY: dnskey, Signer: signer}, dnskey.PrivateKeyString(half), nil
	}
	return nil, "", fmt.Errorf("no key with a free tag among %d: zone %q has %d keys, remove some", maxDraws, zone, len(avoid))
}

func bits(algorithm uint8) int {
	switch algorithm {
	case dns.ECDSAP256SHA256, dns.ED25519:
		return 256
	case dns.ECDSAP384SHA384:
		return 384
	}
	return rsaBits
}

// Write writes k, with private as from Generate, to the two files that BIND
// would, in dir, and returns their path without extension. k.Timing goes into
// the files. Nobody else may read the private half. Existing files stay as
// they are and are an error; nothing half-written is ever seen.
func Write(dir string, k *Key, private string) (base string, err error) {
	id := fileID{k.Zone(), k.DNSKEY.Algorithm, k.Tag()}
	base = filepath.Join(dir, id.baseName())
	// The private half comes first: a .key file alone would be a key whose
	// private half is elsewhere.
	if err := create(base+privateExt, private+timingLines(k.Timing, ""), 0o600); err != nil {
		return "", err
	}
	if err := create(base+publicExt, publicText(k), 0o644); err != nil {
		return "", errors.Join(err, os.Remove(base+privateExt))
	}
	return base, syncDir(dir)
}

// publicText returns the .key file of k, with the comments that BIND's have.
func publicText(k *Key) string {
	kind := "zone-signing"
	if k.DNSKEY.Flags&dns.SEP != 0 {
		kind = "key-signing"
	}
	return fmt.Sprintf("; This is a %s key, keyid %d, for %s\n%s%s IN DNSKEY %d %d %d %s\n", kind, k.Tag(), k.Zone(),
		timingLines(k.Timing, "; "), k.Zone(), k.DNSKEY.Flags, k.DNSKEY.Protocol, k.DNSKEY.Algorithm, k.DNSKEY.PublicKey)
}

func timingLines(t Timing, prefix string) string {
	var b strings.Builder
	for _, line := range []struct {
		name string
		at   time.Time
	}{
		{"Created", t.Created}, {"Publish", t.Publish}, {"Activate", t.Activate}, {"Inactive", t.Inactive},
		{"Delete", t.Delete}, {"SyncPublish", t.SyncPublish}, {"SyncDelete", t.SyncDelete},
	} {
		if !line.at.IsZero() {
			fmt.Fprintf(&b, "%s%s: %s\n", prefix, line.name, line.at.UTC().Format(timeFormat))
		}
	}
	return b.String()
}

// create makes a new file that appears whole or not at all.
func create(name, text string, mode os.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".mske-keygen-*")
	if err != nil {
		return fmt.Errorf("writing key file: %w", err)
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, errWrite := f.WriteString(text)
	if err := errors.Join(errWrite, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing key file %q: %w", name, err)
	}
	// A rename would replace a file that is there.
	if err := os.Link(f.Name(), name); err != nil {
		return fmt.Errorf("writing key file: %w", err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("writing key files: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}
