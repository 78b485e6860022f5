// Package domain compares domain names: as what they are rather than as they
// are written, and in the order of DNSSEC.
package domain

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
	"unique"

	"github.com/miekg/dns"
)

// maxOctets is the longest a name may be on the wire (RFC 1035 section 2.3.4).
const maxOctets = 255

// Canonical returns name absolute, in lower case and with the escapes that
// miekg/dns gives to names from the wire, so that names are equal as strings.
// It fails if name is not a domain name.
func Canonical(name string) (string, error) {
	wire := make([]byte, maxOctets)
	whole := name
	if !IsAbsolute(name) {
		whole += "."
	}
	n, err := dns.PackDomainName(whole, wire, 0, nil, false)
	if err != nil || name == "" || !IsAbsolute(whole) {
		return "", fmt.Errorf("%.300q is not a domain name", name)
	}
	canonical, _, err := dns.UnpackDomainName(wire[:n], 0)
	if err != nil {
		return "", fmt.Errorf("%.300q is not a domain name: %w", name, err)
	}
	return dns.CanonicalName(canonical), nil
}

// Written returns name as Canonical does, if it is one that an operator writes. It
// fails for characters that are not ASCII as well: their octets would be a name, but
// not the one that is meant. Whoever means these octets writes them as \DDD.
func Written(name string) (string, error) {
	if strings.IndexFunc(name, func(r rune) bool { return r >= utf8.RuneSelf }) >= 0 {
		return "", fmt.Errorf("%.300q has a character that is not ASCII (international names are written as xn--...)", name)
	}
	return Canonical(name)
}

// Shared returns name in memory that all have who ask for it at about the same
// time: the zones of a fleet name the same few nameservers again and again.
func Shared(name string) string { return unique.Make(name).Value() }

// IsAbsolute reports whether name ends with a dot that is not escaped. dns.IsFqdn
// takes an escaped dot for that after a letter that is not ASCII.
func IsAbsolute(name string) bool {
	rest, dot := strings.CutSuffix(name, ".")
	escapes := len(rest) - len(strings.TrimRight(rest, `\`))
	return dot && escapes%2 == 0
}

// Compare orders two canonical names as NSEC chains are ordered: label by
// label from the right, as octets (RFC 4034 section 6.1).
func Compare(a, b string) int {
	x, y := labels(a), labels(b)
	for i := 1; i <= len(x) && i <= len(y); i++ {
		if c := bytes.Compare(x[len(x)-i], y[len(y)-i]); c != 0 {
			return c
		}
	}
	return len(x) - len(y)
}

// labels returns a name's labels as octets, without escapes.
func labels(name string) [][]byte {
	wire := make([]byte, maxOctets+1)
	end, err := dns.PackDomainName(name, wire, 0, nil, false)
	if err != nil {
		return nil // no name that came in a message
	}
	var out [][]byte
	for i := 0; i < end && wire[i] != 0; i += int(wire[i]) + 1 {
		out = append(out, wire[i+1:i+1+int(wire[i])])
	}
	return out
}
