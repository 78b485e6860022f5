package notify

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/validate"
)

func TestWalkOfNames(t *testing.T) {
	for _, tc := range []struct {
		name  string
		child string
		soas  []string // of the negative answers
		want  []string // the names asked for
	}{
		{"second level", "child.example.", []string{"example.", "example."},
			[]string{"child._dsync.example.", "_dsync.example."}},
		// The example of RFC 9859 section 4.1.
		{"delegated from further up", "subsub.sub.child.example.", []string{"example.", "example.", "example."},
			[]string{"subsub._dsync.sub.child.example.", "subsub.sub.child._dsync.example.", "_dsync.example."}},
		{"from the middle", "subsub.sub.child.example.", []string{"child.example.", "child.example.", "child.example."},
			[]string{"subsub._dsync.sub.child.example.", "subsub.sub._dsync.child.example.", "_dsync.child.example."}},
		{"top level", "example.", []string{".", "."}, []string{"example._dsync.", "_dsync."}},
		{"from the root", "child.example.", []string{".", ".", "."}, []string{"child._dsync.example.", "child.example._dsync.", "_dsync."}},
		{"_dsync is a zone", "child.example.", []string{"_dsync.example.", "_dsync.example."}, []string{"child._dsync.example.", "_dsync.example."}},
		{"no SOA", "a.b.example.", []string{"", ""}, []string{"a._dsync.b.example.", "_dsync.b.example."}},
		{"SOA of somebody else", "a.b.example.", []string{"example.net.", "le."}, []string{"a._dsync.b.example.", "_dsync.b.example."}},
		{"SOA of the child", "a.b.example.", []string{"a.b.example.", "a.b.example."}, []string{"a._dsync.b.example.", "_dsync.b.example."}},
		{"two opinions", "a.b.example.", []string{"b.example.", "example.", "b.example."},
			[]string{"a._dsync.b.example.", "_dsync.b.example.", "a.b._dsync.example.", "_dsync.example."}},
		{"escaped dot", `a\.b.c.example.`, []string{"example.", "b.c.example."}, []string{`a\.b._dsync.c.example.`, `a\.b.c._dsync.example.`, "_dsync.example."}},
	} {
		w, err := newWalk(tc.child)
		if err != nil {
			t.Fatal(err)
		}
		got := []string{w.name()}
		for _, soa := range append(tc.soas, "") {
			if !w.denied(soa) {
				break
			}
			got = append(got, w.name())
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: expected %q, got %q", tc.name, tc.want, got)
		}
	}
	if _, err := newWalk("."); err == nil {
		t.Error("Expected the root to have no parent")
	}
}

// FuzzWalk answers a search with any SOAs: it ends, and asks for names below
// _dsync only.
func FuzzWalk(f *testing.F) {
	f.Add("a.b.example.", "example.", ".")
	f.Add(`a\.b.`, "b.", "")
	f.Fuzz(func(t *testing.T, child, first, second string) {
		child, first, second = dns.CanonicalName(child), dns.CanonicalName(first), dns.CanonicalName(second)
		if _, ok := dns.IsDomainName(child); !ok {
			return
		}
		w, err := newWalk(child)
		if err != nil {
			return
		}
		for i := 0; ; i++ {
			if name := w.name(); !strings.Contains(name, dsyncLabel) || strings.Replace(name, dsyncLabel, "", 1) != child && !strings.HasSuffix(child, strings.TrimPrefix(name, dsyncLabel)) && name != "_dsync." {
				t.Fatalf("%q is asked for %q", name, child)
			}
			if i > 3*dns.CountLabel(child)+3 {
				t.Fatal("the walk does not end")
			}
			if !w.denied([]string{first, second}[i%2]) {
				return
			}
		}
	})
}

var (
	now     = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	scanner = DSYNC{RRtype: dns.TypeCDS, Scheme: SchemeNotify, Port: 5359, Target: "scanner.example."}
)

// network is a Network in which names are those of a lab.
type network struct {
	validator *validate.Validator
	lab       *lab.Lab
	addrs     map[string][]netip.AddrPort
}

func (n *network) Session() *validate.Session { return n.validator.Session(n.lab) }

func (n *network) Addresses(_ context.Context, host string) ([]netip.AddrPort, error) {
	if len(n.addrs[host]) == 0 {
		return nil, errors.New("no address")
	}
	return n.addrs[host], nil
}

// at returns a line of a zone file.
func at(t testing.TB, owner string, d DSYNC) string {
	t.Helper()
	rr, err := d.RR(owner, 60)
	if err != nil {
		t.Fatal(err)
	}
	return rr.String() + "\n"
}

// parents returns a network with a zone for each way to publish endpoints.
func parents(t testing.TB) *network {
	t.Helper()
	csync := DSYNC{RRtype: dns.TypeCSYNC, Scheme: SchemeNotify, Port: 5360, Target: "csync.example."}
	l := lab.New(t, now)
	l.Add(lab.Zone{Name: "."})
	l.Add(lab.Zone{Name: "wild.", Records: at(t, "*._dsync.wild.", scanner) + at(t, "*._dsync.wild.", csync)})
	l.Add(lab.Zone{Name: "each.", Denial: lab.NSEC3, Records: at(t, "child._dsync.each.", scanner)})
	l.Add(lab.Zone{Name: "flat.", Denial: lab.NSEC3, OptOut: true, Records: at(t, "_dsync.flat.", scanner)})
	l.Add(lab.Zone{Name: "alias.", Records: "*._dsync CNAME child._dsync.each.\n"})
	l.Add(lab.Zone{Name: "moved.", Records: "_dsync DNAME _dsync.each.\n"})
	l.Add(lab.Zone{Name: "loop.", Records: "*._dsync CNAME a._dsync.loop.\n"})
	l.Add(lab.Zone{Name: "cut.", Records: "other A 192.0.2.1\n"})
	l.Add(lab.Zone{Name: "_dsync.cut.", Records: at(t, "*._dsync.cut.", scanner)})
	l.Add(lab.Zone{Name: "unsigned.", Unsigned: true, Records: at(t, "*._dsync.unsigned.", scanner) + "*.alias._dsync CNAME a._dsync.unsigned.\n"})
	l.Add(lab.Zone{Name: "none."})
	file := filepath.Join(t.TempDir(), "anchor.ds")
	if err := os.WriteFile(file, []byte(l.Anchors()), 0o600); err != nil {
		t.Fatal(err)
	}
	anchors, err := validate.ReadAnchors(file)
	if err != nil {
		t.Fatal(err)
	}
	return &network{lab: l, validator: validate.New(anchors, validate.Options{Now: func() time.Time { return now }}), addrs: make(map[string][]netip.AddrPort)}
}

func TestDiscoveryOfEndpoints(t *testing.T) {
	n := parents(t)
	n.lab.Tamper("child._dsync.none.", TypeDSYNC, lab.StripSignatures)
	s := New(n, time.Now)
	for _, tc := range []struct {
		zone    string
		records int
		secure  bool
		asked   []string
		failing bool
	}{
		{"child.wild.", 2, true, []string{"child._dsync.wild."}, false},
		{"ChiLd.wild", 2, true, []string{"child._dsync.wild."}, false},
		{"deep.child.wild.", 2, true, []string{"deep._dsync.child.wild.", "deep.child._dsync.wild."}, false},
		{"child.each.", 1, true, []string{"child._dsync.each."}, false},
		{"other.each.", 0, false, []string{"other._dsync.each.", "_dsync.each."}, false},
		{"child.flat.", 1, true, []string{"child._dsync.flat.", "_dsync.flat."}, false},
		{"a.b.c.flat.", 1, true, []string{"a._dsync.b.c.flat.", "a.b.c._dsync.flat.", "_dsync.flat."}, false},
		{"child.alias.", 1, true, []string{"child._dsync.alias.", "child._dsync.each."}, false},
		{"child.moved.", 1, true, []string{"child._dsync.moved.", "child._dsync.each."}, false},
		{"child.cut.", 1, true, []string{"child._dsync.cut."}, false},
		{"child.unsigned.", 1, false, []string{"child._dsync.unsigned."}, false},
		{"wild.", 0, false, []string{"wild._dsync.", "_dsync."}, false},
		{"child.loop.", 0, false, nil, true},
		{"child.none.", 0, false, nil, true}, // an answer that is bogus ends it
		{".", 0, false, nil, true},
	} {
		n.lab.Asked()
		records, secure, err := s.discover(t.Context(), tc.zone)
		if len(records) != tc.records || secure != tc.secure || (err != nil) != tc.failing {
			t.Errorf("%s: expected %d records, secure %v, failing %v, got %v, %v, %v", tc.zone, tc.records, tc.secure, tc.failing, records, secure, err)
		}
		var asked []string
		for _, q := range n.lab.Asked() {
			if q.Qtype == TypeDSYNC {
				asked = append(asked, q.Name)
			}
		}
		if tc.asked != nil && !slices.Equal(asked, tc.asked) {
			t.Errorf("%s: expected the questions %q, got %q", tc.zone, tc.asked, asked)
		}
	}
}

func TestEndpointsAreThoseOfTheTypeAndScheme(t *testing.T) {
	use := func(edit func(*DSYNC)) DSYNC {
		d := scanner
		edit(&d)
		return d
	}
	second := use(func(d *DSYNC) { d.Target = "second.example." })
	records := []DSYNC{
		use(func(d *DSYNC) { d.Scheme = 0 }), use(func(d *DSYNC) { d.Scheme = 2 }), use(func(d *DSYNC) { d.RRtype = dns.TypeCSYNC }),
		use(func(d *DSYNC) { d.RRtype = dns.TypeANY }), use(func(d *DSYNC) { d.Port = 0 }), use(func(d *DSYNC) { d.Target = "." }),
		scanner, second,
	}
	if got := endpointsFor(records, dns.TypeCDS); !slices.Equal(got, []DSYNC{scanner, second}) {
		t.Errorf("Expected the two of scheme NOTIFY for CDS, got %+v", got)
	}
	if got := endpointsFor(slices.Repeat([]DSYNC{scanner}, 50), dns.TypeCDS); len(got) != maxEndpoints {
		t.Errorf("Expected no more than %d, got %d", maxEndpoints, len(got))
	}
}
