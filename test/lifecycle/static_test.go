package lifecycle

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/daemon"
)

// static is a provider without mske: Knot with zones that were signed
// beforehand. `mske announce` made its announcement. Its operator copies the
// other providers' keys by hand, from what the first of them serves.
type static struct {
	w      *world
	ip     string
	domain string
	host   string
	dir    string
	own    string
	ksk    string
	zsk    string

	daemon *daemon.Daemon
	from   *provider // whose joint sets are copied
	stale  bool      // the owner changed the zone
	copied string    // the joint sets, as they were copied last
	looked time.Time
}

func (w *world) newStatic(name string, last int) *static {
	s := &static{w: w, ip: w.ip(last), domain: name + ".net.", dir: w.mkdir(name)}
	s.host = "ns1." + s.domain
	s.own = w.key(s.dir, s.domain, "KSK")
	s.ksk, s.zsk = w.key(w.mkdir(name, "keys"), shared, "KSK"), w.key(w.mkdir(name, "keys"), shared, "ZSK")
	return s
}

// start has it serve what from serves, too.
func (s *static) start(from *provider) {
	w := s.w
	w.t.Helper()
	w.t.Logf("%s Static: starts", clock())
	announcement := run(w.t, s.dir, ours(w.t, "mske"), "announce", "-d", filepath.Dir(s.ksk), "--ns", s.host, shared)
	domain := filepath.Join(s.dir, "db.domain")
	w.write(domain, fmt.Sprintf("$TTL %d\n$ORIGIN %s\n@ SOA %s hostmaster 1 1800 900 604800 60\n@ NS %[3]s\nns1 A %s\n%s",
		keyTTL, s.domain, s.host, s.ip, announcement))
	// Dated back as other signers do, for clocks that are behind.
	run(w.t, s.dir, daemon.Path(w.t, "ldns-signzone"), "-i", time.Now().UTC().Add(-time.Hour).Format("20060102150405"), "-o", s.domain, "-f", domain+".signed", domain, s.own)

	s.from, s.copied = from, s.joint(from)
	s.sign()
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
zone:
- domain: "%[4]s"
  file: "%[5]s"
- domain: "%[6]s"
  file: "%[7]s"
  zonefile-sync: -1
  zonefile-load: whole
  journal-content: none
`, s.dir, s.ip, w.port, s.domain, domain+".signed", shared, filepath.Join(s.dir, "db.shared.signed"))
	w.write(filepath.Join(s.dir, "knot.conf"), conf)
	s.daemon = daemon.Start(w.t, "knotd", s.dir, nil, daemon.Path(w.t, "knotd"), "-c", "knot.conf")
	w.t.Cleanup(w.load.stop) // before the provider is
	s.daemon.AwaitAnswer(w.at(s.ip), s.domain, dns.TypeSOA)
	s.daemon.AwaitAnswer(w.at(s.ip), shared, dns.TypeSOA)
}

// stop ends it for good.
func (s *static) stop() {
	s.daemon.Stop()
	s.daemon = nil
	s.w.t.Logf("%s Static: stopped", clock())
}

// joint returns the joint sets that p serves without the static peer's own keys
// and the secure-entry keys in DNSKEY, which are p's; "" if it does not answer.
func (s *static) joint(p *provider) string {
	var records []string
	own := []uint16{tag(s.ksk), tag(s.zsk)}
	for _, qtype := range []uint16{dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY} {
		m, err := exchange(s.w.at(p.ip), shared, qtype, time.Second)
		if err != nil || m.Rcode != dns.RcodeSuccess {
			return ""
		}
		for _, rr := range m.Answer {
			k, isKey := rr.(*dns.DNSKEY)
			switch {
			case rr.Header().Rrtype == dns.TypeRRSIG, slices.Contains(own, daemon.Tags([]dns.RR{rr})[0]):
			case isKey && k.Flags&dns.SEP != 0 && !s.signsData(k.KeyTag()):
			default:
				rr.Header().Ttl = keyTTL
				records = append(records, rr.String())
			}
		}
	}
	slices.Sort(records)
	return strings.Join(records, "\n") + "\n"
}

// signsData reports whether a key with the SEP flag is a CSK: one of the dnssec
// plugins signs with it and has no other.
func (s *static) signsData(tagged uint16) bool {
	for _, p := range s.w.providers {
		for _, key := range p.csks {
			if tag(key) == tagged {
				return true
			}
		}
	}
	return false
}

// sign makes the zone file anew.
func (s *static) sign() {
	w := s.w
	file := filepath.Join(s.dir, "db.shared")
	text := w.zoneText(true) + s.copied
	for _, key := range []string{s.ksk, s.zsk} {
		text += strings.ReplaceAll(w.public(key), shared+" IN", fmt.Sprintf("%s %d IN", shared, keyTTL))
	}
	for _, line := range strings.Split(run(w.t, s.dir, daemon.Path(w.t, "dnssec-dsfromkey"), "-C", "-2", s.ksk+".key"), "\n") {
		text += strings.Replace(line, shared+" IN", fmt.Sprintf("%s %d IN", shared, keyTTL), 1) + "\n"
	}
	key := readKey(w.t, s.ksk).ToCDNSKEY()
	key.Hdr.Ttl = keyTTL
	text += key.String() + "\n"
	w.write(file, text)
	run(w.t, s.dir, daemon.Path(w.t, "dnssec-signzone"), "-P", "-q", "-X", "now+1h", "-o", shared, "-f", file+".signing", "-k", s.ksk, file, s.zsk)
	run(w.t, s.dir, "mv", file+".signing", file+".signed")
}

// work is what its operator does every few seconds.
func (s *static) work() {
	if s.daemon == nil || time.Since(s.looked) < 3*time.Second {
		return
	}
	s.looked = time.Now()
	joint := s.joint(s.from)
	if joint == "" || joint == s.copied && !s.stale {
		return
	}
	s.copied, s.stale = joint, false
	s.w.t.Logf("%s Static: copies the joint sets of %s", clock(), s.from.name)
	s.sign()
	s.daemon.Signal(hangUp)
}
