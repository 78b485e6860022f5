package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coredns-mske/mske/serve"
)

// A file that somebody overwrites in place while it is in use, as with cp, takes away
// from under bbolt what that has in memory. Whoever comes upon it, and whoever comes
// after, gets an error that says what to do, and nobody waits for ever.
func TestFileOverwrittenWhileInUse(t *testing.T) {
	owner := "_multi.a.example." + signed
	calls := map[string]func(l *Lease) error{
		"reading":     func(l *Lease) error { _, err := l.AnnouncedOwners(signed); return err },
		"reading all": func(l *Lease) error { _, err := l.Zones(); return err },
		"writing":     func(l *Lease) error { return l.Put(testZones(2, 2)) },
		"writing what is announced": func(l *Lease) error {
			return l.PutAnnounced(signed, map[string][]serve.Signature{owner: announced(t, owner, 1)})
		},
	}
	for name, first := range calls {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.db")
			l := acquire(t, path)
			put(t, l, testZones(2, 1))
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
			expectRefused(t, name, func() error { return first(l) })
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			for name, call := range calls {
				expectRefused(t, name+" after that", func() error { return call(l) })
			}
			inTime(t, "reading one", func() {
				if sigs := l.Announced(signed, owner); sigs != nil {
					t.Errorf("Expected nothing that can be relied on, got %v", sigs)
				}
			})
			inTime(t, "a reload", func() {
				next, err := Acquire(path)
				if err != nil {
					t.Fatal(err)
				}
				expectRefused(t, "reading all after a reload", func() error { _, err := next.Zones(); return err })
				if err := next.Release(); err != nil {
					t.Errorf("Expected the end, got %v", err)
				}
			})
			inTime(t, "the end", func() {
				if err := l.Release(); err != nil {
					t.Errorf("Expected the end, got %v", err)
				}
			})
			if got, err := held(acquire(t, path)); err != nil || !equal(got, testZones(2, 1)) {
				t.Errorf("Expected what the file holds since it is whole again, got %v", err)
			}
		})
	}
}

// expectRefused calls call, which is to say that the server has to be restarted.
func expectRefused(t *testing.T, name string, call func() error) {
	t.Helper()
	inTime(t, name, func() {
		if err := call(); err == nil || !strings.Contains(err.Error(), "restart the server") {
			t.Errorf("%s: expected an error that says what to do, got %v", name, err)
		}
	})
}

// inTime calls call, which is not to wait for ever.
func inTime(t *testing.T, name string, call func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); call() }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: waits for ever", name)
	}
}
