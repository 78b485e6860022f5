package status

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func listen(t *testing.T, state string, tell func(string) []Zone) *Server {
	t.Helper()
	s, err := Listen(state, tell)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// named answers with one zone of that name.
func named(name string) func(string) []Zone {
	return func(string) []Zone { return []Zone{{Zone: name}} }
}

func expectAnswer(t *testing.T, state, want string) {
	t.Helper()
	zones, err := Ask(t.Context(), state, "")
	if err != nil || len(zones) != 1 || zones[0].Zone != want {
		t.Errorf("Expected %s, got %+v, %v", want, zones, err)
	}
}

func TestWhatIsToldIsWhatIsRead(t *testing.T) {
	state := filepath.Join(t.TempDir(), "mske.db")
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	all := []Zone{{
		Zone: "example.org.", Nameservers: []string{"ns1.example.net."}, Phase: "converged", Waits: []string{"a", "b"}, Until: at, MayAdd: true,
		NS: []string{"ns1.example.net."}, Leaving: []Leaving{{Host: "ns2.example.net.", Since: at, Until: at}}, Deletable: at,
		Keys: []Key{{Tag: 1, Algorithm: 13, Role: "CSK", Signs: true, Everywhere: at, SignFrom: at, InDS: at, GoFrom: at}}, Warnings: []string{"c"},
	}, {Zone: "example.com."}}
	var asked atomic.Value
	listen(t, state, func(zone string) []Zone { asked.Store(zone); return all })
	for _, zone := range []string{"", "example.org.", strings.Repeat(`\001`, 254) + "."} {
		zones, err := Ask(t.Context(), state, zone)
		if err != nil || !reflect.DeepEqual(zones, all) {
			t.Errorf("Expected all to be read as it is, got %+v, %v", zones, err)
		}
		if asked.Load() != zone {
			t.Errorf("Expected %q to be asked for, got %q", zone, asked.Load())
		}
	}
	info, err := os.Stat(Path(state))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("Expected a socket for us alone, got %v, %v", info, err)
	}
}

func TestNothingKnownIsAnEmptyAnswer(t *testing.T) {
	state := filepath.Join(t.TempDir(), "mske.db")
	listen(t, state, func(string) []Zone { return nil })
	if zones, err := Ask(t.Context(), state, "example.org."); err != nil || len(zones) != 0 {
		t.Errorf("Expected nothing, got %+v, %v", zones, err)
	}
}

// While the server reloads, the new configuration has the socket before the old
// one lets go of it.
func TestTheNewestServerHasTheSocket(t *testing.T) {
	state := filepath.Join(t.TempDir(), "mske.db")
	old := listen(t, state, named("old."))
	expectAnswer(t, state, "old.")
	fresh := listen(t, state, named("new."))
	expectAnswer(t, state, "new.")
	if err := old.Close(); err != nil {
		t.Error(err)
	}
	expectAnswer(t, state, "new.")
	if err := fresh.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(Path(state)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Expected the socket to be gone, got %v", err)
	}
	if _, err := Ask(t.Context(), state, ""); err == nil {
		t.Error("Expected nobody to answer")
	}
}

func TestSocketsOfACrashAreReplaced(t *testing.T) {
	state := filepath.Join(t.TempDir(), "mske.db")
	for _, path := range []string{Path(state), Path(state) + ".new"} {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		l.Close()
	}
	listen(t, state, named("new."))
	expectAnswer(t, state, "new.")
}

func TestAPathThatIsNoneIsAnError(t *testing.T) {
	dir := t.TempDir()
	for _, state := range []string{filepath.Join(dir, "nowhere", "mske.db"), filepath.Join(dir, strings.Repeat("a", 200))} {
		if s, err := Listen(state, named("example.")); err == nil {
			_ = s.Close()
			t.Errorf("Expected an error for %q", state)
		}
	}
}

// Whoever connects and says nothing holds nobody up: neither others nor the end.
func TestASilentClientHoldsNobodyUp(t *testing.T) {
	state := filepath.Join(t.TempDir(), "mske.db")
	s := listen(t, state, named("example."))
	for range maxAsking - 1 {
		conn, err := net.Dial("unix", Path(state))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	expectAnswer(t, state, "example.")
	began := time.Now()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("Expected the server to end at once, took %v", took)
	}
}

func TestAnEndlessQuestionIsNotRead(t *testing.T) {
	state := filepath.Join(t.TempDir(), "mske.db")
	listen(t, state, func(zone string) []Zone {
		t.Errorf("Expected nothing to be asked, got %d octets", len(zone))
		return nil
	})
	if _, err := Ask(t.Context(), state, strings.Repeat("a", 2*maxQuestion)); err == nil {
		t.Error("Expected no answer")
	}
}

func TestWhoAsksGivesUp(t *testing.T) {
	state := filepath.Join(t.TempDir(), "mske.db")
	answer := make(chan struct{})
	listen(t, state, func(string) []Zone { <-answer; return nil })
	defer close(answer)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Ask(ctx, state, ""); err == nil {
		t.Error("Expected an error")
	}
}

// A state file may have any name, that of another's socket as well.
func TestAFileIsNotReplaced(t *testing.T) {
	for _, more := range []string{"", ".new"} {
		state := filepath.Join(t.TempDir(), "mske.db")
		path := Path(state) + more
		if err := os.WriteFile(path, []byte("a state file"), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := Listen(state, named("example.")); err == nil {
			_ = s.Close()
			t.Errorf("Expected an error for %q", path)
		}
		if text, err := os.ReadFile(path); string(text) != "a state file" {
			t.Errorf("Expected the file to be as it was, got %q, %v", text, err)
		}
	}
}
