package lifecycle

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/daemon"
)

// resolver is a validating one that follows referrals from the root.
type resolver struct {
	name   string
	addr   string
	daemon *daemon.Daemon
	read   int           // of its log
	forget func() string // empties its cache, where that is to happen all the time
}

// startResolvers starts those that are asked, and the one that mske uses.
func (w *world) startResolvers() {
	w.t.Helper()
	w.write(filepath.Join(w.dir, "root.hints"), ". 3600 NS ns.stage.\nns.stage. 3600 A "+w.ip(ipStage)+"\n")
	if w.port != "53" {
		w.fetchAddr = w.startBIND("fetch", daemon.FreePort(w.t), "max-cache-ttl 1;", "max-ncache-ttl 1;").addr
	} else {
		w.fetchAddr = w.startUnbound("fetch", ipFetch, "cache-max-ttl: 1", "cache-max-negative-ttl: 1", "val-bogus-ttl: 1", "infra-host-ttl: 1").addr
		w.resolvers = append(w.resolvers,
			w.startUnbound("unbound, warm", ipResolver, "prefetch: yes", "prefetch-key: yes", "aggressive-nsec: yes"),
			w.startUnbound("unbound, cold", ipResolver+1, "cache-max-ttl: 1", "cache-max-negative-ttl: 1", "val-bogus-ttl: 1"),
			w.startRecursor("recursor, warm", ipResolver+2, false),
			w.startRecursor("recursor, cold", ipResolver+3, true))
	}
	w.resolvers = append(w.resolvers,
		w.startBIND("BIND, warm", daemon.FreePort(w.t)),
		w.startBIND("BIND, cold", daemon.FreePort(w.t), "max-cache-ttl 1;", "max-ncache-ttl 1;"))
}

func (w *world) startUnbound(name string, last int, lines ...string) *resolver {
	w.t.Helper()
	dir := w.mkdir(fmt.Sprintf("unbound-%d", last))
	conf := fmt.Sprintf(`server:
  interface: %s
  username: ""
  chroot: ""
  directory: "%s"
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  do-ip6: no
  `+daemon.UnboundSourcePorts+`  num-threads: 1
  do-not-query-localhost: no
  access-control: 127.0.0.0/8 allow
  module-config: "validator iterator"
  root-hints: "%s"
  trust-anchor-file: "%s"
  trust-anchor-signaling: no
  val-log-level: 2
  log-time-ascii: yes
  ede: yes
`, w.ip(last), dir, filepath.Join(w.dir, "root.hints"), w.anchor)
	for _, line := range lines {
		conf += "  " + line + "\n"
	}
	conf += "remote-control:\n  control-enable: no\n"
	w.write(filepath.Join(dir, "unbound.conf"), conf)
	d := daemon.Start(w.t, "unbound", dir, nil, daemon.Path(w.t, "unbound"), "-d", "-c", "unbound.conf")
	r := &resolver{name: name, addr: net.JoinHostPort(w.ip(last), "53"), daemon: d}
	d.AwaitAnswer(r.addr, ".", dns.TypeDNSKEY)
	return r
}

// startRecursor starts one that does not take a nameserver that was away for a
// moment for dead the next minute: this is about keys, not about outages.
func (w *world) startRecursor(name string, last int, cold bool) *resolver {
	w.t.Helper()
	dir := w.mkdir(fmt.Sprintf("recursor-%d", last))
	w.write(filepath.Join(dir, "anchors.lua"), fmt.Sprintf("clearTA()\naddTA('.', %q)\n", w.rootDS()))
	w.write(filepath.Join(dir, "recursor.conf"), fmt.Sprintf(`local-address=%s
local-port=53
`+daemon.RecursorSourcePorts+`daemon=no
write-pid=no
socket-dir=%s
threads=1
dnssec=validate
dnssec-log-bogus=yes
extended-resolution-errors=yes
dont-query=
lua-config-file=anchors.lua
hint-file=%s
security-poll-suffix=
disable-packetcache=yes
dont-throttle-netmasks=127.0.0.0/8
server-down-max-fails=0
`, w.ip(last), dir, filepath.Join(w.dir, "root.hints")))
	d := daemon.Start(w.t, "recursor", dir, nil, daemon.Path(w.t, "pdns_recursor"), "--config-dir="+dir)
	r := &resolver{name: name, addr: net.JoinHostPort(w.ip(last), "53"), daemon: d}
	if cold {
		control := daemon.Path(w.t, "rec_control")
		r.forget = func() string {
			out, err := try(dir, control, "--config-dir="+dir, "--socket-dir="+dir, "wipe-cache", shared+"$", "co.uk$")
			if err != nil {
				return out
			}
			return ""
		}
	}
	d.AwaitAnswer(r.addr, ".", dns.TypeDNSKEY)
	return r
}

// startBIND starts named, at a port of 127.0.0.1: it listens only on addresses
// that an interface has been given.
func (w *world) startBIND(name, port string, options ...string) *resolver {
	w.t.Helper()
	dir := w.mkdir("named-" + port)
	f := strings.Fields(w.rootDS())
	w.write(filepath.Join(dir, "named.conf"), fmt.Sprintf(`options {
  directory "%s";
  listen-on port %s { 127.0.0.1; };
  listen-on-v6 { none; };
  port %s;
  pid-file none;
  session-keyfile none;
  dnssec-validation yes;
  recursion yes;
  empty-zones-enable no;
  servfail-ttl 0;
  lame-ttl 0;
  %s
};
controls { };
zone "." { type hint; file "%s"; };
trust-anchors { . static-ds %s %s %s %q; };
`, dir, port, w.port, strings.Join(options, "\n  "), filepath.Join(w.dir, "root.hints"), f[0], f[1], f[2], f[3]))
	d := daemon.Start(w.t, "named", dir, nil, daemon.Path(w.t, "named"), "-g", "-4", "-n", "1", "-c", filepath.Join(dir, "named.conf"))
	r := &resolver{name: name, addr: net.JoinHostPort("127.0.0.1", port), daemon: d}
	d.AwaitAnswer(r.addr, ".", dns.TypeDNSKEY)
	return r
}

// rootDS is the rdata of the root's DS record.
func (w *world) rootDS() string {
	w.t.Helper()
	text, err := os.ReadFile(w.anchor)
	if err != nil {
		w.t.Fatal(err)
	}
	rr, err := dns.NewRR(string(text))
	if err != nil {
		w.t.Fatal(err)
	}
	ds := rr.(*dns.DS)
	return fmt.Sprintf("%d %d %d %s", ds.KeyTag, ds.Algorithm, ds.DigestType, strings.ToUpper(ds.Digest))
}

// complaint returns what the resolver has logged since it was called last about
// signatures in the shared zone.
func (r *resolver) complaint() string {
	log := r.daemon.Log()
	text := log[min(r.read, len(log)):]
	r.read = len(log)
	var lines []string
	for _, line := range strings.Split(text, "\n") {
		if !strings.Contains(line, strings.TrimSuffix(shared, ".")) {
			continue
		}
		for _, word := range []string{"validation failure", "as Bogus", "no valid", "broken trust chain", "insecure"} {
			if strings.Contains(line, word) {
				lines = append(lines, line)
				break
			}
		}
	}
	return strings.Join(lines[max(0, len(lines)-8):], "\n")
}

// exchange sends one question as a validating resolver's client does, over UDP,
// and over TCP if the answer was truncated.
func exchange(addr, name string, qtype uint16, timeout time.Duration, edit ...func(*dns.Msg)) (*dns.Msg, error) {
	q := new(dns.Msg).SetQuestion(name, qtype)
	q.AuthenticatedData = true
	q.SetEdns0(dns.DefaultMsgSize, true)
	for _, f := range edit {
		f(q)
	}
	client := &dns.Client{Timeout: timeout}
	m, _, err := client.Exchange(q, addr)
	if err == nil && m.Truncated {
		client.Net = "tcp"
		m, _, err = client.Exchange(q, addr)
	}
	return m, err
}

func readKey(tb testing.TB, base string) *dns.DNSKEY {
	tb.Helper()
	f, err := os.Open(base + ".key")
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	rr, err := dns.ReadRR(f, base)
	if err != nil {
		tb.Fatal(err)
	}
	return rr.(*dns.DNSKEY)
}
