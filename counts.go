package mske

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/coredns/coredns/plugin/metrics"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// kind is what an answer of ours is.
type kind uint8

const (
	kindApex      kind = iota // DNSKEY, CDS or CDNSKEY of a zone
	kindSignaling             // records at or below a signaling domain
	kindDenial                // the absence of such records
	kindCorrected             // the next plugin's, corrected
	kindFailing               // SERVFAIL
	kinds                     // how many there are
)

// kindLabels are the values of the label kind.
var kindLabels = [kinds]string{"apex", "signaling", "denial", "corrected", "failing"}

// labelled are the types that have a value of their own in the label qtype.
// The client chooses the type, so there has to be a bound.
var labelled = [...]uint16{
	dns.TypeA, dns.TypeAAAA, dns.TypeCDNSKEY, dns.TypeCDS, dns.TypeCSYNC, dns.TypeDNSKEY, dns.TypeDS,
	dns.TypeHTTPS, dns.TypeMX, dns.TypeNS, dns.TypeNSEC, dns.TypeSOA, dns.TypeTXT,
}

// typeLabel is the place of a type in labelled, and that after the last for all
// others.
type typeLabel int

func typeLabelOf(qtype uint16) typeLabel {
	if i := slices.Index(labelled[:], qtype); i >= 0 {
		return typeLabel(i)
	}
	return typeLabel(len(labelled))
}

// String returns the value of the label qtype.
func (l typeLabel) String() string {
	if int(l) < len(labelled) {
		return dns.TypeToString[labelled[l]]
	}
	return "other"
}

// counts finds the counters of one handler's responses without a lock, and
// without putting their labels together for every query.
type counts struct {
	mu   sync.Mutex // of whoever adds to them
	made atomic.Pointer[[]*counters]
}

// counters are those of what one server answers for one view (of the view plugin).
type counters struct {
	server, view string
	of           [kinds][len(labelled) + 1]prometheus.Counter // nil until one is needed
}

// count counts one response.
func (c *counts) count(ctx context.Context, kind kind, qtype uint16) {
	server, view, label := metrics.WithServer(ctx), metrics.WithView(ctx), typeLabelOf(qtype)
	if made := c.made.Load(); made != nil {
		for _, k := range *made {
			if k.server == server && k.view == view && k.of[kind][label] != nil {
				k.of[kind][label].Inc()
				return
			}
		}
	}
	c.add(server, view, kind, label).Inc()
}

// add returns the counter with those labels, which is found from then on. There
// are few: what a server listens at bounds them.
func (c *counts) add(server, view string, kind kind, label typeLabel) prometheus.Counter {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*counters
	more := &counters{server: server, view: view}
	if made := c.made.Load(); made != nil {
		for _, k := range *made {
			if k.server == server && k.view == view {
				more.of = k.of
			} else {
				all = append(all, k)
			}
		}
	}
	counter := responses.WithLabelValues(server, view, kindLabels[kind], label.String())
	more.of[kind][label] = counter
	all = append(all, more)
	c.made.Store(&all)
	return counter
}
