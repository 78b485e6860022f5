package store

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"
)

// seal returns text as a record with a right checksum.
func seal(text []byte) []byte {
	record := binary.BigEndian.AppendUint32([]byte{recordVersion}, crc32.Checksum(text, castagnoli))
	return append(record, text...)
}

func TestRecordsWithAnythingUnknownAreRefused(t *testing.T) {
	for _, text := range []string{`{"Name":"example.org.","Unknown":1}`, `{} {}`, `[]`, ``, `{"Signatures":["AAAA"]}`} {
		if _, err := parse(seal([]byte(text))); err == nil {
			t.Errorf("Expected an error for %s", text)
		}
	}
}

// FuzzDecode holds that no record makes the decoder panic, and that what it
// accepts is written back the same.
func FuzzDecode(f *testing.F) {
	key := Key("example.org.", hosts)
	record, err := encode(key, testZone("example.org.", 1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(record[recordHeader:])
	f.Add([]byte(`{"Name":"example.org.","Nameservers":["ns1.example.net."]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		decode(key, text) // as it comes
		z, err := decode(key, seal(text))
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
