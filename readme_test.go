package mske

import (
	"go/token"
	"go/types"
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

var limit = regexp.MustCompile("(?m)^\\| .* \\| ([0-9,]+) \\| `([a-z/.0-9]+)` `(\\w+)` \\|$")

// The limits in the manual are those of the code.
func TestReadmeStatesTheLimits(t *testing.T) {
	limits := limit.FindAllStringSubmatch(readme(t), -1)
	if len(limits) < 25 {
		t.Fatalf("Expected at least 25 limits, got %d", len(limits))
	}
	for _, row := range limits {
		source, err := os.ReadFile(row[2])
		if err != nil {
			t.Fatal(err)
		}
		set := regexp.MustCompile(`(?m)^(?:const)?\s*` + row[3] + `\s*=\s*([0-9]+(?: << [0-9]+)?)`).FindSubmatch(source)
		if set == nil {
			t.Errorf("%s: Expected %s to be set", row[2], row[3])
			continue
		}
		value, err := types.Eval(token.NewFileSet(), nil, token.NoPos, string(set[1]))
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.ReplaceAll(row[1], ",", ""); value.Value.ExactString() != want {
			t.Errorf("%s: Expected %s to be %s as in the manual, got %s", row[2], row[3], want, value.Value)
		}
	}
}
