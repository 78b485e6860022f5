// Package fetch collects what one name server announces for one zone: the CDS,
// CDNSKEY and DNSKEY RRsets at _multi.<zone>._signal.<host>, asked of recursive
// resolvers, validated here from the trust anchor down, and held against the
// rules an announcement has to keep (draft-thomassen-dnsop-mske section 4,
// RFC 9615).
//
// The package knows when an answer counts. When to ask again, what to keep and
// how the zone's own keys relate to the announced ones is for its callers.
//
// # Limitations
//
// A replay is told by what the caller knows already: to one who knows nothing, an
// old announcement whose signatures are still valid looks like any other. So do
// proofs that nothing is announced whose signatures give no date (NXDOMAIN). An
// on-path attacker can make every way to an announcement fail, and none say
// something else. The addresses at which a host is asked directly are not
// validated: what comes from there is.
package fetch

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/domain"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/validate"
)

const (
	// DefaultTimeout is how long one collection may take.
	DefaultTimeout = 20 * time.Second

	// partShare is the share of the time for a collection that the probe of
	// one resolver, the question which zone holds the signaling domain, the
	// search for keys that only digests name, and the wait for the other RRsets
	// when one is bogus, may take each, so that a dead server leaves time for
	// the rest.
	partShare = 4

	// maxReason bounds a reason, in octets: host names in it are the peer's.
	maxReason = 1000
)

// Options are what a [Fetcher] can be told. The zero value is usable.
type Options struct {
	// Port is where name servers are asked directly, 53 by default.
	Port uint16

	// Timeout is how long one collection may take, [DefaultTimeout] by
	// default.
	Timeout time.Duration

	// Now is the clock, time.Now by default.
	Now func() time.Time

	Signatures *validate.Signatures // as of [validate.Options]

	// Unfit is told of each resolver that is not used because it failed its
	// probe, once until that or the reason changes. It must not block.
	Unfit func(r Resolver, why error)
}

// Fetcher collects announcements. It is safe for concurrent use, and keeps the
// validated chain of trust from one collection to the next.
type Fetcher struct {
	client    *Client
	validator *validate.Validator
	port      uint16
	timeout   time.Duration
	now       func() time.Time
	known     *validate.Fingerprints // of announcements that were accepted
	unfit     func(Resolver, error)

	// standings are those of the client's resolvers.
	standings []standing

	// streams tells of each resolver whether it answered its last probe by
	// TCP only: a firewall that drops UDP would cost a wait for each question.
	streams []atomic.Bool
}

var _ validate.Exchanger = (*Fetcher)(nil)

// New returns a Fetcher that asks through client and trusts anchors.
func New(client *Client, anchors *validate.Anchors, o Options) *Fetcher {
	if o.Port == 0 {
		o.Port = portDNS
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	f := &Fetcher{
		client: client, port: o.Port, timeout: o.Timeout, now: o.Now, unfit: o.Unfit,
		validator: validate.New(anchors, validate.Options{Now: o.Now, Signatures: o.Signatures}), known: validate.NewFingerprints(maxKnown),
		standings: make([]standing, len(client.resolvers)),
		streams:   make([]atomic.Bool, len(client.resolvers)),
	}
	return f
}

// Fetch collects what host announces for zone. What is known of it already is
// what an older announcement, replayed, is told by, and has the keys that are only
// named by their digests now; zero if nothing is. Fetch returns in time for the
// timeout whatever its peers do, and does not panic.
func (f *Fetcher) Fetch(ctx context.Context, zone, host string, known merge.Announcement) Result {
	return f.fetch(ctx, zone, host, known, (*collection).collect)
}

func (f *Fetcher) fetch(ctx context.Context, zone, host string, known merge.Announcement, collect func(*collection, context.Context) Result) Result {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	c := &collection{f: f, zone: canonical(zone), host: canonical(host), known: known, at: f.now()}
	res := collect(c, ctx)
	res.Zone, res.Host, res.At = c.zone, c.host, c.at
	res.Reason, res.Tried = oneLine(res.Reason), oneLine(res.Tried)
	return res
}

// canonical returns name as it comes in answers, so that names are equal as
// strings. What is no name is left for [announce.Name] to refuse.
func canonical(name string) string {
	if c, err := domain.Canonical(name); err == nil {
		return c
	}
	return dns.CanonicalName(name)
}

// guard runs do and returns a panic in it as an error. What peers send must
// not take the server down, whatever we overlooked.
func guard(do func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("internal error, please report it: %v", p)
		}
	}()
	do()
	return nil
}

// oneLine makes s fit for a log line and for a comment in a zone file.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "") + "..."
	}
	return s
}
