package store

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A header that cannot be read where bbolt begins to is an error, and what bbolt leaves
// locked then keeps nobody waiting.
func TestFaultWhereBboltBegins(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mske.db")
	acquire(t, path).Release()
	f, err := openBolt(path, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, errno := syscall.Syscall(syscall.SYS_MPROTECT, f.db.Info().Data, uintptr(os.Getpagesize()), syscall.PROT_NONE); errno != 0 {
		t.Fatal(errno)
	}
	inTime(t, "verifying", func() {
		var fault errFault
		if _, err := f.verify(); !errors.As(err, &fault) {
			t.Errorf("Expected a fault, got %v", err)
		}
	})
	inTime(t, "closing", func() {
		if err := f.close(); err != nil {
			t.Errorf("Expected the file to be closed, got %v", err)
		}
	})
	inTime(t, "opening it again", func() { acquire(t, path) })
}
