package refresh

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/chain"
	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/observe"
	"github.com/coredns-mske/mske/serve"
	"github.com/coredns-mske/mske/store"
)

// modelProvider is one provider of a model's zone: an engine whose decisions are
// called in simulated time, in an order and at moments that chance determines.
// What it would ask of others it asks of the model. It signs without signatures.
type modelProvider struct {
	m    *model
	host string
	cfg  Zone

	here  bool // it has the zone
	got   time.Time
	e     *Engine // nil while it does not run
	z     *zone
	files []*keys.Key
	chain chain.Look // what the plugins behind mske have

	record   *store.Zone // last stored
	unstored bool        // the disk is full
	said     []announced // what was announced, in order
	partial  *halfSight  // a look that has begun

	// cut are the hosts that it cannot reach.
	cut map[string]bool

	skew   time.Duration    // its clock is ahead by that
	fixed  *shown           // of a provider without mske: what it serves
	copied map[string]shown // and what it saw others serve last
	csk    bool             // it has keys for both purposes
	sep    bool             // the plugins behind mske know all of its keys
	roll   *roll

	signed time.Time // since when the zone's data is signed as it is
}

// announced is what a provider announced from a time on; nothing if not ok.
type announced struct {
	at time.Time
	is merge.Announcement
	ok bool
}

// halfSight is a look at the nameservers that takes a while.
type halfSight struct {
	hosts []string
	seen  map[string]shown
}

// shown is what a nameserver serves at one time.
type shown struct {
	up       bool
	failing  bool // the key sets are answered with SERVFAIL
	dnskey   []merge.Key
	sigs     []merge.Key // of DNSKEY
	ttl      time.Duration
	short    bool // DNSKEY may lack keys (rule M5)
	cdnskey  []merge.Key
	noCDS    bool
	apexSigs []merge.Key // of CDS and CDNSKEY
	denial   []merge.Key
	data     []merge.Key // that sign the zone's data
	ns       []string
	nsTTL    time.Duration
	cns      []string
	csync    bool
}

// fakeSigner stands for a private half.
type fakeSigner struct{}

func (fakeSigner) Public() crypto.PublicKey { return nil }
func (fakeSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("a model signs nothing")
}

// The model is what an engine asks, tells and publishes to.

// PublishApex implements the Publisher interface.
func (p *modelProvider) PublishApex(*Zone, *serve.Apex) {}

// PublishSubtree implements the Publisher interface.
func (p *modelProvider) PublishSubtree(*Subtree, *serve.Subtree) {}

// Debugf implements the Logger interface, as do the others.
func (p *modelProvider) Debugf(string, ...any) { /* for developers */ }
func (p *modelProvider) Infof(format string, v ...any) {
	p.m.logf("%s: "+format, append([]any{p.host}, v...)...)
}
func (p *modelProvider) Warningf(format string, v ...any) { p.Infof(format, v...) }
func (p *modelProvider) Errorf(format string, v ...any) {
	if strings.HasPrefix(format, "Internal error") {
		p.m.t.Fatalf(format, v...)
	}
	p.Infof(format, v...)
}

// Parent and Servers implement the Outside interface: they are not called, since
// nothing is due in a model.
func (p *modelProvider) Parent(context.Context, string) observe.Parent { panic("not due") }

// Servers see Parent.
func (p *modelProvider) Servers(context.Context, string, []string) observe.Sight { panic("not due") }

// Fetch implements the Fetcher interface.
func (p *modelProvider) Fetch(context.Context, string, string, merge.Announcement) fetch.Result {
	panic("not due")
}

// start begins with what is stored, as Start does.
func (p *modelProvider) start() {
	start, began := p.m.now, p.now()
	cfg := p.cfg
	e := New(Config{Zones: []*Zone{&cfg}, Publisher: p, Log: p})
	e.clock = func() (time.Time, time.Duration) { return p.now(), p.m.now.Sub(start) }
	p.e, p.z, p.partial = e, e.zones[0], nil
	z := p.z
	p.files = slices.DeleteFunc(p.files, func(k *keys.Key) bool { return k.Gone })
	z.open().facts.files = p.files
	e.loop.due.Push(z)
	stored := make(map[string]record)
	if p.record != nil {
		again := p.m.reload(*p.record)
		stored[z.key] = record{Zone: &again, path: cfg.Store}
	}
	for _, r := range stored {
		e.loop.clock.stored = latest(e.loop.clock.stored, r.Clock)
	}
	adopt(e.zones, stored)
	e.readClock()
	z.open().facts.unsteady, z.open().began, z.open().spoken = true, began, z.open().facts.state.Life.Phase
	z.open().facts.state = startWaits(z.open().facts.state, began)
	j := z.restoreJob(began)
	p.sign(j)
	if j.err != nil {
		j.apex, j.decision.view.answer, j.err = &serve.Apex{Zone: z.Name}, failing, nil
	}
	z.made = j.apex
	e.show(z, j)
	e.announceable(z)
	e.loop.dirty[z] = true
	p.m.logf("%s starts", p.host)
	p.look()
}

// reload returns s as it is read back from a state file.
func (m *model) reload(s store.Zone) (again store.Zone) {
	sigs := s.Signatures
	s.Signatures = nil
	text, err := json.Marshal(s)
	if err == nil {
		err = json.Unmarshal(text, &again)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	again.Signatures = sigs
	return again
}

func (p *modelProvider) stop() {
	p.m.logf("%s stops", p.host)
	p.e, p.z, p.partial = nil, nil, nil
	p.m.serve(p)
}

// now is the time by the provider's clock.
func (p *modelProvider) now() time.Time { return p.m.now.Add(p.skew) }

// runs reports whether there is an engine.
func (p *modelProvider) runs() bool { return p.e != nil }

// setFiles changes the key files.
func (p *modelProvider) setFiles(ks ...*keys.Key) {
	p.files = ks
	if p.runs() {
		p.z.open().facts.files = ks
		p.e.loop.dirty[p.z] = true
		p.decide()
	}
}

// look reads the zone from the plugins behind.
func (p *modelProvider) look() {
	if !p.runs() {
		return
	}
	p.e.readClock()
	p.e.saw(p.z, p.chain)
	p.decide()
}

// collect fetches an announcement.
func (p *modelProvider) collect() {
	if !p.runs() {
		return
	}
	p.e.readClock()
	hosts, _ := p.z.imports(p.z.open().facts.state)
	for _, host := range hosts {
		if len(hosts) > 1 && p.m.r.IntN(3) == 0 {
			continue
		}
		c := p.z.collectionOf(host)
		if c == nil {
			if !p.z.capable(host) {
				continue
			}
			c = new(collection)
			p.z.schedule(c, host, p.now())
			c.line = p.e.loop.fetches.join(place{p, host})
			p.z.fetching = append(p.z.fetching, c)
		}
		var known merge.Announcement
		if i := peer(p.z.open().facts.state.Peers, host); i >= 0 {
			known = p.z.open().facts.state.Peers[i].Announcement
		}
		c.asked = p.now()
		p.e.collected(p.z, c, p.m.fetch(p, host, known), 0)
	}
	p.decide()
}

// readParent reads DS and NS.
func (p *modelProvider) readParent() {
	if p.runs() {
		p.e.readClock()
		p.e.sawParent(p.z, p.m.readParent(p), p.e.loop.now)
		p.decide()
	}
}

// beginSight looks at some of the nameservers, endSight at the rest.
func (p *modelProvider) beginSight() {
	if !p.runs() {
		return
	}
	p.partial = &halfSight{hosts: p.z.lookedAt(), seen: make(map[string]shown)}
	for _, host := range p.partial.hosts {
		if p.m.r.IntN(2) == 0 {
			p.partial.seen[host] = p.m.see(p, host)
		}
	}
}

func (p *modelProvider) endSight() {
	if !p.runs() || p.partial == nil {
		return
	}
	half := p.partial
	p.partial = nil
	for _, host := range half.hosts {
		if _, seen := half.seen[host]; !seen {
			half.seen[host] = p.m.see(p, host)
		}
	}
	p.e.readClock()
	p.e.sawServers(p.z, half.hosts, p.m.sight(half.seen, half.hosts))
	p.decide()
}

// decide decides what is to be served and serves it.
func (p *modelProvider) decide() {
	if !p.runs() {
		return
	}
	p.e.readClock()
	reopen(p.m.t, p.z) // as in a fleet
	for i := 0; i < 4 && (i == 0 || p.e.loop.dirty[p.z]); i++ {
		delete(p.e.loop.dirty, p.z)
		j := p.e.prepare(p.z, p.m.r.IntN(4) == 0)
		if j == nil {
			break
		}
		p.sign(j)
		if p.unstored {
			j.stored = errors.New("the disk is full")
			p.addOnly(j)
		} else if j.err == nil {
			record := j.record
			p.record = &record
		}
		p.e.publish(j)
	}
	p.noteAnnouncement()
	p.m.serve(p)
	p.await()
}

// addOnly is job.add.
func (p *modelProvider) addOnly(j *job) {
	v := j.decision.view
	if v.answer != full || len(j.was.DNSKEY) == 0 {
		return
	}
	v.joint = plus(j.zone.Name, j.was, v.joint)
	j.decision.view = v
	j.sign = true
	p.sign(j)
}

// await sees to it that the next decision that time alone brings is made, and
// that a deadline is looked at.
func (p *modelProvider) await() {
	world := func(at time.Time) time.Time { return at.Add(-p.skew) }
	z := p.z
	if at := z.open().decideAt; at.After(p.now()) {
		p.m.at(world(at).Add(p.m.between(0, time.Minute)), func() {
			if p.z == z && due(z.open().decideAt, p.now()) {
				p.decide()
			}
		})
	}
	if at := z.open().outside.report.Next; at.After(p.now()) && !at.Equal(p.m.awaited[p.host]) {
		p.m.awaited[p.host] = at
		p.m.at(world(at).Add(p.m.between(0, 2*time.Minute)), func() { p.readParent() })
		p.m.at(world(at).Add(p.m.between(0, 2*time.Minute)), func() { p.beginSight(); p.endSight() })
	}
}

// sign is what job.make does, with signatures that say who made them.
func (p *modelProvider) sign(j *job) {
	v := j.decision.view
	j.apex, j.served, j.delegated = j.old, v.joint, v.delegation
	if !j.sign {
		return
	}
	a := &serve.Apex{Zone: zoneName, Data: v.correcting}
	j.apex = a
	if v.answer == failing {
		return
	}
	var stored []serve.Signature
	if len(j.record.Signatures) > 0 && p.z != nil && slices.Equal(v.joint.DNSKEY, p.z.open().facts.state.Joint.DNSKEY) {
		stored = j.record.Signatures
	}
	var sigs []*dns.RRSIG
	for _, k := range v.signers.SecureEntry {
		if k.Signer != nil {
			sigs = append(sigs, p.m.signature(k))
			continue
		}
		for _, s := range stored {
			if sig := s.RRSIG(); sig.KeyTag == k.Tag() && sig.ValidityPeriod(p.m.now) {
				sigs = append(sigs, sig)
				break
			}
		}
	}
	if len(sigs) == 0 || len(v.joint.DNSKEY) == 0 {
		j.err, j.apex = errors.New("nobody signs"), j.old
		return
	}
	a.DNSKEY = serve.ApexSet{Answer: serve.Served, RRset: p.m.signed(sigs)}
	if v.answer == full {
		a.CDS = serve.ApexSet{Answer: serve.Served, RRset: p.m.signed(nil)}
		a.CDNSKEY = a.CDS
	}
	for _, k := range v.signers.Data {
		if k.Signer != nil {
			a.Data = append(a.Data, k)
		}
	}
}

// shown returns what the provider's nameserver serves now.
func (p *modelProvider) shown() shown {
	switch {
	case p.fixed != nil:
		return *p.fixed
	case !p.runs() || p.z.apex == nil:
		return shown{}
	}
	v, a := p.z.open().shown, p.z.apex
	s := shown{up: true, failing: v.answer == failing, short: v.answer == keysAlone, noCDS: v.answer != full, data: p.chain.Signers, ns: p.chain.NS}
	if ns := v.delegation.NS; len(ns) > 0 {
		s.ns, s.csync = ns, v.delegation.CSYNC
	}
	s.denial = ids(a.Data)
	if s.failing {
		return s
	}
	s.dnskey, s.ttl = v.joint.DNSKEY, p.cfg.TTL
	if s.short {
		s.ttl = coldTTL * time.Second
	}
	for _, sig := range a.DNSKEY.RRset.Sigs() {
		s.sigs = append(s.sigs, p.m.byTag[sig.KeyTag])
	}
	if !s.noCDS {
		s.cdnskey = v.joint.CDNSKEY
		s.apexSigs = slices.Concat(s.sigs, ids(a.Data))
	}
	return s
}

func (p *modelProvider) noteAnnouncement() {
	now := announced{at: p.m.now, is: p.z.announces().keys, ok: p.z.announced}
	if n := len(p.said); n > 0 && p.said[n-1].ok == now.ok && sameKeys(p.said[n-1].is, now.is) {
		return
	}
	now.is.TTL = p.cfg.TTL
	now.is.Inception = merge.Inceptions{DNSKEY: p.now(), CDNSKEY: p.now(), CDS: p.now()}
	p.said = append(p.said, now)
}

func sameKeys(a, b merge.Announcement) bool {
	return slices.Equal(a.DNSKEY, b.DNSKEY) && slices.Equal(a.CDNSKEY, b.CDNSKEY)
}

// report returns what mske says of the zone, false if it does not run.
func (p *modelProvider) report() (lifecycle.Report, bool) {
	if !p.runs() {
		return lifecycle.Report{}, false
	}
	return p.z.open().outside.report, true
}

// keyReport returns what it says of one of its keys.
func (p *modelProvider) keyReport(k *keys.Key) lifecycle.KeyReport {
	r, _ := p.report()
	for _, kr := range r.Keys {
		if kr.Key == k.ID() {
			return kr
		}
	}
	return lifecycle.KeyReport{}
}

// server is what a look at a host comes to.
func server(host string, s shown, known func(merge.Key) bool) observe.Server {
	seen := func(ks []merge.Key) []merge.Key {
		return slices.DeleteFunc(slices.Clone(ks), func(k merge.Key) bool { return !known(k) })
	}
	var a observe.Apex
	if !s.up {
		a.Err = errSilent
	} else {
		a.SOA = observe.Set[uint32]{Records: []uint32{1}, TTL: time.Hour, Signers: seen(s.data)}
		a.NS = observe.Set[string]{Records: s.ns, TTL: modelNSTTL(s), Signers: seen(s.data)}
		a.CNS = observe.Set[string]{Records: s.cns, TTL: time.Hour, Signers: seen(s.data)}
		if s.failing {
			a.DNSKEY.Err, a.CDS.Err, a.CDNSKEY.Err = errSilent, errSilent, errSilent
		} else {
			a.DNSKEY = observe.Set[merge.Key]{Records: s.dnskey, TTL: s.ttl, Signers: seen(s.sigs)}
			a.CDNSKEY = observe.Set[merge.Key]{Records: s.cdnskey, TTL: s.ttl, Signers: seen(s.apexSigs)}
			// CDS says the same, and digests are what costs most: a type that
			// nobody serves is not missed.
			if s.noCDS {
				a.CDS.Err, a.CDNSKEY.Err = errSilent, errSilent
			}
		}
	}
	return observe.Server{Host: host, Addresses: []observe.Address{{Addr: netip.MustParseAddr("192.0.2.1"), UDP: a, TCP: a}}}
}
