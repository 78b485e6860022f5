package mske

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/coredns/caddy"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/daemon"
	"github.com/coredns-mske/mske/serve"
)

// watched returns a Corefile for example.org with keys from a directory.
func (p *provider) watched(t *testing.T, more string) string {
	t.Helper()
	dir := filepath.Join(p.dir, "keys")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, base := range []string{p.ksk, p.zsk} {
		for _, ext := range []string{".key", ".private"} {
			text, err := os.ReadFile(filepath.Join(p.dir, base+ext))
			if err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Join(dir, base+ext), string(text))
		}
	}
	return strings.NewReplacer("DIR", p.dir, "KSK", p.ksk, "ZSK", p.zsk, "MORE", more).Replace(`
example.org:PORT {
	bind 127.0.0.1
	root DIR
	mske {
		nameservers ns1.example.net
		key directory keys
		resolver 127.0.0.1:1
		MORE
	}
	dnssec {
		key file KSK ZSK
	}
	file db.example.org
}
`)
}

// restart reloads s with another Corefile, as SIGUSR1 does.
func (s *server) restart(corefile string) error {
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		return err
	}
	inst, err := s.inst.Restart(input(strings.ReplaceAll(corefile, "PORT", port)))
	s.inst = inst
	return err
}

// expectBackgroundWork checks that a key that comes into the directory is
// served.
func expectBackgroundWork(t *testing.T, s *server, p *provider) {
	t.Helper()
	base := writeKey(t, filepath.Join(p.dir, "keys"), "example.org.", 256)
	tag := base[strings.LastIndex(base, "+")+1:]
	s.until("new key "+tag, question("example.org.", dns.TypeDNSKEY, false), func(m *dns.Msg) bool {
		return slices.ContainsFunc(records(m.Answer, dns.TypeDNSKEY), func(rr dns.RR) bool {
			return fmt.Sprintf("%05d", rr.(*dns.DNSKEY).KeyTag()) == tag
		})
	})
}

func TestReloadKeepsServing(t *testing.T) {
	p := newProvider(t)
	s := start(t, p.watched(t, ""))
	q := question("example.org.", dns.TypeDNSKEY, true)
	before := s.until("an answer", q, answered)
	if err := s.restart(p.watched(t, "ttl 5m")); err != nil {
		t.Fatal(err)
	}
	after := s.ask(q)
	if !answered(after) || len(records(after.Answer, dns.TypeDNSKEY)) != len(records(before.Answer, dns.TypeDNSKEY)) {
		t.Errorf("Expected the key set at once after a reload, got\n%v", after)
	}
	s.until("the new TTL", q, func(m *dns.Msg) bool { return answered(m) && m.Answer[0].Header().Ttl == 300 })
	expectBackgroundWork(t, s, p)
	expectInstances(t, 1)
}

// TestFailedReloadGoesOnAsBefore has the reload fail at each of its stages.
func TestFailedReloadGoesOnAsBefore(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for _, tt := range []struct{ name, option, block string }{
		{"our own option is wrong", "colour blue", ""},
		{"a later plugin is wrong", "", "example.com:PORT {\n bind 127.0.0.1\n file\n}"},
		{"an address is taken", "", "example.com:" + strings.TrimPrefix(busy.Addr().String(), "127.0.0.1:") + " {\n bind 127.0.0.1\n file db.example.org example.org\n}"},
		{"an address is taken, with another state file", "state other.db", "example.com:" + strings.TrimPrefix(busy.Addr().String(), "127.0.0.1:") + " {\n bind 127.0.0.1\n file db.example.org example.org\n}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newProvider(t)
			s := start(t, p.watched(t, ""))
			q := question("example.org.", dns.TypeDNSKEY, true)
			s.until("an answer", q, answered)
			if err := s.restart(p.watched(t, tt.option) + tt.block); err == nil {
				t.Fatal("Expected the reload to fail")
			}
			if reply := s.ask(q); !answered(reply) {
				t.Errorf("Expected an answer after the reload failed, got\n%v", reply)
			}
			expectInstances(t, 1)
			expectBackgroundWork(t, s, p)
		})
	}
}

// untilWritten waits until a state file has everything that the start had to store.
func untilWritten(t *testing.T, path string) {
	t.Helper()
	const still = 500 * time.Millisecond
	eventually(t, "the state file to be written", func() bool {
		info, err := os.Stat(path)
		return err == nil && time.Since(info.ModTime()) > still
	}, func() string { return path })
}

// A reload that fails ends no work, even if that could not begin again: the state file
// was cut off while in use.
func TestFailedReloadOverADamagedStateFileGoesOnAsBefore(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	taken := "example.com:" + strings.TrimPrefix(busy.Addr().String(), "127.0.0.1:") + " {\n bind 127.0.0.1\n file db.example.org example.org\n}"
	for _, tt := range []struct{ name, option, block, want string }{
		{"the same file", "ttl 5m", "", "restart the server"},
		{"another file, and an address is taken", "state other.db", taken, "address already in use"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newProvider(t)
			s := start(t, p.watched(t, ""))
			s.until("an answer", question("example.org.", dns.TypeDNSKEY, true), answered)
			state := filepath.Join(p.dir, defaultState)
			untilWritten(t, state) // a write under way would make what is cut off whole again
			if err := os.Truncate(state, 0); err != nil {
				t.Fatal(err)
			}
			if err := s.restart(p.watched(t, tt.option) + tt.block); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Expected an error with %q, got %v", tt.want, err)
			}
			expectInstances(t, 1)
			expectBackgroundWork(t, s, p)
		})
	}
}

func TestReloadWithoutUsStopsOurWork(t *testing.T) {
	p := newProvider(t)
	s := start(t, p.watched(t, ""))
	s.until("an answer", question("example.org.", dns.TypeDNSKEY, true), answered)
	if err := s.restart("example.org:PORT {\n bind 127.0.0.1\n root " + p.dir + "\n file db.example.org\n}"); err != nil {
		t.Fatal(err)
	}
	expectInstances(t, 0)
	expectNoGoroutines(t)
	if err := s.restart(p.watched(t, "")); err != nil {
		t.Fatal(err)
	}
	s.until("an answer", question("example.org.", dns.TypeDNSKEY, true), answered)
	expectInstances(t, 1)
}

func TestShutdownLeavesNothingRunning(t *testing.T) {
	p := newProvider(t)
	s := start(t, p.corefile(""))
	s.until("an answer", question("example.org.", dns.TypeDNSKEY, true), answered)
	s.stop()
	expectInstances(t, 0)
	expectNoGoroutines(t)
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		for _, fd := range fds {
			if at, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasSuffix(at, "mske.db") && strings.HasPrefix(at, p.dir) {
				t.Errorf("Expected the state file to be closed, got %s open", at)
			}
		}
	}
}

func TestStartupFailsOnADamagedDefaultStateFile(t *testing.T) {
	p := newProvider(t)
	writeFile(t, filepath.Join(p.dir, defaultState), strings.Repeat("this is no database. ", 1000))
	_, err := caddy.Start(input(strings.ReplaceAll(p.watched(t, ""), "PORT", daemon.FreePort(t))))
	if err == nil || !strings.Contains(err.Error(), "plugin/mske: ") || !strings.Contains(err.Error(), defaultState) {
		t.Errorf("Expected an error of mske that names the file, got %v", err)
	}
	expectNoGoroutines(t)
}

// expectInstances checks how many configurations do background work, that no
// reload is thought to be under way, and that stacks are made for queries.
func expectInstances(t *testing.T, want int) {
	t.Helper()
	if restarting.Load() != nil {
		t.Error("Expected the reload to be over")
	}
	running.mu.Lock()
	defer running.mu.Unlock()
	if got := len(running.set); got != want {
		t.Errorf("Expected %d running instances, got %d", want, got)
	}
	if deep := running.stacks != nil; deep != (want > 0) {
		t.Errorf("Expected stacks made for queries %v, got %v", want > 0, deep)
	}
}

// expectNoGoroutines checks that none of this module's packages but this one,
// in which the test itself runs, has anything running.
func expectNoGoroutines(t *testing.T) {
	t.Helper()
	eventually(t, "no goroutine", func() bool { return ours() == "" }, ours)
}

// ours returns the stacks with a frame of a package of this module.
func ours() string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var found []string
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		if strings.Contains(stack, module+"/") || strings.Contains(stack, "bbolt") {
			found = append(found, stack)
		}
	}
	return strings.Join(found, "\n\n")
}

// Announcements are not signed anew by a reload, unless with another key or TTL.
// Those of a zone that has left the nameserver go.
func TestReloadKeepsAnnouncements(t *testing.T) {
	p := newProvider(t)
	for name, corefile := range map[string]string{"in a zone": p.corefile(""), "delegated": p.delegated()} {
		t.Run(name, func(t *testing.T) {
			s := start(t, corefile)
			defer s.stop()
			q := question("_multi.example.org._signal.ns1.example.net.", dns.TypeDNSKEY, true)
			signature := func(m *dns.Msg) string { return records(m.Answer, dns.TypeRRSIG)[0].(*dns.RRSIG).Signature }
			before := s.until("an announcement", q, answered)
			if err := s.restart(corefile); err != nil {
				t.Fatal(err)
			}
			after := s.ask(q)
			if !answered(after) || signature(after) != signature(before) {
				t.Errorf("Expected the same signature at once after a reload, got\n%v\nthen\n%v", before, after)
			}
			corefile = strings.ReplaceAll(corefile, "nameservers ns1.example.net", "nameservers ns1.example.net\n ttl 5m")
			if err := s.restart(corefile); err != nil {
				t.Fatal(err)
			}
			after = s.until("the new TTL", q, func(m *dns.Msg) bool { return answered(m) && m.Answer[0].Header().Ttl == 300 })
			if signature(after) == signature(before) {
				t.Error("Expected another signature over another Original TTL")
			}
			if err := s.restart(strings.Replace(corefile, "nameservers ns1.example.net", "nameservers ns2.example.net", 1)); err != nil {
				t.Fatal(err)
			}
			s.until("the announcement to go", q, func(m *dns.Msg) bool { return !answered(m) && len(m.Ns) > 0 })
		})
	}
}

// What a reload does not change is in memory once, and signed once.
func TestReloadKeepsKeySets(t *testing.T) {
	p := newProvider(t)
	s := start(t, p.watched(t, ""))
	q := question("example.org.", dns.TypeDNSKEY, true)
	s.until("an answer", q, answered)
	served := func() *serve.RRset {
		return handlerOf(t, "example.org.").zones["example.org."].view.Load().DNSKEY.RRset
	}
	octets := func(s *serve.RRset) *byte { return unsafe.StringData(s.RRs()[0].(*dns.DNSKEY).PublicKey) }
	before := served()
	if err := s.restart(p.watched(t, "")); err != nil {
		t.Fatal(err)
	}
	if after := served(); octets(after) != octets(before) || after.Sigs()[0].Signature != before.Sigs()[0].Signature {
		t.Errorf("Expected the same memory after a reload, got\n%v\nthen\n%v", before.RRs(), after.RRs())
	}
	if err := s.restart(p.watched(t, "ttl 5m")); err != nil {
		t.Fatal(err)
	}
	s.until("the new TTL", q, func(m *dns.Msg) bool { return answered(m) && m.Answer[0].Header().Ttl == 300 })
}

// Whoever verifies signatures knows those that were found good before a reload.
func TestReloadKeepsWhatWasVerified(t *testing.T) {
	f := newCorefile(t)
	m, err := f.parse("mske example.org {\nnameservers ns1.example.net\nkey file KSK ZSK\n}")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		made, err := newParts(nil).of(m.zones["example.org."].stanza)
		if err != nil {
			t.Fatal(err)
		}
		good := reflect.ValueOf(signatures).Elem().FieldByName("good").Pointer()
		byFetcher := reflect.ValueOf(made.fetcher).Elem().FieldByName("validator").Elem().FieldByName("verified").Pointer()
		byObserver := reflect.ValueOf(made.observer).Elem().FieldByName("signatures").Pointer()
		if byFetcher != good || byObserver != reflect.ValueOf(signatures).Pointer() {
			t.Error("Expected the fetcher and the observer to know the signatures that this process knows")
		}
		config, err := new(instance).background()
		if err != nil {
			t.Fatal(err)
		}
		if config.Signatures != signatures {
			t.Error("Expected the engine to know the signatures that this process knows")
		}
	}
}

// What another provider of a zone has published is none of ours.
func TestFormerKeySetsAreOfTheSameNameservers(t *testing.T) {
	old := func(nameservers ...string) *instance {
		z := &zone{name: "example.org.", stanza: &stanza{nameservers: nameservers}}
		z.view.Store(new(serve.Apex))
		return &instance{zones: map[string][]*zone{z.name: {z}}}
	}
	z := &zone{name: "example.org.", stanza: &stanza{nameservers: []string{"ns1.example.net.", "ns2.example.net."}}}
	for _, tt := range []struct {
		former *instance
		want   bool
	}{
		{old("ns1.example.net.", "ns2.example.net."), true},
		{old("ns2.example.net.", "ns1.example.net."), true},
		{old("ns1.example.net."), false},
		{old("ns1.example.org.", "ns2.example.net."), false},
		{nil, false},
	} {
		if got := (&instance{former: tt.former}).formerApex(z); (got != nil) != tt.want {
			t.Errorf("Expected the former view %v, got %v of %+v", tt.want, got, tt.former)
		}
	}
	z.view.Store(new(serve.Apex))
	if got := (&instance{former: old("ns1.example.net.", "ns2.example.net.")}).formerApex(z); got != z.view.Load() {
		t.Error("Expected the view of this instance after a failed reload")
	}
}
