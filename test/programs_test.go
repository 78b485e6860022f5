package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// run runs a program to its end and returns what it printed.
func run(t *testing.T, dir string, argv ...string) string {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...) // #nosec G204 -- tests name the programs
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
	return string(out)
}

// built is where TestMain keeps our two programs.
var built struct {
	dir  string
	once sync.Once
	out  []byte
	err  error
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "mske-test")
	if err != nil {
		panic(err)
	}
	built.dir = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// ours returns the path of one of our programs, compiled when the first test
// that is not skipped asks for it.
func ours(t *testing.T, program string) string {
	t.Helper()
	built.once.Do(func() {
		cmd := exec.Command("go", "build", "-o", built.dir+"/", "./cmd/...")
		cmd.Dir = ".."
		built.out, built.err = cmd.CombinedOutput()
	})
	if built.err != nil {
		t.Fatalf("go build ./cmd/...: %v\n%s", built.err, built.out)
	}
	return filepath.Join(built.dir, program)
}
