package domain

import (
	"strings"
	"testing"
)

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
