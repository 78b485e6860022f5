package notify

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// record returns the record with that rdata, in hex, as it comes in a message.
func record(t testing.TB, rdata string) dns.RR {
	t.Helper()
	return &dns.RFC3597{Hdr: dns.RR_Header{Name: "example.", Rrtype: TypeDSYNC, Class: dns.ClassINET, Ttl: 60, Rdlength: uint16(len(rdata) / 2)}, Rdata: rdata}
}

func TestDSYNCOnTheWire(t *testing.T) {
	long := strings.Repeat("3f"+strings.Repeat("61", 63), 3)
	for _, tc := range []struct {
		name  string
		rdata string
		want  DSYNC // the zero one: malformed
	}{
		// RFC 9859 section 2.3: CDS NOTIFY 5359 cds-scanner.example.net.
		{"CDS", "003b" + "01" + "14ef" + "0b6364732d7363616e6e6572076578616d706c65036e657400",
			DSYNC{RRtype: dns.TypeCDS, Scheme: SchemeNotify, Port: 5359, Target: "cds-scanner.example.net."}},
		{"CSYNC", "003e" + "01" + "14f0" + "0d6373796e632d7363616e6e6572076578616d706c65036e657400",
			DSYNC{RRtype: dns.TypeCSYNC, Scheme: SchemeNotify, Port: 5360, Target: "csync-scanner.example.net."}},
		{"upper case", "003b" + "01" + "0035" + "014103" + "4e457400", DSYNC{dns.TypeCDS, 1, 53, "a.net."}},
		{"nothing to be used", "0000" + "00" + "0000" + "00", DSYNC{Target: "."}},
		{"longest name", "003b" + "01" + "0035" + long + "3d" + strings.Repeat("61", 61) + "00",
			DSYNC{dns.TypeCDS, 1, 53, strings.Repeat(strings.Repeat("a", 63)+".", 3) + strings.Repeat("a", 61) + "."}},
		{"longer name", "003b" + "01" + "0035" + long + "3e" + strings.Repeat("61", 62) + "00", DSYNC{}},
		{"empty", "", DSYNC{}},
		{"no target", "003b" + "01" + "0035", DSYNC{}},
		{"target without an end", "003b" + "01" + "0035" + "0161", DSYNC{}},
		{"label cut off", "003b" + "01" + "0035" + "056100", DSYNC{}},
		{"something after the target", "003b" + "01" + "0035" + "01610000", DSYNC{}},
		{"compressed target", "003b" + "01" + "0035" + "c000", DSYNC{}},
		{"compressed end of the target", "003b" + "01" + "0035" + "0161c000", DSYNC{}},
		{"no hex", "003b" + "01" + "0035" + "zz", DSYNC{}},
		{"much", strings.Repeat("00", 65535), DSYNC{}},
	} {
		got, err := ParseDSYNC(record(t, tc.rdata))
		if got != tc.want || (err == nil) == (tc.want == DSYNC{}) {
			t.Errorf("%s: expected %+v, got %+v, %v", tc.name, tc.want, got, err)
			continue
		}
		if err != nil || tc.name == "upper case" {
			continue
		}
		if rr, err := got.RR("example.", 60); err != nil || rr.String() != record(t, tc.rdata).String() {
			t.Errorf("%s: expected %s back, got %v, %v", tc.name, tc.rdata, rr, err)
		}
	}
	for _, rr := range []dns.RR{
		&dns.A{Hdr: dns.RR_Header{Rrtype: dns.TypeA}},
		&dns.RFC3597{Hdr: dns.RR_Header{Rrtype: 65}, Rdata: "003b01003500"},
	} {
		if got, err := ParseDSYNC(rr); err == nil {
			t.Errorf("Expected a record of another type to be none, got %+v", got)
		}
	}
	if rr, err := (DSYNC{Target: strings.Repeat("a", 64) + "."}).RR("example.", 60); err == nil {
		t.Errorf("Expected an error for what is no name, got %v", rr)
	}
}

// FuzzDSYNC reads any rdata. What can be read is written as it was, but for
// the case of the name.
func FuzzDSYNC(f *testing.F) {
	for _, seed := range []string{"003b0114ef0b6364732d7363616e6e6572076578616d706c65036e657400", "003b0100350161c000", "000000000000", "003b010035022e5c00"} {
		b, err := hex.DecodeString(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, rdata []byte) {
		d, err := ParseDSYNC(record(t, hex.EncodeToString(rdata)))
		if err != nil {
			return
		}
		rr, err := d.RR("example.", 60)
		if err != nil {
			t.Fatalf("%+v was read and cannot be written: %v", d, err)
		}
		if got := rr.(*dns.RFC3597).Rdata; unhex(t, got) != string(lower(rdata)) {
			t.Errorf("Expected %x, got %s", rdata, got)
		}
		if again, err := ParseDSYNC(rr); err != nil || again != d {
			t.Errorf("Expected %+v, got %+v, %v", d, again, err)
		}
	})
}

func unhex(t *testing.T, s string) string {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(lower(b))
}

// lower returns rdata with the letters of the target in lower case, octet by
// octet.
func lower(rdata []byte) []byte {
	out := append([]byte(nil), rdata...)
	for i := fixedDSYNC; i < len(out); i++ {
		if 'A' <= out[i] && out[i] <= 'Z' {
			out[i] += 'a' - 'A'
		}
	}
	return out
}
