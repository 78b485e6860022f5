package observe

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/cns"
	"github.com/coredns-mske/mske/domain"
	"github.com/coredns-mske/mske/validate"
)

const (
	// MaxHosts is how many nameservers of a zone are looked at (rule D2); of
	// its parent as many.
	MaxHosts = 32

	// maxAddresses is how many addresses of a host are asked.
	maxAddresses = 8

	// maxAsked is how many addresses are asked at the same time, for all zones
	// together, over either transport.
	maxAsked = 64

	// addressTime is what one address may take over one transport: a server
	// that answers the first question and then no more holds nobody up.
	addressTime = 10 * time.Second

	// DefaultTimeout is how long one look may take.
	DefaultTimeout = time.Minute

	// MaxTTL is the longest that a record is taken to be kept (RFC 8767
	// section 4).
	MaxTTL = 7 * 24 * time.Hour
)

// Network is what an [Observer] asks. A *fetch.Fetcher is one.
type Network interface {
	// Session returns a new session of validated look-ups by way of resolvers.
	Session() *validate.Session

	// Addresses returns where the nameserver host is to be asked.
	Addresses(ctx context.Context, host string) ([]netip.AddrPort, error)

	// AskUDP asks the server at addr without recursion, as resolvers do: over
	// UDP, and over TCP what comes truncated.
	AskUDP(ctx context.Context, addr netip.AddrPort, name string, qtype uint16) (*dns.Msg, error)

	// ConnectTCP returns what asks that server over TCP at once, one question
	// after the other, until end is called.
	ConnectTCP(addr netip.AddrPort) (ask func(ctx context.Context, name string, qtype uint16) (*dns.Msg, error), end func())

	// HasRoute reports whether this machine can send to addr at all.
	HasRoute(addr netip.AddrPort) bool
}

// Options are what an [Observer] can be told. The zero value is usable.
type Options struct {
	CNSType uint16           // the type number of CNS, cns.DefaultType if zero
	Timeout time.Duration    // for one look, [DefaultTimeout] if zero
	Now     func() time.Time // the clock, time.Now if nil

	Signatures *validate.Signatures // those known to be good, and that will be; none yet if nil
}

// Observer looks at zones. It is safe for concurrent use.
type Observer struct {
	net     Network
	cnsType uint16
	timeout time.Duration
	now     func() time.Time
	slots   chan struct{} // one for each address that is being asked

	signatures *validate.Signatures
}

// New returns an Observer that asks n.
func New(n Network, o Options) *Observer {
	if o.CNSType == 0 {
		o.CNSType = cns.DefaultType
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Signatures == nil {
		o.Signatures = validate.NewSignatures()
	}
	return &Observer{
		net: n, cnsType: o.CNSType, timeout: o.Timeout, now: o.Now, slots: make(chan struct{}, maxAsked), signatures: o.Signatures,
	}
}

// Look returns what the zone is like at the given nameservers and its parent.
// What could not be seen is part of what was seen: there is no error.
func (o *Observer) Look(ctx context.Context, zone string, hosts []string) Sight {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	l := o.begin(zone)
	var wg sync.WaitGroup
	wg.Go(func() { l.sight.Parent = o.Parent(ctx, zone) })
	l.visit(ctx, hosts)
	wg.Wait()
	return l.end()
}

// Servers is [Observer.Look] without the parent.
func (o *Observer) Servers(ctx context.Context, zone string, hosts []string) Sight {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	l := o.begin(zone)
	l.visit(ctx, hosts)
	return l.end()
}

// maxRounds is how often Explore follows names that it found at nameservers it
// had found.
const maxRounds = 3

// Explore finds the zone's nameservers by itself, in the parent's delegation, in
// the zone's NS and CNS as resolvers see them and as its nameservers have them,
// and looks at all of them.
func (o *Observer) Explore(ctx context.Context, zone string) Sight {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	l := o.begin(zone)
	s := &l.sight
	var wg sync.WaitGroup
	wg.Go(func() { s.Parent = o.Parent(ctx, zone) })
	wg.Go(func() { s.NS = o.resolve(ctx, s.Zone, dns.TypeNS) })
	wg.Go(func() { s.CNS = o.resolve(ctx, s.Zone, o.cnsType) })
	wg.Wait()
	l.visit(ctx, slices.Concat(s.Parent.NS, s.CNS.Hosts, s.NS.Hosts))
	for range maxRounds {
		if !l.visit(ctx, l.found()) {
			break
		}
	}
	return l.end()
}

// resolve returns an RRset of host names at the zone's apex by way of the
// resolvers.
func (o *Observer) resolve(ctx context.Context, zone string, qtype uint16) Resolved {
	s := o.net.Session()
	m, err := s.Exchange(ctx, zone, qtype, true)
	if err != nil {
		return Resolved{Err: err}
	}
	r, err := s.Check(ctx, m, zone, qtype)
	out := Resolved{Status: r.Status, Err: err}
	if err != nil {
		return out
	}
	rrs := r.RRset
	switch r.Status {
	case validate.Bogus:
		out.Err = r.Reason
		return out
	case validate.Insecure:
		rrs = records(m.Answer, zone, qtype)
	}
	for _, rr := range rrs[:min(len(rrs), maxRecords)] {
		out.TTL = max(out.TTL, ttlOf(rr.Header().Ttl))
	}
	if r.Sig != nil && len(rrs) > 0 {
		out.TTL = ttlOf(r.Sig.OrigTtl)
	}
	out.Hosts = hostsOf(rrs)
	return out
}

// ttlOf returns a TTL field as a duration. With the highest bit set it means
// zero (RFC 2181 section 8).
func ttlOf(seconds uint32) time.Duration {
	if seconds > 1<<31-1 {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, MaxTTL)
}

// hostsOf returns the host names in NS or CNS records, in order.
func hostsOf(rrs []dns.RR) []string {
	var hosts []string
	for _, rr := range rrs[:min(len(rrs), maxRecords)] {
		name := ""
		if ns, ok := rr.(*dns.NS); ok {
			name = ns.Ns
		} else if host, err := cns.Host(rr); err == nil {
			name = host
		}
		if host, err := domain.Canonical(name); err == nil {
			hosts = append(hosts, domain.Shared(host))
		}
	}
	slices.SortFunc(hosts, domain.Compare)
	return slices.Compact(hosts)
}

// records returns the records of that name and type, without duplicates, in a
// section.
func records(section []dns.RR, name string, rrtype uint16) []dns.RR {
	var rrs []dns.RR
	for _, rr := range section[:min(len(section), maxRecords)] {
		h := rr.Header()
		if h.Rrtype == rrtype && h.Class == dns.ClassINET && dns.CanonicalName(h.Name) == name &&
			!slices.ContainsFunc(rrs, func(other dns.RR) bool { return duplicate(rr, other) }) {
			rrs = append(rrs, rr)
		}
	}
	return rrs
}

// duplicate reports whether two records of one name and type are the same. To
// miekg/dns no two records of a private type are.
func duplicate(a, b dns.RR) bool {
	if p, ok := a.(*dns.PrivateRR); ok {
		q, ok := b.(*dns.PrivateRR)
		return ok && p.Data.String() == q.Data.String()
	}
	return dns.IsDuplicate(a, b)
}

// acquire takes a slot, and reports whether it got one in time.
func (o *Observer) acquire(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case o.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (o *Observer) release() { <-o.slots }
