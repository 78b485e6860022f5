package observe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/domain"
	"github.com/coredns-mske/mske/validate"
)

var (
	errRoot      = errors.New("the root has no parent")
	errNoParent  = errors.New("the parent zone was not found")
	errUpward    = errors.New("refers to another zone: it does not have the parent zone")
	errDSAlias   = errors.New("there is a CNAME in place of DS")
	errParentNS  = errors.New("no nameserver of the parent was found")
	errNoAddress = errors.New("no address was found")
)

// Parent reads what the parent says of the zone: DS through the resolvers and
// validated, NS of the parent's nameservers themselves, since the delegation is
// not signed and resolvers prefer the zone's own NS (RFC 2181 section 5.4.1).
func (o *Observer) Parent(ctx context.Context, zone string) Parent {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	zone, err := domain.Canonical(zone)
	switch {
	case err != nil:
		return Parent{DSErr: err}
	case zone == ".":
		return Parent{DSErr: errRoot}
	}
	s := o.net.Session()
	p := readDS(ctx, s, zone)
	if p.Name == "" {
		if p.Name, err = enclosing(ctx, s, zone); err != nil {
			p.DSErr = cmp.Or(p.DSErr, err)
			return p
		}
	}
	o.delegation(ctx, s, zone, &p)
	return p
}

// readDS returns a Parent with the DS RRset, and with the parent's name if
// that is proved.
func readDS(ctx context.Context, s *validate.Session, zone string) Parent {
	r, err := s.Lookup(ctx, zone, dns.TypeDS)
	p := Parent{DSErr: err}
	switch {
	case err != nil:
	case r.Status == validate.Insecure:
		p.DSStatus, p.DSTTL = DSInsecure, r.TTL
	case r.Status != validate.Secure:
		p.DSErr = r.Reason
	case r.Alias != nil:
		p.DSErr = errDSAlias
	case r.Denied:
		p.Name, p.DSStatus, p.DSTTL = r.Signer, DSDenied, r.TTL
		if r.Sig != nil {
			p.DSTTL = ttlOf(r.Sig.OrigTtl)
		}
	default:
		p.Name, p.DSStatus, p.DS = r.Signer, DSPresent, digestsOf(r.RRset)
		p.DSTTL = r.TTL
		if r.Sig != nil {
			p.DSTTL = ttlOf(r.Sig.OrigTtl)
		}
	}
	p.DSAge = max(0, p.DSTTL-r.TTL)
	return p
}

// enclosing returns the zone that holds the delegation of zone, as SOA shows
// it: nobody vouches for it.
func enclosing(ctx context.Context, s *validate.Session, zone string) (string, error) {
	for name := above(zone); ; name = above(name) {
		m, err := s.Exchange(ctx, name, dns.TypeSOA, true)
		if err != nil {
			return "", fmt.Errorf("looking for the parent zone: %w", err)
		}
		for _, rr := range slices.Concat(m.Answer, m.Ns)[:min(len(m.Answer)+len(m.Ns), maxRecords)] {
			if owner := dns.CanonicalName(rr.Header().Name); rr.Header().Rrtype == dns.TypeSOA && dns.IsSubDomain(owner, name) {
				return owner, nil
			}
		}
		if name == "." {
			return "", errNoParent
		}
	}
}

// above returns the name without its first label.
func above(name string) string {
	i, end := dns.NextLabel(name, 0)
	if end {
		return "."
	}
	return name[i:]
}

// delegation asks every address of the parent's nameservers for the zone's NS.
func (o *Observer) delegation(ctx context.Context, s *validate.Session, zone string, p *Parent) {
	hosts, err := parentHosts(ctx, s, p.Name)
	if err != nil {
		p.Servers = []ParentServer{{Host: p.Name, Err: err}}
		return
	}
	answers := make([][]ParentServer, len(hosts))
	var wg sync.WaitGroup
	for i, host := range hosts {
		wg.Go(func() { answers[i] = o.askParent(ctx, zone, p.Name, host) })
	}
	wg.Wait()
	p.Servers = slices.Concat(answers...)
	p.summarize(len(hosts))
}

// parentHosts returns the nameservers of the parent zone.
func parentHosts(ctx context.Context, s *validate.Session, parent string) ([]string, error) {
	m, err := s.Exchange(ctx, parent, dns.TypeNS, true)
	if err != nil {
		return nil, err
	}
	r, err := s.Check(ctx, m, parent, dns.TypeNS)
	if err != nil {
		return nil, err
	}
	rrs := r.RRset
	switch r.Status {
	case validate.Bogus:
		return nil, r.Reason
	case validate.Insecure:
		rrs = records(m.Answer, parent, dns.TypeNS)
	}
	hosts := hostsOf(rrs)
	if len(hosts) == 0 {
		return nil, errParentNS
	}
	return hosts[:min(len(hosts), MaxHosts)], nil
}

// askParent asks one of the parent's nameservers, at each of its addresses.
func (o *Observer) askParent(ctx context.Context, zone, parent, host string) []ParentServer {
	v := &visited{host: host}
	if v.resolve(ctx, o); v.err != nil {
		return []ParentServer{{Host: host, Err: v.err}}
	}
	if len(v.addrs) == 0 {
		return []ParentServer{{Host: host, Err: errNoAddress}}
	}
	out := make([]ParentServer, len(v.addrs))
	var wg sync.WaitGroup
	for i, a := range v.addrs {
		out[i] = ParentServer{Host: host, Addr: a.addr.Addr(), NoRoute: a.noRoute}
		if a.noRoute {
			out[i].Err = errNoRoute
			continue
		}
		wg.Go(func() { o.askReferral(ctx, a.addr, zone, parent, &out[i]) })
	}
	wg.Wait()
	return out
}

// askReferral asks one address of the parent, over UDP and, if that fails, over
// TCP.
func (o *Observer) askReferral(ctx context.Context, addr netip.AddrPort, zone, parent string, ps *ParentServer) {
	if !o.acquire(ctx) {
		ps.Err = errTimeout
		return
	}
	defer o.release()
	ctx, cancel := context.WithTimeout(ctx, addressTime)
	defer cancel()
	m, err := o.net.AskUDP(ctx, addr, zone, dns.TypeNS)
	if err != nil && ctx.Err() == nil {
		ask, end := o.net.ConnectTCP(addr)
		defer end()
		m, err = ask(ctx, zone, dns.TypeNS)
	}
	if err != nil {
		ps.Err = err
		return
	}
	readReferral(m, zone, parent, ps)
}

// readReferral tells what an answer to zone's NS from a server of its parent
// is: a referral, whose NS is in the authority section (RFC 1034 section 4.3.2);
// the zone's own NS, with authority, from a server that has the zone too; or a
// denial by the parent, which does not delegate the zone.
func readReferral(m *dns.Msg, zone, parent string, ps *ParentServer) {
	rrs := records(m.Answer, zone, dns.TypeNS)
	switch {
	case len(rrs) > 0 && m.Authoritative:
		ps.Child = true
	case len(rrs) > 0:
		ps.Err = errLame // what it remembers of others
		return
	default:
		rrs = records(m.Ns, zone, dns.TypeNS)
	}
	if len(rrs) == 0 && (!m.Authoritative || len(records(m.Ns, parent, dns.TypeSOA)) == 0) {
		ps.Err = errUpward
		return
	}
	ps.NS = hostsOf(rrs)
	for _, rr := range rrs {
		ps.TTL = max(ps.TTL, ttlOf(rr.Header().Ttl))
	}
}

// summarize works out what the delegation is from what the servers of so many
// hosts said.
func (p *Parent) summarize(hosts int) {
	heard := make(map[string]bool)
	p.NS, p.NSTTL = nil, time.Duration(0)
	for _, ps := range p.Servers {
		if ps.Err != nil {
			continue
		}
		heard[ps.Host] = true
		p.NS = append(p.NS, ps.NS...)
		p.NSTTL = max(p.NSTTL, ps.TTL)
	}
	slices.SortFunc(p.NS, domain.Compare)
	p.NS = slices.Compact(p.NS)
	p.NSRead = 2*len(heard) >= hosts // there is at least one
}
