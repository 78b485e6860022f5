package validate

import (
	"sync"
	"time"
)

// zone is what is known of a zone: its keys, or why it has none to trust.
type zone struct {
	name     string
	keys     []key
	insecure *Error // nil: secure
	made     time.Time
	expires  time.Time
}

// holds says whether the zone is as it is known to be at now: until it expires,
// and not before it was made, as a clock that was wrong then may be right now.
func (z *zone) holds(now time.Time) bool {
	return z != nil && !now.Before(z.made) && now.Before(z.expires)
}

// zoneCache keeps zones until they expire, and lets concurrent look-ups share
// the work for one.
type zoneCache struct {
	max int

	mu      sync.Mutex
	zones   map[string]*zone
	flights map[string]*flight
}

// flight is the work for a zone in progress. When done closes, zone is set, or
// nil if the work failed.
type flight struct {
	done chan struct{}
	zone *zone
}

func newZoneCache(size int) *zoneCache {
	return &zoneCache{max: size, zones: make(map[string]*zone), flights: make(map[string]*flight)}
}

// get returns the zone if it is known at now, or else the flight to wait for;
// if there is none, it starts one, which the caller has to land.
func (c *zoneCache) get(name string, now time.Time) (z *zone, f *flight, leads bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if z := c.zones[name]; z.holds(now) {
		return z, nil, false
	}
	if f := c.flights[name]; f != nil {
		return nil, f, false
	}
	f = &flight{done: make(chan struct{})}
	c.flights[name] = f
	return nil, f, true
}

// land ends a flight; a zone that was found is kept.
func (c *zoneCache) land(name string, f *flight, now time.Time) {
	if f.zone != nil {
		c.put(f.zone, now)
	}
	c.mu.Lock()
	delete(c.flights, name)
	c.mu.Unlock()
	close(f.done)
}

// put keeps a zone until it expires.
func (c *zoneCache) put(z *zone, now time.Time) { c.putAs(z.name, z, now) }

// putAs keeps a zone by a name in it.
func (c *zoneCache) putAs(name string, z *zone, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.zones[name]; !ok && len(c.zones) >= c.max {
		c.evict(now)
	}
	c.zones[name] = z
}

// drop forgets the zone that is kept by that name.
func (c *zoneCache) drop(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.zones, name)
}

// known returns the zone that is kept by that name, or nil.
func (c *zoneCache) known(name string, now time.Time) *zone {
	c.mu.Lock()
	defer c.mu.Unlock()
	if z := c.zones[name]; z.holds(now) {
		return z
	}
	return nil
}

// evict makes room: what has expired goes, then any, an eighth at a time so
// that the scan is rare.
func (c *zoneCache) evict(now time.Time) {
	for name, z := range c.zones {
		if !z.holds(now) {
			delete(c.zones, name)
		}
	}
	for name := range c.zones {
		if len(c.zones) <= c.max-max(1, c.max/8) {
			return
		}
		delete(c.zones, name)
	}
}

// secure says whether the name is known to be a secure zone's.
func (c *zoneCache) secure(name string, now time.Time) bool {
	z := c.known(name, now)
	return z != nil && z.insecure == nil
}

// closest returns the longest of the name and its ancestors that is known to be a
// secure zone's, "" if none is.
func (c *zoneCache) closest(name string, now time.Time) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if z := c.zones[name]; z.holds(now) && z.insecure == nil {
			return name
		}
		if name == "." {
			return ""
		}
		name = parent(name)
	}
}
