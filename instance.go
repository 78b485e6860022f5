package mske

import (
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/announce"
	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/notify"
	"github.com/coredns-mske/mske/observe"
	"github.com/coredns-mske/mske/refresh"
	"github.com/coredns-mske/mske/serve"
	"github.com/coredns-mske/mske/status"
	"github.com/coredns-mske/mske/store"
	"github.com/coredns-mske/mske/validate"
	"github.com/coredns-mske/mske/yield"
)

// instance is what the stanzas of one Corefile have in common, in whichever
// server block they stand: the names at which one block's zones are announced
// may be another block's. There is one for each caddy instance, so that a
// Corefile that is rejected leaves nothing behind.
type instance struct {
	handlers []*MSKE
	zones    map[string][]*zone // by name; several are several providers
	domains  map[string]string  // our nameservers, by their signaling domains

	startOnce sync.Once // registers start
	link      sync.Once
	subtrees  []*subtree
	orphans   []string // signaling domains that no zone of ours encloses

	// What signs at query time. A flood of names below `_signal`, each of which
	// needs a signature, takes nothing from the denials at the apex of zones.
	denials, corrections *serve.Online

	// watchers are those of the engine that was started last; before the first
	// start, those of the instance that this one is to replace.
	watchers []*keys.Watcher

	// former is the instance that this one is to replace, until it has started.
	former *instance

	engine    atomic.Pointer[refresh.Engine]
	servers   []*status.Server         // for `mske status`
	successor atomic.Pointer[instance] // what a reload is to replace this one by
}

// zone is one that we are a provider of. Two server blocks that hold the same
// zone for the same nameservers, as with the view plugin, share one.
type zone struct {
	name   string
	stanza *stanza // the first that names it
	block  *MSKE   // the block of that stanza: what is behind it is asked
	whole  bool    // we are the whole authority (rule P3)

	view atomic.Pointer[serve.Apex]

	only [1]*zone // z itself: the zones of its name, if there is no other
}

// key identifies z among all zones of an instance: see [store.Key].
func (z *zone) key() string { return store.Key(z.name, z.stanza.nameservers) }

// subtree is the part of a zone of ours below the signaling domain of one of
// our nameservers.
type subtree struct {
	domain string
	ns     string
	zone   *zone

	view atomic.Pointer[serve.Subtree]
}

type instanceKey struct{}

// clock is what this process knows of the system's: a reload begins with that.
var clock = refresh.NewClock()

// signatures are those that this process has found good, whoever made them: whether
// one is depends on nothing that a reload changes.
var signatures = validate.NewSignatures()

// restarting is the instance that is being replaced by a reload, nil at other
// times. caddy reloads one instance at a time.
var restarting atomic.Pointer[instance]

// instanceOf returns the instance that c belongs to.
func instanceOf(c *caddy.Controller) *instance {
	if inst, ok := c.Get(instanceKey{}).(*instance); ok {
		return inst
	}
	inst := &instance{zones: make(map[string][]*zone), domains: make(map[string]string)}
	c.Set(instanceKey{}, inst)
	if old := restarting.Load(); old != nil {
		inst.watchers, inst.former = old.watchers, old
		old.successor.Store(inst)
	}
	c.OnRestart(inst.prepareRestart)
	c.OnRestartFailed(inst.resume)
	c.OnShutdown(inst.shutdown)
	return inst
}

// add takes over a stanza of m's server block. It returns an error if the
// stanza does not go together with those that came before (rules P4 and T2).
func (inst *instance) add(m *MSKE, s *stanza) error {
	if !slices.Contains(inst.handlers, m) {
		inst.handlers = append(inst.handlers, m)
	}
	differences := make(map[*stanza]string)
	room := make([]zone, len(s.zones)) // in one piece, which the garbage collector likes better than each
	for i, name := range s.zones {
		yield.ToQueries() // there are some on a reload
		if z := m.zones[name]; z != nil {
			return fmt.Errorf("zone %s is already in the stanza at %s of this server block", name, z.stanza.where)
		}
		z := inst.sharing(name, s)
		if z == nil {
			z = &room[i]
			z.name, z.stanza, z.block, z.only[0] = name, s, m, z
			if others := inst.zones[name]; len(others) > 0 {
				inst.zones[name] = append(others, z)
			} else {
				inst.zones[name] = z.only[:]
			}
		} else if option := z.stanza.difference(s, differences); option != "" {
			return fmt.Errorf("zone %s shares a nameserver with the stanza at %s, but %s differs: make the two stanzas alike, or their nameservers distinct", name, z.stanza.where, option)
		}
		m.zones[name] = z
	}
	return inst.checkSignaling(s)
}

// sharing returns the zone of that name which has a nameserver in common with
// s. Without one, s is another provider of the zone than those known.
func (inst *instance) sharing(name string, s *stanza) *zone {
	for _, z := range inst.zones[name] {
		for _, ns := range z.stanza.nameservers {
			if slices.Contains(s.nameservers, ns) {
				return z
			}
		}
	}
	return nil
}

// checkSignaling adds the nameservers of s to ours. It returns an error if a
// zone lies below the signaling domain of one: mske itself denies that there
// is such a zone (rule P4).
func (inst *instance) checkSignaling(s *stanza) error {
	check := s.zones
	for _, ns := range s.nameservers {
		if domain := announce.SignalingDomain(ns); inst.domains[domain] == "" {
			inst.domains[domain] = ns
			check = slices.Collect(maps.Keys(inst.zones)) // the earlier ones as well
		}
	}
	for _, name := range check {
		for off, end := dns.NextLabel(name, 0); !end; off, end = dns.NextLabel(name, off) {
			if domain := name[off:]; inst.domains[domain] != "" {
				return fmt.Errorf("zone %s (at %s) lies below %s, where mske announces keys: name the zone %s instead", name, inst.zones[name][0].stanza.where, domain, domain)
			}
		}
	}
	return nil
}

// connect finds the zone that encloses the signaling domain of each of our
// nameservers, and with that the names that each handler answers. It waits for
// the whole Corefile to be read, so it is not part of parsing.
func (inst *instance) connect() {
	inst.link.Do(func() {
		inst.denials = serve.NewOnline(onlineCache, onlinePerSecond)
		inst.corrections = serve.NewOnline(onlineCache, onlinePerSecond)
		for _, domain := range slices.Sorted(maps.Keys(inst.domains)) {
			enclosing := inst.enclosing(domain)
			if len(enclosing) == 0 {
				inst.orphans = append(inst.orphans, domain)
			}
			for _, z := range enclosing {
				z.whole = z.whole || z.name == domain
				inst.subtrees = append(inst.subtrees, &subtree{domain: domain, ns: inst.domains[domain], zone: z})
			}
		}
		for _, m := range inst.handlers {
			m.connect(inst.subtrees)
		}
	})
}

// enclosing returns the zones with the longest name that domain is at or below.
// Each of them is one that another provider of ours holds.
func (inst *instance) enclosing(domain string) []*zone {
	for off, end := 0, false; !end; off, end = dns.NextLabel(domain, off) {
		if zs := inst.zones[domain[off:]]; len(zs) > 0 {
			return zs
		}
	}
	return inst.zones["."]
}

// all returns every zone, in the order of their names.
func (inst *instance) all() []*zone {
	var all []*zone
	for _, name := range slices.Sorted(maps.Keys(inst.zones)) {
		all = append(all, inst.zones[name]...)
	}
	return all
}

// online returns o, one of the two signers at query time, or nil, which signs
// nothing, while the clock is wrong (rule M6).
func (inst *instance) online(o *serve.Online) *serve.Online {
	if e := inst.engine.Load(); e != nil && e.Status().Behind {
		return nil
	}
	return o
}

// start begins the work in the background. It is called once the whole
// Corefile has been read, and again when a reload failed.
func (inst *instance) start() error {
	inst.connect()
	config, err := inst.background()
	if err != nil {
		return plugin.Error(pluginName, err)
	}
	inst.warn()
	e := refresh.New(config)
	inst.engine.Store(e) // before Start: what it took over before it failed counts in resume
	if err := e.Start(); err != nil {
		return plugin.Error(pluginName, err)
	}
	running.add(inst)
	inst.listen(e)
	return nil
}

// stop ends the work in the background. The handlers go on answering from what
// was published last: on SIGTERM the servers outlive this call.
func (inst *instance) stop() {
	inst.hangUp()
	if e := inst.engine.Load(); e != nil {
		e.Stop()
	}
	running.remove(inst)
}

// prepareRestart notes that the instance set up next is to replace this one.
func (inst *instance) prepareRestart() error {
	inst.successor.Store(nil)
	restarting.Store(inst)
	return nil
}

// resume goes on after a reload that failed. If the new instance had come as
// far as starting its work, nobody but we can stop it. Where it has taken our
// state file over, our work begins again.
func (inst *instance) resume() error {
	restarting.CompareAndSwap(inst, nil)
	failed := inst.successor.Swap(nil)
	if failed == nil || failed.engine.Load() == nil {
		return nil
	}
	failed.stop()
	if e := inst.engine.Load(); e != nil && e.Works() {
		return nil
	}
	inst.stop()
	return inst.start()
}

// shutdown is for good, or because a new instance has taken over. An error
// would keep other plugins from shutting down.
func (inst *instance) shutdown() error {
	restarting.CompareAndSwap(inst, nil)
	inst.stop()
	return nil
}

// warn says what of the configuration keeps something from working.
func (inst *instance) warn() {
	for _, domain := range inst.orphans {
		log.Warningf("No zone of an mske stanza encloses %q, so the server of that name has to announce our keys there: `mske announce` prints the records", domain)
	}
	for _, m := range inst.handlers {
		if m.config.Handler("transfer") != nil {
			log.Warningf("Plugin transfer hands out the zones of the server block %s without the joint key sets: let secondaries of these zones run mske too", strings.Join(m.names(), " "))
		}
		if outside := m.outside(); len(outside) > 0 {
			log.Warningf("The server block %s is not asked about these zones of its mske: %s; name them before its {, or move them to the block that is asked", listed(m.blockNames()), listed(outside))
		}
	}
}

// maxListed is how many names of a fleet a line of the log lists.
const maxListed = 5

// listed returns names for a line of the log.
func listed(names []string) string {
	if more := len(names) - maxListed; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxListed], " "), more)
	}
	return strings.Join(names, " ")
}

// background returns the configuration of the engine, made anew for each
// start: it holds the state of watched directories and the chain cache.
func (inst *instance) background() (refresh.Config, error) {
	info, _ := debug.ReadBuildInfo()
	config := refresh.Config{
		Former:   refresh.Former{Apexes: make(map[*refresh.Zone]*serve.Apex), Subtrees: make(map[*refresh.Subtree]*serve.Subtree)},
		Observer: observer{}, Log: log, Built: built(info), Clock: clock, Signatures: signatures, Crowded: refresh.NewCrowd().Here,
	}
	made := newParts(inst.watchers)
	to := &publisher{zones: make(map[*refresh.Zone]*zone), subtrees: make(map[*refresh.Subtree]*subtree)}
	byZone := make(map[*zone]*refresh.Zone)
	all := inst.all()
	room := make([]refresh.Zone, len(all))
	for i, z := range all {
		yield.ToQueries()
		part, err := made.of(z.stanza)
		if err != nil {
			return refresh.Config{}, err
		}
		r := &room[i]
		*r = refresh.Zone{
			Name:        z.name,
			Nameservers: z.stanza.nameservers,
			Whole:       z.whole,
			Keys:        part.watcher,
			Ask:         z.block.ask,
			Fetcher:     part.fetcher,
			CNS:         z.stanza.cns,
			CNSType:     z.stanza.cnsType,
			Store:       z.stanza.state,
			RefreshMin:  z.stanza.refreshMin,
			RefreshMax:  z.stanza.refreshMax,
			TTL:         z.stanza.ttl,
			MaxZoneTTL:  z.stanza.maxZoneTTL,
			Lax:         z.stanza.lax,
			Outside:     part.observer,
			Distrust:    z.stanza.distrust,
			DeleteDS:    z.stanza.deleteDS,
			Auto:        z.stanza.auto,
			Notifier:    part.notifier,
		}
		config.Zones = append(config.Zones, r)
		to.zones[r], byZone[z] = z, r
		if view := inst.formerApex(z); view != nil {
			config.Former.Apexes[r] = view
		}
	}
	for _, s := range inst.subtrees {
		r := &refresh.Subtree{NS: s.ns, Zone: byZone[s.zone]}
		config.Subtrees = append(config.Subtrees, r)
		to.subtrees[r] = s
		if view := inst.formerView(s); view != nil {
			config.Former.Subtrees[r] = view
		}
	}
	inst.former = nil
	config.Publisher = to
	inst.watchers = made.watchers()
	return config, nil
}

// formerApex returns what was answered at the apex of z until now: after a failed
// reload by this instance, else by the one that it is to replace.
func (inst *instance) formerApex(z *zone) *serve.Apex {
	if view := z.view.Load(); view != nil || inst.former == nil {
		return view
	}
	for _, old := range inst.former.zones[z.name] {
		if old.key() == z.key() {
			return old.view.Load()
		}
	}
	return nil
}

// formerView returns what was announced in s until now: after a failed reload by
// this instance, else by the one that it is to replace.
func (inst *instance) formerView(s *subtree) *serve.Subtree {
	if view := s.view.Load(); view != nil || inst.former == nil {
		return view
	}
	for _, old := range inst.former.subtrees {
		if old.ns == s.ns && old.zone.key() == s.zone.key() {
			return old.view.Load()
		}
	}
	return nil
}

// parts are what several zones share while one engine runs.
type parts struct {
	former    []*keys.Watcher // of an engine before
	stanzas   map[*stanza]*shared
	fetchers  map[string]*fetch.Fetcher // by how they fetch
	observers map[view]*observe.Observer
	notifiers map[*fetch.Fetcher]*notify.Sender
}

// shared is what the zones of a stanza share. All but the watcher is also that of
// stanzas which fetch in the same way.
type shared struct {
	watcher  *keys.Watcher // of its key files
	fetcher  *fetch.Fetcher
	observer *observe.Observer // looks at zones from outside by way of the fetcher
	notifier *notify.Sender    // tells others of changes, whom the fetcher finds
}

// view is how zones are looked at from outside.
type view struct {
	by      *fetch.Fetcher
	cnsType uint16
}

func newParts(former []*keys.Watcher) *parts {
	return &parts{
		former: former, stanzas: make(map[*stanza]*shared), fetchers: make(map[string]*fetch.Fetcher),
		observers: make(map[view]*observe.Observer), notifiers: make(map[*fetch.Fetcher]*notify.Sender),
	}
}

// of returns what the zones of s share.
func (p *parts) of(s *stanza) (*shared, error) {
	if known, ok := p.stanzas[s]; ok {
		return known, nil
	}
	f, err := p.fetcher(s)
	if err != nil {
		return nil, err
	}
	v := view{f, s.cnsType}
	if p.observers[v] == nil {
		p.observers[v] = observe.New(f, observe.Options{CNSType: s.cnsType, Signatures: signatures})
	}
	if p.notifiers[f] == nil {
		p.notifiers[f] = notify.New(f, time.Now)
	}
	made := &shared{watcher: keys.NewWatcher(keys.Source{Files: s.files, Dirs: s.directories}), fetcher: f, observer: p.observers[v], notifier: p.notifiers[f]}
	for _, former := range p.former {
		made.watcher.Inherit(former)
	}
	p.stanzas[s] = made
	return made, nil
}

// fetcher returns the fetcher of s. Stanzas that fetch in the same way share
// one, and with it the cache of chains of trust.
func (p *parts) fetcher(s *stanza) (*fetch.Fetcher, error) {
	id := fmt.Sprintf("%q %q %d", s.resolvers, s.anchorFiles, s.port)
	if f, ok := p.fetchers[id]; ok {
		return f, nil
	}
	client, err := fetch.NewClient(s.resolvers, fetch.ClientOptions{})
	if err != nil {
		return nil, err
	}
	p.fetchers[id] = fetch.New(client, s.anchors, fetch.Options{Port: s.port, Unfit: reportResolver, Signatures: signatures})
	return p.fetchers[id], nil
}

// watchers returns those of all stanzas.
func (p *parts) watchers() []*keys.Watcher {
	var all []*keys.Watcher
	for _, s := range p.stanzas {
		all = append(all, s.watcher)
	}
	return all
}

// reportResolver says that a resolver is not used (rule F10).
func reportResolver(r fetch.Resolver, why error) {
	log.Errorf("Resolver %s is not used, as it does not give the trust anchor's DNSKEY RRset so that it validates: %v", r, why)
}

var (
	_ refresh.Publisher = (*publisher)(nil)
	_ refresh.Outside   = (*observe.Observer)(nil)
	_ refresh.Notifier  = (*notify.Sender)(nil)

	_ refresh.FreshFetcher = (*fetch.Fetcher)(nil)
	_ refresh.Prober       = (*fetch.Fetcher)(nil) // without it rule P4's second probe is left out
)

// publisher hands views from the background to the handlers.
type publisher struct {
	zones    map[*refresh.Zone]*zone
	subtrees map[*refresh.Subtree]*subtree
}

// PublishApex implements the refresh.Publisher interface.
func (p *publisher) PublishApex(z *refresh.Zone, a *serve.Apex) { p.zones[z].view.Store(a) }

// PublishSubtree implements the refresh.Publisher interface.
func (p *publisher) PublishSubtree(t *refresh.Subtree, s *serve.Subtree) {
	p.subtrees[t].view.Store(s)
}
