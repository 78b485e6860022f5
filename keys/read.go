package keys

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/coredns-mske/mske/domain"

	"github.com/miekg/dns"
)

// maxFile is the largest key file that is read, in octets. The private half
// of an RSA key of 4096 bits, the largest supported, takes about 3,500.
const maxFile = 64 << 10

// Read reads the key in base.key and base.private; base may end in either
// extension. Without base.private the key is public only. The files have to
// be of the same key; their name, if it is of the form K<zone>+<alg>+<tag>,
// has to be the key's. Warnings and errors name the file and say what to do.
// The role is RoleUnknown: it depends on the zone's other keys (AssignRoles).
func Read(base string) (k *Key, warnings []string, err error) {
	base = trimExt(base)
	dnskey, err := readPublic(base + publicExt)
	if err != nil {
		return nil, nil, err
	}
	if err := checkFileName(base, dnskey); err != nil {
		return nil, nil, err
	}
	k = &Key{DNSKEY: dnskey, Base: base}
	text, mode, err := readFile(base + privateExt)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if mode&0o004 != 0 {
		warnings = append(warnings, fmt.Sprintf("key file %q can be read by everyone: take that right away (chmod 600)", base+privateExt))
	}
	if k.Signer, k.Timing, err = parsePrivate(text, dnskey); err != nil {
		return nil, warnings, fmt.Errorf("key file %q: %w", base+privateExt, cutOff(text, err))
	}
	return k, warnings, nil
}

// readPublic reads the one DNSKEY record in file.
func readPublic(file string) (*dns.DNSKEY, error) {
	text, _, err := readFile(file)
	if err != nil {
		return nil, err
	}
	dnskey, err := parsePublic(text)
	if err != nil {
		return nil, fmt.Errorf("key file %q: %w", file, cutOff(text, err))
	}
	return dnskey, nil
}

// readFile returns the text and permissions of a file of bounded size.
func readFile(file string) (string, fs.FileMode, error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", 0, fmt.Errorf("key file: %w", err)
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait for its writer
		return "", 0, fmt.Errorf("key file %q is not a regular file", file)
	}
	f, err := os.Open(filepath.Clean(file))
	if err != nil {
		return "", 0, fmt.Errorf("key file: %w", err)
	}
	defer f.Close()
	text := make([]byte, min(info.Size(), maxFile)+1)
	n, err := f.Read(text)
	if int64(n) == info.Size() {
		err = nil // a second call to see the end would cost a fleet a second
	} else if err == nil {
		var rest []byte
		rest, err = io.ReadAll(io.LimitReader(f, maxFile+1-int64(n)))
		text, n = append(text[:n], rest...), n+len(rest)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return "", 0, fmt.Errorf("key file: %w", err)
	}
	text = text[:n]
	if len(text) > maxFile {
		return "", 0, fmt.Errorf("key file %q is larger than %d octets: it cannot be a key", file, maxFile)
	}
	return string(text), info.Mode(), nil
}

// cutOff adds to err, met in text, that the text seems to be cut off: every
// tool ends its files with a newline.
func cutOff(text string, err error) error {
	if strings.HasSuffix(text, "\n") {
		return err
	}
	return fmt.Errorf("%w; the file seems to be cut off, since it does not end with a newline: copy it again", err)
}

// parsePublic reads the text of a .key file.
func parsePublic(text string) (*dns.DNSKEY, error) {
	zp := dns.NewZoneParser(strings.NewReader(text), "", "")
	zp.SetDefaultTTL(3600) // the tools leave the TTL out; it is not used
	rr, ok := zp.Next()
	if !ok {
		if err := zp.Err(); err != nil {
			return nil, err
		}
		return nil, errors.New("there is no DNSKEY record in it")
	}
	dnskey, ok := rr.(*dns.DNSKEY)
	if !ok {
		return nil, fmt.Errorf("there is a %s record in it instead of a DNSKEY (dnssec-keygen without -T makes one)", dns.Type(rr.Header().Rrtype))
	}
	if _, ok := zp.Next(); ok || zp.Err() != nil {
		return nil, errors.New("there is something after the DNSKEY record: put each key into a file of its own")
	}
	return dnskey, checkPublic(dnskey)
}

// checkPublic checks that the key is one that can be used, and makes its
// owner and its base64 canonical.
func checkPublic(k *dns.DNSKEY) error {
	zone, err := domain.Canonical(k.Hdr.Name)
	if err != nil {
		return err
	}
	switch {
	case k.Flags&dns.REVOKE != 0:
		return fmt.Errorf("the key of %q is revoked (RFC 5011), which is not supported: remove its files", zone)
	case k.Flags&^dns.SEP != dns.ZONE:
		return fmt.Errorf("the key of %q has flags %d: those of a zone's key are 256 or 257", zone, k.Flags)
	case k.Protocol != 3:
		return fmt.Errorf("the key of %q has protocol %d: it has to be 3 (RFC 4034 section 2.1.2)", zone, k.Protocol)
	}
	if err := CheckAlgorithm(k.Algorithm); err != nil {
		return fmt.Errorf("the key of %q: %w", zone, err)
	}
	wire, err := base64.StdEncoding.DecodeString(k.PublicKey)
	if err != nil {
		return fmt.Errorf("the public key of %q: %w", zone, err)
	}
	if _, err := publicHalf(k.Algorithm, wire); err != nil {
		return fmt.Errorf("the public key of %q: %w", zone, err)
	}
	k.Hdr.Name, k.PublicKey = zone, base64.StdEncoding.EncodeToString(wire)
	return nil
}

// checkFileName checks what the name of a key's files says, if it is of the
// form that the tools give it.
func checkFileName(base string, k *dns.DNSKEY) error {
	name, ok := parseBase(filepath.Base(base))
	is := fileID{k.Hdr.Name, k.Algorithm, k.KeyTag()}
	if !ok || name == is {
		return nil
	}
	if name.zone != is.zone {
		return fmt.Errorf("key file %q holds a key of another zone, %q: rename it to %s.key, or put back the key it is named after",
			base+publicExt, is.zone, is.baseName())
	}
	return fmt.Errorf("key file %q holds the key with algorithm %d and tag %d: rename it to %s.key, or put back the key it is named after",
		base+publicExt, is.algorithm, is.tag, is.baseName())
}
