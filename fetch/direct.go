package fetch

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/validate"
)

// maxAddresses is how many addresses of one host are used, of each family half
// of them: a host name is the peer's, and so are its addresses.
const maxAddresses = 8

// Addresses returns where the name server host is to be asked, IPv6 and IPv4,
// with the port from the options. The addresses are not validated: what is
// asked there has to be. The error says that there is none, or why.
func (f *Fetcher) Addresses(ctx context.Context, host string) ([]netip.AddrPort, error) {
	return f.addresses(ctx, f, dns.CanonicalName(host))
}

func (f *Fetcher) addresses(ctx context.Context, x validate.Exchanger, host string) ([]netip.AddrPort, error) {
	var addrs []netip.AddrPort
	var errs []error
	for _, qtype := range []uint16{dns.TypeAAAA, dns.TypeA} {
		m, err := x.Exchange(ctx, host, qtype, true)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		found := 0
		for _, rr := range m.Answer {
			if addr, ok := address(rr); ok && found < maxAddresses/2 {
				addrs = append(addrs, netip.AddrPortFrom(addr, f.port))
				found++
			}
		}
	}
	if len(addrs) == 0 {
		err := fmt.Errorf("no address found for %s", host)
		for _, why := range slices.CompactFunc(errs, func(a, b error) bool { return a.Error() == b.Error() }) {
			err = fmt.Errorf("%w: %w", err, why)
		}
		return nil, err
	}
	return addrs, nil
}

// address returns the address in an A or AAAA record. The owner may be the end
// of a chain of aliases that the resolver followed.
func address(rr dns.RR) (netip.Addr, bool) {
	var ip []byte
	switch rr := rr.(type) {
	case *dns.A:
		ip = rr.A
	case *dns.AAAA:
		ip = rr.AAAA
	}
	addr, ok := netip.AddrFromSlice(ip)
	addr = addr.Unmap()
	return addr, ok && askable(addr)
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// askable reports whether a name server may be at addr, which the peer or its
// resolver chose. Where one datagram reaches many, or has no way to go without
// an interface's name, none is. Loopback and private addresses are asked, as
// laboratories and closed networks live there: all that can be brought about by
// naming one is a question for the peer's own name, without recursion, whose
// answer nobody gets to see unless it validates.
func askable(addr netip.Addr) bool {
	return !addr.IsUnspecified() && !addr.IsMulticast() && !addr.IsLinkLocalUnicast() && addr != broadcast
}

// AskDirect asks the authoritative server at addr, without recursion. See
// [Client.AskDirect].
func (f *Fetcher) AskDirect(ctx context.Context, addr netip.AddrPort, name string, qtype uint16) (*dns.Msg, error) {
	return f.client.AskDirect(ctx, addr, name, qtype)
}

// Denies reports whether the authoritative server at addr proves, so that it
// validates, that there is no RRset of qtype at name (rule P4). An error means
// that it does not answer.
func (f *Fetcher) Denies(ctx context.Context, addr netip.AddrPort, name string, qtype uint16) (denied bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	name = dns.CanonicalName(name)
	m, err := f.AskDirect(ctx, addr, name, qtype)
	if err != nil {
		return false, fmt.Errorf("%s: %w", addr, err)
	}
	var r validate.Result
	if crash := guard(func() { r, err = f.validator.Session(f).Check(ctx, m, name, qtype) }); crash != nil {
		return false, crash
	}
	return err == nil && r.Status == validate.Secure && r.Denied, err
}

// completeKeys gives a what its publisher left out: the digests if there is
// only CDNSKEY, the keys if there is only CDS (rule F6). A key that was found before
// is not asked for again: that nobody answers takes none away (rule F7). It returns
// the digests for which no key was found.
func (c *collection) completeKeys(ctx context.Context, x validate.Exchanger, a *merge.Announcement) []merge.DS {
	if len(a.CDS) == 0 {
		for _, k := range a.CDNSKEY {
			if d, ok := k.DS(c.zone, dns.SHA256); ok {
				a.CDS = append(a.CDS, d)
			}
		}
		return nil
	}
	a.CDS = slices.DeleteFunc(a.CDS, func(d merge.DS) bool { return !strong(d) })
	if len(a.CDNSKEY) > 0 {
		return nil
	}
	missing := adopt(c.zone, a, a.CDS, slices.Concat(a.DNSKEY, c.known.CDNSKEY)) // a CSK stands in both
	if len(missing) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.f.timeout/partShare)
	defer cancel()
	addrs, err := c.f.addresses(ctx, x, c.host)
	if err != nil {
		return missing
	}
	for _, addr := range addrs {
		m, err := c.f.AskDirect(ctx, addr, c.zone, dns.TypeDNSKEY)
		if err != nil {
			continue
		}
		if missing = adopt(c.zone, a, missing, apexKeys(m, c.zone)); len(missing) == 0 {
			break
		}
	}
	return missing
}

// maxApexKeys is how many records of a DNSKEY RRset are looked at: the joint
// set of a few providers in the middle of a roll.
const maxApexKeys = 64

// apexKeys returns the keys in m's DNSKEY RRset of zone.
func apexKeys(m *dns.Msg, zone string) []merge.Key {
	var rrs []dns.RR
	for _, rr := range m.Answer {
		if rr.Header().Rrtype == dns.TypeDNSKEY && dns.CanonicalName(rr.Header().Name) == zone && len(rrs) < maxApexKeys {
			rrs = append(rrs, rr)
		}
	}
	return keysOf(rrs)
}

// maxTwins is how many keys of one tag and algorithm are held against a digest.
const maxTwins = 4

// adopt adds to a's CDNSKEY those of keys that ds names. A digest that
// validates vouches for its key wherever the key comes from, but not for the
// key's fitness. It returns the digests whose key is not among them.
func adopt(zone string, a *merge.Announcement, ds []merge.DS, keys []merge.Key) (missing []merge.DS) {
	named := make(map[merge.Ref][]merge.Key)
	for _, k := range keys {
		if ref := k.Ref(); len(named[ref]) < maxTwins {
			named[ref] = append(named[ref], k)
		}
	}
	for _, d := range ds {
		twins := named[merge.Ref{Tag: d.KeyTag, Algorithm: d.Algorithm}]
		i := slices.IndexFunc(twins, func(k merge.Key) bool {
			if !d.Names(zone, k) {
				return false
			}
			check, _ := checkKey(k)
			return check == ""
		})
		switch {
		case i < 0:
			missing = append(missing, d)
		case !slices.Contains(a.CDNSKEY, twins[i]):
			a.CDNSKEY = append(a.CDNSKEY, twins[i])
		}
	}
	return missing
}
