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

const parentZone = "co.uk."

// parent is the registry. It follows the CDS that all nameservers of the
// delegation agree to (RFC 7344, RFC 9975), by dnssec-cds.
type parent struct {
	w      *world
	daemon *daemon.Daemon
	key    string
	file   string
	serial int
	ns     nsSet    // of the delegation
	ds     []string // DS records in text form, sorted
	asked  time.Time

	refused string // why dnssec-cds would not, as it was last said
}

func (w *world) newParent() *parent {
	return &parent{w: w, key: w.key(w.dir, parentZone, "KSK"), file: filepath.Join(w.dir, "db.parent")}
}

// start delegates the zone for the first time.
func (p *parent) start(ns []string, keys ...string) {
	for _, key := range keys {
		p.ds = append(p.ds, p.records(p.w.ds(key))...)
	}
	p.ns = newNS(ns...)
	p.sign()
	p.daemon = p.w.startNSD(ipParent, map[string]string{parentZone: p.file + ".signed"})
}

// delegate changes NS, as the registrant does by hand.
func (p *parent) delegate(ns []string) {
	p.w.t.Helper()
	p.w.t.Logf("%s Parent: NS %v", clock(), ns)
	p.ns.set(ns)
	p.publish()
}

func (p *parent) sign() {
	w := p.w
	p.serial++
	var b strings.Builder
	fmt.Fprintf(&b, "$TTL %d\n$ORIGIN %s\n@ SOA ns hostmaster %d 1800 900 604800 %d\n@ 3600 NS ns\nns 3600 A %s\n", nsTTL, parentZone, p.serial, negativeTTL, w.ip(ipParent))
	for _, host := range p.ns.hosts {
		fmt.Fprintf(&b, "%s NS %s\n", shared, host)
	}
	b.WriteString(strings.Join(p.ds, "\n") + "\n" + w.public(p.key))
	w.write(p.file, b.String())
	run(w.t, w.dir, daemon.Path(w.t, "dnssec-signzone"), "-z", "-q", "-o", parentZone, "-f", p.file+".signing", p.file, p.key)
	run(w.t, w.dir, "mv", p.file+".signing", p.file+".signed")
}

// publish signs the zone and waits until it is served.
func (p *parent) publish() {
	p.w.t.Helper()
	p.sign()
	p.daemon.Signal(hangUp)
	daemon.Await(p.w.t, fmt.Sprintf("the parent to serve serial %d", p.serial), func() error {
		rrs, err := daemon.Authoritative(p.w.addr(ipParent), parentZone, dns.TypeSOA)
		if err != nil {
			return err
		}
		if len(rrs) != 1 || rrs[0].(*dns.SOA).Serial != uint32(p.serial) {
			p.daemon.Signal(hangUp)
			return fmt.Errorf("got %v", rrs)
		}
		return nil
	})
}

// records returns DS records in text form, with the TTL they get here.
func (p *parent) records(text string) []string {
	var records []string
	zp := dns.NewZoneParser(strings.NewReader(text), "", "")
	zp.SetDefaultTTL(dsTTL)
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		rr.Header().Ttl = dsTTL
		records = append(records, rr.String())
	}
	if err := zp.Err(); err != nil {
		p.w.t.Fatalf("%v in\n%s", err, text)
	}
	slices.Sort(records)
	return slices.Compact(records)
}

// work looks at the nameservers of the delegation, and does what they all ask
// for.
func (p *parent) work() {
	w := p.w
	if p.daemon == nil || time.Since(p.asked) < time.Second {
		return
	}
	defer func() { p.asked = time.Now() }()
	var sets []string
	var want []string
	for _, host := range p.ns.hosts {
		text, set, err := p.child(w.ipOf(host))
		if err != nil {
			return // one that is not heard may say otherwise
		}
		if sets = append(sets, set); set != sets[0] {
			return
		}
		path := filepath.Join(w.dir, "parent-child")
		w.write(path, text)
		w.write(filepath.Join(w.dir, "parent-dsset"), strings.Join(p.ds, "\n")+"\n")
		out, err := try(w.dir, daemon.Path(w.t, "dnssec-cds"), "-f", path, "-d", "parent-dsset", "-s", "-86400", shared)
		if err != nil {
			if out = fmt.Sprintf("dnssec-cds with what %s serves: %v: %s", host, err, out); out != p.refused {
				w.t.Logf("%s Parent: %s", clock(), out)
				p.refused = out
			}
			return
		}
		got := p.records(out)
		if want == nil {
			want = got
		}
		if len(got) == 0 || !slices.Equal(got, want) {
			return
		}
	}
	if slices.Equal(want, p.ds) {
		return
	}
	w.t.Logf("%s Parent: DS %v becomes %v", clock(), tagsOf(p.ds), tagsOf(want))
	p.ds = want
	p.publish()
}

func tagsOf(ds []string) []string {
	var tags []string
	for _, text := range ds {
		tags = append(tags, strings.Fields(text)[4])
	}
	return tags
}

// child returns what a nameserver serves, in zone-file form, and its CDS and
// CDNSKEY alone for comparison.
func (p *parent) child(ip string) (text, set string, err error) {
	var all, asks []string
	for _, qtype := range []uint16{dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY} {
		m, err := exchange(p.w.at(ip), shared, qtype, time.Second)
		if err != nil {
			return "", "", err
		}
		if m.Rcode != dns.RcodeSuccess || len(m.Answer) == 0 {
			return "", "", fmt.Errorf("no %s", dns.Type(qtype))
		}
		for _, rr := range m.Answer {
			all = append(all, rr.String())
			switch rr.(type) {
			case *dns.CDS, *dns.CDNSKEY:
				rr.Header().Ttl = 0
				asks = append(asks, rr.String())
			}
		}
	}
	slices.Sort(asks)
	return strings.Join(all, "\n") + "\n", strings.Join(asks, "\n"), nil
}
