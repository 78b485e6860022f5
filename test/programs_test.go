package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// requirePeers is the environment variable that turns a missing program from a
// reason to skip a test into a failure.
const requirePeers = "MSKE_REQUIRE_PEERS"

// debianPackages says what to install for each program.
var debianPackages = map[string]string{
	"nsd":              "nsd",
	"unbound":          "unbound",
	"named":            "bind9",
	"pdns_recursor":    "pdns-recursor",
	"knotd":            "knot",
	"keymgr":           "knot",
	"ldns-keygen":      "ldnsutils",
	"ldns-signzone":    "ldnsutils",
	"dnssec-keygen":    "bind9-utils",
	"dnssec-dsfromkey": "bind9-utils",
	"dnssec-signzone":  "bind9-utils",
	"dnssec-cds":       "bind9-utils",
	"delv":             "bind9-dnsutils",
	"openssl":          "openssl",
}

// need skips the test if one of programs is missing.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := lookPath(program); err == nil {
			continue
		}
		if os.Getenv(requirePeers) != "" {
			t.Fatalf("%s is missing, and %s is set: install %s", program, requirePeers, debianPackages[program])
		}
		t.Skipf("%s is missing: install %s (Debian's name) to run this test", program, debianPackages[program])
	}
}

// path returns the path of a program.
func path(t *testing.T, program string) string {
	t.Helper()
	need(t, program)
	path, err := lookPath(program)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// lookPath looks where users other than root do not: Debian keeps servers in
// /usr/sbin.
func lookPath(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		path, err = exec.LookPath(filepath.Join("/usr/sbin", program))
	}
	return path, err
}

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
