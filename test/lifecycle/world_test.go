package lifecycle

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
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/daemon"
)

// shared is the zone whose life it is.
const shared = "example.co.uk."

// How long caches may hold what, in seconds, so that a life takes minutes.
const (
	dataTTL     = 4
	nsTTL       = 5
	dsTTL       = 4
	keyTTL      = 3
	negativeTTL = 3
	maxZoneTTL  = 6
)

// Who answers at which address of a world. Providers follow from ipProvider on,
// resolvers from ipResolver.
const (
	ipStage    = 1  // the root, net and uk
	ipParent   = 2  // co.uk
	ipFetch    = 3  // the resolver that mske uses
	ipProvider = 10 // and following
	ipResolver = 20 // and following
)

// patience is how long a step may take to come true. It is only waited for in
// full by a test that fails.
const patience = 75 * time.Second

// world is a private DNS on loopback. All its authoritative servers listen on
// the same port, each on an address of its own, so that referrals can be
// followed. But for the load and the trace, everything happens in the test's
// own goroutine, in await.
type world struct {
	t      *testing.T
	rng    *rand.Rand
	prefix string // 127.x.y.
	port   string // of authoritative servers
	dir    string
	anchor string // file with the root's DS record

	parent    *parent
	providers []*provider
	static    *static
	resolvers []*resolver
	fetchAddr string // of the resolver that mske uses
	load      *load
	trace     *trace

	// The zone as its owner wants it.
	serial int
	cns    []string
	ns     nsSet

	disturbed time.Time // when the last disturbance ended
	calm      bool      // no disturbance now
}

// newWorld makes the zones above, with a delegation for the domain of each of n
// providers of ours and of a static one, and starts their servers.
func newWorld(t *testing.T, n int) *world {
	t.Helper()
	daemon.Need(t, "nsd", "knotd", "unbound", "named", "pdns_recursor", "dnssec-keygen", "dnssec-settime", "dnssec-signzone",
		"dnssec-dsfromkey", "dnssec-cds", "ldns-signzone", "rec_control")
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("Seed %d", seed)
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, uint64(n))), dir: t.TempDir(), calm: true,
		prefix: fmt.Sprintf("127.%d.%d.", 1+rand.IntN(254), rand.IntN(256)), // test runs side by side do not meet
	}
	w.port = w.choosePort()
	var delegations strings.Builder
	for i := range n {
		p := w.newProvider(string(rune('a'+i)), ipProvider+i)
		w.providers = append(w.providers, p)
		delegations.WriteString(w.delegation(p.domain, p.host, p.ip, p.own))
	}
	w.static = w.newStatic("static", ipProvider+n)
	delegations.WriteString(w.delegation(w.static.domain, w.static.host, w.static.ip, w.static.own))

	stage := "ns.stage."
	root, netKey, uk := w.key(w.dir, ".", "KSK"), w.key(w.dir, "net.", "KSK"), w.key(w.dir, "uk.", "KSK")
	w.parent = w.newParent()
	zones := map[string]string{
		"net.": w.sign("net.", stage, delegations.String(), netKey),
		"uk.":  w.sign("uk.", stage, parentZone+" NS ns.co.uk.\nns.co.uk. A "+w.ip(ipParent)+"\n"+w.ds(w.parent.key), uk),
		".": w.sign(".", stage, "ns.stage. A "+w.ip(ipStage)+"\nnet. NS ns.stage.\nuk. NS ns.stage.\n"+
			w.ds(netKey)+w.ds(uk), root),
	}
	w.anchor = filepath.Join(w.dir, "anchor.ds")
	w.write(w.anchor, w.ds(root))
	w.startNSD(ipStage, zones)
	return w
}

// choosePort returns 53 if that may be listened on. Otherwise only resolvers
// that can be told the port of authoritative servers take part.
func (w *world) choosePort() string {
	l, err := net.ListenPacket("udp", w.ip(ipStage)+":53")
	if err != nil {
		w.t.Logf("Port 53 cannot be used (%v), so that BIND is the only resolver that can follow referrals", err)
		return daemon.FreePort(w.t)
	}
	l.Close()
	return "53"
}

func (w *world) ip(last int) string   { return w.prefix + strconv.Itoa(last) }
func (w *world) addr(last int) string { return net.JoinHostPort(w.ip(last), w.port) }

func (w *world) write(path, text string) {
	w.t.Helper()
	// As a whole: servers read it at any time.
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) mkdir(elem ...string) string {
	w.t.Helper()
	dir := filepath.Join(append([]string{w.dir}, elem...)...)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	return dir
}

// key makes a key by dnssec-keygen, with the SEP flag for the role KSK, and
// returns its path without the extension.
func (w *world) key(dir, zone, role string, options ...string) string {
	w.t.Helper()
	argv := []string{daemon.Path(w.t, "dnssec-keygen"), "-q"}
	if role == "KSK" {
		argv = append(argv, "-f", "KSK")
	}
	if !slices.Contains(options, "-a") {
		options = append(options, "-a", "ECDSAP256SHA256")
	}
	return filepath.Join(dir, strings.TrimSpace(run(w.t, dir, append(append(argv, options...), zone)...)))
}

// tag returns the key tag in the name of a key's files.
func tag(key string) uint16 {
	number, err := strconv.ParseUint(key[strings.LastIndexByte(key, '+')+1:], 10, 16)
	if err != nil {
		panic(err)
	}
	return uint16(number)
}

// ds returns the DS record of a key.
func (w *world) ds(key string) string {
	w.t.Helper()
	return run(w.t, w.dir, daemon.Path(w.t, "dnssec-dsfromkey"), "-2", key+".key")
}

func (w *world) delegation(domain, host, ip, key string) string {
	return domain + " NS " + host + "\n" + host + " A " + ip + "\n" + w.ds(key)
}

func (w *world) public(key string) string {
	w.t.Helper()
	text, err := os.ReadFile(key + ".key")
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

// sign writes a zone that does not change, signed by one key.
func (w *world) sign(zone, host, records, key string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, "db."+strings.ReplaceAll(zone, ".", "-"))
	w.write(path, fmt.Sprintf("$TTL 3600\n$ORIGIN %[1]s\n@ SOA %[2]s hostmaster 1 1800 900 604800 60\n@ NS %[2]s\n%[3]s%[4]s", zone, host, records, w.public(key)))
	run(w.t, w.dir, daemon.Path(w.t, "dnssec-signzone"), "-z", "-q", "-o", zone, "-f", path+".signed", path, key)
	return path + ".signed"
}

// startNSD serves signed zone files.
func (w *world) startNSD(last int, zones map[string]string) *daemon.Daemon {
	w.t.Helper()
	dir := w.mkdir(fmt.Sprintf("nsd-%d", last))
	conf := fmt.Sprintf(`server:
  ip-address: %[1]s
  port: %[2]s
  username: ""
  chroot: ""
  zonesdir: "%[3]s"
  database: ""
  zonelistfile: "%[3]s/zone.list"
  xfrdfile: "%[3]s/xfrd.state"
  xfrdir: "%[3]s"
  pidfile: "%[3]s/nsd.pid"
  server-count: 1
  rrl-ratelimit: 0
remote-control:
  control-enable: no
`, w.ip(last), w.port, dir)
	for zone, path := range zones {
		conf += fmt.Sprintf("zone:\n  name: %q\n  zonefile: %q\n", zone, path)
	}
	w.write(filepath.Join(dir, "nsd.conf"), conf)
	d := daemon.Start(w.t, "nsd", dir, nil, daemon.Path(w.t, "nsd"), "-d", "-c", "nsd.conf")
	for zone := range zones {
		d.AwaitAnswer(w.addr(last), zone, dns.TypeSOA)
	}
	return d
}

// await waits until done returns nil. Meanwhile the parent and the static peer
// do their work, and providers are disturbed.
func (w *world) await(what string, done func() error) {
	w.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		err := done()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			w.t.Logf("Who serves what:\n%s", w.trace.recent(4*time.Minute))
			for _, p := range w.providers {
				if p.daemon != nil {
					p.thaw()
					page, err := try(p.dir, ours(w.t, "mske"), "status", "--state", filepath.Join(p.dir, "mske.db"), shared)
					w.t.Logf("%s says (%v):\n%s", p.name, err, page)
				}
			}
			w.t.Fatalf("Waited for %s: %v", what, err)
		}
		w.turn()
	}
}

// turn lets everybody do what is due.
func (w *world) turn() {
	w.t.Helper()
	w.parent.work()
	w.static.work()
	w.disturb()
}

// pass waits until a time that mske named.
func (w *world) pass(what string, until time.Time) {
	w.t.Helper()
	w.await(what, func() error {
		if left := time.Until(until); left > 0 {
			return fmt.Errorf("%s to go", left)
		}
		return nil
	})
}

// publish has the owner change the zone: the CNS RRset, none if cns is empty,
// and the NS RRset. It reaches the providers one after the other.
func (w *world) publish(cns, ns []string) {
	w.t.Helper()
	w.serial++
	w.cns = cns
	w.ns.set(ns)
	w.t.Logf("%s Owner: serial %d, CNS %v, NS %v", clock(), w.serial, cns, ns)
	for _, i := range w.rng.Perm(len(w.providers)) {
		if p := w.providers[i]; p.daemon != nil {
			w.write(p.zoneFile, w.zoneText(false))
			w.pass("the next provider to hear of it", time.Now().Add(time.Duration(w.rng.IntN(1500))*time.Millisecond))
		}
	}
	w.static.stale = true
}

// The zone's data.
const hosts = 40

// zoneText is the zone, with CNS written as programs that do not know it read
// it.
func (w *world) zoneText(generic bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "$TTL %d\n$ORIGIN %s\n@ SOA ns.stage. hostmaster %d 1800 900 604800 %d\n", dataTTL, shared, w.serial, negativeTTL)
	for _, host := range w.ns.hosts {
		fmt.Fprintf(&b, "@ %d NS %s\n", nsTTL, host)
	}
	for _, host := range w.cns {
		if !generic {
			fmt.Fprintf(&b, "@ CNS %s\n", host)
			continue
		}
		octets := make([]byte, 255)
		n, err := dns.PackDomainName(host, octets, 0, nil, false)
		if err != nil {
			w.t.Fatal(err)
		}
		fmt.Fprintf(&b, "@ TYPE65302 \\# %d %x\n", n, octets[:n])
	}
	fmt.Fprintf(&b, "@ TXT \"the apex\"\n@ 3 MX 10 mail\nmail 2 A 192.0.2.200\nmail 3 TXT \"mail\"\n")
	for i := range hosts {
		fmt.Fprintf(&b, "h%d %d A 192.0.2.%d\n", i, 1+i%dataTTL, i)
	}
	return b.String()
}

func clock() string { return time.Now().UTC().Format("15:04:05.000") }
