package mske

import (
	"context"
	"reflect"
	"sync/atomic"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/metrics"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/request"

	"github.com/miekg/dns"
)

// route is how an answer gets to the client: through the writers of plugins,
// which all are known, then through what the server does with each message
// (request.ScrubWriter), which is to add an OPT record and to truncate, and at
// last by the server's own writer. The zero value is that of any other way.
type route struct {
	scrub  *request.ScrubWriter
	server dns.ResponseWriter // the one in scrub, which sends octets as they are
	bare   bool               // no plugin's writer needs a message

	// The prometheus plugin's writer, if it is on the way, and what that would be
	// told of who answers; "" for nothing.
	recorder *metrics.Recorder
	answerer string
}

// routeOf returns the route of what is written to w.
func routeOf(w dns.ResponseWriter) route {
	to, front := route{bare: true}, dns.ResponseWriter(nil)
	for to.scrub == nil {
		switch x := w.(type) {
		case *request.ScrubWriter:
			if x == nil {
				return route{}
			}
			to.scrub = x
		case *metrics.Recorder:
			if wrapper.named == nil || to.recorder != nil {
				to.bare = false
			}
			to.recorder, to.answerer = x, wrapper.name(front)
			w = x.ResponseWriter
		case *dnstest.Recorder: // that of the log plugin
			w, to.bare = x.ResponseWriter, false
		default:
			t := reflect.TypeOf(w)
			if t == nil {
				return route{}
			}
			if t == wrapper.of {
				front, w = w, wrapper.inside(w)
				continue
			}
			tap := tapWriter.find(t)
			if tap == nil {
				return route{}
			}
			w, to.bare = tap.inside(w), false
		}
	}
	to.server = sending(to.scrub)
	if to.server == nil {
		return route{}
	}
	return to
}

// record tells the prometheus plugin of an answer that is sent past its writer, all
// that this would note of a message and that is asked for.
func (to route) record(rcode, length int) {
	if to.recorder == nil {
		return
	}
	to.recorder.Rcode = rcode
	to.recorder.Len += length
	if to.answerer != "" {
		to.recorder.SetPlugin(to.answerer)
	}
}

// of reports whether to is that of the answers to r, or to a question that asks
// for the same in the same EDNS: some plugins go on with a copy. r has an OPT
// record without options of consequence as its one additional record, or none.
func (to route) of(r *dns.Msg) bool {
	if scrubbed == nil {
		return false
	}
	req := reflect.ValueOf(to.scrub).Elem().FieldByIndex(scrubbed)
	if req.Pointer() == reflect.ValueOf(r).Pointer() {
		return true
	}
	if req.IsNil() {
		return false
	}
	extra := req.Elem().FieldByIndex(additional)
	if extra.Len() != len(r.Extra) {
		return false
	}
	if len(r.Extra) == 0 {
		return true
	}
	opt, ok := r.Extra[0].(*dns.OPT)
	asked := extra.Index(0).Elem()
	if !ok || asked.Type() != reflect.TypeFor[*dns.OPT]() {
		return false
	}
	header := asked.Elem().FieldByIndex(optHeader)
	return len(opt.Option) == 0 && asked.Elem().FieldByIndex(optOptions).Len() == 0 &&
		header.FieldByIndex(headerClass).Uint() == uint64(opt.Hdr.Class) && header.FieldByIndex(headerTTL).Uint() == uint64(opt.Hdr.Ttl)
}

// sending returns the writer in scrub, if octets that are written to it are what
// the client gets. Otherwise it returns nil.
func sending(scrub *request.ScrubWriter) dns.ResponseWriter {
	inner := reflect.ValueOf(scrub.ResponseWriter)
	if !inner.IsValid() {
		return nil
	}
	t := serverWriter.find(inner.Type())
	if t == nil {
		return nil
	}
	if writes := inner.Elem().FieldByIndex(t.writer).Elem(); !writes.IsValid() || writes.Type() != t.of || writes.Pointer() != inner.Pointer() {
		return nil // dnsserver.Config.UDPDecorateWriterFunc sees what WriteMsg packs alone
	}
	return scrub.ResponseWriter
}

// writerType is a type of writers, a pointer to a struct.
type writerType struct {
	of     reflect.Type
	writer field // what it writes to
	named  field // the name of a plugin, nil if there is none
}

// name returns the name of the plugin in w, "" if w is not of that type.
func (t *writerType) name(w dns.ResponseWriter) string {
	if w == nil || t.named == nil || reflect.TypeOf(w) != t.of {
		return ""
	}
	return reflect.ValueOf(w).Elem().FieldByIndex(t.named).String()
}

// inside returns what w, of that type, writes to.
func (t *writerType) inside(w dns.ResponseWriter) dns.ResponseWriter {
	inner, _ := reflect.ValueOf(w).Elem().FieldByIndex(t.writer).Interface().(dns.ResponseWriter)
	return inner
}

// wrapper is the type of the wrappers that plugin.NextOrFailure puts around a
// writer for each plugin. They do nothing but tell the prometheus plugin, if that
// is the next writer, who answers. It is not exported. Its type is nil if the plugin package has none, or another
// than we know.
var wrapper = func() (wrapped writerType) {
	learn := plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, _ *dns.Msg) (int, error) {
		t := reflect.TypeOf(w)
		if t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct || t.Elem().PkgPath() != reflect.TypeFor[plugin.Plugin]().PkgPath() {
			return dns.RcodeSuccess, nil
		}
		if f, ok := t.Elem().FieldByName("ResponseWriter"); ok && f.Type == reflect.TypeFor[dns.ResponseWriter]() {
			wrapped = writerType{of: t, writer: f.Index}
			if f, ok := t.Elem().FieldByName("plugin"); ok && f.Type.Kind() == reflect.String {
				wrapped.named = f.Index
			}
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

// field is where a struct has a field.
type field []int

// fieldOf returns where struct T has the field of that name and type, nil if it
// has none.
func fieldOf[T, Field any](name string) field {
	f, ok := reflect.TypeFor[T]().FieldByName(name)
	if !ok || f.Type != reflect.TypeFor[Field]() {
		return nil
	}
	return f.Index
}

var (
	scrubbed = fieldOf[request.ScrubWriter, *dns.Msg]("req") // the question, which is not exported

	// What of it counts. To read these is all that reflection lets us do.
	additional  = fieldOf[dns.Msg, []dns.RR]("Extra")
	optHeader   = fieldOf[dns.OPT, dns.RR_Header]("Hdr")
	optOptions  = fieldOf[dns.OPT, []dns.EDNS0]("Option")
	headerClass = fieldOf[dns.RR_Header, uint16]("Class")
	headerTTL   = fieldOf[dns.RR_Header, uint32]("Ttl")
)

// namedType is a type of writers that is known by its name, as it is not exported
// or its package not one that all servers have.
type namedType struct {
	pkg, name string
	field     string       // of what it writes to
	is        reflect.Type // the type of that field

	found atomic.Pointer[writerType]
}

var (
	// serverWriter is the type of the writers of UDP, TCP and DoT, which miekg/dns
	// has no way to make. The writers of DoH, DoQ and gRPC are other types and
	// want messages.
	serverWriter = namedType{pkg: reflect.TypeFor[dns.Msg]().PkgPath(), name: "response", field: "writer", is: reflect.TypeFor[dns.Writer]()}

	// tapWriter is the type of the dnstap plugin's.
	tapWriter = namedType{pkg: reflect.TypeFor[plugin.Plugin]().PkgPath() + "/dnstap", name: "ResponseWriter", field: "ResponseWriter", is: reflect.TypeFor[dns.ResponseWriter]()}
)

// find returns t if it is that type. Like this, not by trying: what is written,
// in whichever way, has gone out.
func (n *namedType) find(t reflect.Type) *writerType {
	if known := n.found.Load(); known != nil && known.of == t {
		return known
	}
	return n.learn(t)
}

// learn is find for a type that was not found before.
func (n *namedType) learn(t reflect.Type) *writerType {
	if t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct || t.Elem().PkgPath() != n.pkg || t.Elem().Name() != n.name {
		return nil
	}
	f, ok := t.Elem().FieldByName(n.field)
	if !ok || f.Type != n.is {
		return nil
	}
	known := &writerType{of: t, writer: f.Index}
	n.found.Store(known)
	return known
}
