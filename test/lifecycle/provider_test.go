package lifecycle

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/daemon"
)

const (
	hangUp   = syscall.SIGHUP
	reload   = syscall.SIGUSR1
	freeze   = syscall.SIGSTOP
	goOn     = syscall.SIGCONT
	shortest = 2 * time.Second // of a disturbance
)

// provider is one of ours: a CoreDNS process with a Corefile, a zone file and a
// key directory.
type provider struct {
	w        *world
	name     string
	ip       string
	domain   string
	host     string
	dir      string
	keys     string // directory of the shared zone's keys
	zoneFile string
	own      string        // key of domain
	signal   string        // key of _signal.<host>
	signers  []string      // keys of the shared zone that the dnssec plugin has
	csks     []string      // those that were CSKs at any time
	auto     bool          // delegation auto
	ahead    time.Duration // of its clock
	clear    string        // signed zone file of domain

	daemon *daemon.Daemon
	past   string    // what former processes logged
	frozen time.Time // until when; zero: not
	back   time.Time // since when it has answered, if it was disturbed
}

func (w *world) newProvider(name string, last int) *provider {
	p := &provider{w: w, name: strings.ToUpper(name), ip: w.ip(last), domain: "provider-" + name + ".net."}
	p.host = "ns1." + p.domain
	p.dir, p.keys = w.mkdir(p.domain), w.mkdir(p.domain, "keys")
	p.zoneFile = filepath.Join(p.dir, "db.shared")
	old := []string{"-P", "-1d", "-A", "-1d"} // by clocks that are slow, too
	p.own, p.signal = w.key(p.dir, p.domain, "KSK", old...), w.key(p.dir, "_signal."+p.host, "KSK", old...)
	p.clear = w.sign(p.domain, p.host, "ns1 A "+p.ip+"\n_signal."+p.host+" NS "+p.host+"\n"+w.ds(p.signal), p.own)
	return p
}

// keygen makes a key of the shared zone, which mske sees at once.
func (p *provider) keygen(role string, options ...string) string {
	p.w.t.Helper()
	key := p.w.key(p.keys, shared, role, append(options, "-P", p.now(), "-A", p.now())...)
	p.w.t.Logf("%s %s: new %s %d", clock(), p.name, role, tag(key))
	return key
}

// now is what the provider's clock shows, as programs that have another take it.
func (p *provider) now() string { return fmt.Sprintf("%+d", int(p.ahead.Seconds())) }

// settime changes when a key is to do what.
func (p *provider) settime(key string, options ...string) {
	p.w.t.Helper()
	p.w.t.Logf("%s %s: dnssec-settime %s %d", clock(), p.name, strings.Join(options, " "), tag(key))
	run(p.w.t, p.keys, append(append([]string{daemon.Path(p.w.t, "dnssec-settime")}, options...), key)...)
}

func (p *provider) corefile() string {
	w := p.w
	stanza := func(zone, keys, more string) string {
		return fmt.Sprintf(`    mske %s {
        nameservers %s
        %s
        resolver %s
        trust_anchor %s
        state %s
        refresh 1s 5s
        ttl %ds
        max_zone_ttl %ds
        nameserver_port %s
%s    }
`, zone, p.host, keys, w.fetchAddr, w.anchor, filepath.Join(p.dir, "mske.db"), keyTTL, maxZoneTTL, w.port, more)
	}
	block := func(zone, text string) string {
		return fmt.Sprintf("%s:%s {\n    bind %s\n    errors\n%s}\n", zone, w.port, p.ip, text)
	}
	more := ""
	if p.auto {
		more = "        delegation auto\n"
	}
	return block(shared, stanza(shared, "key directory "+p.keys, more)+
		fmt.Sprintf("    dnssec %s {\n        key file %s\n    }\n", shared, strings.Join(p.signers, " "))+
		fmt.Sprintf("    file %s %s {\n        reload 1s\n    }\n", p.zoneFile, shared)) +
		block(p.domain, stanza("_signal."+p.host, "key file "+p.signal, "")+
			fmt.Sprintf("    file %s %s\n", p.clear, p.domain))
}

// start has the provider serve the zone.
func (p *provider) start() {
	w := p.w
	w.t.Helper()
	if p.daemon == nil {
		w.t.Logf("%s %s: starts, its clock %s ahead", clock(), p.name, p.ahead)
		w.write(p.zoneFile, w.zoneText(false))
	}
	corefile := filepath.Join(p.dir, "Corefile")
	w.write(corefile, p.corefile())
	env := []string{fmt.Sprintf("%s=%d", skewVariable, int(p.ahead.Seconds()))}
	p.daemon = daemon.Start(w.t, "coredns-"+p.name, p.dir, env, ours(w.t, "coredns"), "-conf", corefile)
	w.t.Cleanup(w.load.stop) // before the provider is
	p.daemon.AwaitAnswer(w.at(p.ip), p.domain, dns.TypeSOA)
}

// stop ends the provider for good.
func (p *provider) stop() {
	p.thaw()
	p.daemon.Stop()
	p.past += p.daemon.Log()
	p.daemon = nil
	p.w.t.Logf("%s %s: stopped", clock(), p.name)
}

// sign has the dnssec plugin sign with these keys from now on.
func (p *provider) sign(keys ...string) {
	p.w.t.Helper()
	p.thaw()
	p.signers = keys
	p.w.write(filepath.Join(p.dir, "Corefile"), p.corefile())
	var tags []uint16
	for _, key := range keys {
		tags = append(tags, tag(key))
	}
	p.w.t.Logf("%s %s: the dnssec plugin gets keys %v", clock(), p.name, tags)
	mark := len(p.log())
	p.daemon.Signal(reload)
	p.await(mark, `Reloading complete`)
}

// crash kills the process and starts another.
func (p *provider) crash() {
	p.w.t.Helper()
	p.thaw()
	p.daemon.Kill()
	p.past += p.daemon.Log()
	p.start()
	p.back = time.Now()
}

func (p *provider) thaw() {
	if !p.frozen.IsZero() {
		p.daemon.Signal(goOn)
		p.frozen, p.back = time.Time{}, time.Now()
	}
}

// log is what the provider logged from the beginning.
func (p *provider) log() string {
	if p.daemon == nil {
		return p.past
	}
	return p.past + p.daemon.Log()
}

// await waits for a line that the provider logs after mark, and returns it.
func (p *provider) await(mark int, pattern string) string {
	p.w.t.Helper()
	re := regexp.MustCompile(`(?m)^.*` + pattern + `.*$`)
	var line string
	p.w.await(fmt.Sprintf("%s to log %q", p.name, pattern), func() error {
		if line = re.FindString(p.log()[mark:]); line == "" {
			return errors.New("the last it said of the phase: " + p.last(`Zone "example.co.uk." is `))
		}
		return nil
	})
	p.w.t.Logf("%s %s: %s", clock(), p.name, strings.TrimSpace(line))
	return line
}

// last returns the last line that holds text.
func (p *provider) last(text string) string {
	lines := strings.Split(p.log(), "\n")
	slices.Reverse(lines)
	for _, line := range lines {
		if strings.Contains(line, text) {
			return line
		}
	}
	return "nothing"
}

// timeIn returns the time that a line ends with, which is of the provider's clock.
func (p *provider) timeIn(line, before string) time.Time {
	p.w.t.Helper()
	_, text, _ := strings.Cut(line, before)
	at, err := time.Parse(time.RFC3339, regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:]+Z`).FindString(text))
	if err != nil {
		p.w.t.Fatalf("No time after %q in %q", before, line)
	}
	return at.Add(-p.ahead)
}

func (w *world) at(ip string) string { return net.JoinHostPort(ip, w.port) }

// ipOf returns the address of a nameserver.
func (w *world) ipOf(host string) string {
	for _, p := range w.providers {
		if p.host == host {
			return p.ip
		}
	}
	return w.static.ip
}

func (w *world) hosts(ps ...*provider) []string {
	var hosts []string
	for _, p := range ps {
		hosts = append(hosts, p.host)
	}
	return hosts
}

// disturb kills, reloads or cuts off a provider now and then, if resolvers know
// another one or nobody asks this one.
func (w *world) disturb() {
	w.t.Helper()
	for _, p := range w.providers {
		if p.frozen.IsZero() {
			continue
		}
		if time.Now().Before(p.frozen) {
			return
		}
		p.thaw()
		w.t.Logf("%s %s: answers again", clock(), p.name)
		w.disturbed = time.Now()
	}
	if w.calm || *calmFlag || time.Since(w.disturbed) < 4*time.Second || w.rng.IntN(40) > 0 {
		return
	}
	p := w.providers[w.rng.IntN(len(w.providers))]
	what := w.rng.IntN(4)
	if p.daemon == nil {
		return
	}
	switch {
	case what == 0:
		w.t.Logf("%s %s: reloaded", clock(), p.name)
		p.daemon.Signal(reload)
	case !w.spared(p):
		return
	case what == 1:
		w.t.Logf("%s %s: killed and started again", clock(), p.name)
		p.crash()
	default:
		p.frozen = time.Now().Add(shortest + time.Duration(w.rng.IntN(4000))*time.Millisecond)
		w.t.Logf("%s %s: cut off for %s", clock(), p.name, time.Until(p.frozen).Round(time.Millisecond))
		p.daemon.Signal(freeze)
	}
	w.disturbed = time.Now()
}

// steady reports whether p answers, and has for so long that no resolver holds
// against it that it did not: BIND looks for a nameserver's address, which only
// the provider itself knows, again ten seconds after it found none (lib/dns/adb.c).
func (p *provider) steady() bool {
	return p.daemon != nil && p.frozen.IsZero() && time.Since(p.back) > 11*time.Second
}

// spared reports whether resolvers can do without p: none asks it, or all know of
// another one that they can reach.
func (w *world) spared(p *provider) bool {
	if w.parent.ns.settled(p.host, false) && w.ns.settled(p.host, false) {
		return true
	}
	for _, q := range w.providers {
		if q != p && q.steady() && w.parent.ns.settled(q.host, true) && w.ns.settled(q.host, true) {
			return true
		}
	}
	return false
}

// rest waits until all providers that NS is to name are steady: resolvers that
// know one nameserver fewer have to reach the others.
func (w *world) rest(target []string) {
	w.t.Helper()
	before := w.calm
	w.calm = true
	w.await("the nameservers to be steady", func() error {
		for _, p := range w.providers {
			if slices.Contains(target, p.host) && !p.steady() {
				return fmt.Errorf("%s was disturbed lately", p.name)
			}
		}
		return nil
	})
	w.calm = before
}
