package refresh

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coredns-mske/mske/chain"
	"github.com/coredns-mske/mske/yield"
)

const (
	// readEvery is how often a zone is read although its serial is the same:
	// what it is signed with may change without (rule K2).
	readEvery = time.Hour

	// pollBatch is how many zones are asked for their serials by one task.
	pollBatch = 64

	// lookTimeout bounds one look, and the questions for serials of one task. The plugins asked are in this process, but
	// one of them may be waiting for something else.
	lookTimeout = 10 * time.Second

	// startTimeout bounds how long the server waits for the first look at new
	// zones before it answers queries.
	startTimeout = 2 * time.Second

	// Zones are asked for their serial every second, or so much less often
	// that a large fleet costs no more than a few thousand questions a second:
	// within 30 seconds at 100,000 zones (rule D4).
	minPoll     = time.Second
	maxPoll     = 30 * time.Second
	pollPerZone = maxPoll / 100_000
)

// startFails is how many looks may fail before it is an error that nothing is
// known of a zone: the backend may still be loading it.
const startFails = 2

// lookRetry is how long to wait after a look failed, again and again.
var lookRetry = []time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute,
}

// pollEvery returns the time between two looks at a serial in a fleet of that
// many zones.
func pollEvery(zones int) time.Duration {
	return min(max(time.Duration(zones)*pollPerZone, minPoll), maxPoll)
}

// look reads all of z, if that is due.
func (e *Engine) look(z *zone) {
	if z.Whole || z.asking || z.readAt.After(e.loop.now) {
		return
	}
	z.asking = true
	o := e.chainOptions(z)
	e.submit(&e.loop.looks, task{
		zone: z,
		run: func(ctx context.Context) func() {
			l, err := lookAt(ctx, z.Zone, o)
			return func() { e.lookedAt(z, l, err) }
		},
		fail: func() { e.lookedAt(z, chain.Look{}, errInternal) },
	})
}

// lookDue returns when z is to be read next, zero if that is not to be known.
func (z *zone) lookDue() time.Time {
	if z.asking || z.Whole || z.broken() {
		return time.Time{}
	}
	return z.readAt
}

// poll asks for the serials of the zones whose turn it is. All zones take turns
// without end, many in each task: nothing else is done as often in a fleet.
func (e *Engine) poll() {
	l := &e.loop
	if l.pollAt.IsZero() {
		l.pollAt = l.now.Add(e.pollEvery) // they have just been read
	}
	for n := len(e.zones); n > 0 && !l.pollAt.After(l.now); {
		batch := min(n, pollBatch)
		l.pollAt = latest(l.pollAt, l.now.Add(-e.pollEvery)).Add(e.pollEvery * time.Duration(batch) / time.Duration(n))
		var zones []*zone
		for range batch {
			if z := e.zones[l.pollNext]; z.pollable() {
				z.asking = true
				zones = append(zones, z)
			}
			l.pollNext = (l.pollNext + 1) % n
		}
		if len(zones) == 0 {
			continue
		}
		first := rand.IntN(len(zones)) // time may not be enough for the last
		zones = append(zones[first:], zones[:first]...)
		serials := make([]uint32, len(zones))
		errs := make([]error, len(zones))
		e.submit(&e.loop.looks, task{
			run: func(ctx context.Context) func() {
				ctx, cancel := context.WithTimeout(ctx, lookTimeout)
				defer cancel()
				for i, z := range zones {
					yield.ToQueries()
					if errs[i] = errNotAsked; ctx.Err() == nil {
						serials[i], errs[i] = askSerial(ctx, z.Zone)
					}
				}
				return func() {
					for i, z := range zones {
						e.protect(z, func() { e.polled(z, serials[i], errs[i]) })
					}
				}
			},
		})
	}
}

// pollable reports whether z is asked for its serial in turn: it is known, and
// nothing else is under way.
func (z *zone) pollable() bool {
	return z.looked() && !z.asking && !z.Whole && !z.broken() && z.lookFails == 0
}

var errNotAsked = errors.New("others took all the time")

// askSerial asks for the serial of one of many zones, which it does not let down
// by a panic.
func askSerial(ctx context.Context, z *Zone) (serial uint32, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errInternal, r)
		}
	}()
	return chain.Serial(ctx, z.Ask, z.Name)
}

// polled has z read if its serial is another one. One that was not asked, since
// others took all the time, has its turn again.
func (e *Engine) polled(z *zone, serial uint32, err error) {
	z.asking = false
	switch {
	case !e.loop.clock.right(), err == errNotAsked:
	case err != nil:
		e.lookFailed(z, err)
	case serial != z.serial:
		z.readAt = e.loop.now
	}
	e.rush(z, z.lookDue())
}

// lookAtStart reads the zones that nothing is known of, so that they are served
// and announced from the first query on: whoever asks before that is told, with
// proof, that nothing is announced, and remembers it for a while. What does not
// answer in time is asked again in the background.
func (e *Engine) lookAtStart() {
	ctx, cancel := context.WithTimeout(e.ctx, startTimeout)
	defer cancel()
	var looks []func() func()
	for _, z := range e.zones {
		if z.Whole || z.open().facts.looked || len(z.open().facts.state.Joint.DNSKEY) > 0 {
			continue
		}
		o := e.chainOptions(z)
		looks = append(looks, func() func() {
			l, err := lookAt(ctx, z.Zone, o)
			if err != nil {
				return nil
			}
			return func() { e.lookedAt(z, l, nil) }
		})
	}
	found := make(chan func(), len(looks)) // room for what comes too late
	var next atomic.Int64
	for range maxLooks {
		e.wg.Go(func() {
			for i := next.Add(1); int(i) <= len(looks) && ctx.Err() == nil; i = next.Add(1) {
				found <- unlessPanic(looks[i-1])
			}
		})
	}
	for range looks {
		select {
		case take := <-found:
			if take != nil {
				take()
			}
		case <-ctx.Done():
			return
		}
	}
}

// unlessPanic returns what f does, nil if it panics: the look in the background
// says so.
func unlessPanic(f func() func()) (then func()) {
	defer func() { _ = recover() }()
	return f()
}

// lookAt reads the zone.
func lookAt(ctx context.Context, z *Zone, o chain.Options) (chain.Look, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	o.Now = time.Now()
	return chain.Read(ctx, z.Ask, z.Name, o)
}

// lookedAt takes over what a look found.
func (e *Engine) lookedAt(z *zone, l chain.Look, err error) {
	now := e.loop.now
	z.asking = false
	switch {
	case !e.loop.clock.right(): // signatures were judged by it
		z.readAt = latest(z.readAt, now.Add(e.pollEvery))
	case err != nil:
		e.lookFailed(z, err)
	default:
		z.lookFails, z.serial, z.readAt = 0, l.Serial, now.Add(jitter(readEvery))
		e.saw(z, l)
	}
	e.wake(z, now)
}

// lookFailed leaves what was known (rule D1).
func (e *Engine) lookFailed(z *zone, err error) {
	z.lookFails++
	again := e.loop.now.Add(max(after(lookRetry, z.lookFails), min(e.pollEvery, time.Minute)))
	z.readAt = again
	var unknown *chain.UnknownSignerError
	switch {
	case errors.As(err, &unknown):
		z.say("signer", levelProblem, "", "%v; what was served last stays", err)
		if !z.open().facts.unknown {
			z.open().facts.unknown = true
			e.loop.dirty[z] = true
		}
	case errors.Is(err, chain.ErrChanging) && z.lookFails == 1:
	case z.open().facts.looked || len(z.open().facts.state.Joint.DNSKEY) > 0:
		z.say("chain", levelWarning, "", "it could not be read, so that its last known nameservers and keys stay: %v", err)
	case z.lookFails > startFails:
		z.say("chain", levelProblem, "", "it could not be read, so that its apex key sets are not served: %v", err)
	}
}

// saw takes over a look.
func (e *Engine) saw(z *zone, l chain.Look) {
	z.settle("signer")
	z.recovered("chain", "it can be read again")
	first := !z.open().facts.looked
	z.open().facts.looked, z.open().facts.unknown = true, false
	state, changed := z.observe(z.open().facts.state, l, e.loop.now)
	z.open().facts.state = state
	if changed || first {
		e.reportTarget(z)
	}
	if changed {
		e.collectNow(z)
	}
	e.loop.dirty[z] = true
}

// reportTarget says whose keys z is to be served with.
func (e *Engine) reportTarget(z *zone) {
	ext := z.external(slices.Concat(z.open().facts.state.Target, z.open().facts.state.NS))
	hosts, excess := z.imports(z.open().facts.state)
	if len(excess) > 0 {
		z.say("excess", levelError, "", "it names more external nameservers than are dealt with; not collected: %s", strings.Join(excess, ", "))
	} else {
		z.settle("excess")
	}
	if len(ext) == 0 {
		z.settle("silent")
		if hosts := peerHosts(z.open().facts.state.Peers); len(hosts) > 0 {
			z.say("target", levelInfo, "", "no external nameservers any more; the keys of %s stay as long as caches may need them", strings.Join(hosts, ", "))
		} else {
			z.open().notes.drop("target")
		}
		return
	}
	var named, unnamed []string
	for _, h := range hosts {
		if z.consents(z.open().facts.state, h) {
			named = append(named, h)
		} else {
			unnamed = append(unnamed, h)
		}
	}
	text := "none of them, since no CNS RRset names them"
	if len(named) > 0 {
		text = strings.Join(named, ", ")
	}
	if len(unnamed) > 0 {
		text += fmt.Sprintf("; of %s, which no CNS RRset ever named, only those count that the zone's apex there holds, too", strings.Join(unnamed, ", "))
	}
	z.say("target", levelInfo, "", "external nameservers %s; keys are collected from %s", strings.Join(ext, ", "), text)
	if z.silent {
		z.say("silent", levelWarning, "", "it has other providers (%s), but none of our nameservers can announce its keys to them", strings.Join(ext, ", "))
	}
}
