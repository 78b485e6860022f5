package mske

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/serve"
)

// corrector writes what the next plugin answers, after its records that say
// which types there are at the apex have been put right (rule S2), and its NS
// RRset replaced where ours is another (rule S1).
type corrector struct {
	dns.ResponseWriter
	ctx     context.Context
	handler *MSKE
	zone    *zone
	view    *serve.Apex
	request *dns.Msg
}

// WriteMsg implements the dns.ResponseWriter interface. If what is wrong cannot
// be put right now, the client gets SERVFAIL: a wrong proof of ours, cached
// and put to use (RFC 8198), denies the joint sets.
func (c *corrector) WriteMsg(reply *dns.Msg) error {
	if c.request.Question[0].Qtype == dns.TypeANY {
		reply = withoutOurs(reply, c.view, c.zone.name)
	}
	corrected, err := c.put(reply)
	switch {
	case err != nil:
		log.Debugf("Correcting an answer of zone %s: %v", c.zone.name, err)
		c.handler.counts.count(c.ctx, kindFailing, c.request.Question[0].Qtype)
		corrected = new(dns.Msg).SetRcode(c.request, dns.RcodeServerFailure)
	case corrected != reply:
		c.handler.counts.count(c.ctx, kindCorrected, c.request.Question[0].Qtype)
	}
	return c.ResponseWriter.WriteMsg(corrected)
}

// put returns reply as it is if nothing in it is to be put right. Without DO
// there is no proof in it.
func (c *corrector) put(reply *dns.Msg) (*dns.Msg, error) {
	do := wantsDNSSEC(c.request)
	reply = serve.Substitute(reply, c.view, do)
	if !do && c.request.Question[0].Qtype != dns.TypeANY {
		return reply, nil
	}
	return c.handler.correct(reply, c.zone, c.view)
}

// Write implements the dns.ResponseWriter interface. Octets have to be read
// again to be put right; what cannot be read is none of ours.
func (c *corrector) Write(wire []byte) (int, error) {
	reply := new(dns.Msg)
	if err := reply.Unpack(wire); err != nil {
		return c.ResponseWriter.Write(wire)
	}
	if err := c.WriteMsg(reply); err != nil {
		return 0, err
	}
	return len(wire), nil
}

// withoutOurs returns reply, an answer to ANY, without what is at the apex of
// zone behind us of the types that view answers: resolvers that cache such answers
// would go on with our keys alone. Any part of what there is will do (RFC 8482
// section 4.1).
func withoutOurs(reply *dns.Msg, view *serve.Apex, zone string) *dns.Msg {
	isOurs := func(rr dns.RR) bool {
		rrtype := rr.Header().Rrtype
		if sig, ok := rr.(*dns.RRSIG); ok {
			rrtype = sig.TypeCovered
		}
		return view.Answers(rrtype) && strings.EqualFold(rr.Header().Name, zone)
	}
	if !slices.ContainsFunc(reply.Answer, isOurs) {
		return reply
	}
	without := *reply
	without.Answer = slices.DeleteFunc(slices.Clone(reply.Answer), isOurs)
	return &without
}

// correct returns reply as it is if it says nothing wrong about the apex of z,
// or else a corrected copy.
func (m *MSKE) correct(reply *dns.Msg, z *zone, view *serve.Apex) (*dns.Msg, error) {
	return serve.Correct(reply, view, z.stanza.cnsType, m.instance.online(m.instance.corrections), time.Now())
}
