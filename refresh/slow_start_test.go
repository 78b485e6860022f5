package refresh

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/keys"
)

// manyKeys is more key files than a start waits for.
const manyKeys = 5000

// crowd puts so many key files beside those of the world that reading them all is
// left for later. None of them can be read.
func (w *world) crowd() {
	w.t.Helper()
	for tag := range manyKeys {
		name := filepath.Join(w.dir, fmt.Sprintf("K%s+013+%05d.key", zoneName, tag))
		f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if os.IsExist(err) {
			continue
		}
		if err != nil {
			w.t.Fatal(err)
		}
		f.Close()
	}
}

func TestManyKeysAreReadWhileStoredSignaturesAreServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withSignaling()
		w.start()
		p := w.join()
		w.pass(3 * time.Second)
		served := text(w.apex())

		n := w.crash()
		n.crowd()
		n.startOnly()
		n.out.mu.Lock()
		first := n.out.history[0]
		n.out.mu.Unlock()
		if got := text(first); got != served || len(first.Data) > 0 {
			t.Errorf("Expected first what was served last, by no key:\n%s\ngot, by %d keys:\n%s", served, len(first.Data), got)
		}
		n.pass(2 * time.Second)
		n.expectKeys(with(n.ksk, n.zsk.ID(), p.zsk), with(n.ksk, p.ksk))
		if a := n.apex(); text(a) != served || len(a.Data) != 1 {
			t.Errorf("Expected the same, and a key to sign denials with, got %d:\n%s", len(a.Data), text(a))
		}
		n.expectAnnounced(dns.TypeDNSKEY, n.zsk.ID())
	})
}

func TestManyKeysThatCannotBeReachedAreAnErrorAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.crowd()
		c := w.config()
		w.zone.Keys = keys.NewWatcher(keys.Source{Dirs: []string{w.dir}, Files: []keys.File{{Base: filepath.Join(t.TempDir(), "Kexample.co.uk.+013+00001")}}})
		if err := New(c).Start(); err == nil {
			t.Error("Expected a named key that is not there to be an error")
		}
		w.zone.Keys = keys.NewWatcher(keys.Source{Dirs: []string{w.dir, filepath.Join(w.dir, "none")}})
		if err := New(c).Start(); err == nil {
			t.Error("Expected a directory that is not there to be an error")
		}
	})
}
