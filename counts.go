package mske

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/coredns/coredns/plugin/metrics"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// kind is a value of the label kind.
type kind string

const (
	kindApex      kind = "apex"      // DNSKEY, CDS or CDNSKEY of a zone
	kindSignaling kind = "signaling" // records at or below a signaling domain
	kindDenial    kind = "denial"    // the absence of such records
	kindCorrected kind = "corrected" // the next plugin's, corrected
	kindFailing   kind = "failing"   // SERVFAIL
)

// labelled are the types that have a value of their own in the label qtype.
// The client chooses the type, so there has to be a bound.
var labelled = []uint16{
	dns.TypeA, dns.TypeAAAA, dns.TypeCDNSKEY, dns.TypeCDS, dns.TypeCSYNC, dns.TypeDNSKEY, dns.TypeDS,
	dns.TypeHTTPS, dns.TypeMX, dns.TypeNS, dns.TypeNSEC, dns.TypeSOA, dns.TypeTXT,
}

// unlabelled stands for all other types.
const unlabelled uint16 = 0

func typeLabel(qtype uint16) string {
	if !slices.Contains(labelled, qtype) {
		return "other"
	}
	return dns.TypeToString[qtype]
}

// counts finds the counters of one handler's responses without a lock, and
// without putting their labels together for every query.
type counts struct {
	mu   sync.Mutex // of whoever adds to them
	made atomic.Pointer[map[labels]prometheus.Counter]
}

type labels struct {
	server, view string
	kind         kind
	qtype        uint16
}

// count counts one response.
func (c *counts) count(ctx context.Context, kind kind, qtype uint16) {
	if !slices.Contains(labelled, qtype) {
		qtype = unlabelled
	}
	l := labels{metrics.WithServer(ctx), metrics.WithView(ctx), kind, qtype}
	if made := c.made.Load(); made != nil {
		if counter, ok := (*made)[l]; ok {
			counter.Inc()
			return
		}
	}
	c.add(l).Inc()
}

// add returns the counter with those labels, which is found from then on. There
// are few: what a server listens at bounds them.
func (c *counts) add(l labels) prometheus.Counter {
	c.mu.Lock()
	defer c.mu.Unlock()
	more := make(map[labels]prometheus.Counter)
	if made := c.made.Load(); made != nil {
		maps.Copy(more, *made)
	}
	counter := responses.WithLabelValues(l.server, l.view, string(l.kind), typeLabel(l.qtype))
	more[l] = counter
	c.made.Store(&more)
	return counter
}
