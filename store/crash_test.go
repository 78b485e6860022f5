package store

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// helperEnv makes the test binary act as another process on the file it names.
const helperEnv = "MSKE_STORE_TEST_FILE"

func TestMain(m *testing.M) {
	if path := os.Getenv(helperEnv); path != "" {
		writeForever(path)
	}
	os.Exit(m.Run())
}

// writeForever writes one generation of zones after the other and prints the
// number of each when it is acknowledged.
func writeForever(path string) {
	l, err := Acquire(path)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for n := 1; ; n++ {
		if err := l.Put(testZones(30, n)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(n)
	}
}

// startHelper starts the other process and returns it with its output.
func startHelper(t *testing.T, path string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd, bufio.NewScanner(out)
}

func TestAcknowledgedWritesSurviveProcessKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mske.db")
	for round := range 4 {
		cmd, out := startHelper(t, path)
		for range 5 + 7*round {
			out.Scan()
		}
		cmd.Process.Kill() // SIGKILL: in the middle of whatever it writes
		last := out.Text()
		for out.Scan() {
			last = out.Text()
		}
		cmd.Wait()
		acknowledged, err := strconv.Atoi(last)
		if err != nil {
			t.Fatalf("Expected the number of a write, got %q", last)
		}

		l := acquire(t, path)
		zones, err := held(l)
		if err != nil {
			t.Fatal(err)
		}
		// The last write may have reached the disk unacknowledged, whole.
		if !equal(zones, testZones(30, acknowledged)) && !equal(zones, testZones(30, acknowledged+1)) {
			t.Errorf("Expected all of write %d or %d", acknowledged, acknowledged+1)
		}
		l.Release()
	}
}

func TestFileOfAnotherProcessIsAClearError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mske.db")
	_, out := startHelper(t, path)
	out.Scan()
	go func() {
		for out.Scan() {
		}
	}()
	start := time.Now()
	_, err := Acquire(path)
	if err == nil || !strings.Contains(err.Error(), "another process") || !strings.Contains(err.Error(), path) {
		t.Errorf("Expected an error that names the file and the reason, got %v", err)
	}
	if took := time.Since(start); took > 2*lockTimeout {
		t.Errorf("Expected an answer within %v, got one after %v", 2*lockTimeout, took)
	}
}

// Whatever octets change, the file is refused or holds all that was written.
func TestDamageNeverTakesZonesAway(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "mske.db")
	l := acquire(t, path)
	put(t, l, testZones(40, 1))
	put(t, l, testZones(20, 2))
	want, _ := held(l)
	l.Release()
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	refused := 0
	for i := range 150 {
		bad := append([]byte(nil), good...)
		page := r.IntN(len(bad)/4096) * 4096
		switch r.IntN(4) {
		case 0: // a page of zeros
			clear(bad[page : page+4096])
		case 1: // another page in its place
			other := r.IntN(len(bad)/4096) * 4096
			copy(bad[page:page+4096], good[other:other+4096])
		case 2: // cut off
			bad = bad[:page+r.IntN(4096)]
		default: // single octets, most of them where bbolt keeps its structure
			for range 1 + r.IntN(3) {
				bad[page+min(r.IntN(4096), r.IntN(4096), r.IntN(4096))] ^= byte(1 + r.IntN(255))
			}
		}
		name := filepath.Join(dir, fmt.Sprintf("bad%d.db", i))
		os.WriteFile(name, bad, 0o600)
		l, err := Acquire(name)
		if err != nil {
			refused++
			continue
		}
		if got, err := held(l); err != nil || !equal(got, want) {
			t.Errorf("Damage %d: Expected an error or all zones, got %d zones and %v", i, len(got), err)
		}
		l.Release()
		os.Remove(name)
	}
	if refused < 20 {
		t.Errorf("Expected most damaged files to be refused, got %d of 150", refused)
	}
}
