package observe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/miekg/dns"
)

// maxRecords bounds the records of an answer that are looked at: an RRset of
// maxKeys keys with all its signatures has fewer than a hundred.
const maxRecords = 256

// Why an address is of no use.
var (
	errTimeout   = errors.New("was not asked in time")
	errLame      = errors.New("answers without authority for the zone")
	errNoZone    = errors.New("does not have the zone: it denies its SOA record")
	errAlias     = errors.New("has a CNAME at the zone's apex")
	errOversized = fmt.Errorf("answers with more than %d records", maxRecords)
)

// answer is one RRset as it came, with its signatures.
type answer struct {
	rrs  []dns.RR
	sigs []*dns.RRSIG
	err  error
}

// glance is what one address served over one transport.
type glance struct {
	err  error
	sets map[uint16]answer // by type
}

// glance asks for the apex RRsets. SOA comes first and shows whether the rest
// is worth asking for.
func (o *Observer) glance(ctx context.Context, addr netip.AddrPort, stream bool, zone string) glance {
	if !o.acquire(ctx) {
		return glance{err: errTimeout}
	}
	defer o.release()
	ctx, cancel := context.WithTimeout(ctx, addressTime)
	defer cancel()
	ask := func(ctx context.Context, name string, qtype uint16) (*dns.Msg, error) {
		m, err := o.net.AskUDP(ctx, addr, name, qtype)
		if err != nil && ctx.Err() == nil { // a datagram may be lost
			m, err = o.net.AskUDP(ctx, addr, name, qtype)
		}
		return m, err
	}
	if stream {
		var end func()
		ask, end = o.net.ConnectTCP(addr)
		defer end()
	}
	g := glance{sets: make(map[uint16]answer)}
	for _, qtype := range []uint16{dns.TypeSOA, dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeNS, o.cnsType} {
		m, err := ask(ctx, zone, qtype)
		if err != nil {
			g.sets[qtype] = answer{err: err}
		} else {
			g.sets[qtype] = read(m, zone, qtype)
		}
		if soa := g.sets[dns.TypeSOA]; soa.err != nil {
			return glance{err: soa.err}
		} else if len(soa.rrs) == 0 {
			return glance{err: errNoZone}
		}
	}
	return g
}

// read returns the RRset of that name and type in an authoritative answer.
func read(m *dns.Msg, name string, qtype uint16) answer {
	switch {
	case !m.Authoritative:
		return answer{err: errLame}
	case len(m.Answer) > maxRecords:
		return answer{err: errOversized}
	case len(records(m.Answer, name, dns.TypeCNAME)) > 0:
		return answer{err: errAlias}
	}
	a := answer{rrs: records(m.Answer, name, qtype)}
	for _, rr := range records(m.Answer, name, dns.TypeRRSIG) {
		if sig, ok := rr.(*dns.RRSIG); ok && sig.TypeCovered == qtype {
			a.sigs = append(a.sigs, sig)
		}
	}
	return a
}
