package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/daemon"
	"github.com/coredns-mske/mske/keys"
)

// demo is Corefile.example on a free port, with its state in a temporary
// directory: alone, or cut into provider A and the rest.
type demo struct {
	port          string
	a, rest, both string // Corefiles
}

// Addresses of the two providers in Corefile.example.
const (
	providerA = "127.0.0.2"
	providerB = "127.0.0.3"
)

const demoZone = "example.co.uk."

// newDemo writes the demo's Corefiles. The pairs in changes are old and new
// text, as of strings.NewReplacer.
func newDemo(t *testing.T, changes ...string) *demo {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(topDir(t), "Corefile.example"))
	if err != nil {
		t.Fatal(err)
	}
	port := daemon.FreePort(t)
	corefile := strings.NewReplacer(append([]string{"1053", port}, changes...)...).Replace(string(text))

	b := strings.Index(corefile, "# ---- Part 2")
	if b < 0 {
		t.Fatal("Expected Corefile.example to have a part 2")
	}
	return &demo{
		port: port,
		a:    writeCorefile(t, corefile[:b]),
		rest: writeCorefile(t, corefile[b:]),
		both: writeCorefile(t, corefile),
	}
}

// writeCorefile gives each Corefile a state file beside it.
func writeCorefile(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "Corefile")
	text = strings.ReplaceAll(text, "example/mske.db", filepath.Join(dir, "mske.db"))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (d *demo) addr(ip string) string { return net.JoinHostPort(ip, d.port) }

// demoKeys are the tags of example.co.uk's keys in a provider's directory.
func demoKeys(t *testing.T, dir string) (ksk, zsk uint16) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "K"+demoZone+"+*.key"))
	if err != nil || len(files) != 2 {
		t.Fatalf("Expected two keys of %s in %s, got %v (%v)", demoZone, dir, files, err)
	}
	for _, file := range files {
		k, _, err := keys.Read(file)
		if err != nil {
			t.Fatal(err)
		}
		if k.DNSKEY.Flags&dns.SEP != 0 {
			ksk = k.Tag()
		} else {
			zsk = k.Tag()
		}
	}
	return ksk, zsk
}

// awaitJoint waits until both providers serve the joint sets.
func (d *demo) awaitJoint(t *testing.T) {
	t.Helper()
	kskA, zskA := demoKeys(t, filepath.Join(topDir(t), "example", "provider-a"))
	kskB, zskB := demoKeys(t, filepath.Join(topDir(t), "example", "provider-b"))
	daemon.AwaitTags(t, d.addr(providerA), demoZone, dns.TypeDNSKEY, kskA, zskA, zskB)
	daemon.AwaitTags(t, d.addr(providerB), demoZone, dns.TypeDNSKEY, kskB, zskB, zskA)
	for _, ip := range []string{providerA, providerB} {
		for _, qtype := range []uint16{dns.TypeCDS, dns.TypeCDNSKEY} {
			daemon.AwaitTags(t, d.addr(ip), demoZone, qtype, kskA, kskB)
		}
	}
}

// checkSignatures verifies the apex of example.co.uk at the provider at ip.
func (d *demo) checkSignatures(t *testing.T, ip string) {
	t.Helper()
	daemon.CheckSignatures(t, d.addr(ip), demoZone, dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeSOA, dns.TypeNS)
}

// TestDemoProvidersExchangeKeys runs README's first command.
func TestDemoProvidersExchangeKeys(t *testing.T) {
	d := newDemo(t)
	startCoreDNS(t, "demo", d.both)
	d.awaitJoint(t)
	d.checkSignatures(t, providerA)
	d.checkSignatures(t, providerB)
}

// TestKilledProviderServesJointSetsAlone kills a provider as a power cut would,
// and everything else: its peer, the resolver, the parents.
func TestKilledProviderServesJointSetsAlone(t *testing.T) {
	d := newDemo(t)
	rest := startCoreDNS(t, "rest", d.rest)
	a := startCoreDNS(t, "provider-a", d.a)
	d.awaitJoint(t)

	types := []uint16{dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY}
	before := make(map[uint16][]uint16)
	for _, qtype := range types {
		rrs, err := daemon.Authoritative(d.addr(providerA), demoZone, qtype)
		if err != nil {
			t.Fatal(err)
		}
		before[qtype] = daemon.Tags(rrs)
	}
	a.Kill()
	rest.Kill()

	a = startCoreDNS(t, "provider-a", d.a)
	a.AwaitAnswer(d.addr(providerA), demoZone, dns.TypeDNSKEY)
	for _, qtype := range types {
		rrs, err := daemon.Authoritative(d.addr(providerA), demoZone, qtype)
		if err != nil {
			t.Fatal(err)
		}
		if got := daemon.Tags(rrs); !slices.Equal(got, before[qtype]) {
			t.Errorf("Expected %s with the keys %v after the restart, got %v", dns.Type(qtype), before[qtype], got)
		}
	}
	d.checkSignatures(t, providerA)
}

// TestFailedReloadServesAndImportsOn reloads twice, by SIGUSR1: with a new TTL,
// which is served, and with a mistake, after which the configuration before it
// still serves, and still takes in a peer's new key.
func TestFailedReloadServesAndImportsOn(t *testing.T) {
	peerKeys := filepath.Join(t.TempDir(), "provider-b")
	if err := os.CopyFS(peerKeys, os.DirFS(filepath.Join(topDir(t), "example", "provider-b"))); err != nil {
		t.Fatal(err)
	}
	d := newDemo(t, "example/provider-b", peerKeys)
	startCoreDNS(t, "rest", d.rest)
	a := startCoreDNS(t, "provider-a", d.a)
	d.awaitJoint(t)

	good, err := os.ReadFile(d.a)
	if err != nil {
		t.Fatal(err)
	}
	reload := func(text string) {
		t.Helper()
		if err := os.WriteFile(d.a, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		a.Signal(syscall.SIGUSR1)
	}

	reload(strings.Replace(string(good), "mske {", "mske {\n        ttl 20m", 1))
	daemon.Await(t, "the TTL of the reloaded Corefile", func() error {
		rrs, err := daemon.Authoritative(d.addr(providerA), demoZone, dns.TypeDNSKEY)
		if err != nil {
			t.Fatalf("Expected an answer at any moment of a reload, got %v", err)
		}
		if ttl := rrs[0].Header().Ttl; ttl != 1200 {
			return fmt.Errorf("got TTL %d", ttl)
		}
		return nil
	})
	d.awaitJoint(t)

	reload(strings.Replace(string(good), "mske {", "mske {\n        tlt 20m", 1))
	daemon.Await(t, "the failure of the reload", func() error {
		if log := a.Log(); !strings.Contains(log, "tlt") {
			return errors.New("nothing in the log")
		}
		return nil
	})

	kskA, zskA := demoKeys(t, filepath.Join(topDir(t), "example", "provider-a"))
	_, zskB := demoKeys(t, peerKeys)
	k, private, err := keys.Generate(demoZone, dns.ECDSAP256SHA256, dns.ZONE, map[uint16]bool{kskA: true, zskA: true, zskB: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Write(peerKeys, k, private); err != nil {
		t.Fatal(err)
	}
	daemon.AwaitTags(t, d.addr(providerA), demoZone, dns.TypeDNSKEY, kskA, zskA, zskB, k.Tag())
	d.checkSignatures(t, providerA)
}

// TestDemoSignaturesLast finds the zone file that somebody signed again without
// the dates in example/README.md: it would stop working a month later.
func TestDemoSignaturesLast(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(topDir(t), "example", "*", "db.*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("Expected zone files, got %v (%v)", files, err)
	}
	signatures := 0
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		zp := dns.NewZoneParser(f, "", file)
		for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
			sig, ok := rr.(*dns.RRSIG)
			if !ok {
				continue
			}
			signatures++
			if until := dns.TimeToString(sig.Expiration); until < "2046" {
				t.Errorf("Expected signatures until 2046 in %s, got %s for %s", file, until, sig.Hdr.Name)
			}
		}
		if err := zp.Err(); err != nil {
			t.Error(err)
		}
	}
	if signatures == 0 {
		t.Error("Expected signed zones among the files")
	}
}
