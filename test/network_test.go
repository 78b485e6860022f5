package test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/daemon"
)

// The zone that two providers sign, and the other zones of a network.
const (
	shared = "example.co.uk."
	wwwIP  = "192.0.2.1"
)

// network is a private DNS on loopback: a root, net, org, uk and co.uk on NSD,
// and addresses for two providers. All servers listen on the same port, each on
// an address of its own, so that referrals can be followed.
type network struct {
	t      *testing.T
	prefix string // 127.x.y.
	port   string
	dir    string // zone files and keys
	anchor string // file with the root's DS record
	a, b   *provider
	only   *provider // if set, resolvers are told that example.co.uk has no other
}

// in returns n for use in a subtest.
func (n *network) in(t *testing.T) *network {
	c := *n
	c.t = t
	return &c
}

// provider is a provider of the zone example.co.uk.
type provider struct {
	ip     string
	domain string // its own domain
	host   string // its nameserver
	dir    string // key and zone files
	ksk    string // base names of the keys of example.co.uk
	zsk    string
	own    string // key of domain
	signal string // key of _signal.<host>
}

// Who answers at which address of a network.
const (
	ipStage = 1 + iota
	ipA
	ipB
	ipFetch // the resolver that mske uses
	ipJudge // a resolver that judges
)

// newNetwork makes keys and zones and starts the stage. With joining, only
// provider A is in example.co.uk's delegation and NS: B is about to join.
func newNetwork(t *testing.T, joining bool) *network {
	t.Helper()
	daemon.Need(t, "nsd", "dnssec-keygen", "dnssec-signzone", "dnssec-dsfromkey", "ldns-signzone")
	prefix := fmt.Sprintf("127.%d.%d.", 1+rand.IntN(254), rand.IntN(256)) // test runs side by side do not meet
	n := &network{t: t, prefix: prefix, port: daemon.FreePort(t), dir: t.TempDir()}
	n.a = n.newProvider("provider-a.net.", ipA)
	n.b = n.newProvider("provider-b.org.", ipB)

	delegation := shared + " NS " + n.a.host + "\n" + n.ds(n.a.ksk)
	if !joining {
		delegation += shared + " NS " + n.b.host + "\n" + n.ds(n.b.ksk)
	}
	root := n.key(n.dir, ".", "ECDSAP256SHA256")
	netKey := n.key(n.dir, "net.", "RSASHA256")
	org := n.key(n.dir, "org.", "ED25519")
	uk := n.key(n.dir, "uk.", "ECDSAP384SHA384")
	coUK := n.key(n.dir, "co.uk.", "ECDSAP256SHA256")

	stage := "ns.stage."
	zones := map[string]string{ // signed zone files
		"co.uk.": n.signLDNS("co.uk.", stage, delegation, coUK),
		"uk.":    n.signBIND("uk.", stage, "co.uk. NS "+stage+"\n"+n.ds(coUK), uk),
		"net.":   n.signBIND("net.", stage, n.delegation(n.a), netKey, "-3", "-"), // NSEC3
		"org.":   n.signBIND("org.", stage, n.delegation(n.b), org),
		".": n.signBIND(".", stage, "ns.stage. A "+n.ip(ipStage)+
			"\nnet. NS ns.stage.\norg. NS ns.stage.\nuk. NS ns.stage.\n"+n.ds(netKey)+n.ds(org)+n.ds(uk), root),
	}
	n.anchor = filepath.Join(n.dir, "anchor.ds")
	n.write(n.anchor, n.ds(root))
	n.startNSD(ipStage, zones)
	return n
}

// delegation returns the records of a provider's domain in its parent.
func (n *network) delegation(p *provider) string {
	return p.domain + " NS " + p.host + "\n" + p.host + " A " + p.ip + "\n" + n.ds(p.own)
}

func (n *network) newProvider(domain string, last int) *provider {
	p := &provider{domain: domain, host: "ns1." + domain, ip: n.ip(last), dir: filepath.Join(n.dir, domain)}
	if err := os.Mkdir(p.dir, 0o700); err != nil {
		n.t.Fatal(err)
	}
	p.own = n.key(p.dir, domain, "ECDSAP256SHA256")
	p.signal = n.key(p.dir, "_signal."+p.host, "ECDSAP256SHA256")
	p.ksk = n.key(p.dir, shared, "ECDSAP256SHA256")
	p.zsk = n.zsk(p.dir, shared, "ECDSAP256SHA256")
	return p
}

func (n *network) ip(last int) string   { return n.prefix + strconv.Itoa(last) }
func (n *network) addr(last int) string { return net.JoinHostPort(n.ip(last), n.port) }

func (n *network) write(path, text string) {
	n.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// key makes a key with the SEP flag, by dnssec-keygen, and returns its path
// without the extension.
func (n *network) key(dir, zone, algorithm string) string {
	n.t.Helper()
	return n.keygen(dir, "-f", "KSK", "-a", algorithm, zone)
}

// zsk makes a key without the SEP flag.
func (n *network) zsk(dir, zone, algorithm string) string {
	n.t.Helper()
	return n.keygen(dir, "-a", algorithm, zone)
}

func (n *network) keygen(dir string, args ...string) string {
	n.t.Helper()
	out := run(n.t, dir, append([]string{daemon.Path(n.t, "dnssec-keygen"), "-q"}, args...)...)
	return filepath.Join(dir, strings.TrimSpace(out))
}

// ds returns the DS record of a key.
func (n *network) ds(key string) string {
	n.t.Helper()
	return run(n.t, n.dir, daemon.Path(n.t, "dnssec-dsfromkey"), "-2", key+".key")
}

// zoneFile writes a zone that is not signed. Names in records are absolute.
func (n *network) zoneFile(dir, zone, host, records string) string {
	n.t.Helper()
	path := filepath.Join(dir, "db."+strings.ReplaceAll(zone, ".", "-"))
	n.write(path, "$TTL 60\n$ORIGIN "+zone+"\n@ SOA "+host+" hostmaster 1 1800 900 604800 60\n@ NS "+host+"\n"+records)
	return path
}

// signBIND writes a zone signed by dnssec-signzone with one key.
func (n *network) signBIND(zone, host, records, key string, options ...string) string {
	n.t.Helper()
	file := n.zoneFile(n.dir, zone, host, records+includeKey(n.t, key))
	signed := file + ".signed"
	argv := append([]string{daemon.Path(n.t, "dnssec-signzone"), "-z", "-q", "-o", zone, "-f", signed}, options...)
	run(n.t, n.dir, append(argv, file, key)...)
	return signed
}

// signLDNS writes a zone signed by ldns-signzone with the given keys.
func (n *network) signLDNS(zone, host, records string, keys ...string) string {
	n.t.Helper()
	file := n.zoneFile(n.dir, zone, host, records)
	signed := file + ".signed"
	argv := []string{daemon.Path(n.t, "ldns-signzone"), "-o", zone, "-f", signed, file}
	run(n.t, n.dir, append(argv, keys...)...)
	return signed
}

// tag returns the key tag in the name of a key's files.
func tag(t *testing.T, key string) uint16 {
	t.Helper()
	number, err := strconv.ParseUint(key[strings.LastIndexByte(key, '+')+1:], 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return uint16(number)
}

func includeKey(t *testing.T, key string) string {
	t.Helper()
	text, err := os.ReadFile(key + ".key")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// cuts are the zones of the network and the addresses of their servers, for
// resolvers that have to be told because they ask at port 53 otherwise.
func (n *network) cuts() map[string][]string {
	stage, a, b := n.ip(ipStage), n.ip(ipA), n.ip(ipB)
	return map[string][]string{
		".": {stage}, "net.": {stage}, "org.": {stage}, "uk.": {stage}, "co.uk.": {stage},
		n.a.domain: {a}, "_signal." + n.a.host: {a},
		n.b.domain: {b},
		shared:     n.sharedServers(),
	}
}

// sharedServers are the addresses of those in example.co.uk's delegation.
func (n *network) sharedServers() []string {
	if n.only != nil {
		return []string{n.only.ip}
	}
	m, err := daemon.Ask(n.addr(ipStage), shared, dns.TypeNS)
	if err != nil {
		n.t.Fatal(err)
	}
	var ips []string
	for _, rr := range m.Ns {
		if ns, ok := rr.(*dns.NS); ok {
			if ns.Ns == n.a.host {
				ips = append(ips, n.a.ip)
			} else {
				ips = append(ips, n.b.ip)
			}
		}
	}
	slices.Sort(ips)
	return ips
}
