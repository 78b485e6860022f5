package hostile

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/internal/daemon"
)

// requirePeers is the environment variable that turns a missing program from a
// reason to skip a test into a failure.
const requirePeers = "MSKE_REQUIRE_PEERS"

// unboundPath returns the path of unbound, and skips the test where it is
// missing.
func unboundPath(tb testing.TB) string {
	tb.Helper()
	path, err := findUnbound()
	switch {
	case err == nil:
	case os.Getenv(requirePeers) != "":
		tb.Fatalf("unbound is missing, and %s is set: install unbound", requirePeers)
	default:
		tb.Skip("unbound is missing: install unbound (Debian's name) to run this test")
	}
	return path
}

// findUnbound looks where users other than root do not, too.
func findUnbound() (string, error) {
	path, err := exec.LookPath("unbound")
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/unbound")
	}
	return path, err
}

// unbound is a resolver that has s as the one authoritative server of all
// zones.
type unbound struct {
	*daemon.Daemon
	addr string
}

func startUnbound(tb testing.TB, s *server) unbound {
	tb.Helper()
	path, dir, port := unboundPath(tb), tb.TempDir(), daemon.FreePort(tb)
	host, serverPort, err := net.SplitHostPort(s.addr())
	if err != nil {
		tb.Fatal(err)
	}
	conf := fmt.Sprintf(`server:
  interface: 127.0.0.1
  port: %s
  num-threads: 1
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
  qname-minimisation: no
remote-control:
  control-enable: no
`, port, dir, anchorFile(tb, s.w.lab))
	// A stub for each zone, since the zones' own NS lead to port 53.
	for name := range s.w.zones {
		conf += fmt.Sprintf("stub-zone:\n  name: %q\n  stub-addr: %s@%s\n", name, host, serverPort)
	}
	file := filepath.Join(dir, "unbound.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		tb.Fatal(err)
	}
	u := unbound{Daemon: daemon.Start(tb, "unbound", dir, nil, path, "-d", "-c", file), addr: net.JoinHostPort("127.0.0.1", port)}
	u.AwaitAnswer(u.addr, ".", dns.TypeDNSKEY)
	return u
}

// patience is how long unbound may take for an answer: it asks a server whose
// answers are bogus several times.
const patience = 5 * time.Second

// verdict is what unbound makes of an announcement by itself, without CD, in
// our words.
func (u unbound) verdict(owner string) string {
	worst := fetch.Secure
	client := dns.Client{Net: "tcp", Timeout: patience}
	for _, qtype := range []uint16{dns.TypeDNSKEY, dns.TypeCDNSKEY, dns.TypeCDS} {
		q := new(dns.Msg).SetQuestion(owner, qtype)
		q.SetEdns0(maxDatagram, true)
		v := fetch.Unreachable
		m, _, err := client.Exchange(q, u.addr)
		switch {
		case err != nil:
		case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
			v = fetch.Bogus
		case !m.AuthenticatedData:
			v = fetch.Insecure
		case len(m.Answer) == 0:
			v = fetch.Absent
		default:
			v = fetch.Secure
		}
		order := []fetch.Verdict{fetch.Secure, fetch.Absent, fetch.Insecure, fetch.Bogus, fetch.Unreachable}
		if slices.Index(order, v) > slices.Index(order, worst) {
			worst = v
		}
	}
	return worst.String()
}

// cpu returns how long unbound has computed so far.
func (u unbound) cpu(tb testing.TB) time.Duration {
	tb.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", u.Pid()))
	if err != nil || len(tasks) == 0 {
		tb.Skip("this system does not tell how long a process has computed")
	}
	var sum time.Duration
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			tb.Fatal(err)
		}
		ns, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
		if err != nil {
			tb.Fatal(err)
		}
		sum += time.Duration(ns)
	}
	return sum
}

// behindUnbound says whether the test below sends an attack through unbound:
// not if that takes long, as unbound waits for what never comes or looks at
// each of a hundred labels, nor with all kinds of keys and in all sections.
func behindUnbound(a attack, w *world) bool {
	for _, variant := range []string{"P-384", "Ed25519", "in authority", "in additional", "Large OPT"} {
		if strings.HasSuffix(a.name, variant) {
			return false
		}
	}
	return !w.slow && !w.everywhere && w.datagram == nil && w.host != manyLabels
}

func TestHostileAuthorityBehindUnbound(t *testing.T) {
	unboundPath(t)
	for _, a := range attacks() {
		w := newWorld(t)
		a.arm(w)
		if !behindUnbound(a, w) {
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			w.tb = t
			s := serve(t, w)
			u := startUnbound(t, s)
			r := collect(t.Context(), newFetcher(t, s, u.addr), w.host)
			// What unbound cannot use it does not hand on, with CD or without.
			a.allowed = append(slices.Clone(a.allowed), fetch.Unreachable)
			judge(t, a, r)
			t.Logf("%s (%s); unbound by itself: %s", r.Verdict, r.Reason, u.verdict(w.owner()))
		})
	}
}
