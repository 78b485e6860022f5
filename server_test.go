package mske

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	_ "github.com/coredns/coredns/plugin/acl"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/dnssec"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/file"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/header"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/metrics"
	_ "github.com/coredns/coredns/plugin/rewrite"
	_ "github.com/coredns/coredns/plugin/root"
	_ "github.com/coredns/coredns/plugin/transfer"
	_ "github.com/coredns/coredns/plugin/tsig"
	_ "github.com/coredns/coredns/plugin/view"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/daemon"
)

func init() {
	caddy.Quiet, dnsserver.Quiet = true, true
	dnsserver.Directives = slices.Insert(slices.Clone(dnsserver.Directives), slices.Index(dnsserver.Directives, "dnssec"), pluginName)
}

// patience bounds what a test waits for; nothing takes that long.
const patience = 20 * time.Second

// server is a CoreDNS in this process.
type server struct {
	t    testing.TB
	inst *caddy.Instance
	addr string // where the tests ask, UDP and TCP
	down bool   // shut down, but for the servers
}

// start starts CoreDNS. PORT in the Corefile becomes a free port of the
// loopback address.
func start(t testing.TB, corefile string) *server {
	t.Helper()
	port := daemon.FreePort(t)
	s := &server{t: t, addr: net.JoinHostPort("127.0.0.1", port)}
	inst, err := caddy.Start(input(strings.ReplaceAll(corefile, "PORT", port)))
	if err != nil {
		t.Fatalf("%v\n%s", err, corefile)
	}
	s.inst = inst
	t.Cleanup(s.stop)
	return s
}

// stop does what CoreDNS does on SIGTERM. It may be called twice.
func (s *server) stop() {
	if s.inst == nil {
		return
	}
	s.shutdown()
	if err := s.inst.Stop(); err != nil {
		s.t.Error(err)
	}
	s.inst = nil
}

// shutdown does the first part of that: the servers still run.
func (s *server) shutdown() {
	if s.down {
		return
	}
	s.down = true
	for _, err := range s.inst.ShutdownCallbacks() {
		s.t.Error(err)
	}
}

func input(corefile string) caddy.Input {
	return caddy.CaddyfileInput{Filepath: "Corefile", Contents: []byte(corefile), ServerTypeName: "dns"}
}

// question returns a question with the DO bit as asked.
func question(name string, qtype uint16, do bool) *dns.Msg {
	q := new(dns.Msg).SetQuestion(name, qtype)
	q.RecursionDesired = false
	q.SetEdns0(4096, do)
	return q
}

// ask puts a question to the server.
func (s *server) ask(q *dns.Msg) *dns.Msg {
	s.t.Helper()
	reply, err := exchange(s.addr, q)
	if err != nil {
		s.t.Fatalf("%s: %v", &q.Question[0], err)
	}
	return reply
}

func exchange(addr string, q *dns.Msg) (*dns.Msg, error) {
	c := &dns.Client{Net: "tcp", Timeout: 5 * time.Second}
	reply, _, err := c.Exchange(q, addr)
	return reply, err
}

// until repeats the question until the answer is as wanted, and returns that
// answer.
func (s *server) until(what string, q *dns.Msg, wanted func(*dns.Msg) bool) *dns.Msg {
	s.t.Helper()
	var last *dns.Msg
	eventually(s.t, what, func() bool {
		reply, err := exchange(s.addr, q)
		if err != nil {
			return false
		}
		last = reply
		return wanted(reply)
	}, func() string { return fmt.Sprint(last) })
	return last
}

// eventually waits for done to return true.
func eventually(t testing.TB, what string, done func() bool, last func() string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("Expected %s within %s, got\n%s", what, patience, last())
		}
	}
}

// provider is a directory with the zone example.org, its keys, and the domain
// example.net of its nameserver.
type provider struct {
	dir                     string
	ksk, zsk, csk, delegate string
}

const zoneOrg = `$ORIGIN example.org.
@ 3600 IN SOA ns1.example.net. hostmaster.example.org. 1 7200 3600 1209600 300
@ 3600 IN NS ns1.example.net.
www 300 IN A 192.0.2.80
`

const zoneNet = `$ORIGIN example.net.
@ 3600 IN SOA ns1.example.net. hostmaster.example.net. 1 7200 3600 1209600 300
@ 3600 IN NS ns1.example.net.
ns1 3600 IN A 127.0.0.1
`

func newProvider(t testing.TB) *provider {
	t.Helper()
	p := &provider{dir: t.TempDir()}
	p.ksk = writeKey(t, p.dir, "example.org.", 257)
	p.zsk = writeKey(t, p.dir, "example.org.", 256)
	p.csk = writeKey(t, p.dir, "example.net.", 257)
	p.delegate = writeKey(t, p.dir, "_signal.ns1.example.net.", 257)
	writeFile(t, filepath.Join(p.dir, "db.example.org"), zoneOrg)
	writeFile(t, filepath.Join(p.dir, "db.example.net"), zoneNet)
	return p
}

// corefile returns server blocks for both zones. Plugins in more are added to
// that of example.org.
func (p *provider) corefile(more string) string {
	return strings.NewReplacer("DIR", p.dir, "KSK", p.ksk, "ZSK", p.zsk, "CSK", p.csk, "MORE", more).Replace(`
example.org:PORT {
	bind 127.0.0.1
	root DIR
	errors
	MORE
	mske {
		nameservers ns1.example.net
		key file KSK ZSK
		resolver 127.0.0.1:1
		state mske.db
	}
	dnssec {
		key file KSK ZSK
	}
	file db.example.org
}
example.net:PORT {
	bind 127.0.0.1
	root DIR
	errors
	mske {
		nameservers ns1.example.net
		key file CSK
		resolver 127.0.0.1:1
	}
	dnssec {
		key file CSK
	}
	file db.example.net
}
`)
}

// key returns the public half of the key with that base name.
func (p *provider) key(t testing.TB, base string) *dns.DNSKEY {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, base+".key"))
	if err != nil {
		t.Fatal(err)
	}
	rr, err := dns.NewRR(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return rr.(*dns.DNSKEY)
}

// records returns the records of a type in section.
func records(section []dns.RR, rrtype uint16) []dns.RR {
	var rrs []dns.RR
	for _, rr := range section {
		if rr.Header().Rrtype == rrtype {
			rrs = append(rrs, rr)
		}
	}
	return rrs
}

// expectRecords checks that section holds, of the types of want, exactly want:
// every octet of the rdata, in canonical form, and the TTL.
func expectRecords(t testing.TB, section []dns.RR, want ...dns.RR) {
	t.Helper()
	var got []dns.RR
	for _, rr := range section {
		if slices.ContainsFunc(want, func(w dns.RR) bool { return w.Header().Rrtype == rr.Header().Rrtype }) {
			got = append(got, rr)
		}
	}
	if a, b := wire(t, got), wire(t, want); !slices.Equal(a, b) {
		t.Errorf("Expected the records\n%v\ngot\n%v", want, got)
	}
}

// wire returns the records in wire format, sorted.
func wire(t testing.TB, rrs []dns.RR) []string {
	t.Helper()
	var all []string
	for _, rr := range rrs {
		buf := make([]byte, dns.Len(rr)+1)
		rr = dns.Copy(rr)
		rr.Header().Name = dns.CanonicalName(rr.Header().Name)
		end, err := dns.PackRR(rr, buf, 0, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(buf[:end]))
	}
	slices.Sort(all)
	return all
}

// expectSigned checks that every RRset in section has a valid signature by
// each of the keys, and no other signature.
func expectSigned(t testing.TB, section []dns.RR, keys ...*dns.DNSKEY) {
	t.Helper()
	sets := make(map[string][]dns.RR)
	sigs := make(map[string][]*dns.RRSIG)
	for _, rr := range section {
		id := func(t uint16) string { return fmt.Sprintf("%s %d", dns.CanonicalName(rr.Header().Name), t) }
		if sig, ok := rr.(*dns.RRSIG); ok {
			sigs[id(sig.TypeCovered)] = append(sigs[id(sig.TypeCovered)], sig)
		} else {
			sets[id(rr.Header().Rrtype)] = append(sets[id(rr.Header().Rrtype)], rr)
		}
	}
	for id, set := range sets {
		if len(sigs[id]) != len(keys) {
			t.Errorf("Expected %d signatures over %s, got %d", len(keys), id, len(sigs[id]))
		}
		for _, k := range keys {
			if !slices.ContainsFunc(sigs[id], func(s *dns.RRSIG) bool { return verifies(s, k, set) }) {
				t.Errorf("Expected a valid signature by key %d over\n%v\ngot\n%v", k.KeyTag(), set, sigs[id])
			}
		}
		delete(sigs, id)
	}
	for id := range sigs {
		t.Errorf("Expected no signature without records, got one over %s", id)
	}
}

// verifies reports whether sig is a valid signature by k: what dns.RRSIG.Verify
// leaves unchecked as well.
func verifies(sig *dns.RRSIG, k *dns.DNSKEY, set []dns.RR) bool {
	owner := set[0].Header().Name
	return sig.KeyTag == k.KeyTag() && dns.CanonicalName(sig.SignerName) == k.Hdr.Name && dns.IsSubDomain(sig.SignerName, owner) &&
		int(sig.Labels) == dns.CountLabel(owner) && sig.ValidityPeriod(time.Now()) && set[0].Header().Ttl <= sig.OrigTtl &&
		sig.Verify(k, set) == nil
}
