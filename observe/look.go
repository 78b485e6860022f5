package observe

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/domain"
)

// errNoRoute is why an address is not asked.
var errNoRoute = errors.New("cannot be reached from here: no route for its address family")

// look is a Sight in the making.
type look struct {
	o     *Observer
	sight Sight
	hosts []*visited
}

// visited is a nameserver with what came from it.
type visited struct {
	host  string
	addrs []*asked
	err   error
}

// asked is an address with what came from it.
type asked struct {
	addr     netip.AddrPort
	noRoute  bool
	udp, tcp glance
}

func (o *Observer) begin(zone string) *look {
	if name, err := domain.Canonical(zone); err == nil {
		zone = name
	}
	return &look{o: o, sight: Sight{Zone: zone}}
}

// visit looks at those of the hosts that were not looked at yet, and reports
// whether there were any. The first address of each comes first, so that a host
// with many dead ones does not keep others waiting.
func (l *look) visit(ctx context.Context, hosts []string) bool {
	fresh := l.add(hosts)
	var wg sync.WaitGroup
	for _, v := range fresh {
		wg.Go(func() { v.resolve(ctx, l.o) })
	}
	wg.Wait()
	for i := range maxAddresses {
		for _, v := range fresh {
			if i < len(v.addrs) && !v.addrs[i].noRoute {
				a := v.addrs[i]
				wg.Go(func() { a.udp = l.o.glance(ctx, a.addr, false, l.sight.Zone) })
				wg.Go(func() { a.tcp = l.o.glance(ctx, a.addr, true, l.sight.Zone) })
			}
		}
	}
	wg.Wait()
	return len(fresh) > 0
}

// add notes the hosts that are new, as far as the limit allows.
func (l *look) add(hosts []string) (fresh []*visited) {
	for _, name := range hosts {
		host, err := domain.Canonical(name)
		if err != nil || slices.ContainsFunc(l.hosts, func(v *visited) bool { return v.host == host }) ||
			slices.Contains(l.sight.Skipped, host) {
			continue
		}
		if len(l.hosts) == MaxHosts {
			if len(l.sight.Skipped) < MaxHosts { // more need not be named
				l.sight.Skipped = append(l.sight.Skipped, host)
			}
			continue
		}
		v := &visited{host: domain.Shared(host)}
		l.hosts, fresh = append(l.hosts, v), append(fresh, v)
	}
	return fresh
}

// resolve finds the host's addresses.
func (v *visited) resolve(ctx context.Context, o *Observer) {
	if !o.acquire(ctx) {
		v.err = errTimeout
		return
	}
	defer o.release()
	addrs, err := o.net.Addresses(ctx, v.host)
	if v.err = err; err != nil {
		return
	}
	for _, addr := range addrs {
		same := func(a *asked) bool { return a.addr == addr }
		if len(v.addrs) < maxAddresses && !slices.ContainsFunc(v.addrs, same) {
			v.addrs = append(v.addrs, &asked{addr: addr, noRoute: !o.net.HasRoute(addr)})
		}
	}
}

// found returns the nameservers that those looked at name in NS and CNS.
func (l *look) found() []string {
	var hosts []string
	for _, v := range l.hosts {
		for _, a := range v.addrs {
			for _, g := range []glance{a.udp, a.tcp} {
				for _, qtype := range []uint16{dns.TypeNS, l.o.cnsType} {
					hosts = append(hosts, hostsOf(g.sets[qtype].rrs)...)
				}
			}
		}
	}
	return hosts
}

// end returns the Sight, with the signatures verified.
func (l *look) end() Sight {
	s := l.sight
	s.At = l.o.now()
	slices.SortFunc(l.hosts, func(a, b *visited) int { return domain.Compare(a.host, b.host) })
	keys := newKeyring(s.Zone, s.At, l.glances(), l.o.signatures)
	for _, v := range l.hosts {
		server := Server{Host: v.host, Err: v.err}
		acc := newAccount()
		for _, a := range v.addrs {
			address := Address{Addr: a.addr.Addr(), NoRoute: a.noRoute}
			if a.noRoute {
				address.UDP.Err, address.TCP.Err = errNoRoute, errNoRoute
			} else {
				address.UDP, address.TCP = keys.apex(a.udp, l.o.cnsType, acc), keys.apex(a.tcp, l.o.cnsType, acc)
			}
			server.Addresses = append(server.Addresses, address)
		}
		s.Servers = append(s.Servers, server)
	}
	return s
}

func (l *look) glances() []glance {
	var all []glance
	for _, v := range l.hosts {
		for _, a := range v.addrs {
			all = append(all, a.udp, a.tcp)
		}
	}
	return all
}
