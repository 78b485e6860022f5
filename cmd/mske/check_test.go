package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/observe"
	"github.com/coredns-mske/mske/validate"
)

const (
	checkZone = "example.co.uk."
	checkA    = "ns1.provider-a.net."
	checkB    = "ns1.provider-b.org."
)

var (
	checkNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

	checkKSKA, checkZSKA = checkKey(257, "A"), checkKey(256, "A")
	checkKSKB, checkZSKB = checkKey(257, "B"), checkKey(256, "B")
)

func checkKey(flags uint16, seed string) merge.Key {
	return merge.KeyOf(lab.NewKey(checkZone, dns.ECDSAP256SHA256, flags, seed).DNSKEY)
}

func checkDS(ks ...merge.Key) (ds []merge.DS) {
	for _, k := range ks {
		d, _ := k.DS(checkZone, dns.SHA256)
		ds = append(ds, d)
	}
	return ds
}

// outside is what there is to be seen, to be changed by a test.
type outside struct {
	parent    observe.Parent
	servers   map[string]observe.Apex // by host; at one address, over both transports
	announced map[string]fetch.Result
	edit      func(*observe.Sight)
}

// completeZone returns what a zone of providers A and B looks like when nothing
// is left to do.
func completeZone() *outside {
	hosts := []string{checkA, checkB}
	apex := func(ksk, zsk, other merge.Key) observe.Apex {
		both := []merge.Key{checkKSKA, checkKSKB}
		return observe.Apex{
			SOA:     observe.Set[uint32]{Records: []uint32{7}, TTL: time.Hour, Signers: []merge.Key{zsk}},
			DNSKEY:  observe.Set[merge.Key]{Records: []merge.Key{zsk, other, ksk}, TTL: 2 * time.Hour, Signers: []merge.Key{ksk}},
			CDNSKEY: observe.Set[merge.Key]{Records: both, TTL: time.Hour},
			CDS:     observe.Set[merge.DS]{Records: checkDS(both...), TTL: time.Hour},
			NS:      observe.Set[string]{Records: hosts, TTL: 24 * time.Hour},
			CNS:     observe.Set[string]{Records: hosts, TTL: time.Hour},
		}
	}
	announced := func(host string, ksk, zsk merge.Key) fetch.Result {
		return fetch.Result{Zone: checkZone, Host: host, Verdict: fetch.Secure, Announcement: merge.Announcement{
			DNSKEY: []merge.Key{zsk}, CDNSKEY: []merge.Key{ksk}, CDS: checkDS(ksk),
		}}
	}
	return &outside{
		parent: observe.Parent{
			Name: "co.uk.", DSStatus: observe.DSPresent, DS: checkDS(checkKSKA, checkKSKB), DSTTL: time.Hour,
			NS: hosts, NSTTL: 48 * time.Hour, NSRead: true,
		},
		servers:   map[string]observe.Apex{checkA: apex(checkKSKA, checkZSKA, checkZSKB), checkB: apex(checkKSKB, checkZSKB, checkZSKA)},
		announced: map[string]fetch.Result{checkA: announced(checkA, checkKSKA, checkZSKA), checkB: announced(checkB, checkKSKB, checkZSKB)},
	}
}

// change edits the apex of a host.
func (o *outside) change(host string, edit func(*observe.Apex)) *outside {
	apex := o.servers[host]
	edit(&apex)
	o.servers[host] = apex
	return o
}

// joining makes B a provider that CNS names and NS does not.
func (o *outside) joining() *outside {
	for host := range o.servers {
		o.change(host, func(a *observe.Apex) { a.NS.Records = []string{checkA} })
	}
	o.parent.NS, o.parent.DS = []string{checkA}, checkDS(checkKSKA)
	return o
}

// alone makes A the only provider, which announces nothing.
func (o *outside) alone() *outside {
	delete(o.servers, checkB)
	o.change(checkA, func(a *observe.Apex) {
		a.NS.Records, a.CNS = []string{checkA}, observe.Set[string]{}
		a.DNSKEY.Records = []merge.Key{checkZSKA, checkKSKA}
		a.CDS, a.CDNSKEY = observe.Set[merge.DS]{}, observe.Set[merge.Key]{}
	})
	o.parent.NS, o.parent.DS = []string{checkA}, checkDS(checkKSKA)
	o.announced[checkA] = fetch.Result{Verdict: fetch.Absent, Reason: "nothing is announced"}
	return o
}

func (o *outside) announce(host string, v fetch.Verdict, reason string) *outside {
	o.announced[host] = fetch.Result{Verdict: v, Reason: reason}
	return o
}

func (o *outside) assess() assessment {
	s := observe.Sight{Zone: checkZone, At: checkNow, Parent: o.parent}
	var announced []fetch.Result
	for i, host := range []string{checkA, checkB} {
		if apex, ok := o.servers[host]; ok {
			s.Servers = append(s.Servers, observe.Server{Host: host, Addresses: []observe.Address{
				{Addr: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), UDP: apex, TCP: apex},
			}})
			announced = append(announced, o.announced[host])
		}
	}
	if o.edit != nil {
		o.edit(&s)
	}
	return assess(s, announced)
}

var errSilent = errors.New("does not answer in time")

func TestPhaseAsSeenFromOutside(t *testing.T) {
	dead := observe.Apex{Err: errSilent}
	drop := func(k merge.Key) func(*observe.Apex) {
		return func(a *observe.Apex) {
			a.DNSKEY.Records = slices.DeleteFunc(slices.Clone(a.DNSKEY.Records), func(other merge.Key) bool { return other == k })
		}
	}
	unsigned := func(a *observe.Apex) {
		*a = observe.Apex{SOA: observe.Set[uint32]{Records: []uint32{7}}, NS: a.NS}
	}
	tests := []struct {
		name   string
		zone   *outside
		edit   func(*outside)
		phase  phase
		status int
		say    string // among what is missing, noted or next
	}{
		{"complete", completeZone(), nil, phaseComplete, 0, "Nothing"},
		{"one provider", completeZone().alone(), nil, phaseSingle, 1, "announce its keys first"},
		{"one provider says what it needs", completeZone().alone(), nil, phaseSingle, 1, "serve CDS and CDNSKEY"},
		{"B announces nothing and serves other keys", completeZone().joining().announce(checkB, fetch.Absent, "nothing there"), func(o *outside) {
			o.change(checkB, drop(checkZSKA))
		}, phaseCollecting, 1, checkB + ": its announcement is absent: nothing there"},
		{"B does not answer yet", completeZone().joining(), func(o *outside) { o.servers[checkB] = dead }, phaseJoint, 1, checkB + ": does not answer in time"},
		{"A lacks B's key", completeZone().joining(), func(o *outside) { o.change(checkA, drop(checkZSKB)) }, phaseJoint, 1, "which signs the data of " + checkB},
		{"CDS lacks B's key", completeZone().joining(), func(o *outside) {
			for host := range o.servers {
				o.change(host, func(a *observe.Apex) { a.CDS.Records, a.CDNSKEY.Records = checkDS(checkKSKA), []merge.Key{checkKSKA} })
			}
		}, phaseJoint, 1, checkB + ": CDS lacks key"},
		{"DS lacks B's key", completeZone().joining(), nil, phaseConverged, 0, "co.uk.: DS lacks key"},
		{"DS is not read", completeZone(), func(o *outside) { o.parent.DSStatus, o.parent.DSErr = observe.DSUnread, errSilent }, phaseConverged, 0, "DS could not be read: does not answer"},
		{"a key announced ahead of its use", completeZone(), func(o *outside) {
			o.announced[checkB].Announcement.DNSKEY[0] = checkKey(256, "next")
		}, phaseComplete, 0, "DNSKEY lacks key"},
		{"B is not in NS", completeZone().joining(), func(o *outside) { o.parent.DS = checkDS(checkKSKA, checkKSKB) }, phaseDS, 0, "add " + checkB + " to NS"},
		{"the waits are told", completeZone().joining(), func(o *outside) { o.parent.DS = checkDS(checkKSKA, checkKSKB) }, phaseDS, 0, "older DS until 2026-03-01 13:00:00 UTC (TTL 1h) and an older DNSKEY until 2026-03-01 14:00:00 UTC (TTL 2h)"},
		{"the delegation is not read", completeZone(), func(o *outside) {
			o.parent.NSRead, o.parent.Servers = false, []observe.ParentServer{{Host: "ns.co.uk.", Err: errSilent}}
		}, phaseDS, 0, "the delegation could not be read: ns.co.uk. does not answer in time"},
		{"B leaves", completeZone(), func(o *outside) {
			for host := range o.servers {
				o.change(host, func(a *observe.Apex) { a.CNS.Records = []string{checkA} })
			}
		}, phaseDS, 0, checkB + " itself still lists it in NS"},
		{"B left the zone's NS", completeZone(), func(o *outside) {
			for host := range o.servers {
				o.change(host, func(a *observe.Apex) { a.CNS.Records, a.NS.Records = []string{checkA}, []string{checkA} })
			}
		}, phaseDS, 0, "it is not in CNS, but in the parent's NS"},
		{"no DS", completeZone(), func(o *outside) { o.parent.DSStatus, o.parent.DS = observe.DSDenied, nil }, phaseInsecure, 0, "Give the parent the DS records"},
		{"no DS, not converged", completeZone(), func(o *outside) {
			o.parent.DSStatus, o.parent.DS = observe.DSDenied, nil
			o.change(checkA, drop(checkZSKB))
		}, phaseInsecure, 1, "once the zone is converged"},
		{"below an unsigned zone", completeZone(), func(o *outside) { o.parent.DSStatus, o.parent.DS = observe.DSInsecure, nil }, phaseInsecure, 0, "No chain of trust leads to the zone"},
		{"unsigned", completeZone().alone(), func(o *outside) {
			o.parent.DSStatus, o.parent.DS = observe.DSDenied, nil
			o.change(checkA, unsigned)
		}, phaseInsecure, 1, "the zone is not signed"},
		{"unsigned below DS", completeZone().alone(), func(o *outside) { o.change(checkA, unsigned) }, phaseJoint, 1, "Sign the zone with a key that DS names"},
		{"B in NS before DS", completeZone(), func(o *outside) { o.parent.DS = checkDS(checkKSKA) }, phaseJoint, 1, "Resolvers that ask " + checkB + " fail now"},
		{"B leaves and is dead", completeZone(), func(o *outside) {
			o.servers[checkB] = dead
			o.change(checkA, func(a *observe.Apex) { a.CNS.Records = []string{checkA} })
		}, phaseDS, 0, checkB + " does not answer any more"},
		{"B's signatures are no good", completeZone(), func(o *outside) {
			o.change(checkB, func(a *observe.Apex) { a.SOA.Signers = nil })
		}, phaseJoint, 1, "See that " + checkB + " signs with the keys"},
		{"B's DNSKEY is lost", completeZone(), func(o *outside) {
			o.change(checkB, func(a *observe.Apex) { a.DNSKEY = observe.Set[merge.Key]{Err: errSilent} })
		}, phaseJoint, 1, "See that " + checkB + " answers for the zone"},
		{"plain secondary of A", completeZone().alone(), func(o *outside) {
			o.servers[checkB] = o.servers[checkA]
			o.announce(checkB, fetch.Absent, "")
		}, phaseSingle, 1, "To add a provider"},
		{"several providers by other means", completeZone(), func(o *outside) {
			for host := range o.servers {
				o.announce(host, fetch.Absent, "")
				o.change(host, func(a *observe.Apex) { a.CNS = observe.Set[string]{} })
			}
		}, phaseComplete, 0, "its announcement is absent"},
		{"the same without CDS", completeZone(), func(o *outside) {
			for host := range o.servers {
				o.announce(host, fetch.Absent, "")
				o.change(host, func(a *observe.Apex) { *a = observe.Apex{SOA: a.SOA, DNSKEY: a.DNSKEY, NS: a.NS} })
			}
		}, phaseComplete, 0, ""},
		{"the same without DS", completeZone(), func(o *outside) {
			o.parent.DSStatus, o.parent.DS = observe.DSDenied, nil
			for host := range o.servers {
				o.announce(host, fetch.Absent, "")
				o.change(host, func(a *observe.Apex) { *a = observe.Apex{SOA: a.SOA, DNSKEY: a.DNSKEY, NS: a.NS} })
			}
		}, phaseInsecure, 0, "none: the zone has no CDS"},
		{"B announces nothing but serves what it should", completeZone().announce(checkB, fetch.Absent, ""), func(o *outside) {
			o.edit = func(s *observe.Sight) { s.Servers[0].Addresses[0].TCP = dead }
		}, phaseJoint, 1, checkA + " (192.0.2.1 over TCP): does not answer"},
		{"all are dead", completeZone(), func(o *outside) { o.servers[checkA], o.servers[checkB] = dead, dead }, phaseUnseen, 2, "See that the zone is delegated"},
		{"CNS differs", completeZone(), func(o *outside) {
			o.change(checkB, func(a *observe.Apex) { a.CNS.Records = []string{checkB} })
		}, phaseComplete, 0, "do not have the same CNS: " + checkA + " has " + checkA + " " + checkB + ", " + checkB + " has " + checkB + ";"},
		{"CNS is bogus", completeZone(), func(o *outside) {
			o.edit = func(s *observe.Sight) { s.CNS = observe.Resolved{Status: validate.Bogus, Err: errSilent} }
		}, phaseComplete, 0, "CNS does not validate"},
		{"DS names another key", completeZone(), func(o *outside) {
			o.parent.DS = append(o.parent.DS, merge.DS{KeyTag: 7, Algorithm: 8, DigestType: 2, Digest: "AA"})
		}, phaseComplete, 0, "co.uk.: DS names key 7 (RSASHA256), which no nameserver's CDS does"},
		{"no route", completeZone(), func(o *outside) {
			o.edit = func(s *observe.Sight) { s.Servers[1].Addresses[0].NoRoute = true }
		}, phaseComplete, 0, checkB + ": was not asked"},
		{"parent on the zone's servers", completeZone(), func(o *outside) {
			o.parent.Servers = []observe.ParentServer{{Host: checkA, Child: true}}
		}, phaseComplete, 0, "has the zone itself"},
		{"33 nameservers", completeZone(), func(o *outside) {
			o.edit = func(s *observe.Sight) { s.Skipped = []string{"ns33.example.net.", "ns34.example.net."} }
		}, phaseComplete, 0, "more than 32 nameservers: ns33.example.net. and 1 more"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if tc.edit != nil {
				tc.edit(tc.zone)
			}
			a := tc.zone.assess()
			said := strings.Join(slices.Concat(a.missing(), a.notes(), a.next()), "\n")
			if a.phase != tc.phase || a.exitStatus() != tc.status {
				t.Errorf("Expected phase %s and status %d, got %s and %d:\n%s", tc.phase, tc.status, a.phase, a.exitStatus(), said)
			}
			if !strings.Contains(said, tc.say) {
				t.Errorf("Expected %q in\n%s", tc.say, said)
			}
		})
	}
}

// Without keys nobody can tell providers apart, and nobody asks for announcements.
func TestAnUnsignedZoneHasNoProvidersToTellApart(t *testing.T) {
	o := completeZone()
	o.parent.DSStatus, o.parent.DS = observe.DSDenied, nil
	for host := range o.servers {
		o.announce(host, fetch.Absent, "nothing there")
		o.change(host, func(a *observe.Apex) {
			*a = observe.Apex{SOA: observe.Set[uint32]{Records: []uint32{7}}, NS: a.NS}
		})
	}
	a := o.assess()
	if a.phase != phaseInsecure || len(a.providers) > 0 || !slices.Equal(a.missing(), []string{"no nameserver has a DNSKEY record: the zone is not signed"}) {
		t.Errorf("Expected to be told that it is not signed, got %s, %+v, %q", a.phase, a.providers, a.missing())
	}
	if page := new(checkPrinter).page(a); !strings.Contains(page, "  1     "+checkA) {
		t.Errorf("Expected nameservers without a provider, got\n%s", page)
	}
}

func TestNSMayNotGainHostsBeforeDSIsComplete(t *testing.T) {
	p := &checkPrinter{}
	for _, tc := range []struct {
		ds   []merge.DS
		want string
	}{
		{checkDS(checkKSKA), "To change in NS, but nothing to add before DS is complete\n"},
		{checkDS(checkKSKA, checkKSKB), "To change in NS\n"},
	} {
		o := completeZone().joining()
		o.parent.DS = tc.ds
		if page := p.page(o.assess()); !strings.Contains(page, tc.want+"  "+checkA+": NS lacks "+checkB+"\n") {
			t.Errorf("Expected %q in\n%s", tc.want, page)
		}
	}
}

// joiningPage is the page of a zone that B is about to join, at a provider A
// that does not have B's keys yet.
const joiningPage = `example.co.uk. seen from outside at 2026-03-01 12:00:00 UTC

Parent co.uk.
  DS  @KSKA (ECDSAP256SHA256)
  NS  ns1.provider-a.net.

Nameservers
  1  A  ns1.provider-a.net.  CNS, NS, parent's NS
         192.0.2.1 serial 7
  2  B  ns1.provider-b.org.  CNS
         192.0.2.2 serial 7

Keys                                  DS    1    2
     A  KSK  @KSKA  ECDSAP256SHA256  DS  DCA  -C-
     A  ZSK  @ZSKA  ECDSAP256SHA256   -  D-A  D--
     B  KSK  @KSKB  ECDSAP256SHA256   !  -!-  DCA
     B  ZSK  @ZSKB  ECDSAP256SHA256   -  !--  D-A
     D in DNSKEY, C in CDS and CDNSKEY, A announced, ! missing, ? no answer

Missing
  ns1.provider-a.net.: its DNSKEY lacks key @ZSKB (ECDSAP256SHA256), which signs
    the data of ns1.provider-b.org.
  ns1.provider-a.net.: CDS lacks key @KSKB (ECDSAP256SHA256)
  ns1.provider-a.net.: CDNSKEY lacks key @KSKB (ECDSAP256SHA256)
  co.uk.: DS lacks key @KSKB (ECDSAP256SHA256)

To change in NS, but nothing to add before DS is complete
  ns1.provider-a.net.: NS lacks ns1.provider-b.org.
  ns1.provider-b.org.: NS lacks ns1.provider-b.org.
  co.uk.: NS lacks ns1.provider-b.org.

Next
  Wait for ns1.provider-a.net. to take up the other providers' keys, which by
    default takes up to an hour. Until then change neither NS nor DS.

joint: not converged: not every nameserver serves what it has to
`

// lagging is the zone of joiningPage.
func lagging() *outside {
	return completeZone().joining().change(checkA, func(a *observe.Apex) {
		a.DNSKEY.Records = []merge.Key{checkZSKA, checkKSKA}
		a.CDS.Records, a.CDNSKEY.Records = checkDS(checkKSKA), []merge.Key{checkKSKA}
	})
}

// withTags puts the keys' tags into a golden text.
func withTags(text string) string {
	for name, k := range map[string]merge.Key{"@KSKA": checkKSKA, "@ZSKA": checkZSKA, "@KSKB": checkKSKB, "@ZSKB": checkZSKB} {
		text = strings.ReplaceAll(text, "SK  "+name, fmt.Sprintf("SK  %5s", dnsTag(k))) // in the table
		text = strings.ReplaceAll(text, name, dnsTag(k))
	}
	return text
}

func dnsTag(k merge.Key) string { return strings.Fields(checkDS(k)[0].CDS(".", 0).String())[4] }

func TestPage(t *testing.T) {
	p := &checkPrinter{}
	got, want := p.page(lagging().assess()), withTags(joiningPage)
	if got != want {
		t.Errorf("Expected\n%s\ngot\n%s", want, got)
	}
	for line := range strings.Lines(got) {
		if len(strings.TrimSuffix(line, "\n")) > textWidth {
			t.Errorf("Expected at most %d columns, got %q", textWidth, line)
		}
	}
}

func TestPageHasColoursOnlyWhereWanted(t *testing.T) {
	a := lagging().assess()
	plain, painted := (&checkPrinter{}).page(a), (&checkPrinter{colour: true}).page(a)
	if strings.Contains(plain, "\x1b") || !strings.Contains(painted, "\x1b[31m!\x1b[0m") || !strings.Contains(painted, "\x1b[31mjoint: ") {
		t.Errorf("Expected what is missing to be red, got %q", painted)
	}
	for _, seq := range []string{"\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"} {
		painted = strings.ReplaceAll(painted, seq, "")
	}
	if painted != plain {
		t.Errorf("Expected the same text without colours, got\n%s", painted)
	}
}

func TestColoursAreForTerminals(t *testing.T) {
	device, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a character device, as terminals are
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "page"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, tc := range []struct {
		w             io.Writer
		noColor, term string
		want          bool
	}{
		{device, "", "xterm", true}, {device, "1", "xterm", false}, {device, "", "dumb", false},
		{file, "", "xterm", false}, {new(bytes.Buffer), "", "xterm", false},
	} {
		t.Setenv("NO_COLOR", tc.noColor)
		t.Setenv("TERM", tc.term)
		if got := hasColours(tc.w); got != tc.want {
			t.Errorf("%T, NO_COLOR=%s TERM=%s: expected %t, got %t", tc.w, tc.noColor, tc.term, tc.want, got)
		}
	}
}

func TestMarks(t *testing.T) {
	o := completeZone()
	o.edit = func(s *observe.Sight) {
		s.Servers[0].Addresses[0].TCP.DNSKEY.Records = []merge.Key{checkZSKA, checkKSKA} // without B's over TCP
		s.Servers[1].Addresses[0].UDP, s.Servers[1].Addresses[0].TCP = observe.Apex{Err: errSilent}, observe.Apex{Err: errSilent}
		s.Parent.DS = append(s.Parent.DS, merge.DS{KeyTag: 7, Algorithm: 8, DigestType: 2, Digest: "AA"})
	}
	want := map[string]string{
		dnsTag(checkKSKA): "A KSK DS DCA ??-", dnsTag(checkZSKA): "A ZSK - D-A ??-",
		dnsTag(checkKSKB): "B KSK DS -C- ??A", dnsTag(checkZSKB): "B ZSK - !-- ??A", "7": " KSK DS --- ??-",
	}
	for _, row := range o.assess().keys {
		ds := "-"
		if row.ds {
			ds = "DS"
		}
		tag := strings.Fields(row.entry.DS.CDS(".", 0).String())[4]
		if row.entry.Key != (merge.Key{}) {
			tag = dnsTag(row.entry.Key)
		}
		got := strings.Join([]string{row.provider, row.role, ds, row.cells[0].String(), row.cells[1].String()}, " ")
		if got != want[tag] {
			t.Errorf("Key %s: expected %q, got %q", tag, want[tag], got)
		}
		delete(want, tag)
	}
	if len(want) > 0 {
		t.Errorf("Expected rows for %v too", want)
	}
}

func TestRoleIsThatOfUse(t *testing.T) {
	csk, idle := checkKey(257, "csk"), checkKey(256, "idle")
	o := completeZone().change(checkB, func(a *observe.Apex) {
		a.SOA.Signers, a.DNSKEY.Signers, a.DNSKEY.Records = []merge.Key{csk}, []merge.Key{csk}, []merge.Key{csk, checkZSKA, idle}
	})
	o.announced[checkB] = fetch.Result{Verdict: fetch.Secure, Announcement: merge.Announcement{DNSKEY: []merge.Key{csk}, CDNSKEY: []merge.Key{csk}}}
	want := map[merge.Key]string{checkKSKA: "A KSK", checkZSKA: "A ZSK", csk: "B CSK", idle: " ZSK"}
	for _, row := range o.assess().keys {
		if w, ok := want[row.entry.Key]; ok && row.provider+" "+row.role != w {
			t.Errorf("Expected %q, got %q of %q", w, row.role, row.provider)
		}
	}
}

func TestJSONHasStableKeys(t *testing.T) {
	var out bytes.Buffer
	p := &checkPrinter{w: &out, json: true}
	if _, err := p.print(lagging().assess()); err != nil {
		t.Fatal(err)
	}
	if strings.Count(out.String(), "\n") != 1 || strings.Contains(out.String(), "null") {
		t.Errorf("Expected one line without null, got %s", &out)
	}
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"zone", "time", "phase", "converged", "missing", "changes", "notes", "next", "target from", "target hosts",
		"parent zone", "parent ds_status", "parent ds", "parent ds_ttl", "parent ns_read", "parent ns", "parent ns_ttl", "parent errors",
		"nameservers 0 host", "nameservers 0 provider", "nameservers 0 error", "nameservers 0 announcement status", "nameservers 0 announcement reason",
		"nameservers 0 addresses 0 address", "nameservers 0 addresses 0 route", "nameservers 0 addresses 0 udp error",
		"nameservers 0 addresses 0 tcp serial", "nameservers 0 addresses 0 tcp dnskey", "nameservers 0 addresses 0 tcp dnskey_ttl",
		"nameservers 0 addresses 0 tcp cdnskey", "nameservers 0 addresses 0 tcp cds", "nameservers 0 addresses 0 tcp ns", "nameservers 0 addresses 0 tcp cns",
		"keys 0 provider", "keys 0 role", "keys 0 tag", "keys 0 algorithm", "keys 0 ds", "keys 0 signs",
		"keys 0 published_everywhere_since", "keys 0 may_sign_from", "keys 0 may_go_from",
		"keys 0 at " + checkA + " dnskey", "keys 0 at " + checkA + " cds", "keys 0 at " + checkA + " announced",
	} {
		var at any = got
		for step := range strings.FieldsSeq(path) {
			switch v := at.(type) {
			case map[string]any:
				at = v[step]
			case []any:
				at = v[0]
			}
		}
		if at == nil {
			t.Errorf("Expected %q in %s", path, &out)
		}
	}
	if got["phase"] != "joint" || got["converged"] != false {
		t.Errorf("Expected phase joint, got %v", got["phase"])
	}
}

func TestWatchPrintsChangesUntilConverged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		start := time.Now()
		var looks []time.Duration
		look := func(context.Context) assessment {
			looks = append(looks, time.Since(start))
			switch n := len(looks); {
			case n < 7:
				return lagging().assess()
			case n < 8:
				return completeZone().joining().change(checkA, func(a *observe.Apex) {
					a.DNSKEY.Records = []merge.Key{checkZSKA, checkKSKA}
				}).assess()
			}
			o := completeZone().joining()
			o.parent.NS = []string{checkA, "ns.example.net."}
			return o.assess()
		}
		var out bytes.Buffer
		p := &checkPrinter{w: &out}
		status, err := watch(ctx, true, look, p.print)
		if status != exitOK || err != nil {
			t.Errorf("Expected status 0, got %d, %v", status, err)
		}
		want := []time.Duration{0, 5, 15, 35, 75, 135, 195, 200}
		for i := range want {
			want[i] *= time.Second
		}
		if !slices.Equal(looks, want) {
			t.Errorf("Expected looks at %v, got %v", want, looks)
		}
		page, rest, _ := strings.Cut(out.String(), "joint: not converged: not every nameserver serves what it has to\n")
		if !strings.HasPrefix(page, "example.co.uk. seen from outside") || strings.Contains(rest, "Nameservers") {
			t.Errorf("Expected the page once, got\n%s", &out)
		}
		for _, line := range []string{
			"  - ns1.provider-a.net.: CDS lacks key @KSKB (ECDSAP256SHA256)\n",
			"  - joint: not converged: not every nameserver serves what it has to\n",
			"  + later: co.uk.: NS lists ns.example.net.\n",
		} {
			if strings.Count(rest, withTags(line)) != 1 {
				t.Errorf("Expected %q once in\n%s", withTags(line), rest)
			}
		}
	})
}

func TestWatchEndsWhenInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
		defer cancel()
		p := &checkPrinter{w: new(bytes.Buffer)}
		status, err := watch(ctx, true, func(context.Context) assessment { return lagging().assess() }, p.print)
		if status != exitFailed || err != nil {
			t.Errorf("Expected status 1, got %d, %v", status, err)
		}
	})
}

func TestCheckUsage(t *testing.T) {
	for _, tc := range []struct{ args, say string }{
		{"", "expected one ZONE, got 0"},
		{"example.org example.net", "expected one ZONE, got 2"},
		{"example..org", "write it as in example.co.uk"},
		{"bücher.example", "(international names are written as xn--...)"},
		{"--nonsense example.org", "-nonsense: see mske check -h"},
		{"--port 0 example.org", "--port 0"},
		{"--cns-type 70000 example.org", "--cns-type 70000"},
		{"--cns-type 43 example.org", "--cns-type 43: type DS cannot be CNS"},
		{"--cns-type 65534 example.org", "cannot be CNS"},
		{"--timeout 0s example.org", "--timeout 0s"},
		{"--resolver 192.0.2.256 example.org", "not an IP address"},
		{"--resolver 192.0.2.1 --trust-anchor /does/not/exist example.org", "/does/not/exist"},
	} {
		status, stdout, stderr := call(append([]string{"check"}, strings.Fields(tc.args)...)...)
		if status != exitUsage || !strings.HasPrefix(stderr, "mske check: ") || !strings.Contains(stderr, tc.say) || stdout != "" {
			t.Errorf("%q: expected status 2 and %q, got %d, %q, %q", tc.args, tc.say, status, stdout, stderr)
		}
	}
	if status, _, stderr := call("check", "-h"); status != exitOK || !strings.Contains(stderr, "-watch") || !strings.Contains(stderr, "-resolver ADDR") {
		t.Errorf("Expected status 0 and the flags, got %d, %q", status, stderr)
	}
}
