package refresh

import (
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// Who puts key files right finds in the log that they were taken.
func TestKeyFilesThatAreMendedAreSaidToBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		file := w.zsk.Base + ".key"
		good, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		const named, found = "WARNING Zone \"" + zoneName + "\": key file", "INFO Zone \"" + zoneName + "\": the files of key"
		for _, step := range []struct {
			do             func() error
			warned, mended int // lines by then
			warning        string
			mending        string
		}{
			{func() error { return os.WriteFile(file, []byte("garbage\n"), 0o600) }, 1, 0, named, found},
			{func() error { return os.WriteFile(file, good, 0o600) }, 1, 1, named, found},
			{func() error { return os.Rename(w.dir, w.dir+".away") }, 1, 0, "WARNING key directory", "INFO key directory"},
			{func() error { return os.Rename(w.dir+".away", w.dir) }, 1, 1, "WARNING key directory", "INFO key directory"},
		} {
			if err := step.do(); err != nil {
				t.Fatal(err)
			}
			w.pass(time.Minute)
			if warned, mended := w.log.count(step.warning), w.log.count(step.mending); warned != step.warned || mended != step.mended {
				t.Errorf("Expected %d lines with %q and %d with %q, got %d and %d", step.warned, step.warning, step.mended, step.mending, warned, mended)
			}
		}
	})
}
