package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/coredns-mske/mske/internal/daemon"
)

// beProgram tells the test binary to be the program itself: what the tests
// start is then what was compiled for them, with real signals and a real death.
const beProgram = "MSKE_TEST_BE_COREDNS"

func TestMain(m *testing.M) {
	if os.Getenv(beProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// topDir is the root of the repository, which the paths in Corefile.example are
// relative to.
func topDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// startCoreDNS runs this program with a Corefile, from the repository's root.
func startCoreDNS(t *testing.T, name, corefile string) *daemon.Daemon {
	t.Helper()
	return daemon.Start(t, name, topDir(t), []string{beProgram + "=1"}, os.Args[0], "-conf", corefile)
}
