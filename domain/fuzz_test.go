package domain

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// wire returns name as octets in lower case, by its labels from the right.
func wire(t *testing.T, name string) [][]byte {
	t.Helper()
	buf := make([]byte, 256)
	n, err := dns.PackDomainName(name, buf, 0, nil, false)
	if err != nil {
		t.Fatalf("Expected %q to be a name, got %v", name, err)
	}
	var labels [][]byte
	for at := 0; at < n-1; at += 1 + int(buf[at]) {
		labels = append([][]byte{asciiLower(buf[at+1 : at+1+int(buf[at])])}, labels...)
	}
	return labels
}

// asciiLower is the case that names are compared in (RFC 4034 section 6.2).
func asciiLower(label []byte) []byte {
	low := slices.Clone(label)
	for i, b := range low {
		if 'A' <= b && b <= 'Z' {
			low[i] = b + 32
		}
	}
	return low
}

// read returns the labels of name from the right, read octet by octet (RFC 1035
// section 5.1).
func read(name string) (labels [][]byte, ok bool) {
	if name == "." {
		return nil, true
	}
	var label []byte
	end := func() bool {
		ok := len(label) > 0
		labels, label = append([][]byte{asciiLower(label)}, labels...), nil
		return ok
	}
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == '.':
			if !end() {
				return nil, false
			}
			continue
		case c != '\\':
			label = append(label, c)
		case i+3 < len(name) && digits(name[i+1:i+4]):
			n, _ := strconv.Atoi(name[i+1 : i+4])
			label = append(label, byte(n))
			i += 3
		case i+1 < len(name):
			i++
			label = append(label, name[i])
		default:
			return nil, false
		}
	}
	return labels, len(label) == 0 || end()
}

func digits(s string) bool { return strings.Trim(s, "0123456789") == "" }

// FuzzNames holds that names are equal as strings once they are canonical if
// and only if they are the same name, and that they are in the order of their
// octets.
func FuzzNames(f *testing.F) {
	for _, names := range [][3]string{
		{"example.co.uk", "EXAMPLE.co.uk.", "www.example.co.uk"},
		{`\000.a`, `\a.b`, `a\.b.c`}, {`\065.`, "a", "A."}, {".", "", "*."}, {`é.example`, `\195\169.example`, `\`},
		{`Ψ\.`, `a.Ψ\\.`, `Ψ\\\.a`}, {`\999`, `\99`, `a..b`}, {"z.example.", `\200.z.example.`, "yljkjljk.a.example."},
	} {
		f.Add(names[0], names[1], names[2])
	}
	f.Fuzz(func(t *testing.T, x, y, z string) {
		var names []string
		for _, text := range []string{x, y, z} {
			name, err := Canonical(text)
			if err != nil {
				continue
			}
			if again, err := Canonical(name); err != nil || again != name || !dns.IsFqdn(name) {
				t.Fatalf("Expected %q to stay as it is, got %q, %v", name, again, err)
			}
			if want, ok := read(text); !ok || !slices.EqualFunc(wire(t, name), want, bytes.Equal) {
				t.Fatalf("Expected the labels %q of %q, got %q", want, text, name)
			}
			names = append(names, name)
		}
		for _, a := range names {
			for _, b := range names {
				want := slices.CompareFunc(wire(t, a), wire(t, b), bytes.Compare)
				got := Compare(a, b)
				if cmp.Compare(got, 0) != want || (got == 0) != (a == b) || cmp.Compare(Compare(b, a), 0) != -want {
					t.Fatalf("Expected %q and %q to compare as %d, got %d", a, b, want, got)
				}
			}
		}
	})
}
