package keys

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"testing"
)

// copyKey copies a key of testdata to dir and returns its base there.
func copyKey(t *testing.T, dir, key string) (base string) {
	t.Helper()
	base = filepath.Join(dir, filepath.Base(key))
	for _, ext := range []string{publicExt, privateExt} {
		writeText(t, base+ext, readText(t, filepath.Join("testdata", key)+ext))
	}
	return base
}

func readText(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func writeText(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func dnsBase64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// generate returns a key of zone that is in no file.
func generate(t *testing.T, zone string, algorithm uint8, flags uint16) *Key {
	t.Helper()
	k, _, err := Generate(zone, algorithm, flags, nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
