package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// expectSound has bbolt itself check an open file.
func expectSound(t *testing.T, l *Lease) {
	t.Helper()
	err := l.h.file.db.View(func(tx *bolt.Tx) error {
		var errs []error
		for err := range tx.Check() {
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
	if err != nil {
		t.Errorf("Expected a file that bbolt finds nothing wrong with, got %v", err)
	}
}

// What bbolt's own check would find in a file is found before bbolt works with it.
func TestStructureIsCheckedWithoutBbolt(t *testing.T) {
	whole, _ := wholeFile(t)
	kinds, size := pageKinds(whole), os.Getpagesize()
	page := func(file []byte, kind uint16) []byte { return file[kinds[kind]*size:][:size] }
	lastKey := func(leaf []byte) []byte {
		at := pageHeader + (int(binary.NativeEndian.Uint16(leaf[10:]))-1)*pageElement
		return leaf[at+int(binary.NativeEndian.Uint32(leaf[at+4:])):]
	}
	for name, spoil := range map[string]func(file []byte){
		"nothing": nil,
		"a page neither in use nor free": func(file []byte) {
			list := page(file, pageFree)
			binary.NativeEndian.PutUint16(list[10:], binary.NativeEndian.Uint16(list[10:])-1)
		},
		"a key that is not behind the one before": func(file []byte) {
			root := file[binary.NativeEndian.Uint64(newestOf(file)[headerRoot:])*uint64(size):]
			root[bytes.Index(root, zonesBucket)] = 'a'
		},
		"a key behind those of the next page": func(file []byte) {
			branch := page(file, pageBranch)
			first := binary.NativeEndian.Uint64(branch[pageHeader+8:])
			lastKey(file[first*uint64(size):])[1] = 'z'
		},
	} {
		bad := bytes.Clone(whole)
		if spoil != nil {
			spoil(bad)
		}
		if err := checkPages(bytes.NewReader(bad), newestOf(bad)); (err != nil) != (spoil != nil) {
			t.Errorf("%s: expected an error %v, got %v", name, spoil != nil, err)
		}
	}
}

// A file that somebody cuts off while it is read for the first time, as at a reload
// that names another one, is refused; the server goes on.
func TestFileCutOffWhileItIsChecked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mske.db")
	l := acquire(t, path)
	put(t, l, testZones(2000, 1))
	l.Release()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := Check(path); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 50 {
		checked := make(chan error)
		go func() { _, err := check(path); checked <- err }()
		time.Sleep(time.Duration(r.Int64N(int64(took))))
		if err := os.Truncate(path, int64(r.IntN(len(whole)))); err != nil {
			t.Fatal(err)
		}
		inTime(t, "checking", func() { <-checked }) // it may have been whole until then
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
