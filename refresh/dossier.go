package refresh

import (
	"slices"
	"time"
	"unique"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/flat"
	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/yield"
)

const (
	// maxOpen is how many dossiers are left open. To most of a fleet's zones the
	// loop comes now and then only.
	maxOpen = 512

	// maxShut is how many more are shut than were opened between two things that
	// happen, so that the loop goes on soon.
	maxShut = 64
)

// dossier is what the loop has to know of a zone when it comes to it. What has to be
// told before, or of all zones at once, is not in it.
type dossier struct {
	facts facts

	shown     view      // what is published
	published time.Time // when what shown says of keys and NS was

	outside outside                 // what is seen of it from there
	roles   map[merge.Key]keys.Role // of our keys that are published
	began   time.Time               // when the engine did
	spoken  lifecycle.Phase         // the phase that was last said

	decideAt time.Time   // when time alone changes something
	signAt   time.Time   // when a signature is due
	local    merge.Local // our part of what is served
	notes    notes

	tidings [len(errandTypes)]string // what the parent is to be told of, see errands
	errands [len(errandTypes)]errand
}

// filed is a zone's dossier, open or shut.
type filed struct {
	open  *dossier
	shut  flat.Value[dossier] // if it is not open
	brief brief               // of what is shut
	desk  *desk

	signed bool // the signatures are those of the apex, and not in what is shut
}

// desk is where the open dossiers of an engine are.
type desk struct {
	limit  int
	zones  []*zone // by when they were opened
	opened int     // since it was cleared
	alone  bool    // the loop is, since it has begun: before, several may open dossiers at once
}

// brief is what is told of all zones at once.
type brief struct {
	looked    bool            // as in facts
	phase     lifecycle.Phase // no part of what is shut
	problems  []string
	collected time.Time // when an announcement was last
}

// open returns the dossier of z, to be read and changed until the loop has done what
// is due. Only the loop opens one, or who is about to start it: all are open then.
func (z *zone) open() *dossier {
	f := &z.filed
	if f.open != nil {
		return f.open
	}
	d := new(dossier)
	if f.shut.Any() {
		d = f.shut.Get()
		if f.signed {
			d.facts.state.Signatures = z.apex.Signatures()
		}
	}
	// Not before: after a panic the zone is not to be taken for one without keys.
	f.open, f.shut, f.brief = d, flat.Value[dossier]{}, brief{}
	if f.desk != nil {
		f.desk.zones = append(f.desk.zones, z)
		f.desk.opened++
	}
	return f.open
}

// shut takes the dossier of z off the desk.
func (z *zone) shut() {
	f, d := &z.filed, *z.open()
	f.brief = z.summary()
	s := &d.facts.state
	if f.signed = z.apex != nil && slices.Equal(s.Signatures, z.apex.Signatures()); f.signed {
		s.Signatures = nil
	}
	for _, c := range z.fetching {
		c.known = peer(s.Peers, c.host) >= 0
	}
	f.shut, f.open = flat.Of(&d), nil
}

// summary returns the brief of z.
func (z *zone) summary() brief {
	if z.filed.open == nil {
		return z.filed.brief
	}
	d := z.open()
	b := brief{looked: z.looked(), phase: unique.Make(z.phase()).Value(), problems: z.problems()}
	for _, p := range d.facts.state.Peers {
		b.collected = latest(b.collected, p.Collected)
	}
	return b
}

// stale returns how many known announcements could not be collected anew.
func (z *zone) stale() (n int) {
	for _, c := range z.fetching {
		known := c.known
		if d := z.filed.open; d != nil {
			known = peer(d.facts.state.Peers, c.host) >= 0
		}
		if known && !c.ended.IsZero() && c.verdict != fetch.Secure {
			n++
		}
	}
	return n
}

// looked reports whether z was seen since the start.
func (z *zone) looked() bool {
	if z.filed.open == nil {
		return z.filed.brief.looked
	}
	return z.filed.open.facts.looked
}

// put has the desk take care of the dossiers of all zones, which are open.
func (d *desk) put(zones []*zone) {
	for _, z := range zones {
		z.open()
		z.filed.desk = d
	}
	d.zones = append(d.zones, zones...)
}

// clearDesk shuts what has been open for longest, as far as it is too much.
func (e *Engine) clearDesk() {
	d := &e.desk
	if !d.alone {
		return
	}
	most := maxShut + d.opened
	d.opened = 0
	for range min(len(d.zones)-d.limit, most) {
		z := d.zones[0]
		d.zones[0] = nil
		d.zones = d.zones[1:]
		if !z.decided { // it is about to be opened
			d.zones = append(d.zones, z)
			continue
		}
		yield.ToQueries()
		e.protect(z, z.shut)
	}
}
