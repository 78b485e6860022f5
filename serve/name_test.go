package serve

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// inOrder is the example of RFC 4034 section 6.1.
var inOrder = []string{
	"example.", "a.example.", "yljkjljk.a.example.", "Z.a.example.", "zABC.a.EXAMPLE.", "z.example.",
	`\001.z.example.`, "*.z.example.", `\200.z.example.`,
}

func TestSortKeysAreInCanonicalOrder(t *testing.T) {
	names := slices.Concat(inOrder, []string{
		".", `\000.example.`, `\000\000.example.`, `\001.example.`, `\002.example.`, `a\000.example.`, `a\001.example.`, "ab.example.",
		`\255.example.`, "x.ab.example.", `a\.b.example.`,
	})
	for _, a := range names {
		for _, b := range names {
			x, err := sortKey(a)
			if err != nil {
				t.Fatal(err)
			}
			y, err := sortKey(b)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := bytes.Compare(x, y), compareNames(a, b); got != want {
				t.Errorf("Expected %q to %q %d, got %d", a, b, want, got)
			}
			if got, want := bytes.HasPrefix(x, y), below(a, b); got != want {
				t.Errorf("Expected %q below %q %v, got %v", a, b, want, got)
			}
		}
	}
}

func TestSortKeyDoesNotDependOnSpelling(t *testing.T) {
	a, _ := sortKey("Example.ORG.")
	b, err := sortKey(`\101x\097mple.org.`)
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("Expected equal keys, got %q and %q, %v", a, b, err)
	}
}

func TestSortKeyRefusesWhatIsNoName(t *testing.T) {
	for _, name := range []string{"", "example", "a..example.", ".example.", strings.Repeat("a", 64) + ".", strings.Repeat("a.", 128)} {
		if key, err := sortKey(name); err == nil {
			t.Errorf("Expected an error for %q, got key %q", name, key)
		}
	}
}

func TestParentKeyIsTheKeyOfTheParent(t *testing.T) {
	key, _ := sortKey(`a.b\000\001.example.`)
	want, _ := sortKey(`b\000\001.example.`)
	if got := parentKey(key); !bytes.Equal(got, want) {
		t.Errorf("Expected %q, got %q", want, got)
	}
	if got := parentKey([]byte("example\x00")); len(got) != 0 {
		t.Errorf("Expected the root's empty key, got %q", got)
	}
}

// long returns a name of the given length on the wire whose first label is
// first.
func long(t *testing.T, first string, octets int) string {
	t.Helper()
	name := first + "."
	for _, length := range []int{63, 63, 63} {
		name += strings.Repeat("x", length) + "."
	}
	for pad := 0; pad < 63; pad++ {
		full := name
		if pad > 0 {
			full += strings.Repeat("p", pad) + "."
		}
		if wire, err := packLower(full); err == nil && len(wire) == octets {
			return full
		}
	}
	t.Fatalf("Expected a name of %d octets", octets)
	return ""
}

func TestSuccessorFollowsImmediately(t *testing.T) {
	xs := strings.Repeat("x", 63) + "."
	ffs := strings.Repeat(`\255`, 63)
	for _, tc := range []struct{ what, name, want string }{
		{"room below", "A.example.", `\000.a.example.`},
		{"the root", ".", `\000.`},
		{"just room below", long(t, "a", 253), `\000.` + long(t, "a", 253)},
		{"room in the label", long(t, "ab", 254), `ab\000` + long(t, "ab", 254)[2:]},
		{"no room", long(t, "ab", 255), "ac" + long(t, "ab", 255)[2:]},
		{"no room, before upper case", long(t, "a@", 255), `a[` + long(t, "a@", 255)[2:]},
		{"no room, last octet full", long(t, `a\255\255`, 255), "b" + long(t, `a\255\255`, 255)[9:]},
		{"full label, one octet left", ffs + "." + long(t, "y", 254)[66:], ""},
		{"full label", ffs + "." + xs + xs + strings.Repeat("x", 61) + ".", strings.Repeat("x", 62) + "y." + xs + strings.Repeat("x", 61) + "."},
		{"full label below one with room", ffs + "." + strings.Repeat("x", 61) + "." + xs + xs, strings.Repeat("x", 61) + `\000.` + xs + xs},
	} {
		got, err := successor(tc.name)
		if err != nil {
			t.Errorf("%s: %v", tc.what, err)
			continue
		}
		if tc.want != "" && got != tc.want {
			t.Errorf("%s: expected %q, got %q", tc.what, tc.want, got)
		}
		if !fits(got) {
			t.Errorf("%s: %q is no domain name", tc.what, got)
		}
		if compareNames(tc.name, got) >= 0 {
			t.Errorf("%s: %q does not follow %q", tc.what, got, tc.name)
		}
	}
	if name, err := successor(strings.Repeat(`\255`, 61) + "." + strings.Repeat(ffs+".", 3)); err == nil {
		t.Errorf("Expected nothing after the last name, got %q", name)
	}
}

// What a question's name is packed to must be what miekg/dns packs it to, errors
// included.
func FuzzPackName(f *testing.F) {
	for _, name := range []string{
		"", ".", "..", "a", "a.", "a..", ".a.", "A.example.", `a\.b.`, `\001.`, "example.co.uk.", strings.Repeat("a", 63) + ".", strings.Repeat("a", 64) + ".",
		strings.Repeat("a.", 127), strings.Repeat("a.", 128), strings.Repeat("a.", 126) + "ab.", "\x00.\xff.",
	} {
		f.Add(name, uint16(0), uint16(300))
		f.Add(name, uint16(12), uint16(12+len(name)))
	}
	f.Fuzz(func(t *testing.T, name string, off, room uint16) {
		if int(off) > int(room) {
			return
		}
		want, got := make([]byte, room), make([]byte, room)
		end, err := dns.PackDomainName(name, want, int(off), nil, false)
		again, errAgain := packName(name, got, int(off))
		if (err == nil) != (errAgain == nil) || err == nil && (end != again || !bytes.Equal(want[:end], got[:end])) {
			t.Fatalf("%q: expected %x, %v, got %x, %v", name, want[:max(end, 0)], err, got[:max(again, 0)], errAgain)
		}
	})
}
