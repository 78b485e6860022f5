package refresh

import (
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/serve"
	"github.com/coredns-mske/mske/store"
	"github.com/coredns-mske/mske/yield"
)

// takeOver takes over the stored state of every zone, and the clock.
func (e *Engine) takeOver(stored map[string]record) {
	for _, r := range stored {
		yield.ToQueries()
		e.loop.clock.stored = latest(e.loop.clock.stored, r.Clock)
	}
	adopt(e.zones, stored)
	e.readClock()
	e.loop.begun = e.loop.clock.right()
	inParallel(len(e.zones), func(i int) {
		z := e.zones[i]
		z.open().began, z.open().spoken = e.loop.now, z.open().facts.state.Life.Phase
		if e.loop.clock.right() && z.open().facts.state.Saved.After(e.loop.now) { // nothing in it began later
			z.open().facts.state = startWaits(z.open().facts.state, e.loop.now)
		}
	})
	for _, z := range e.zones {
		e.loop.due.Push(z)
	}
}

// foretell publishes what was served last for every zone, with the signatures that
// are stored, before our keys have been read. Where these are not enough, as for a
// new zone or after a long time, it reads the keys of those zones alone.
func (e *Engine) foretell() {
	e.publishLast(e.zones, func(z *zone) *job {
		if !e.loop.clock.right() {
			return z.storedJob(z.open().facts.state.Saved)
		}
		return z.storedJob(e.loop.now)
	})
	lacking := make(map[string][]*zone)
	for _, z := range e.zones {
		if z.open().shown.answer == failing {
			lacking[z.Name] = append(lacking[z.Name], z)
		}
	}
	if len(lacking) == 0 || !e.loop.clock.right() {
		return
	}
	var found []*zone
	for _, s := range e.scans {
		for name, ks := range s.watcher.Peek(time.Now(), func(zone string) bool { return len(lacking[zone]) > 0 && s.wanted(zone) }) {
			for _, z := range s.zones[name] {
				z.open().facts.files = ks
				found = append(found, z)
			}
		}
	}
	e.publishLast(found, func(z *zone) *job { return z.restoreJob(e.loop.now) })
	e.lookAtStart()
	e.commitAll()
}

// commitAll decides about all zones that something changed for, or that were not
// decided about yet, for which it does not matter whether they can be stored.
func (e *Engine) commitAll() {
	l := &e.loop
	for (len(l.undecided) > 0 || len(l.dirty) > 0 && l.writeFails == 0) && !l.lost && e.ctx.Err() == nil {
		if jobs := e.jobs(); len(jobs) > 0 {
			e.committed(jobs, e.commit(jobs))
		}
	}
}

// restore publishes what was served last for every zone. stored is what takeOver
// was called with.
func (e *Engine) restore(stored map[string]record) {
	e.readClock()
	e.publishLast(e.zones, func(z *zone) *job {
		if r, ok := stored[z.key]; ok && z.stored == (written{}) { // not written since
			z.stored = writtenOf(*r.Zone)
		}
		if !e.loop.clock.right() {
			return z.frozenJob()
		}
		return z.restoreJob(e.loop.now)
	})
	e.config.Former.Apexes = nil
	for _, z := range e.zones {
		yield.ToQueries()
		if r, ok := stored[z.key]; ok && z.made != nil {
			z.resigned = !slices.EqualFunc(z.made.Signatures(), r.Signatures, sameSignature)
		}
		e.announceable(z)
	}
}

// undecide has every zone decided about. Until that is done nothing is announced
// anew, since what is not decided about would be denied.
func (e *Engine) undecide() {
	clear(e.loop.dirty)
	for _, z := range e.zones {
		z.decided = false // what was before was without our keys
	}
	e.loop.undecided, e.loop.starting = e.zones, true
}

// decideAtStart publishes, after restore, what only needs the plugins behind ours
// to be asked, if these answer at once: new zones, and our announcements.
func (e *Engine) decideAtStart() {
	e.undecide()
	if !e.loop.clock.right() {
		e.loop.news = true
		e.refreshStatus()
		return
	}
	e.lookAtStart()
	e.commitAll()
	if e.endStart(); e.loop.starting {
		return // it is not to go on
	}
	e.buildAtStart()
	e.refreshStatus()
}

// decideLater leaves that, after restore, to the loop, but for new zones: in a fleet
// it takes long, and meanwhile keys change and others have news.
func (e *Engine) decideLater() {
	if e.loop.clock.right() {
		e.lookAtStart()
	}
	e.undecide()
}

// endStart lets our announcements be made once every zone was decided about and
// what came of it is published.
func (e *Engine) endStart() {
	l := &e.loop
	if l.starting && len(l.undecided) == 0 && l.writes.running == 0 {
		l.starting = false
		e.scheduleSubtrees()
	}
}

// publishLast publishes for zones what the job of serving each as it was served
// last comes to. make is called for several zones at once.
func (e *Engine) publishLast(zones []*zone, make func(*zone) *job) {
	for some := range slices.Chunk(zones, maxBatch) {
		if e.ctx.Err() != nil {
			return
		}
		var jobs [maxBatch]*job
		inParallel(len(some), func(i int) {
			z := some[i]
			jobs[i] = &job{zone: z, err: errInternal}
			e.guard(z, func() {
				e.settle(z)
				j, like := make(z), z.apex
				if like == nil || like.DNSKEY.RRset == nil {
					like = e.config.Former.Apexes[z.Zone]
				}
				j.make(j.decision.view, like)
				jobs[i] = j
			})
		})
		for _, j := range jobs[:len(some)] {
			yield.ToQueries()
			z := j.zone
			switch {
			case j.err == nil:
				z.made = j.apex
			case z.apex != nil: // what is served stays
				continue
			default: // nothing can sign: said when it is decided about
				j.apex, j.decision.view.answer, j.err = &serve.Apex{Zone: z.Name}, failing, nil
			}
			e.show(z, j)
		}
	}
}

// guard runs f for z, of which no panic does more harm than that it is said.
func (e *Engine) guard(z *zone, f func()) {
	defer func() {
		if r := recover(); r != nil {
			e.config.Log.Errorf("Internal error%s: %v\n%s", z.named(), r, debug.Stack())
		}
	}()
	f()
}

// restoreJob returns the job of serving z as it was served last.
func (z *zone) restoreJob(now time.Time) *job {
	o := planOwn(z.Zone, z.open().facts, now)
	return z.lastJob(o.signers(z.open().facts.state.Signers), now)
}

// storedJob returns the job of serving z as it was served last with the signatures
// that are stored, before its keys have been read.
func (z *zone) storedJob(now time.Time) *job {
	var s serve.Signers
	for _, o := range z.open().facts.state.Own {
		if z.distrustsKey(o.Key) {
			continue
		}
		k := &keys.Key{DNSKEY: o.Key.DNSKEY(z.Name, 0)}
		if o.SecureEntry || o.SignsKeys {
			s.SecureEntry = append(s.SecureEntry, k)
		}
		if o.SignsData {
			s.Data = append(s.Data, k)
		}
	}
	return z.lastJob(s, now)
}

// lastJob returns the job of serving z as it was served last, signed by signers.
func (z *zone) lastJob(signers serve.Signers, now time.Time) *job {
	s := z.open().facts.state
	v := view{answer: full, joint: s.Joint, signers: signers, hasCNS: s.HasCNS, hasCSYNC: s.HasCSYNC}
	v.deleting = z.DeleteDS && len(z.external(s.Target)) == 0
	if z.Auto {
		v.delegation = z.delegation(s.Delegation)
	}
	if len(s.Joint.DNSKEY) == 0 {
		v.answer = failing
	}
	return &job{zone: z, decision: decision{view: v}, record: s, now: now, sign: true}
}

// frozenJob returns the job of serving z as it was served last by a clock that
// is wrong: with the signatures that were valid when they were stored, and
// without making any (rule M6).
func (z *zone) frozenJob() *job {
	j := z.restoreJob(z.open().facts.state.Saved)
	v := &j.decision.view
	v.signers = serve.Signers{SecureEntry: halved(v.signers.SecureEntry), Data: halved(v.signers.Data)}
	return j
}

// halved returns ks without their private halves.
func halved(ks []*keys.Key) []*keys.Key {
	var public []*keys.Key
	for _, k := range ks {
		public = append(public, &keys.Key{DNSKEY: k.DNSKEY, Role: k.Role})
	}
	return public
}

func sameSignature(a, b serve.Signature) bool { return a.RDATA() == b.RDATA() }

// inParallel calls do for the numbers below n, on all cores.
func inParallel(n int, do func(i int)) {
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for worker := range workers {
		wg.Go(func() {
			for i := worker; i < n; i += workers {
				yield.ToQueries()
				do(i)
			}
		})
	}
	wg.Wait()
}

// adopt gives each zone its stored state. When its nameservers in the Corefile
// changed, that is the newest state under any nameservers in part the same: a
// zone does not begin cold because we name one more nameserver.
func adopt(zones []*zone, stored map[string]record) {
	byName := make(map[string][]string)
	for _, key := range slices.Sorted(maps.Keys(stored)) {
		yield.ToQueries()
		byName[stored[key].Name] = append(byName[stored[key].Name], key)
	}
	taken := make(map[string]bool)
	for _, z := range zones {
		taken[z.key] = true
	}
	for _, z := range zones {
		yield.ToQueries()
		best := ""
		for _, key := range byName[z.Name] {
			s := stored[key]
			other := key != z.key && (taken[key] || !slices.ContainsFunc(s.Nameservers, z.own))
			if !other && (best == "" || s.Saved.After(stored[best].Saved)) {
				best = key
			}
		}
		if best == "" {
			continue
		}
		z.open().facts.state = z.inherit(*stored[best].Zone)
		if best == z.key && stored[best].path == z.Store {
			z.known = true // else it is to be written there
		}
	}
}

// inherit returns s as the state of z. Hosts that have become ours are peers
// no longer, but the data they signed, with keys on their way out as well, may be
// cached.
func (z *zone) inherit(s store.Zone) store.Zone {
	s.Nameservers = z.Nameservers
	var peers []merge.Peer
	for _, p := range s.Peers {
		if !z.own(p.Host) {
			peers = append(peers, p)
			continue
		}
		signed := slices.Clone(p.Announcement.DNSKEY)
		for _, r := range p.Retiring {
			signed = append(signed, r.Key)
		}
		for _, k := range signed {
			if mark(s.Own, k) < 0 && len(s.Own) < store.MaxOwnKeys {
				s.Own = append(slices.Clone(s.Own), store.Own{Key: k, SignsData: true, Signed: true, Published: p.Collected})
			}
		}
	}
	s.Peers = peers
	s.Imported = z.external(s.Imported)
	return z.redelegated(s)
}

func comparePeers(a, b merge.Peer) int {
	switch {
	case a.Host < b.Host:
		return -1
	case a.Host > b.Host:
		return 1
	}
	return 0
}
