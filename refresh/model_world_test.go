package refresh

import (
	"container/heap"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/observe"
	"github.com/coredns-mske/mske/serve"
)

// model is a world in simulated time: a zone of several providers that all work by
// the real rules, its parent, its owner, and the caches of all resolvers. One seed
// makes one schedule.
type model struct {
	t     *testing.T
	r     *rand.Rand
	plan  modelPlan
	now   time.Time
	end   time.Time
	queue eventQueue
	seq   int

	numbers map[merge.Key]int
	names   []string
	byTag   map[uint16]merge.Key

	providers []*modelProvider
	parent    modelParent
	dsHistory []dsAt
	dataTTL   time.Duration
	nsTTL     time.Duration // of the zone's own NS
	settled   time.Time     // until when caches may hold longer TTLs than these
	owner     owner
	auto      bool // NS and CSYNC are mske's (delegation auto)
	caches    *caches
	awaited   map[string]time.Time

	trace   bool
	history []string
	failure error
	count   map[string]int
}

// modelPlan is what a test varies.
type modelPlan struct {
	reckless bool // the owner waits for nothing
	days     int
	trace    bool
}

// modelParent is what the parent has.
type modelParent struct {
	ds         []merge.Key
	dsTTL      time.Duration
	ns         []string
	nsTTL      time.Duration
	unreadable bool
	scanning   bool          // CDS, or about to act on it
	following  bool          // about to act on CSYNC
	delay      time.Duration // until it acts, at most
}

type dsAt struct {
	at time.Time
	ds []merge.Key
}

// event is something that happens at a time.
type event struct {
	at  time.Time
	seq int
	do  func()
}

type eventQueue []event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	if !q[i].at.Equal(q[j].at) {
		return q[i].at.Before(q[j].at)
	}
	return q[i].seq < q[j].seq
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push implements [heap.Interface].
func (q *eventQueue) Push(x any) { *q = append(*q, x.(event)) }

// Pop implements [heap.Interface].
func (q *eventQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

func (m *model) at(at time.Time, do func()) {
	m.seq++
	heap.Push(&m.queue, event{at, m.seq, do})
}

func (m *model) in(least, most time.Duration, do func()) { m.at(m.now.Add(m.between(least, most)), do) }

// every lets something happen again and again.
func (m *model) every(least, most time.Duration, do func()) {
	m.in(0, most, func() { m.again(least, most, do) })
}

func (m *model) again(least, most time.Duration, do func()) {
	do()
	m.in(least, most, func() { m.again(least, most, do) })
}

// between returns a duration, in seconds as all of DNS.
func (m *model) between(least, most time.Duration) time.Duration {
	return (least + time.Duration(m.r.Int64N(int64(most-least)+1))).Truncate(time.Second)
}

func (m *model) chance(percent int) bool { return m.r.IntN(100) < percent }

func (m *model) ttl() time.Duration {
	return []time.Duration{time.Minute, 10 * time.Minute, time.Hour, 3 * time.Hour}[m.r.IntN(4)]
}

func (m *model) logf(format string, v ...any) {
	if m.trace {
		m.history = append(m.history, fmt.Sprintf("%10s ", stampOf(m.now))+fmt.Sprintf(format, v...))
	}
}

func newModel(t *testing.T, seed uint64, plan modelPlan) *model {
	m := &model{
		t: t, r: rand.New(rand.NewPCG(seed, 0)), plan: plan, now: modelEpoch, trace: plan.trace,
		numbers: make(map[merge.Key]int), byTag: make(map[uint16]merge.Key), caches: newCaches(),
		awaited: make(map[string]time.Time), count: make(map[string]int),
	}
	m.caches.named = m.tell
	m.caches.strict = true
	m.end = m.now.Add(time.Duration(plan.days) * 24 * time.Hour)
	m.parent = modelParent{dsTTL: m.ttl(), nsTTL: m.ttl(), delay: []time.Duration{time.Minute, 30 * time.Minute}[m.r.IntN(2)]}
	m.dataTTL, m.nsTTL = m.ttl(), m.ttl()
	n := 2 + m.r.IntN(4)
	for i := range n {
		m.addProvider(string(rune('a'+i)), n > 2 && i == n-1 && m.chance(40))
	}
	static := slices.ContainsFunc(m.providers, func(p *modelProvider) bool { return p.fixed != nil })
	m.auto = m.chance(*modelAuto) && !static
	for _, p := range m.providers {
		p.cfg.Auto = m.auto
	}
	m.found()
	return m
}

func (m *model) addProvider(name string, static bool) {
	p := &modelProvider{m: m, host: "ns1." + name + ".example.net.", cut: make(map[string]bool), skew: m.between(0, 2*modelSkew) - modelSkew, csk: m.chance(30), sep: m.chance(50)}
	p.cfg = Zone{Name: zoneName, Nameservers: []string{p.host}, Fetcher: p, Outside: p,
		RefreshMin: time.Minute, RefreshMax: []time.Duration{10 * time.Minute, time.Hour}[m.r.IntN(2)], TTL: min(m.ttl(), m.dataTTL), MaxZoneTTL: m.dataTTL}
	if static {
		p.fixed, p.copied = &shown{}, make(map[string]shown)
	}
	m.providers = append(m.providers, p)
}

// newKeys gives a provider its first keys.
func (p *modelProvider) newKeys() {
	p.files = nil
	if p.csk && p.fixed == nil {
		p.files = []*keys.Key{p.m.newKey(p, 257)}
	} else {
		p.files = []*keys.Key{p.m.newKey(p, 257), p.m.newKey(p, 256)}
	}
	p.chain.Signers = []merge.Key{p.files[len(p.files)-1].ID()}
	p.chain.Keys = nil
	if p.sep {
		p.chain.Keys = ids(p.files)
	}
}

// newKey returns a key with a tag of its own.
func (m *model) newKey(p *modelProvider, flags uint16) *keys.Key {
	for {
		public := make([]byte, 9) // so that digests cost little
		for i := range public {
			public[i] = byte(m.r.Uint32())
		}
		k := &keys.Key{Signer: fakeSigner{}, Base: "K", DNSKEY: &dns.DNSKEY{
			Hdr:   dns.RR_Header{Name: zoneName, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET},
			Flags: flags, Protocol: 3, Algorithm: dns.ECDSAP256SHA256, PublicKey: base64.StdEncoding.EncodeToString(public),
		}}
		if _, taken := m.byTag[k.Tag()]; taken {
			continue
		}
		m.byTag[k.Tag()] = k.ID()
		n := m.number(k.ID())
		role := "ksk"
		switch {
		case flags == 256:
			role = "zsk"
		case p.csk:
			role = "csk"
		}
		m.names[n] = fmt.Sprintf("%s.%s%d(%d)", strings.Split(p.host, ".")[1], role, n, k.Tag())
		return k
	}
}

// number returns the number of a key, for sets of them.
func (m *model) number(k merge.Key) int {
	n, known := m.numbers[k]
	if !known {
		n = len(m.numbers)
		m.numbers[k] = n
		m.names = append(m.names, "?")
		m.caches.algorithms[k.Algorithm] = m.caches.algorithms[k.Algorithm].with(n)
	}
	return n
}

func (m *model) tell(s keyset) string {
	var names []string
	for n, name := range m.names {
		if !s.and(keyset{}.with(n)).empty() {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

func (m *model) signature(k *keys.Key) *dns.RRSIG {
	return &dns.RRSIG{
		Hdr:         dns.RR_Header{Name: zoneName, Rrtype: dns.TypeRRSIG, Class: dns.ClassINET},
		TypeCovered: dns.TypeDNSKEY, KeyTag: k.Tag(), Algorithm: k.DNSKEY.Algorithm, SignerName: zoneName, Signature: "AA==",
		Inception: uint32(m.now.Add(-3 * time.Hour).Unix()), Expiration: uint32(m.now.Add(14 * 24 * time.Hour).Unix()),
	}
}

// signed returns an RRset with sigs, whose one record stands for all.
func (m *model) signed(sigs []*dns.RRSIG) *serve.RRset {
	set, err := serve.NewRRset([]dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: zoneName, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET}}}, sigs)
	if err != nil {
		m.t.Fatal(err)
	}
	return set
}

// byHost returns a provider.
func (m *model) byHost(host string) *modelProvider {
	for _, p := range m.providers {
		if p.host == host {
			return p
		}
	}
	return nil
}

// run lets time pass until the end, or until something would be bogus.
func (m *model) run() {
	for len(m.queue) > 0 && m.failure == nil {
		ev := heap.Pop(&m.queue).(event)
		if ev.at.After(m.end) {
			return
		}
		if ev.at.After(m.now) {
			m.now = ev.at
			m.caches.pass(m.now)
		}
		ev.do()
		m.count["events"]++
		m.failure = m.caches.check()
	}
}

// serve shows the caches what a provider serves now.
func (m *model) serve(p *modelProvider) {
	s, c := p.shown(), m.caches
	sets := map[rrset]*version{}
	if s.up {
		sets[cachedNS] = &version{names: strings.Join(s.ns, " "), ttl: m.nsTTL}
		sets[cachedData] = &version{sigs: m.keysIn(s.data), ttl: m.dataTTL}
		if len(s.denial) > 0 {
			sets[cachedDenial] = &version{sigs: m.keysIn(s.denial), ttl: m.dataTTL}
		}
		if !s.failing && !s.short {
			sets[cachedDNSKEY] = &version{keys: m.keysIn(s.dnskey), sigs: m.keysIn(s.sigs), ttl: s.ttl}
		}
		if !s.failing && !s.noCDS {
			sets[cachedApex] = &version{sigs: m.keysIn(s.apexSigs), ttl: p.cfg.TTL}
		}
		if s.short {
			m.count["served short"]++
		}
	}
	for kind := cachedNS; kind < kindsOfRRset; kind++ {
		if kind == cachedDS {
			continue
		}
		v := sets[kind]
		if v != nil {
			v.kind, v.host = kind, p.host
			if m.trace && kind == cachedDNSKEY {
				if was := c.current[p.host][kind]; was == nil || !was.same(*v) {
					m.logf("%s serves DNSKEY %s signed by %s, CDS %s", p.host, m.tell(v.keys), m.tell(v.sigs), m.tell(m.keysIn(s.cdnskey)))
				}
			}
		}
		c.serve(p.host, kind, v)
	}
}

// setDS changes DS.
func (m *model) setDS(ks []merge.Key) {
	if slices.Equal(m.parent.ds, ks) && len(m.dsHistory) > 0 {
		return
	}
	m.parent.ds = slices.Clone(ks)
	m.dsHistory = append(m.dsHistory, dsAt{m.now, m.parent.ds})
	m.logf("the parent has DS %s", m.tell(m.keysIn(ks)))
	m.count["DS changes"]++
	m.serveDS()
}

func (m *model) serveDS() {
	m.caches.serve("", cachedDS, &version{kind: cachedDS, keys: m.keysIn(m.parent.ds), absent: len(m.parent.ds) == 0, ttl: m.parent.dsTTL})
}

// setNS changes the delegation.
func (m *model) setNS(hosts []string) {
	m.parent.ns = slices.Clone(hosts)
	m.logf("the parent has NS %v", hosts)
	m.serveNS()
}

func (m *model) serveNS() {
	m.caches.serve("", cachedNS, &version{kind: cachedNS, names: strings.Join(m.parent.ns, " "), ttl: m.parent.nsTTL})
}

// modelNSTTL returns the TTL of the NS RRset that was seen.
func modelNSTTL(s shown) time.Duration { return s.nsTTL }

// see returns what p sees of a host now.
func (m *model) see(p *modelProvider, host string) shown {
	q := m.byHost(host)
	if q == nil || host != p.host && (p.cut[host] || m.chance(3)) {
		return shown{}
	}
	s := q.shown()
	s.nsTTL, s.cns = m.nsTTL, q.chain.CNS
	return s
}

// sight is what a look at all hosts comes to.
func (m *model) sight(seen map[string]shown, hosts []string) observe.Sight {
	all := make(map[merge.Key]bool)
	for _, s := range seen {
		for _, k := range s.dnskey {
			all[k] = true
		}
	}
	s := observe.Sight{Zone: zoneName, At: m.now}
	for _, host := range hosts {
		s.Servers = append(s.Servers, server(host, seen[host], func(k merge.Key) bool { return all[k] }))
	}
	return s
}

// readParent returns what p reads: NS of the parent's servers, DS through
// resolvers, which may have it from earlier.
func (m *model) readParent(p *modelProvider) observe.Parent {
	o := observe.Parent{Name: "co.uk.", NSRead: true, NS: slices.Clone(m.parent.ns), NSTTL: m.parent.nsTTL}
	if m.parent.unreadable || m.chance(3) {
		o = observe.Parent{DSErr: errSilent}
	}
	if m.parent.unreadable || m.chance(3) {
		return o
	}
	at := m.now
	if m.chance(50) {
		at = at.Add(-m.between(0, m.parent.dsTTL))
	}
	ds := m.dsHistory[0].ds
	for _, h := range m.dsHistory {
		if !h.at.After(at) {
			ds = h.ds
		}
	}
	o.DSStatus, o.DS, o.DSTTL = observe.DSPresent, digestsOf(ds...), m.parent.dsTTL
	if len(ds) == 0 {
		o.DSStatus = observe.DSDenied
	}
	return o
}

// fetch is a collection by p through resolvers, whose caches may be as old as
// the announcement's TTL.
func (m *model) fetch(p *modelProvider, host string, known merge.Announcement) fetch.Result {
	r := fetch.Result{Zone: zoneName, Host: host, At: m.now, Reason: "so the model says"}
	q := m.byHost(host)
	switch {
	case q == nil || p.cut[host] || !q.shown().up || m.chance(4):
		r.Verdict = []fetch.Verdict{fetch.Unreachable, fetch.Bogus, fetch.Insecure}[m.r.IntN(3)]
		return r
	case len(q.said) == 0 || m.chance(1):
		r.Verdict = fetch.Absent
		return r
	}
	at := m.now
	if m.chance(50) {
		at = at.Add(-m.between(0, q.cfg.TTL))
	}
	a := q.said[0]
	for _, s := range q.said {
		if !s.at.After(at) {
			a = s
		}
	}
	switch {
	case !a.ok || len(a.is.DNSKEY) == 0:
		r.Verdict = fetch.Absent
	case known.Replayed(a.is) != "":
		r.Verdict = fetch.Stale
	default:
		r.Verdict, r.Announcement, r.TTL = fetch.Secure, a.is, a.is.TTL
	}
	return r
}
