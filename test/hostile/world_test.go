package hostile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/merge"
)

// Who announces what. The peer is the attacker, its zones below peerZone; the
// other peer is healthy.
const (
	zone        = "example.co.uk."
	peerZone    = "example.net."
	host        = "ns1.example.net."
	healthyHost = "ns1.example.org."
)

// The keys that both peers announce for zone.
var (
	ksk = lab.NewKey(zone, dns.ECDSAP256SHA256, 257, "ksk")
	zsk = lab.NewKey(zone, dns.ECDSAP256SHA256, 256, "zsk")
)

// question is what a server is asked.
type question struct {
	name  string // canonical
	qtype uint16
}

// world is a signed hierarchy with one hostile peer in it, and what is wrong
// with its answers. An attack changes it before it is served.
type world struct {
	tb    testing.TB
	zones map[string]*lab.Zone // as they will be added
	host  string               // the hostile nameserver
	slow  bool                 // nothing can be expected of it in time

	// finish changes the zones once they have keys and neighbours. From then on
	// they are in lab.
	finish func(l *lab.Lab)
	lab    *lab.Lab

	// everywhere: the hooks are asked about all questions, not only those at
	// and below peerZone.
	everywhere bool

	// message changes an answer; nil leaves the question without one.
	message func(q question, m *dns.Msg) *dns.Msg

	// octets changes a packed answer.
	octets func(q question, p []byte) []byte

	// datagram and stream send an answer, p, in another way than as it is. They
	// may keep the connection until it closes, and send nothing at all.
	datagram func(d *datagram, p []byte)
	stream   func(s *stream, p []byte)
}

// newWorld returns a hierarchy without fault, in which host and healthyHost
// announce the same keys, each in a delegated signaling zone.
func newWorld(tb testing.TB) *world {
	w := &world{tb: tb, host: host, zones: make(map[string]*lab.Zone), finish: func(*lab.Lab) {}}
	for _, z := range []lab.Zone{
		{Name: "."},
		{Name: "net."},
		{Name: "org."},
		{Name: peerZone, Records: "ns1 A 127.0.0.1\n"},
		{Name: "example.org.", Records: "ns1 A 127.0.0.1\n"},
		{Name: "_signal." + host, Records: announcement(host)},
		{Name: "_signal." + healthyHost, Records: announcement(healthyHost)},
	} {
		w.zones[z.Name] = &z
	}
	return w
}

// owner is the signaling name of the hostile peer.
func (w *world) owner() string { return signalingName(w.host) }

// signal is the hostile peer's signaling zone, or what holds it.
func (w *world) signal() *lab.Zone {
	if z := w.zones["_signal."+w.host]; z != nil {
		return z
	}
	return w.zones[peerZone]
}

// announceAs has another host announce, in peerZone itself.
func (w *world) announceAs(host string) {
	delete(w.zones, "_signal."+w.host)
	w.host = host
	w.zones[peerZone].Records += announcement(host)
}

// signalingName is where a host announces keys for zone.
func signalingName(host string) string { return "_multi." + zone + "_signal." + host }

// announcement returns what a host announces, in zone-file form.
func announcement(host string) string {
	owner := signalingName(host)
	cds := ksk.ToDS(dns.SHA256).ToCDS()
	cds.Hdr.Name = owner
	var text strings.Builder
	for _, rr := range []dns.RR{merge.KeyOf(zsk.DNSKEY).DNSKEY(owner, 3600), merge.KeyOf(ksk.DNSKEY).CDNSKEY(owner, 3600), cds} {
		text.WriteString(rr.String() + "\n")
	}
	return text.String()
}

// build makes the hierarchy.
func (w *world) build() {
	w.tb.Helper()
	l := lab.New(w.tb, time.Now().Truncate(time.Second))
	names := make([]string, 0, len(w.zones))
	for name := range w.zones {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		l.Add(*w.zones[name])
	}
	w.finish(l)
	w.lab = l
}

// concerns says whether the hooks are asked about a question.
func (w *world) concerns(q question) bool {
	return w.everywhere || dns.IsSubDomain(peerZone, q.name)
}

// anchorFile writes the hierarchy's trust anchor.
func anchorFile(tb testing.TB, l *lab.Lab) string {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "anchor.ds")
	if err := os.WriteFile(file, []byte(l.Anchors()), 0o600); err != nil {
		tb.Fatal(err)
	}
	return file
}
