package cns

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func init() { Register() }

func parseOne(t *testing.T, text string) dns.RR {
	t.Helper()
	zp := dns.NewZoneParser(strings.NewReader(text), "example.co.uk.", "db.example.co.uk")
	rr, ok := zp.Next()
	if !ok {
		t.Fatalf("Expected a record in %q, got error %v", text, zp.Err())
	}
	return rr
}

func TestZoneFileTextRoundTrips(t *testing.T) {
	const want = "example.co.uk.\t3600\tIN\tCNS\tns1.provider-a.net."
	for _, text := range []string{
		"example.co.uk. 3600 IN CNS ns1.provider-a.net.",
		"example.co.uk. 3600 IN CNS ns1.provider-a.net. ; a comment\n",
		"@ 3600 CNS (\n ns1.provider-a.net. )\n",
		"example.co.uk. 3600 IN TYPE65302 \\# 20 036e73310a70726f76696465722d61036e657400",
		"example.co.uk. 3600 IN CNS \\# 20 036e73310a70726f76696465722d61036e657400",
	} {
		rr := parseOne(t, text)
		if rr.String() != want {
			t.Errorf("Expected %q, got %q", want, rr.String())
		}
		if host, err := Host(rr); err != nil || host != "ns1.provider-a.net." {
			t.Errorf("Expected host ns1.provider-a.net. in %q, got %q, %v", text, host, err)
		}
	}
}

func TestTextErrorsSayWhatToWrite(t *testing.T) {
	for _, tc := range []struct{ rdata, say string }{
		{"", "write the host name of one nameserver"},
		{`""`, "write the host name of one nameserver"},
		{"ns1", "with a dot at its end"},
		{"ns1.provider-a.net", "with a dot at its end"},
		{"ns1.provider-a.net. ns2.provider-a.net.", "one record for each"},
		{"ns1_a.provider-a.net.", "letters, digits and hyphens"},
		{"*.provider-a.net.", "letters, digits and hyphens"},
		{`n\.s.provider-a.net.`, "letters, digits and hyphens"},
		{"ns-.provider-a.net.", "hyphen"},
		{"ns1..provider-a.net.", "two dots"},
		{"192.0.2.1.", "write the host name that has the address"},
		{".", "write a host name"},
		{strings.Repeat("a", 64) + ".net.", "at most 63"},
		{strings.Repeat("a.", 127) + "a.", "at most 255"},
	} {
		var said error
		Explain = func(err error) { said = err }
		defer func() { Explain = nil }()
		zp := dns.NewZoneParser(strings.NewReader("example.co.uk. 3600 IN CNS "+tc.rdata+"\n"), "", "db.example.co.uk")
		if rr, ok := zp.Next(); ok || zp.Err() == nil {
			t.Errorf("Expected an error for %q, got %v", tc.rdata, rr)
			continue
		}
		if said == nil || !strings.Contains(said.Error(), tc.say) {
			t.Errorf("Expected an explanation of %q with %q, got %v", tc.rdata, tc.say, said)
		}
		if !strings.Contains(zp.Err().Error(), "db.example.co.uk: ") || !strings.Contains(zp.Err().Error(), "at line: ") {
			t.Errorf("Expected file and line for %q, got %v", tc.rdata, zp.Err())
		}
	}
}

func TestWireRoundTripsUncompressed(t *testing.T) {
	rr := parseOne(t, "provider-a.net. 3600 IN CNS ns1.provider-a.net.")
	m := new(dns.Msg)
	m.SetQuestion("provider-a.net.", DefaultType)
	m.Answer = []dns.RR{rr, rr}
	m.Compress = true
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	name, _ := hex.DecodeString("036e73310a70726f76696465722d61036e657400")
	if bytes.Count(wire, name) != 2 {
		t.Errorf("Expected the name twice and uncompressed in %x", wire)
	}
	got := new(dns.Msg)
	if err := got.Unpack(wire); err != nil {
		t.Fatal(err)
	}
	for _, a := range got.Answer {
		if a.String() != rr.String() {
			t.Errorf("Expected %q, got %q", rr, a)
		}
	}
	if m.Len() < len(wire) {
		t.Errorf("Expected Len of at least %d, got %d", len(wire), m.Len())
	}
}

func TestWireIsBounded(t *testing.T) {
	long := strings.Repeat("0161", 128) + "00" // 257 octets
	for _, tc := range []struct {
		name, rdata string
		ok          bool
	}{
		{"a name", "036e733100", true},
		{"the root", "00", true}, // as in NS; Host refuses it
		{"not a host name", "035f615f00", true},
		{"nothing after a length", "03", false},
		{"cut off", "036e73", false},
		{"no end", "036e7331", false},
		{"a pointer", "c00c", false},
		{"a name and a pointer", "036e7331c00c", false},
		{"junk after the name", "036e73310000", false},
		{"over 255 octets", long, false},
	} {
		wire, err := hex.DecodeString(tc.rdata)
		if err != nil {
			t.Fatal(err)
		}
		msg := append([]byte{0, 0xff, 0x16, 0, 1, 0, 0, 0, 0, byte(len(wire) >> 8), byte(len(wire))}, wire...)
		_, _, err = dns.UnpackRR(msg, 0)
		if (err == nil) != tc.ok {
			t.Errorf("%s: expected ok %v, got %v", tc.name, tc.ok, err)
		}
	}
}

func TestHostReadsOtherTypeNumbersAndRefusesOtherRecords(t *testing.T) {
	for _, tc := range []struct {
		rr   dns.RR
		want string
	}{
		{&dns.RFC3597{Hdr: dns.RR_Header{Rrtype: 65400}, Rdata: "034e53310474657374074558414d504c4500"}, "ns1.test.example."},
		{&dns.RFC3597{Hdr: dns.RR_Header{Rrtype: 65400}, Rdata: "036e733100ff"}, ""},
		{&dns.RFC3597{Hdr: dns.RR_Header{Rrtype: 65400}, Rdata: "zz"}, ""},
		{&dns.RFC3597{Hdr: dns.RR_Header{Rrtype: 65400}, Rdata: ""}, ""},
		{&dns.RFC3597{Hdr: dns.RR_Header{Rrtype: 65400}, Rdata: "00"}, ""},
		{&dns.RFC3597{Hdr: dns.RR_Header{Rrtype: 65400}, Rdata: strings.Repeat("0161", 1<<15) + "00"}, ""},
		{&dns.RFC3597{Hdr: dns.RR_Header{Rrtype: 65400}, Rdata: "035f615f00"}, ""},
		{&dns.PrivateRR{Hdr: dns.RR_Header{Rrtype: DefaultType}, Data: new(CNS)}, ""},
		{&dns.PrivateRR{Hdr: dns.RR_Header{Rrtype: DefaultType}}, ""},
		{&dns.NS{Ns: "ns1.example.net."}, ""},
		{nil, ""},
	} {
		host, err := Host(tc.rr)
		if host != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("Expected %q from %v, got %q, %v", tc.want, tc.rr, host, err)
		}
	}
}

func TestCopyIsDeep(t *testing.T) {
	rr := parseOne(t, "example.co.uk. 3600 IN CNS ns1.provider-a.net.")
	cp := dns.Copy(rr)
	cp.(*dns.PrivateRR).Data.(*CNS).Host = "ns9.provider-b.org."
	if host, _ := Host(rr); host != "ns1.provider-a.net." {
		t.Errorf("Expected the original to stay, got %q", host)
	}
	if err := new(CNS).Copy(nil); err == nil {
		t.Error("Expected an error for a copy to another type")
	}
}

func TestRegisterTwiceChangesNothing(t *testing.T) {
	Register()
	if dns.StringToType["CNS"] != DefaultType || dns.TypeToString[DefaultType] != "CNS" {
		t.Errorf("Expected CNS to be type %d, got %d", DefaultType, dns.StringToType["CNS"])
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"ns1.example.net.", "", "a b", "\\", `\000.`, "..", "-."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := new(CNS)
		if c.Parse(strings.Fields(s)) != nil {
			return
		}
		buf := make([]byte, maxName)
		n, err := c.Pack(buf)
		if err != nil || n != c.Len() {
			t.Fatalf("Expected %q to pack to %d octets, got %d, %v", s, c.Len(), n, err)
		}
		d := new(CNS)
		if _, err := d.Unpack(buf[:n]); err != nil || *d != *c {
			t.Fatalf("Expected %q back, got %q, %v", c, d, err)
		}
	})
}

func FuzzWire(f *testing.F) {
	for _, s := range []string{"036e733100", "00", "c000", "0161", "3f", "0000"} {
		b, _ := hex.DecodeString(s)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := new(CNS)
		n, err := c.Unpack(b)
		if err != nil {
			return
		}
		buf := make([]byte, maxName)
		m, err := c.Pack(buf)
		if err != nil || !bytes.Equal(buf[:m], b[:n]) {
			t.Fatalf("Expected %x back, got %x, %v", b[:n], buf[:m], err)
		}
	})
}
