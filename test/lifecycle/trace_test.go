package lifecycle

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/daemon"
)

// trace remembers who served what when.
type trace struct {
	mu    sync.Mutex
	now   map[string]string // by server
	lines []traceLine
}

type traceLine struct {
	at   time.Time
	text string
}

func (w *world) startTrace() {
	w.trace = &trace{now: make(map[string]string)}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	watch := func(name string, look func() string) {
		wg.Go(func() {
			tick := time.NewTicker(500 * time.Millisecond)
			defer tick.Stop()
			for {
				text := look()
				if ctx.Err() != nil {
					return
				}
				w.trace.saw(name, text)
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
			}
		})
	}
	for _, p := range w.providers {
		watch(p.host, func() string { return apex(w.at(p.ip)) })
	}
	watch(w.static.host, func() string { return apex(w.at(w.static.ip)) })
	watch("the parent", func() string { return above(w.addr(ipParent)) })
	w.t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
}

func (t *trace) saw(name, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now[name] == text {
		return
	}
	t.now[name] = text
	t.lines = append(t.lines, traceLine{time.Now(), fmt.Sprintf("%-20s %s", name, text)})
}

// recent returns what changed in the last while, and what was before.
func (t *trace) recent(while time.Duration) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	before := make(map[string]string)
	for _, l := range t.lines {
		text := l.at.UTC().Format("15:04:05.000 ") + l.text
		if time.Since(l.at) < while {
			for _, name := range slices.Sorted(mapsKeys(before)) {
				b.WriteString(before[name])
			}
			before = nil
			b.WriteString(text + "\n")
		} else if before != nil {
			before[strings.Fields(l.text)[0]] = text + "\n"
		}
	}
	for _, name := range slices.Sorted(mapsKeys(before)) {
		b.WriteString(before[name])
	}
	return b.String()
}

func mapsKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// apex returns what a server has at the zone's apex, by key tags.
func apex(addr string) string {
	var parts []string
	for _, qtype := range []uint16{dns.TypeSOA, dns.TypeDNSKEY, dns.TypeCDS, dns.TypeNS} {
		m, err := exchange(addr, shared, qtype, time.Second)
		if err != nil {
			parts = append(parts, fmt.Sprintf("%s: no answer", dns.Type(qtype)))
			continue
		}
		what := fmt.Sprint(daemon.Tags(daemon.RRset(m, qtype)))
		switch {
		case m.Rcode != dns.RcodeSuccess:
			what = dns.RcodeToString[m.Rcode]
		case qtype == dns.TypeNS:
			what = fmt.Sprint(hostsIn(m.Answer))
		case qtype == dns.TypeSOA && len(daemon.RRset(m, qtype)) > 0:
			what = fmt.Sprint(daemon.RRset(m, qtype)[0].(*dns.SOA).Serial)
		}
		if len(m.Answer) > 0 {
			what += fmt.Sprintf(" TTL %d", m.Answer[0].Header().Ttl)
		}
		var by []uint16
		for _, rr := range daemon.RRset(m, dns.TypeRRSIG) {
			by = append(by, rr.(*dns.RRSIG).KeyTag)
		}
		slices.Sort(by)
		parts = append(parts, fmt.Sprintf("%s %s by %v", dns.Type(qtype), what, by))
	}
	return strings.Join(parts, ", ")
}

// above returns what the parent has.
func above(addr string) string {
	ds, err := exchange(addr, shared, dns.TypeDS, time.Second)
	if err != nil {
		return "no answer"
	}
	ns, err := exchange(addr, shared, dns.TypeNS, time.Second)
	if err != nil {
		return "no answer"
	}
	return fmt.Sprintf("DS %v, NS %v", daemon.Tags(daemon.RRset(ds, dns.TypeDS)), hostsIn(ns.Ns))
}

func hostsIn(rrs []dns.RR) []string {
	var hosts []string
	for _, rr := range rrs {
		if ns, ok := rr.(*dns.NS); ok {
			hosts = append(hosts, ns.Ns)
		}
	}
	slices.Sort(hosts)
	return hosts
}
