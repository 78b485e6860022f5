package lifecycle

import "time"

// Held is for how long caches may hold what is said of an RRset: the longest TTL
// in force. A TTL that was lowered counts until what was answered with it has
// expired.
type Held struct {
	TTL   time.Duration `json:",omitzero"` // at the last reading
	Until time.Time     `json:",omitzero"` // what was answered with a longer TTL has expired by then
}

// read returns h after a reading at now that found a TTL. What was read before
// may have been answered until now.
func (h Held) read(now time.Time, ttl time.Duration) Held {
	if ttl < h.TTL {
		h.Until = latest(h.Until, now.Add(h.TTL))
	}
	h.TTL = ttl
	return h
}

// enter returns h after a reading at now that found something with a TTL in an RRset
// that was last read with the TTL former. If it was not in there then, it may have
// come in before the TTL was lowered.
func (h Held) enter(now time.Time, former, ttl time.Duration) Held {
	if h.TTL == 0 {
		h = h.read(now, former)
	}
	return h.read(now, ttl)
}

// After returns from when no cache holds what was last answered at a time not
// earlier than the last reading.
func (h Held) After(last time.Time) time.Time {
	return latest(h.Until, last.Add(h.TTL))
}
