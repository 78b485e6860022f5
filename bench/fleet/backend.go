package main

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/cns"
)

// backendName is the plugin behind mske.
const backendName = "fleet"

func init() {
	plugin.Register(backendName, func(c *caddy.Controller) error {
		b := &backend{fleet: new(fleet)}
		for c.Next() {
			args := c.RemainingArgs()
			if len(args) != 1 {
				return c.ArgErr()
			}
			hosts, err := strconv.Atoi(args[0])
			if err != nil {
				return c.Err(err.Error())
			}
			b.hosts = hosts
		}
		dnsserver.GetConfig(c).AddPlugin(func(plugin.Handler) plugin.Handler { return b })
		return nil
	})
}

// backend holds the data of the fleet's zones: any database would cost more.
type backend struct {
	*fleet
	soas sync.Map // signed, by zone
}

// Name implements the plugin.Handler interface.
func (b *backend) Name() string { return backendName }

// ServeDNS implements the plugin.Handler interface.
func (b *backend) ServeDNS(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	q := r.Question[0]
	var i int
	name := dns.CanonicalName(q.Name)
	zone := name
	if len(zone) > len(zoneName(0)) {
		zone = zone[len(zone)-len(zoneName(0)):]
	}
	if !scan(zone, "z", "."+parent, &i) {
		return dns.RcodeRefused, nil
	}
	m := new(dns.Msg)
	m.SetReply(r)
	m.Authoritative = true
	hosts := []string{ourHost}
	for _, p := range b.peers(i) {
		hosts = append(hosts, hostName(p))
	}
	switch {
	case name == zone && q.Qtype == dns.TypeSOA:
		m.Answer = b.soa(zone, hosts)
	case name == zone && q.Qtype == dns.TypeNS:
		m.Answer = apex(zone, q.Qtype, hosts, nil)
	case name == zone && q.Qtype == cns.DefaultType:
		for _, host := range hosts {
			m.Answer = append(m.Answer, cnsRecord(zone, host))
		}
	}
	if len(m.Answer) == 0 {
		m.Ns = b.soa(zone, hosts)
	}
	return dns.RcodeSuccess, w.WriteMsg(m)
}

// soa returns the SOA RRset of a zone with its signature.
func (b *backend) soa(zone string, hosts []string) []dns.RR {
	if rrs, ok := b.soas.Load(zone); ok {
		return rrs.([]dns.RR)
	}
	_, zsk := ourKeys(zone)
	rrs := apex(zone, dns.TypeSOA, hosts, nil)
	now := time.Now()
	rrs = append(rrs, signBy(zsk, zone, rrs, uint32(now.Add(-time.Hour).Unix()), uint32(now.AddDate(0, 0, 7).Unix())))
	b.soas.Store(zone, rrs)
	return rrs
}
