package daemon

import (
	"os"
	"os/exec"
	"path/filepath"
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

// Need skips the test if one of programs is missing, or fails it if
// MSKE_REQUIRE_PEERS is set.
func Need(tb testing.TB, programs ...string) {
	tb.Helper()
	for _, program := range programs {
		if _, err := lookPath(program); err == nil {
			continue
		}
		if os.Getenv(requirePeers) != "" {
			tb.Fatalf("%s is missing, and %s is set: install %s", program, requirePeers, debianPackages[program])
		}
		tb.Skipf("%s is missing: install %s (Debian's name) to run this test", program, debianPackages[program])
	}
}

// Path returns the path of a program, which the test needs.
func Path(tb testing.TB, program string) string {
	tb.Helper()
	Need(tb, program)
	path, err := lookPath(program)
	if err != nil {
		tb.Fatal(err)
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
