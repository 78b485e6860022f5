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
	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/serve"
	"github.com/coredns-mske/mske/store"
)

// zone is what the loop knows of a zone. Nothing else touches it.
type zone struct {
	*Zone
	key   string    // in the store
	title string    // for messages
	due   time.Time // when the loop comes to it next
	work  time.Time // when there is more to do for it than to look at the plugins behind ours
	index int       // in the heap

	facts  facts
	stored written // last
	known  bool    // whether the store has it

	resigned bool // the signatures served are not those stored

	shown        view               // what is published
	apex         *serve.Apex        // made from shown
	made         *serve.Apex        // made from the last decision, whether or not it was published
	announcement merge.Announcement // what the subtrees announce
	boot         merge.Announcement // and, for bootstrapping
	announced    bool

	outside outside                 // what is seen of it from there
	told    atomic.Pointer[Told]    // for other goroutines
	news    bool                    // that is not what there is to tell any more
	roles   map[merge.Key]keys.Role // of our keys that are published
	began   time.Time               // when the engine did
	spoken  lifecycle.Phase         // the phase that was last said

	// The look at the plugins behind ours (look.go).
	asking      bool
	serial      uint32
	readAt      time.Time // next look at everything
	lookFails   int
	decideAt    time.Time     // when time alone changes something
	signAt      time.Time     // when a signature is due
	fetching    []*collection // of each host one
	notes       notes
	decided     bool        // about since the start, so that local is known
	local       merge.Local // our part of what is served
	silent      bool        // it cannot be announced anywhere
	announcedIn []*subtree
	encloses    []*subtree
	log         Logger
	panics      int
	notified    atomic.Bool // somebody said that there is something new

	telling   bool                     // others are to be told of the announcement
	tidings   [len(errandTypes)]string // what the parent is to be told of, see errands
	errands   [len(errandTypes)]errand
	published time.Time // when what shown says of keys and NS was
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

func newZone(cfg *Zone) *zone {
	z := &zone{Zone: cfg, key: store.Key(cfg.Name, cfg.Nameservers)}
	z.facts.state = store.Zone{Name: cfg.Name, Nameservers: cfg.Nameservers}
	z.title = fmt.Sprintf("Zone %q", cfg.Name)
	return z
}

// entitle tells zones of one name, which are several providers', apart.
func entitle(zones []*zone) {
	byName := make(map[string]int)
	for _, z := range zones {
		byName[z.Name]++
	}
	for _, z := range zones {
		if byName[z.Name] > 1 {
			z.title += " under " + strings.Join(z.Nameservers, ", ")
		}
	}
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
	if due(z.decideAt, now) || due(z.signAt, now) {
		e.loop.dirty[z] = true
	}
	next := []time.Time{z.decideAt, z.signAt}
	for _, c := range z.fetching {
		if !c.running {
			next = append(next, c.next) // long past for one that ended
		}
	}
	for _, g := range []*glance{&z.outside.parent, &z.outside.servers} {
		if !g.running {
			next = append(next, g.next)
		}
	}
	for _, r := range z.errands {
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
	for _, k := range z.facts.state.Joint.DNSKEY {
		known[k] = true
	}
	for _, k := range z.facts.files {
		known[k.ID()] = true
	}
	for _, o := range z.facts.state.Own {
		known[o.Key] = true
	}
	return chain.Options{CNSType: z.CNSType, Known: slices.Collect(maps.Keys(known)), Now: e.loop.now, Signatures: e.signatures}
}
