package test

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/daemon"
)

// home makes the directory of the server at an address.
func (n *network) home(name string, last int) string {
	n.t.Helper()
	dir := filepath.Join(n.dir, fmt.Sprintf("%s-%d", name, last))
	if err := os.Mkdir(dir, 0o700); err != nil {
		n.t.Fatal(err)
	}
	return dir
}

// startNSD serves signed zone files.
func (n *network) startNSD(last int, zones map[string]string) *daemon.Daemon {
	n.t.Helper()
	dir := n.home("nsd", last)
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
`, n.ip(last), n.port, dir)
	for _, zone := range slices.Sorted(maps.Keys(zones)) {
		conf += fmt.Sprintf("zone:\n  name: %q\n  zonefile: %q\n", zone, zones[zone])
	}
	n.write(filepath.Join(dir, "nsd.conf"), conf)
	d := daemon.Start(n.t, "nsd", dir, nil, daemon.Path(n.t, "nsd"), "-d", "-c", "nsd.conf")
	for zone := range zones {
		d.AwaitAnswer(n.addr(last), zone, dns.TypeSOA)
	}
	return d
}

// startUnbound starts a validating resolver that uses aggressive NSEC. More
// lines may be added to the server section of its configuration.
func (n *network) startUnbound(last int, lines ...string) *daemon.Daemon {
	n.t.Helper()
	dir := n.home("unbound", last)
	conf := fmt.Sprintf(`server:
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
  aggressive-nsec: yes
  val-log-level: 2
`, n.ip(last), n.port, dir, n.anchor)
	for _, line := range lines {
		conf += "  " + line + "\n"
	}
	conf += "remote-control:\n  control-enable: no\n"
	cuts := n.cuts()
	for _, zone := range slices.Sorted(maps.Keys(cuts)) {
		conf += fmt.Sprintf("stub-zone:\n  name: %q\n", zone)
		for _, ip := range cuts[zone] {
			conf += fmt.Sprintf("  stub-addr: %s@%s\n", ip, n.port)
		}
	}
	n.write(filepath.Join(dir, "unbound.conf"), conf)
	d := daemon.Start(n.t, "unbound", dir, nil, daemon.Path(n.t, "unbound"), "-d", "-c", "unbound.conf")
	d.AwaitAnswer(n.addr(last), ".", dns.TypeDNSKEY)
	return d
}

// shortMemory are lines for an unbound that soon asks again, so that a test need
// not wait for the TTL of an answer from before its servers were ready.
var shortMemory = []string{"cache-max-ttl: 1", "cache-max-negative-ttl: 1", "val-bogus-ttl: 1", "infra-host-ttl: 1"}

// startBIND starts named as a validating resolver that follows referrals from
// the root, and returns its address. That is no other than 127.0.0.1: named
// listens only on addresses that an interface has been given.
func (n *network) startBIND() (addr string) {
	n.t.Helper()
	dir := n.home("named", 0)
	n.write(filepath.Join(dir, "root.hints"), ". 3600 NS ns.stage.\nns.stage. 3600 A "+n.ip(ipStage)+"\n")
	n.write(filepath.Join(dir, "named.conf"), fmt.Sprintf(`options {
  directory "%s";
  listen-on port %[2]s { 127.0.0.1; };
  listen-on-v6 { none; };
  port %[2]s;
  pid-file none;
  session-keyfile none;
  dnssec-validation yes;
  recursion yes;
  empty-zones-enable no;
  max-cache-ttl 1;
  max-ncache-ttl 1;
  servfail-ttl 0;
  lame-ttl 0;
};
controls { };
zone "." { type hint; file "root.hints"; };
%[3]s`, dir, n.port, n.bindAnchors()))
	d := daemon.Start(n.t, "named", dir, nil, daemon.Path(n.t, "named"), "-g", "-4", "-n", "1", "-c", filepath.Join(dir, "named.conf"))
	addr = net.JoinHostPort("127.0.0.1", n.port)
	d.AwaitAnswer(addr, ".", dns.TypeDNSKEY)
	return addr
}

// rootDS is the rdata of the root's DS record.
func (n *network) rootDS() string {
	n.t.Helper()
	text, err := os.ReadFile(n.anchor)
	if err != nil {
		n.t.Fatal(err)
	}
	rr, err := dns.NewRR(string(text))
	if err != nil {
		n.t.Fatal(err)
	}
	ds := rr.(*dns.DS)
	return fmt.Sprintf("%d %d %d %s", ds.KeyTag, ds.Algorithm, ds.DigestType, strings.ToUpper(ds.Digest))
}

// bindAnchors is the trust anchor as named and delv read it.
func (n *network) bindAnchors() string {
	f := strings.Fields(n.rootDS())
	return fmt.Sprintf("trust-anchors { . static-ds %s %s %s %q; };\n", f[0], f[1], f[2], f[3])
}

// startRecursor starts the PowerDNS recursor as a validating resolver. It leaves
// a server that did not answer alone for a minute: start it last.
func (n *network) startRecursor(last int) *daemon.Daemon {
	n.t.Helper()
	dir := n.home("recursor", last)
	var forwards []string
	for zone, ips := range n.cuts() {
		for i, ip := range ips {
			ips[i] = ip + ":" + n.port
		}
		forwards = append(forwards, zone+"="+strings.Join(ips, ";"))
	}
	n.write(filepath.Join(dir, "anchors.lua"), fmt.Sprintf("clearTA()\naddTA('.', %q)\n", n.rootDS()))
	n.write(filepath.Join(dir, "recursor.conf"), fmt.Sprintf(`local-address=%s
local-port=%s
`+daemon.RecursorSourcePorts+`daemon=no
write-pid=no
socket-dir=%s
threads=1
dnssec=validate
dnssec-log-bogus=yes
dont-query=
lua-config-file=anchors.lua
security-poll-suffix=
disable-packetcache=yes
max-cache-ttl=15
max-negative-ttl=1
forward-zones=%s
`, n.ip(last), n.port, dir, strings.Join(forwards, ",")))
	d := daemon.Start(n.t, "recursor", dir, nil, daemon.Path(n.t, "pdns_recursor"), "--config-dir="+dir)
	d.AwaitAnswer(n.addr(last), ".", dns.TypeDNSKEY)
	return d
}

// startKnot serves zones from files that are not signed, signed with the keys
// given for each, which dnssec-keygen made.
func (n *network) startKnot(last int, files map[string]string, keys map[string][]string) *daemon.Daemon {
	n.t.Helper()
	dir := n.home("knot", last)
	conf := fmt.Sprintf(`server:
  rundir: "%[1]s"
  listen: %[2]s@%[3]s
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
log:
- target: stdout
  any: info
database:
  storage: "%[1]s"
policy:
- id: manual
  manual: on
zone:
`, dir, n.ip(last), n.port)
	for _, zone := range slices.Sorted(maps.Keys(files)) {
		conf += fmt.Sprintf(`- domain: "%s"
  file: "%s"
  zonefile-sync: -1
  zonefile-load: difference-no-serial
  journal-content: all
  dnssec-signing: on
  dnssec-policy: manual
`, zone, files[zone])
	}
	n.write(filepath.Join(dir, "knot.conf"), conf)
	for zone, bases := range keys {
		for _, base := range bases {
			run(n.t, dir, daemon.Path(n.t, "keymgr"), "-c", "knot.conf", zone, "import-bind", base+".key")
		}
	}
	d := daemon.Start(n.t, "knotd", dir, nil, daemon.Path(n.t, "knotd"), "-c", "knot.conf")
	for zone := range files {
		d.AwaitAnswer(n.addr(last), zone, dns.TypeDNSKEY)
	}
	return d
}
