package keys

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
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
	listed int // directory.count when its .key was last there

	zone  string
	key   *Key      // the last that could be read, as handed out
	seen  files     // the files key was read from
	found files     // the files at the last look
	lost  time.Time // since when one of the files of seen is missing
	gone  time.Time // since when it is taken for removed
}

// files is what tells whether a key's files changed.
type files struct{ public, private stamp }

// stamp is zero for a file that is not there.
type stamp struct {
	there bool
	size  int64
	mode  fs.FileMode
	time  time.Time
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
	return stamp{true, info.Size(), info.Mode(), info.ModTime().UTC()}, nil
}

// lacks reports whether a file of p that was there is not in f.
func (p *pair) lacks(f files) bool {
	return p.seen.public.there && !f.public.there || p.seen.private.there && !f.private.there
}

// look looks at the files of p and reads them if they changed.
func (s *scan) look(p *pair) {
	if p.dir != nil && p.dir.unreadable {
		return
	}
	f, err := statFiles(p.base)
	if err != nil {
		s.fail(p, err)
		return
	}
	p.found = f
	switch {
	case p.key == nil && !f.public.there && !p.named:
		s.forget(p)
	case !p.gone.IsZero() && !f.public.there:
	case p.lacks(f):
		s.miss(p)
	case p.key == nil, !p.lost.IsZero(), f != p.seen:
		s.read(p, f)
	}
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

// read reads the files of p, which are f or newer. Where that fails they are
// read again at each look.
func (s *scan) read(p *pair, f files) {
	k, warnings, err := Read(p.base)
	if err == nil {
		err = s.checkZone(p, k)
	}
	if err != nil {
		s.fail(p, err)
		return
	}
	delete(s.said, p.base)
	for _, text := range warnings {
		s.note(k.Zone(), p.base, text)
	}
	if k.Signer == nil && !p.gone.IsZero() && p.key.Role.SecureEntry() {
		return // the .key alone does not bring back what signs DNSKEY
	}
	k.Role, k.Override = p.role, p.role != RoleUnknown
	p.key, p.seen, p.lost, p.gone = k, f, time.Time{}, time.Time{}
	delete(s.pending, p)
	s.join(p, k.Zone())
	s.touched[p.zone] = true
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
	p.zone = zone
	z := s.zones[zone]
	if z == nil {
		z = new(zoneKeys)
		s.zones[zone] = z
	}
	z.add(p)
}
