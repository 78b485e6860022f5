package merge

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Peer is what is known of one external nameserver's keys for one zone. It is
// kept on disk as it is.
type Peer struct {
	Host         string       // the nameserver's host name
	Announcement Announcement // the last one that was secure
	Collected    time.Time    // when that was
	Retiring     []Retiring   // data-signing keys that it no longer holds
}

// Retiring is a data-signing key that a peer no longer announces. It stays in
// the joint DNSKEY set while caches may hold data signed with it.
type Retiring struct {
	Key   Key
	Since time.Time // the first announcement that lacked it, of those without a silence between
	Until time.Time // the earliest that one which still lacks it removes it
}

// Collect returns p after a newer secure announcement a (rule M2), and what
// that changed. An RRset in a that was signed before the one in use, as far as
// [Announcement.Replayed] lets that pass, adds keys and removes none: it may come
// from a cache. A key that a does not hold leaves CDS and CDNSKEY at once. It
// leaves DNSKEY when an announcement at least maxZoneTTL and the announcement's
// TTL later still lacks it: that time ends the life of all that it signed, and
// of every cached announcement that holds it. Only an announcement removes a
// key, never the passing of time alone: a peer that cannot be heard may have
// taken the key up again, and after longer than gap since the last announcement
// it may have done so and dropped it just now, so that the wait starts anew. The
// inceptions that were accepted never go back: the same content signed earlier
// opens no door to a replay (rule F8). p itself is not changed.
func (p Peer) Collect(a Announcement, now time.Time, maxZoneTTL, gap time.Duration) (Peer, Change) {
	a = a.beside(p.Announcement)
	next := Peer{Host: p.Host, Announcement: a.sharing(p.Announcement), Collected: now}
	next.Announcement.Inception = a.Inception.latest(p.Announcement.Inception)
	wait := maxZoneTTL + max(p.Announcement.TTL, a.TTL)

	for _, r := range p.Retiring {
		if slices.Contains(a.DNSKEY, r.Key) {
			continue // it came back: the wait starts anew next time
		}
		if now.Sub(p.Collected) > gap {
			r.Since = now
		}
		if until := r.Since.Add(wait); until.After(r.Until) {
			r.Until = until
		}
		if now.Before(r.Until) {
			next.Retiring = append(next.Retiring, r)
		}
	}
	for _, k := range p.Announcement.DNSKEY {
		if !slices.Contains(a.DNSKEY, k) {
			next.Retiring = append(next.Retiring, Retiring{Key: k, Since: now, Until: now.Add(wait)})
		}
	}
	return next, difference(p, next)
}

// sharing returns a in the memory of known, as far as they say the same: what a
// fleet's peers announce hardly ever changes, and is collected again and again.
func (a Announcement) sharing(known Announcement) Announcement {
	if slices.Equal(a.DNSKEY, known.DNSKEY) {
		a.DNSKEY = known.DNSKEY
	}
	if slices.Equal(a.CDNSKEY, known.CDNSKEY) {
		a.CDNSKEY = known.CDNSKEY
	}
	if slices.Equal(a.CDS, known.CDS) {
		a.CDS = known.CDS
	}
	return a
}

// dnskeys returns the keys of p that belong into the joint DNSKEY set.
func (p Peer) dnskeys() []Key {
	ks := slices.Clone(p.Announcement.DNSKEY)
	for _, r := range p.Retiring {
		ks = append(ks, r.Key)
	}
	return sortKeys(ks)
}

// secureEntries returns what p announced as secure entries, by key tag and
// algorithm.
func (p Peer) secureEntries() []Ref {
	var refs []Ref
	for _, k := range p.Announcement.CDNSKEY {
		refs = append(refs, k.Ref())
	}
	for _, d := range p.Announcement.CDS {
		refs = append(refs, Ref{Tag: d.KeyTag, Algorithm: d.Algorithm})
	}
	return sortRefs(refs)
}

// Change is what an announcement changed in a peer's part of the joint sets.
type Change struct {
	DNSKEY      Delta // data-signing keys published for the peer
	SecureEntry Delta // keys that CDS and CDNSKEY name for the peer
}

// Delta lists keys that came and went.
type Delta struct {
	Added, Removed []Ref
}

// None reports whether nothing changed.
func (c Change) None() bool { return c.DNSKEY.none() && c.SecureEntry.none() }

func (d Delta) none() bool { return len(d.Added) == 0 && len(d.Removed) == 0 }

// String returns the change as one piece of a log line, with key tags:
// "DNSKEY +1/-0 (+12345), CDS +0/-1 (-4711)".
func (c Change) String() string {
	return "DNSKEY " + c.DNSKEY.String() + ", CDS " + c.SecureEntry.String()
}

// String returns the counts and the key tags of d.
func (d Delta) String() string {
	var tags []string
	for _, r := range d.Added {
		tags = append(tags, fmt.Sprintf("+%d", r.Tag))
	}
	for _, r := range d.Removed {
		tags = append(tags, fmt.Sprintf("-%d", r.Tag))
	}
	s := fmt.Sprintf("+%d/-%d", len(d.Added), len(d.Removed))
	if len(tags) > 0 {
		s += " (" + strings.Join(tags, " ") + ")"
	}
	return s
}

func difference(was, is Peer) Change {
	return Change{
		DNSKEY:      delta(refs(was.dnskeys()), refs(is.dnskeys())),
		SecureEntry: delta(was.secureEntries(), is.secureEntries()),
	}
}

func delta(was, is []Ref) Delta {
	var d Delta
	for _, r := range is {
		if !slices.Contains(was, r) {
			d.Added = append(d.Added, r)
		}
	}
	for _, r := range was {
		if !slices.Contains(is, r) {
			d.Removed = append(d.Removed, r)
		}
	}
	return d
}
