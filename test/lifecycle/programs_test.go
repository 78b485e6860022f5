package lifecycle

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

var (
	fullFlag = flag.Bool("full", false, "take every step, with three providers and a static peer")
	seedFlag = flag.Uint64("seed", 1, "what the order of steps and the disturbances are made from; 0: a random number")
	rateFlag = flag.Float64("rate", 20, "how many questions each resolver is asked in a second")
	calmFlag = flag.Bool("calm", false, "kill, reload and cut off no provider")
)

// run runs a program to its end and returns what it printed.
func run(tb testing.TB, dir string, argv ...string) string {
	tb.Helper()
	out, err := try(dir, argv...)
	if err != nil {
		tb.Fatalf("%v: %v\n%s", argv, err, out)
	}
	return out
}

// try is run for a program that may fail.
func try(dir string, argv ...string) (string, error) {
	cmd := exec.Command(argv[0], argv[1:]...) // #nosec G204 -- tests name the programs
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// built is where TestMain keeps our two programs.
var built struct {
	dir  string
	once sync.Once
	out  []byte
	err  error
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "mske-lifecycle")
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
func ours(tb testing.TB, program string) string {
	tb.Helper()
	built.once.Do(func() {
		cmd := exec.Command("go", "build", "-o", built.dir+"/", "./cmd/...")
		cmd.Dir = "../.."
		built.out, built.err = cmd.CombinedOutput()
	})
	if built.err != nil {
		tb.Fatalf("go build ./cmd/...: %v\n%s", built.err, built.out)
	}
	return filepath.Join(built.dir, program)
}
