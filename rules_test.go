package mske

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/coredns-mske/mske"

// mayImport lists for each package of ours which others of ours it may import,
// not counting tests. Dependencies point down only: merge knows of no network,
// fetch of no serving, and the command-line tool of no CoreDNS.
var mayImport = map[string][]string{
	"":             {"announce", "chain", "cns", "domain", "fetch", "keys", "lifecycle", "notify", "observe", "refresh", "serve", "stack", "status", "store", "validate", "yield"},
	"bench/fleet":  {"", "announce", "cns", "fetch", "internal/lab", "keys", "lifecycle", "merge", "observe", "refresh", "serve", "store", "validate"},
	"bench/zone":   {},
	"cmd/coredns":  {""},
	"cmd/mske":     {"announce", "cns", "domain", "fetch", "keys", "merge", "observe", "status", "validate"},
	"refresh":      {"announce", "chain", "cns", "domain", "fetch", "flat", "keys", "lifecycle", "merge", "observe", "serve", "store", "validate", "yield"},
	"serve":        {"announce", "keys", "merge", "yield"},
	"fetch":        {"announce", "domain", "merge", "validate"},
	"notify":       {"domain", "validate"},
	"observe":      {"cns", "domain", "merge", "validate"},
	"chain":        {"cns", "domain", "merge", "validate", "yield"},
	"lifecycle":    {"merge", "observe"},
	"store":        {"domain", "lifecycle", "merge", "serve", "yield"},
	"announce":     {"keys", "merge"},
	"keys":         {"domain", "merge", "yield"},
	"validate":     {"domain", "yield"},
	"flat":         {},
	"stack":        {},
	"status":       {},
	"domain":       {},
	"yield":        {},
	"merge":        {},
	"cns":          {},
	"internal/lab": {},
}

// knowCoreDNS are the packages that may import CoreDNS and caddy.
var knowCoreDNS = []string{"", "bench/fleet", "cmd/coredns"}

// violation says what is wrong with pkg, a directory of this module, importing
// the package at path; empty if nothing is.
func violation(pkg, path string) string {
	switch {
	case strings.HasPrefix(path, "github.com/coredns/"):
		if !slices.Contains(knowCoreDNS, pkg) {
			return "only the plugin and the custom build know CoreDNS"
		}
	case path == module || strings.HasPrefix(path, module+"/"):
		ours := strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
		if !slices.Contains(mayImport[pkg], ours) {
			return "dependencies point down, see mayImport"
		}
	}
	return ""
}

func TestViolationFindsWhatItIsFor(t *testing.T) {
	for _, tt := range []struct {
		pkg, path string
		bad       bool
	}{
		{"merge", "github.com/coredns/caddy", true},
		{"refresh", "github.com/coredns/coredns/plugin", true},
		{"", "github.com/coredns/coredns/plugin", false},
		{"fetch", module + "/serve", true},
		{"cmd/mske", module, true},
		{"unheard-of", module + "/merge", true},
		{"fetch", module + "/validate", false},
		{"merge", "github.com/miekg/dns", false},
	} {
		if got := violation(tt.pkg, tt.path); (got != "") != tt.bad {
			t.Errorf("%s imports %s: expected a violation %v, got %q", tt.pkg, tt.path, tt.bad, got)
		}
	}
}

// source is one Go file of the module.
type source struct {
	path string // relative to the module's root
	pkg  string // its directory, "" for the root
	ast  *ast.File
}

// sources returns the module's Go files that are no tests.
func sources(t *testing.T, mode parser.Mode) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, mode)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		all = append(all, source{path: name, pkg: strings.TrimPrefix(path.Dir(name), "."), ast: file})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestImportsPointDown(t *testing.T) {
	for _, f := range sources(t, parser.ImportsOnly) {
		for _, spec := range f.ast.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if why := violation(f.pkg, imported); why != "" {
				t.Errorf("%s imports %s: %s", f.path, imported, why)
			}
		}
	}
}

func TestPackagesAreNamedForWhatTheyDo(t *testing.T) {
	documented := make(map[string]bool)
	for _, f := range sources(t, parser.ParseComments|parser.PackageClauseOnly) {
		if name := f.ast.Name.Name; slices.Contains([]string{"util", "utils", "common", "types", "helpers", "mocks"}, name) {
			t.Errorf("%s: a package named %s says nothing", f.path, name)
		}
		if strings.Contains(path.Base(f.path), "-") {
			t.Errorf("%s: file names have no hyphens", f.path)
		}
		documented[f.pkg] = documented[f.pkg] || f.ast.Doc != nil
	}
	for pkg, ok := range documented {
		if !ok {
			t.Errorf("Package %q has no package comment", path.Join(module, pkg))
		}
	}
}

// TestWorkIsBoundToItsOwner keeps the roots of contexts where work begins: in
// programs and in the engine, which lives until it is stopped. All else gets
// its context from what ends it.
func TestWorkIsBoundToItsOwner(t *testing.T) {
	for _, f := range sources(t, 0) {
		if strings.HasPrefix(f.pkg, "cmd/") || strings.HasPrefix(f.pkg, "bench/") || f.path == "refresh/refresh.go" {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "context" && (sel.Sel.Name == "Background" || sel.Sel.Name == "TODO") {
					t.Errorf("%s uses context.%s: take the context from the caller", f.path, sel.Sel.Name)
				}
			}
			return true
		})
	}
}
