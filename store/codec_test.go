package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/coredns-mske/mske/lifecycle"
)

// seal returns text as a record of a version with a right checksum.
func seal(version byte, text []byte) []byte {
	record := binary.BigEndian.AppendUint32([]byte{version}, crc32.Checksum(text, castagnoli))
	return append(record, text...)
}

func TestRecordsWithAnythingUnknownAreRefused(t *testing.T) {
	for _, text := range []string{`{"Name":"example.org.","Unknown":1}`, `{} {}`, `[]`, ``, `{"Signatures":["AAAA"]}`} {
		if _, err := parse(seal(jsonVersion, []byte(text))); err == nil {
			t.Errorf("Expected an error for %s", text)
		}
	}
	record, err := encode(Key("example.org.", hosts), testZone("example.org.", 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parse(seal(recordVersion, append(record[recordHeader:], 0))); err == nil {
		t.Error("Expected an error for a record that something follows")
	}
}

const testSignature = "example.org. 3600 IN RRSIG DNSKEY 13 2 3600 20300101000000 20200101000000 1 example.org. AAAA"

// FuzzDecode holds that no record makes the decoder panic, and that what it
// accepts is written back the same.
func FuzzDecode(f *testing.F) {
	key := Key("example.org.", hosts)
	record, err := encode(key, testZone("example.org.", 1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(byte(recordVersion), record[recordHeader:])
	f.Add(byte(jsonVersion), []byte(`{"Name":"example.org.","Nameservers":["ns1.example.net."]}`))
	f.Fuzz(func(t *testing.T, version byte, text []byte) {
		decode(key, text) // as it comes
		z, err := decode(key, seal(version, text))
		if err != nil {
			return
		}
		once, err := encode(key, z)
		if err != nil {
			t.Fatalf("Expected what was read to be written, got %v", err)
		}
		z, err = decode(key, once)
		if err != nil {
			t.Fatalf("Expected what was written to be read, got %v", err)
		}
		if twice, _ := encode(key, z); !bytes.Equal(once, twice) {
			t.Error("Expected the same record")
		}
	})
}

// A replayed announcement is told by them (rule F8), after a restart too.
func TestInceptionsAreKept(t *testing.T) {
	z := testZone("example.org.", 1)
	record, err := encode(Key("example.org.", hosts), z)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decode(Key("example.org.", hosts), record)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := got.Peers[0].Announcement.Inception, z.Peers[0].Announcement.Inception; got != want {
		t.Errorf("Expected %v, got %v", want, got)
	}
}

// What the former version wrote says nothing of a zone's life, and is read.
func TestRecordsWithoutALifeAreRead(t *testing.T) {
	text := []byte(`{"Name":"example.org.","Nameservers":["ns1.example.org."],"Saved":"2024-05-01T12:00:00Z","Cold":"0001-01-01T00:00:00Z",` +
		`"Target":["ns1.example.org."],"NS":["ns1.example.org."],"NSTTL":3600000000000,"Imported":null,"HasCNS":true,"HasCSYNC":false,` +
		`"Own":[{"Key":{"Flags":257,"Protocol":3,"Algorithm":13,"PublicKey":"AAAA"},"SecureEntry":true,"SignsData":false,"Chain":false,` +
		`"Signed":false,"Published":"2024-05-01T12:00:00Z","Gone":"0001-01-01T00:00:00Z"}],"Signers":null,"Peers":null,` +
		`"Joint":{"DNSKEY":null,"CDNSKEY":null,"CDS":null,"Unmatched":null},"Signatures":[],"Serial":0}`)
	z, err := decode(Key("example.org.", []string{"ns1.example.org."}), seal(jsonVersion, text))
	if err != nil || len(z.Own) != 1 || z.Life.Phase != "" {
		t.Errorf("Expected the record of a former version to be read, got %v, %v", z, err)
	}
}

func TestALifeIsKept(t *testing.T) {
	z := testZone("example.org.", 1)
	record, err := encode(Key("example.org.", hosts), z)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decode(Key("example.org.", hosts), record)
	if err != nil || !reflect.DeepEqual(got.Life, z.Life) || !reflect.DeepEqual(got.Seed, z.Seed) {
		t.Errorf("Expected %+v, got %+v, %v", z.Life, got.Life, err)
	}
}

func TestALifeIsBounded(t *testing.T) {
	for name, edit := range map[string]func(*lifecycle.State){
		"hosts": func(s *lifecycle.State) { s.Hosts = make([]lifecycle.Host, lifecycle.MaxHosts+1) },
		"keys":  func(s *lifecycle.State) { s.Keys = make([]lifecycle.Key, MaxOwnKeys+1) },
		"DS":    func(s *lifecycle.State) { s.DS = slices.Repeat(s.DS, MaxDS+1) },
		"phase": func(s *lifecycle.State) { s.Phase = lifecycle.Phase(strings.Repeat("x", maxPhase+1)) },
		"NS":    func(s *lifecycle.State) { s.ParentNS = slices.Repeat(s.ParentNS, MaxNames+1) },
		"names": func(s *lifecycle.State) { s.Hosts[0].Name = "NS1.example.org" },
	} {
		z := testZone("example.org.", 1)
		edit(&z.Life)
		if _, err := encode(Key("example.org.", hosts), z); err == nil {
			t.Errorf("Expected too many %s to be refused", name)
		}
	}
}

// testdata/version<n>.record was written by the last mske of that version.
func TestRecordsOfVersionsBeforeAreRead(t *testing.T) {
	three := testZone("example.org.", 3)
	three.Life.DSFrom, three.Life.Entered = three.Saved, three.Saved
	for version, want := range map[byte]Zone{2: testZone("example.org.", 2), 3: three} {
		record, err := os.ReadFile(fmt.Sprintf("testdata/version%d.record", version))
		if err != nil {
			t.Fatal(err)
		}
		z, err := decode(Key("example.org.", hosts), record)
		if err != nil || record[0] != version || z.Digest() != want.Digest() {
			t.Errorf("Version %d: expected\n%+v\ngot\n%+v: %v", version, want, z, err)
		}
	}
}
