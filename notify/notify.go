// Package notify tells others that there is something new to fetch, by NOTIFY
// messages (RFC 1996): the parent's endpoint, which its DSYNC records name, of
// CDS, CDNSKEY and CSYNC (RFC 9859), and the other providers' nameservers of our
// announcements. What is told carries nothing to believe, and who does not hear
// it finds out by itself later: so nothing here is tried for long, and what
// exceeds the limits is dropped.
//
// # Limitations
//
// Messages to an endpoint carry no Report-Channel option (RFC 9567), which RFC
// 9859 allows. DSYNC records are not kept: they are asked for at each change.
package notify

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/validate"
)

// HostType is the QTYPE of what nameservers are told: that keys of the zone have
// changed. With SOA they would look for a new version of the zone, and transfer
// it, and CDS speaks of the parent's DS. BIND 9.18 and Knot DNS know NOTIFY for SOA
// only, and answer FORMERR. NSD and the secondary plugin do not look at the type:
// from addresses that they take NOTIFYs from, they ask their primary for its
// serial.
const HostType = dns.TypeDNSKEY

// ErrBusy says that all was dropped, as the addresses have been sent enough for
// now.
var ErrBusy = errors.New("dropped: too much was sent there lately")

// Network is what a [Sender] asks for names. A *fetch.Fetcher is one.
type Network interface {
	// Session returns a new session of validated look-ups.
	Session() *validate.Session

	// Addresses returns where the nameserver host is to be asked, with the port.
	Addresses(ctx context.Context, host string) ([]netip.AddrPort, error)
}

// Sender sends NOTIFY messages. It is safe for concurrent use.
type Sender struct {
	net   Network
	rates *rates

	// roundTrip sends a message and returns what comes back. Tests put one
	// here that needs no socket.
	roundTrip func(ctx context.Context, addr netip.AddrPort, stream bool, message []byte) ([]byte, error)
}

// New returns a Sender. now is the clock.
func New(n Network, now func() time.Time) *Sender {
	return &Sender{net: n, rates: newRates(now), roundTrip: overNetwork}
}

// Parent tells the parent of zone that its RRset of qtype, CDS for CDNSKEY too,
// or CSYNC, has changed, and returns when somebody has answered. It is to be
// called when every nameserver of the zone serves what is new, since the parent
// looks at once (RFC 9859 section 4.2). told is false where nobody wants to be.
func (s *Sender) Parent(ctx context.Context, zone string, qtype uint16) (told bool, err error) {
	records, secure, err := s.discover(ctx, zone)
	if err != nil {
		return false, err
	}
	endpoints := endpointsFor(records, qtype)
	if len(endpoints) == 0 {
		return false, nil
	}
	// One that answers is enough.
	var errs []error
	for _, e := range endpoints {
		err := s.endpoint(ctx, e, zone, qtype, secure)
		if err == nil {
			return true, nil
		}
		errs = append(errs, fmt.Errorf("%s port %d: %w", e.Target, e.Port, err))
	}
	return false, errors.Join(errs...)
}

// maxEndpoints is how many endpoints are tried. There is one (RFC 9859 section
// 3); a few more harm nobody.
const maxEndpoints = 3

// endpointsFor returns the records that say where to send a NOTIFY for qtype.
func endpointsFor(records []DSYNC, qtype uint16) []DSYNC {
	fit := slices.DeleteFunc(slices.Clone(records), func(d DSYNC) bool {
		return d.Scheme != SchemeNotify || d.RRtype != qtype || d.Port == 0 || d.Target == "."
	})
	return fit[:min(len(fit), maxEndpoints)]
}

// endpoint tells one endpoint, at its addresses in turn. Over TCP it is tried
// only if DSYNC is validated: a forged one may point anywhere, and costs whoever
// is there a few datagrams.
func (s *Sender) endpoint(ctx context.Context, e DSYNC, zone string, qtype uint16, secure bool) error {
	addrs, err := s.net.Addresses(ctx, e.Target)
	if err != nil {
		return err
	}
	var errs []error
	for _, addr := range addrs[:min(len(addrs), maxAddresses)] {
		to := netip.AddrPortFrom(addr.Addr(), e.Port)
		if err = s.send(ctx, to, zone, qtype, plan{waits: parentWaits, stream: secure}); err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// maxAddresses is how many addresses of one name are told.
const maxAddresses = 8

// Host tells the nameserver host that the keys announced for zone have changed,
// at each of its addresses, which may be different machines. It returns when all
// have answered or been given up. The error is nil if one answered.
func (s *Sender) Host(ctx context.Context, zone, host string) error {
	addrs, err := s.net.Addresses(ctx, host)
	if err != nil {
		return err
	}
	addrs = addrs[:min(len(addrs), maxAddresses)]
	errs := make([]error, len(addrs))
	var wg sync.WaitGroup
	for i, addr := range addrs {
		wg.Go(func() { errs[i] = s.send(ctx, addr, zone, HostType, plan{waits: hostWaits}) })
	}
	wg.Wait()
	if slices.Contains(errs, nil) {
		return nil
	}
	return errors.Join(errs...)
}
