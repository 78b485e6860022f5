package cns

import (
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// HostName returns name in canonical form, lower-case and absolute, if it is
// the name of a host (RFC 1123 section 2.1): labels of letters, digits and
// inner hyphens, the last of them not a number. Its error says what is wrong.
func HostName(name string) (string, error) {
	if err := checkHost(strings.TrimSuffix(name, ".")); err != nil {
		return "", fmt.Errorf("%.300q is not the name of a nameserver: %w", name, err)
	}
	return dns.CanonicalName(name), nil
}

func checkHost(name string) error {
	if name == "" {
		return errors.New("it is empty; write a host name, as in \"ns1.example.net.\"")
	}
	if len(name)+2 > maxName {
		return fmt.Errorf("it takes %d octets, and a name has at most %d", len(name)+2, maxName)
	}
	var last string
	for label := range strings.SplitSeq(name, ".") {
		if err := checkLabel(label); err != nil {
			return err
		}
		last = label
	}
	if strings.Trim(last, "0123456789") == "" {
		return errors.New("it is a number or an IP address; write the host name that has the address")
	}
	return nil
}

func checkLabel(label string) error {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"
	switch {
	case label == "":
		return errors.New("two dots follow each other or a dot leads; remove one")
	case len(label) > 63:
		return fmt.Errorf("a part has %d characters, and at most 63 are allowed between two dots", len(label))
	case label[0] == '-' || label[len(label)-1] == '-':
		return fmt.Errorf("%q starts or ends with a hyphen", label)
	}
	if at := strings.IndexFunc(label, func(r rune) bool { return !strings.ContainsRune(allowed, r) }); at >= 0 {
		return fmt.Errorf("%q has a character other than letters, digits and hyphens (international names are written as xn--...)", label)
	}
	return nil
}
