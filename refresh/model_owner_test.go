package refresh

import (
	"slices"
	"time"

	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/merge"
)

// modelOutage is how long a nameserver is away at most, for all or for one that
// looks at it. One that is to leave and is silent for an hour no longer holds up
// the others (section 5 of the design): that it may still be asked by somebody, or
// come back with old keys, is a risk that the owner is told of.
const modelOutage = 50 * time.Minute

// modelSkew is how far clocks are ahead or behind at most. What one is set by stays
// below an hour, so that it is believed at once.
const modelSkew = 25 * time.Minute

// owner is who decides which providers a zone has. They do what mske says may be
// done, in whatever order and as late as chance has it.
type owner struct {
	goal     []string // the nameservers that are wanted
	named    bool     // by CNS, else by NS alone
	changing int      // changes on their way
	wishes   int      // so far: what was to be said of an earlier one is not
}

// parentScan is the parent's reading of CDS at all nameservers, which takes a
// while.
type parentScan struct {
	hosts []string
	seen  map[string]shown
}

// found begins the zone with its first provider, whom it is delegated to.
func (m *model) found() {
	first := m.providers[0]
	first.newKeys()
	first.here = true
	first.chain.NS, first.chain.NSTTL = []string{first.host}, m.nsTTL
	m.owner.goal = []string{first.host}
	m.setNS(m.owner.goal)
	m.setDS([]merge.Key{first.files[0].ID()})
	first.start()
	for _, p := range m.providers {
		m.live(p)
	}
	m.every(5*time.Minute, 40*time.Minute, m.own)
	if m.chance(50) {
		m.every(2*time.Minute, 10*time.Minute, m.scan)
	} else {
		m.every(5*time.Minute, 3*time.Hour, m.scan)
	}
	m.every(2*time.Minute, 2*time.Hour, m.sync)
	m.every(12*time.Hour, 48*time.Hour, func() {
		m.parent.unreadable = true
		m.in(time.Minute, 12*time.Hour, func() { m.parent.unreadable = false })
	})
	m.every(12*time.Hour, 48*time.Hour, m.lower)
}

// lower lowers a TTL, as before a change. One that is raised counts once it was
// read; before that nobody can know of it.
func (m *model) lower() {
	for _, p := range m.providers {
		if p.here && p.fixed == nil && (p.record == nil || p.record.Life.NSAt.IsZero() || p.record.Life.DSAt.IsZero()) {
			return // it does not know yet what there was before
		}
	}
	m.settled = m.now.Add(max(m.parent.dsTTL, m.parent.nsTTL, m.nsTTL))
	for _, ttl := range []*time.Duration{&m.parent.dsTTL, &m.parent.nsTTL, &m.nsTTL} {
		if m.chance(50) {
			*ttl = min(*ttl, m.ttl())
		}
	}
	m.serveDS()
	m.serveNS()
	for _, p := range m.providers {
		p.chain.NSTTL = m.nsTTL
		m.serve(p)
	}
}

// live lets everything happen to a provider that happens by itself.
func (m *model) live(p *modelProvider) {
	least, most := p.cfg.RefreshMin, p.cfg.RefreshMax
	m.every(10*time.Minute, readEvery, p.look)
	m.every(least, most, p.collect)
	m.every(least, most, p.readParent)
	m.every(least, most, func() {
		p.beginSight()
		m.in(0, time.Minute, p.endSight)
	})
	m.every(6*time.Hour, 48*time.Hour, p.restart)
	m.every(6*time.Hour, 24*time.Hour, func() {
		q := m.providers[m.r.IntN(len(m.providers))]
		p.cut[q.host] = true
		m.in(time.Minute, modelOutage, func() { delete(p.cut, q.host) })
	})
	m.every(12*time.Hour, 48*time.Hour, func() {
		p.unstored = true
		m.in(time.Minute, 3*time.Hour, func() { p.unstored = false; p.decide() })
	})
	m.every(12*time.Hour, 48*time.Hour, p.setClock)
	m.every(5*time.Minute, 40*time.Minute, p.operate)
	if p.fixed != nil {
		m.every(time.Minute, 2*time.Hour, p.copyJoint)
	}
}

func (p *modelProvider) restart() {
	if !p.runs() || p.unstored {
		return
	}
	p.stop()
	most := 2 * time.Minute
	if p.m.chance(30) {
		most = modelOutage
	}
	if p.m.chance(20) {
		p.cfg.TTL = min(p.m.ttl(), p.m.dataTTL)
	}
	p.m.in(0, most, func() {
		if p.here && !p.runs() {
			p.start()
		}
	})
}

// setClock lets somebody set the provider's clock. While it does not run, nobody
// can know.
func (p *modelProvider) setClock() {
	if !p.runs() || p.unstored {
		return
	}
	p.skew = p.m.between(0, 2*modelSkew) - modelSkew
	p.m.logf("%s has a clock that is %v ahead", p.host, p.skew)
	p.look()
}

// provision brings the zone to a provider.
func (m *model) provision(p *modelProvider) {
	if p.here {
		return
	}
	p.here, p.got = true, m.now
	m.logf("%s gets the zone", p.host)
	p.newKeys()
	p.record, p.roll = nil, nil
	p.chain.NS, p.chain.NSTTL = slices.Clone(m.parent.ns), m.nsTTL
	if m.chance(30) {
		p.chain.NS = []string{p.host}
	}
	if p.fixed == nil {
		p.start()
		return
	}
	ksk, zsk := p.files[0].ID(), p.files[1].ID()
	p.fixed = &shown{up: true, dnskey: sorted(ksk, zsk), sigs: []merge.Key{ksk}, ttl: p.cfg.TTL, cdnskey: []merge.Key{ksk},
		apexSigs: []merge.Key{ksk, zsk}, denial: []merge.Key{zsk}, data: []merge.Key{zsk}, ns: p.chain.NS}
	p.said = append(p.said, announced{at: m.now, ok: true, is: merge.Announcement{DNSKEY: []merge.Key{zsk}, CDNSKEY: []merge.Key{ksk}, CDS: digestsOf(ksk), TTL: p.cfg.TTL,
		Inception: merge.Inceptions{DNSKEY: m.now, CDNSKEY: m.now, CDS: m.now}}})
	m.serve(p)
}

func sorted(ks ...merge.Key) []merge.Key {
	return merge.Union(zoneName, merge.Local{DNSKEY: ks}, nil).DNSKEY
}

// copyJoint is what a provider's people do who do not run mske: they copy what the
// others serve, or served last if they cannot be asked now. One that has just come
// serves less than those who know who was there before it.
func (p *modelProvider) copyJoint() {
	if !p.fixed.up {
		return
	}
	dnskey, cdnskey := ids(p.files), ids(p.files[:1])
	for _, q := range p.m.providers {
		if s := q.shown(); q.runs() && s.up && !s.failing && !s.short {
			p.copied[q.host] = s
		}
		if !q.here {
			delete(p.copied, q.host)
		}
		s := p.copied[q.host]
		dnskey, cdnskey = append(dnskey, s.dnskey...), append(cdnskey, s.cdnskey...)
	}
	if len(dnskey) == len(p.files) {
		return
	}
	next := *p.fixed
	next.dnskey, next.cdnskey = sorted(dnskey...), sorted(cdnskey...)
	p.fixed = &next
	p.m.serve(p)
}

// tellTarget puts CNS, or without names none, into the zone at each provider, not
// at the same time everywhere.
func (m *model) tellTarget() {
	cns := m.owner.goal
	if !m.owner.named {
		cns = nil
	}
	m.logf("the owner wants %v, CNS is %v", m.owner.goal, cns)
	m.owner.wishes++
	wish := m.owner.wishes
	for _, p := range m.providers {
		most := 30 * time.Minute
		if m.chance(20) {
			most = 6 * time.Hour
		}
		var take func()
		take = func() {
			if wish != m.owner.wishes {
				return
			}
			if m.now.Before(m.settled) { // who comes now cannot know what caches hold
				m.at(m.settled, take)
				return
			}
			if len(cns) > 0 && slices.Contains(m.owner.goal, p.host) {
				m.provision(p)
			}
			p.chain.CNS, p.chain.HasCNS = cns, len(cns) > 0
			m.in(0, time.Minute, p.look)
		}
		m.in(0, most, take)
	}
}

// own is the owner at work.
func (m *model) own() {
	o := &m.owner
	if o.changing > 0 {
		return
	}
	m.retire()
	reached := slices.Equal(m.parent.ns, o.goal)
	for _, p := range m.providers {
		if slices.Contains(o.goal, p.host) && !slices.Equal(p.zoneNS(), o.goal) {
			reached = false
		}
	}
	switch {
	case reached && o.named && m.chance(40):
		m.count["goals"]++
		o.named = m.chance(50)
		m.tellTarget()
	case reached && m.chance(15), !reached && m.chance(2):
		m.wish()
	case !reached && o.named && !m.auto:
		m.follow()
	}
}

// wish thinks of other providers, or half-way there of going back.
func (m *model) wish() {
	o := &m.owner
	if !slices.Equal(o.goal, m.parent.ns) && m.chance(50) {
		o.goal, o.named = slices.Clone(m.parent.ns), m.chance(50)
		m.tellTarget()
		return
	}
	var goal []string
	for _, p := range m.providers {
		if m.chance(60) && (p.fixed == nil || len(goal) > 0) {
			goal = append(goal, p.host)
		}
	}
	if len(goal) == 0 || slices.Equal(goal, o.goal) && o.named {
		return
	}
	m.count["wishes"]++
	o.goal, o.named = goal, true
	m.tellTarget()
}

// follow asks one of the providers that are in NS what it may be, and changes it
// accordingly. One that is not there yet cannot know who left before it came.
func (m *model) follow() {
	o := &m.owner
	var asked []*modelProvider
	for _, p := range m.providers {
		if p.runs() && slices.Contains(m.parent.ns, p.host) {
			asked = append(asked, p)
		}
	}
	if len(asked) == 0 {
		return
	}
	p := asked[m.r.IntN(len(asked))]
	r, _ := p.report()
	ns := slices.Sorted(slices.Values(r.NS))
	switch {
	case m.plan.reckless:
		ns = o.goal
	case slices.ContainsFunc(ns, func(host string) bool { return !m.byHost(host).here || m.now.Sub(m.byHost(host).got) < time.Hour }):
		return // it has no keys that anybody was told of
	case len(ns) == 0 || !slices.Equal(p.z.open().facts.state.Target, o.goal):
		return // it does not know yet
	case !r.MayAdd && slices.ContainsFunc(ns, func(host string) bool { return !slices.Contains(m.parent.ns, host) }):
		return // a copy of the zone that names hosts which it was not delegated to yet
	}
	same := slices.Equal(ns, m.parent.ns)
	for _, q := range m.providers {
		same = same && (!q.here || slices.Equal(q.chain.NS, ns))
	}
	if same {
		return
	}
	m.logf("NS is to be %v: %s says that it is %s", ns, p.host, r)
	m.changeNS(ns)
}

// changeNS changes NS at all providers and at the parent: first at those that
// leave, since nobody asks them for it later, then in any order.
func (m *model) changeNS(ns []string) {
	change := func(least time.Duration, do func()) {
		m.owner.changing++
		m.in(least, least+5*time.Minute, func() {
			m.owner.changing--
			do()
		})
	}
	for _, p := range m.providers {
		if !p.here {
			continue
		}
		var least time.Duration
		if slices.Contains(ns, p.host) {
			least = 5 * time.Minute
		}
		change(least, func() {
			p.chain.NS = slices.Clone(ns)
			if p.fixed != nil {
				next := *p.fixed
				next.ns = p.chain.NS
				p.fixed = &next
			}
			m.logf("%s has NS %v", p.host, ns)
			m.serve(p)
			m.in(0, time.Minute, p.look)
		})
	}
	change(5*time.Minute, func() { m.setNS(ns) })
}

// retire takes the zone away from providers that mske says have left.
func (m *model) retire() {
	for _, p := range m.providers {
		if slices.Contains(m.owner.goal, p.host) || slices.Contains(m.parent.ns, p.host) {
			continue
		}
		r, runs := p.report()
		switch {
		case runs && r.Phase == "left" && !r.DeleteFrom.IsZero() && !r.DeleteFrom.After(p.now()):
			m.count["left"]++
			p.stop()
			p.here, p.record, p.roll = false, nil, nil
		case p.fixed != nil && p.fixed.up && m.caches.reach[p.host].Add(max(p.fixed.ttl, m.dataTTL)).Before(m.now):
			p.here, p.fixed = false, &shown{}
			m.serve(p)
		}
	}
}

// scan is the parent looking for CDS: at all nameservers that it delegates to, and
// it acts if all agree (RFC 9975), some time after. Only then does it look again:
// what is older never replaces what is newer (RFC 7344 section 6.2).
func (m *model) scan() {
	if m.parent.scanning {
		return
	}
	m.parent.scanning = true
	s := &parentScan{hosts: slices.Clone(m.parent.ns), seen: make(map[string]shown)}
	ask := func() {
		for _, host := range s.hosts {
			if _, asked := s.seen[host]; !asked && (len(s.seen) > 0 || m.chance(50)) {
				s.seen[host] = m.byHost(host).shown()
			}
		}
	}
	ask()
	m.in(0, 5*time.Minute, func() {
		s.seen[""] = shown{}
		ask()
		delete(s.seen, "")
		ds, ok := m.agreed(s)
		if !ok {
			m.parent.scanning = false
			return
		}
		m.in(0, m.parent.delay, func() {
			m.parent.scanning = false
			if m.stillAsked(s) {
				m.setDS(ds)
			}
		})
	})
}

// sync is the parent looking for CSYNC: if all nameservers that it delegates to
// have it, and the same NS, it follows soon (RFC 7477, RFC 9975).
func (m *model) sync() {
	if m.parent.following {
		return
	}
	var ns []string
	for i, host := range m.parent.ns {
		s := m.byHost(host).shown()
		if !s.up || !s.csync || i > 0 && !slices.Equal(s.ns, ns) {
			return
		}
		ns = s.ns
	}
	m.parent.following = true
	m.count["CSYNC followed"]++
	m.in(0, 5*time.Minute, func() {
		m.parent.following = false
		m.setNS(ns)
	})
}

// zoneNS returns the NS RRset of the zone at the provider.
func (p *modelProvider) zoneNS() []string {
	if s := p.shown(); s.up {
		return s.ns
	}
	return p.chain.NS
}

// stillAsked reports whether no nameserver asks for anything else by now.
func (m *model) stillAsked(s *parentScan) bool {
	return !slices.ContainsFunc(s.hosts, func(host string) bool {
		h := m.byHost(host).shown()
		return h.up && !h.noCDS && !slices.Equal(h.cdnskey, s.seen[host].cdnskey)
	})
}

// agreed returns the DS RRset that all nameservers ask for, unless they do not
// agree, do not validate, or would break the zone (RFC 7344 section 4.1).
func (m *model) agreed(s *parentScan) (ds []merge.Key, ok bool) {
	for i, host := range s.hosts {
		h := s.seen[host]
		if !h.up || h.failing || h.noCDS || len(h.cdnskey) == 0 || i > 0 && !slices.Equal(h.cdnskey, ds) {
			return nil, false
		}
		ds = h.cdnskey
		if !overlap(h.sigs, m.parent.ds) || !overlap(h.sigs, ds) || !overlap(h.apexSigs, h.dnskey) {
			return nil, false
		}
	}
	return ds, len(ds) > 0
}

func overlap(a, b []merge.Key) bool {
	return slices.ContainsFunc(a, func(k merge.Key) bool { return slices.Contains(b, k) })
}

// roll is the replacement of a key.
type roll struct {
	flags     uint16 // of the key
	old, next *keys.Key
	signs     bool // next signs the zone's data
	hasty     bool // the operators do not wait until the old key may go
	began     time.Time
}

// operate is the people of a provider rolling its keys.
func (p *modelProvider) operate() {
	if !p.runs() {
		return
	}
	m := p.m
	switch r := p.roll; {
	case r == nil:
		if m.chance(6) {
			p.beginRoll()
		}
	case r.signs || r.flags == 257 && !p.csk:
		p.endRoll()
	case m.now.Sub(p.signed) < readEvery+time.Minute && !m.plan.reckless:
	default:
		if from := p.keyReport(r.next).SignFrom; !from.IsZero() && !from.After(p.now()) || m.plan.reckless {
			p.signWith(r.next, r.old)
			r.signs = true
			if r.hasty {
				p.endRoll()
			}
		}
	}
}

// beginRoll adds a new key.
func (p *modelProvider) beginRoll() {
	m := p.m
	r := &roll{flags: 257, hasty: m.chance(50), began: m.now}
	if !p.csk && m.chance(50) {
		r.flags = 256
	}
	for _, k := range p.files {
		if k.DNSKEY.Flags == r.flags && !k.Gone && k.Timing.Delete.IsZero() {
			r.old = k
		}
	}
	if r.old == nil {
		return
	}
	r.next = m.newKey(p, r.flags)
	if m.chance(30) {
		at := p.now().Add(m.between(0, 3*time.Hour))
		r.next.Timing = keys.Timing{Created: p.now(), Publish: at, Activate: at.Add(m.between(0, 8*time.Hour))}
	}
	p.roll = r
	m.logf("%s gets key %s to replace %s, hasty %v", p.host, m.tell(m.keysIn(ids([]*keys.Key{r.next}))), m.tell(m.keysIn(ids([]*keys.Key{r.old}))), r.hasty)
	m.count["rolls"]++
	p.setFiles(append(slices.Clone(p.files), r.next)...)
	if r.flags == 257 && !p.csk && r.hasty {
		p.endRoll()
	}
}

// signWith lets the plugins behind mske sign with another key.
func (p *modelProvider) signWith(next, old *keys.Key) {
	p.m.logf("%s signs data with %d", p.host, next.Tag())
	p.chain.Signers, p.signed = []merge.Key{next.ID()}, p.m.now
	p.replaceBehind(next, old)
	p.m.serve(p)
	p.m.in(0, time.Hour, p.look)
}

// replaceBehind replaces a key of the plugins behind mske.
func (p *modelProvider) replaceBehind(next, old *keys.Key) {
	behind := slices.Clone(p.chain.Keys)
	for i := range behind {
		if behind[i] == old.ID() {
			behind[i] = next.ID()
		}
	}
	p.chain.Keys = behind
}

// endRoll takes the old key away: its file, or its time is over.
func (p *modelProvider) endRoll() {
	m, r := p.m, p.roll
	if from := p.keyReport(r.old).GoFrom; !r.hasty && (from.IsZero() || from.After(p.now())) {
		return
	}
	p.replaceBehind(r.next, r.old)
	files := slices.Clone(p.files)
	for i, k := range files {
		if k.ID() != r.old.ID() {
			continue
		}
		old := *k
		if m.chance(50) {
			old.Gone, old.Timing.Delete = true, p.now()
		} else {
			old.Timing = keys.Timing{Created: modelEpoch, Publish: modelEpoch, Activate: modelEpoch, Inactive: p.now().Add(m.between(0, time.Hour))}
			old.Timing.Delete = old.Timing.Inactive.Add(m.between(0, time.Hour))
			if m.chance(50) {
				old.Timing.SyncDelete = p.now()
			}
		}
		files[i] = &old
		m.logf("%s has no more use for key %d: gone %v, %+v", p.host, old.Tag(), old.Gone, old.Timing)
	}
	p.roll = nil
	m.count["rolled"]++
	p.setFiles(files...)
}
