package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
)

const (
	parent    = "example." // of all our zones
	ourHost   = "ns1.ours.test."
	ourAddr   = "127.0.0.1"
	worldAddr = "127.0.1.1"
)

// fleet is many zones, each of which has two external nameservers.
type fleet struct {
	dir          string
	zones, hosts int
	port         string
}

func zoneName(i int) string { return fmt.Sprintf("z%06d.%s", i, parent) }

func hostName(i int) string { return fmt.Sprintf("ns1.p%d.test.", i) }

// peers returns the external nameservers of a zone.
func (f *fleet) peers(i int) [2]int {
	a := i % f.hosts
	return [2]int{a, (a + 1 + i/f.hosts%(f.hosts-1)) % f.hosts}
}

func key(zone string, flags uint16) *lab.Key {
	return lab.NewKey(zone, dns.ECDSAP256SHA256, flags, "bench")
}

// ourKeys returns a key of each kind, with tags that differ and that miekg/dns
// signs with.
func ourKeys(zone string) (ksk, zsk *lab.Key) {
	ksk = key(zone, 257)
	for seed := "bench"; ksk.KeyTag() == 0; ksk = lab.NewKey(zone, dns.ECDSAP256SHA256, 257, seed) {
		seed += " again"
	}
	zsk = key(zone, 256)
	for seed := "bench"; zsk.KeyTag() == 0 || zsk.KeyTag() == ksk.KeyTag(); zsk = lab.NewKey(zone, dns.ECDSAP256SHA256, 256, seed) {
		seed += " again"
	}
	return ksk, zsk
}

// owned returns k as a record at a name.
func owned(k *lab.Key, name string) *dns.DNSKEY {
	r := *k.DNSKEY
	r.Hdr.Name = name
	return &r
}

// write writes all that CoreDNS and the programs that are compared with it read.
func (f *fleet) write() error {
	dir := filepath.Join(f.dir, "keys")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	names := []string{"_signal." + ourHost}
	for i := range f.zones {
		names = append(names, zoneName(i))
	}
	var wg sync.WaitGroup
	errs := make([]error, runtime.GOMAXPROCS(0))
	for part := range errs {
		wg.Go(func() {
			for i := part; i < len(names) && errs[part] == nil; i += len(errs) {
				errs[part] = writeKeys(dir, names[i])
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	var apex, announced, single strings.Builder
	for i := range f.zones {
		fmt.Fprintf(&apex, "%s DNSKEY\n", zoneName(i))
		for _, p := range f.peers(i) {
			for _, t := range []string{"DNSKEY", "CDNSKEY", "CDS"} {
				fmt.Fprintf(&announced, "_multi.%s_signal.%s %s\n", zoneName(i), hostName(p), t)
			}
		}
	}
	fmt.Fprintf(&single, "%s DNSKEY\n", zoneName(0))
	files := map[string]string{
		"apex": apex.String(), "apex-of-one": single.String(), "announced": announced.String(),
		"anchor.ds":    key(".", 257).ToDS(dns.SHA256).String() + "\n",
		"Corefile":     f.corefile(f.zones),
		"Corefile-one": f.corefile(1),
		"unbound.conf": f.unbound(),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// writeKeys writes the keys of a zone as dnssec-keygen does.
func writeKeys(dir, zone string) error {
	ksk, zsk := ourKeys(zone)
	for _, k := range []*lab.Key{ksk, zsk} {
		base := filepath.Join(dir, fmt.Sprintf("K%s+%03d+%05d", zone, k.Algorithm, k.KeyTag()))
		if _, err := os.Stat(base + ".private"); err == nil {
			continue // written by an earlier run, and the same in each
		}
		if err := os.WriteFile(base+".key", []byte(k.DNSKEY.String()+"\n"), 0o600); err != nil {
			return err
		}
		if err := os.WriteFile(base+".private", []byte(k.PrivateKeyString(k.Signer)), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (f *fleet) corefile(zones int) string {
	var names []string
	for i := range zones {
		names = append(names, zoneName(i))
	}
	return fmt.Sprintf(`%[1]s:%[2]s {
	bind %[3]s
	root %[4]s
	errors
	pprof 127.0.0.1:6391
	prometheus 127.0.0.1:6392
	ready 127.0.0.1:6393 {
		monitor continuously
	}
	mske %[5]s {
		nameservers %[6]s
		key directory keys
		resolver %[7]s:%[2]s
		trust_anchor anchor.ds
		nameserver_port %[2]s
		state mske-%[8]d.db
	}
	%[9]s %[10]d
}
_signal.%[6]s:%[2]s {
	bind %[3]s
	root %[4]s
	mske {
		nameservers %[6]s
		key file %[11]s
		resolver %[7]s:%[2]s
		trust_anchor anchor.ds
		nameserver_port %[2]s
		state mske-%[8]d.db
	}
}
`, parent, f.port, ourAddr, f.dir, strings.Join(names, " "), ourHost, worldAddr, zones, backendName, f.hosts, signalingKeys())
}

func signalingKeys() string {
	zone := "_signal." + ourHost
	ksk, zsk := ourKeys(zone)
	return fmt.Sprintf("keys/K%[1]s+013+%05[2]d keys/K%[1]s+013+%05[3]d", zone, ksk.KeyTag(), zsk.KeyTag())
}

// unbound returns the configuration of a resolver that validates what the world
// answers, on one core and without asking more than mske does.
func (f *fleet) unbound() string {
	return fmt.Sprintf(`server:
	interface: %[1]s
	port: %[2]s
	do-daemonize: no
	username: ""
	chroot: ""
	directory: "%[3]s"
	pidfile: ""
	use-syslog: no
	num-threads: 1
	access-control: 127.0.0.0/8 allow
	do-not-query-localhost: no
	module-config: "validator iterator"
	trust-anchor-file: "%[3]s/anchor.ds"
	qname-minimisation: no
	local-zone: "test." nodefault
	outgoing-range: 4096
	num-queries-per-thread: 2048
	rrset-cache-size: 1g
	msg-cache-size: 1g
	key-cache-size: 64m
forward-zone:
	name: "."
	forward-addr: %[4]s@%[2]s
remote-control:
	control-enable: no
`, "127.0.0.2", f.port, f.dir, worldAddr)
}
