package mske

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	_ "github.com/coredns/coredns/plugin/auto"
)

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The sections that every plugin's manual has, in CoreDNS's order.
func TestReadmeIsACoreDNSManual(t *testing.T) {
	rest := readme(t)
	for _, section := range []string{"Name", "Description", "Syntax", "Metrics", "Ready", "Examples", "Security", "See Also", "Bugs"} {
		_, after, ok := strings.Cut(rest, "\n## "+section+"\n")
		if !ok {
			t.Fatalf("Expected a section %q in its place", section)
		}
		rest = after
	}
}

func TestReadmeListsEveryOption(t *testing.T) {
	_, syntax, _ := strings.Cut(readme(t), "\n## Syntax\n")
	syntax, _, _ = strings.Cut(syntax, "\n## ")
	for option := range properties {
		if !strings.Contains(syntax, "\n    "+option+" ") {
			t.Errorf("Expected %q in the grammar", option)
		}
		if option != "key" && !strings.Contains(syntax, "`"+option+"`") && !strings.Contains(syntax, "`"+option+" ") {
			t.Errorf("Expected %q to be explained", option)
		}
	}
}

var snippet = regexp.MustCompile(`(?s)~~~ corefile\n(.*?)~~~`)

func TestReadmeExamplesAreAccepted(t *testing.T) {
	snippets := snippet.FindAllStringSubmatch(readme(t), -1)
	if len(snippets) < 3 {
		t.Fatalf("Expected at least 3 examples, got %d", len(snippets))
	}
	example, err := filepath.Abs("example")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	for _, dir := range []string{"keys", "zones"} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	keyFiles, err := filepath.Glob(filepath.Join(example, "provider-a", "K*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range append(keyFiles, filepath.Join(example, "db.example.co.uk")) {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Base(from), string(text))
	}
	before := slices.Clone(caddy.Instances())
	for _, m := range snippets {
		if err := caddy.ValidateAndExecuteDirectives(input(m[1]), nil, true); err != nil {
			t.Errorf("%v\n%s", err, m[1])
		}
	}
	if !slices.Equal(before, caddy.Instances()) {
		t.Error("Expected nothing to be started")
	}
}
