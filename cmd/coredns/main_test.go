package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
)

// TestPluginCfgIsTheOrderOfThisBuild holds plugin.cfg, for those who compile
// mske into a full CoreDNS, against the order that this program uses.
func TestPluginCfgIsTheOrderOfThisBuild(t *testing.T) {
	text, err := os.ReadFile("../../plugin.cfg")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, path, ok := strings.Cut(line, ":")
		if !ok {
			t.Fatalf("Expected NAME:PACKAGE, got %q", line)
		}
		if name == "mske" && path != "github.com/coredns-mske/mske" {
			t.Errorf("Expected mske to be the package at the root, got %q", path)
		}
		names = append(names, name)
	}
	if !slices.Equal(names, dnsserver.Directives) {
		t.Errorf("Expected the plugins of plugin.cfg in the order\n%v, got\n%v", dnsserver.Directives, names)
	}
}

func TestMSKEIsJustBeforeDNSSEC(t *testing.T) {
	mske := slices.Index(dnsserver.Directives, "mske")
	dnssec := slices.Index(dnsserver.Directives, "dnssec")
	if mske < 0 || dnssec != mske+1 {
		t.Errorf("Expected mske just before dnssec, got them at %d and %d", mske, dnssec)
	}
}

// TestPluginsOfThisBuild lists what README promises of the custom build.
func TestPluginsOfThisBuild(t *testing.T) {
	want := strings.Fields(`acl any auto bind bufsize cache debug dnssec dnstap dynupdate errors file forward header health
		local log loop metadata minimal mske multisocket nsid pprof prometheus ready reload rewrite root secondary sign
		template timeouts tls transfer tsig view whoami`)
	var got []string
	for _, name := range caddy.ListPlugins()["others"] {
		got = append(got, strings.TrimPrefix(name, "dns."))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("Expected the plugins\n%v, got\n%v", want, got)
	}
	for _, name := range got {
		if !slices.Contains(dnsserver.Directives, name) {
			t.Errorf("Expected %s among the directives", name)
		}
	}
}
