package lifecycle

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

var (
	fullFlag = flag.Bool("full", false, "take every step, with three providers and a static peer")
	seedFlag = flag.Uint64("seed", 1, "what the order of steps and the disturbances are made from; 0: a random number")
	rateFlag = flag.Float64("rate", 20, "how many questions each resolver is asked in a second")
	calmFlag = flag.Bool("calm", false, "kill, reload and cut off no provider")

	// Less than an hour, which dnssec-signzone, that signs the zones above, dates
	// back.
	skewFlag = flag.Duration("skew", 0, "how far the providers' clocks are from everybody's at most; needs our programs compiled with another clock")
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
		args := []string{"build", "-o", built.dir + "/"}
		if *skewFlag > 0 {
			args = append(args, "-overlay", skewable(tb))
		}
		cmd := exec.Command("go", append(args, "./cmd/...")...)
		cmd.Dir = "../.."
		built.out, built.err = cmd.CombinedOutput()
	})
	if built.err != nil {
		tb.Fatalf("go build ./cmd/...: %v\n%s", built.err, built.out)
	}
	return filepath.Join(built.dir, program)
}

// skewVariable is the environment variable that says how many seconds the clock
// of a program is ahead.
const skewVariable = "MSKE_TEST_CLOCK_AHEAD"

// skewable writes an overlay for go build, with which the clock of our programs
// is ahead by what skewVariable says. Go programs ask the kernel themselves, so
// that no preloaded library can tell them another time.
func skewable(tb testing.TB) string {
	tb.Helper()
	source := filepath.Join(strings.TrimSpace(run(tb, ".", "go", "env", "GOROOT")), "src", "time", "time.go")
	text, err := os.ReadFile(source)
	if err != nil {
		tb.Fatal(err)
	}
	const reading = "\tsec, nsec, mono := runtimeNow()\n"
	if n := strings.Count(string(text), reading); n != 1 {
		tb.Fatalf("%s reads the clock at %d places, so that it cannot be set here", source, n)
	}
	skewed := strings.Replace(string(text), reading, reading+"\tsec += ahead\n", 1)
	skewed = strings.Replace(skewed, "import (\n", "import (\n\t\"syscall\"\n", 1) + fmt.Sprintf(`
var ahead = func() int64 {
	text, _ := syscall.Getenv(%q)
	n, _ := atoi(text)
	return int64(n)
}()
`, skewVariable)
	path, overlay := filepath.Join(built.dir, "time.go"), filepath.Join(built.dir, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {source: path}})
	if err != nil {
		tb.Fatal(err)
	}
	for name, data := range map[string][]byte{path: []byte(skewed), overlay: replace} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return overlay
}
