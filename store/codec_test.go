package store

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/miekg/dns"
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

// TestMarshalLeavesSignaturesAlone holds what go test -race would find: queries
// are answered from the signatures that are being stored.
func TestMarshalLeavesSignaturesAlone(t *testing.T) {
	rr, err := dns.NewRR("example.org. 3600 IN RRSIG DNSKEY 13 2 3600 20300101000000 20200101000000 1 example.org. AAAA")
	if err != nil {
		t.Fatal(err)
	}
	sig := rr.(*dns.RRSIG)
	sig.Hdr.Rdlength = 0
	if _, err := (Signatures{sig}).MarshalJSON(); err != nil || sig.Hdr.Rdlength != 0 {
		t.Errorf("Expected the record not to be written to, got Rdlength %d, %v", sig.Hdr.Rdlength, err)
	}
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
