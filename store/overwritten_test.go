package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

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
			expectRefused(t, "reading the configuration again", func() error { return Check(path) })
			expectRefused(t, "a reload", func() error { _, err := Acquire(path); return err })
			select {
			case <-l.Done():
				t.Error("Expected the lease to stay where a reload failed")
			default:
			}
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

// A backup that is put back while the file is in use is whole, but what bbolt has in
// memory belongs to what was there before. Nothing is written to it.
func TestBackupPutBackWhileInUse(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range 100 {
		path := filepath.Join(t.TempDir(), "state.db")
		l := acquire(t, path)
		l.h.file.db.NoSync, l.h.file.db.NoGrowSync = true, true
		puts := func() {
			for range 1 + r.IntN(8) {
				put(t, l, testZones(1+r.IntN(30), r.IntN(1000)))
			}
		}
		puts()
		want, err := held(l)
		if err != nil {
			t.Fatal(err)
		}
		backup, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		puts()
		put(t, l, testZones(1, 1000)) // which is in no backup
		if err := os.WriteFile(path, backup, 0o600); err != nil {
			t.Fatal(err)
		}
		if r.IntN(2) == 0 {
			expectRefused(t, fmt.Sprintf("history %d: reading", i), func() error { _, err := l.Zones(); return err })
		}
		for range 6 {
			expectRefused(t, fmt.Sprintf("history %d: writing", i), func() error { return l.Put(testZones(1+r.IntN(30), r.IntN(1000))) })
		}
		if err := l.Release(); err != nil {
			t.Fatal(err)
		}
		l = acquire(t, path)
		expectZones(t, l, want)
		l.Release()
	}
}

// However far a write came that failed: the file that it left is read and written
// further, and an older one in its place is not.
func TestFileAfterAWriteThatFailed(t *testing.T) {
	headers := int64(2 * os.Getpagesize())
	failure := errors.New("input/output error")
	for name, failing := range map[string]func(write writeAt) writeAt{
		"no page": func(write writeAt) writeAt {
			return func([]byte, int64) (int, error) { return 0, failure }
		},
		"no header": func(write writeAt) writeAt {
			return func(b []byte, at int64) (int, error) {
				if at < headers {
					return 0, failure
				}
				return write(b, at)
			}
		},
		"a part of the header": func(write writeAt) writeAt {
			return func(b []byte, at int64) (int, error) {
				if at < headers {
					n, _ := write(b[:headerAt+headerSum], at)
					return n, failure
				}
				return write(b, at)
			}
		},
		"all, but that was not synced": func(write writeAt) writeAt {
			return func(b []byte, at int64) (int, error) {
				n, err := write(b, at)
				if at < headers {
					err = failure
				}
				return n, err
			}
		},
	} {
		for _, restored := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, restored %v", name, restored), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "state.db")
				l := acquire(t, path)
				put(t, l, testZones(20, 1))
				backup, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				put(t, l, testZones(20, 2))
				write := writesOf(l)
				well := *write
				*write = failing(well)
				if err := l.Put(testZones(20, 3)); !errors.Is(err, failure) {
					t.Fatalf("Expected %v, got %v", failure, err)
				}
				*write = well
				if restored {
					if err := os.WriteFile(path, backup, 0o600); err != nil {
						t.Fatal(err)
					}
					expectRefused(t, "reading", func() error { _, err := l.Zones(); return err })
					expectRefused(t, "writing", func() error { return l.Put(testZones(20, 3)) })
					return
				}
				if _, err := l.Zones(); err != nil {
					t.Errorf("Expected the file to be read, got %v", err)
				}
				for n := range 4 {
					put(t, l, testZones(20, 3+n))
				}
				expectSound(t, l)
				l.Release()
				expectZones(t, acquire(t, path), testZones(20, 6))
			})
		}
	}
}

// writeAt is how bbolt writes to a file.
type writeAt = func(b []byte, at int64) (int, error)

// writesOf returns where bbolt has how it writes to the file of l.
func writesOf(l *Lease) *writeAt {
	field := reflect.ValueOf(l.h.file.db).Elem().FieldByName("ops").FieldByName("writeAt")
	return (*writeAt)(field.Addr().UnsafePointer())
}

// Damage that is found without a fault ends the use of the file as well: who puts a
// backup back then does it while bbolt has in memory what was there before.
func TestDamageThatIsFoundInUse(t *testing.T) {
	key := Key("z0.example.org.", hosts)
	for name, tt := range map[string]struct {
		spoil func(tx *bolt.Tx) error
		find  func(l *Lease) error
	}{
		"the content": {
			func(tx *bolt.Tx) error { return tx.Bucket(metaBucket).Put(contentKey, []byte("none")) },
			func(l *Lease) error { return l.Put(testZones(2, 2)) },
		},
		"a record": {
			func(tx *bolt.Tx) error { return tx.Bucket(zonesBucket).Put([]byte(key), []byte("none")) },
			func(l *Lease) error { _, err := l.Zones(); return err },
		},
	} {
		l := acquire(t, filepath.Join(t.TempDir(), "state.db"))
		put(t, l, testZones(2, 1))
		if err := l.h.file.update(tt.spoil); err != nil {
			t.Fatal(err)
		}
		expectRefused(t, name, func() error { return tt.find(l) })
		expectRefused(t, name+", writing after that", func() error {
			return l.PutAnnounced(signed, map[string][]serve.Signature{"a.example.": announced(t, "a.example.", 1)})
		})
		inTime(t, "the end", func() {
			if err := l.Release(); err != nil {
				t.Errorf("Expected the end, got %v", err)
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
		} else if strings.Contains(err.Error(), "memory address") { // as the runtime says it
			t.Errorf("%s: expected an error that speaks of the file, got %v", name, err)
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
