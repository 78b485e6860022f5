package differential

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/daemon"
	"github.com/coredns-mske/mske/internal/lab"
)

// Hosts of a batch in its /16 of loopback.
const (
	hostServer = 1 + iota
	hostUnbound
	hostRecursor
)

// batch is some worlds that are served and asked together.
type batch struct {
	t       *testing.T
	dir     string
	prefix  string // 127.x.
	port    string
	program string // the authoritative server
	root    *lab.Zone
	worlds  []*world
}

// ip returns an address of the batch.
func (b *batch) ip(world, host int) string { return fmt.Sprintf("%s%d.%d", b.prefix, world, host) }

func (b *batch) addr(host int) string { return net.JoinHostPort(b.ip(0, host), b.port) }

// newBatch makes the worlds of these cases and serves them.
func newBatch(t *testing.T, seed uint64, cases []int, program, dir string) *batch {
	t.Helper()
	b := &batch{
		t: t, dir: dir, program: program, port: daemon.FreePort(t),
		prefix: fmt.Sprintf("127.%d.", 1+rand.IntN(254)), // test runs side by side do not meet
	}
	now := time.Now()
	b.worlds = make([]*world, len(cases))
	var wg sync.WaitGroup
	for i, number := range cases {
		wg.Go(func() { b.worlds[i] = newWorld(t, seed, number, b.ip(1+i, 1), now) })
	}
	wg.Wait()
	b.addRoot(now)
	b.writeZones()
	b.startServer()
	for _, w := range b.worlds {
		startProxy(t, w, b.port, b.addr(hostServer))
	}
	b.write("anchor.ds", b.anchor().String()+"\n")
	b.startUnbound()
	b.startRecursor()
	return b
}

// addRoot makes the root zone, which delegates to each world.
func (b *batch) addRoot(now time.Time) {
	var records strings.Builder
	for _, w := range b.worlds {
		top := w.zones[0]
		fmt.Fprintf(&records, "%s NS ns1.%[1]s\n", top.name)
		for _, ds := range top.ds() {
			fmt.Fprintln(&records, ds)
		}
	}
	b.root = lab.New(b.t, now).Add(lab.Zone{Name: ".", Records: records.String()})
}

// anchor returns the root's DS.
func (b *batch) anchor() *dns.DS { return b.root.DS()[0].(*dns.DS) }

func (b *batch) write(name, text string) string {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return path
}

// home makes a directory for a server.
func (b *batch) home(name string) string {
	b.t.Helper()
	dir := filepath.Join(b.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		b.t.Fatal(err)
	}
	return dir
}

// zoneFile is where the file of a zone is.
func (b *batch) zoneFile(name string) string {
	return filepath.Join(b.dir, "zones", strings.TrimSuffix(name, ".")+".zone")
}

// writeZones writes all zone files.
func (b *batch) writeZones() {
	b.t.Helper()
	b.home("zones")
	root := &zone{name: "."}
	for _, set := range b.root.Signed() {
		root.sets = append(root.sets, &set)
	}
	for _, z := range append(b.zones(), root) {
		b.write(filepath.Join("zones", filepath.Base(b.zoneFile(z.name))), z.file())
	}
}

// zones returns the zones of all worlds.
func (b *batch) zones() []*zone {
	var all []*zone
	for _, w := range b.worlds {
		all = append(all, w.zones...)
	}
	return all
}

// startServer serves the zone files by the batch's program.
func (b *batch) startServer() {
	b.t.Helper()
	dir := b.home(b.program)
	var d *daemon.Daemon
	if b.program == "nsd" {
		b.write("nsd/nsd.conf", b.confNSD(dir))
		d = daemon.Start(b.t, "nsd", dir, nil, daemon.Path(b.t, "nsd"), "-d", "-c", "nsd.conf")
	} else {
		b.write("knotd/knot.conf", b.confKnot(dir))
		d = daemon.Start(b.t, "knotd", dir, nil, daemon.Path(b.t, "knotd"), "-c", "knot.conf")
	}
	d.AwaitAnswer(b.addr(hostServer), ".", dns.TypeSOA)
	for _, z := range b.zones() {
		d.AwaitAnswer(b.addr(hostServer), z.name, dns.TypeSOA)
	}
}

func (b *batch) confNSD(dir string) string {
	var conf strings.Builder
	fmt.Fprintf(&conf, `server:
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
  ipv4-edns-size: 4096
  minimal-responses: yes
remote-control:
  control-enable: no
`, b.ip(0, hostServer), b.port, dir)
	for _, z := range append(b.zones(), &zone{name: "."}) {
		fmt.Fprintf(&conf, "zone:\n  name: %q\n  zonefile: %q\n", z.name, b.zoneFile(z.name))
	}
	return conf.String()
}

func (b *batch) confKnot(dir string) string {
	var conf strings.Builder
	fmt.Fprintf(&conf, `server:
  rundir: "%[1]s"
  listen: %[2]s@%[3]s
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
  udp-max-payload: 4096
log:
- target: stdout
  any: warning
database:
  storage: "%[1]s"
zone:
`, dir, b.ip(0, hostServer), b.port)
	for _, z := range append(b.zones(), &zone{name: "."}) {
		fmt.Fprintf(&conf, "- domain: %q\n  file: %q\n  zonefile-sync: -1\n  journal-content: none\n  semantic-checks: off\n", z.name, b.zoneFile(z.name))
	}
	return conf.String()
}

// startUnbound starts unbound without what would have one question's answer
// depend on another's, or let a clock that is wrong pass.
func (b *batch) startUnbound() {
	b.t.Helper()
	dir := b.home("unbound")
	var conf strings.Builder
	fmt.Fprintf(&conf, `server:
  interface: %s
  port: %s
  username: ""
  chroot: ""
  directory: "%s"
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  do-ip6: no
  `+daemon.UnboundSourcePorts+`  do-not-query-localhost: no
  access-control: 127.0.0.0/8 allow
  module-config: "validator iterator"
  trust-anchor-file: "%s"
  trust-anchor-signaling: no
  aggressive-nsec: no
  harden-below-nxdomain: no
  qname-minimisation: no
  val-sig-skew-min: 0
  val-sig-skew-max: 0
  val-log-level: 2
  ede: yes
remote-control:
  control-enable: no
`, b.ip(0, hostUnbound), b.port, dir, filepath.Join(b.dir, "anchor.ds"))
	b.eachCut(func(zone, ip string) {
		fmt.Fprintf(&conf, "stub-zone:\n  name: %q\n  stub-addr: %s@%s\n", zone, ip, b.port)
	})
	b.write("unbound/unbound.conf", conf.String())
	d := daemon.Start(b.t, "unbound", dir, nil, daemon.Path(b.t, "unbound"), "-d", "-c", "unbound.conf")
	d.AwaitAnswer(b.addr(hostUnbound), ".", dns.TypeDNSKEY)
}

// startRecursor starts the PowerDNS recursor likewise.
func (b *batch) startRecursor() {
	b.t.Helper()
	dir := b.home("recursor")
	var forwards strings.Builder
	b.eachCut(func(zone, ip string) { fmt.Fprintf(&forwards, "%s=%s:%s\n", zone, ip, b.port) })
	b.write("recursor/forwards", forwards.String())
	ds := b.anchor()
	b.write("recursor/anchors.lua", fmt.Sprintf("clearTA()\naddTA('.', \"%d %d %d %s\")\n", ds.KeyTag, ds.Algorithm, ds.DigestType, ds.Digest))
	b.write("recursor/recursor.conf", fmt.Sprintf(`local-address=%s
local-port=%s
`+daemon.RecursorSourcePorts+`daemon=no
write-pid=no
socket-dir=%s
threads=1
dnssec=validate
dnssec-log-bogus=yes
extended-resolution-errors=yes
dont-query=
lua-config-file=anchors.lua
security-poll-suffix=
disable-packetcache=yes
aggressive-nsec-cache-size=0
nothing-below-nxdomain=no
root-nx-trust=no
qname-minimization=no
max-qperq=1000
max-total-msec=20000
max-signature-validations-per-query=1000
max-nsec3-hash-computations-per-query=20000
max-nsec3s-per-record=32
max-rrsigs-per-record=32
max-ds-per-zone=32
signature-inception-skew=0
forward-zones-file=%s/forwards
`, b.ip(0, hostRecursor), b.port, dir, dir))
	d := daemon.Start(b.t, "recursor", dir, nil, daemon.Path(b.t, "pdns_recursor"), "--config-dir="+dir)
	d.AwaitAnswer(b.addr(hostRecursor), ".", dns.TypeDNSKEY)
}

// eachCut tells of all zones and where they are asked for.
func (b *batch) eachCut(do func(zone, ip string)) {
	do(".", b.ip(0, hostServer))
	for _, z := range b.zones() {
		do(z.name, z.world.ip)
	}
}
