package keys

import (
	"bytes"
	"crypto"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// signs checks that what k signs verifies with its public half.
func signs(t *testing.T, k *Key) {
	t.Helper()
	txt := &dns.TXT{Hdr: dns.RR_Header{Name: k.Zone(), Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 300}, Txt: []string{"x"}}
	sigs, err := Sign([]dns.RR{txt}, []*Key{k}, time.Unix(1000, 0), time.Unix(2000, 0))
	if err != nil {
		t.Fatalf("%s: %v", k, err)
	}
	if err := sigs[0].Verify(k.DNSKEY, []dns.RR{txt}); err != nil {
		t.Errorf("%s: %v", k, err)
	}
}

func TestReadTakesTheFilesOfAllTools(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.key")
	if err != nil || len(files) < 14 {
		t.Fatalf("Expected at least 14 keys in testdata, got %d, %v", len(files), err)
	}
	algorithms := make(map[uint8]int)
	for _, file := range files {
		for _, name := range []string{file, strings.TrimSuffix(file, ".key"), strings.TrimSuffix(file, "key") + "private"} {
			k, _, err := Read(name)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if k.Base != strings.TrimSuffix(file, ".key") || k.Role != RoleUnknown || k.Zone() != strings.ToLower(k.Zone()) {
				t.Errorf("%s: expected base, no role and a zone in lower case, got %+v", name, k)
			}
			signs(t, k)
			algorithms[k.DNSKEY.Algorithm]++
		}
	}
	if len(algorithms) != len(supported) {
		t.Errorf("Expected keys of all %d algorithms, got %v", len(supported), algorithms)
	}
}

// tool returns the path of a program that makes or uses keys. Without it the
// test is skipped, or fails where MSKE_REQUIRE_PEERS is set, as in .ci/run.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
		return path
	case os.Getenv("MSKE_REQUIRE_PEERS") != "":
		t.Fatalf("%s is missing: install bind9-utils and ldnsutils", name)
	}
	t.Skipf("%s is not installed", name)
	return ""
}

func TestReadTakesWhatTheInstalledToolsWrite(t *testing.T) {
	for _, tc := range []struct {
		tool string
		args []string
	}{
		{"dnssec-keygen", []string{"-q", "-a", "ECDSAP384SHA384", "-f", "KSK", "Example.Co.UK"}},
		{"dnssec-keygen", []string{"-q", "-C", "-a", "ED25519", "-L", "600", "0/25.2.0.192.in-addr.arpa"}},
		{"ldns-keygen", []string{"-a", "ED25519", "example.co.uk"}},
		{"ldns-keygen", []string{"-k", "-b", "1024", "-a", "RSASHA256", "example.co.uk"}},
	} {
		t.Run(tc.tool+" "+strings.Join(tc.args, " "), func(t *testing.T) {
			cmd := exec.Command(tool(t, tc.tool), tc.args...)
			cmd.Dir = t.TempDir()
			base, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			k, warnings, err := Read(filepath.Join(cmd.Dir, strings.TrimSpace(string(base))))
			if err != nil || len(warnings) > 0 {
				t.Fatalf("Expected neither error nor warning, got %v, %v", err, warnings)
			}
			signs(t, k)
		})
	}
}

func TestReadTakesTimingFromThePrivateFile(t *testing.T) {
	k, _, err := Read("testdata/bind/Kexample.co.uk.+013+51387")
	if err != nil {
		t.Fatal(err)
	}
	day := func(month time.Month, day int) time.Time { return time.Date(2026, month, day, 0, 0, 0, 0, time.UTC) }
	want := Timing{
		Created: time.Date(2026, 11, 23, 15, 57, 5, 0, time.UTC),
		Publish: day(1, 1), Activate: day(1, 2), SyncPublish: day(1, 3), SyncDelete: day(2, 1), Inactive: day(3, 1), Delete: day(4, 1),
	}
	if k.Timing != want {
		t.Errorf("Expected %v, got %v", want, k.Timing)
	}
}

func TestReadWithoutPrivateFileIsPublicOnly(t *testing.T) {
	base := copyKey(t, t.TempDir(), "bind/Kexample.co.uk.+013+49373")
	if err := os.Remove(base + privateExt); err != nil {
		t.Fatal(err)
	}
	k, warnings, err := Read(base)
	if err != nil || len(warnings) > 0 || k.Signer != nil || k.Tag() != 49373 {
		t.Errorf("Expected the public half of key 49373, got %v, %v, %v", k, warnings, err)
	}
}

func TestReadWarnsOfAPrivateFileThatEveryoneCanRead(t *testing.T) {
	base := copyKey(t, t.TempDir(), "ldns/Kexample.co.uk.+013+53493")
	for mode, want := range map[os.FileMode]int{0o600: 0, 0o640: 0, 0o644: 1, 0o604: 1} {
		if err := os.Chmod(base+privateExt, mode); err != nil {
			t.Fatal(err)
		}
		_, warnings, err := Read(base)
		if err != nil || len(warnings) != want {
			t.Errorf("Mode %o: expected %d warnings, got %v, %v", mode, want, warnings, err)
		}
		for _, w := range warnings {
			if !strings.Contains(w, base+privateExt) || !strings.Contains(w, "chmod 600") {
				t.Errorf("Expected the file and what to do in %q", w)
			}
		}
	}
}

const (
	bind13 = "bind/Kexample.co.uk.+013+49373"
	bind8  = "bind/Kexample.co.uk.+008+51313"
	bind15 = "bind/Kexample.co.uk.+015+21980"
	ldns13 = "ldns/Kexample.co.uk.+013+53493"
	ldns8  = "ldns/Kexample.co.uk.+008+29890"
	ldns15 = "ldns/Kexample.co.uk.+015+33229"
)

func TestReadErrorsNameTheFileAndSayWhatToDo(t *testing.T) {
	edit := func(ext, old, new string) func(*testing.T, string) {
		return func(t *testing.T, base string) {
			text := readText(t, base+ext)
			if !strings.Contains(text, old) {
				t.Fatalf("%q is not in %q", old, text)
			}
			writeText(t, base+ext, strings.Replace(text, old, new, 1))
		}
	}
	private := func(of string) func(*testing.T, string) {
		return func(t *testing.T, base string) {
			writeText(t, base+privateExt, readText(t, filepath.Join("testdata", of)+privateExt))
		}
	}
	text := func(ext, text string) func(*testing.T, string) {
		return func(t *testing.T, base string) { writeText(t, base+ext, text) }
	}
	for _, tc := range []struct {
		name, key string
		do        func(t *testing.T, base string)
		ext, say  string
	}{
		{"no key file", bind13, func(t *testing.T, base string) { os.Remove(base + publicExt) }, publicExt, "no such file"},
		{"empty .key", bind13, text(publicExt, ""), publicExt, "no DNSKEY record"},
		{"comment alone", bind13, text(publicExt, "; hello\n"), publicExt, "no DNSKEY record"},
		{"other record", bind13, text(publicExt, "example.co.uk. IN A 192.0.2.1\n"), publicExt, "a A record in it instead of a DNSKEY"},
		{"two records", bind13, edit(publicExt, "\nexample", "\nexample.co.uk. IN A 192.0.2.1\nexample"), publicExt, "instead of a DNSKEY"},
		{"something after", bind13, edit(publicExt, "==\n", "==\nexample.co.uk. IN A 192.0.2.1\n"), publicExt, "file of its own"},
		{"include", bind13, text(publicExt, "$INCLUDE /etc/passwd\n"), publicExt, "directive not allowed"},
		{"huge file", bind13, text(publicExt, strings.Repeat(";\n", 40000)), publicExt, "larger than"},
		{"revoked", bind13, edit(publicExt, " 256 3 ", " 384 3 "), publicExt, "revoked (RFC 5011)"},
		{"no zone key", bind13, edit(publicExt, " 256 3 ", " 0 3 "), publicExt, "256 or 257"},
		{"protocol", bind13, edit(publicExt, " 256 3 ", " 256 2 "), publicExt, "protocol 2"},
		{"algorithm", bind13, edit(publicExt, " 256 3 13", " 256 3 5"), publicExt, "algorithm RSASHA1 is not supported: use one of RSASHA256 (8)"},
		{"unknown algorithm", bind13, edit(publicExt, " 256 3 13", " 256 3 99"), publicExt, "algorithm 99 is not supported"},
		{"curve", bind13, edit(publicExt, " 256 3 13", " 256 3 14"), publicExt, "not a point on the curve P-384"},
		{"public cut off", bind13, cut(publicExt, 4), publicExt, "cut off"},
		{"public cut off far", bind13, cut(publicExt, 60), publicExt, "cut off"},
		{"another zone", bind13, edit(publicExt, "\nexample.co.uk.", "\nexample.org."), publicExt, "key of another zone, \"example.org.\": rename it to Kexample.org.+013+"},
		{"another tag", bind13, edit(publicExt, " 256 3 ", " 257 3 "), publicExt, "rename it to Kexample.co.uk.+013+49374"},
		{"private of another key, ECDSA", bind13, private(ldns13), privateExt, "does not belong to the public half"},
		{"private of another key, RSA", bind8, private(ldns8), privateExt, "does not belong to the public half"},
		{"private of another key, Ed25519", bind15, private(ldns15), privateExt, "does not belong to the public half"},
		{"private of another algorithm", bind13, private(bind15), privateExt, "does not belong to the public half"},
		{"RSA with another exponent", bind8, edit(privateExt, "PrivateExponent: ", "PrivateExponent: AQAB"), privateExt, "does not belong to the public half"},
		{"RSA with another prime", bind8, edit(privateExt, "Prime1: ", "Prime1: AQAB"), privateExt, "does not belong to the public half"},
		{"RSA with one prime", bind8, edit(privateExt, "\nPrime2:", "\nPrimeX:"), privateExt, "Prime2 is missing"},
		{"empty .private", bind13, text(privateExt, ""), privateExt, "cut off"},
		{"no private key", bind13, edit(privateExt, "PrivateKey", "PublicKey"), privateExt, "PrivateKey is missing"},
		{"no format", bind13, edit(privateExt, "v1.3", "v2.0"), privateExt, "expected v1.2 or v1.3"},
		{"HSM", bind13, edit(privateExt, "PrivateKey:", "Label:"), privateExt, "HSM"},
		{"not base64", bind13, edit(privateExt, "PrivateKey: ", "PrivateKey: !"), privateExt, "illegal base64"},
		{"time", bind13, edit(privateExt, "Publish: 2026", "Publish: 26"), privateExt, "YYYYMMDDHHMMSS"},
		{"two keys in one file", bind13, edit(privateExt, "Algorithm", "Algorithm: 13\nAlgorithm"), privateExt, "two algorithm lines"},
		{"private cut off in a time", bind13, cut(privateExt, 5), privateExt, "cut off"},
		{"private cut off in the key", bind13, cut(privateExt, 100), privateExt, "cut off"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			base := copyKey(t, t.TempDir(), tc.key)
			tc.do(t, base)
			k, _, err := Read(base)
			if err == nil {
				t.Fatalf("Expected an error with %q, got %v", tc.say, k)
			}
			if !strings.Contains(err.Error(), tc.say) || !strings.Contains(err.Error(), base+tc.ext) {
				t.Errorf("Expected file %s and %q, got %q", base+tc.ext, tc.say, err)
			}
		})
	}
}

// cut returns a function that cuts octets off the end of a file.
func cut(ext string, octets int) func(*testing.T, string) {
	return func(t *testing.T, base string) {
		text := readText(t, base+ext)
		writeText(t, base+ext, text[:len(text)-octets])
	}
}

// Wherever a private file is cut off, Read notices or the key is whole.
func TestReadOfAPrivateFileCutOffAnywhereNeverSignsWrong(t *testing.T) {
	for _, key := range []string{bind13, bind8, bind15, ldns13} {
		base := copyKey(t, t.TempDir(), key)
		whole := readText(t, base+privateExt)
		for n := range whole {
			if len(whole) > 500 && n%17 != 0 {
				continue
			}
			writeText(t, base+privateExt, whole[:n])
			if k, _, err := Read(base); err == nil {
				signs(t, k)
			}
		}
	}
}

func TestReadRefusesWhatIsNoRegularFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "Kexample.co.uk.+013+00001.key"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Read(filepath.Join(dir, "Kexample.co.uk.+013+00001")); err == nil || !strings.Contains(err.Error(), "regular file") {
		t.Errorf("Expected an error, got %v", err)
	}
}

// A private key whose number starts with a zero octet is shorter in files of
// BIND and ldns.
func TestReadTakesAShortECDSANumber(t *testing.T) {
	for {
		k, private, err := Generate("example.co.uk.", dns.ECDSAP256SHA256, 256, nil)
		if err != nil {
			t.Fatal(err)
		}
		f, err := parseFields(private)
		if err != nil {
			t.Fatal(err)
		}
		d, err := f.octets("PrivateKey")
		if err != nil {
			t.Fatal(err)
		}
		if d[0] != 0 {
			continue
		}
		f["privatekey"] = dnsBase64(bytes.TrimLeft(d, "\x00"))
		signer, err := f.privateHalf(k.Signer.Public())
		if err != nil || !signer.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(k.Signer.Public()) {
			t.Errorf("Expected the key, got %v", err)
		}
		return
	}
}

// A key is made ready to sign when it signs, and no longer kept than that.
func TestPrivateHalvesAreKeptAsOctets(t *testing.T) {
	for _, algorithm := range []uint8{dns.ECDSAP256SHA256, dns.ECDSAP384SHA384} {
		k, private, err := Generate("example.co.uk.", algorithm, dns.ZONE, nil)
		if err != nil {
			t.Fatal(err)
		}
		if k.Signer, _, err = parsePrivate(private, k.DNSKEY); err != nil {
			t.Fatal(err)
		}
		half, ok := k.Signer.(*ecdsaHalf)
		if !ok {
			t.Fatalf("Expected the private half as octets, got a %T", k.Signer)
		}
		for range 2 {
			signs(t, k)
			runtime.GC()
			if half.ready.Value() != nil {
				t.Errorf("%s: expected it to be octets again", k)
			}
		}
	}
}
