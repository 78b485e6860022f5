package validate_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/validate"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return now }

const exampleNet = `
@           MX    10 mail
ns1         A     192.0.2.1
alias       CNAME ns1
moved       DNAME example.org.
*.wild      TXT   "wild"
sub.closer.wild TXT "a closer encloser"
*.wildalias CNAME ns1
a.b.deep    TXT   "below empty non-terminals"
!.ent       TXT   "sorts before a wildcard"
two.a       TXT   "two"
zz          TXT   "last"
`

// hierarchy returns a lab with a zone for every kind of denial and of
// delegation. Names ending in example.net. are where most tests look.
func hierarchy(t testing.TB) *lab.Lab {
	l := lab.New(t, now)
	l.Add(lab.Zone{Name: "."})
	l.Add(lab.Zone{Name: "net.", Denial: lab.NSEC3, OptOut: true, Salt: "ABCD"})
	l.Add(lab.Zone{Name: "org.", Denial: lab.NSEC3})
	l.Add(lab.Zone{Name: "uk."})
	l.Add(lab.Zone{Name: "example.net.", Records: exampleNet})
	l.Add(lab.Zone{Name: "example.org.", Denial: lab.NSEC3, Salt: "0123456789", Records: exampleNet})
	l.Add(lab.Zone{Name: "compact.net.", Denial: lab.Compact, CSK: true, Records: exampleNet})
	l.Add(lab.Zone{Name: "lies.net.", Denial: lab.BlackLies, Records: exampleNet})
	l.Add(lab.Zone{Name: "optout.net.", Denial: lab.NSEC3, OptOut: true, Records: exampleNet})
	l.Add(lab.Zone{Name: "unsigned.net.", Unsigned: true, Records: exampleNet})
	l.Add(lab.Zone{Name: "nods.uk.", NoDS: true, Records: exampleNet})
	l.Add(lab.Zone{Name: "signed.nods.uk.", Records: exampleNet})
	l.Add(lab.Zone{Name: "_signal.ns1.example.net.", Records: "_multi.example.co.uk TXT announcement\n"})
	l.Add(lab.Zone{Name: "unsigned.example.net.", Unsigned: true, Records: exampleNet})
	l.Add(lab.Zone{Name: "unsigned.example.org.", Unsigned: true, Records: exampleNet})
	return l
}

// validator returns a Validator that trusts the zones' secure-entry keys.
func validator(t testing.TB, l *lab.Lab, zones ...string) *validate.Validator {
	t.Helper()
	return validate.New(anchors(t, l, zones...), validate.Options{Now: clock})
}

// anchors returns the trust anchors of the zones, by default of the root.
func anchors(t testing.TB, l *lab.Lab, zones ...string) *validate.Anchors {
	t.Helper()
	if len(zones) == 0 {
		zones = []string{"."}
	}
	var files []string
	for _, z := range zones {
		files = append(files, write(t, l.AnchorsOf(z)))
	}
	a, err := validate.ReadAnchors(files...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// write returns a file with that text.
func write(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "anchor")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// ask returns the answer of the lab's resolver.
func ask(t testing.TB, l *lab.Lab, name string, qtype uint16) *dns.Msg {
	t.Helper()
	m, err := l.Exchange(t.Context(), name, qtype, true)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// keep returns the records of a section for which keep is true.
func keep(rrs []dns.RR, keep func(dns.RR) bool) []dns.RR {
	var out []dns.RR
	for _, rr := range rrs {
		if keep(rr) {
			out = append(out, rr)
		}
	}
	return out
}
