package refresh

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coredns-mske/mske/store"
)

// stateOf returns a state that a file can hold for z.
func stateOf(z *Zone, saved time.Time) store.Zone {
	return store.Zone{Name: z.Name, Nameservers: z.Nameservers, Saved: saved}
}

func TestZonesMayHaveDifferentStateFiles(t *testing.T) {
	dir := t.TempDir()
	a := &Zone{Name: "example.net.", Nameservers: []string{"ns1.example.com."}, Store: filepath.Join(dir, "a.db")}
	b := &Zone{Name: "example.org.", Nameservers: []string{"ns1.example.com."}, Store: filepath.Join(dir, "b.db")}
	l, stored, err := acquireLeases([]*Zone{a, b, a})
	if err != nil || len(stored) != 0 {
		t.Fatalf("Expected two empty files, got %v, %v", stored, err)
	}
	saved := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, z := range []*Zone{a, b} {
		jobs := map[string]*job{store.Key(z.Name, z.Nameservers): {record: stateOf(z, saved)}}
		if err := put(l.byPath[z.Store], jobs); err != nil {
			t.Fatal(err)
		}
	}

	newer, stored, err := acquireLeases([]*Zone{b, a})
	if err != nil || len(stored) != 2 {
		t.Fatalf("Expected the states of two zones, got %v, %v", stored, err)
	}
	l.watch(a.Store, nil)
	select {
	case <-l.revoked:
	default:
		t.Error("Expected the older leases to be revoked")
	}
	for _, leases := range []*leases{l, newer} {
		if err := leases.release(); err != nil {
			t.Error(err)
		}
	}
}

func TestNewerStateOfAZoneInTwoFilesCounts(t *testing.T) {
	dir := t.TempDir()
	z := &Zone{Name: "example.net.", Nameservers: []string{"ns1.example.com."}, Store: filepath.Join(dir, "a.db")}
	moved := *z
	moved.Store = filepath.Join(dir, "b.db")
	key := store.Key(z.Name, z.Nameservers)
	saved := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	l, _, err := acquireLeases([]*Zone{z, &moved})
	if err != nil {
		t.Fatal(err)
	}
	defer l.release()
	for path, at := range map[string]time.Time{z.Store: saved, moved.Store: saved.Add(-time.Hour)} {
		if err := l.byPath[path].Put(map[string]store.Zone{key: stateOf(z, at)}); err != nil {
			t.Fatal(err)
		}
	}
	stored, err := l.zones()
	if err != nil || !stored[key].Saved.Equal(saved) {
		t.Errorf("Expected the state saved at %v, got %v, %v", saved, stored[key].Saved, err)
	}
}

func TestOneStateFileByTwoNamesIsAnError(t *testing.T) {
	dir := t.TempDir()
	a := &Zone{Name: "example.net.", Store: filepath.Join(dir, "a.db")}
	b := &Zone{Name: "example.org.", Store: filepath.Join(dir, "b.db")}
	if err := os.Symlink(a.Store, b.Store); err != nil {
		t.Fatal(err)
	}
	l, _, err := acquireLeases([]*Zone{a})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.release(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := acquireLeases([]*Zone{a, b}); err == nil || !strings.Contains(err.Error(), "another name") {
		t.Errorf("Expected an error that names the reason, got %v", err)
	}
	if l, _, err = acquireLeases([]*Zone{a}); err != nil {
		t.Fatalf("Expected the failed attempt to leave nothing taken, got %v", err)
	}
	if err := l.release(); err != nil {
		t.Error(err)
	}
}
