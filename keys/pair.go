package keys

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"
)

// pair is the two files of one key as they are watched.
type pair struct {
	base  string
	role  Role // as the operator says
	named bool // by the operator, not found in a directory
	index int  // in Watcher.pairs

	dir    *directory // where it was found, under name
	name   string
	listed int // directory.round when its .key was last there

	zone     string
	key      *Key      // the last that could be read, as handed out
	warnings []string  // of reading it
	seen     files     // the files key was read from
	found    files     // the files at the last look
	lost     time.Time // since when one of the files of seen is missing
	gone     time.Time // since when it is taken for removed
}

// files is what tells whether a key's files changed.
type files struct{ public, private stamp }

// stamp is zero for a file that is not there.
type stamp struct {
	there bool
	mode  fs.FileMode
	size  int64 // in octets
	time  int64 // of the last change, in nanoseconds since 1970
}

// statFiles returns the present state of a key's files.
func statFiles(base string) (f files, err error) {
	if f.public, err = statFile(base + publicExt); err != nil {
		return files{}, err
	}
	f.private, err = statFile(base + privateExt)
	return f, err
}

func statFile(name string) (stamp, error) {
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return stamp{}, nil
	}
	if err != nil {
		return stamp{}, fmt.Errorf("key file: %w", err)
	}
	return stamp{true, info.Mode(), info.Size(), info.ModTime().UnixNano()}, nil
}

// lacks reports whether a file of p that was there is not in f.
func (p *pair) lacks(f files) bool {
	return p.seen.public.there && !f.public.there || p.seen.private.there && !f.private.there
}

// step is what is to follow from a look at a pair's files.
type step uint8

const (
	unseen step = iota
	failed
	stay
	forget
	missed
	fresh // the files were read
)

// reading is what a look at a pair's files came to.
type reading struct {
	step     step
	files    files
	key      *Key
	warnings []string
	err      error
}

// examine looks at the files of p and reads them if they changed, and since another
// Watcher read them as former. It does not change p.
func (p *pair) examine(former *pair) (r reading) {
	if p.dir != nil && p.dir.unreadable {
		return r
	}
	f, err := statFiles(p.base)
	if err != nil {
		return reading{step: failed, err: err}
	}
	r.files, r.step = f, stay
	switch {
	case p.key == nil && !f.public.there && !p.named:
		r.step = forget
	case !p.gone.IsZero() && !f.public.there:
	case p.lacks(f):
		r.step = missed
	case p.key == nil, !p.lost.IsZero(), f != p.seen:
		r.step = fresh
		if former != nil && former.seen == f {
			k := *former.key
			r.key = &k
			break
		}
		r.key, r.warnings, r.err = Read(p.base)
	}
	return r
}

// take does what follows from a look at p.
func (s *scan) take(p *pair, r reading) {
	switch r.step {
	case unseen:
		return
	case stay:
		if p.gone.IsZero() {
			s.readable(p)
		}
	case failed:
		s.fail(p, r.err)
		return
	case forget:
		s.forget(p)
	case missed:
		s.miss(p)
	case fresh:
		s.read(p, r)
	}
	p.found = r.files
}

// miss takes note that p, which was read before, lacks a file now.
func (s *scan) miss(p *pair) {
	if p.lost.IsZero() {
		p.lost = s.now
		s.pending[p] = true
	}
	if s.pending[p] {
		s.touched[p.zone] = true
	}
}

// read takes over what is in the files of p, which are r.files or newer. Where
// that failed they are read again at each look.
func (s *scan) read(p *pair, r reading) {
	k, err := r.key, r.err
	if err == nil {
		err = s.checkZone(p, k)
	}
	if err != nil {
		s.fail(p, err)
		return
	}
	if k.Signer == nil && !p.gone.IsZero() && p.key.Role.SecureEntry() {
		return // the .key alone does not bring back what signs DNSKEY
	}
	s.readable(p)
	s.warn(k.Zone(), p, r.warnings)
	k.Role, k.Override = p.role, p.role != RoleUnknown
	p.key, p.seen, p.lost, p.gone = k, r.files, time.Time{}, time.Time{}
	delete(s.pending, p)
	s.join(p, k.Zone())
	s.touched[p.zone] = true
}

// readable takes note that the files of p are those of the key that is in use.
func (s *scan) readable(p *pair) {
	s.mended(p.zone, p.base, "the files of key %q can be read now", p.base)
}

// warn says which of the warnings of reading p are new, and which are no longer so.
func (s *scan) warn(zone string, p *pair, warnings []string) {
	for _, text := range warnings {
		if !slices.Contains(p.warnings, text) {
			s.notes = append(s.notes, Note{Zone: zone, Text: text})
		}
	}
	for _, text := range p.warnings {
		if !slices.Contains(warnings, text) {
			s.notes = append(s.notes, Note{Zone: zone, Text: "no longer so: " + text, Mended: true})
		}
	}
	p.warnings = warnings
}

// checkZone checks that the key in the files of p is of a zone that is wanted
// and of the zone that it was of before.
func (s *scan) checkZone(p *pair, k *Key) error {
	if p.zone != "" && p.zone != k.Zone() {
		return fmt.Errorf("key file %q holds a key of zone %q and no longer one of %q: put that back", p.base+publicExt, k.Zone(), p.zone)
	}
	if !s.wanted(k.Zone()) {
		return fmt.Errorf("key file %q holds a key of zone %q, which is not among the zones here: add the zone or leave the file out", p.base+publicExt, k.Zone())
	}
	return nil
}

// fail says that p cannot be read, and why.
func (s *scan) fail(p *pair, err error) {
	if p.named {
		s.errs = append(s.errs, err)
	}
	what := "the key is left out until the file can be read"
	if p.key != nil {
		what = "the key stays in use as it was"
	}
	s.note(p.zone, p.base, fmt.Sprintf("%v: %s", err, what))
}

// join puts p into the list of zone.
func (s *scan) join(p *pair, zone string) {
	z := s.zones[zone]
	if z == nil {
		z = s.zoneRoom.take(s.first)
		z.name, s.zones[zone] = zone, z
	}
	p.zone = z.name
	z.add(p)
}
