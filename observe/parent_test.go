package observe

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
)

func TestParentDSIsReadOrNot(t *testing.T) {
	child := lab.Zone{Name: zone, Keys: []*lab.Key{kskA, zskA}, Records: jointRecords(zskB, hostA)}
	without, unsigned := child, child
	without.NoDS = true
	unsigned.Keys, unsigned.Unsigned = nil, true
	parent := lab.Zone{Name: "co.uk.", Records: "@ NS ns.example.net.\nexample 7200 NS " + hostA + "\n"}
	optOut, insecure, island := parent, parent, parent
	optOut.Denial, optOut.OptOut = lab.NSEC3, true
	insecure.Unsigned = true
	island.NoDS = true
	tests := []struct {
		name   string
		zones  []lab.Zone
		tamper bool
		status DSStatus
		ttl    time.Duration
		absent bool
	}{
		{"present", nil, false, DSPresent, time.Hour, false},
		{"denied", []lab.Zone{without}, false, DSDenied, 5 * time.Minute, true},
		{"denied for an unsigned zone", []lab.Zone{unsigned}, false, DSDenied, 5 * time.Minute, true},
		{"below an opt-out", []lab.Zone{unsigned, optOut}, false, DSInsecure, 5 * time.Minute, true},
		{"below an unsigned parent", []lab.Zone{insecure}, false, DSInsecure, 5 * time.Minute, true},
		{"below an island of security", []lab.Zone{island}, false, DSInsecure, 5 * time.Minute, true},
		{"forged", nil, true, DSUnread, 0, false},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, tc.zones...)
			if tc.tamper {
				w.Tamper(zone, dns.TypeDS, func(m *dns.Msg) *dns.Msg {
					m.Answer[0].(*dns.DS).KeyTag++
					return m
				})
			}
			p := w.observer().Parent(t.Context(), "EXAMPLE.co.uk")
			if p.DSStatus != tc.status || p.DSTTL != tc.ttl || p.DSStatus.Absent() != tc.absent || (p.DSErr != nil) != (tc.status == DSUnread) {
				t.Errorf("Expected DS %s for %v, got %s for %v: %v", tc.status, tc.ttl, p.DSStatus, p.DSTTL, p.DSErr)
			}
			if p.DSAge != 0 {
				t.Errorf("Expected DS to have been asked for now, got %v ago", p.DSAge)
			}
			if (len(p.DS) == 1 && p.DS[0].KeyTag == kskA.KeyTag()) != (tc.status == DSPresent) {
				t.Errorf("Expected A's DS only if present, got %v", p.DS)
			}
			if p.Name != "co.uk." || !p.NSRead || !slices.Equal(p.NS, []string{hostA}) || p.NSTTL != 2*time.Hour {
				t.Errorf("Expected the delegation all the same, got %+v", p)
			}
		})
	}
}

func TestDSFromAResolversCacheIsAsOldAsItsTTLSays(t *testing.T) {
	w := newWorld(t)
	w.Tamper(zone, dns.TypeDS, func(m *dns.Msg) *dns.Msg {
		for _, rr := range m.Answer {
			rr.Header().Ttl = 600
		}
		return m
	})
	if p := w.observer().Parent(t.Context(), zone); p.DSStatus != DSPresent || p.DSTTL != time.Hour || p.DSAge != 50*time.Minute {
		t.Errorf("Expected DS of 50 minutes ago, got %+v", p)
	}
}

func TestDelegationIsToldFromOtherAnswers(t *testing.T) {
	referral := func(ns ...string) *dns.Msg {
		m := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true}}
		for _, host := range ns {
			m.Ns = append(m.Ns, &dns.NS{Hdr: dns.RR_Header{Name: "Example.co.uk.", Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: 60}, Ns: host})
		}
		return m
	}
	child := referral("NS9.example.net.")
	child.Authoritative, child.Answer, child.Ns = true, child.Ns, nil
	cached := child.Copy()
	cached.Authoritative = false
	soa := &dns.SOA{Hdr: dns.RR_Header{Name: "co.uk.", Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: ".", Mbox: "."}
	denial := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Authoritative: true, Rcode: dns.RcodeNameError}, Ns: []dns.RR{soa}}
	upward := referral(hostA)
	upward.Ns[0].Header().Name = "uk."
	tests := []struct {
		name  string
		m     *dns.Msg
		ns    string
		child bool
		err   error
	}{
		{"referral", referral("NS2.example.net.", hostA, hostA), hostA + " ns2.example.net.", false, nil},
		{"the child's answer", child, "ns9.example.net.", true, nil},
		{"no delegation", denial, "", false, nil},
		{"from a cache", cached, "", false, errLame},
		{"upward referral", upward, "", false, errUpward},
		{"nothing", &dns.Msg{}, "", false, errUpward},
		{"authority for nothing", &dns.Msg{MsgHdr: dns.MsgHdr{Authoritative: true}}, "", false, errUpward},
	}
	for _, tc := range tests {
		var ps ParentServer
		readReferral(tc.m, zone, "co.uk.", &ps)
		if strings.Join(ps.NS, " ") != tc.ns || ps.Child != tc.child || !errors.Is(ps.Err, tc.err) || (ps.TTL == time.Minute) != (tc.ns != "") {
			t.Errorf("%s: expected %q, child %t, %v, got %+v", tc.name, tc.ns, tc.child, tc.err, ps)
		}
	}
}

func TestAllOfTheParentsServersAreHeard(t *testing.T) {
	referTo := func(host string) handler {
		return func(bool, string, uint16) (*dns.Msg, error) {
			m := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true}}
			m.Ns = []dns.RR{&dns.NS{Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: 60}, Ns: host}}
			return m, nil
		}
	}
	at := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}) }
	tests := []struct {
		name    string
		servers []handler // of ns1, ns2 ... by address
		noRoute int
		ns      string
		read    bool
	}{
		{"all agree", []handler{referTo(hostA), referTo(hostA)}, 0, hostA, true},
		{"one lags", []handler{referTo(hostA), referTo(hostB), referTo(hostA)}, 0, hostA + " " + hostB, true},
		{"one is dead", []handler{referTo(hostA), nil}, 0, hostA, true},
		{"most are dead", []handler{referTo(hostA), nil, nil}, 0, hostA, false},
		{"all are dead", []handler{nil, nil}, 0, "", false},
		{"one cannot be reached from here", []handler{nil, referTo(hostA)}, 1, hostA, true},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			ns, addresses := "", ""
			for i := range tc.servers {
				ns += fmt.Sprintf("@ NS ns%d.example.com.\n", i+1)
				addresses += fmt.Sprintf("ns%d A 198.51.100.%d\n", i+1, i+1)
			}
			w := newWorld(t, lab.Zone{Name: "com."}, lab.Zone{Name: "example.com.", Records: addresses}, lab.Zone{Name: "co.uk.", Records: ns})
			for i, h := range tc.servers {
				if h != nil {
					w.servers[at(i+1)] = h
				}
			}
			if tc.noRoute > 0 {
				w.unrouted[at(tc.noRoute)] = true
			}
			p := w.observer().Parent(t.Context(), zone)
			if strings.Join(p.NS, " ") != tc.ns || p.NSRead != tc.read || len(p.Servers) != len(tc.servers) || p.DSStatus != DSPresent {
				t.Errorf("Expected %q, read %t, of %d servers, got %+v", tc.ns, tc.read, len(tc.servers), p)
			}
		})
	}
}

func TestParentAnswersOverTCPWhereUDPFails(t *testing.T) {
	w := newWorld(t)
	w.servers[addrP] = altered(w.servers[addrP], 0, func(stream bool, m *dns.Msg) (*dns.Msg, error) {
		if !stream {
			return nil, errors.New("does not answer in time")
		}
		return m, nil
	})
	if p := w.observer().Parent(t.Context(), zone); !p.NSRead || !slices.Equal(p.NS, []string{hostA}) {
		t.Errorf("Expected the delegation over TCP, got %+v", p)
	}
}

func TestEveryZoneHasAParentButTheRoot(t *testing.T) {
	w := newWorld(t)
	w.servers[addrP] = w.serve(w.Zone("co.uk."), w.Zone("uk."), w.Zone("."))
	w.servers[addrA] = w.serve(w.Zone("."))
	for zone, want := range map[string]string{"co.uk.": "uk.", "uk.": ".", "example.org.": "org."} {
		p := w.observer().Parent(t.Context(), zone)
		if p.Name != want || p.DSStatus != DSPresent {
			t.Errorf("%s: expected parent %s with DS, got %+v", zone, want, p)
		}
		if zone == "uk." && (!p.NSRead || !slices.Equal(p.NS, []string{hostA})) { // as the lab delegates
			t.Errorf("%s: expected the root's delegation, got %+v", zone, p)
		}
	}
	if p := w.observer().Parent(t.Context(), "."); p.Name != "" || p.NSRead || p.DSStatus != DSUnread || !errors.Is(p.DSErr, errRoot) {
		t.Errorf("Expected the root to have no parent, got %+v", p)
	}
	// The root itself can be looked at as any zone.
	s := w.observer().Explore(t.Context(), ".")
	if len(s.Servers) != 1 || len(s.Servers[0].Addresses[0].UDP.SOA.Signers) != 1 {
		t.Errorf("Expected the root's nameserver, got %+v", s.Servers)
	}
}

func TestNoDelegationAtAll(t *testing.T) {
	p := newWorld(t).observer().Parent(t.Context(), "nowhere.co.uk.")
	if p.Name != "co.uk." || p.DSStatus != DSDenied || p.DSTTL != 5*time.Minute || !p.NSRead || len(p.NS) != 0 {
		t.Errorf("Expected the parent to deny DS and NS, got %+v", p)
	}
}

func TestParentOnTheChildsServersIsTold(t *testing.T) {
	w := newWorld(t)
	w.servers[addrP] = w.serve(w.Zone(zone), w.Zone("co.uk."))
	p := w.observer().Parent(t.Context(), zone)
	if !p.NSRead || len(p.Servers) != 1 || !p.Servers[0].Child || p.NSTTL != 30*time.Minute {
		t.Errorf("Expected the zone's own NS, and to be told so, got %+v", p)
	}
}

func TestNothingIsReadWithoutAResolver(t *testing.T) {
	w := newWorld(t)
	w.Tamper("", 0, func(*dns.Msg) *dns.Msg { return nil })
	s := w.observer().Explore(t.Context(), zone)
	if p := s.Parent; p.DSStatus != DSUnread || p.DSErr == nil || p.NSRead || len(s.Servers) != 0 || s.CNS.Err == nil || s.NS.Err == nil {
		t.Errorf("Expected nothing to be read, and why, got %+v", s)
	}
}
