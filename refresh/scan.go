package refresh

import (
	"context"
	"time"

	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/yield"
)

const (
	// minScan is the time between two looks at the key files. A directory that
	// has not changed costs no more than that look.
	minScan = 500 * time.Millisecond

	// scanShare is how many times as long as the last look it is at least:
	// listing the files of a fleet takes a while, each time that one changes.
	scanShare = 2
)

// scan is the watching of one stanza's key files.
type scan struct {
	watcher *keys.Watcher
	zones   map[string][]*zone // those whose keys it has, by name
	running bool
}

// wanted reports whether the keys of a zone are of interest.
func (s *scan) wanted(zone string) bool { return len(s.zones[zone]) > 0 }

// scanAtStart reads all keys.
func (e *Engine) scanAtStart() error {
	for _, s := range e.scans {
		changed, notes, err := s.watcher.Scan(time.Now(), s.wanted)
		if err != nil {
			return err
		}
		e.scanned(s, changed, notes)
	}
	return nil
}

// scanLater reads all keys while what was served last is served already. A
// directory that cannot be read now could be when that began: its zones go on as
// they are, and it is tried again like one that is lost later (rule K4). It returns
// false if the engine has to end.
func (e *Engine) scanLater() bool {
	for _, s := range e.scans {
		e.guard(nil, func() {
			changed, notes, err := s.watcher.Scan(time.Now(), s.wanted)
			if err != nil {
				e.config.Log.Errorf("Reading key files: %v", err)
			}
			e.scanned(s, changed, notes)
		})
	}
	select {
	case <-e.leases.revoked:
		e.release()
		return false
	default:
		return e.ctx.Err() == nil
	}
}

// scan looks for changes of the key files.
func (e *Engine) scan() {
	for _, s := range e.scans {
		if s.running {
			continue
		}
		s.running = true
		e.submit(&e.loop.scans, task{
			run: func(context.Context) func() {
				began := time.Now()
				changed, notes, err := s.watcher.Scan(began, s.wanted)
				took := time.Since(began)
				return func() {
					s.running = false
					e.loop.scanAt = latest(e.loop.scanAt, e.loop.now.Add(scanShare*took))
					if err != nil {
						e.config.Log.Errorf("Reading key files: %v", err)
					}
					e.scanned(s, changed, notes)
				}
			},
			fail: func() { s.running = false },
		})
	}
}

// scanned takes over the new lists of keys.
func (e *Engine) scanned(s *scan, changed map[string][]*keys.Key, notes []keys.Note) {
	for _, n := range notes {
		write := e.config.Log.Warningf
		if n.Mended {
			write = e.config.Log.Infof
		}
		if n.Zone == "" {
			write("%s", n.Text)
		} else {
			write("Zone %q: %s", n.Zone, n.Text)
		}
	}
	for name, ks := range changed {
		if len(changed) > fewZones {
			yield.ToQueries()
		}
		for _, z := range s.zones[name] {
			z.open().facts.files = ks
			e.loop.dirty[z] = true
		}
	}
}
