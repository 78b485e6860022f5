package store

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// nobody is a user who owns nothing here.
const nobody = 65534

// asNobody runs f with the rights of a user who owns nothing: root, as tests
// may be run, may write everywhere.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Getuid() != 0 {
		f()
		return
	}
	runtime.LockOSThread() // the kernel keeps this for each thread
	defer runtime.UnlockOSThread()
	if err := syscall.Setfsuid(nobody); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setfsuid(0)
	f()
}

func TestFilesWithoutTheRightsForThemAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		exists bool
		mode   os.FileMode // of the file
	}{
		"a directory that cannot be written": {exists: false},
		"a file that cannot be written":      {exists: true, mode: 0o444},
		"a file that cannot be read":         {exists: true, mode: 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "mske.db")
			if tc.exists {
				l := acquire(t, path)
				put(t, l, testZones(1, 1))
				if err := l.Release(); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(path, tc.mode); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chmod(dir, 0o555); err != nil {
				t.Fatal(err)
			}
			defer os.Chmod(dir, 0o700)
			asNobody(t, func() {
				if l, err := Acquire(path); err == nil {
					l.Release()
					t.Error("Acquire: Expected an error")
				} else if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "permission denied") {
					t.Errorf("Acquire: Expected an error with path and reason, got %v", err)
				}
				if err := Check(path); err == nil {
					t.Error("Check: Expected an error when the configuration is read")
				}
			})
		})
	}
}
