package serve

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/merge"
)

// What digests of an earlier version say is still understood: with others, each
// signature of a fleet would be verified at the first start after an upgrade.
func TestDigestsStayTheSame(t *testing.T) {
	var s signer
	if err := s.packer.pack([]dns.RR{merge.Key{Flags: 257, Protocol: 3, Algorithm: 13, PublicKey: "QUJD"}.DNSKEY("example.co.uk.", 3600)}); err != nil {
		t.Fatal(err)
	}
	sig, err := ParseSignature("example.co.uk.", 3600, []byte("\x00\x30\x0d\x03\x00\x00\x0e\x10\x00\x00\x00\x02\x00\x00\x00\x01\x12\x34\x02uk\x00sig"), Digest{})
	if err != nil {
		t.Fatal(err)
	}
	got := s.digest(merge.Key{Flags: 257, Protocol: 3, Algorithm: 13, PublicKey: "QUJD"}, sig)
	if want := "546751313e12d333d8dc9be62ac854f5"; hex.EncodeToString(got[:]) != want {
		t.Errorf("Expected %s, got %x", want, got)
	}
}

func TestParseSignatureRefuses(t *testing.T) {
	fixed := strings.Repeat("\x00", rrsigFixed)
	long := strings.Repeat("\x3f"+strings.Repeat("a", 63), 3)
	for what, rdata := range map[string]string{
		"nothing":                     "",
		"no signer":                   fixed,
		"no signature":                fixed + "\x02uk\x00",
		"half a name":                 fixed + "\x02u",
		"a name without an end":       fixed + "\x02uk",
		"a compressed name":           fixed + "\xc0\x0c" + "sig",
		"a label of an odd kind":      fixed + "\x40" + strings.Repeat("a", 64) + "\x00sig",
		"a name of 256 octets":        fixed + long + "\x3e" + strings.Repeat("a", 62) + "\x00sig",
		"more than a record can hold": fixed + "\x00" + strings.Repeat("s", dns.MaxMsgSize),
	} {
		if sig, err := ParseSignature("example.", 0, []byte(rdata), Digest{}); !errors.Is(err, errSignature) {
			t.Errorf("%s: expected an error, got %v, %v", what, sig, err)
		}
	}
	if _, err := ParseSignature("example.", 0, []byte(fixed+long+"\x3d"+strings.Repeat("a", 61)+"\x00s"), Digest{}); err != nil {
		t.Errorf("Expected a name of 255 octets to pass, got %v", err)
	}
}
