package keys

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// FuzzKeyFiles feeds the texts of both files. What is accepted has to sign
// what verifies, at the times that are written there.
func FuzzKeyFiles(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.key")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		public, _, errP := readFile(file)
		private, _, errQ := readFile(strings.TrimSuffix(file, publicExt) + privateExt)
		if errP != nil || errQ != nil {
			f.Fatal(errP, errQ)
		}
		f.Add(public, private)
		f.Add(public, private+"Delete: 20260101000000\nSyncPublish: 20260101000000.5\n")
	}
	f.Add("a. DNSKEY 257 3 8 AAAA", "")
	f.Add("a. DNSKEY 257 3 15 AAAA", "Private-key-format: v1.2\nAlgorithm: 15\n")
	f.Fuzz(func(t *testing.T, public, private string) {
		dnskey, err := parsePublic(public)
		if err != nil {
			return
		}
		signer, timing, err := parsePrivate(private, dnskey)
		if err != nil {
			return
		}
		lines, err := parseFields(private)
		if err != nil {
			t.Fatal(err)
		}
		for name, at := range map[string]time.Time{
			"created": timing.Created, "publish": timing.Publish, "activate": timing.Activate, "inactive": timing.Inactive,
			"delete": timing.Delete, "syncpublish": timing.SyncPublish, "syncdelete": timing.SyncDelete,
		} {
			if text, ok := lines[name]; ok && at.Format(timeFormat) != text || !ok && !at.IsZero() {
				t.Errorf("Expected %s to be %q, got %v", name, text, at)
			}
		}
		signs(t, &Key{DNSKEY: dnskey, Signer: signer})
	})
}

// FuzzFileName checks that what is read from a name is what BIND would write,
// and reads back.
func FuzzFileName(f *testing.F) {
	for _, s := range []string{"Kexample.co.uk.+013+00007", "K.+008+20326", `K\.%2e.+001+00000`, "K%00.+255+65535", "K%zz+++000+00000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		id, ok := parseBase(name)
		if !ok {
			return
		}
		if again, ok := parseBase(id.baseName()); !ok || again != id {
			t.Fatalf("Expected %+v back from %q, got %+v, %v", id, id.baseName(), again, ok)
		}
	})
}

// FuzzSign signs at any owner name; what is signed has to verify as it comes
// back from the wire.
func FuzzSign(f *testing.F) {
	k, _, err := Generate(".", dns.ED25519, 256, nil)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"a.", "*.a.", `\*.a.`, "*a.", `\042a.`, ".", `\\.`, "A.B."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, owner string) {
		rr := &dns.TXT{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 300}, Txt: []string{"x"}}
		sigs, err := Sign([]dns.RR{rr}, []*Key{k}, time.Unix(0, 0), time.Unix(1000, 0))
		if err != nil {
			return
		}
		wire := make([]byte, 1024)
		n, err := dns.PackRR(sigs[0], wire, 0, nil, false)
		if err != nil {
			t.Fatalf("Expected %q to pack after it was signed, got %v", owner, err)
		}
		sig, _, err := dns.UnpackRR(wire[:n], 0)
		if err != nil {
			t.Fatal(err)
		}
		rr.Hdr.Name = sig.Header().Name
		if err := sig.(*dns.RRSIG).Verify(k.DNSKEY, []dns.RR{rr}); err != nil {
			t.Fatalf("Expected the signature at %q to verify, got %v", owner, err)
		}
	})
}
