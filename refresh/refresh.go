// Package refresh is what goes on in the background: it watches each zone and
// our key files, collects the announcements of the other providers, decides
// what the zone is to serve, stores that and then publishes it. Queries are
// answered from what it published last and never wait for it.
//
// Decisions are functions of plain values (target.go, own.go, decide.go); one
// goroutine holds all state (loop.go) and gives what takes time, network,
// disk and signing, to workers.
//
// A zone that is served before its parent could be read takes the delegation to
// be what the zone itself says: only then is its start not cold.
package refresh

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coredns-mske/mske/chain"
	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/serve"
	"github.com/coredns-mske/mske/validate"
)

// Fetcher collects what host announces for zone. By what is known of it already
// it tells a replayed announcement. It gives up when ctx ends and after a time of
// its own, and reports every failure by the result's verdict. It is comparable:
// zones with equal ones share what is known of a host.
type Fetcher interface {
	Fetch(ctx context.Context, zone, host string, known merge.Announcement) fetch.Result
}

// Prober is a [Fetcher] that can also find out whether a nameserver denies one
// of our announcements (rule P4).
type Prober interface {
	Addresses(ctx context.Context, host string) ([]netip.AddrPort, error)
	// Denies reports whether the server proves, so that it validates, that
	// there is no such RRset. An error means that it did not answer.
	Denies(ctx context.Context, addr netip.AddrPort, name string, qtype uint16) (bool, error)
}

// Publisher takes over what is to be served from now on. Its methods are
// called from background goroutines, never two at once for the same zone or
// subtree, and must not block.
type Publisher interface {
	PublishApex(z *Zone, a *serve.Apex)
	PublishSubtree(t *Subtree, s *serve.Subtree)
}

// Observer is told of each collection, for metrics. It must not block.
type Observer interface {
	Fetched(v fetch.Verdict, took time.Duration)
}

// Logger takes log lines, without line ends.
type Logger interface {
	Debugf(format string, v ...any)
	Infof(format string, v ...any)
	Warningf(format string, v ...any)
	Errorf(format string, v ...any)
}

// Zone is a zone of one stanza. It is not changed once an engine has it.
type Zone struct {
	Name        string   // canonical
	Nameservers []string // ours, canonical
	// Whole says that mske is the whole authority for the zone, a delegated
	// signaling zone: there is nothing behind it to ask (rule P3).
	Whole   bool
	Keys    *keys.Watcher // the stanza's, shared by its zones
	Ask     chain.Asker
	Fetcher Fetcher
	CNS     []string // overrides the zone's CNS RRset; canonical
	CNSType uint16
	Store   string // path of the state file, the same in every zone that uses it

	RefreshMin, RefreshMax time.Duration // between two collections of one announcement
	TTL                    time.Duration // of what is published
	MaxZoneTTL             time.Duration // the longest TTL in the zone
	Lax                    bool          // let providers sign with unlike algorithms

	// Outside looks at the zone from there. Without it no phase after joint is
	// reached, and no key depends on the parent goes.
	Outside  Outside
	Distrust Distrust
	DeleteDS bool // ask the parent to remove DS (rule M7)

	Notifier Notifier // nil: nobody is told of changes

	// Auto has NS follow the target, and the parent be asked to, as soon as the
	// phase allows.
	Auto bool
}

// Subtree is the part of Zone below `_signal.NS`, where our keys for all zones
// that have NS among their nameservers are announced.
type Subtree struct {
	NS   string // canonical
	Zone *Zone
}

// Former are the views of an engine before, as after a reload. What of them fits is
// used again: to sign all of a fleet anew takes long, and to have it in memory twice
// as much of that.
type Former struct {
	Apexes   map[*Zone]*serve.Apex
	Subtrees map[*Subtree]*serve.Subtree
}

// Config is what an engine works with. Every field is needed but Observer,
// Crowded, Former, Signatures, Built and Clock.
type Config struct {
	Zones     []*Zone
	Subtrees  []*Subtree
	Publisher Publisher
	Observer  Observer
	Log       Logger

	// Crowded tells whether what else this process does has to wait for a
	// processor, so that less is to be done in the background. See [Crowd.Here].
	Crowded func() bool

	// Former is what an engine before has published.
	Former Former

	// Signatures are those of the plugins behind ours that were verified, and will be.
	Signatures *validate.Signatures

	// Built is when the program was, or any time before that: a clock that is
	// earlier is wrong (rule M6).
	Built time.Time

	// Clock is the process's. Without it the engine begins with one that nothing
	// is known of, so that for some minutes no wait ends.
	Clock *Clock
}

// stopTimeout is how long Stop waits for work in progress. Fetches and looks
// end with their context; what is left are single disk writes.
const stopTimeout = 10 * time.Second

// Engine does the work in the background for one configuration. It is started
// once; after a failed reload the old configuration gets a new engine.
type Engine struct {
	config   Config
	zones    []*zone
	subtrees []*subtree
	scans    []*scan
	leases   *leases

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // the loop and every task
	stop   sync.Once

	loop   loop
	desk   desk
	bell   *doorbell
	status atomic.Pointer[Status]

	// pollEvery is the time between two looks at a zone's serial, scanEvery that
	// between two at the key files. Tests of long times make them longer.
	pollEvery, scanEvery time.Duration

	rest time.Duration // how long a zone is left alone for which nothing is due

	// clock reads the system's clock and the time elapsed since the start.
	// Tests set it.
	clock func() (wall time.Time, elapsed time.Duration)
}

// New returns an engine for c that does nothing yet.
func New(c Config) *Engine {
	if c.Clock == nil {
		c.Clock = NewClock()
	}
	if c.Signatures == nil {
		c.Signatures = validate.NewSignatures()
	}
	if c.Crowded == nil {
		c.Crowded = func() bool { return false }
	}
	e := &Engine{config: c, pollEvery: pollEvery(len(c.Zones)), rest: restOf(len(c.Zones)), scanEvery: minScan, clock: c.Clock.read}
	// The engine's life is that of the configuration, which has no context:
	// it ends with Stop or with the lease.
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.loop.init()
	e.zones = make([]*zone, len(c.Zones))
	room := make([]zone, len(c.Zones)) // in one piece, which the garbage collector likes better than each
	inParallel(len(c.Zones), func(i int) {
		e.zones[i] = &room[i]
		e.zones[i].init(c.Zones[i])
	})
	findTwins(e.zones)
	e.desk.limit = maxOpen
	e.desk.put(e.zones)
	e.loop.lookRates(c.Zones)
	e.bell = newDoorbell(e.zones, func() time.Duration { _, elapsed := e.clock(); return elapsed })
	e.connect()
	e.status.Store(&Status{Phases: map[string]int{}, Problems: []string{"not started"}})
	return e
}

// Start takes the state files over from the engine that holds them, publishes
// what was served last for every zone that they know, without asking
// anybody, and begins the work. An error leaves nothing running. Where reading our
// keys takes a while, Start does not wait for it: what was served last is served
// with the signatures that are stored, and nothing else is.
func (e *Engine) Start() error {
	// Keys first: if they cannot be read, the former engine goes on.
	slow := false
	for _, s := range e.scans {
		one, err := s.watcher.Prepare(s.wanted)
		if err != nil {
			return err
		}
		slow = slow || one
	}
	if !slow {
		if err := e.scanAtStart(); err != nil {
			return err
		}
	}
	leases, stored, err := acquireLeases(e.config.Zones)
	if err != nil {
		return err
	}
	e.leases = leases
	e.loop.clock = e.config.Clock.takeOver(e.config.Built) // whoever had it can store nothing more
	for _, path := range leases.paths {
		e.wg.Go(func() { leases.watch(path, e.ctx.Done()) })
	}
	e.loop.starting = true
	e.status.Store(&Status{Phases: map[string]int{}, Problems: []string{"the server has just begun: what was served last is served"}})
	e.takeOver(stored)
	if !slow {
		e.restore(stored)
		e.decideAtStart()
		e.wg.Go(e.run)
		return nil
	}
	e.foretell()
	e.wg.Go(func() {
		if e.scanLater() {
			e.guard(nil, func() { e.restore(stored) })
			e.decideLater()
			e.run()
		}
	})
	return nil
}

// Stop ends the work and waits, for a limited time, until it has ended. What
// was published stays with the Publisher. It may be called more than once, and
// before Start.
func (e *Engine) Stop() {
	e.stop.Do(func() {
		e.cancel()
		for _, s := range e.scans {
			s.watcher.Halt()
		}
		ended := make(chan struct{})
		go func() {
			e.wg.Wait()
			close(ended)
		}()
		t := time.NewTimer(stopTimeout)
		defer t.Stop()
		select {
		case <-ended:
		case <-t.C:
			e.config.Log.Warningf("Work in the background did not end within %v", stopTimeout)
		}
		e.release()
	})
}

// Works reports whether the work goes on that Start began: it was not stopped, and no
// newer engine has taken a state file over.
func (e *Engine) Works() bool {
	return e.leases != nil && e.ctx.Err() == nil && e.leases.held()
}

// release gives the state files back. Writes after that fail.
func (e *Engine) release() {
	if e.leases == nil {
		return
	}
	if err := e.leases.release(); err != nil {
		e.config.Log.Errorf("Closing the state files: %v", err)
	}
}
