package main

import (
	"context"
	"encoding/base64"
	"log"
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
		b := &backend{fleet: new(fleet), signed: make(map[int]signature)}
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

// backend holds the data of the fleet's zones: any database would cost more. What it
// keeps is nothing for the garbage collector to visit, so that this is none of what is
// measured.
type backend struct {
	*fleet
	mu     sync.Mutex
	signed map[int]signature // the SOA records
}

// signature is what an RRSIG of a SOA record has for itself.
type signature struct {
	from, until uint32
	tag         uint16
	octets      [64]byte // as long as those by ECDSA P-256
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
		m.Answer = b.soa(i, zone, hosts)
	case name == zone && q.Qtype == dns.TypeNS:
		m.Answer = apex(zone, q.Qtype, hosts, nil)
	case name == zone && q.Qtype == cns.DefaultType:
		for _, host := range hosts {
			m.Answer = append(m.Answer, cnsRecord(zone, host))
		}
	}
	if len(m.Answer) == 0 {
		m.Ns = b.soa(i, zone, hosts)
	}
	return dns.RcodeSuccess, w.WriteMsg(m)
}

// soa returns the SOA RRset of a zone with its signature.
func (b *backend) soa(i int, zone string, hosts []string) []dns.RR {
	rrs := apex(zone, dns.TypeSOA, hosts, nil)
	b.mu.Lock()
	s, ok := b.signed[i]
	b.mu.Unlock()
	if !ok {
		_, zsk := ourKeys(zone)
		now := time.Now()
		sig := signBy(zsk, zone, rrs, uint32(now.Add(-time.Hour).Unix()), uint32(now.AddDate(0, 0, 7).Unix()))
		s = signature{from: sig.Inception, until: sig.Expiration, tag: sig.KeyTag}
		if n, err := base64.StdEncoding.Decode(s.octets[:], []byte(sig.Signature)); err != nil || n != len(s.octets) {
			log.Fatalf("The signature of %s has %d octets: %v", zone, n, err)
		}
		b.mu.Lock()
		b.signed[i] = s
		b.mu.Unlock()
	}
	return append(rrs, &dns.RRSIG{
		Hdr:         dns.RR_Header{Name: zone, Rrtype: dns.TypeRRSIG, Class: dns.ClassINET, Ttl: rrs[0].Header().Ttl},
		TypeCovered: dns.TypeSOA, Algorithm: dns.ECDSAP256SHA256, Labels: uint8(dns.CountLabel(zone)), OrigTtl: rrs[0].Header().Ttl,
		Inception: s.from, Expiration: s.until, KeyTag: s.tag, SignerName: zone, Signature: base64.StdEncoding.EncodeToString(s.octets[:]),
	})
}
