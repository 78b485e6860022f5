package mske

import (
	"context"

	"github.com/coredns/coredns/plugin"

	"github.com/miekg/dns"
)

// serveNotify answers a NOTIFY for one of our zones, of whatever type and
// whoever it comes from (RFC 1996, RFC 9859): the zone's announcements are
// collected at once, which the limits of that bound, and nothing in the message
// is believed. The plugins behind us see it as well: a secondary transfers the
// zone. Most of them answer nothing, in which case we do.
func (m *MSKE) serveNotify(ctx context.Context, z *zone, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if e := m.instance.engine.Load(); e != nil {
		e.Notified(z.name)
	}
	var failed error
	if m.Next != nil {
		n := &notified{ResponseWriter: w}
		rcode, err := plugin.NextOrFailure(pluginName, m.Next, ctx, n, r)
		if n.answered {
			return rcode, err
		}
		failed = err
	}
	reply := new(dns.Msg).SetReply(r)
	reply.Authoritative = true
	if err := w.WriteMsg(reply); err != nil {
		return dns.RcodeSuccess, plugin.Error(pluginName, err)
	}
	return dns.RcodeSuccess, failed
}

// notified notes whether there was an answer to a NOTIFY, which has no records
// (RFC 1996 section 4.7): dnssec answers one for DNSKEY with the keys, as if it
// had been asked for them.
type notified struct {
	dns.ResponseWriter
	answered bool
}

// WriteMsg implements the dns.ResponseWriter interface.
func (n *notified) WriteMsg(reply *dns.Msg) error {
	n.answered = true
	bare := *reply
	bare.Answer, bare.Ns = nil, nil
	return n.ResponseWriter.WriteMsg(&bare)
}

// Write implements the dns.ResponseWriter interface.
func (n *notified) Write(wire []byte) (int, error) {
	reply := new(dns.Msg)
	if err := reply.Unpack(wire); err != nil {
		n.answered = true
		return n.ResponseWriter.Write(wire)
	}
	return len(wire), n.WriteMsg(reply)
}
