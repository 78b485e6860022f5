package keys

import "testing"

func TestFileNamesAreThoseOfBIND(t *testing.T) {
	for _, tc := range []struct {
		id   fileID
		want string
	}{
		{fileID{"example.co.uk.", 13, 7}, "Kexample.co.uk.+013+00007"},
		{fileID{".", 8, 20326}, "K.+008+20326"},
		{fileID{"0/25.2.0.192.in-addr.arpa.", 13, 2347}, "K0%2F25.2.0.192.in-addr.arpa.+013+02347"},
		{fileID{`ex_a+b\.c%.org.`, 13, 58352}, "Kex_a%2Bb%2Ec%25.org.+013+58352"},
		{fileID{`\000\255.org.`, 15, 65535}, "K%00%FF.org.+015+65535"},
	} {
		if got := tc.id.baseName(); got != tc.want {
			t.Errorf("Expected %q, got %q", tc.want, got)
		}
		if id, ok := parseBase(tc.want); !ok || id != tc.id {
			t.Errorf("Expected %+v back from %q, got %+v, %v", tc.id, tc.want, id, ok)
		}
	}
}

func TestFileNamesOfLDNSAreRead(t *testing.T) {
	for name, want := range map[string]fileID{
		"KExample.Co.Uk.+013+06195":        {"example.co.uk.", 13, 6195},
		`KEx_A+b\.c%.Org.+013+19185`:       {`ex_a+b\.c%.org.`, 13, 19185},
		"K0_25.2.0.192.example.+013+00001": {"0_25.2.0.192.example.", 13, 1},
	} {
		if id, ok := parseBase(name); !ok || id != want {
			t.Errorf("Expected %+v from %q, got %+v, %v", want, name, id, ok)
		}
	}
}

func TestOtherFileNamesAreNotRead(t *testing.T) {
	for _, name := range []string{
		"", "K", "key", "Kexample.org.", "Kexample.org.+013", "K+013+00001", "example.org.+013+00001", "Kexample.org.+13+00001",
		"Kexample.org.+013+1", "Kexample.org.+256+00001", "Kexample.org.+013+65536", "Kexample.org.+013+-0001", "Kexample..org.+013+00001",
	} {
		if id, ok := parseBase(name); ok {
			t.Errorf("Expected %q to be none, got %+v", name, id)
		}
	}
}
