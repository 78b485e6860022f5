package mske

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/cns"
	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/store"
)

// writeKey writes a new key pair of zone in dir, as dnssec-keygen does, and
// returns its base name without dir.
func writeKey(t testing.TB, dir, zone string, flags uint16) string {
	t.Helper()
	k := &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600},
		Flags: flags, Protocol: 3, Algorithm: dns.ECDSAP256SHA256,
	}
	private, err := k.Generate(256)
	if err != nil {
		t.Fatal(err)
	}
	base := fmt.Sprintf("K%s+%03d+%05d", zone, k.Algorithm, k.KeyTag())
	writeFile(t, filepath.Join(dir, base+".key"), k.String()+"\n")
	writeFile(t, filepath.Join(dir, base+".private"), k.PrivateKeyString(private))
	return base
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// corefile is a directory with what the stanzas of the tests name.
type corefile struct {
	dir     string
	ksk     string // of example.org.
	zsk     string // of example.org.
	csk     string // of example.net.
	replace *strings.Replacer
}

func newCorefile(t testing.TB) *corefile {
	t.Helper()
	f := &corefile{dir: t.TempDir()}
	f.ksk = writeKey(t, f.dir, "example.org.", 257)
	f.zsk = writeKey(t, f.dir, "example.org.", 256)
	f.csk = writeKey(t, f.dir, "example.net.", 257)
	if err := os.Mkdir(filepath.Join(f.dir, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(f.dir, "resolv.conf"), "nameserver 192.0.2.53\n")
	writeFile(t, filepath.Join(f.dir, "empty"), "")
	writeFile(t, filepath.Join(f.dir, "anchor.ds"), ". 86400 IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n")
	f.replace = strings.NewReplacer("KSK", f.ksk, "ZSK", f.zsk, "CSK", f.csk)
	return f
}

// parse parses the stanzas in input, in a server block for the zones in keys.
func (f *corefile) parse(input string, keys ...string) (*MSKE, error) {
	c := caddy.NewTestController("dns", f.replace.Replace(input))
	c.ServerBlockKeys = keys
	config := dnsserver.GetConfig(c)
	config.Root = f.dir
	m := newHandler(config, instanceOf(c), keys)
	return m, parse(c, m)
}

// valid wraps an option in an otherwise good stanza.
func valid(option string) string {
	return "mske example.org {\nnameservers ns1.example.net\nkey file KSK ZSK\nresolver 192.0.2.53\n" + option + "\n}"
}

func TestParseKeepsWhatEachOptionSays(t *testing.T) {
	f := newCorefile(t)
	for _, tt := range []struct {
		option string
		check  func(s *stanza) bool
	}{
		{"", func(s *stanza) bool {
			return s.refreshMin == time.Minute && s.refreshMax == time.Hour && s.ttl == time.Hour && s.maxZoneTTL == 24*time.Hour &&
				s.cnsType == 65302 && s.port == 53 && !s.lax && s.anchors != nil && s.cns == nil &&
				s.state == filepath.Join(f.dir, "mske.db")
		}},
		{"refresh 5s", func(s *stanza) bool { return s.refreshMin == 5*time.Second && s.refreshMax == time.Hour }},
		{"refresh 2h", func(s *stanza) bool { return s.refreshMin == 2*time.Hour && s.refreshMax == 2*time.Hour }},
		{"refresh 1s 2m", func(s *stanza) bool { return s.refreshMin == time.Second && s.refreshMax == 2*time.Minute }},
		{"refresh 60 120", func(s *stanza) bool { return s.refreshMin == time.Minute && s.refreshMax == 2*time.Minute }},
		{"ttl 5m", func(s *stanza) bool { return s.ttl == 5*time.Minute && s.maxZoneTTL == 24*time.Hour }},
		{"max_zone_ttl 1m", func(s *stanza) bool { return s.maxZoneTTL == time.Minute && s.ttl == time.Hour }},
		{"cns_type 65000", func(s *stanza) bool { return s.cnsType == 65000 }},
		{"cns_type 65302", func(s *stanza) bool { return s.cnsType == cns.DefaultType }},
		{"cns NS1.example.net ns2.example.com.", func(s *stanza) bool {
			return slices.Equal(s.cns, []string{"ns1.example.net.", "ns2.example.com."})
		}},
		{"algorithms lax", func(s *stanza) bool { return s.lax }},
		{"algorithms strict", func(s *stanza) bool { return !s.lax }},
		{"delegation manual", func(s *stanza) bool { return !s.auto }},
		{"delegation auto", func(s *stanza) bool { return s.auto }},
		{"distrust NS1.example.com 4711 0 ns2.example.com.", func(s *stanza) bool {
			return slices.Equal(s.distrust.Hosts, []string{"ns1.example.com.", "ns2.example.com."}) && slices.Equal(s.distrust.Tags, []uint16{4711, 0})
		}},
		{"cds delete", func(s *stanza) bool { return s.deleteDS }},
		{"nameserver_port 5300", func(s *stanza) bool { return s.port == 5300 }},
		{"state sub.db", func(s *stanza) bool { return s.state == filepath.Join(f.dir, "sub.db") }},
		{"trust_anchor anchor.ds", func(s *stanza) bool { return s.anchors != nil && len(s.anchorFiles) == 1 }},
		{"key directory keys", func(s *stanza) bool {
			return slices.Equal(s.directories, []string{filepath.Join(f.dir, "keys")}) && len(s.files) == 2
		}},
	} {
		m, err := f.parse(valid(tt.option))
		if err != nil {
			t.Errorf("%q: expected no error, got %v", tt.option, err)
			continue
		}
		if s := m.zones["example.org."].stanza; !tt.check(s) {
			t.Errorf("%q: not kept: %+v", tt.option, s)
		}
	}
}

func TestParseRolesOfKeyFiles(t *testing.T) {
	f := newCorefile(t)
	m, err := f.parse("mske example.net {\nnameservers ns1.example.org\nresolver 192.0.2.53\nkey file CSK.key csk\n}")
	if err != nil {
		t.Fatal(err)
	}
	got := m.zones["example.net."].stanza.files
	want := []keys.File{{Base: filepath.Join(f.dir, f.csk), Role: keys.CSK}}
	if !slices.Equal(got, want) {
		t.Errorf("Expected %v, got %v", want, got)
	}
}

func TestParseResolvers(t *testing.T) {
	f := newCorefile(t)
	for option, want := range map[string][]string{
		"resolver 192.0.2.53":                       {"192.0.2.53"},
		"resolver 192.0.2.53:5353 [2001:db8::1]:53": {"192.0.2.53:5353", "[2001:db8::1]:53"},
		"resolver tls://192.0.2.53":                 {"tls://192.0.2.53"},
		"resolver resolv.conf":                      {filepath.Join(f.dir, "resolv.conf")},
	} {
		m, err := f.parse("mske example.org {\nnameservers ns1.example.net\nkey file KSK ZSK\n" + option + "\n}")
		if err != nil {
			t.Errorf("%q: expected no error, got %v", option, err)
			continue
		}
		if got := m.zones["example.org."].stanza.resolvers; !slices.Equal(got, want) {
			t.Errorf("%q: expected %q, got %q", option, want, got)
		}
	}
}

func TestParseRejectsOptions(t *testing.T) {
	f := newCorefile(t)
	foreign := writeKey(t, f.dir, "example.com.", 257)
	writeFile(t, filepath.Join(f.dir, "cut.key"), "example.org. IN DNSKEY 257 3")
	writeFile(t, filepath.Join(f.dir, "damaged.db"), "this is not a state file, and long enough to be read as one")
	long := strings.Repeat("a", 63) + "." + strings.Repeat("b", 63) + "." + strings.Repeat("c", 63) + "." + strings.Repeat("d", 55)
	hosts := make([]string, maxHosts+1)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("ns%d.example.net", i)
	}
	for _, tt := range []struct{ option, want string }{
		{"colour blue", `unknown property "colour"`},

		{"nameservers ns2.example.net", "nameservers specified more than once"},
		{"refresh 1s\nrefresh 1s", "refresh specified more than once"},
		{"state a.db\nstate b.db", "state specified more than once"},
		{"resolver 192.0.2.1", "resolver specified more than once"},
		{"trust_anchor anchor.ds\ntrust_anchor anchor.ds", "trust_anchor specified more than once"},
		{"ttl 1h\nttl 1h", "ttl specified more than once"},
		{"cns ns1.example.net\ncns ns1.example.net", "cns specified more than once"},

		{"key", "Wrong argument count"},
		{"key file", "Wrong argument count"},
		{"key file ksk", "Wrong argument count"},
		{"key directory", "Wrong argument count"},
		{"key pkcs11 slot0", `unknown kind of key "pkcs11"`},
		{"key file Kexample.org.+013+00000", "Kexample.org.+013+00000"},
		{"key file cut", "cut.key"},
		{"key file " + foreign, "is a key of example.com."},
		{"key file KSK.key", "is named twice"},
		{"key directory none", `key directory "none"`},
		{"key directory anchor.ds", `key directory "anchor.ds"`},
		{"key directory keys\nkey directory keys", "is named twice"},

		{"cns", "Wrong argument count"},
		{"cns 192.0.2.1", "is not the name of a nameserver"},
		{"cns _ns.example.net", "is not the name of a nameserver"},
		{"cns ns1..example.net", "is not the name of a nameserver"},
		{"cns ns1.example.net NS1.example.net.", "is named twice"},
		{"cns " + strings.Join(hosts, " "), "33 hosts"},

		{"cns_type", "Wrong argument count"},
		{"cns_type 1 2", "Wrong argument count"},
		{"cns_type CNS", "is not the number of a record type"},
		{"cns_type 65536", "is not the number of a record type"},
		{"cns_type -1", "is not the number of a record type"},
		{"cns_type 0", "cannot be CNS"},
		{"cns_type 2", "type NS cannot be CNS"},
		{"cns_type 255", "cannot be CNS"},
		{"cns_type 65534", "cannot be CNS"},
		{"cns_type 65535", "cannot be CNS"},

		{"trust_anchor", "Wrong argument count"},
		{"trust_anchor missing.ds", "missing.ds"},
		{"trust_anchor empty", "empty"},

		{"state", "Wrong argument count"},
		{"state a.db b.db", "Wrong argument count"},
		{"state damaged.db", "damaged.db"},
		{"state keys", "keys"},

		{"refresh", "Wrong argument count"},
		{"refresh 1s 2s 3s", "Wrong argument count"},
		{"refresh often", `"often" is not a duration`},
		{"refresh 999ms", "out of range"},
		{"refresh 0s", "out of range"},
		{"refresh -1m", "out of range"},
		{"refresh 1500ms", "not a whole number of seconds"},
		{"refresh 2m 1m", "is longer than MAX"},
		{"refresh 1m 73h", "out of range"},

		{"ttl", "Wrong argument count"},
		{"ttl 0s", "out of range"},
		{"ttl 49h", "out of range"},
		{"max_zone_ttl", "Wrong argument count"},
		{"max_zone_ttl 0s", "out of range"},
		{"max_zone_ttl 600000h", "out of range"},
		{"max_zone_ttl day", "is not a duration"},

		{"algorithms", "Wrong argument count"},
		{"algorithms loose", "strict or lax"},
		{"delegation", "Wrong argument count"},
		{"delegation auto manual", "Wrong argument count"},
		{"delegation maybe", "manual or auto"},
		{"distrust", "Wrong argument count"},
		{"distrust ns1.example.com NS1.example.com.", "named twice"},
		{"distrust 1 01", "named twice"},
		{"distrust 65536", "is no key tag"},
		{"distrust ns1.example.net", "a nameserver of ours"},
		{"distrust -1", "distrust takes host names and key tags"},
		{"cds", "Wrong argument count"},
		{"cds remove", "cds delete"},

		{"nameserver_port", "Wrong argument count"},
		{"nameserver_port 0", "is not a port"},
		{"nameserver_port 65536", "is not a port"},
		{"nameserver_port dns", "is not a port"},

		{"cns " + long + ".example.net", "is not the name of a nameserver"},
	} {
		_, err := f.parse(valid(tt.option))
		expectError(t, tt.option, err, tt.want)
	}
}

func TestParseRejectsStanzas(t *testing.T) {
	f := newCorefile(t)
	label := strings.Repeat("a", 63)
	long := label + "." + label + "." + label
	longKSK := writeKey(t, f.dir, long+".", 257)
	for _, tt := range []struct{ name, input, want string }{
		{"no block", "mske example.org", "nameservers is missing"},
		{"no nameservers", "mske example.org {\nkey file KSK ZSK\nresolver 192.0.2.53\n}", "nameservers is missing"},
		{"nameservers without a host", "mske example.org {\nnameservers\n}", "Wrong argument count"},
		{"an address as nameserver", "mske example.org {\nnameservers 192.0.2.1\n}", "is not the name of a nameserver"},
		{"a zone's escape as nameserver", "mske example.org {\nnameservers ns\\046.example.net\n}", "is not the name of a nameserver"},
		{"the root as nameserver", "mske example.org {\nnameservers .\n}", "is not the name of a nameserver"},
		{"a nameserver twice", "mske example.org {\nnameservers ns1.example.net ns1.example.net.\n}", "is named twice"},
		{"no room for _signal", "mske example.org {\nnameservers " + long + "." + strings.Repeat("b", 58) + "\n}", "255"},
		{"no key", "mske example.org {\nnameservers ns1.example.net\nresolver 192.0.2.53\n}", "key is missing"},
		{"a secure-entry key alone", "mske example.org {\nnameservers ns1.example.net\nresolver 192.0.2.53\nkey file KSK ksk\n}", "example.org."},
		{"a data-signing key alone", "mske example.org {\nnameservers ns1.example.net\nresolver 192.0.2.53\nkey file ZSK\n}", "example.org."},
		{"a zone without its keys", "mske example.org example.net {\nnameservers ns1.example.net\nresolver 192.0.2.53\nkey file KSK ZSK\n}", "example.net."},
		{"a zone twice", "mske example.org EXAMPLE.org. {\nnameservers ns1.example.net\n}", "is named twice"},
		{"an international name", "mske bücher.example {\nnameservers ns1.example.net\n}", "(international names are written as xn--...)"},
		{"no zone name", "mske exa..mple {\nnameservers ns1.example.net\n}", "exa..mple"},
		{"no zone at all", "mske {\nnameservers ns1.example.net\n}", "no zone"},
		{"every announcement too long", "mske " + long + " {\nnameservers " + strings.Repeat("n", 63) + ".example.net\nresolver 192.0.2.53\nkey file " + longKSK + "\n}", "cannot be announced"},
		{"a block in a block", "mske example.org {\nnameservers ns1.example.net {\ntls\n}\n}", "unknown property"},
		{"resolver without an address", "mske example.org {\nresolver\n}", "Wrong argument count"},
		{"resolver by name", "mske example.org {\nresolver dns.example.net\n}", "dns.example.net"},
		{"resolver with a bad port", "mske example.org {\nresolver 192.0.2.1:99999\n}", "192.0.2.1:99999"},
		{"resolver with another scheme", "mske example.org {\nresolver https://192.0.2.1\n}", "https"},
		{"resolver file without one", "mske example.org {\nresolver empty\n}", "empty"},
	} {
		_, err := f.parse(tt.input)
		expectError(t, tt.name, err, tt.want)
	}
}

// expectError checks that err says want, and where in the Corefile.
func expectError(t *testing.T, name string, err error, want string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: expected an error, got none", name)
		return
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("%s: expected an error with %q, got %q", name, want, err)
	}
	if !strings.HasPrefix(err.Error(), "Testfile:") {
		t.Errorf("%s: expected an error with file and line, got %q", name, err)
	}
}

func TestParseZonesOfTheServerBlock(t *testing.T) {
	f := newCorefile(t)
	stanza := "mske {\nnameservers ns1.example.com\nresolver 192.0.2.53\nkey directory keys\n}"
	m, err := f.parse(stanza, "dns://example.org.:1053", "tls://example.org.:853", "dns://EXAMPLE.net.:53")
	if err != nil {
		t.Fatal(err)
	}
	m.instance.connect()
	if got, want := m.names(), []string{"example.net.", "example.org."}; !slices.Equal(got, want) {
		t.Errorf("Expected %q, got %q", want, got)
	}
}

func TestParseRejectsServerBlocksOfInternationalNames(t *testing.T) {
	f := newCorefile(t)
	stanza := "mske {\nnameservers ns1.example.com\nresolver 192.0.2.53\nkey directory keys\n}"
	_, err := f.parse(stanza, "dns://example.org.:53", "dns://bücher.example.:53")
	expectError(t, "raw", err, "(international names are written as xn--...)")
	m, err := f.parse(stanza, "dns://xn--bcher-kva.example.:53", `dns://b\195\188cher.example.:53`)
	if err != nil || m.zones["xn--bcher-kva.example."] == nil || m.zones[`b\195\188cher.example.`] == nil {
		t.Errorf("Expected both ways to write the name in ASCII to be taken, got %v", err)
	}
}

func TestParseKeepsNamesAsTheyComeFromTheWire(t *testing.T) {
	f := newCorefile(t)
	m, err := f.parse(`mske \101b\.c.example 10.0.0.0/23 {
		nameservers ns1.example.com
		resolver 192.0.2.53
		key directory keys
	}`)
	if err != nil {
		t.Fatal(err)
	}
	m.instance.connect()
	if got, want := m.names(), []string{"0.0.10.in-addr.arpa.", "1.0.10.in-addr.arpa.", `eb\.c.example.`}; !slices.Equal(got, want) {
		t.Errorf("Expected %q, got %q", want, got)
	}
}

func TestParseStanzasOfOneZone(t *testing.T) {
	f := newCorefile(t)
	one := func(nameservers, more string) string {
		return "mske example.org {\nnameservers " + nameservers + "\nresolver 192.0.2.53\n" + more + "\n}\n"
	}
	const keysOf = "key file KSK ZSK"
	for _, tt := range []struct{ name, first, second, want string }{
		{"alike", one("ns1.example.net ns2.example.net", keysOf), one("ns2.example.net ns1.example.net", keysOf), ""},
		{"two providers", one("ns1.example.net", keysOf), one("ns1.example.com", "key directory keys"), ""},
		{"other keys", one("ns1.example.net", keysOf), one("ns1.example.net", "key directory keys"), "key differs"},
		{"other roles", one("ns1.example.net", keysOf), one("ns1.example.net", "key file KSK ZSK csk"), "key differs"},
		{"other nameservers", one("ns1.example.net", keysOf), one("ns1.example.net ns2.example.net", keysOf), "nameservers differs"},
		{"other ttl", one("ns1.example.net", keysOf), one("ns1.example.net", keysOf+"\nttl 5m"), "ttl differs"},
		{"other distrust", one("ns1.example.net", keysOf), one("ns1.example.net", keysOf+"\ndistrust 4711"), "distrust differs"},
		{"other wishes for DS", one("ns1.example.net", keysOf), one("ns1.example.net", keysOf+"\ncds delete"), "cds differs"},
		{"other delegation", one("ns1.example.net", keysOf), one("ns1.example.net", keysOf+"\ndelegation auto"), "delegation differs"},
		{"delegation as by default", one("ns1.example.net", keysOf), one("ns1.example.net", keysOf+"\ndelegation manual"), ""},
		{"other CNS", one("ns1.example.net", keysOf), one("ns1.example.net", keysOf+"\ncns ns1.example.com"), "cns differs"},
		{"other state file", one("ns1.example.net", keysOf), one("ns1.example.net", keysOf+"\nstate a.db"), "state differs"},
		{"two state files", one("ns1.example.net", keysOf+"\nstate b.db"), one("ns1.example.com", keysOf+"\nstate a.db"), ""},
		{"below the signaling domain", one("ns1.example.net", keysOf), "mske a._signal.ns1.example.net {\nnameservers ns1.example.com\nresolver 192.0.2.53\nkey directory keys\n}", "lies below _signal.ns1.example.net."},
		{"below, the other way round", "mske a._signal.ns1.example.net {\nnameservers ns1.example.com\nresolver 192.0.2.53\nkey directory keys\n}", one("ns1.example.net", keysOf), "lies below _signal.ns1.example.net."},
		{"the signaling domain", one("ns1.example.net", keysOf), "mske _signal.ns1.example.net {\nnameservers ns1.example.net\nresolver 192.0.2.53\nkey directory keys\n}", ""},
	} {
		c := caddy.NewTestController("dns", f.replace.Replace(tt.first))
		dnsserver.GetConfig(c).Root = f.dir
		inst := instanceOf(c)
		if err := parse(c, newHandler(dnsserver.GetConfig(c), inst, nil)); err != nil {
			t.Errorf("%s: first server block: %v", tt.name, err)
			continue
		}
		c = caddy.NewTestController("dns", f.replace.Replace(tt.second))
		dnsserver.GetConfig(c).Root = f.dir
		err := parse(c, newHandler(dnsserver.GetConfig(c), inst, nil))
		if tt.want != "" {
			expectError(t, tt.name, err, tt.want)
		} else if err != nil {
			t.Errorf("%s: expected no error, got %v", tt.name, err)
		}
	}
}

func TestParseRejectsAZoneTwiceInOneServerBlock(t *testing.T) {
	f := newCorefile(t)
	one := "mske example.org {\nnameservers %s\nresolver 192.0.2.53\nkey file KSK ZSK\n}\n"
	_, err := f.parse(fmt.Sprintf(one+one, "ns1.example.net", "ns1.example.com"))
	expectError(t, "two stanzas", err, "already in the stanza at Testfile:1")
}

func TestParseTakesSeveralStanzas(t *testing.T) {
	f := newCorefile(t)
	m, err := f.parse(valid("") + "\nmske example.net {\nnameservers ns1.example.org\nresolver 192.0.2.53\nkey file CSK\n}")
	if err != nil {
		t.Fatal(err)
	}
	m.instance.connect()
	want := []string{"_signal.ns1.example.net.", "_signal.ns1.example.org.", "example.net.", "example.org."}
	if got := m.names(); !slices.Equal(got, want) {
		t.Errorf("Expected one handler for %q, got %q", want, got)
	}
}

func TestParseLeavesNothingOpen(t *testing.T) {
	f := newCorefile(t)
	for range 2 {
		if _, err := f.parse(valid("state a.db\nkey directory keys")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(f.dir, "a.db")); !os.IsNotExist(err) {
		t.Errorf("Expected no state file after parsing, got %v", err)
	}
	lease, err := store.Acquire(filepath.Join(f.dir, "a.db"))
	if err != nil {
		t.Fatalf("Expected the state file to be free after parsing, got %v", err)
	}
	if err := lease.Release(); err != nil {
		t.Fatal(err)
	}
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		for _, fd := range fds {
			if at, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(at, f.dir) {
				t.Errorf("Expected no open file after parsing, got %s", at)
			}
		}
	}
}

func TestSetupPrefixesErrors(t *testing.T) {
	c := caddy.NewTestController("dns", "mske example.org {\ncolour blue\n}")
	if err := setup(c); err == nil || !strings.HasPrefix(err.Error(), "plugin/mske: Testfile:2") {
		t.Errorf("Expected an error that starts with plugin/mske: Testfile:2, got %v", err)
	}
}

// FuzzParse holds that no Corefile makes parsing panic, and that its errors say
// where they are.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		valid(""), valid("key directory keys"), valid("refresh 1s 2s"), valid("cns ns1.example.net"),
		"mske", "mske {", "mske example.org {\n}\n}", "mske example.org {\nnameservers ns1.example.net {\ntls\n}\n}", "mske 10.0.0.0/9 {\n", "mske example.org }", `mske "" {`,
	} {
		f.Add(seed)
	}
	dir := newCorefile(f)
	f.Fuzz(func(t *testing.T, input string) {
		if _, err := dir.parse(input); err != nil && !strings.HasPrefix(err.Error(), "Testfile:") {
			t.Errorf("Expected an error with file and line, got %v", err)
		}
	})
}

// The names of a fleet lie in one piece, in which a query finds its own.
func TestNamesOfZonesLieTogether(t *testing.T) {
	zones, err := parseZones([]string{"Example.org", "example.net.", "a.example"}, nil)
	if err != nil || !slices.Equal(zones, []string{"example.org.", "example.net.", "a.example."}) {
		t.Fatalf("Expected three names, got %q, %v", zones, err)
	}
	for i, name := range zones[1:] {
		before := zones[i]
		if unsafe.Pointer(unsafe.StringData(name)) != unsafe.Add(unsafe.Pointer(unsafe.StringData(before)), len(before)) {
			t.Errorf("Expected %s right after %s", name, before)
		}
	}
}
