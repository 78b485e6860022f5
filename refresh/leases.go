package refresh

import (
	"errors"
	"fmt"
	"sync"

	"github.com/coredns-mske/mske/store"
	"github.com/coredns-mske/mske/yield"
)

// leases are the right to write to the state files of an engine's zones. Most
// configurations have one file.
type leases struct {
	paths   []string // in the order of their zones
	byPath  map[string]*store.Lease
	revoked chan struct{} // closed when one of them is revoked
	once    sync.Once
}

// record is a stored state and the path of the file that holds it.
type record struct {
	*store.Zone
	path string
}

// acquireLeases takes over the state files of zones, and returns what they
// hold, by the zones' keys. An error leaves none taken.
func acquireLeases(zones []*Zone) (*leases, map[string]record, error) {
	l := &leases{byPath: make(map[string]*store.Lease), revoked: make(chan struct{})}
	for _, z := range zones {
		if l.byPath[z.Store] != nil {
			continue
		}
		lease, err := store.Acquire(z.Store)
		if err != nil {
			return nil, nil, errors.Join(err, l.release())
		}
		l.byPath[z.Store] = lease
		l.paths = append(l.paths, z.Store)
	}
	stored, err := l.zones()
	if err != nil {
		return nil, nil, errors.Join(err, l.release())
	}
	return l, stored, nil
}

// zones returns the states of all zones in all files. Where two files know a
// zone, as when it has moved, the newer state counts.
func (l *leases) zones() (map[string]record, error) {
	all := make(map[string]record)
	for _, path := range l.paths {
		select {
		case <-l.byPath[path].Done():
			return nil, fmt.Errorf("state file %q is the same as another one, by another name: use one name for it", path)
		default:
		}
		zones, err := l.byPath[path].Zones()
		if err != nil {
			return nil, fmt.Errorf("reading the state of the zones: %w", err)
		}
		for key, z := range zones {
			yield.ToQueries()
			if known, ok := all[key]; !ok || z.Saved.After(known.Saved) {
				all[key] = record{z, path}
			}
		}
	}
	return all, nil
}

// held reports whether none of the files was taken over.
func (l *leases) held() bool {
	for _, lease := range l.byPath {
		select {
		case <-lease.Done():
			return false
		default:
		}
	}
	return true
}

// watch closes revoked once a newer engine takes one of the files over. It
// returns when that happens, or when done is closed.
func (l *leases) watch(path string, done <-chan struct{}) {
	select {
	case <-l.byPath[path].Done():
		l.once.Do(func() { close(l.revoked) })
	case <-done:
	}
}

// release gives the files back. Writes after that fail.
func (l *leases) release() error {
	var errs []error
	for _, path := range l.paths {
		errs = append(errs, l.byPath[path].Release())
	}
	return errors.Join(errs...)
}
