package main

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/announce"
	"github.com/coredns-mske/mske/cns"
	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/merge"
)

func init() { cns.Register() } // as main does

// answerFrom returns a nameserver of zones.
func answerFrom(zones ...*lab.Zone) dns.Handler {
	return dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetRcode(q, dns.RcodeRefused)
		for _, z := range zones {
			if name := dns.CanonicalName(q.Question[0].Name); dns.IsSubDomain(z.Name, name) {
				m = z.Answer(name, q.Question[0].Qtype)
				rcode := m.Rcode
				m.SetReply(q).Rcode = rcode
				break
			}
		}
		w.WriteMsg(m)
	})
}

// socket is an address for both transports.
type socket struct {
	packets  net.PacketConn
	listener net.Listener
}

// bind takes those IP addresses, with one port that is free at all of them.
func bind(t *testing.T, ips ...string) []socket {
	t.Helper()
	var err error
	for range 50 {
		var sockets []socket
		if sockets, err = tryBind(ips); err == nil {
			return sockets
		}
		if errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Skipf("This system has not all of %v without set-up: %v", ips, err)
		}
	}
	t.Fatal(err)
	return nil
}

func tryBind(ips []string) (sockets []socket, err error) {
	defer func() {
		if err != nil {
			for _, s := range sockets {
				s.packets.Close()
				s.listener.Close()
			}
		}
	}()
	port := "0"
	for _, ip := range ips {
		packets, err := net.ListenPacket("udp", net.JoinHostPort(ip, port))
		if err != nil {
			return sockets, err
		}
		listener, err := net.Listen("tcp", packets.LocalAddr().String())
		if err != nil {
			packets.Close()
			return sockets, err
		}
		sockets = append(sockets, socket{packets, listener})
		if _, port, err = net.SplitHostPort(packets.LocalAddr().String()); err != nil {
			return sockets, err
		}
	}
	return sockets, nil
}

// serve answers there until the test ends, over TCP only if tcp is set.
func (s socket) serve(t *testing.T, tcp bool, h dns.Handler) {
	t.Helper()
	servers := []*dns.Server{{PacketConn: s.packets, Handler: h}}
	if tcp {
		servers = append(servers, &dns.Server{Listener: s.listener, Handler: h})
	} else {
		s.listener.Close()
	}
	for _, server := range servers {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go server.ActivateAndServe()
		<-started
		t.Cleanup(func() { server.Shutdown() })
	}
}

// announcing returns the records by which a provider announces its keys.
func announcing(t *testing.T, host string, ksk, zsk merge.Key) string {
	t.Helper()
	owner, err := announce.Name(checkZone, host)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, set := range announce.RRsets(owner, merge.Announcement{CDS: checkDS(ksk), CDNSKEY: []merge.Key{ksk}, DNSKEY: []merge.Key{zsk}}, 300) {
		for _, rr := range set {
			text.WriteString(rr.String() + "\n")
		}
	}
	return text.String()
}

// startWorld serves a hierarchy with two providers of example.co.uk on
// loopback, and returns the command line to look at it.
func startWorld(t *testing.T, tcpAtB bool) []string {
	t.Helper()
	now := time.Now()
	joint := func(foreign merge.Key) string {
		text := foreign.DNSKEY(checkZone, 300).String() + "\n@ NS " + checkA + "\n@ CNS " + checkA + "\n@ CNS " + checkB + "\n"
		for _, k := range []merge.Key{checkKSKA, checkKSKB} {
			text += checkDS(k)[0].CDS(checkZone, 300).String() + "\n" + k.CDNSKEY(checkZone, 300).String() + "\n"
		}
		return text
	}
	keys := func(seed string) []*lab.Key {
		return []*lab.Key{lab.NewKey(checkZone, dns.ECDSAP256SHA256, 257, seed), lab.NewKey(checkZone, dns.ECDSAP256SHA256, 256, seed)}
	}
	l := lab.New(t, now)
	for _, z := range []lab.Zone{
		{Name: "."}, {Name: "net."}, {Name: "org."}, {Name: "uk."},
		{Name: "co.uk.", Records: "@ NS ns.provider-a.net.\nexample NS " + checkA + "\n"},
		{Name: "provider-a.net.", Records: "ns A 127.0.0.4\nns1 A 127.0.0.2\n" + announcing(t, checkA, checkKSKA, checkZSKA)},
		{Name: "provider-b.org.", Records: "ns1 A 127.0.0.3\n" + announcing(t, checkB, checkKSKB, checkZSKB)},
		{Name: checkZone, Keys: keys("A"), Records: joint(checkZSKB)},
	} {
		l.Add(z)
	}
	b := lab.New(t, now).Add(lab.Zone{Name: checkZone, Keys: keys("B"), Records: joint(checkZSKA)})

	sockets := bind(t, "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4")
	sockets[0].serve(t, true, l) // the resolver
	sockets[1].serve(t, true, answerFrom(l.Zone(checkZone)))
	sockets[2].serve(t, tcpAtB, answerFrom(b))
	sockets[3].serve(t, true, answerFrom(l.Zone("co.uk.")))
	resolver := sockets[0].packets.LocalAddr().String()
	_, port, err := net.SplitHostPort(resolver)
	if err != nil {
		t.Fatal(err)
	}
	anchors := filepath.Join(t.TempDir(), "root.ds")
	if err := os.WriteFile(anchors, []byte(l.Anchors()), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"check", "--resolver", resolver, "--trust-anchor", anchors, "--port", port}
}

func TestCheckOverTheNetwork(t *testing.T) {
	args := startWorld(t, true)
	status, stdout, stderr := call(append(args, "Example.co.uk")...)
	if status != exitOK || stderr != "" || !strings.HasSuffix(stdout, "\nconverged: whichever nameservers a resolver asks, it can validate; the parent's\n  DS has yet to follow\n") {
		t.Errorf("Expected status 0 and converged, got %d, %q\n%s", status, stderr, stdout)
	}
	for _, line := range []string{
		"  1  A  ns1.provider-a.net.  CNS, NS, parent's NS\n         127.0.0.2 serial 1\n",
		withTags("     B  KSK  @KSKB  ECDSAP256SHA256   !  -C-  DCA\n"),
		withTags("     B  ZSK  @ZSKB  ECDSAP256SHA256   -  D--  D-A\n"),
		"    example.co.uk. DS " + dnsTag(checkKSKB) + " 13 2\n",
	} {
		if !strings.Contains(stdout, line) {
			t.Errorf("Expected %q in\n%s", line, stdout)
		}
	}

	status, stdout, _ = call(append(args, "--json", "--watch", checkZone)...)
	var got checkJSON
	if err := json.Unmarshal([]byte(stdout), &got); status != exitOK || err != nil || got.Phase != phaseConverged || len(got.Nameservers) != 2 {
		t.Errorf("Expected one object, got %d, %v, %s", status, err, stdout)
	}
	if _, stdout, _ := call(append(args, "co.uk")...); !strings.Contains(stdout, "  NS  not read\n") || !strings.Contains(stdout, "\nsingle: ") {
		t.Errorf("Expected co.uk to be seen, though its parent's servers have no address, got\n%s", stdout)
	}
}

func TestCheckTellsWhatFailsOverTCPOnly(t *testing.T) {
	status, stdout, stderr := call(append(startWorld(t, false), checkZone)...)
	if want := "ns1.provider-b.org. (127.0.0.3 over TCP): fails: connection refused\n"; status != exitFailed || !strings.Contains(stdout, want) {
		t.Errorf("Expected status 1 and %q, got %d, %q\n%s", want, status, stderr, stdout)
	}
}

func TestCheckWithoutAResolver(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close() // nobody listens there now
	status, stdout, stderr := call("check", "--resolver", addr, checkZone)
	if status != exitUsage || !strings.Contains(stdout, "--resolver names others") || !strings.Contains(stderr, "mske check: resolver "+addr+" is not used") {
		t.Errorf("Expected status 2 and the resolver to be named, got %d, %q\n%s", status, stderr, stdout)
	}
}
