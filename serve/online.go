package serve

import (
	"container/list"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/keys"
)

// ErrBudget says that no more signatures are made at query time just now.
var ErrBudget = errors.New("the budget of signatures made at query time is used up")

// onlineValid is how long signatures made at query time are valid. They are
// used for half of their life.
const onlineValid = day

// rsaCost is how many signatures with elliptic curves one with RSA counts for:
// with 2048 bits it takes 20 to 40 times as long.
const rsaCost = 30

// Online makes signatures at query time (rule S3). It keeps those that were
// used last, makes each only once however many ask for it at the same time, and
// makes no more than its budget allows. It is safe for concurrent use; nil
// signs nothing.
type Online struct {
	capacity int
	rate     float64 // signatures a second, and at once

	mu      sync.Mutex
	tokens  float64 // signatures that may be made now
	filled  time.Time
	entries map[recipe]*list.Element // of *entry
	recent  *list.List               // the entry used last comes first
	flights map[recipe]*flight
}

// recipe identifies records and the keys to sign them with.
type recipe [sha256.Size]byte

// entry is signatures that are kept.
type entry struct {
	recipe      recipe
	sigs        []*dns.RRSIG
	from, until time.Time
}

// flight is signatures that are being made.
type flight struct {
	done chan struct{}
	sigs []*dns.RRSIG
	err  error
}

// NewOnline returns a signer that keeps the signatures of at most cacheEntries
// RRsets and makes at most perSecond signatures a second, after a pause as many
// at once.
func NewOnline(cacheEntries, perSecond int) *Online {
	return &Online{
		capacity: cacheEntries, rate: float64(perSecond), tokens: float64(perSecond),
		entries: make(map[recipe]*list.Element), recent: list.New(), flights: make(map[recipe]*flight),
	}
}

// Sign returns a signature over the RRset rrs by each of signers, valid for a
// day or so, with the owner and TTL of rrs. The caller may change them. The
// error is ErrBudget, at once, if they would have to be made and the budget is
// used up.
func (o *Online) Sign(rrs []dns.RR, signers []*keys.Key, now time.Time) ([]*dns.RRSIG, error) {
	if o == nil {
		return nil, ErrBudget
	}
	if len(signers) == 0 {
		return nil, errNoSigner
	}
	id, err := recipeOf(rrs, signers)
	if err != nil {
		return nil, err
	}
	sigs, err := o.get(id, rrs, signers, now)
	if err != nil {
		return nil, err
	}
	copies := make([]*dns.RRSIG, len(sigs))
	for i, sig := range sigs {
		copies[i] = dns.Copy(sig).(*dns.RRSIG)
		copies[i].Hdr.Name = rrs[0].Header().Name
	}
	return copies, nil
}

var errNoSigner = errors.New("there is no key of ours to sign at query time with")

// recipeOf returns the identity of the canonical form of rrs, in their order,
// and of signers.
func recipeOf(rrs []dns.RR, signers []*keys.Key) (recipe, error) {
	h := sha256.New()
	wire := make([]byte, 0, 512)
	for _, rr := range rrs {
		low := dns.Copy(rr)
		low.Header().Name = dns.CanonicalName(rr.Header().Name)
		wire = append(wire[:0], make([]byte, dns.Len(low)+1)...)
		n, err := dns.PackRR(low, wire, 0, nil, false)
		if err != nil {
			return recipe{}, fmt.Errorf("packing %s of %q: %w", dns.Type(rr.Header().Rrtype), rr.Header().Name, err)
		}
		h.Write(wire[:n])
	}
	for _, k := range signers {
		fmt.Fprintf(h, "\x00%s %d %d %s", k.DNSKEY.Hdr.Name, k.DNSKEY.Flags, k.DNSKEY.Algorithm, k.DNSKEY.PublicKey)
	}
	return recipe(h.Sum(nil)), nil
}

// get returns signatures that are kept, being made, or made now.
func (o *Online) get(id recipe, rrs []dns.RR, signers []*keys.Key, now time.Time) ([]*dns.RRSIG, error) {
	o.mu.Lock()
	if sigs := o.cached(id, now); sigs != nil {
		o.mu.Unlock()
		return sigs, nil
	}
	if f, ok := o.flights[id]; ok {
		o.mu.Unlock()
		<-f.done
		return f.sigs, f.err
	}
	if !o.spend(signers, now) {
		o.mu.Unlock()
		return nil, ErrBudget
	}
	f := &flight{done: make(chan struct{}), err: errPanicked}
	o.flights[id] = f
	o.mu.Unlock()

	defer o.land(id, f, now) // also if a key panics
	f.sigs, f.err = keys.Sign(rrs, signers, now.Add(-backdate), now.Add(onlineValid))
	return f.sigs, f.err
}

var errPanicked = errors.New("signing at query time panicked")

// land ends a flight and keeps what it brought.
func (o *Online) land(id recipe, f *flight, now time.Time) {
	o.mu.Lock()
	delete(o.flights, id)
	if f.err == nil && o.capacity > 0 {
		o.keep(&entry{recipe: id, sigs: f.sigs, from: now.Add(-backdate), until: now.Add((onlineValid - backdate) / 2)})
	}
	o.mu.Unlock()
	close(f.done)
}

// keep adds e, in the place of the entry not used for longest if it is full.
func (o *Online) keep(e *entry) {
	if at, ok := o.entries[e.recipe]; ok {
		o.recent.Remove(at)
	}
	o.entries[e.recipe] = o.recent.PushFront(e)
	for o.recent.Len() > o.capacity {
		last := o.recent.Remove(o.recent.Back()).(*entry)
		delete(o.entries, last.recipe)
	}
}

// cached returns the signatures that are kept, if they may still be used.
func (o *Online) cached(id recipe, now time.Time) []*dns.RRSIG {
	at, ok := o.entries[id]
	if !ok {
		return nil
	}
	e := at.Value.(*entry)
	if now.Before(e.from) || !now.Before(e.until) {
		return nil
	}
	o.recent.MoveToFront(at)
	return e.sigs
}

// spend takes a signature by each of signers from the budget, and reports
// whether there was something left. What exceeds it is owed, so that a budget
// of one does for two keys.
func (o *Online) spend(signers []*keys.Key, now time.Time) bool {
	if passed := now.Sub(o.filled); passed > 0 {
		if !o.filled.IsZero() {
			o.tokens = min(o.rate, o.tokens+o.rate*passed.Seconds())
		}
		o.filled = now
	}
	if o.tokens < 1 {
		return false
	}
	for _, k := range signers {
		o.tokens -= cost(k.DNSKEY.Algorithm)
	}
	return true
}

func cost(algorithm uint8) float64 {
	switch algorithm {
	case dns.RSASHA1, dns.RSASHA1NSEC3SHA1, dns.RSASHA256, dns.RSASHA512:
		return rsaCost
	}
	return 1
}
