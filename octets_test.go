package mske

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin"
	_ "github.com/coredns/coredns/plugin/bufsize"
	_ "github.com/coredns/coredns/plugin/dnstap"
	_ "github.com/coredns/coredns/plugin/metadata"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/pkg/edns"
	"github.com/coredns/coredns/plugin/test"
	_ "github.com/coredns/coredns/plugin/tls"
	"github.com/coredns/coredns/request"

	"github.com/miekg/dns"
)

// aQuestion is a question, and how it is asked.
type aQuestion struct {
	what string
	*dns.Msg
}

// manyQuestions returns questions for everything that is answered in octets, and
// for what is not, with all that a client may send.
func manyQuestions() []aQuestion {
	var all []aQuestion
	add := func(what, name string, qtype uint16, change func(*dns.Msg)) {
		q := new(dns.Msg).SetQuestion(name, qtype)
		change(q)
		all = append(all, aQuestion{fmt.Sprintf("%s: %s %s", what, name, dns.Type(qtype)), q})
	}
	for _, ask := range []struct {
		name  string
		qtype uint16
	}{
		{"example.org.", dns.TypeDNSKEY}, {"example.org.", dns.TypeCDS}, {"example.org.", dns.TypeCDNSKEY},
		{"example.org.", dns.TypeNS}, {"example.org.", dns.TypeCSYNC}, {"example.org.", dns.TypeSOA}, {"www.example.org.", dns.TypeA},
		{"_multi.example.org._signal.ns1.example.net.", dns.TypeDNSKEY}, {"_multi.example.org._signal.ns1.example.net.", dns.TypeCDS},
		{"_multi.example.org._signal.ns1.example.net.", dns.TypeANY}, {"_multi.example.org._signal.ns1.example.net.", dns.TypeRRSIG},
		{"_multi.example.org._signal.ns1.example.net.", dns.TypeNSEC}, {"_multi.example.org._signal.ns1.example.net.", dns.TypeTXT},
		{"org._signal.ns1.example.net.", dns.TypeCDS}, {"no.such.org._signal.ns1.example.net.", dns.TypeCDS},
		{"_signal.ns1.example.net.", dns.TypeSOA}, {"_signal.ns1.example.net.", dns.TypeNS}, {"_signal.ns1.example.net.", dns.TypeDNSKEY},
		{"_signal.ns1.example.net.", dns.TypeMX}, {"_signal.ns1.example.net.", dns.TypeDS}, {`a\.b\000\"._signal.ns1.example.net.`, dns.TypeA},
	} {
		plain := func(size uint16, do bool) func(*dns.Msg) {
			return func(q *dns.Msg) { q.SetEdns0(size, do) }
		}
		add("without EDNS", ask.name, ask.qtype, func(*dns.Msg) {})
		for _, size := range []uint16{0, 100, 512, 600, 700, 800, 900, 1232, 1480, 4096, 65535} {
			add(fmt.Sprintf("size %d with DO", size), ask.name, ask.qtype, plain(size, true))
		}
		add("without DO", ask.name, ask.qtype, plain(1232, false))
		add("other case", mixedCase(ask.name), ask.qtype, plain(1232, true))
		add("CD and no RD", ask.name, ask.qtype, func(q *dns.Msg) {
			plain(1232, true)(q)
			q.CheckingDisabled, q.RecursionDesired = true, false
		})
		add("AD, RA, AA, Z", ask.name, ask.qtype, func(q *dns.Msg) {
			q.AuthenticatedData, q.RecursionAvailable, q.Authoritative, q.Zero = true, true, true, true
		})
		add("CO and Z bits of EDNS", ask.name, ask.qtype, func(q *dns.Msg) {
			plain(1232, true)(q)
			q.IsEdns0().Hdr.Ttl |= 0x7fff
		})
		add("version 1", ask.name, ask.qtype, func(q *dns.Msg) { plain(1232, true)(q); q.IsEdns0().SetVersion(1) })
		add("options", ask.name, ask.qtype, func(q *dns.Msg) {
			plain(1232, true)(q)
			q.IsEdns0().Option = []dns.EDNS0{
				&dns.EDNS0_NSID{Code: dns.EDNS0NSID}, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"}, &dns.EDNS0_PADDING{Padding: make([]byte, 20)},
			}
		})
		add("another record", ask.name, ask.qtype, func(q *dns.Msg) { plain(1232, true)(q); q.Extra = append(q.Extra, test.A("x. 1 IN A 192.0.2.1")) })
		add("class CH", ask.name, ask.qtype, func(q *dns.Msg) { q.Question[0].Qclass = dns.ClassCHAOS })
		add("class ANY", ask.name, ask.qtype, func(q *dns.Msg) { q.Question[0].Qclass = dns.ClassANY })
	}
	return all
}

// mixedCase returns name with every other letter in upper case.
func mixedCase(name string) string {
	b := []byte(name)
	for i := 0; i < len(b); i += 2 {
		b[i] = bytes.ToUpper(b[i : i+1])[0]
	}
	return string(b)
}

// slowly returns what the server sends for q where a plugin needs a message, and
// whether in compressed form.
func slowly(t *testing.T, m *MSKE, q *dns.Msg, udp bool, bufsize uint16) (*dns.Msg, bool) {
	t.Helper()
	r := overWire(t, q)
	rec := dnstest.NewRecorder(&test.ResponseWriter{TCP: !udp}) // not the server's own writer, so nothing is sent in octets
	if invalid, err := edns.Version(r); err != nil {
		return overWire(t, invalid), false
	}
	if opt := r.IsEdns0(); opt != nil && bufsize > 0 && r.Question[0].Qclass == dns.ClassINET {
		opt.SetUDPSize(min(opt.UDPSize(), bufsize))
	}
	w, rcode := request.NewScrubWriter(r, rec), dns.RcodeRefused
	if r.Question[0].Qclass == dns.ClassINET {
		rcode, _ = m.ServeDNS(t.Context(), w, r)
	}
	if !plugin.ClientWrite(rcode) {
		if err := w.WriteMsg(new(dns.Msg).SetRcode(r, rcode)); err != nil {
			t.Fatal(err)
		}
	}
	return overWire(t, rec.Msg), rec.Msg.Compress
}

// overWire returns m as a client gets it.
func overWire(t *testing.T, m *dns.Msg) *dns.Msg {
	t.Helper()
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return read(t, wire)
}

func read(t *testing.T, wire []byte) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(wire); err != nil {
		t.Fatalf("%v\n%x", err, wire)
	}
	return m
}

// uncompressed returns m on the wire with every name written out.
func uncompressed(t *testing.T, m *dns.Msg) []byte {
	t.Helper()
	m.Compress = false
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// certificate writes a certificate for 127.0.0.1 and its key to cert.pem and
// key.pem in dir.
func certificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "cert.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	writeFile(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

// ways are the transports. Each asks addr and returns the octets of the answer.
var ways = map[string]struct {
	scheme string
	udp    bool
	ask    func(addr string, q []byte) ([]byte, error)
}{
	"UDP": {"dns://", true, func(addr string, q []byte) ([]byte, error) {
		conn, err := net.Dial("udp", addr)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		if _, err := conn.Write(q); err != nil {
			return nil, err
		}
		answer := make([]byte, dns.MaxMsgSize)
		n, err := conn.Read(answer)
		return answer[:n], err
	}},
	"TCP": {"dns://", false, func(addr string, q []byte) ([]byte, error) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return nil, err
		}
		return overStream(conn, q)
	}},
	"DoT": {"tls://", false, func(addr string, q []byte) ([]byte, error) {
		conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			return nil, err
		}
		return overStream(conn, q)
	}},
	"DoH": {"https://", false, func(addr string, q []byte) ([]byte, error) {
		c := &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
		reply, err := c.Post("https://"+addr+"/dns-query", "application/dns-message", bytes.NewReader(q))
		if err != nil {
			return nil, err
		}
		defer reply.Body.Close()
		return io.ReadAll(reply.Body)
	}},
}

func overStream(conn net.Conn, q []byte) ([]byte, error) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(q))), q...)); err != nil {
		return nil, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	answer := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(conn, answer)
	return answer, err
}

// octetsCorefile returns server blocks for example.org and the signaling zone of
// its nameserver, with more plugins in both.
func octetsCorefile(p *provider, scheme, more string) string {
	return strings.NewReplacer("SCHEME", scheme, "DIR", p.dir, "KSK", p.ksk, "ZSK", p.zsk, "CSK", p.delegate, "MORE", more).Replace(`
SCHEMEexample.org:PORT {
	bind 127.0.0.1
	root DIR
	MORE
	mske {
		nameservers ns1.example.net
		key file KSK ZSK
		resolver 127.0.0.1:1
	}
	dnssec {
		key file KSK ZSK
	}
	file db.example.org
}
SCHEME_signal.ns1.example.net:PORT {
	bind 127.0.0.1
	root DIR
	MORE
	mske {
		nameservers ns1.example.net
		key file CSK
		resolver 127.0.0.1:1
	}
}
`)
}

// TestAnswersInOctetsAreThoseInMessages is rule S4: what plugins are in the block
// and which way a question comes makes no difference to any field of an answer.
func TestAnswersInOctetsAreThoseInMessages(t *testing.T) {
	const withTLS = "tls cert.pem key.pem\n"
	for _, tt := range []struct {
		name, plugins string
		octets        bool
		ways          []string
		bufsize       uint16
	}{
		{"none", "", true, []string{"UDP", "TCP"}, 0},
		{"none", withTLS, true, []string{"DoT"}, 0},
		{"none", withTLS, false, []string{"DoH"}, 0},
		{"errors", "errors", true, []string{"UDP"}, 0},
		{"acl", "acl {\n block type HINFO net *\n}", true, []string{"UDP"}, 0},
		{"bufsize", "bufsize 1232", true, []string{"UDP"}, 1232},
		{"metadata", "metadata", true, []string{"UDP"}, 0},
		{"view", "view here {\n expr true\n}", true, []string{"UDP"}, 0},
		{"rewrite of others", "rewrite name exact alias.example.org. example.org. answer auto", true, []string{"UDP"}, 0},
		{"log", "log", true, []string{"UDP", "TCP"}, 0},
		{"prometheus", "prometheus 127.0.0.1:0", true, []string{"UDP", "TCP"}, 0},
		{"dnstap", "dnstap tcp://127.0.0.1:1 full", true, []string{"UDP"}, 0},
		{"cache", "cache", true, []string{"UDP"}, 0},
		{"all", withTLS + "errors\nlog\nprometheus 127.0.0.1:0\ndnstap tcp://127.0.0.1:1 full\ncache\nbufsize 1232\nmetadata", true, []string{"DoT"}, 1232},
		{"all", withTLS + "errors\nlog\nprometheus 127.0.0.1:0\ndnstap tcp://127.0.0.1:1 full\ncache\nbufsize 1232\nmetadata", false, []string{"DoH"}, 1232},
	} {
		for _, name := range tt.ways {
			way := ways[name]
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				p := newProvider(t)
				certificate(t, p.dir)
				s := start(t, octetsCorefile(p, way.scheme, tt.plugins))
				for _, name := range []string{"example.org.", "_signal.ns1.example.net."} {
					eventually(t, "an answer of "+name, func() bool { return answers(t, name, dns.TypeDNSKEY) }, func() string { return "none" })
				}
				eventually(t, "an announcement", func() bool { return answers(t, "_multi.example.org._signal.ns1.example.net.", dns.TypeCDS) }, func() string { return "none" })
				octets := 0
				for i, q := range manyQuestions() {
					if way.scheme != "dns://" && i%5 != 0 {
						continue // a TLS handshake each
					}
					wire, err := q.Pack()
					if err != nil {
						t.Fatal(err)
					}
					want, compressed := slowly(t, handlerOf(t, q.Question[0].Name), q.Msg, way.udp, tt.bufsize)
					raw, err := way.ask(s.addr, wire)
					if err != nil {
						t.Fatalf("%s: %v", q.what, err)
					}
					got := read(t, raw)
					if a, b := uncompressed(t, got), uncompressed(t, want); !bytes.Equal(a, b) {
						t.Errorf("%s: expected\n%v\ngot\n%v", q.what, want, got)
					}
					if !compressed && len(raw) < len(uncompressed(t, want)) {
						octets++
					}
				}
				if (octets > 0) != tt.octets {
					t.Errorf("Expected answers in octets %v, got %d", tt.octets, octets)
				}
			})
		}
	}
}

// handlerOf returns the running handler of the server block that name is in.
func handlerOf(t *testing.T, name string) *MSKE {
	t.Helper()
	inst := runningHandler(t).instance
	for _, m := range slices.Backward(inst.handlers) {
		if s, _ := m.sites.match(name); s.zone != nil {
			return m
		}
	}
	return inst.handlers[0]
}

// answers reports whether there is a positive answer to that question.
func answers(t *testing.T, name string, qtype uint16) bool {
	t.Helper()
	m, _ := slowly(t, handlerOf(t, name), question(name, qtype, true), false, 0)
	return answered(m)
}

// TestOctetsAreTruncatedAsMessages asks with every size at which one record more
// could have room.
func TestOctetsAreTruncatedAsMessages(t *testing.T) {
	p := newProvider(t)
	start(t, octetsCorefile(p, "dns://", ""))
	eventually(t, "an answer", func() bool { return answers(t, "example.org.", dns.TypeDNSKEY) }, func() string { return "none" })
	m := handlerOf(t, "example.org.")
	view := m.zones["example.org."].view.Load()
	for size := uint16(512); size < 1000; size++ {
		for _, qtype := range []uint16{dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY} {
			q := question("example.org.", qtype, true)
			q.IsEdns0().SetUDPSize(size)
			want, _ := slowly(t, m, q, true, 0)
			wire, _, ok := view.AppendReply(nil, q, int(size))
			if !ok {
				t.Fatalf("%s, size %d: expected an answer", dns.Type(qtype), size)
			}
			if got := read(t, wire); !bytes.Equal(uncompressed(t, got), uncompressed(t, want)) {
				t.Fatalf("%s, size %d: expected\n%v\ngot\n%v", dns.Type(qtype), size, want, got)
			}
		}
	}
}

// Whoever packs a message that was kept, as dnstap does, gets the octets that are sent.
func TestKeptMessageIsWhatIsSent(t *testing.T) {
	p := newProvider(t)
	s := start(t, p.corefile(""))
	s.until("an answer", question("example.org.", dns.TypeDNSKEY, true), answered)
	view := runningHandler(t).zones["example.org."].view.Load()
	for _, qtype := range []uint16{dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY} {
		q := question("ExAmPlE.oRg.", qtype, true)
		reply, _ := view.Reply(q)
		set := view.RRset(q.Question[0])
		kept := &end{ResponseWriter: &test.ResponseWriter{}, set: set}
		if err := kept.WriteMsg(reply); err != nil || kept.message == nil {
			t.Fatalf("Expected the message to be kept, got %v", err)
		}
		packed, err := kept.message.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if sent, ok := set.AppendMessage(nil, kept.message); !ok || !bytes.Equal(sent, packed) {
			t.Errorf("%s: expected %d octets that are sent, got %d", dns.Type(qtype), len(sent), len(packed))
		}
	}
}
