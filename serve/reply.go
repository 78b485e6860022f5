package serve

import "github.com/miekg/dns"

// reply returns an authoritative answer to r, empty as yet. It keeps the
// question as it was spelt.
func reply(r *dns.Msg) *dns.Msg {
	m := new(dns.Msg).SetReply(r)
	m.Authoritative = true
	return m
}

// refuse returns an answer to r that is an error and nothing else.
func refuse(r *dns.Msg, rcode int) *dns.Msg { return new(dns.Msg).SetRcode(r, rcode) }

// invalidType answers a question for a type that nobody can have (RFC 9824
// section 3.5): FORMERR, and with EDNS the reason (RFC 8914).
func invalidType(r *dns.Msg) *dns.Msg {
	m := refuse(r, dns.RcodeFormatError)
	if opt := addOPT(m, r); opt != nil {
		opt.Option = append(opt.Option, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeInvalidQueryType})
	}
	return m
}

// addOPT gives m, the answer to r, an OPT record of its own, and returns it. It
// returns nil if r has none.
func addOPT(m, r *dns.Msg) *dns.OPT {
	asked := r.IsEdns0()
	if asked == nil {
		return nil
	}
	opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	opt.SetUDPSize(asked.UDPSize())
	opt.SetDo(asked.Do())
	m.Extra = append(m.Extra, opt)
	return opt
}

// wantsDNSSEC reports whether r has the DO bit set (RFC 3225).
func wantsDNSSEC(r *dns.Msg) bool {
	opt := r.IsEdns0()
	return opt != nil && opt.Do()
}

// wantsCompact reports whether r has the CO bit set (RFC 9824 section 5.1).
func wantsCompact(r *dns.Msg) bool {
	opt := r.IsEdns0()
	return opt != nil && opt.Co()
}
