package keys

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coredns-mske/mske/yield"
)

// Source says where the keys of some zones are.
type Source struct {
	Files []File
	Dirs  []string // every K<zone>+<alg>+<tag>.key in them
}

// File is a key that the operator names.
type File struct {
	Base string // path, with or without .key or .private
	Role Role   // RoleUnknown: as AssignRoles says
}

// maxLooks bounds the keys whose files one Scan looks at without a sign that
// they changed, at two system calls each. It matters for files that are
// overwritten in place, which leaves their directory's time alone: with more
// keys than that they are found in turn.
const maxLooks = 1024

// Note is something about key files that the operator has to know.
type Note struct {
	Zone string // empty if it is not about one zone that is known
	Text string

	Mended bool // the text says that something is right again
}

// Watcher reads the keys of a Source and, each time that Scan is called, what
// changed since (rule K4). It is safe for concurrent use.
type Watcher struct {
	mu      sync.Mutex
	source  Source
	looks   int // maxLooks, but in tests
	eager   int // eager, but in tests
	started bool
	halted  atomic.Bool
	dirs    []*directory
	pairs   []*pair
	turn    int            // index in pairs of the next to look at
	pending map[*pair]bool // have been missing a file for less than confirm
	zones   map[string]*zoneKeys
	said    map[string]string // what was noted last, by subject

	inherited map[string]*pair // of former watchers, by base, until the first Scan
}

// NewWatcher returns a Watcher that has read nothing yet.
func NewWatcher(source Source) *Watcher {
	w := &Watcher{source: source, looks: maxLooks, eager: eager}
	w.reset()
	return w
}

// Inherit spares w, which has read nothing yet, to read those keys that former,
// an earlier Watcher, has read and whose files have not changed since: a reload of
// a fleet need not read all its keys again.
func (w *Watcher) Inherit(former *Watcher) {
	former.mu.Lock()
	pairs := slices.Clone(former.pairs)
	former.mu.Unlock()

	w.mu.Lock()
	defer w.mu.Unlock()
	if w.inherited == nil {
		w.inherited = make(map[string]*pair, len(pairs))
	}
	for some := range slices.Chunk(pairs, inheritedAtOnce) {
		yield.ToQueries()
		w.inherit(former, some)
	}
}

// inheritedAtOnce is how many keys are inherited while the former Watcher waits.
const inheritedAtOnce = 100

func (w *Watcher) inherit(former *Watcher, pairs []*pair) {
	former.mu.Lock()
	defer former.mu.Unlock()
	for _, p := range pairs {
		if p.key != nil && p.lost.IsZero() && p.gone.IsZero() && len(p.warnings) == 0 {
			w.inherited[p.base] = &pair{key: p.key, seen: p.seen}
		}
	}
}

// reset makes w as if it had read nothing.
func (w *Watcher) reset() {
	w.dirs, w.pairs = nil, nil
	w.pending, w.zones, w.said = make(map[*pair]bool), make(map[string]*zoneKeys), make(map[string]string)
	for _, f := range w.source.Files {
		w.add(&pair{base: trimExt(f.Base), role: f.Role, named: true})
	}
	for _, path := range w.source.Dirs {
		w.dirs = append(w.dirs, &directory{path: path, pairs: make(map[string]*pair)})
	}
}

// Keys returns the keys of zone, a canonical name, with their roles, as the
// last Scan left them.
func (w *Watcher) Keys(zone string) []*Key {
	w.mu.Lock()
	defer w.mu.Unlock()
	if z := w.zones[zone]; z != nil {
		return slices.Clone(z.keys)
	}
	return nil
}

// eager is how many keys are read so quickly that nothing need wait for it.
const eager = 4000

// Prepare reports whether it takes a while until the first Scan has read
// everything. It returns what error that Scan would, as far as it can be told
// sooner: a directory cannot be read.
func (w *Watcher) Prepare(wanted func(zone string) bool) (slow bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.pairs) > 0 || w.inherited != nil { // whether named files can be read, only reading tells
		return false, nil
	}
	count, errs := 0, []error(nil)
	for _, d := range w.dirs {
		n, err := d.count(wanted, w.eager-count)
		count += n
		errs = append(errs, err)
	}
	return count > w.eager, errors.Join(errs...)
}

// Peek returns the keys in the directories of the zones for which wanted is true,
// and notes nothing: it is for a few zones, ahead of the first Scan. What cannot be
// read is left out.
func (w *Watcher) Peek(now time.Time, wanted func(zone string) bool) map[string][]*Key {
	found, _, err := NewWatcher(Source{Dirs: w.source.Dirs}).Scan(now, wanted)
	if err != nil {
		return nil // the first Scan says so
	}
	return found
}

// Halt makes a Scan that is running, and any later one, read no more files.
func (w *Watcher) Halt() { w.halted.Store(true) }

// Scan looks for changes in the key files of the zones, canonical names, for
// which wanted is true, and returns the new and complete list of keys of each
// zone whose list changed.
//
// The first call reads everything. It alone returns an error, for a named
// file or a directory that cannot be read, and may then be repeated. Later
// that is one Note, and another once it is right again; what was read last stays,
// as it does while a file is being written. A key whose file has been missing for a second while others
// of its zone remain is Gone. Where no private half of a zone remains, its
// list stays as it was.
func (w *Watcher) Scan(now time.Time, wanted func(zone string) bool) (changed map[string][]*Key, notes []Note, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &scan{Watcher: w, now: now, wanted: wanted, first: !w.started, due: make(map[*pair]bool), touched: make(map[string]bool)}
	for _, d := range w.dirs {
		s.list(d)
	}
	s.takeTurns()
	for p := range w.pending {
		s.due[p] = true
	}
	due := slices.Collect(maps.Keys(s.due))
	readings := s.examine(due)
	for i, p := range due {
		s.giveWay()
		s.take(p, readings[i])
	}
	if !w.started && len(s.errs) > 0 {
		w.reset()
		return nil, nil, errors.Join(s.errs...)
	}
	w.started, w.inherited = true, nil
	changed = make(map[string][]*Key)
	for zone := range s.touched {
		s.giveWay()
		if s.rebuild(zone) {
			changed[zone] = slices.Clone(w.zones[zone].keys)
		}
	}
	slices.SortFunc(s.notes, func(a, b Note) int { return cmp.Or(cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.Text, b.Text)) })
	return changed, s.notes, nil
}

// scan is one call of Scan.
type scan struct {
	*Watcher
	now     time.Time
	wanted  func(zone string) bool
	first   bool            // it reads everything
	due     map[*pair]bool  // to be looked at
	touched map[string]bool // zones whose list may have changed
	notes   []Note
	errs    []error // what makes the first Scan fail

	pairRoom pieces[pair]
	zoneRoom pieces[zoneKeys]
}

// pieces is room for values that are kept as long as most of the others: many of them
// in one piece, which the garbage collector likes better than each in its own.
type pieces[T any] []T

// take returns the next, which is zero: of a piece if there are to be many.
func (p *pieces[T]) take(many bool) *T {
	if !many {
		return new(T)
	}
	if len(*p) == 0 {
		*p = make([]T, piece)
	}
	next := &(*p)[0]
	*p = (*p)[1:]
	return next
}

// piece is how many values are in one. Of a few, not much room is left over.
const piece = 64

// giveWay lets queries go first while everything is read. A change is to be served
// soon.
func (s *scan) giveWay() {
	if s.first {
		yield.ToQueries()
	}
}

// note says text about subject unless that was what was said of it last.
func (s *scan) note(zone, subject, text string) {
	if s.said[subject] != text {
		s.said[subject] = text
		s.notes = append(s.notes, Note{Zone: zone, Text: text})
	}
}

// mended says that subject is right again if something was said of it: in format, with
// name.
func (s *scan) mended(zone, subject, format, name string) {
	if _, said := s.said[subject]; said {
		delete(s.said, subject)
		s.notes = append(s.notes, Note{Zone: zone, Text: fmt.Sprintf(format, name), Mended: true})
	}
}

// examine looks at the files of pairs, and reads those that changed. A fleet has
// so many that the first time takes all cores; later nobody waits for it.
func (s *scan) examine(pairs []*pair) []reading {
	readings := make([]reading, len(pairs))
	if s.started {
		for i, p := range pairs {
			if s.halted.Load() {
				break
			}
			readings[i] = p.examine(nil)
		}
		return readings
	}
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for worker := range workers {
		wg.Go(func() {
			for i := worker; i < len(pairs) && !s.halted.Load(); i += workers {
				yield.ToQueries()
				readings[i] = pairs[i].examine(s.inherited[pairs[i].base])
			}
		})
	}
	wg.Wait()
	return readings
}

// takeTurns makes some pairs due, so that every one is from time to time.
func (s *scan) takeTurns() {
	for range min(s.looks, len(s.pairs)) {
		s.turn %= len(s.pairs)
		s.due[s.pairs[s.turn]] = true
		s.turn++
	}
}

func (w *Watcher) add(p *pair) {
	p.index = len(w.pairs)
	w.pairs = append(w.pairs, p)
}

// forget drops a pair that is in no zone's list.
func (w *Watcher) forget(p *pair) {
	last := w.pairs[len(w.pairs)-1]
	w.pairs[p.index], last.index = last, p.index
	w.pairs = w.pairs[:len(w.pairs)-1]
	delete(w.pending, p)
	delete(w.said, p.base)
	if p.dir != nil {
		delete(p.dir.pairs, p.name)
	}
	p.key, p.warnings = nil, nil // the memory of p itself may be that of others as well
}
