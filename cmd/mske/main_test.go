package main

import (
	"bytes"
	"strings"
	"testing"
)

// call runs a command line and returns its exit status and output.
func call(args ...string) (status int, stdout, stderr string) {
	var out, err bytes.Buffer
	status = run(args, &out, &err)
	return status, out.String(), err.String()
}

func TestUsageErrorsSayWhatToWrite(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct{ args, say string }{
		{"", "Usage: mske COMMAND"},
		{"chek example.org", "write status, check, fetch, announce or keygen"},
		{"keygen", "write \"mske keygen ZONE\""},
		{"keygen example.org example.net", "write \"mske keygen ZONE\""},
		{"keygen example..org", "write it as in example.co.uk"},
		{"keygen -a NONE example.org", "ECDSAP256SHA256, say, or its number 13"},
		{"keygen -a 5 example.org", "use one of RSASHA256 (8)"},
		{"keygen -a RSASHA1 example.org", "use one of RSASHA256 (8)"},
		{"keygen -a 300 example.org", "not a DNSSEC algorithm"},
		{"keygen --zsk example.org", "not defined: -zsk"},
		{"keygen example.org -d", "needs an argument"},
		{"keygen bücher.example", "(international names are written as xn--...)"},
		{"announce --ns ns1.example.net bücher.example", "(international names are written as xn--...)"},
		{"announce --ns bücher.example example.org", "(international names are written as xn--...)"},
		{"announce example.org", "--ns HOST ZONE"},
		{"announce --ns ns1.example.net", "the zone last"},
		{"announce --ns ns1.example.net example..org", "write it as in example.co.uk"},
		{"announce --ns 192.0.2.1 example.org", "write the host name that has the address"},
		{"announce --ns ns1.example.net ns_2.example.net example.org", "letters, digits and hyphens"},
		{"announce --ns ns1.example.net --json example.org", "not defined: -json"},
	} {
		args := strings.Fields(tc.args)
		if len(args) > 1 {
			args = append(args[:1:1], append([]string{"-d", dir}, args[1:]...)...)
		}
		status, stdout, stderr := call(args...)
		if status != exitUsage || !strings.Contains(stderr, tc.say) || stdout != "" {
			t.Errorf("%q: expected status %d and %q, got %d, %q", tc.args, exitUsage, tc.say, status, stderr)
		}
	}
}

func TestHelpDescribesTheFlags(t *testing.T) {
	for args, say := range map[string]string{
		"--help": "fetch", "help": "keygen", "keygen -h": "-csk", "announce --help": "-ns HOST...", "fetch -h": "-resolver",
	} {
		status, stdout, stderr := call(strings.Fields(args)...)
		if status != exitOK || !strings.Contains(stdout+stderr, say) {
			t.Errorf("%q: expected status 0 and %q, got %d, %q", args, say, status, stdout+stderr)
		}
	}
}
