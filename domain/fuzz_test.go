package domain

import (
	"bytes"
	"cmp"
	"slices"
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

// FuzzNames holds that names are equal as strings once they are canonical if
// and only if they are the same name, and that they are in the order of their
// octets.
func FuzzNames(f *testing.F) {
	for _, names := range [][3]string{
		{"example.co.uk", "EXAMPLE.co.uk.", "www.example.co.uk"},
		{`\000.a`, `\a.b`, `a\.b.c`}, {`\065.`, "a", "A."}, {".", "", "*."}, {`é.example`, `\195\169.example`, `\`},
		{"z.example.", `\200.z.example.`, "yljkjljk.a.example."},
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
			if !slices.EqualFunc(wire(t, name), wire(t, dns.Fqdn(text)), bytes.Equal) {
				t.Fatalf("Expected %q to be the same name as %q", name, text)
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
