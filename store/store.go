// Package store keeps what must survive the process: for each zone the peers'
// announcements, the marks and deadlines of keys, and what was last served,
// with our signatures (rule T1). It is one bbolt file.
//
// A crash at any moment loses nothing that [Lease.Put] acknowledged. A file
// that is damaged, of another version or not ours is an error and is left as
// it is: starting empty would take the peers' keys out of the served sets.
//
// # Limitations
//
// Zones that are no longer configured stay in the file, so that one that comes
// back is known. The file does not shrink.
package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	bolt "go.etcd.io/bbolt"
)

// ErrRevoked says that a newer instance of the same process holds the store.
var ErrRevoked = errors.New("the state file now belongs to a newer configuration of this server")

// handles are the open files of the process. Two configurations overlap while
// the server reloads, and bbolt would wait for itself if a file were opened
// twice.
var (
	handlesMu sync.Mutex
	handles   []*handle
	checked   []verified // by Check, and not opened since
)

// verified is a file that was verified, and what it held. Reading all of a fleet
// takes a while, and a server does it when it reads its configuration and when it
// starts: what is still as it was is not read again.
type verified struct {
	info  os.FileInfo
	zones map[string]*Zone
}

// handle is an open file and the lease that may write to it.
type handle struct {
	path string
	file *file
	refs int // leases not yet released; protected by handlesMu

	mu     sync.Mutex // held while writing and while the holder changes
	holder *Lease
}

// A Lease is the right to write to the store. The newest lease has it: leases
// of earlier configurations are revoked and can only be released.
type Lease struct {
	h       *handle
	revoked chan struct{}
	release sync.Once
}

// Acquire opens the state file at path, creating it with mode 0600 if it is
// not there, and takes it over from whichever lease of this process holds it.
// When it returns, a write of the former holder has ended and none will follow.
// It fails if another process has the file open, or if the file is not one
// that can be relied on; the former holder goes on then.
func Acquire(path string) (*Lease, error) {
	handlesMu.Lock()
	defer handlesMu.Unlock()

	path, err := canonical(path)
	if err != nil {
		return nil, err
	}
	h := find(path)
	if h == nil {
		f, err := openOrCreate(path)
		if err != nil {
			return nil, err
		}
		h = &handle{path: path, file: f}
		handles = append(handles, h)
	} else if err := h.check(); err != nil {
		return nil, err
	}
	h.refs++
	l := &Lease{h: h, revoked: make(chan struct{})}
	h.pass(l)
	return l, nil
}

// Check reports why the state file at path could not be used, if it exists. It
// creates and changes nothing, and is meant for the time when a configuration
// is read.
func Check(path string) error {
	handlesMu.Lock()
	defer handlesMu.Unlock()

	path, err := canonical(path)
	if err != nil {
		return err
	}
	if h := find(path); h != nil {
		return h.check()
	}
	before, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return checkDirectory(path)
	}
	if err != nil {
		return fmt.Errorf("state file %q: %w", path, err)
	}
	zones := takeVerified(before) // several stanzas may have one file
	if zones == nil {
		if zones, err = check(path); err != nil {
			return err
		}
	}
	checked = append(checked, verified{before, zones})
	return nil
}

// takeVerified returns what Check found in a file, nil if it did not look at it or
// the file has changed since. It is forgotten then.
func takeVerified(info os.FileInfo) map[string]*Zone {
	i := slices.IndexFunc(checked, func(c verified) bool { return os.SameFile(c.info, info) })
	if i < 0 {
		return nil
	}
	c := checked[i]
	checked = slices.Delete(checked, i, i+1)
	if c.info.Size() != info.Size() || !c.info.ModTime().Equal(info.ModTime()) {
		return nil
	}
	return c.zones
}

// Done returns a channel that is closed when the lease is revoked.
func (l *Lease) Done() <-chan struct{} { return l.revoked }

// Zones returns every zone's state by its key (see [Key]). A record that
// cannot be relied on is an error that names its key.
func (l *Lease) Zones() (map[string]*Zone, error) {
	zones, err := l.h.file.zones()
	if err != nil {
		return nil, fmt.Errorf("state file %q: %w", l.h.path, err)
	}
	return zones, nil
}

// Put writes the states of zones, by key, all of them or none. They are on disk
// when it returns nil. What is on disk already is not written again. It fails
// with [ErrRevoked] once a newer lease exists; after any other error (a full
// disk, say) nothing has changed and the call may be repeated.
func (l *Lease) Put(zones map[string]Zone) error {
	records, err := encodeAll(zones)
	if err != nil {
		return fmt.Errorf("state file %q: %w", l.h.path, err)
	}
	return l.write(func(f *file) error { return f.put(records) })
}

// write writes to the file, if l has the right to.
func (l *Lease) write(do func(*file) error) error {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	if l.h.holder != l {
		return ErrRevoked
	}
	if err := do(l.h.file); err != nil {
		return fmt.Errorf("state file %q: %w", l.h.path, err)
	}
	return nil
}

// Release gives the lease back, and closes the file with the last one. It may
// be called more than once.
func (l *Lease) Release() error {
	var err error
	l.release.Do(func() { err = l.h.drop(l) })
	return err
}

// check reports whether the file, which was verified when it was opened, was overwritten
// since.
func (h *handle) check() error {
	if err := h.file.view(func(*bolt.Tx) error { return nil }); err != nil {
		return fmt.Errorf("state file %q: %w", h.path, err)
	}
	return nil
}

// pass makes l the holder. It waits for a write in progress.
func (h *handle) pass(l *Lease) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.holder != nil {
		close(h.holder.revoked)
	}
	h.holder = l
}

func (h *handle) drop(l *Lease) error {
	handlesMu.Lock()
	defer handlesMu.Unlock()

	h.mu.Lock()
	if h.holder == l {
		h.holder = nil
	}
	h.mu.Unlock()

	if h.refs--; h.refs > 0 {
		return nil
	}
	for i, other := range handles {
		if other == h {
			handles = append(handles[:i], handles[i+1:]...)
			break
		}
	}
	return h.file.close()
}

// find returns the open handle of the file at path, by whatever name it was
// opened.
func find(path string) *handle {
	info, err := os.Stat(path)
	for _, h := range handles {
		if h.path == path || err == nil && h.file.is(info) {
			return h
		}
	}
	return nil
}

// canonical returns path absolute and without symbolic links, of which the
// last part need not exist.
func canonical(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("state file %q: %w", path, err)
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		return real, nil
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return "", fmt.Errorf("state file %q: its directory: %w", abs, err)
	}
	return filepath.Join(dir, filepath.Base(abs)), nil
}
