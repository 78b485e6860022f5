package mske

import (
	"context"
	"crypto/tls"
	"slices"
	"sync"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/edns"
	"github.com/coredns/coredns/request"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/serve"
)

// octetsReplier is a view that answers in octets.
type octetsReplier interface {
	// AppendReply appends the answer to r for a client that takes size octets
	// to buf, which is empty. If it reports false, it has none.
	AppendReply(buf []byte, r *dns.Msg, size int) ([]byte, bool)

	// RRset returns the RRset that q is answered with, nil if there is none.
	RRset(q dns.Question) *serve.RRset
}

var (
	_ octetsReplier = (*serve.Apex)(nil)
	_ octetsReplier = (*serve.Subtree)(nil)
)

// usualSize is as large as most answers, in octets: what fits into one packet
// of most networks.
const usualSize = 1232

// buffers are those of answers that have been sent.
var buffers = sync.Pool{New: func() any {
	buf := make([]byte, 0, usualSize)
	return &buf
}}

// writeOctets sends the answer of view in octets that were packed beforehand, if
// nobody on the way to the client needs a message (rule S4). It reports whether
// it did. An answer without records counts as a denial.
func (m *MSKE) writeOctets(ctx context.Context, kind kind, w dns.ResponseWriter, r *dns.Msg, view octetsReplier) (sent bool, err error) {
	to := routeOf(w)
	if !to.bare || !to.of(r) || !plain(r) {
		return false, nil
	}
	state := request.Request{Req: r, W: to.server}
	room := buffers.Get().(*[]byte)
	defer buffers.Put(room)
	wire, ok := view.AppendReply(*room, r, state.Size())
	*room = wire[:0]
	if !ok {
		return false, nil
	}
	if answers := wire[6:8]; kind == kindSignaling && answers[0] == 0 && answers[1] == 0 && !truncated(wire) {
		kind = kindDenial
	}
	m.counts.count(ctx, kind, r.Question[0].Qtype)
	if _, err := to.server.Write(wire); err != nil {
		return true, plugin.Error(pluginName, err)
	}
	return true, nil
}

// truncated reports whether a message has the TC flag.
func truncated(wire []byte) bool { return wire[2]&0x02 != 0 }

// writeThrough sends reply by way of the writers of other plugins. If these leave
// its records as they are, which are copies of those of view, packing the message,
// most of its cost, is replaced by octets that were packed beforehand.
func writeThrough(w dns.ResponseWriter, reply *dns.Msg, view octetsReplier) error {
	to := routeOf(w)
	if to.server == nil {
		return w.WriteMsg(reply)
	}
	set := view.RRset(reply.Question[0])
	if set == nil {
		return w.WriteMsg(reply)
	}
	defer func() { to.scrub.ResponseWriter = to.server }()
	to.scrub.ResponseWriter = &packer{to.server, set}
	return w.WriteMsg(reply)
}

// packer is in front of the server's writer for as long as a message is written,
// and packs it.
type packer struct {
	dns.ResponseWriter
	set *serve.RRset
}

// WriteMsg implements the dns.ResponseWriter interface.
func (p *packer) WriteMsg(m *dns.Msg) error {
	room := buffers.Get().(*[]byte)
	defer buffers.Put(room)
	wire, ok := p.set.AppendMessage(*room, m)
	if !ok {
		return p.ResponseWriter.WriteMsg(m)
	}
	*room = wire[:0]
	_, err := p.ResponseWriter.Write(wire)
	return err
}

// ConnectionState implements the dns.ConnectionStater interface as the server's
// writer does.
func (p *packer) ConnectionState() *tls.ConnectionState {
	if s, ok := p.ResponseWriter.(dns.ConnectionStater); ok {
		return s.ConnectionState()
	}
	return nil
}

// plain reports whether r has nothing that an answer depends on but its question
// and an OPT record without options that some plugin has CoreDNS answer with. A
// TSIG is answered with a TSIG.
func plain(r *dns.Msg) bool {
	switch len(r.Extra) {
	case 0:
		return true
	case 1:
		opt, ok := r.Extra[0].(*dns.OPT)
		return ok && !slices.ContainsFunc(opt.Option, func(o dns.EDNS0) bool { return edns.SupportedOption(o.Option()) })
	}
	return false
}
