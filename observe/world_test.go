package observe

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

	"github.com/coredns-mske/mske/cns"
	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/validate"
)

func init() { cns.Register() }

const (
	zone  = "example.co.uk."
	hostA = "ns1.example.net."
	hostB = "ns1.example.org."
)

var (
	now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

	kskA, zskA = lab.NewKey(zone, dns.ECDSAP256SHA256, 257, "A"), lab.NewKey(zone, dns.ECDSAP256SHA256, 256, "A")
	kskB, zskB = lab.NewKey(zone, dns.ECDSAP256SHA256, 257, "B"), lab.NewKey(zone, dns.ECDSAP256SHA256, 256, "B")

	addrA = netip.MustParseAddr("192.0.2.1")
	addrB = netip.MustParseAddr("192.0.2.2")
	addrP = netip.MustParseAddr("192.0.2.53") // the parents'

	errRefused = errors.New("fails: connection refused")
)

// handler is a nameserver: nil and nil is no answer.
type handler func(stream bool, name string, qtype uint16) (*dns.Msg, error)

// world is a network in memory: a hierarchy with its resolver, and nameservers
// by address.
type world struct {
	*lab.Lab
	t         *testing.T
	validator *validate.Validator
	servers   map[netip.Addr]handler
	unrouted  map[netip.Addr]bool
}

// newWorld returns a world in which providers A and B have the zone, with joint
// sets, and the parent delegates it to A. What is given replaces zones of the
// hierarchy.
func newWorld(t *testing.T, replace ...lab.Zone) *world {
	t.Helper()
	w := &world{Lab: lab.New(t, now), t: t, servers: make(map[netip.Addr]handler), unrouted: make(map[netip.Addr]bool)}
	for _, z := range append([]lab.Zone{
		{Name: "."}, {Name: "net."}, {Name: "org."},
		{Name: "uk.", Records: "@ NS ns.example.net.\n"},
		{Name: "co.uk.", Records: "@ NS ns.example.net.\nexample 7200 NS " + hostA + "\n"},
		{Name: "example.net.", Records: "ns1 A 192.0.2.1\nns A 192.0.2.53\n"},
		{Name: "example.org.", Records: "ns1 A 192.0.2.2\n"},
		{Name: zone, Keys: []*lab.Key{kskA, zskA}, Records: jointRecords(zskB, hostA)},
	}, replace...) {
		w.Add(z)
	}
	file := filepath.Join(t.TempDir(), "root.ds")
	if err := os.WriteFile(file, []byte(w.Anchors()), 0o600); err != nil {
		t.Fatal(err)
	}
	anchors, err := validate.ReadAnchors(file)
	if err != nil {
		t.Fatal(err)
	}
	w.validator = validate.New(anchors, validate.Options{Now: func() time.Time { return now }})
	w.servers[addrA] = w.serve(w.Zone(zone))
	w.servers[addrB] = w.serve(provider(t, lab.Zone{Keys: []*lab.Key{kskB, zskB}, Records: jointRecords(zskA, hostA)}))
	w.servers[addrP] = w.serve(w.Zone("co.uk."), w.Zone("uk."))
	return w
}

// jointRecords returns what stands at the apex besides a provider's own keys.
func jointRecords(foreign *lab.Key, ns ...string) string {
	text := entryRecords(kskA, kskB) + foreign.DNSKEY.String() + "\n@ 900 IN CNS " + hostA + "\n@ 900 CNS " + hostB + "\n"
	for _, host := range ns {
		text += "@ 1800 NS " + host + "\n"
	}
	return text
}

func entryRecords(ks ...*lab.Key) (text string) {
	for _, k := range ks {
		ds, _ := merge.KeyOf(k.DNSKEY).DS(zone, dns.SHA256)
		text += ds.CDS(zone, 600).String() + "\n" + merge.KeyOf(k.DNSKEY).CDNSKEY(zone, 600).String() + "\n"
	}
	return text
}

// provider returns a provider's version of the zone, apart from the hierarchy.
func provider(t testing.TB, z lab.Zone) *lab.Zone {
	t.Helper()
	z.Name = zone
	return lab.New(t, now).Add(z)
}

// serve returns a nameserver of those zones.
func (w *world) serve(zones ...*lab.Zone) handler {
	return func(_ bool, name string, qtype uint16) (*dns.Msg, error) {
		for _, z := range zones {
			if dns.IsSubDomain(z.Name, name) {
				return z.Answer(name, qtype), nil
			}
		}
		return &dns.Msg{MsgHdr: dns.MsgHdr{Response: true}}, nil
	}
}

// The world is a Network.
func (w *world) Session() *validate.Session { return w.validator.Session(w) }

func (w *world) Addresses(ctx context.Context, host string) (addrs []netip.AddrPort, err error) {
	for _, qtype := range []uint16{dns.TypeAAAA, dns.TypeA} {
		m, err := w.Exchange(ctx, host, qtype, true)
		if err != nil {
			return nil, err
		}
		for _, rr := range m.Answer {
			switch rr := rr.(type) {
			case *dns.A:
				addr, _ := netip.AddrFromSlice(rr.A.To4())
				addrs = append(addrs, netip.AddrPortFrom(addr, 53))
			case *dns.AAAA:
				addr, _ := netip.AddrFromSlice(rr.AAAA)
				addrs = append(addrs, netip.AddrPortFrom(addr, 53))
			}
		}
	}
	if len(addrs) == 0 {
		return nil, errors.New("no address found for " + host)
	}
	return addrs, nil
}

func (w *world) AskUDP(ctx context.Context, addr netip.AddrPort, name string, qtype uint16) (*dns.Msg, error) {
	return w.ask(addr, false, name, qtype)
}

func (w *world) ConnectTCP(addr netip.AddrPort) (ask func(ctx context.Context, name string, qtype uint16) (*dns.Msg, error), end func()) {
	return func(_ context.Context, name string, qtype uint16) (*dns.Msg, error) {
		return w.ask(addr, true, name, qtype)
	}, func() {}
}

func (w *world) ask(addr netip.AddrPort, stream bool, name string, qtype uint16) (*dns.Msg, error) {
	serve := w.servers[addr.Addr()]
	if serve == nil {
		return nil, errors.New("does not answer in time")
	}
	m, err := serve(stream, name, qtype)
	if err != nil {
		return nil, err
	}
	wire, err := m.Pack() // as it comes over the wire
	if err != nil {
		w.t.Fatalf("Packing the answer to %s %s: %v", name, dns.Type(qtype), err)
	}
	m = new(dns.Msg)
	return m, m.Unpack(wire)
}

func (w *world) HasRoute(addr netip.AddrPort) bool { return !w.unrouted[addr.Addr()] }

func (w *world) observer() *Observer { return New(w, Options{Now: func() time.Time { return now }}) }

func tags(ks []merge.Key) (ts []uint16) {
	for _, k := range ks {
		ts = append(ts, k.Tag())
	}
	slices.Sort(ts)
	return ts
}

func tagsOf(ks ...*lab.Key) (ts []uint16) {
	for _, k := range ks {
		ts = append(ts, k.KeyTag())
	}
	slices.Sort(ts)
	return ts
}

// told returns what keeps the world's zone from being converged, in words.
func told(s Sight) string { return strings.Join(s.Tell(s.Obstacles(s.JointDS())), "\n") }
