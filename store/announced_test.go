package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/coredns-mske/mske/serve"

	bolt "go.etcd.io/bbolt"
)

const signed = "_signal.ns1.example.net."

// announced returns n signatures at owner.
func announced(t testing.TB, owner string, n int) (sigs []serve.Signature) {
	t.Helper()
	for i := range n {
		sig := testZone("example.org.", i).Signatures[0]
		s, err := serve.ParseSignature(owner, uint32(600+i), []byte(sig.RDATA()), serve.Digest{byte(i), 1})
		if err != nil {
			t.Fatal(err)
		}
		sigs = append(sigs, s)
	}
	return sigs
}

func expectAnnounced(t *testing.T, l *Lease, domain, owner string, want []serve.Signature) {
	t.Helper()
	if got := l.Announced(domain, owner); !reflect.DeepEqual(got, want) {
		t.Errorf("%s in %s: expected %v, got %v", owner, domain, want, got)
	}
}

// Signatures over announcements are kept over a restart, each domain's apart, and
// forgotten name by name. What is there already is not written.
func TestAnnouncedSignaturesAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	l := acquire(t, path)
	put(t, l, testZones(2, 1))
	here, there := Domain(signed, signed), Domain(signed, "example.net.")
	a, b := "_multi.a.example."+signed, "_multi.b.example."+signed
	expectAnnounced(t, l, here, a, nil)
	kept := map[string][]serve.Signature{a: announced(t, a, 4), b: announced(t, b, 1)}
	for range 2 {
		if err := l.PutAnnounced(here, kept); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.PutAnnounced(there, map[string][]serve.Signature{a: announced(t, a, 2)}); err != nil {
		t.Fatal(err)
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	if err := Check(path); err != nil {
		t.Fatalf("Expected a file that can be used, got %v", err)
	}
	l = acquire(t, path)
	expectAnnounced(t, l, here, a, kept[a])
	expectAnnounced(t, l, here, b, kept[b])
	expectAnnounced(t, l, there, a, announced(t, a, 2))
	expectAnnounced(t, l, there, b, nil)
	if got, err := held(l); err != nil || !equal(got, testZones(2, 1)) {
		t.Errorf("Expected the zones as before, got %v", err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.PutAnnounced(here, map[string][]serve.Signature{a: kept[a], "_multi.c.example." + signed: nil}); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("Expected what is there already not to be written")
	}
	if err := l.PutAnnounced(here, map[string][]serve.Signature{a: nil}); err != nil {
		t.Fatal(err)
	}
	expectAnnounced(t, l, here, a, nil)
	if owners, err := l.AnnouncedOwners(here); err != nil || !slices.Equal(owners, []string{b}) {
		t.Errorf("Expected %q alone to be left, got %q, %v", b, owners, err)
	}
}

// A record that is damaged, or of a version to come, is as none: all of it can be
// made anew.
func TestAnnouncedSignaturesThatCannotBeReadAreNone(t *testing.T) {
	l := acquire(t, filepath.Join(t.TempDir(), "state.db"))
	domain := Domain(signed, signed)
	a := "_multi.a.example." + signed
	good, err := encodeAnnounced(announced(t, a, 2))
	if err != nil {
		t.Fatal(err)
	}
	version := slices.Clone(good)
	version[0]++
	octet := slices.Clone(good)
	octet[len(octet)-1] ^= 1
	longer := append(slices.Clone(good), 0)
	finish(announcedVersion, longer)
	for _, record := range [][]byte{version, octet, longer, good[:len(good)-1], good[:3], {}} {
		err := l.h.file.db.Update(func(tx *bolt.Tx) error {
			return writeAnnounced(tx, domain, map[string][]byte{a: record})
		})
		if err != nil {
			t.Fatal(err)
		}
		expectAnnounced(t, l, domain, a, nil)
	}
	if err := l.PutAnnounced(domain, map[string][]serve.Signature{a: announced(t, a, maxAnnounced+1)}); err == nil {
		t.Error("Expected no more signatures to be written than can be read")
	}
}

// Only the newest configuration writes.
func TestAnnouncedSignaturesAreTheNewestLeases(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	old := acquire(t, path)
	l := acquire(t, path)
	a := "_multi.a.example." + signed
	if err := old.PutAnnounced(signed, map[string][]serve.Signature{a: announced(t, a, 1)}); !errors.Is(err, ErrRevoked) {
		t.Errorf("Expected %v, got %v", ErrRevoked, err)
	}
	expectAnnounced(t, l, signed, a, nil)
}

// What is read is whole while others write.
func TestAnnouncedSignaturesAreReadMeanwhile(t *testing.T) {
	l := acquire(t, filepath.Join(t.TempDir(), "state.db"))
	a := "_multi.a.example." + signed
	done := make(chan error)
	go func() {
		defer close(done)
		for i := range 30 {
			more := map[string][]serve.Signature{a: announced(t, a, 1+i%3)}
			for n := range 100 {
				owner := fmt.Sprintf("_multi.z%d.%d.example.%s", i, n, signed)
				more[owner] = announced(t, owner, 2)
			}
			if err := l.PutAnnounced(signed, more); err != nil {
				done <- err
				return
			}
		}
	}()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
			if n := len(l.Announced(signed, a)); n > 3 {
				t.Fatalf("Expected at most three signatures, got %d", n)
			}
		}
	}
}

// FuzzAnnounced holds that no record makes the decoder panic, and that what it
// accepts is written back the same.
func FuzzAnnounced(f *testing.F) {
	const owner = "_multi.a.example." + signed
	record, err := encodeAnnounced(announced(f, owner, 2))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(record[recordHeader:])
	f.Fuzz(func(t *testing.T, text []byte) {
		record := append(make([]byte, recordHeader), text...)
		finish(announcedVersion, record)
		sigs, err := decodeAnnounced(owner, record)
		if err != nil || len(sigs) == 0 {
			return
		}
		once, err := encodeAnnounced(sigs)
		if err != nil {
			t.Fatalf("Expected what was read to be written, got %v", err)
		}
		again, err := decodeAnnounced(owner, once)
		if err != nil || !reflect.DeepEqual(again, sigs) {
			t.Fatalf("Expected %v, got %v, %v", sigs, again, err)
		}
	})
}
