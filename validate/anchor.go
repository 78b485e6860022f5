package validate

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// rootAnchors is IANA's: KSK-2017 and KSK-2024, from
// https://data.iana.org/root-anchors/root-anchors.xml (RFC 9718).
const rootAnchors = `
. IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D
. IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16
`

// Anchors is a set of trust anchors: keys of zones that are trusted for
// themselves (RFC 4033 section 2). It is not changed once made. The zero value
// has none, so that nothing is secure.
type Anchors struct {
	zones map[string]*trust
}

// trust is what the keys of a zone have to match: one DS or one key is enough.
type trust struct {
	ds   []*dns.DS
	keys []*dns.DNSKEY
}

// RootAnchors returns the anchors of the root zone as IANA publishes them.
func RootAnchors() *Anchors {
	a := new(Anchors)
	if err := a.read(strings.NewReader(rootAnchors), "IANA"); err != nil {
		panic(err) // the constant above is broken
	}
	return a
}

// ReadAnchors reads trust anchors from files in zone-file form, DS or DNSKEY
// records with absolute names. Those of an algorithm or digest that is not
// supported, and revoked keys, do not count. A file without any that counts is
// an error, and so is a record of another type: it is not an anchor file. So is a
// digest that cannot be one of its type.
func ReadAnchors(files ...string) (*Anchors, error) {
	a := new(Anchors)
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("reading trust anchors: %w", err)
		}
		err = a.read(f, file)
		if err2 := f.Close(); err == nil {
			err = err2
		}
		if err != nil {
			return nil, err
		}
	}
	return a, nil
}

// read adds the anchors in r, whose name is file.
func (a *Anchors) read(r io.Reader, file string) error {
	text, err := io.ReadAll(io.LimitReader(r, maxAnchorFile+1))
	if err != nil {
		return fmt.Errorf("reading trust anchors from %q: %w", file, err)
	}
	if len(text) > maxAnchorFile {
		return fmt.Errorf("reading trust anchors from %q: more than %d octets", file, maxAnchorFile)
	}
	found, records := 0, 0
	rest := strings.NewReader(string(text))
	parser := dns.NewZoneParser(rest, "", file)
	parser.SetDefaultTTL(0)
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		added, err := a.add(rr)
		if err != nil {
			return fmt.Errorf("reading trust anchors from %q, line %d: %w", file, lines(text[:len(text)-rest.Len()]), err)
		}
		if added {
			found++
		}
		if records++; records > maxAnchorRecords {
			return fmt.Errorf("reading trust anchors from %q: more than %d records", file, maxAnchorRecords)
		}
	}
	if err := parser.Err(); err != nil {
		return fmt.Errorf("reading trust anchors: %w", err)
	}
	if found == 0 {
		return fmt.Errorf("reading trust anchors from %q: no DS or DNSKEY record of a supported algorithm", file)
	}
	return nil
}

// lines returns how many lines there are in text, of which the last need not end.
func lines(text []byte) int {
	return bytes.Count(bytes.TrimSuffix(text, []byte("\n")), []byte("\n")) + 1
}

// add adds one record, and says whether it is of use.
func (a *Anchors) add(rr dns.RR) (bool, error) {
	name := dns.CanonicalName(rr.Header().Name)
	if rr.Header().Class != dns.ClassINET {
		return false, fmt.Errorf("%s: class %s is not IN", name, dns.Class(rr.Header().Class))
	}
	switch rr := rr.(type) {
	case *dns.DS:
		if !supportedDS(rr) {
			return false, nil
		}
		if err := checkDigest(rr); err != nil {
			return false, fmt.Errorf("%s DS %d: %w", name, rr.KeyTag, err)
		}
		t := a.zone(name)
		t.ds = append(t.ds, rr)
	case *dns.DNSKEY:
		if len(usableKeys([]dns.RR{rr})) == 0 {
			return false, nil
		}
		t := a.zone(name)
		t.keys = append(t.keys, rr)
	default:
		return false, fmt.Errorf("%s %s: not a DS or DNSKEY record", name, dns.Type(rr.Header().Rrtype))
	}
	return true, nil
}

// checkDigest says what is wrong with the digest of a DS of a supported type. No key
// would ever match it, and that would look as if the resolver's answers were bogus.
func checkDigest(ds *dns.DS) error {
	digest, err := hex.DecodeString(ds.Digest)
	if err != nil {
		return errors.New("the digest is not made of pairs of hexadecimal digits: copy the record again")
	}
	if want := digestSize(ds.DigestType); len(digest) != want {
		return fmt.Errorf("the digest has %d octets, and those of type %d (%s) have %d: copy the whole record again",
			len(digest), ds.DigestType, dns.HashToString[ds.DigestType], want)
	}
	return nil
}

// zone returns the anchor of that name, made if need be.
func (a *Anchors) zone(name string) *trust {
	if a.zones == nil {
		a.zones = make(map[string]*trust)
	}
	if a.zones[name] == nil {
		a.zones[name] = new(trust)
	}
	return a.zones[name]
}

// names returns the zones that have anchors, in order.
func (a *Anchors) names() []string { return slices.Sorted(maps.Keys(a.zones)) }

// above returns the closest zone at or above the name that has an anchor. The
// closest counts, even where that of a zone further up would do (RFC 6840
// appendix C.1).
func (a *Anchors) above(name string) (string, bool) {
	for {
		if a.zones[name] != nil {
			return name, true
		}
		if name == "." {
			return "", false
		}
		name = parent(name)
	}
}
