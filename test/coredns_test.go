package test

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/daemon"
)

// style is how a provider publishes its announcements.
type style int

const (
	delegated style = iota // in a zone of their own, _signal.<host>
	inDomain               // inside the provider's own zone
)

// sharedZone is example.co.uk as every provider gets it: not signed, with both
// providers in CNS.
func (n *network) sharedZone(p *provider) string {
	n.t.Helper()
	records := "@ CNS " + n.a.host + "\n@ CNS " + n.b.host + "\nwww A " + wwwIP + "\n"
	if len(n.sharedServers()) > 1 {
		records += "@ NS " + n.b.host + "\n"
	}
	return n.zoneFile(p.dir, shared, n.a.host, records)
}

// stanza is the mske stanza of a provider for zones, with the resolver at an
// address. Keys come from files that are named, if there are any, or from the
// provider's directory.
func (n *network) stanza(p *provider, resolver string, zones string, keys ...string) string {
	source := "key directory " + p.dir
	if len(keys) > 0 {
		source = "key file " + strings.Join(keys, " ")
	}
	return fmt.Sprintf(`
    mske %s {
        nameservers %s
        %s
        resolver %s
        trust_anchor %s
        state %s
        refresh 1s 1s
        ttl 1m
        nameserver_port %s
    }
`, zones, p.host, source, resolver, n.anchor, filepath.Join(p.dir, "mske.db"), n.port)
}

// dnssec is the stanza that signs a zone with keys.
func dnssec(zone string, keys ...string) string {
	return fmt.Sprintf("    dnssec %s {\n        key file %s\n    }\n", zone, strings.Join(keys, " "))
}

// corefile is what a provider runs our build with.
func (n *network) corefile(p *provider, s style, resolver string) string {
	n.t.Helper()
	block := func(zone, text string) string {
		return fmt.Sprintf("%s:%s {\n    bind %s\n    errors\n%s}\n", zone, n.port, p.ip, text)
	}
	file := func(path, zone string) string { return fmt.Sprintf("    file %s %s\n", path, zone) }

	text := block(shared, n.stanza(p, resolver, shared, p.ksk, p.zsk)+
		dnssec(shared, p.ksk, p.zsk)+
		file(n.sharedZone(p), shared))
	records := "ns1 A " + p.ip + "\n"
	if s == inDomain {
		return text + block(p.domain, n.stanza(p, resolver, p.domain)+
			dnssec(p.domain, p.own)+
			file(n.zoneFile(p.dir, p.domain, p.host, records), p.domain))
	}
	signal := "_signal." + p.host
	records += signal + " NS " + p.host + "\n" + n.ds(p.signal)
	return text + block(p.domain, n.stanza(p, resolver, signal, p.signal)+
		file(n.signBIND(p.domain, p.host, records, p.own), p.domain))
}

// startCoreDNS starts our build as a provider.
func (n *network) startCoreDNS(p *provider, s style, resolver string, env ...string) *daemon.Daemon {
	n.t.Helper()
	corefile := filepath.Join(p.dir, "Corefile")
	n.write(corefile, n.corefile(p, s, resolver))
	d := daemon.Start(n.t, "coredns-"+p.domain, p.dir, env, ours(n.t, "coredns"), "-conf", corefile)
	d.AwaitAnswer(net.JoinHostPort(p.ip, n.port), p.domain, dns.TypeSOA)
	return d
}
