// Package mske is a CoreDNS plugin for zones that several DNS providers sign,
// each with its own keys (RFC 8901, model 2). It announces our keys below our
// nameservers' names, collects and validates what the other providers
// announce (draft-thomassen-dnsop-mske), and answers the zones' apex DNSKEY,
// CDS and CDNSKEY with the joint sets, so that the zone validates whichever
// provider a resolver asks.
//
// Queries are answered from immutable views that the package refresh makes in
// the background. Nothing here waits for the network or the disk.
//
// # Limitations
//
// A zone transfer hands out the zone without the joint sets: every server of
// a provider has to run mske. Compact denial (RFC 9824) below `_signal` needs a
// zone that is signed at query time, as by the dnssec plugin; zones with a
// static NSEC or NSEC3 chain need `_signal` names that are zones of their own.
package mske

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/cache"
	clog "github.com/coredns/coredns/plugin/pkg/log"
	"github.com/coredns/coredns/plugin/ready"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/chain"
	"github.com/coredns-mske/mske/serve"
	"github.com/coredns-mske/mske/yield"
)

var log = clog.NewWithPlugin(pluginName)

const (
	// onlineCache is how many signatures of each kind made at query time are
	// kept (S3). A random-name flood fills it; each entry is a few hundred
	// octets.
	onlineCache = 10000

	// onlinePerSecond is the budget of signatures of each kind made at query
	// time (S3): at some 30 µs for ECDSA P-256 a sixth of one core.
	onlinePerSecond = 5000
)

// MSKE is the handler of one server block. It answers the apex key sets of the
// block's zones and the names below the signaling domains of our nameservers
// that lie in one of them.
type MSKE struct {
	Next plugin.Handler

	config     *dnsserver.Config
	instance   *instance
	blockZones []string // what the server block is for

	zones map[string]*zone // by name

	// Set when the whole Corefile has been read, before the first query.
	sites *sites
	ask   chain.Asker // asks the next plugin

	counts *counts
}

var (
	_ plugin.Handler     = (*MSKE)(nil)
	_ ready.Readiness    = (*MSKE)(nil)
	_ cache.ZoneBypasser = (*MSKE)(nil)
)

func newHandler(config *dnsserver.Config, inst *instance, blockZones []string) *MSKE {
	return &MSKE{config: config, instance: inst, blockZones: blockZones, zones: make(map[string]*zone), sites: newSites(), counts: new(counts)}
}

// connect fills in what depends on the whole Corefile.
func (m *MSKE) connect(subtrees []*subtree) {
	m.ask = m.asker()
	m.sites = newSites()
	for name, z := range m.zones {
		yield.ToQueries() // there are some on a reload
		m.sites.add(name, site{zone: z})
	}
	for _, s := range subtrees {
		if m.zones[s.zone.name] == s.zone {
			m.sites.add(s.domain, site{zone: s.zone, subtree: s})
		}
	}
}

// names returns the names that m answers for, zones and signaling domains.
func (m *MSKE) names() []string { return slices.Sorted(maps.Keys(m.sites.at)) }

// Name implements the plugin.Handler interface.
func (m *MSKE) Name() string { return pluginName }

// ServeDNS implements the plugin.Handler interface. What needs much of the stack,
// packing and the system call that sends, is called from here and not from deeper
// down, see [outgoing].
func (m *MSKE) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	var out outgoing
	at := m.locate(r)
	if at.view == nil || !m.inOctets(ctx, &at, w, r, &out) {
		rcode, err := m.serve(ctx, &at, w, r, &out)
		if out.reply == nil {
			return rcode, err
		}
		if err := out.writeThrough(w, at.view); err != nil {
			return dns.RcodeSuccess, plugin.Error(pluginName, err)
		}
	}
	if err := out.send(); err != nil {
		return dns.RcodeSuccess, plugin.Error(pluginName, err)
	}
	return dns.RcodeSuccess, nil
}

// place is where a question belongs. The zero value is that of what is none of
// our business.
type place struct {
	site
	apex bool          // at the name of the zone, or of the signaling domain
	view octetsReplier // what answers the question, nil if not all of it is ours
	kind kind          // of answer, if view has it
}

// locate returns where r belongs.
func (m *MSKE) locate(r *dns.Msg) place {
	if len(r.Question) != 1 || r.Question[0].Qclass != dns.ClassINET || r.Opcode != dns.OpcodeQuery && r.Opcode != dns.OpcodeNotify {
		return place{}
	}
	q := &r.Question[0]
	s, apex := m.sites.match(q.Name)
	at := place{site: s, apex: apex}
	switch {
	case r.Opcode == dns.OpcodeNotify:
	case s.subtree != nil:
		at.view, at.kind = s.subtree.view.Load(), kindSignaling
	case apex && s.zone != nil:
		if view := s.zone.view.Load(); view.Answers(q.Qtype) {
			at.view, at.kind = view, kindApex
		}
	}
	return at
}

// serve has r answered, which belongs to at: by w, or with a reply that is left
// in out.
func (m *MSKE) serve(ctx context.Context, at *place, w dns.ResponseWriter, r *dns.Msg, out *outgoing) (int, error) {
	switch {
	case at.zone == nil:
	case r.Opcode == dns.OpcodeNotify:
		if at.apex {
			return m.serveNotify(ctx, at.zone, w, r)
		}
	case at.subtree != nil:
		return m.serveSubtree(ctx, at.site, w, r, out)
	case at.view != nil:
		return m.serveApex(ctx, at, w, r, out)
	case wantsDNSSEC(r) || at.apex && r.Question[0].Qtype == dns.TypeANY || at.zone.view.Load().Delegates():
		return m.serveCorrected(ctx, at.zone, w, r)
	}
	return plugin.NextOrFailure(pluginName, m.Next, ctx, w, r)
}

// serveApex answers one of the key sets or, under `delegation auto`, NS or CSYNC, from the
// view that was found to: one that is published meanwhile may not.
func (m *MSKE) serveApex(ctx context.Context, at *place, w dns.ResponseWriter, r *dns.Msg, out *outgoing) (int, error) {
	z := at.zone
	view, _ := at.view.(*serve.Apex)
	if view == nil {
		view = new(serve.Apex) // fails everything
	}
	reply, answer := view.Reply(r)
	switch answer {
	case serve.Served:
		return m.leave(ctx, kindApex, r, reply, out)
	case serve.Withheld:
		reply, err := m.noData(ctx, z, view, r)
		if err != nil {
			return m.fail(ctx, r, err)
		}
		return m.write(ctx, kindApex, w, r, reply)
	}
	return m.fail(ctx, r, fmt.Errorf("zone %s: %w", z.name, errNotReady))
}

var errNotReady = errors.New("the joint key sets are not known or can no longer be signed, see the log for the reason")

// noData returns the denial of an apex type that is not served now. What else
// there is at the apex, only the plugins behind us know: theirs is the proof,
// corrected by ours.
func (m *MSKE) noData(ctx context.Context, z *zone, view *serve.Apex, r *dns.Msg) (*dns.Msg, error) {
	proof, err := chain.ProbeType(ctx, m.ask, z.name)
	if err != nil {
		return nil, err
	}
	if proof.Rcode != dns.RcodeSuccess || len(proof.Answer) > 0 {
		return nil, fmt.Errorf("zone %s: the next plugin answers %s where there is nothing", z.name, dns.RcodeToString[proof.Rcode])
	}
	proof.Question = r.Question
	if proof, err = m.correct(proof, z, view); err != nil {
		return nil, err
	}
	reply := new(dns.Msg)
	reply.SetReply(r)
	reply.Authoritative = true
	reply.Ns = proof.Ns
	if !wantsDNSSEC(r) {
		reply.Ns = withoutDNSSEC(proof.Ns)
	}
	return reply, nil
}

// serveSubtree answers below a signaling domain.
func (m *MSKE) serveSubtree(ctx context.Context, s site, w dns.ResponseWriter, r *dns.Msg, out *outgoing) (int, error) {
	view := s.subtree.view.Load()
	if view == nil {
		return m.fail(ctx, r, fmt.Errorf("signaling domain %s: %w", s.subtree.domain, errNotReady))
	}
	soa := func() ([]dns.RR, error) { return m.askSOA(ctx, s.zone.name) }
	reply, err := view.Reply(r, m.instance.online(m.instance.denials), soa, time.Now())
	switch {
	case errors.Is(err, serve.ErrNext):
		next := func() (int, error) { return plugin.NextOrFailure(pluginName, m.Next, ctx, w, r) }
		if wantsDNSSEC(r) {
			next = func() (int, error) { return m.serveCorrected(ctx, s.zone, w, r) }
		}
		if rcode, err := next(); m.Next != nil && rcode != dns.RcodeRefused {
			return rcode, err
		}
		reply = view.DSDenial(r) // nobody behind us has the parent, and nothing is written yet
	case err != nil:
		return m.fail(ctx, r, err)
	}
	if len(reply.Answer) == 0 {
		return m.write(ctx, kindDenial, w, r, reply)
	}
	return m.leave(ctx, kindSignaling, r, reply, out)
}

// serveCorrected lets the next plugin answer. What its answer says about the
// types at the apex of z is put right (rule S2), and if the question is for DS,
// which belongs to the parent, what it says about that of the zone above.
func (m *MSKE) serveCorrected(ctx context.Context, z *zone, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if q := r.Question[0]; q.Qtype == dns.TypeDS {
		if above := m.above(q.Name); above != z {
			w = m.correcting(ctx, above, w, r)
		}
	}
	return plugin.NextOrFailure(pluginName, m.Next, ctx, m.correcting(ctx, z, w, r), r)
}

// above returns our zone that the name above name is in, or nil.
func (m *MSKE) above(name string) *zone {
	up := "."
	if off, end := dns.NextLabel(name, 0); !end {
		up = name[off:]
	} else if name == up {
		return nil
	}
	s, _ := m.sites.match(up)
	return s.zone
}

// correcting returns a writer to w for answers to r, in which what they say
// about the apex of z is put right. It is w if nothing is known of z.
func (m *MSKE) correcting(ctx context.Context, z *zone, w dns.ResponseWriter, r *dns.Msg) dns.ResponseWriter {
	if z == nil {
		return w
	}
	view := z.view.Load()
	if view == nil {
		return w
	}
	return &corrector{ResponseWriter: w, ctx: ctx, handler: m, zone: z, view: view, request: r}
}

// write sends reply to the client.
func (m *MSKE) write(ctx context.Context, kind kind, w dns.ResponseWriter, r, reply *dns.Msg) (int, error) {
	m.counts.count(ctx, kind, r.Question[0].Qtype)
	if err := w.WriteMsg(reply); err != nil {
		return dns.RcodeSuccess, plugin.Error(pluginName, err)
	}
	return dns.RcodeSuccess, nil
}

// leave leaves reply, whose answer is records of the view that r is for, in out.
func (m *MSKE) leave(ctx context.Context, kind kind, r, reply *dns.Msg, out *outgoing) (int, error) {
	m.counts.count(ctx, kind, r.Question[0].Qtype)
	out.reply = reply
	return dns.RcodeSuccess, nil
}

// fail has the server answer SERVFAIL; err goes to the errors plugin.
func (m *MSKE) fail(ctx context.Context, r *dns.Msg, err error) (int, error) {
	m.counts.count(ctx, kindFailing, r.Question[0].Qtype)
	return dns.RcodeServerFailure, plugin.Error(pluginName, err)
}

// maxBypass is how many names of ours cache is given one by one. It walks the
// list for every query.
const maxBypass = 16

// CacheBypassZones implements the cache.ZoneBypasser interface: a cache above
// us would go on with key sets that have changed.
func (m *MSKE) CacheBypassZones() []string {
	m.instance.connect()
	if len(m.sites.at) <= maxBypass {
		return m.names()
	}
	return m.blockNames()
}

// blockNames returns the names that the server block is for, as CoreDNS compares them
// with those that are asked for.
func (m *MSKE) blockNames() []string {
	var names []string
	for _, key := range m.blockZones {
		names = append(names, plugin.Host(key).NormalizeExact()...)
	}
	return names
}

// outside returns those of m's zones of which neither the apex nor a signaling domain
// lies in the server block, so that m is not asked about them.
func (m *MSKE) outside() []string {
	block := make(map[string]bool)
	for _, name := range m.blockNames() {
		block[name] = true
	}
	inside := make(map[*zone]bool)
	for name, s := range m.sites.at {
		yield.ToQueries() // there are some on a reload
		if atOrBelow(block, name) {
			inside[s.zone] = true
		}
	}
	var names []string
	for name, z := range m.zones {
		if !inside[z] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// atOrBelow reports whether name is one of names, or below one.
func atOrBelow(names map[string]bool, name string) bool {
	for off, end := 0, false; !end; off, end = dns.NextLabel(name, off) {
		if names[name[off:]] {
			return true
		}
	}
	return names["."]
}

// wantsDNSSEC reports whether r has the DO bit set (RFC 3225).
func wantsDNSSEC(r *dns.Msg) bool {
	opt := r.IsEdns0()
	return opt != nil && opt.Do()
}

// withoutDNSSEC returns the records of section that a client without DO gets
// (RFC 4035 section 3.2.1).
func withoutDNSSEC(section []dns.RR) []dns.RR {
	var plain []dns.RR
	for _, rr := range section {
		switch rr.Header().Rrtype {
		case dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3:
		default:
			plain = append(plain, rr)
		}
	}
	return plain
}
