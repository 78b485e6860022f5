package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coredns-mske/mske/merge"

	bolt "go.etcd.io/bbolt"
)

// The damages that an edit of FuzzDamagedFile does, at an octet of a page.
const (
	editOctet  = iota // changes one octet
	editNumber        // writes a small number of 8 octets
	editPage          // puts another page in the place of this one
	editCut           // ends the file
	editKinds

	editSize = 5 // octets of an edit: kind, page, offset (2), value
)

// damage applies edits to a copy of file.
func damage(file, edits []byte) []byte {
	page := os.Getpagesize()
	bad := bytes.Clone(file)
	for ; len(edits) >= editSize; edits = edits[editSize:] {
		start := int(edits[1]) % (len(file) / page) * page
		at, value := start+int(binary.BigEndian.Uint16(edits[2:]))%page, edits[4]
		switch kind := edits[0] % editKinds; {
		case at+8 > len(bad) || start+page > len(bad): // has been cut off
		case kind == editOctet:
			bad[at] ^= value
		case kind == editNumber:
			binary.NativeEndian.PutUint64(bad[at:], uint64(value))
		case kind == editPage:
			copy(bad[start:], file[int(value)%(len(file)/page)*page:][:page])
		default:
			bad = bad[:at]
		}
	}
	return bad
}

// sealHeaders makes the checksums of both headers right, as no accident does.
func sealHeaders(file []byte) {
	for _, at := range []int{headerAt, os.Getpagesize() + headerAt} {
		if at+headerSize > len(file) {
			return
		}
		sum := fnv.New64a()
		sum.Write(file[at : at+headerSum])
		binary.NativeEndian.PutUint64(file[at+headerSum:], sum.Sum64())
	}
}

// wholeFile returns a state file with pages of every kind, always the same, and
// what it holds.
func wholeFile(tb testing.TB) ([]byte, map[string]Zone) {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "whole.db")
	if err := create(path); err != nil {
		tb.Fatal(err)
	}
	// The list of free pages that mske itself takes is in no order.
	db, err := bolt.Open(path, 0o600, &bolt.Options{FreelistType: bolt.FreelistArrayType, NoSync: true})
	if err != nil {
		tb.Fatal(err)
	}
	zones := make(map[string]Zone)
	write := func(z Zone) {
		zones[Key(z.Name, hosts)] = z
		record, err := encode(Key(z.Name, hosts), z)
		if err != nil {
			tb.Fatal(err)
		}
		err = db.Update(func(tx *bolt.Tx) error {
			return new(file).write(tx, map[string][]byte{Key(z.Name, hosts): record})
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	for i := range 8 {
		write(testZone(fmt.Sprintf("z%d.example.org.", i), 1))
	}
	large := testZone("z3.example.org.", 2) // more than a page
	for i := range MaxPeerKeys {
		large.Joint.DNSKEY = append(large.Joint.DNSKEY, testKey(i))
	}
	write(large)
	write(testZone("z4.example.org.", 2))
	if err := db.Close(); err != nil {
		tb.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return whole, zones
}

// newestOf returns the header in file that counts.
func newestOf(file []byte) []byte {
	first, second := file[headerAt:], file[os.Getpagesize()+headerAt:]
	if binary.NativeEndian.Uint64(second[headerTx:]) > binary.NativeEndian.Uint64(first[headerTx:]) {
		return second
	}
	return first
}

// pageKinds returns one page in use of each kind in file, by bbolt's flags;
// overflow is the flag of one that goes on in the next.
func pageKinds(file []byte) map[uint16]int {
	size := os.Getpagesize()
	number := binary.NativeEndian.Uint64
	newest := newestOf(file)
	list := int(number(newest[headerFree:]))
	free := map[uint64]bool{}
	for i := range binary.NativeEndian.Uint16(file[list*size+10:]) {
		free[number(file[list*size+pageHeader+8*int(i):])] = true
	}
	kinds := map[uint16]int{pageFree: list}
	for i := range int(number(newest[headerPages:])) {
		page := file[i*size:]
		if free[uint64(i)] || number(page) != uint64(i) {
			continue
		}
		flags := binary.NativeEndian.Uint16(page[8:])
		if flags == pageLeaf && binary.NativeEndian.Uint32(page[12:]) > 0 {
			flags = overflow
		}
		if flags != pageFree {
			kinds[flags] = i
		}
	}
	return kinds
}

const overflow = 0xFFFF

func TestFuzzedFileHasPagesOfEveryKind(t *testing.T) {
	whole, zones := wholeFile(t)
	again, _ := wholeFile(t)
	if !bytes.Equal(whole, again) {
		t.Error("Expected the same file each time, so that what is found can be found again")
	}
	kinds := pageKinds(whole)
	for _, flags := range []uint16{pageMeta, pageFree, pageBranch, pageLeaf, overflow} {
		if _, ok := kinds[flags]; !ok {
			t.Errorf("Expected a page with flags %#x, got %v", flags, kinds)
		}
	}
	path := filepath.Join(t.TempDir(), "whole.db")
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	expectZones(t, acquire(t, path), zones)
}

// One octet of a branch page: bbolt takes the file, finds all in it, and with the
// next write leaves a page both free and in use.
func TestDamageThatTheNextWriteWouldSpreadIsRefused(t *testing.T) {
	whole, _ := wholeFile(t)
	page := pageKinds(whole)[pageBranch]
	for _, edit := range [][]byte{
		{editOctet, byte(page), 0, 12, 0x01}, // how many pages it takes
		{editOctet, byte(page), 0, 64, 0x03}, // 'z' of the first key becomes 'y'
		{editOctet, byte(page), 0, 16, 0x01}, // where it starts
		{editOctet, byte(page), 0, 20, 0x01}, // how long it is
	} {
		path := filepath.Join(t.TempDir(), "bad.db")
		if err := os.WriteFile(path, damage(whole, edit), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Check(path); err == nil {
			t.Errorf("Damage %x: expected an error", edit)
		}
	}
}

// FuzzDamagedFile damages a state file. It is refused with its name and left as
// it is, or holds all that was written and can be written to. With forged, the
// headers' checksums are right all the same: what is read may then be another
// state, and neither panics nor hangs nor fills memory.
func FuzzDamagedFile(f *testing.F) {
	whole, want := wholeFile(f)
	for _, page := range pageKinds(whole) {
		for _, at := range []byte{0, 8, 10, 12, 16, 20, 24, 28, 32, 40, 48, 64, 72} {
			for _, kind := range []byte{editOctet, editNumber} {
				f.Add([]byte{kind, byte(page), 0, at, 0xFF}, true)
			}
		}
		f.Add([]byte{editPage, byte(page), 0, 0, 0}, false)
		f.Add([]byte{editCut, byte(page), 1, 0, 0}, false)
	}
	f.Add([]byte{editOctet, byte(pageKinds(whole)[pageBranch]), 0, 64, 0x03}, false) // a key in a branch
	f.Add([]byte{editPage, 0, 0, 0, 1}, false)                                       // one header twice
	f.Add([]byte{editPage, 1, 0, 0, 0}, false)
	f.Fuzz(func(t *testing.T, edits []byte, forged bool) {
		defer time.AfterFunc(time.Minute, func() { panic("the state file is read for ever") }).Stop()
		bad := damage(whole, edits)
		if forged {
			sealHeaders(bad)
		}
		path := filepath.Join(t.TempDir(), "bad.db")
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		allocated := totalAlloc()
		errCheck := Check(path)
		l, err := Acquire(path)
		if grown := totalAlloc() - allocated; grown > maxAlloc {
			t.Errorf("Expected a file of %d octets to be checked in less than %d octets of memory, took %d", len(bad), maxAlloc, grown)
		}
		if (errCheck == nil) != (err == nil) {
			t.Errorf("Expected Check and Acquire to agree, got %v and %v", errCheck, err)
		}
		if err != nil {
			refusedWhole(t, path, bad, err)
			return
		}
		l.h.file.db.NoSync = true
		zones, err := held(l)
		if !forged && (err != nil || !equal(zones, want)) {
			t.Errorf("Expected an error or all zones, got %d zones and %v", len(zones), err)
		}
		if err == nil {
			expectSound(t, l)
			goesOn(t, path, l, zones)
		}
		if err := l.Release(); err != nil {
			t.Errorf("Expected the file to be closed, got %v", err)
		}
	})
}

// maxAlloc bounds the memory that checking and opening the fuzzed file may
// take in all, some 50 times its size.
const maxAlloc = 16 << 20

func totalAlloc() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.TotalAlloc
}

// refusedWhole checks that a file was refused as it should be.
func refusedWhole(t *testing.T, path string, bad []byte, err error) {
	t.Helper()
	if !strings.Contains(err.Error(), path) {
		t.Errorf("Expected an error with the file's name, got %v", err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(bad, after) {
		t.Error("Expected the file to be left as it was")
	}
	handlesMu.Lock()
	defer handlesMu.Unlock()
	if len(handles) != 0 {
		t.Error("Expected no open file")
	}
}

// goesOn checks that a file which was accepted can be written to without loss.
func goesOn(t *testing.T, path string, l *Lease, zones map[string]Zone) {
	t.Helper()
	more := testZone("new.example.org.", 3)
	more.Joint.DNSKEY = append([]merge.Key{testKey(99)}, more.Joint.DNSKEY...)
	key := Key(more.Name, hosts)
	if err := l.Put(map[string]Zone{key: more}); err != nil {
		t.Errorf("Expected a file that was accepted to be written to, got %v", err)
		return
	}
	zones[key] = more
	l.Release()
	again, err := Acquire(path)
	if err != nil {
		t.Errorf("Expected what was written to be accepted, got %v", err)
		return
	}
	got, err := held(again)
	if err := errors.Join(err, again.Release()); err != nil || !equal(got, zones) {
		t.Errorf("Expected the zones and one more, got %d of %d, %v", len(got), len(zones), err)
	}
}
