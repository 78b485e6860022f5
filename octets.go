package mske

import (
	"context"
	"crypto/tls"
	"slices"
	"sync"

	"github.com/coredns/coredns/plugin/pkg/edns"
	"github.com/coredns/coredns/request"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/serve"
)

// octetsReplier is a view that answers in octets.
type octetsReplier interface {
	// AppendReply appends the answer to r for a client that takes size octets
	// to buf, which is empty, and returns it and the length of that as a message
	// that nobody has truncated. If it reports false, it has none.
	AppendReply(buf []byte, r *dns.Msg, size int) (wire []byte, length int, ok bool)

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

// outgoing is an answer that is still to be sent. ServeDNS does that, not what is
// called for it: a goroutine, which each query has one of, begins with a small
// stack, and where that has to grow for packing a message or for the system call,
// this costs as much as all that mske does.
type outgoing struct {
	reply *dns.Msg // with records of a view

	to   dns.ResponseWriter // gets octets; nil if nothing is to be sent any more
	room *[]byte            // the octets, one of buffers
}

// fill has wire sent to to. It is in room, or in a larger one that comes in its
// place.
func (o *outgoing) fill(to dns.ResponseWriter, room *[]byte, wire []byte) {
	*room = wire
	o.to, o.room = to, room
}

// send sends the octets.
func (o *outgoing) send() error {
	if o.to == nil {
		return nil
	}
	_, err := o.to.Write(*o.room)
	buffers.Put(o.room)
	return err
}

// inOctets leaves the answer of the view at at in out, in octets that were packed
// beforehand, if nobody on the way to the client needs a message (rule S4): the
// prometheus plugin wants its RCODE and length alone. It reports whether it did. An
// answer without records counts as a denial.
func (m *MSKE) inOctets(ctx context.Context, at *place, w dns.ResponseWriter, r *dns.Msg, out *outgoing) bool {
	to := routeOf(w)
	if !to.bare || !plain(r) || !to.of(r) {
		return false
	}
	room := buffers.Get().(*[]byte)
	wire, length, ok := at.view.AppendReply((*room)[:0], r, sizeOf(to.server, r))
	if !ok {
		buffers.Put(room)
		return false
	}
	to.record(int(wire[3]&0x0f), length)
	kind := at.kind
	if answers := wire[6:8]; kind == kindSignaling && answers[0] == 0 && answers[1] == 0 && !truncated(wire) {
		kind = kindDenial
	}
	m.counts.count(ctx, kind, r.Question[0].Qtype)
	out.fill(to.server, room, wire)
	return true
}

// sizeOf returns how many octets an answer to r may have, by way of w. It is not
// inlined so that it takes no room on the stack of its caller.
//
//go:noinline
func sizeOf(w dns.ResponseWriter, r *dns.Msg) int {
	state := request.Request{Req: r, W: w}
	return state.Size()
}

// truncated reports whether a message has the TC flag.
func truncated(wire []byte) bool { return wire[2]&0x02 != 0 }

// writeThrough sends the reply by way of the writers of other plugins. If these
// leave its records as they are, which are copies of those of view, packing the
// message, most of its cost, is replaced by octets that were packed beforehand,
// which are then to be sent.
func (o *outgoing) writeThrough(w dns.ResponseWriter, view octetsReplier) error {
	to := routeOf(w)
	if to.server == nil {
		return w.WriteMsg(o.reply)
	}
	set := view.RRset(o.reply.Question[0])
	if set == nil {
		return w.WriteMsg(o.reply)
	}
	m, err := to.through(w, o.reply, set)
	if m == nil {
		return err
	}
	room := buffers.Get().(*[]byte)
	wire, ok := set.AppendMessage((*room)[:0], m)
	if !ok {
		buffers.Put(room)
		return to.server.WriteMsg(m)
	}
	o.fill(to.server, room, wire)
	return nil
}

// through writes reply to w, and returns what comes out at the other end of to,
// which is then still to be sent, if the records of set in it are as they were.
func (to route) through(w dns.ResponseWriter, reply *dns.Msg, set *serve.RRset) (*dns.Msg, error) {
	end := &end{ResponseWriter: to.server, set: set}
	to.scrub.ResponseWriter = end
	defer func() { to.scrub.ResponseWriter = to.server }()
	err := w.WriteMsg(reply)
	return end.message, err
}

// end is in front of the server's writer for as long as a message is written. A
// message that it keeps is for others as one that has been sent, and packs to the same
// octets: should sending it fail, dnstap tells of an answer that the client never got.
type end struct {
	dns.ResponseWriter
	set     *serve.RRset
	message *dns.Msg
}

// WriteMsg implements the dns.ResponseWriter interface.
func (e *end) WriteMsg(m *dns.Msg) error {
	if e.message == nil && e.set.IsIn(m) {
		e.message, m.Compress = m, true
		return nil
	}
	return e.ResponseWriter.WriteMsg(m)
}

// ConnectionState implements the dns.ConnectionStater interface as the server's
// writer does.
func (e *end) ConnectionState() *tls.ConnectionState {
	if s, ok := e.ResponseWriter.(dns.ConnectionStater); ok {
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
