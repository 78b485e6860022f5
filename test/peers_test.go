package test

import (
	"encoding/json"
	"os/exec"
	"testing"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/daemon"
)

// announcement is what `mske announce` prints of a provider's keys, for the
// zone file of a server that does not run mske.
func (n *network) announcement(p *provider) string {
	n.t.Helper()
	return run(n.t, p.dir, ours(n.t, "mske"), "announce", "-d", p.dir, "--ns", p.host, shared)
}

// checkPeer has provider A take in what provider B announces by other means
// than mske.
func (n *network) checkPeer() {
	n.t.Helper()
	n.startUnbound(ipFetch, shortMemory...)
	name := "_multi." + shared + "_signal." + n.b.host
	judge(n.t, n.addr(ipFetch), []question{
		{name, dns.TypeCDS, exists},
		{name, dns.TypeCDNSKEY, exists},
		{name, dns.TypeDNSKEY, exists},
	})
	for host, want := range map[string]string{n.b.host: "secure", "ns2." + n.b.domain: "absent"} {
		if got := n.fetchStatus(host); got != want {
			n.t.Errorf("Expected mske fetch to find the announcement of %s %s, got %s", host, want, got)
		}
	}
	n.startCoreDNS(n.a, delegated, n.addr(ipFetch))
	kskA, zskA, kskB, zskB := tag(n.t, n.a.ksk), tag(n.t, n.a.zsk), tag(n.t, n.b.ksk), tag(n.t, n.b.zsk)
	daemon.AwaitTags(n.t, n.addr(ipA), shared, dns.TypeDNSKEY, kskA, zskA, zskB)
	daemon.AwaitTags(n.t, n.addr(ipA), shared, dns.TypeCDS, kskA, kskB)
	daemon.AwaitTags(n.t, n.addr(ipA), shared, dns.TypeCDNSKEY, kskA, kskB)
	judge(n.t, n.addr(ipFetch), apexQuestions)
}

// fetchStatus is the verdict of `mske fetch` on the announcement of a host.
func (n *network) fetchStatus(host string) string {
	n.t.Helper()
	cmd := exec.Command(ours(n.t, "mske"), "fetch", "--json", "--resolver", n.addr(ipFetch), "--trust-anchor", n.anchor, shared, host)
	out, _ := cmd.Output() // its exit status says no more than the verdict
	var result struct{ Status string }
	if err := json.Unmarshal(out, &result); err != nil {
		n.t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return result.Status
}

func TestKnotPeerThatSignsItself(t *testing.T) {
	daemon.Need(t, "knotd", "keymgr", "unbound")
	n := newNetwork(t, true)
	zsk := n.zsk(n.b.dir, n.b.domain, "ECDSAP256SHA256")
	n.startKnot(ipB, map[string]string{
		n.b.domain: n.zoneFile(n.b.dir, n.b.domain, n.b.host, "ns1 A "+n.b.ip+"\n"+n.announcement(n.b)),
		shared:     n.zoneFile(n.b.dir, shared, n.a.host, "www A "+wwwIP+"\n"),
	}, map[string][]string{
		n.b.domain: {n.b.own, zsk},
		shared:     {n.b.ksk, n.b.zsk},
	})
	n.checkPeer()
}

func TestNSDPeerWithZoneSignedByLDNS(t *testing.T) {
	daemon.Need(t, "unbound")
	n := newNetwork(t, true)
	n.startNSD(ipB, map[string]string{
		n.b.domain: n.signLDNS(n.b.domain, n.b.host, "ns1 A "+n.b.ip+"\n"+n.announcement(n.b), n.b.own),
		shared:     n.signLDNS(shared, n.a.host, "www A "+wwwIP+"\n", n.b.ksk, n.b.zsk),
	})
	n.checkPeer()
}
