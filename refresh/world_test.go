package refresh

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/cns"
	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/serve"
)

func TestMain(m *testing.M) {
	cns.Register()
	os.Exit(m.Run())
}

const (
	zoneName = "example.co.uk."
	ourNS    = "ns1.example.net."
	theirNS  = "ns1.example.org."
	theirNS2 = "ns2.example.org."
)

var errNotYet = errors.New("the backend is not there yet")

// world is what surrounds an engine: a zone behind it, key files, peers, and
// what it publishes.
type world struct {
	t    *testing.T
	dir  string // of keys and state
	zone *Zone
	more []*Zone // beside zone
	subs []*Subtree
	ksk  *keys.Key
	zsk  *keys.Key

	chain *chainZone
	peers *peers
	out   *outlet
	log   *logbook

	ahead *atomic.Int64 // how far the system's clock is ahead of the time in the bubble
	built time.Time
	clock *Clock // of the process, if it is to outlast an engine

	observer Observer
}

// chainZone is a zone as the plugins behind mske answer it.
type chainZone struct {
	mu      sync.Mutex
	name    string
	serial  uint32
	ns, cns []string
	keys    []*keys.Key // its own DNSKEY RRset
	signers []*keys.Key
	down    error
	asked   int
	answers map[uint16]*dns.Msg
}

// change edits the zone. Without a new serial nobody is told.
func (c *chainZone) change(newSerial bool, edit func(*chainZone)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	edit(c)
	if newSerial {
		c.serial++
	}
	c.answers = nil
}

func (c *chainZone) ask(_ context.Context, q *dns.Msg) (*dns.Msg, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	if c.down != nil {
		return nil, c.down
	}
	qtype := q.Question[0].Qtype
	if c.answers == nil {
		c.answers = make(map[uint16]*dns.Msg)
	}
	m := c.answers[qtype]
	if m == nil {
		m = c.answer(qtype)
		c.answers[qtype] = m
	}
	m = m.Copy()
	m.SetReply(q)
	m.Authoritative = true
	return m, nil
}

func (c *chainZone) answer(qtype uint16) *dns.Msg {
	hdr := dns.RR_Header{Name: c.name, Rrtype: qtype, Class: dns.ClassINET, Ttl: 3600}
	var rrs []dns.RR
	switch qtype {
	case dns.TypeSOA:
		rrs = []dns.RR{c.soa()}
	case dns.TypeNS:
		for _, h := range c.ns {
			rrs = append(rrs, &dns.NS{Hdr: hdr, Ns: h})
		}
	case cns.DefaultType:
		for _, h := range c.cns {
			rr := dns.TypeToRR[qtype]().(*dns.PrivateRR)
			rr.Hdr, rr.Data = hdr, &cns.CNS{Host: h}
			rrs = append(rrs, rr)
		}
	case dns.TypeDNSKEY:
		for _, k := range c.keys {
			rrs = append(rrs, k.ID().DNSKEY(c.name, 3600))
		}
	}
	m := new(dns.Msg)
	if len(rrs) > 0 {
		m.Answer = c.signed(rrs)
	} else {
		m.Ns = c.signed([]dns.RR{c.soa()})
	}
	return m
}

func (c *chainZone) soa() *dns.SOA {
	return &dns.SOA{Hdr: dns.RR_Header{Name: c.name, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 3600},
		Ns: ourNS, Mbox: "hostmaster.example.net.", Serial: c.serial, Refresh: 1, Retry: 1, Expire: 1, Minttl: 300}
}

func (c *chainZone) signed(rrs []dns.RR) []dns.RR {
	start := time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	sigs, err := keys.Sign(rrs, c.signers, start, start.AddDate(30, 0, 0))
	if err != nil {
		panic(err)
	}
	for _, s := range sigs {
		rrs = append(rrs, s)
	}
	return rrs
}

// peers are the other providers, by host.
type peers struct {
	mu    sync.Mutex
	says  map[string]func() fetch.Result
	asked map[string][]time.Time
}

// Fetch implements the Fetcher interface.
func (p *peers) Fetch(_ context.Context, zone, host string, _ merge.Announcement) fetch.Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked[host] = append(p.asked[host], time.Now())
	says := p.says[host]
	if says == nil {
		return fetch.Result{Zone: zone, Host: host, Verdict: fetch.Unreachable, Reason: "no answer", At: time.Now()}
	}
	return says()
}

func (p *peers) set(host string, says func() fetch.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.says[host] = says
}

func (p *peers) times(host string) []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked[host])
}

func announces(a merge.Announcement) func() fetch.Result {
	return func() fetch.Result {
		return fetch.Result{Verdict: fetch.Secure, Announcement: a, TTL: a.TTL, At: time.Now()}
	}
}

func verdict(v fetch.Verdict) func() fetch.Result {
	return func() fetch.Result { return fetch.Result{Verdict: v, Reason: "so the test says", At: time.Now()} }
}

// outlet holds what is published.
type outlet struct {
	mu       sync.Mutex
	apexes   map[*Zone]*serve.Apex
	history  []*serve.Apex
	subtrees map[*Subtree]*serve.Subtree

	onPublish func()               // if it is there, before each
	onSubtree func(*serve.Subtree) // likewise
}

// PublishApex implements the Publisher interface.
func (o *outlet) PublishApex(z *Zone, a *serve.Apex) {
	if o.onPublish != nil {
		o.onPublish()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.apexes[z] = a
	o.history = append(o.history, a)
}

// PublishSubtree implements the Publisher interface.
func (o *outlet) PublishSubtree(t *Subtree, s *serve.Subtree) {
	if o.onSubtree != nil {
		o.onSubtree(s)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.subtrees[t] = s
}

// logbook holds the log.
type logbook struct {
	mu    sync.Mutex
	lines []string
}

func (l *logbook) add(level, format string, v []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, level+" "+fmt.Sprintf(format, v...))
}

// Debugf implements the Logger interface, as do the others.
func (l *logbook) Debugf(format string, v ...any)   { l.add("DEBUG", format, v) }
func (l *logbook) Infof(format string, v ...any)    { l.add("INFO", format, v) }
func (l *logbook) Warningf(format string, v ...any) { l.add("WARNING", format, v) }
func (l *logbook) Errorf(format string, v ...any)   { l.add("ERROR", format, v) }

// count returns how many lines hold all of the texts.
func (l *logbook) count(texts ...string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, line := range l.lines {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			n++
		}
	}
	return n
}

// newWorld returns a world with one zone, which is signed behind mske with our
// ZSK and delegated to us alone.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), log: new(logbook), ahead: new(atomic.Int64),
		peers: &peers{says: make(map[string]func() fetch.Result), asked: make(map[string][]time.Time)},
		out:   &outlet{apexes: make(map[*Zone]*serve.Apex), subtrees: make(map[*Subtree]*serve.Subtree)}}
	w.showLog()
	w.ksk, w.zsk = w.newKey(zoneName, 257), w.newKey(zoneName, 256)
	w.chain = &chainZone{name: zoneName, serial: 1, ns: []string{ourNS}, keys: []*keys.Key{w.ksk, w.zsk}, signers: []*keys.Key{w.zsk}}
	w.zone = &Zone{
		Name: zoneName, Nameservers: []string{ourNS}, Ask: w.chain.ask, Fetcher: w.peers, CNSType: cns.DefaultType,
		RefreshMin: time.Minute, RefreshMax: time.Hour, TTL: time.Hour, MaxZoneTTL: 24 * time.Hour,
	}
	return w
}

// showLog prints the log of a test that fails.
func (w *world) showLog() {
	w.t.Cleanup(func() {
		if w.t.Failed() {
			w.t.Log(strings.Join(w.log.lines, "\n"))
		}
	})
}

// newKey makes a key with its files.
func (w *world) newKey(zone string, flags uint16) *keys.Key {
	w.t.Helper()
	k, private := generate(w.t, zone, flags)
	var err error
	if k.Base, err = keys.Write(w.dir, k, private); err != nil {
		w.t.Fatal(err)
	}
	return k
}

// removeKey removes the files of k.
func (w *world) removeKey(k *keys.Key) {
	w.t.Helper()
	if err := errors.Join(os.Remove(k.Base+".key"), os.Remove(k.Base+".private")); err != nil {
		w.t.Fatal(err)
	}
}

// provider is another provider: two keys of its own.
type provider struct{ ksk, zsk merge.Key }

func newProvider(t *testing.T) provider {
	t.Helper()
	return provider{newPublic(t, 257), newPublic(t, 256)}
}

func newPublic(t *testing.T, flags uint16) merge.Key {
	t.Helper()
	k, _ := generate(t, zoneName, flags)
	return k.ID()
}

// drawn are the tags of all keys: two that are the same would be refused.
var drawn = make(map[uint16]bool)

func generate(t *testing.T, zone string, flags uint16) (k *keys.Key, private string) {
	t.Helper()
	k, private, err := keys.Generate(zone, dns.ECDSAP256SHA256, flags, drawn)
	if err != nil {
		t.Fatal(err)
	}
	drawn[k.Tag()] = true
	return k, private
}

func (p provider) announcement() merge.Announcement {
	ds, _ := p.ksk.DS(zoneName, dns.SHA256)
	return merge.Announcement{DNSKEY: []merge.Key{p.zsk}, CDNSKEY: []merge.Key{p.ksk}, CDS: []merge.DS{ds}, TTL: time.Hour}
}

// config returns a configuration of the world. Watchers are new each time, as
// after a restart.
func (w *world) config() Config {
	w.zone.Keys = keys.NewWatcher(keys.Source{Dirs: []string{w.dir}})
	zones := []*Zone{w.zone}
	for _, z := range w.more {
		z.Keys = w.zone.Keys
		zones = append(zones, z)
	}
	for _, z := range zones {
		z.Store = filepath.Join(w.dir, "mske.db")
	}
	return Config{Zones: zones, Subtrees: w.subs, Publisher: w.out, Log: w.log, Built: w.built, Observer: w.observer, Clock: w.clock}
}

// fleet adds n zones like that of the world to c, each with a key and CNS. It
// returns the directory of the keys.
func (w *world) fleet(c *Config, n int, cns ...string) (dir string) {
	w.t.Helper()
	dir = w.t.TempDir()
	watcher := keys.NewWatcher(keys.Source{Dirs: []string{dir}})
	for i := range n {
		name := fmt.Sprintf("z%d.example.org.", i)
		k, private := generate(w.t, name, 257)
		writeKey(w.t, dir, k, private)
		back := &chainZone{name: name, serial: 1, ns: []string{ourNS}, cns: cns, keys: []*keys.Key{k}, signers: []*keys.Key{k}}
		z := *w.zone
		z.Name, z.Ask, z.Keys = name, back.ask, watcher
		c.Zones = append(c.Zones, &z)
	}
	return dir
}

// engine returns an engine that reads the clock of the world.
func (w *world) engine() *Engine {
	e := New(w.config())
	e.rest = 1000 * time.Hour // nothing is to depend on it
	e.desk.limit = 0          // nor on dossiers being left open
	read, ahead := e.clock, w.ahead
	e.clock = func() (time.Time, time.Duration) {
		wall, elapsed := read()
		return wall.Add(time.Duration(ahead.Load())), elapsed
	}
	return e
}

// setClock sets the system's clock to the right time and d.
func (w *world) setClock(d time.Duration) { w.ahead.Store(int64(d)) }

// start starts an engine and lets a minute pass.
func (w *world) start() *Engine {
	w.t.Helper()
	e := w.engine()
	if err := e.Start(); err != nil {
		w.t.Fatalf("Expected the engine to start, got %v", err)
	}
	w.t.Cleanup(e.Stop)
	w.pass(time.Minute)
	return e
}

// startSlow starts an engine for tests of long times: it polls every half hour.
func (w *world) startSlow() *Engine {
	w.t.Helper()
	e := w.engine()
	e.pollEvery, e.scanEvery = 30*time.Minute, 30*time.Minute
	if err := e.Start(); err != nil {
		w.t.Fatalf("Expected the engine to start, got %v", err)
	}
	w.t.Cleanup(e.Stop)
	w.pass(time.Minute)
	return e
}

func (w *world) pass(d time.Duration) {
	time.Sleep(d) // in the bubble: no time at all
	synctest.Wait()
}

func (w *world) apex() *serve.Apex {
	w.out.mu.Lock()
	defer w.out.mu.Unlock()
	return w.out.apexes[w.zone]
}

// expectKeys holds that the DNSKEY RRset served is exactly these keys, and
// CDNSKEY and CDS those of entries; that everything is signed so that it
// validates with our keys.
func (w *world) expectKeys(dnskey, entries []merge.Key) {
	w.t.Helper()
	a := w.apex()
	expectSet(w.t, "DNSKEY", a.DNSKEY, dnskey, func(rr dns.RR) merge.Key { return merge.KeyOf(rr.(*dns.DNSKEY)) })
	expectSet(w.t, "CDNSKEY", a.CDNSKEY, entries, func(rr dns.RR) merge.Key { return merge.KeyOf(&rr.(*dns.CDNSKEY).DNSKEY) })
	var digests []merge.DS
	for _, k := range entries {
		d, _ := k.DS(zoneName, dns.SHA256)
		digests = append(digests, d)
	}
	expectSet(w.t, "CDS", a.CDS, digests, func(rr dns.RR) merge.DS { return merge.DSOf(&rr.(*dns.CDS).DS) })
	expectSigned(w.t, a.DNSKEY, w.ksk)
	expectSigned(w.t, a.CDS, w.ksk, w.zsk)
	expectSigned(w.t, a.CDNSKEY, w.ksk, w.zsk)
}

func expectSet[T comparable](t *testing.T, what string, s serve.ApexSet, want []T, of func(dns.RR) T) {
	t.Helper()
	if s.Answer != serve.Served {
		t.Errorf("Expected %s to be served, got answer %d", what, s.Answer)
		return
	}
	var got []T
	for _, rr := range s.RRset.RRs() {
		got = append(got, of(rr))
	}
	missing := slices.ContainsFunc(want, func(k T) bool { return !slices.Contains(got, k) })
	if missing || len(got) != len(want) {
		t.Errorf("Expected %d records in %s, got %d:\nwant %v\ngot  %v", len(want), what, len(got), want, got)
	}
}

func expectSigned(t *testing.T, s serve.ApexSet, by ...*keys.Key) {
	t.Helper()
	if s.Answer != serve.Served {
		return
	}
	for _, k := range by {
		if !slices.ContainsFunc(s.RRset.Sigs(), func(sig *dns.RRSIG) bool {
			return sig.KeyTag == k.Tag() && sig.ValidityPeriod(time.Now()) && sig.Verify(k.DNSKEY, s.RRset.RRs()) == nil
		}) {
			t.Errorf("Expected %s to be signed by %s", dns.Type(s.RRset.RRs()[0].Header().Rrtype), k)
		}
	}
}

func (w *world) expectFailing() {
	w.t.Helper()
	a := w.apex()
	for _, s := range []serve.ApexSet{a.DNSKEY, a.CDS, a.CDNSKEY} {
		if s.Answer != serve.Failing {
			w.t.Errorf("Expected every apex type to fail, got answer %d", s.Answer)
		}
	}
}

func (w *world) expectReady(e *Engine, ready bool) {
	w.t.Helper()
	if s := e.Status(); s.Ready != ready {
		w.t.Errorf("Expected ready %v, got %v %q", ready, s.Ready, s.Problems)
	}
}

func (w *world) expectPhase(e *Engine, phase lifecycle.Phase) {
	w.t.Helper()
	if s := e.Status(); s.Phases[string(phase)] != 1 {
		w.t.Errorf("Expected the zone to be %s, got %v", phase, s.Phases)
	}
}

func expectLog(t *testing.T, l *logbook, n int, texts ...string) {
	t.Helper()
	if got := l.count(texts...); got != n {
		t.Errorf("Expected %d log lines with %q, got %d", n, texts, got)
	}
}

// join makes the zone one of two providers: CNS names both, and the peer
// announces its keys.
func (w *world) join() provider {
	w.t.Helper()
	p := newProvider(w.t)
	w.peers.set(theirNS, announces(p.announcement()))
	w.chain.change(true, func(c *chainZone) { c.cns = []string{ourNS, theirNS} })
	return p
}

// with returns our keys of one kind and others.
func with(own *keys.Key, others ...merge.Key) []merge.Key {
	return append([]merge.Key{own.ID()}, others...)
}

// crash returns the world as the next process finds it after kill -9: the same
// keys and state file, nothing in memory, and nobody answers.
func (w *world) crash() *world {
	w.t.Helper()
	n := &world{t: w.t, dir: w.t.TempDir(), ksk: w.ksk, zsk: w.zsk, log: new(logbook), ahead: w.ahead, built: w.built,
		peers: &peers{says: make(map[string]func() fetch.Result), asked: make(map[string][]time.Time)},
		out:   &outlet{apexes: make(map[*Zone]*serve.Apex), subtrees: make(map[*Subtree]*serve.Subtree)}}
	n.showLog()
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(w.dir, entry.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(n.dir, entry.Name()), data, 0o600)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	n.chain = &chainZone{name: w.chain.name, serial: w.chain.serial, ns: w.chain.ns, cns: w.chain.cns,
		keys: w.chain.keys, signers: w.chain.signers, down: errNotYet}
	z := *w.zone
	z.Ask, z.Fetcher = n.chain.ask, n.peers
	n.zone = &z
	for _, m := range w.more {
		z := *m
		n.more = append(n.more, &z)
	}
	for _, s := range w.subs {
		enclosing := n.zone
		for i, m := range w.more {
			if s.Zone == m {
				enclosing = n.more[i]
			}
		}
		n.subs = append(n.subs, &Subtree{NS: s.NS, Zone: enclosing})
	}
	return n
}

// startOnly starts an engine without letting any time pass.
func (w *world) startOnly() *Engine {
	w.t.Helper()
	e := w.engine()
	if err := e.Start(); err != nil {
		w.t.Fatalf("Expected the engine to start, got %v", err)
	}
	w.t.Cleanup(e.Stop)
	return e
}

// text returns what a serves, octet by octet.
func text(a *serve.Apex) string {
	var b strings.Builder
	for _, s := range []serve.ApexSet{a.DNSKEY, a.CDS, a.CDNSKEY} {
		fmt.Fprintln(&b, s.Answer)
		if s.RRset == nil {
			continue
		}
		for _, rr := range s.RRset.RRs() {
			fmt.Fprintln(&b, rr)
		}
		for _, sig := range s.RRset.Sigs() {
			fmt.Fprintln(&b, sig)
		}
	}
	return b.String()
}

func keyOf(rr dns.RR) merge.Key { return merge.KeyOf(rr.(*dns.DNSKEY)) }

// entriesOf returns the keys in a's CDNSKEY RRset.
func entriesOf(a *serve.Apex) []merge.Key {
	var ks []merge.Key
	for _, rr := range a.CDNSKEY.RRset.RRs() {
		ks = append(ks, merge.KeyOf(&rr.(*dns.CDNSKEY).DNSKEY))
	}
	return ks
}

// writeKey writes a key without the syncs that an operator's key deserves.
func writeKey(t *testing.T, dir string, k *keys.Key, private string) {
	t.Helper()
	base := filepath.Join(dir, fmt.Sprintf("K%s+%03d+%05d", k.Zone(), k.DNSKEY.Algorithm, k.Tag()))
	if err := errors.Join(os.WriteFile(base+".private", []byte(private), 0o600), os.WriteFile(base+".key", []byte(k.DNSKEY.String()+"\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// newZone returns that of cfg, of which nothing is known yet.
func newZone(cfg *Zone) *zone {
	z := new(zone)
	z.init(cfg)
	return z
}
