package mske

import (
	"context"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

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
	to := direct(w, r)
	if to == nil {
		return false, nil
	}
	state := request.Request{Req: r, W: to}
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
	if _, err := to.Write(wire); err != nil {
		return true, plugin.Error(pluginName, err)
	}
	return true, nil
}

// truncated reports whether a message has the TC flag.
func truncated(wire []byte) bool { return wire[2]&0x02 != 0 }

// direct returns the writer that the server made for the answer to r, if w is
// that writer, with nothing around it but what plugins are called with, and if
// octets that are written to it are what the client gets. Otherwise it returns nil. What more the server does with a
// message, it does in request.ScrubWriter: adding an OPT record and truncating.
func direct(w dns.ResponseWriter, r *dns.Msg) dns.ResponseWriter {
	scrub, ok := unwrapped(w).(*request.ScrubWriter)
	if !ok || !plain(r) {
		return nil
	}
	if scrubbed.pointer(reflect.ValueOf(scrub).Elem()) != reflect.ValueOf(r).Pointer() {
		return nil // a plugin changed the question, in a copy
	}
	inner := reflect.ValueOf(scrub.ResponseWriter)
	t := transport.Load()
	if t == nil || t.of != inner.Type() {
		if t = transportOf(inner.Type()); t == nil {
			return nil
		}
		transport.Store(t)
	}
	if writes := inner.Elem().FieldByIndex(t.writer).Elem(); !writes.IsValid() || writes.Type() != t.of || writes.Pointer() != inner.Pointer() {
		return nil // dnsserver.Config.UDPDecorateWriterFunc sees what WriteMsg packs alone
	}
	return scrub.ResponseWriter
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

// unwrapped returns what is in w below the wrappers that plugin.NextOrFailure
// puts around a writer for each plugin. They do nothing but tell the prometheus
// plugin, if that is the next writer, who answers.
func unwrapped(w dns.ResponseWriter) dns.ResponseWriter {
	for wrapper.of != nil && reflect.TypeOf(w) == wrapper.of {
		w, _ = reflect.ValueOf(w).Elem().FieldByIndex(wrapper.writer).Interface().(dns.ResponseWriter)
	}
	return w
}

// wrapper is the type of these wrappers, which is not exported, and where the
// writer is in it. Its type is nil if the plugin package has none, or another
// than we know.
var wrapper = func() (wrapped writerType) {
	learn := plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, _ *dns.Msg) (int, error) {
		t := reflect.TypeOf(w)
		if t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct || t.Elem().PkgPath() != reflect.TypeFor[plugin.Plugin]().PkgPath() {
			return dns.RcodeSuccess, nil
		}
		if f, ok := t.Elem().FieldByName("ResponseWriter"); ok && f.Type == reflect.TypeFor[dns.ResponseWriter]() {
			wrapped = writerType{of: t, writer: f.Index}
		}
		return dns.RcodeSuccess, nil
	})
	_, _ = plugin.NextOrFailure(pluginName, learn, noContext{}, new(request.ScrubWriter), new(dns.Msg))
	return wrapped
}()

// noContext is the context of no query, in which there is nothing.
type noContext struct{ context.Context }

// Value implements the context.Context interface.
func (noContext) Value(any) any { return nil }

// field is where a struct has a pointer.
type field []int

// scrubbed is the request in a request.ScrubWriter.
var scrubbed = func() field {
	f, ok := reflect.TypeFor[request.ScrubWriter]().FieldByName("req")
	if !ok || f.Type != reflect.TypeFor[*dns.Msg]() {
		return nil
	}
	return f.Index
}()

// pointer returns the pointer, 0 if there is no such field.
func (f field) pointer(v reflect.Value) uintptr {
	if f == nil {
		return 0
	}
	return v.FieldByIndex(f).Pointer()
}

// writerType is a type of writers that its package does not export.
type writerType struct {
	of     reflect.Type
	writer field // what it writes to
}

// transport is the type of the writers of UDP, TCP and DoT, known since the first
// query, as miekg/dns has no way to make one. The writers of DoH, DoQ and gRPC
// are other types and want messages.
var transport atomic.Pointer[writerType]

// transportOf returns t if it is the type of a server's writer. Like this, not
// by trying: what is written, in whichever way, has gone out.
func transportOf(t reflect.Type) *writerType {
	if t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return nil
	}
	s := t.Elem()
	if s.PkgPath() != reflect.TypeFor[dns.Msg]().PkgPath() || s.Name() != "response" {
		return nil
	}
	f, ok := s.FieldByName("writer")
	if !ok || f.Type != reflect.TypeFor[dns.Writer]() {
		return nil
	}
	return &writerType{of: t, writer: f.Index}
}
