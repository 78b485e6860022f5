package refresh

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"time"

	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/serve"
	"github.com/coredns-mske/mske/store"
	"github.com/coredns-mske/mske/yield"
)

const (
	// lazyWrite is how long what changes nothing that is served may wait for
	// the next write: when a peer was heard last, say.
	lazyWrite = time.Minute

	// writeGap is the least time between two writes, so that many zones share
	// one when a fleet changes. The disk is waited for twice in each.
	writeGap = 200 * time.Millisecond

	// maxBatch is the most zones in one write, and with that the memory that
	// one takes when a whole fleet changes.
	maxBatch = 1000

	// fewZones are decided about without giving way to queries.
	fewZones = 16

	// signRetry is how long to wait after signing failed.
	signRetry = time.Minute
)

var errInternal = errors.New("internal error")

// writeRetry is how long to wait after a write failed, again and again.
var writeRetry = []time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute,
}

// job is one zone's part of a commit: what is to be stored and then served.
type job struct {
	zone     *zone
	decision decision
	record   store.Zone
	written  written // what record says
	now      time.Time
	old      *serve.Apex // served now
	made     *serve.Apex // made from a decision before, served or not
	was      merge.Joint // what is served now

	before    delegation // and of NS
	delegated delegation // what is in apex of it
	sign      bool       // the apex has to be made anew

	apex   *serve.Apex // to be served
	served merge.Joint // what is in apex
	err    error       // of signing
	stored error       // of storing; nil if it is stored
}

// later lets z be written with the next write, or in a while.
func (e *Engine) later(z *zone) {
	if len(e.loop.lazy) == 0 {
		e.loop.lazySince = e.loop.now
	}
	e.loop.lazy[z] = true
}

// writeDue returns when the next write is to begin, zero for never.
func (e *Engine) writeDue() time.Time {
	l := &e.loop
	switch {
	case l.writes.running > 0: // its end is an event
		return time.Time{}
	case l.deciding():
		return latest(l.writeAt, l.now)
	case len(l.lazy) > 0:
		return latest(l.writeAt, l.lazySince.Add(lazyWrite))
	}
	return time.Time{}
}

// write decides about all zones that something changed for, and has what came
// of it stored and published.
func (e *Engine) write() {
	l := &e.loop
	if at := e.writeDue(); at.IsZero() || at.After(l.now) {
		return
	}
	if jobs := e.jobs(); len(jobs) > 0 {
		l.writeAt = l.now.Add(writeGap)
		e.submit(&l.writes, task{
			run: func(context.Context) func() {
				err := e.commit(jobs)
				return func() { e.committed(jobs, err) }
			},
			fail: func() {
				for _, j := range jobs {
					j.err = errInternal // nobody knows how far it came
				}
				e.committed(jobs, errInternal)
			},
		})
	}
}

// jobs decides about zones, at most as many as fit into one write, so that the loop
// goes on soon, and returns the commits of those that are to be written.
func (e *Engine) jobs() []*job {
	l := &e.loop
	var jobs []*job
	lazy := len(l.lazy) > 0 && !l.lazySince.Add(lazyWrite).After(l.now)
	decided := 0
	decide := func(z *zone) {
		if decided++; decided > fewZones {
			yield.ToQueries()
		}
		due := lazy && l.lazy[z]
		delete(l.dirty, z)
		if due {
			delete(l.lazy, z)
		}
		e.protect(z, func() {
			if j := e.prepare(z, due); j != nil {
				jobs = append(jobs, j)
			}
		})
		if !z.decided {
			z.decided = true
			e.wake(z, e.loop.now)
		}
	}
	first := l.undecided[:min(len(l.undecided), maxBatch/2)]
	l.undecided = l.undecided[len(first):]
	for _, z := range first {
		if !z.decided {
			decide(z)
		}
	}
	for z := range l.dirty {
		if decide(z); decided >= maxBatch {
			return jobs
		}
	}
	if !lazy {
		return jobs
	}
	var waiting []*zone
	for z := range l.lazy {
		if waiting = append(waiting, z); len(jobs)+len(waiting) == maxBatch {
			break
		}
	}
	for _, z := range waiting {
		decide(z)
	}
	return jobs
}

// prepare decides about z, and returns a job if that changes what is stored or
// served.
func (e *Engine) prepare(z *zone, lazy bool) *job {
	now := e.loop.now
	e.settle(z)
	e.live(z)
	d := decide(z.Zone, z.open().facts, now)
	e.grow(z, &d)
	z.delegate(&d)
	z.report(d)
	z.tell()
	z.open().decideAt, z.open().local = d.next, d.local
	if d.next.After(now) {
		e.wake(z, d.next)
	}
	z.open().facts.state.Own, z.open().facts.state.Cold = d.own, d.cold
	z.open().facts.state.Clock = e.loop.clock.stamp()
	e.restate(z, d)
	e.loop.news = true
	e.reconsider(z)

	j := &job{
		zone: z, decision: d, record: z.open().facts.state, now: now, old: z.apex, made: z.made,
		was: z.open().facts.state.Joint, before: z.open().shown.delegation,
	}
	j.sign = z.apex == nil || !d.view.equal(z.open().shown) || due(z.open().signAt, now)
	if d.view.answer == full {
		j.record.Joint = d.view.joint
		j.record = z.delegated(j.record, d.view.delegation.Delegation)
	}
	if !j.sign && !z.known && !z.open().facts.looked && d.view.answer == failing {
		return nil // nothing is known of it yet
	}
	j.written = writtenOf(j.record)
	switch changed := j.written != z.stored; {
	case j.sign, !z.known, z.resigned, changed && lazy:
		return j
	case changed && j.written.content == z.stored.content:
		if !z.steady() {
			e.later(z)
		}
	case changed:
		return j
	}
	e.announce(z, d)
	return nil
}

// steady reports whether z is as it should be, so that nothing depends on when it
// was seen to be so last: that is not worth a write.
func (z *zone) steady() bool {
	s := z.open().facts.state
	still := s.Life.Phase == lifecycle.Single || s.Life.Phase == lifecycle.Complete
	return still && z.open().outside.report.Next.IsZero() && s.Cold.IsZero() && s.Seed.Empty() &&
		!slices.ContainsFunc(s.Life.Hosts, func(h lifecycle.Host) bool { return !h.Missing.IsZero() }) &&
		!slices.ContainsFunc(s.Peers, func(p merge.Peer) bool { return len(p.Retiring) > 0 }) &&
		!slices.ContainsFunc(s.Own, func(o store.Own) bool { return !o.Gone.IsZero() })
}

// report says what d found, once.
func (z *zone) report(d decision) {
	for _, f := range d.findings {
		if f.text == "" {
			z.settle(f.topic)
		} else {
			z.say(f.topic, f.level, "", "%s", f.text)
		}
	}
}

// commit signs what the jobs are to serve and stores it. When the store fails,
// it signs what may be served all the same: what was, with additions. It
// returns the store's error.
func (e *Engine) commit(jobs []*job) error {
	files := make(map[string]map[string]*job) // by path, then by key
	for _, j := range jobs {
		yield.ToQueries()
		j.make(j.decision.view, j.made)
		if j.made = j.apex; j.err != nil {
			continue
		}
		if j.decision.view.answer == full {
			j.record.Signatures = j.apex.Signatures()
		}
		j.record.Saved = j.now
		if files[j.zone.Store] == nil {
			files[j.zone.Store] = make(map[string]*job)
		}
		files[j.zone.Store][j.zone.key] = j
	}
	var errs []error
	for path, jobs := range files {
		errs = append(errs, put(e.leases.byPath[path], jobs))
	}
	for _, j := range jobs {
		if j.stored != nil && j.err == nil {
			j.add()
		}
	}
	return errors.Join(errs...)
}

// put writes the records of jobs, by key, to one file. One that cannot be
// written holds up none of the others. The error is that of the file.
func put(lease *store.Lease, jobs map[string]*job) error {
	records := make(map[string]store.Zone)
	for key, j := range jobs {
		records[key] = j.record
	}
	for len(records) > 0 {
		err := lease.Put(records)
		if err == nil {
			return nil
		}
		var bad *store.RecordError
		if errors.As(err, &bad) && jobs[bad.Key] != nil {
			jobs[bad.Key].stored = err
			delete(records, bad.Key)
			continue
		}
		for key := range records {
			jobs[key].stored = err
		}
		return err
	}
	return nil
}

// make signs v, unless that is what is served already. Signatures of like are
// used again. The zones of a commit have nothing to do with each other, so a
// panic is one zone's error.
func (j *job) make(v view, like *serve.Apex) {
	j.apex, j.served = j.old, v.joint
	j.delegated = v.delegation
	if !j.sign {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			j.apex, j.err = j.old, fmt.Errorf("internal error: %v", r)
		}
	}()
	j.apex, j.err = sign(j.zone.Zone, v, j.record.Signatures, like, j.now)
}

// add makes what may be served although the store does not have it: all that
// is served now, and what comes in addition (rule T1).
func (j *job) add() {
	v := j.decision.view
	if v.answer != full || len(j.was.DNSKEY) == 0 {
		return // it takes nothing away
	}
	sum, ns := plus(j.zone.Name, j.was, v.joint), j.before
	if !reflect.DeepEqual(sum, v.joint) || !reflect.DeepEqual(ns, v.delegation) {
		v.joint, v.delegation = sum, ns
		j.make(v, j.old)
	}
}

// sign returns the apex of v.
func sign(z *Zone, v view, stored []serve.Signature, old *serve.Apex, now time.Time) (*serve.Apex, error) {
	if v.answer == failing {
		return &serve.Apex{Zone: z.Name, HasCNS: v.hasCNS, HasCSYNC: v.hasCSYNC, Data: v.correcting}, nil
	}
	joint := v.joint
	if v.deleting {
		joint = deleteSets(joint)
	}
	p := serve.Params{TTL: ttl(z, v, stored), Now: now, Jitter: rand.Float64, Stored: stored}
	a, err := serve.SignApex(z.Name, joint, v.signers, p, old)
	if err != nil {
		return nil, err
	}
	a.HasCNS, a.HasCSYNC = v.hasCNS, v.hasCSYNC
	if v.answer == keysAlone {
		a.CDS, a.CDNSKEY = serve.ApexSet{}, serve.ApexSet{}
	}
	if len(v.delegation.NS) > 0 {
		return a.WithDelegation(v.delegation.served(), v.signers, p, old)
	}
	return a, nil
}

// ttl returns the TTL of the apex of v, in seconds: the configured one, but
// without anybody to sign that of the signatures there are.
func ttl(z *Zone, v view, stored []serve.Signature) uint32 {
	signs := func(k *keys.Key) bool { return k.Signer != nil }
	switch {
	case v.answer == keysAlone:
		return coldTTL
	case len(stored) > 0 && !slices.ContainsFunc(v.signers.SecureEntry, signs):
		return stored[0].OrigTTL()
	}
	return seconds(z.TTL)
}

func seconds(d time.Duration) uint32 { return uint32(d / time.Second) }

// committed publishes what was stored, and of the rest what may be served all
// the same.
func (e *Engine) committed(jobs []*job, err error) {
	if errors.Is(err, store.ErrRevoked) {
		e.loop.lost = true
		return // the engine is about to end
	}
	e.reportStore(err)
	for _, j := range jobs {
		yield.ToQueries()
		e.protect(j.zone, func() { e.publish(j) })
	}
}

// reportStore says whether the store works, and when to try again.
func (e *Engine) reportStore(err error) {
	l := &e.loop
	l.news = true
	if err == nil {
		if l.storeProblem != "" {
			e.config.Log.Infof("The state file can be written again")
		}
		l.writeFails, l.storeProblem = 0, ""
		return
	}
	if l.starting { // the other zones are to be announced all the same, at once
		l.writeFails = 1
	} else {
		l.writeFails++
		l.writeAt = l.now.Add(after(writeRetry, l.writeFails))
	}
	if l.storeProblem != err.Error() {
		e.config.Log.Errorf("%v; keys are added to what is served, but none is removed until it can be written", err)
	}
	l.storeProblem = err.Error()
}

func (e *Engine) publish(j *job) {
	z, d := j.zone, j.decision
	if j.err != nil {
		stays := "and nothing can be served"
		if z.apex != nil && z.apex.DNSKEY.RRset != nil {
			stays = "so that what was served last is"
		}
		z.say("sign", levelProblem, "", "signing failed, %s: %v", stays, j.err)
		if !z.announced { // better than a denial, after a restart
			e.announce(z, d)
		}
		z.open().signAt = e.loop.now.Add(signRetry)
		e.wake(z, z.open().signAt)
		return
	}
	z.settle("sign")
	z.made = j.made
	if j.sign {
		e.show(z, j)
	}
	if j.stored != nil {
		if !z.announced { // as above
			e.announce(z, d)
		}
		e.retry(z, j.stored)
		return
	}
	z.settle("store")
	z.stored, z.known, z.resigned = j.written, true, false
	e.loop.clock.stored = latest(e.loop.clock.stored, j.record.Clock)
	e.announce(z, d)
}

// retry lets z be written again.
func (e *Engine) retry(z *zone, err error) {
	var bad *store.RecordError
	if !errors.As(err, &bad) {
		e.loop.dirty[z] = true // when the store is tried again
		return
	}
	z.say("store", levelProblem, "", "its state cannot be stored: %v", err)
	z.open().decideAt = e.loop.now.Add(signRetry)
	e.wake(z, z.open().decideAt)
}

// shown takes over what j published of keys and NS. The phase depends on NS.
func (e *Engine) shown(z *zone, j *job) {
	s := z.delegated(z.open().facts.state, j.delegated.Delegation)
	if !slices.Equal(z.open().facts.state.NS, s.NS) || !reflect.DeepEqual(z.open().facts.state.Delegation, s.Delegation) {
		e.loop.dirty[z], z.open().published = true, e.loop.now
		e.lookSoon(z)
	}
	if !difference(s.Joint, j.served).None() {
		z.open().published = e.loop.now
	}
	z.open().facts.state = s
}

// show publishes the apex of j.
func (e *Engine) show(z *zone, j *job) {
	e.config.Publisher.PublishApex(z.Zone, j.apex)
	z.apex, z.open().shown = j.apex, j.decision.view
	z.open().shown.joint, z.open().shown.delegation = j.served, j.delegated
	if z.open().shown.answer == full {
		if c := difference(z.open().facts.state.Joint, j.served); !c.None() {
			z.log.Infof("%s serves %s", z.title(), c)
		}
		e.shown(z, j)
		z.open().facts.state.Joint, z.open().facts.state.Signatures = j.served, j.apex.Signatures()
	}
	z.open().signAt = time.Time{}
	if at := j.apex.Renew(); !at.IsZero() {
		z.open().signAt = latest(at, e.loop.now.Add(signRetry))
		e.wake(z, z.open().signAt)
	}
	e.wake(z, e.loop.now.Add(idle))
	e.reconsider(z)
	e.enclosed(z)
	e.loop.news = true
}
