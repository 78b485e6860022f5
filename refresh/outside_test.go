package refresh

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/observe"
	"github.com/coredns-mske/mske/serve"
)

var errSilent = errors.New("no answer")

// internet is what a test's zone looks like from outside: a parent that is told
// what to say, and nameservers that serve what their providers do. Ours serve
// what the engine published.
type internet struct {
	mu      sync.Mutex
	w       *world
	ds      []merge.DS
	absent  bool // DS is provably absent
	ns      []string
	down    bool // the parent cannot be read
	dsTTL   time.Duration
	dsAge   time.Duration
	nsTTL   time.Duration
	hosts   map[string]*hosted
	parents int // readings
	looks   []time.Time
}

// hosted is what a nameserver of another provider serves.
type hosted struct {
	dnskey, cdnskey, signers []merge.Key // signers of DNSKEY and CDS
	data                     []merge.Key // of the zone's data
	ns                       []string    // the same as ours if nil
	cns                      []string
	silent                   bool
}

// online makes the world's zone visible from outside, with DS naming our KSK and
// NS ours alone.
func (w *world) online() *internet {
	n := &internet{w: w, ds: digestsOf(w.ksk.ID()), ns: []string{ourNS}, dsTTL: time.Hour, nsTTL: time.Hour, hosts: make(map[string]*hosted)}
	w.zone.Outside = n
	return n
}

func digestsOf(ks ...merge.Key) []merge.DS {
	var ds []merge.DS
	for _, k := range ks {
		d, _ := k.DS(zoneName, dns.SHA256)
		ds = append(ds, d)
	}
	return ds
}

// change edits what is seen from outside.
func (n *internet) change(edit func(*internet)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	edit(n)
}

// Parent implements the Outside interface.
func (n *internet) Parent(context.Context, string) observe.Parent {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.parents++
	if n.down {
		return observe.Parent{DSErr: errSilent}
	}
	p := observe.Parent{Name: "co.uk.", DSStatus: observe.DSPresent, DS: slices.Clone(n.ds), DSTTL: n.dsTTL, DSAge: n.dsAge, NSRead: true, NS: slices.Sorted(slices.Values(n.ns)), NSTTL: n.nsTTL}
	if n.absent {
		p.DSStatus, p.DS = observe.DSDenied, nil
	}
	return p
}

// Servers implements the Outside interface.
func (n *internet) Servers(_ context.Context, zone string, hosts []string) observe.Sight {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.looks = append(n.looks, time.Now())
	s := observe.Sight{Zone: zone, At: time.Now()}
	for _, host := range slices.Sorted(slices.Values(hosts)) {
		s.Servers = append(s.Servers, n.server(zone, host))
	}
	return s
}

func (n *internet) server(zone, host string) observe.Server {
	var apex observe.Apex
	switch h := n.hosts[host]; {
	case host == ourNS:
		apex = n.ours(zone)
	case h == nil || h.silent:
		apex.Err = errSilent
	default:
		ns := h.ns
		if ns == nil {
			ns = n.childNS()
		}
		apex = apexOf(h.dnskey, h.cdnskey, h.signers, h.data, ns)
		apex.CNS = observe.Set[string]{Records: h.cns, TTL: time.Hour, Signers: h.data}
	}
	return observe.Server{Host: host, Addresses: []observe.Address{{Addr: netip.MustParseAddr("192.0.2.1"), UDP: apex, TCP: apex}}}
}

// ours is what our nameserver serves: what was published.
func (n *internet) ours(zone string) observe.Apex {
	n.w.out.mu.Lock()
	defer n.w.out.mu.Unlock()
	all := append([]*Zone{n.w.zone}, n.w.more...)
	a := n.w.out.apexes[all[max(0, slices.IndexFunc(all, func(z *Zone) bool { return z.Name == zone }))]]
	if a == nil || a.DNSKEY.Answer != serve.Served {
		return observe.Apex{Err: errSilent}
	}
	keysOf := func(s serve.ApexSet) (ks []merge.Key) {
		if s.RRset == nil {
			return nil
		}
		for _, rr := range s.RRset.RRs() {
			switch rr := rr.(type) {
			case *dns.DNSKEY:
				ks = append(ks, merge.KeyOf(rr))
			case *dns.CDNSKEY:
				ks = append(ks, merge.KeyOf(&rr.DNSKEY))
			}
		}
		return ks
	}
	dnskey := keysOf(a.DNSKEY)
	var signers []merge.Key
	for _, sig := range a.DNSKEY.RRset.Sigs() {
		for _, k := range dnskey {
			if k.Tag() == sig.KeyTag {
				signers = append(signers, k)
			}
		}
	}
	n.w.chain.mu.Lock()
	defer n.w.chain.mu.Unlock()
	ns := n.w.chain.ns
	if a.NS != nil {
		ns = nsOf(a)
	}
	return apexOf(dnskey, keysOf(a.CDNSKEY), signers, ids(n.w.chain.signers), ns)
}

// nsOf returns the hosts of the NS RRset of a, none if it leaves it to the chain.
func nsOf(a *serve.Apex) (hosts []string) {
	if a == nil || a.NS == nil {
		return nil
	}
	for _, rr := range a.NS.RRs() {
		hosts = append(hosts, rr.(*dns.NS).Ns)
	}
	return hosts
}

// childNS returns the zone's NS RRset as we serve it.
func (n *internet) childNS() []string {
	if ns := nsOf(n.w.apex()); ns != nil {
		return ns
	}
	n.w.chain.mu.Lock()
	defer n.w.chain.mu.Unlock()
	return n.w.chain.ns
}

func apexOf(dnskey, cdnskey, signers, data []merge.Key, ns []string) observe.Apex {
	return observe.Apex{
		SOA:     observe.Set[uint32]{Records: []uint32{1}, TTL: time.Hour, Signers: data},
		DNSKEY:  observe.Set[merge.Key]{Records: slices.Clone(dnskey), TTL: time.Hour, Signers: signers},
		CDNSKEY: observe.Set[merge.Key]{Records: slices.Clone(cdnskey), TTL: time.Hour, Signers: signers},
		CDS:     observe.Set[merge.DS]{Records: digestsOf(cdnskey...), TTL: time.Hour, Signers: signers},
		NS:      observe.Set[string]{Records: slices.Sorted(slices.Values(ns)), TTL: time.Hour, Signers: data},
	}
}

// serves lets host be a nameserver of p that serves the joint sets of these
// providers and our keys.
func (n *internet) serves(host string, p provider, others ...provider) *hosted {
	h := &hosted{
		dnskey:  []merge.Key{p.ksk, p.zsk, n.w.zsk.ID()},
		cdnskey: []merge.Key{n.w.ksk.ID(), p.ksk},
		signers: []merge.Key{p.ksk}, data: []merge.Key{p.zsk},
	}
	for _, o := range others {
		h.dnskey, h.cdnskey = append(h.dnskey, o.zsk), append(h.cdnskey, o.ksk)
	}
	n.change(func(n *internet) { n.hosts[host] = h })
	return h
}

// alone lets host be a nameserver of p that knows of no other provider.
func (n *internet) alone(host string, p provider) {
	n.change(func(n *internet) {
		n.hosts[host] = &hosted{dnskey: []merge.Key{p.ksk, p.zsk}, cdnskey: []merge.Key{p.ksk}, signers: []merge.Key{p.ksk}, data: []merge.Key{p.zsk}}
	})
}

// delegate changes NS at the zone and at the parent.
func (n *internet) delegate(hosts ...string) {
	n.w.chain.change(true, func(c *chainZone) { c.ns = hosts })
	n.change(func(n *internet) { n.ns = hosts })
}

// again returns the world of a server that starts once more, where only its peers
// cannot be reached.
func (w *world) again(n *internet) *world {
	w.t.Helper()
	c := w.crash()
	c.chain.down = nil
	c.zone.Outside = n
	n.change(func(n *internet) { n.w = c })
	c.peers.set(theirNS, verdict(fetch.Unreachable))
	return c
}

// afresh returns the world of a server that has lost its state file.
func (w *world) afresh(n *internet) *world {
	w.t.Helper()
	c := w.again(n)
	if err := os.Remove(filepath.Join(c.dir, "mske.db")); err != nil {
		w.t.Fatal(err)
	}
	return c
}

// Report returns what e tells of a zone.
func (e *Engine) Report(cfg *Zone) (r lifecycle.Report, ok bool) {
	e.Tell(cfg.Name, func(z *Zone, t Told) {
		if z == cfg {
			r, ok = t.Report, true
		}
	})
	return r, ok
}

func (w *world) report(e *Engine) lifecycle.Report {
	w.t.Helper()
	r, ok := e.Report(w.zone)
	if !ok {
		w.t.Fatal("Expected a report")
	}
	return r
}

// startMinutely starts an engine for tests of hours: it polls every minute.
func (w *world) startMinutely() *Engine {
	w.t.Helper()
	e := New(w.config())
	e.pollEvery, e.scanEvery = time.Minute, time.Minute
	if err := e.Start(); err != nil {
		w.t.Fatalf("Expected the engine to start, got %v", err)
	}
	w.t.Cleanup(e.Stop)
	w.pass(time.Minute)
	return e
}

// until lets time pass until the zone is in a phase, at most for so long.
func (w *world) until(e *Engine, phase lifecycle.Phase, most time.Duration) time.Duration {
	w.t.Helper()
	began := time.Now()
	for w.report(e).Phase != phase {
		if time.Since(began) > most {
			w.t.Fatalf("Expected %s within %v, got %s", phase, most, w.report(e))
		}
		w.pass(time.Minute)
	}
	return time.Since(began)
}

// complete makes the zone one of two providers in the last phase.
func (w *world) complete(n *internet) (*Engine, provider) {
	w.t.Helper()
	p := w.join()
	n.serves(theirNS, p)
	e := w.startMinutely()
	n.change(func(n *internet) { n.ds = digestsOf(w.ksk.ID(), p.ksk) })
	w.until(e, lifecycle.Synced, 5*time.Hour)
	n.delegate(ourNS, theirNS)
	w.until(e, lifecycle.Complete, 2*time.Hour)
	return e, p
}
