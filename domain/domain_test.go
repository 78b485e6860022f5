package domain

import (
	"strings"
	"testing"
)

func TestWrittenTakesInternationalNamesAsTheDNSHasThemOnly(t *testing.T) {
	const say = "(international names are written as xn--...)"
	for _, tt := range []struct {
		name, want string // want empty: refused
	}{
		{"Xn--Bcher-kva.example", "xn--bcher-kva.example."},
		{`b\195\188cher.example`, `b\195\188cher.example.`},
		{"0/25.2.0.192.in-addr.arpa", "0/25.2.0.192.in-addr.arpa."},
		{"bücher.example", ""},
		{"example.\xff", ""},
		{"\u0080.example", ""},
	} {
		got, err := Written(tt.name)
		if got != tt.want || (err != nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), say) {
			t.Errorf("%q: expected %q or an error with %q, got %q, %v", tt.name, tt.want, say, got, err)
		}
	}
	if _, err := Written("a..example"); err == nil || strings.Contains(err.Error(), say) {
		t.Errorf("Expected what is no name at all to be said to be none, got %v", err)
	}
}

func TestCanonical(t *testing.T) {
	for _, tt := range []struct {
		name, want string // want empty: no name
	}{
		{"Example.ORG", "example.org."},
		{"example.org.", "example.org."},
		{`ex\097mple.org.`, "example.org."},
		{`a\.b.org`, `a\.b.org.`},
		{`\000.org`, `\000.org.`},
		{"\xff.org", `\255.org.`},
		{".", "."},
		{`Ψ\.`, `\206\168\..`},     // not the root
		{`a.Ψ\.`, `a.\206\168\..`}, // nor a.
		{`a\\.`, `a\\.`},
		{`Ψ\`, ""},
		{"", ""},
		{"a..org", ""},
		{strings.Repeat("a", 64) + ".org", ""},
		{strings.Repeat("a.", 128), ""},
	} {
		got, err := Canonical(tt.name)
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%q: expected %q, got %q, %v", tt.name, tt.want, got, err)
		}
	}
}

func TestCanonicalOrder(t *testing.T) {
	// RFC 4034 section 6.1, and escapes.
	order := []string{
		"example.", "a.example.", "yljkjljk.a.example.", "z.a.example.", "zabc.a.example.",
		"z.example.", `\001.z.example.`, "*.z.example.", `a\.b.z.example.`, `\200.z.example.`,
	}
	for i, a := range order {
		for j, b := range order {
			if got := Compare(a, b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%s and %s: Expected the order of %d and %d, got %d", a, b, i, j, got)
			}
		}
	}
}
