package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/observe"
	"github.com/coredns-mske/mske/serve"

	"github.com/miekg/dns"
	bolt "go.etcd.io/bbolt"
)

var hosts = []string{"ns1.example.net."}

// testKey returns a key that n tells from others.
func testKey(n int) merge.Key {
	return merge.Key{Flags: 256, Protocol: 3, Algorithm: dns.ECDSAP256SHA256, PublicKey: fmt.Sprintf("%088d", n)}
}

// testZone returns a state with something in every field.
func testZone(name string, n int) Zone {
	at := time.Date(2024, 5, 1, 12, 0, n, 0, time.UTC)
	k := testKey(n)
	ds, _ := k.DS(name, dns.SHA256)
	rr, err := dns.NewRR(name + " 3600 IN RRSIG DNSKEY 13 3 3600 20240601000000 20240501000000 4711 " + name + " AAAA")
	if err != nil {
		panic(err)
	}
	sig, err := serve.NewSignature(rr.(*dns.RRSIG), serve.Digest{1})
	if err != nil {
		panic(err)
	}
	return Zone{
		Name: name, Nameservers: hosts, Saved: at, Clock: at, Cold: at,
		Target: []string{"ns1.example.org."}, NS: hosts, NSTTL: time.Hour, Imported: []string{"ns1.example.org."}, HasCNS: true,
		Delegation: Delegation{NS: hosts, Chain: []string{"ns1.example.org."}, CSYNC: true},
		Own:        []Own{{Key: k, SecureEntry: true, SignsKeys: true, Published: at, SignedSince: at}},
		Signers:    []merge.Key{k},
		Peers: []merge.Peer{{Host: "ns1.example.org.", Announcement: merge.Announcement{DNSKEY: []merge.Key{k}, CDS: []merge.DS{ds}, TTL: time.Hour,
			Inception: merge.Inceptions{DNSKEY: at, CDS: at.Add(-time.Hour), CDNSKEY: at.Add(time.Hour)}},
			Collected: at, Retiring: []merge.Retiring{{Key: k, Since: at, Until: at.Add(time.Hour)}}}},
		Joint:      merge.Joint{DNSKEY: []merge.Key{k}, CDNSKEY: []merge.Key{k}, CDS: []merge.DS{ds}},
		Signatures: Signatures{sig},
		Life:       testLife(k, ds, at),
		Seed:       lifecycle.Seed{At: at, DNSKEY: []merge.Key{k}, CDNSKEY: []merge.Key{k}, CDS: []merge.DS{ds}, TTL: time.Hour, Until: at},
		Told:       "0123456789abcdef",
		Serial:     7,
	}
}

func testLife(k merge.Key, ds merge.DS, at time.Time) lifecycle.State {
	held := lifecycle.Held{TTL: time.Hour, Until: at}
	return lifecycle.State{
		Phase: lifecycle.Converged, ConvergedSince: at, ConvergedAt: at, DSSince: at, SyncFrom: at, SyncedAt: at,
		DSAt: at, DSStatus: observe.DSPresent, DS: []merge.DS{ds}, NSAt: at, ParentNS: hosts, AbsentFrom: at, HeldDS: held, HeldKeys: held,
		Hosts: []lifecycle.Host{{Name: "ns1.example.org.", Heard: at, Silent: at, KeyTTL: time.Hour, Child: held, Parent: held, Delegated: true,
			ParentRead: true, ListedBy: hosts, Differs: true, Missing: at, Until: at}},
		Keys: []lifecycle.Key{{Key: k, Everywhere: at, KnownFrom: at, DSSince: at, InDSFrom: at, DSGone: at, GoneFrom: at}},
	}
}

func testZones(count, n int) map[string]Zone {
	zones := make(map[string]Zone)
	for i := range count {
		name := fmt.Sprintf("z%d.example.org.", i)
		zones[Key(name, hosts)] = testZone(name, n)
	}
	return zones
}

func acquire(t *testing.T, path string) *Lease {
	t.Helper()
	l, err := Acquire(path)
	if err != nil {
		t.Fatalf("Expected a lease, got %v", err)
	}
	t.Cleanup(func() { l.Release() })
	return l
}

func put(t *testing.T, l *Lease, zones map[string]Zone) {
	t.Helper()
	if err := l.Put(zones); err != nil {
		t.Fatalf("Expected the zones to be written, got %v", err)
	}
}

// equal compares states as they are stored: times and signatures have more than
// one form in memory.
func equal(a, b map[string]Zone) bool {
	x, errX := encodeAll(a)
	y, errY := encodeAll(b)
	return errX == nil && errY == nil && reflect.DeepEqual(x, y)
}

// held returns what the file of l holds.
func held(l *Lease) (map[string]Zone, error) {
	zones, err := l.Zones()
	values := make(map[string]Zone)
	for key, z := range zones {
		values[key] = *z
	}
	return values, err
}

func expectZones(t *testing.T, l *Lease, want map[string]Zone) {
	t.Helper()
	got, err := held(l)
	if err != nil {
		t.Fatalf("Expected the zones, got %v", err)
	}
	if !equal(got, want) {
		t.Errorf("Expected %d zones as written, got %d that differ", len(want), len(got))
	}
}

// writes returns how often bbolt wrote to the file.
func writes(l *Lease) int64 {
	stats := l.h.file.db.Stats()
	return stats.TxStats.GetWrite()
}

func TestZonesComeBackAsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mske.db")
	l := acquire(t, path)
	put(t, l, testZones(20, 1))
	second := testZones(10, 2)
	put(t, l, second)
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}

	want := testZones(20, 1)
	for k, z := range second {
		want[k] = z
	}
	expectZones(t, acquire(t, path), want)
}

func TestNewFileIsPrivateAndAlone(t *testing.T) {
	dir := t.TempDir()
	acquire(t, filepath.Join(dir, "mske.db"))
	entries, _ := os.ReadDir(dir)
	if len(entries) != 1 {
		t.Errorf("Expected one file, got %v", entries)
	}
	info, _ := entries[0].Info()
	if info.Mode().Perm() != 0o600 {
		t.Errorf("Expected mode 0600, got %v", info.Mode())
	}
}

func TestNewestLeaseRevokesTheFormer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mske.db")
	old := acquire(t, path)
	put(t, old, testZones(1, 1))
	young := acquire(t, path)

	select {
	case <-old.Done():
	default:
		t.Error("Expected the former lease to be revoked")
	}
	if err := old.Put(testZones(1, 9)); !errors.Is(err, ErrRevoked) {
		t.Errorf("Expected %v, got %v", ErrRevoked, err)
	}
	put(t, young, testZones(1, 2))
	if err := old.Release(); err != nil {
		t.Fatal(err)
	}
	expectZones(t, young, testZones(1, 2))

	// A reload that failed: the old configuration takes the file back.
	again := acquire(t, path)
	if err := young.Put(testZones(1, 9)); !errors.Is(err, ErrRevoked) {
		t.Errorf("Expected %v, got %v", ErrRevoked, err)
	}
	young.Release()
	young.Release() // a second time does no harm
	put(t, again, testZones(1, 3))
	expectZones(t, again, testZones(1, 3))
}

func TestLastReleaseUnlocksTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mske.db")
	a, b := acquire(t, path), acquire(t, path)
	a.Release()
	b.Release()
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Nanosecond})
	if err != nil {
		t.Fatalf("Expected the file to be free, got %v", err)
	}
	db.Close()
}

func TestRevocationWaitsForTheWriteInProgress(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mske.db")
	old := acquire(t, path)
	old.h.mu.Lock() // as Put does while it writes
	acquired := make(chan *Lease)
	go func() {
		l, _ := Acquire(path)
		acquired <- l
	}()
	select {
	case <-acquired:
		t.Error("Expected Acquire to wait for the write")
	case <-time.After(20 * time.Millisecond):
	}
	old.h.mu.Unlock()
	(<-acquired).Release()
}

func TestSameFileByAnotherNameIsShared(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "mske.db")
	l := acquire(t, path)
	for _, other := range []struct {
		name string
		link func(string, string) error
	}{{"soft.db", os.Symlink}, {"hard.db", os.Link}} {
		name := filepath.Join(dir, other.name)
		if err := other.link(path, name); err != nil {
			t.Fatal(err)
		}
		if m := acquire(t, name); m.h != l.h {
			t.Errorf("%s: Expected the open file to be shared", other.name)
		}
	}
}

func TestEqualWritesAreSkipped(t *testing.T) {
	l := acquire(t, filepath.Join(t.TempDir(), "mske.db"))
	put(t, l, testZones(3, 1))
	before := writes(l)
	put(t, l, testZones(3, 1))
	if after := writes(l); after != before {
		t.Errorf("Expected no write, got %d", after-before)
	}
}

func TestFullDiskLeavesFileAndCallerConsistent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mske.db")
	l := acquire(t, path)
	put(t, l, testZones(5, 1))
	l.h.file.db.MaxSize = 256 << 10
	if err := l.Put(testZones(2000, 2)); err == nil {
		t.Fatal("Expected an error when the file cannot grow")
	}
	expectZones(t, l, testZones(5, 1))
	put(t, l, testZones(5, 3)) // a small write still fits
	expectZones(t, l, testZones(5, 3))

	l.h.file.db.MaxSize = 0
	put(t, l, testZones(2000, 2))
	l.Release()
	expectZones(t, acquire(t, path), testZones(2000, 2))
}

func TestWriteAfterAFailureIsNeverSkipped(t *testing.T) {
	l := acquire(t, filepath.Join(t.TempDir(), "mske.db"))
	put(t, l, testZones(1, 1))
	l.h.file.stale = true // as after a failed sync: visible, perhaps not on disk
	before := writes(l)
	put(t, l, testZones(1, 1))
	if writes(l) == before {
		t.Error("Expected the write to reach the disk")
	}
}

func TestRemovedFileIsNotWrittenTo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mske.db")
	l := acquire(t, path)
	os.Remove(path)
	if err := l.Put(testZones(1, 1)); err == nil {
		t.Error("Expected an error: what is written to a removed file is lost")
	}
}

// writeBolt makes a bbolt file with the given content.
func writeBolt(t *testing.T, path string, fill func(*bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(fill), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestUnusableFilesAreRefusedAndLeftAlone(t *testing.T) {
	key := Key("z0.example.org.", hosts)
	// change rewrites a good file through bbolt itself.
	change := func(fill func(meta, zones *bolt.Bucket) error) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			l := acquire(t, path)
			put(t, l, testZones(2, 1))
			l.Release()
			writeBolt(t, path, func(tx *bolt.Tx) error { return fill(tx.Bucket(metaBucket), tx.Bucket(zonesBucket)) })
		}
	}
	text := func(s string) func(*testing.T, string) {
		return func(t *testing.T, path string) { os.WriteFile(path, []byte(s), 0o600) }
	}
	tests := []struct {
		name string
		make func(*testing.T, string)
		want string
	}{
		{"empty", text(""), "damaged"},
		{"text", text("example.org. IN NS ns1.example.net.\n"), "damaged"},
		{"long text", text(strings.Repeat("mske\n", 10000)), "damaged"},
		{"text of one page", text(strings.Repeat("mske\n", 1000)), "damaged"},
		{"directory", func(t *testing.T, path string) { os.Mkdir(path, 0o700) }, "not a regular file"},
		{"dangling link", func(t *testing.T, path string) { os.Symlink(path+".gone", path) }, ""},
		{"another program's", func(t *testing.T, path string) {
			writeBolt(t, path, func(tx *bolt.Tx) error { _, err := tx.CreateBucket([]byte("dynupdate-v1")); return err })
		}, "another program"},
		{"other version", change(func(meta, _ *bolt.Bucket) error { return meta.Put(formatKey, []byte("mske state 2")) }), `"mske state 2"`},
		{"other record version", change(func(_, zones *bolt.Bucket) error { return zones.Put([]byte(key), []byte("\x02abcdef")) }), key},
		{"record cut short", change(func(_, zones *bolt.Bucket) error {
			r := zones.Get([]byte(key))
			return zones.Put([]byte(key), bytes.Clone(r[:len(r)-2]))
		}), key},
		{"record of another zone", change(func(_, zones *bolt.Bucket) error {
			return zones.Put([]byte(key), bytes.Clone(zones.Get([]byte(Key("z1.example.org.", hosts)))))
		}), key},
		{"record lost", change(func(_, zones *bolt.Bucket) error { return zones.Delete([]byte(key)) }), "missing"},
		{"cut in half", func(t *testing.T, path string) {
			l := acquire(t, path)
			put(t, l, testZones(200, 1))
			l.Release()
			info, _ := os.Stat(path)
			os.Truncate(path, info.Size()/2)
		}, "damaged"},
		{"key that lies outside of the file", leadAstray, "damaged"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "mske.db")
			tc.make(t, path)
			before, _ := os.ReadFile(path)
			for what, f := range map[string]func(string) error{
				"Check":   Check,
				"Acquire": func(p string) error { _, err := Acquire(p); return err },
			} {
				err := f(path)
				if tc.name == "dangling link" && what == "Check" && err == nil {
					t.Error("Check: Expected an error, got none")
				}
				if tc.name != "dangling link" && (err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path)) {
					t.Errorf("%s: Expected an error with %q and the path, got %v", what, tc.want, err)
				}
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
				t.Error("Expected the file to be left as it was")
			}
		})
	}
}

// leadAstray makes a file whose branch pages place their first key far behind
// its end.
func leadAstray(t *testing.T, path string) {
	t.Helper()
	l := acquire(t, path)
	put(t, l, testZones(500, 1))
	l.Release()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// A page begins with its number (8 octets), flags (2; 1: branch), count (2)
	// and overflow (4); an element of a branch page is offset (4), key size (4)
	// and page number (8).
	found := false
	for page := file; len(page) > 0; page = page[min(len(page), os.Getpagesize()):] {
		if binary.NativeEndian.Uint16(page[8:]) == 1 {
			binary.NativeEndian.PutUint32(page[16:], 0x7fff0000)
			found = true
		}
	}
	if !found {
		t.Fatal("Expected a branch page")
	}
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCheckCreatesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := Check(filepath.Join(dir, "mske.db")); err != nil {
		t.Errorf("Expected no error for a file yet to be made, got %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("Expected no file, got %v", entries)
	}
	if err := Check(filepath.Join(dir, "missing", "mske.db")); err == nil {
		t.Error("Expected an error when the directory does not exist")
	}
	l := acquire(t, filepath.Join(dir, "mske.db"))
	if err := Check(filepath.Join(dir, "mske.db")); err != nil {
		t.Errorf("Expected no error for the file in use, got %v", err)
	}
	select {
	case <-l.Done():
		t.Error("Expected Check to revoke nothing")
	default:
	}
}

func TestStateBeyondItsLimitsIsNotWritten(t *testing.T) {
	many := make([]merge.Key, MaxPeerKeys+1)
	for i := range many {
		many[i] = testKey(i)
	}
	tests := map[string]func(*Zone){
		"name":        func(z *Zone) { z.NS = []string{"NS1.example.org."} },
		"long key":    func(z *Zone) { z.Own[0].Key.PublicKey = strings.Repeat("A", maxPublicKey+4) },
		"no base64":   func(z *Zone) { z.Joint.DNSKEY[0].PublicKey = "%" },
		"digest":      func(z *Zone) { z.Joint.CDS[0].Digest = "XY" },
		"many keys":   func(z *Zone) { z.Peers[0].Announcement.DNSKEY = many },
		"many hosts":  func(z *Zone) { z.Peers = make([]merge.Peer, MaxHosts+1) },
		"host twice":  func(z *Zone) { z.Peers = append(z.Peers, z.Peers[0]) },
		"many names":  func(z *Zone) { z.Target = make([]string, MaxNames+1) },
		"other zone":  func(z *Zone) { z.Name = "example.net." },
		"other hosts": func(z *Zone) { z.Nameservers = []string{"ns2.example.net."} },
	}
	l := acquire(t, filepath.Join(t.TempDir(), "mske.db"))
	for name, spoil := range tests {
		z := testZone("example.org.", 1)
		spoil(&z)
		if err := l.Put(map[string]Zone{Key("example.org.", hosts): z}); err == nil {
			t.Errorf("%s: Expected an error", name)
		}
	}
	expectZones(t, l, map[string]Zone{})
}
