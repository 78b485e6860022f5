package observe

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/validate"
)

func TestExploreFindsEverythingByItself(t *testing.T) {
	s := newWorld(t).observer().Explore(t.Context(), "Example.co.uk")
	if s.Zone != zone || !s.At.Equal(now) || told(s) != "" {
		t.Fatalf("Expected a converged zone, got %q at %v: %s", s.Zone, s.At, told(s))
	}
	if len(s.Servers) != 2 || s.Servers[0].Host != hostA || s.Servers[1].Host != hostB {
		t.Fatalf("Expected the nameservers in NS and CNS, got %+v", s.Servers)
	}
	if s.CNS.Status != validate.Secure || !slices.Equal(s.CNS.Hosts, []string{hostA, hostB}) || s.CNS.TTL != 15*time.Minute {
		t.Errorf("Expected both hosts in CNS, got %+v", s.CNS)
	}
	if s.NS.Status != validate.Secure || !slices.Equal(s.NS.Hosts, []string{hostA}) || s.NS.TTL != 1800*time.Second {
		t.Errorf("Expected host A in NS, got %+v", s.NS)
	}
	b := s.Servers[1].Addresses[0]
	if b.Addr != addrB || len(s.Servers[1].Addresses) != 1 {
		t.Fatalf("Expected B's address, got %+v", s.Servers[1].Addresses)
	}
	for name, apex := range map[string]Apex{"UDP": b.UDP, "TCP": b.TCP} {
		for _, set := range []struct {
			name       string
			err        error
			got        []uint16
			want       []uint16
			ttl        time.Duration
			wantTTL    time.Duration
			signers    []merge.Key
			wantSigner []uint16
		}{
			{"DNSKEY", apex.DNSKEY.Err, tags(apex.DNSKEY.Records), tagsOf(kskB, zskA, zskB), apex.DNSKEY.TTL, time.Hour, apex.DNSKEY.Signers, tagsOf(kskB)},
			{"CDNSKEY", apex.CDNSKEY.Err, tags(apex.CDNSKEY.Records), tagsOf(kskA, kskB), apex.CDNSKEY.TTL, 10 * time.Minute, apex.CDNSKEY.Signers, tagsOf(kskB, zskB)},
			{"SOA", apex.SOA.Err, nil, nil, apex.SOA.TTL, time.Hour, apex.SOA.Signers, tagsOf(zskB)},
			{"NS", apex.NS.Err, nil, nil, apex.NS.TTL, 1800 * time.Second, apex.NS.Signers, tagsOf(zskB)},
			{"CNS", apex.CNS.Err, nil, nil, apex.CNS.TTL, 15 * time.Minute, apex.CNS.Signers, tagsOf(zskB)},
		} {
			if set.err != nil || !slices.Equal(set.got, set.want) || set.ttl != set.wantTTL || !slices.Equal(tags(set.signers), set.wantSigner) {
				t.Errorf("%s over %s: expected %v for %v signed by %v, got %+v", set.name, name, set.want, set.wantTTL, set.wantSigner, set)
			}
		}
		if want := now.Add(14 * 24 * time.Hour); !apex.SOA.Expires.Equal(want) || apex.SOA.Records[0] != 1 {
			t.Errorf("Expected serial 1, signed until %v, got %+v", want, apex.SOA)
		}
		if len(apex.CDS.Records) != 2 || !slices.Equal(apex.NS.Records, []string{hostA}) || !slices.Equal(apex.CNS.Records, []string{hostA, hostB}) {
			t.Errorf("Expected CDS, NS and CNS, got %+v", apex)
		}
	}
	if ttls := s.TTLs(); ttls != (TTLs{DNSKEY: time.Hour, CDS: 10 * time.Minute, NS: 30 * time.Minute}) {
		t.Errorf("Expected the longest TTLs, got %+v", ttls)
	}
}

// altered returns a nameserver whose answers to a type are edited; nil is none.
func altered(h handler, qtype uint16, edit func(stream bool, m *dns.Msg) (*dns.Msg, error)) handler {
	return func(stream bool, name string, asked uint16) (*dns.Msg, error) {
		m, err := h(stream, name, asked)
		if err != nil || qtype != 0 && asked != qtype {
			return m, err
		}
		return edit(stream, m)
	}
}

func TestObstaclesAreNamedByPlace(t *testing.T) {
	lackZSK := fmt.Sprintf(": its DNSKEY lacks key %d (ECDSAP256SHA256), which signs the data of ns1.example.net.", zskA.KeyTag())
	keysB := []*lab.Key{kskB, zskB}
	alone := lab.Zone{Keys: keysB, Records: entryRecords(kskA, kskB)}
	tests := []struct {
		name string
		b    func(w *world, joint handler) handler // nameserver B
		want []string
	}{
		{"all is well", func(_ *world, joint handler) handler { return joint }, nil},
		{"no foreign key", func(w *world, _ handler) handler { return w.serve(provider(w.t, alone)) }, []string{hostB + lackZSK}},
		{"no foreign key over TCP", func(w *world, joint handler) handler {
			other := w.serve(provider(w.t, alone))
			return func(stream bool, name string, qtype uint16) (*dns.Msg, error) {
				if stream {
					return other(stream, name, qtype)
				}
				return joint(stream, name, qtype)
			}
		}, []string{hostB + " (192.0.2.2 over TCP)" + lackZSK}},
		{"its own key is not at A", func(w *world, _ handler) handler {
			other := lab.NewKey(zone, dns.ECDSAP256SHA256, 256, "new")
			return w.serve(provider(w.t, lab.Zone{Keys: []*lab.Key{kskB, other}, Records: jointRecords(zskA)}))
		}, []string{fmt.Sprintf("%s: its DNSKEY lacks key %d (ECDSAP256SHA256), which signs the data of %s",
			hostA, lab.NewKey(zone, dns.ECDSAP256SHA256, 256, "new").KeyTag(), hostB)}},
		{"signed by a key that nobody serves", func(w *world, _ handler) handler {
			z := provider(w.t, lab.Zone{Keys: keysB, Records: jointRecords(zskA)})
			z.SignRRset = func(rrs []dns.RR) []dns.RR {
				if rrs[0].Header().Rrtype == dns.TypeSOA {
					return []dns.RR{z.SignWith(lab.NewKey(zone, dns.ECDSAP256SHA256, 256, "unknown"), rrs)}
				}
				return z.Sign(rrs)
			}
			return w.serve(z)
		}, []string{hostB + ": its data is signed by no key that a nameserver serves"}},
		{"signatures expired", func(w *world, _ handler) handler {
			return w.serve(provider(w.t, lab.Zone{Keys: keysB, Records: jointRecords(zskA), Inception: now.AddDate(0, -2, 0), Expiration: now.Add(-time.Hour)}))
		}, []string{hostB + ": its data is signed by no key that a nameserver serves", hostB + ": its DNSKEY is signed by no secure-entry key that counts"}},
		{"DNSKEY signed by a key that no CDS names", func(w *world, _ handler) handler {
			return w.serve(provider(w.t, lab.Zone{Keys: []*lab.Key{lab.NewKey(zone, dns.ECDSAP256SHA256, 257, "other"), zskB}, Records: jointRecords(zskA)}))
		}, []string{hostB + ": its DNSKEY is signed by no secure-entry key that counts"}},
		{"CDS lacks a key", func(_ *world, joint handler) handler {
			return altered(joint, dns.TypeCDS, func(_ bool, m *dns.Msg) (*dns.Msg, error) {
				m.Answer = slices.DeleteFunc(m.Answer, func(rr dns.RR) bool {
					cds, ok := rr.(*dns.CDS)
					return ok && cds.KeyTag == kskA.KeyTag()
				})
				return m, nil
			})
		}, []string{fmt.Sprintf("%s: CDS lacks key %d (ECDSAP256SHA256)", hostB, kskA.KeyTag())}},
		{"no CDNSKEY", func(_ *world, joint handler) handler {
			return altered(joint, dns.TypeCDNSKEY, func(_ bool, m *dns.Msg) (*dns.Msg, error) {
				m.Answer = nil
				return m, nil
			})
		}, []string{
			fmt.Sprintf("%s: CDNSKEY lacks key %d (ECDSAP256SHA256)", hostB, kskA.KeyTag()),
			fmt.Sprintf("%s: CDNSKEY lacks key %d (ECDSAP256SHA256)", hostB, kskB.KeyTag()),
		}},
		{"dead", func(*world, handler) handler { return nil }, []string{hostB + ": does not answer in time"}},
		{"TCP refused", func(_ *world, joint handler) handler {
			return altered(joint, 0, func(stream bool, m *dns.Msg) (*dns.Msg, error) {
				if stream {
					return nil, errRefused
				}
				return m, nil
			})
		}, []string{hostB + " (192.0.2.2 over TCP): fails: connection refused"}},
		{"SERVFAIL for DNSKEY", func(_ *world, joint handler) handler {
			return altered(joint, dns.TypeDNSKEY, func(bool, *dns.Msg) (*dns.Msg, error) { return nil, errors.New("answers SERVFAIL") })
		}, []string{hostB + ": asked for DNSKEY, it answers SERVFAIL"}}, // its data verifies with A's keys
		{"lame", func(_ *world, joint handler) handler {
			return altered(joint, 0, func(_ bool, m *dns.Msg) (*dns.Msg, error) {
				m.Authoritative = false
				return m, nil
			})
		}, []string{hostB + ": answers without authority for the zone"}},
		{"without the zone", func(w *world, _ handler) handler { return w.serve(w.Zone("co.uk.")) }, []string{hostB + ": answers without authority for the zone"}},
		{"a denial", func(_ *world, joint handler) handler {
			return altered(joint, 0, func(_ bool, m *dns.Msg) (*dns.Msg, error) {
				m.Answer = nil
				return m, nil
			})
		}, []string{hostB + ": does not have the zone: it denies its SOA record"}},
		{"a thousand records", func(_ *world, joint handler) handler {
			return altered(joint, dns.TypeCDS, func(_ bool, m *dns.Msg) (*dns.Msg, error) {
				for i := range 1000 {
					m.Answer = append(m.Answer, merge.DS{KeyTag: uint16(i), Algorithm: 13, DigestType: 2, Digest: "00"}.CDS(zone, 60))
				}
				return m, nil
			})
		}, []string{hostB + ": asked for CDS, it answers with more than 256 records"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.servers[addrB] = tc.b(w, w.servers[addrB])
			if w.servers[addrB] == nil {
				delete(w.servers, addrB)
			}
			s := w.observer().Servers(t.Context(), zone, []string{hostB, hostA, hostB})
			if want := strings.Join(tc.want, "\n"); told(s) != want {
				t.Errorf("Expected\n%s\ngot\n%s", want, told(s))
			}
		})
	}
}

func TestAddressesWithoutARouteDoNotCount(t *testing.T) {
	w := newWorld(t, lab.Zone{Name: "example.org.", Records: "ns1 A 192.0.2.2\nns1 AAAA 2001:db8::2\n"})
	six := netip.MustParseAddr("2001:db8::2")
	s := w.observer().Servers(t.Context(), zone, []string{hostA, hostB})
	if want := hostB + " (2001:db8::2): does not answer in time"; told(s) != want {
		t.Errorf("Expected %q, got %q", want, told(s))
	}
	w.unrouted[six] = true
	s = w.observer().Servers(t.Context(), zone, []string{hostA, hostB})
	if told(s) != "" || !s.Servers[1].Addresses[0].NoRoute || s.Servers[1].Addresses[0].UDP.Err == nil || !s.Servers[1].Routed() {
		t.Errorf("Expected nothing to be wrong, got %q, %+v", told(s), s.Servers[1].Addresses[0])
	}
	w.unrouted[addrB] = true
	if s = w.observer().Servers(t.Context(), zone, []string{hostB}); s.Servers[0].Routed() || s.Servers[0].Answers() {
		t.Error("Expected a host that could not be asked to be told")
	}
}

func TestWhatIsLookedAtIsBounded(t *testing.T) {
	text, hosts := "", []string{hostA, "..", ""}
	for i := range 50 {
		text += fmt.Sprintf("ns%d A 198.51.100.%d\n", i, i)
		hosts = append(hosts, fmt.Sprintf("ns%d.example.com.", i))
	}
	for i := range 20 {
		text += fmt.Sprintf("ns0 A 203.0.113.%d\n", i)
	}
	w := newWorld(t, lab.Zone{Name: "com."}, lab.Zone{Name: "example.com.", Records: text})
	s := w.observer().Servers(t.Context(), zone, hosts)
	if len(s.Servers) != MaxHosts || len(s.Skipped) != 51-MaxHosts {
		t.Errorf("Expected %d hosts, got %d, and %d left out", MaxHosts, len(s.Servers), len(s.Skipped))
	}
	if server, _ := s.Server("ns0.example.com."); len(server.Addresses) != maxAddresses {
		t.Errorf("Expected %d addresses, got %d", maxAddresses, len(server.Addresses))
	}
	if server, ok := s.Server(hostA); !ok || !server.Answers() {
		t.Error("Expected the first host to be seen among the dead")
	}
}

// stalling is a world in which one address answers and all others take their
// time.
type stalling struct {
	*world
	healthy netip.Addr
}

func (s stalling) Addresses(_ context.Context, host string) (addrs []netip.AddrPort, err error) {
	if host == hostA {
		return []netip.AddrPort{netip.AddrPortFrom(s.healthy, 53)}, nil
	}
	for i := range maxAddresses {
		addrs = append(addrs, netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, host[2], byte(i)}), 53))
	}
	return addrs, nil
}

func (s stalling) AskUDP(ctx context.Context, addr netip.AddrPort, name string, qtype uint16) (*dns.Msg, error) {
	return s.ask(ctx, addr, false, name, qtype)
}

func (s stalling) ConnectTCP(addr netip.AddrPort) (ask func(ctx context.Context, name string, qtype uint16) (*dns.Msg, error), end func()) {
	return func(ctx context.Context, name string, qtype uint16) (*dns.Msg, error) {
		return s.ask(ctx, addr, true, name, qtype)
	}, func() {}
}

func (s stalling) ask(ctx context.Context, addr netip.AddrPort, stream bool, name string, qtype uint16) (*dns.Msg, error) {
	if addr.Addr() == s.healthy {
		return s.world.ask(addr, stream, name, qtype)
	}
	select {
	case <-time.After(2500 * time.Millisecond):
	case <-ctx.Done():
	}
	return nil, errors.New("does not answer in time")
}

func TestDeadAddressesCostTheirOwnTimeOnly(t *testing.T) {
	for _, tc := range []struct {
		dead int
		most time.Duration
	}{{1, 6 * time.Second}, {MaxHosts - 1, DefaultTimeout}} {
		synctest.Test(t, func(t *testing.T) {
			w := stalling{newWorld(t), addrA}
			hosts := []string{}
			for i := range tc.dead {
				hosts = append(hosts, fmt.Sprintf("ns%c.example.com.", 'A'+i))
			}
			start := time.Now()
			s := New(w, Options{Now: func() time.Time { return now }}).Servers(t.Context(), zone, append(hosts, hostA))
			if took := time.Since(start); took > tc.most {
				t.Errorf("%d dead hosts: expected at most %v, took %v", tc.dead, tc.most, took)
			}
			if server, _ := s.Server(hostA); !server.Answers() || len(server.Addresses) != 1 || server.Addresses[0].TCP.Err != nil {
				t.Errorf("%d dead hosts: expected the one that answers to be seen, got %+v", tc.dead, server)
			}
		})
	}
}

func TestExploreFollowsWhatOnlyNameserversSay(t *testing.T) {
	w := newWorld(t)
	w.Tamper(zone, 65302, func(*dns.Msg) *dns.Msg { return nil })
	s := w.observer().Explore(t.Context(), zone)
	if server, ok := s.Server(hostB); !ok || !server.Answers() || s.CNS.Err == nil || !slices.Equal(s.ChildCNS(), []string{hostA, hostB}) {
		t.Errorf("Expected B to be found in A's CNS, got %+v", s)
	}
}

func TestUnsignedZoneIsSeenToo(t *testing.T) {
	z := lab.Zone{Name: zone, Unsigned: true, Records: "@ 900 CNS " + hostB + "\n@ NS " + hostA + "\n"}
	w := newWorld(t, z)
	s := w.observer().Explore(t.Context(), zone)
	if s.CNS.Status != validate.Insecure || !slices.Equal(s.CNS.Hosts, []string{hostB}) || s.CNS.TTL != 15*time.Minute || s.CNS.Err != nil {
		t.Errorf("Expected CNS, though nobody vouches for it, got %+v", s.CNS)
	}
	a, _ := s.Server(hostA)
	if apex := a.Addresses[0].UDP; apex.Err != nil || apex.SOA.TTL != time.Hour || len(apex.SOA.Signers) != 0 || len(apex.DNSKEY.Records) != 0 {
		t.Errorf("Expected SOA without signature, got %+v", apex)
	}
	if s.Parent.DSStatus != DSDenied {
		t.Errorf("Expected no DS, got %+v", s.Parent)
	}
}

// Of NS it is that of the records: resolvers follow them without validation, and
// CoreDNS's dnssec plugin signs all with one Original TTL.
func TestTTLIsTheOriginalOne(t *testing.T) {
	w := newWorld(t)
	for ttl, ns := range map[uint32]time.Duration{5: 5 * time.Second, 1 << 31: 0, 1<<31 - 1: MaxTTL} {
		joint := w.servers[addrA]
		w.servers[addrA] = altered(joint, 0, func(_ bool, m *dns.Msg) (*dns.Msg, error) {
			for _, rr := range m.Answer {
				rr.Header().Ttl = ttl
			}
			return m, nil
		})
		s := w.observer().Servers(t.Context(), zone, []string{hostA})
		if ttls := s.TTLs(); ttls != (TTLs{DNSKEY: time.Hour, CDS: 10 * time.Minute, NS: ns}) {
			t.Errorf("TTL %d on the wire: expected the signed ones, got %+v", ttl, ttls)
		}
	}
	if ttlOf(1<<31) != 0 || ttlOf(1<<31-1) != MaxTTL || ttlOf(60) != time.Minute {
		t.Error("Expected TTLs to be bounded")
	}
}

func TestLostDatagramIsSentAgain(t *testing.T) {
	w := newWorld(t)
	joint, lost := w.servers[addrB], make(map[uint16]bool)
	w.servers[addrB] = func(stream bool, name string, qtype uint16) (*dns.Msg, error) {
		if !stream && !lost[qtype] {
			lost[qtype] = true
			return nil, errors.New("does not answer in time")
		}
		return joint(stream, name, qtype)
	}
	if s := w.observer().Servers(t.Context(), zone, []string{hostA, hostB}); told(s) != "" {
		t.Errorf("Expected all answers, got %q", told(s))
	}
}

// collide returns a key that nobody can sign with, of the same tag as k: that
// is a sum of pairs of octets, whatever their order.
func collide(k *lab.Key, i int) *dns.DNSKEY {
	octets, err := base64.StdEncoding.DecodeString(k.PublicKey)
	if err != nil {
		panic(err)
	}
	at, to := 2*(i/31), 2*(i/31+1+i%31)
	octets[at], octets[at+1], octets[to], octets[to+1] = octets[to], octets[to+1], octets[at], octets[at+1]
	other := dns.Copy(k.DNSKEY).(*dns.DNSKEY)
	other.PublicKey = base64.StdEncoding.EncodeToString(octets)
	return other
}

func TestCollidingKeysCostLittleAndHideNothing(t *testing.T) {
	w := newWorld(t)
	hostile := provider(t, lab.Zone{Keys: []*lab.Key{kskB, zskB}, Records: jointRecords(zskA)})
	w.servers[addrB] = altered(w.serve(hostile), 0, func(_ bool, m *dns.Msg) (*dns.Msg, error) {
		if len(m.Answer) == 0 {
			return m, nil
		}
		if m.Answer[0].Header().Rrtype == dns.TypeDNSKEY {
			for i := range 60 {
				m.Answer = append(m.Answer, collide(zskA, i))
			}
		}
		sig, ok := m.Answer[len(m.Answer)-1].(*dns.RRSIG)
		for i := 0; ok && i < 100; i++ {
			bad := dns.Copy(sig).(*dns.RRSIG)
			bad.KeyTag, bad.Inception = zskA.KeyTag(), bad.Inception+uint32(i)
			m.Answer = append(m.Answer, bad)
		}
		return m, nil
	})
	s := w.observer().Servers(t.Context(), zone, []string{hostA, hostB})
	a, _ := s.Server(hostA)
	if got := tags(a.Addresses[0].UDP.SOA.Signers); !slices.Equal(got, tagsOf(zskA)) {
		t.Errorf("Expected A's data to verify all the same, got %v", got)
	}
	b, _ := s.Server(hostB)
	if !errors.Is(b.Addresses[0].TCP.CNS.Err, errCostly) {
		t.Errorf("Expected B's signatures not to be checked without end, got %+v", b.Addresses[0].TCP.CNS)
	}
}

// The same octets are not verified twice: all that a second look at the same
// answers costs is to tell them from others.
func TestWhatWasVerifiedIsNotVerifiedAgain(t *testing.T) {
	w := newWorld(t)
	o := w.observer()
	l := o.begin(zone)
	l.visit(t.Context(), []string{hostA, hostB})
	first := testing.AllocsPerRun(5, func() {
		o.signatures = validate.NewSignatures()
		l.end()
	})
	want := l.end()
	again := testing.AllocsPerRun(5, func() { l.end() })
	if again > first/2 {
		t.Errorf("Expected far fewer than %v allocations the second time, got %v", first, again)
	}
	l.o = New(w, Options{Now: func() time.Time { return now }, Signatures: o.signatures})
	if shared := testing.AllocsPerRun(1, func() { l.end() }); shared > first/2 {
		t.Errorf("Expected far fewer than %v allocations of another observer that knows the signatures, got %v", first, shared)
	}
	if got := l.end(); !reflect.DeepEqual(got, want) || len(got.Servers) != 2 || len(got.Servers[0].Addresses[0].UDP.SOA.Signers) != 1 {
		t.Errorf("Expected the same as the first time, with signers, got %+v", got)
	}
}
