package refresh

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coredns-mske/mske/merge"
)

// keyset is a set of keys of a model, by their numbers.
type keyset [4]uint64

func (s keyset) with(n int) keyset {
	s[n/64] |= 1 << (n % 64)
	return s
}

func (s keyset) and(t keyset) keyset {
	for i := range s {
		s[i] &= t[i]
	}
	return s
}

func (s keyset) empty() bool { return s == keyset{} }

// rrset is the kind of what a cache may hold.
type rrset uint8

const (
	cachedNS     rrset = iota // whom resolvers ask; it need not validate
	cachedDS                  // of the parent
	cachedDNSKEY              // of one host, as is what follows
	cachedData                // the zone's data
	cachedApex                // CDS and CDNSKEY
	cachedDenial              // corrected denials of these
	kindsOfRRset
)

var rrsetNames = [...]string{"NS", "DS", "DNSKEY", "data", "CDS", "denial"}

// version is one RRset as it was served for a while, and as caches hold it.
type version struct {
	kind   rrset
	host   string // "" is the parent
	absent bool   // DS that is provably not there
	keys   keyset // in it, or named by it
	sigs   keyset // that signed it
	names  string // of NS, separated by spaces
	ttl    time.Duration

	since time.Time
	until time.Time // when the last cache forgets it, as far as it was fetched by now
	ended bool      // it is served no more
	live  bool      // some cache may have it, as of the last check
}

func (v *version) same(w version) bool {
	return v.kind == w.kind && v.host == w.host && v.absent == w.absent && v.keys == w.keys && v.sigs == w.sigs && v.names == w.names && v.ttl == w.ttl
}

// caches are all caches of the world at once: at any time, one of them may hold
// each RRset that any nameserver which resolvers are sent to has served within its
// TTL. That is exact: what was served is kept by intervals, not by samples.
type caches struct {
	now     time.Time
	all     []*version
	current map[string]map[rrset]*version // by host
	reach   map[string]time.Time          // until when resolvers may ask a host

	algorithms map[uint8]keyset // the keys of each algorithm
	strict     bool             // some resolvers want every algorithm in DS to sign
	named      func(keyset) string
	changed    bool
	checked    int
}

func newCaches() *caches {
	return &caches{now: modelEpoch, current: make(map[string]map[rrset]*version), reach: make(map[string]time.Time), algorithms: make(map[uint8]keyset)}
}

// pass lets time pass until now, in which everything stays as it is.
func (c *caches) pass(now time.Time) {
	c.now = now
	c.spread()
	for _, v := range c.all {
		if v.ended {
			continue
		}
		last := now
		if v.host != "" {
			last = earlier(now, c.reach[v.host])
		}
		if !last.Before(v.since) {
			v.until = latest(v.until, last.Add(v.ttl))
		}
	}
	c.all = slices.DeleteFunc(c.all, func(v *version) bool { return v.ended && !v.until.After(now) })
}

// spread finds out whom resolvers may ask, by the NS RRsets of the parent and of
// those that they may ask.
func (c *caches) spread() {
	for again := true; again; {
		again = false
		for host, sets := range c.current {
			v := sets[cachedNS]
			if v == nil {
				continue
			}
			last := c.now
			if host != "" {
				last = earlier(last, c.reach[host])
			}
			if last.Before(v.since) {
				continue
			}
			for _, name := range strings.Fields(v.names) {
				if until := last.Add(v.ttl); until.After(c.reach[name]) {
					c.reach[name], again, c.changed = until, true, true
				}
			}
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// serve lets a host serve v from now on, or with nil nothing of that kind.
func (c *caches) serve(host string, kind rrset, v *version) {
	if c.current[host] == nil {
		c.current[host] = make(map[rrset]*version)
	}
	was := c.current[host][kind]
	if was != nil {
		if v != nil && was.same(*v) {
			return
		}
		was.ended = true
	} else if v == nil {
		return
	}
	c.changed = true
	c.current[host][kind] = v
	if v != nil {
		v.since = c.now
		c.all = append(c.all, v)
	}
}

// check returns what would be bogus now, for a resolver with the worst of
// caches.
func (c *caches) check() error {
	if !c.changed {
		return nil
	}
	c.changed = false
	c.spread()
	var sets [kindsOfRRset][]*version
	for _, v := range c.all {
		if v.until.After(c.now) || !v.ended && (v.host == "" || c.reach[v.host].After(c.now)) {
			sets[v.kind] = append(sets[v.kind], v)
		} else {
			v.live = false
		}
	}
	defer func() {
		for _, vs := range sets {
			for _, v := range vs {
				v.live = true
			}
		}
	}()
	for _, ds := range sets[cachedDS] {
		if ds.absent {
			continue
		}
		for _, keys := range sets[cachedDNSKEY] {
			fresh := !ds.live || !keys.live
			if fresh && !c.validates(ds, ds.keys.and(keys.keys), keys) {
				return fmt.Errorf("bogus: %s\n  with the %s", c.describe(keys), c.describe(ds))
			}
			for _, data := range slices.Concat(sets[cachedData], sets[cachedApex], sets[cachedDenial]) {
				if (fresh || !data.live) && !c.validates(ds, keys.keys, data) {
					return fmt.Errorf("bogus: %s\n  with the %s\n  and the %s", c.describe(data), c.describe(keys), c.describe(ds))
				}
			}
		}
	}
	return nil
}

// validates reports whether v verifies with one of keys, for the strict with one
// of each algorithm in DS (RFC 4035 section 2.2, RFC 6840 section 5.11).
func (c *caches) validates(ds *version, keys keyset, v *version) bool {
	c.checked++
	good := v.sigs.and(keys)
	if good.empty() || !c.strict {
		return !good.empty()
	}
	for _, of := range c.algorithms {
		if !ds.keys.and(of).empty() && good.and(of).empty() {
			return false
		}
	}
	return true
}

func (c *caches) describe(v *version) string {
	host := v.host
	if host == "" {
		host = "the parent"
	}
	held := "served now"
	if v.ended {
		held = "cached until " + stampOf(v.until)
	}
	text := fmt.Sprintf("%s of %s since %s, TTL %v, %s", rrsetNames[v.kind], host, stampOf(v.since), v.ttl, held)
	if !v.keys.empty() {
		text += ", keys " + c.named(v.keys)
	}
	if !v.sigs.empty() {
		text += ", signed by " + c.named(v.sigs)
	}
	return text
}

var modelEpoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// stampOf returns how long after its beginning something happens in a model.
func stampOf(t time.Time) string { return t.Sub(modelEpoch).Round(time.Second).String() }

// keysIn returns ks as a set.
func (m *model) keysIn(ks []merge.Key) (s keyset) {
	for _, k := range ks {
		s = s.with(m.number(k))
	}
	return s
}
