package keys

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// coarse is how old a directory's time has to be for nothing to happen in it
// without changing that time: file systems keep it with a precision of up to
// two seconds.
const coarse = 2 * time.Second

// chunk is how many names of a directory are read at a time.
const chunk = 4096

// directory is one that is watched for key files.
type directory struct {
	path       string
	listed     time.Time // its time when it was listed; zero: list it again
	round      int       // how often it has been
	unreadable bool      // its pairs are not looked at
	pairs      map[string]*pair
}

// list makes those pairs due that came to or went from d, if d changed.
func (s *scan) list(d *directory) {
	names, err := s.open(d)
	if d.unreadable = err != nil; d.unreadable {
		s.errs = append(s.errs, err)
		if s.started {
			s.note("", d.path, fmt.Sprintf("%v: its keys stay in use as they were", err))
		}
		return
	}
	s.mended("", d.path, "key directory %q can be read again", d.path)
	if names == nil {
		return
	}
	defer names.Close()
	d.round++
	for {
		some, err := names.Readdirnames(chunk)
		for _, name := range some {
			s.giveWay()
			s.entry(d, name)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			d.listed = time.Time{} // the rest next time
			return
		}
	}
	for _, p := range d.pairs {
		if p.listed != d.round {
			s.due[p] = true
		}
	}
}

// count returns how many keys of zones that are wanted are in d. It stops once
// there are more than enough.
func (d *directory) count(wanted func(zone string) bool, enough int) (n int, err error) {
	names, err := os.Open(d.path)
	if err != nil {
		return 0, fmt.Errorf("key directory: %w", err)
	}
	defer names.Close()
	for n <= enough {
		some, err := names.Readdirnames(chunk)
		for _, name := range some {
			if base, ok := strings.CutSuffix(name, publicExt); ok {
				if id, ok := parseBase(base); ok && wanted(id.zone) {
					n++
				}
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, fmt.Errorf("key directory: %w", err)
		}
	}
	return n, nil
}

// open returns d to be listed, or nil if it has not changed since it was.
func (s *scan) open(d *directory) (*os.File, error) {
	info, err := os.Stat(d.path)
	if err != nil {
		return nil, fmt.Errorf("key directory: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("key directory %q is not a directory", d.path)
	}
	if !d.listed.IsZero() && info.ModTime().Equal(d.listed) {
		return nil, nil
	}
	f, err := os.Open(d.path)
	if err != nil {
		return nil, fmt.Errorf("key directory: %w", err)
	}
	d.listed = info.ModTime()
	if s.now.Sub(d.listed) < coarse {
		d.listed = time.Time{}
	}
	return f, nil
}

// entry takes note of one name in d.
func (s *scan) entry(d *directory, name string) {
	ext := filepath.Ext(name)
	if ext != publicExt && ext != privateExt {
		return
	}
	base := name[:len(name)-len(ext)]
	p := d.pairs[base]
	if p == nil {
		id, ok := parseBase(base)
		if ext == privateExt || !ok || !s.wanted(id.zone) {
			return
		}
		path := filepath.Join(d.path, base)
		p = s.pairRoom.take(s.first)
		*p = pair{base: path, zone: id.zone, dir: d, name: path[len(path)-len(base):]} // one string, not two
		d.pairs[p.name] = p
		s.add(p)
	}
	if ext == publicExt {
		p.listed = d.round
	}
	if p.key == nil || !p.lost.IsZero() || !p.gone.IsZero() || ext == privateExt && p.key.Signer == nil {
		s.due[p] = true
	}
}
