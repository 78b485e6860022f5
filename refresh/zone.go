package refresh

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coredns-mske/mske/chain"
	"github.com/coredns-mske/mske/flat"
	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/serve"
	"github.com/coredns-mske/mske/store"
	"github.com/coredns-mske/mske/yield"
)

// zone is what the loop knows of a zone. Nothing else touches it. A fleet's are most
// of what it keeps in memory: what is not needed all the time is in the dossier.
type zone struct {
	*Zone
	key   string    // in the store
	twin  bool      // another zone has its name
	due   time.Time // when the loop comes to it next
	work  time.Time // when there is more to do for it than to look at the plugins behind ours
	index int       // in the heap

	filed filed // see open

	stored written // last
	known  bool    // whether the store has it

	resigned bool // the signatures served are not those stored

	apex      *serve.Apex       // what is published
	made      *serve.Apex       // made from the last decision, whether or not it was published
	said      flat.Value[words] // what the subtrees announce
	announced bool

	told atomic.Pointer[flat.Value[Told]] // for other goroutines
	news bool                             // that is not what there is to tell any more

	// The look at the plugins behind ours (look.go).
	asking    bool
	serial    uint32
	readAt    time.Time // next look at everything
	lookFails int

	fetching    []*collection // of each host one
	decided     bool          // about since the start, so that local is known
	silent      bool          // it cannot be announced anywhere
	announcedIn []*subtree
	encloses    []*subtree
	log         Logger
	panics      int
	notified    atomic.Bool // somebody said that there is something new
	telling     bool        // others are to be told of the announcement

	only [1]*zone // z itself, see joinNamed
}

// words are what is announced of a zone.
type words struct {
	keys merge.Announcement
	boot merge.Announcement // for bootstrapping

	since time.Time // when keys came in place of something else
}

// announces returns what the subtrees announce of z.
func (z *zone) announces() words {
	if !z.said.Any() {
		return words{}
	}
	return *z.said.Get()
}

// facts are what the decisions about a zone depend on, beside the time.
type facts struct {
	state   store.Zone  // what is known, ahead of what is stored
	files   []*keys.Key // ours, as the watcher sees them
	looked  bool        // whether the zone was seen since the start
	unknown bool        // it is signed with keys that are not known (rule K2)

	unsteady bool      // the clock may be ahead: no wait ends
	settled  time.Time // from when it no longer is, if nothing happens

	// What the last look from outside showed of external nameservers.
	vouched   []voucher // their apex key sets that DS vouches for
	explained []string  // those all of whose keys are known without the seed
	served    []string  // those that serve the joint sets
}

// init makes z, of which nothing is known yet, that of cfg.
func (z *zone) init(cfg *Zone) {
	z.Zone, z.key, z.only[0] = cfg, store.Key(cfg.Name, cfg.Nameservers), z
	z.open().facts.state = store.Zone{Name: cfg.Name, Nameservers: cfg.Nameservers}
}

// joinNamed adds z to those of its name, which seldom are more: that takes no memory
// of its own.
func (z *zone) joinNamed(zones map[string][]*zone) {
	if others := zones[z.Name]; len(others) > 0 {
		zones[z.Name] = append(others, z)
	} else {
		zones[z.Name] = z.only[:]
	}
}

// findTwins tells zones of one name, which are several providers', apart.
func findTwins(zones []*zone) {
	byName := make(map[string]int)
	for _, z := range zones {
		yield.ToQueries()
		byName[z.Name]++
	}
	for _, z := range zones {
		yield.ToQueries()
		z.twin = byName[z.Name] > 1
	}
}

// title names z in a message.
func (z *zone) title() string {
	title := fmt.Sprintf("Zone %q", z.Name)
	if z.twin {
		title += " under " + strings.Join(z.Nameservers, ", ")
	}
	return title
}

// collectionOf returns the collection from host, nil if there is none.
func (z *zone) collectionOf(host string) *collection {
	for _, c := range z.fetching {
		if c.host == host {
			return c
		}
	}
	return nil
}

// own reports whether host is a nameserver of ours.
func (z *Zone) own(host string) bool { return slices.Contains(z.Nameservers, host) }

// broken reports whether z is left alone after internal errors.
func (z *zone) broken() bool { return z != nil && z.panics >= maxPanics }

// named returns z for a message that may be about no zone at all.
func (z *zone) named() string {
	if z == nil {
		return ""
	}
	return fmt.Sprintf(" in zone %q", z.Name)
}

// tick does what is due for z and sets when there is more to do.
func (e *Engine) tick(z *zone) {
	now := e.loop.now
	e.look(z)
	e.collect(z)
	z.hush()
	e.observe(z)
	e.runErrands(z)
	z.tell()
	if due(z.open().decideAt, now) || due(z.open().signAt, now) {
		e.loop.dirty[z] = true
	}
	next := []time.Time{z.open().decideAt, z.open().signAt}
	for _, c := range z.fetching {
		if !c.running {
			next = append(next, c.next) // long past for one that ended
		}
	}
	for _, g := range []*glance{&z.open().outside.parent, &z.open().outside.servers} {
		if !g.running {
			next = append(next, g.next)
		}
	}
	for _, r := range z.open().errands {
		next = append(next, r.next)
	}
	for _, at := range next {
		if !at.IsZero() && at.After(now) {
			z.work = earliest(z.work, at)
		}
	}
}

func due(at, now time.Time) bool { return !at.IsZero() && !at.After(now) }

// earliest returns the earliest of times of which a zero one is none.
func earliest(times ...time.Time) time.Time {
	var first time.Time
	for _, t := range times {
		if first.IsZero() || !t.IsZero() && t.Before(first) {
			first = t
		}
	}
	return first
}

// jitter returns d less up to a tenth, so that what began together does not
// stay together.
func jitter(d time.Duration) time.Duration {
	return d - time.Duration(rand.Float64()*float64(d)/10)
}

// after returns the entry of a table of waits for the nth failure in a row.
func after(table []time.Duration, fails int) time.Duration {
	return table[min(max(fails, 1), len(table))-1]
}

// chainOptions returns what a look at z has to know.
func (e *Engine) chainOptions(z *zone) chain.Options {
	known := make(map[merge.Key]bool)
	for _, k := range z.open().facts.state.Joint.DNSKEY {
		known[k] = true
	}
	for _, k := range z.open().facts.files {
		known[k.ID()] = true
	}
	for _, o := range z.open().facts.state.Own {
		known[o.Key] = true
	}
	return chain.Options{CNSType: z.CNSType, Known: slices.Collect(maps.Keys(known)), Now: e.loop.now, Signatures: e.config.Signatures}
}
