package validate_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/coredns-mske/mske/validate"
)

var reason = regexp.MustCompile(`^\S+ [A-Z0-9]+: .+ \((RFC \d+ (section|appendix) [0-9A-Z.]+|limit of this software)\)$`)

func TestAReasonNamesTheRRsetAndTheRule(t *testing.T) {
	for _, tc := range attacks {
		l := hierarchy(t)
		tc.attack(l)
		r, err := validator(t, l).Lookup(t.Context(), l, tc.qname, tc.qtype)
		var e *validate.Error
		if err != nil || r.Reason == nil {
			continue
		}
		if !errors.As(r.Reason, &e) || !reason.MatchString(e.Error()) || strings.Contains(e.Error(), "\n") {
			t.Errorf("%s: Expected RRset, reason and rule in one line, got %q", tc.name, r.Reason)
		}
	}
}

func TestEveryErrorCitesARule(t *testing.T) {
	fset := token.NewFileSet()
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, file.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if fun, ok := call.Fun.(*ast.Ident); !ok || fun.Name != "fail" {
				return true
			}
			calls++
			if rule, ok := call.Args[3].(*ast.BasicLit); ok && !strings.HasPrefix(rule.Value, `"RFC `) {
				t.Errorf("%s: Expected a rule, got %s", fset.Position(call.Pos()), rule.Value)
			}
			return true
		})
	}
	if calls < 20 {
		t.Errorf("Expected to find the errors, got %d", calls)
	}
}
