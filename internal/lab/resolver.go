package lab

import (
	"github.com/miekg/dns"
)

// maxAliases bounds how many CNAMEs the resolver follows.
const maxAliases = 8

// enclosing returns the zone that holds the name, or nil. The lab is locked.
func (l *Lab) enclosing(name string) *Zone {
	for {
		if z, ok := l.zones[name]; ok {
			return z
		}
		if name == "." {
			return nil
		}
		name = parent(name)
	}
}

// resolve answers a question from the zones, following aliases. The lab is locked.
func (l *Lab) resolve(q dns.Question) *dns.Msg {
	out := new(dns.Msg)
	name := dns.CanonicalName(q.Name)
	for range maxAliases {
		z := l.enclosing(name)
		if q.Qtype == dns.TypeDS && name != "." {
			z = l.enclosing(parent(name))
		}
		if z == nil {
			break
		}
		m := z.answer(name, q.Qtype)
		if !m.Authoritative { // a delegation to a zone that is not here
			break
		}
		out.Rcode = m.Rcode
		out.Answer = append(out.Answer, m.Answer...)
		out.Ns = append(out.Ns, m.Ns...)
		next := ""
		for _, rr := range m.Answer {
			if alias, ok := rr.(*dns.CNAME); ok && q.Qtype != dns.TypeCNAME {
				next = dns.CanonicalName(alias.Target)
			}
		}
		if next == "" {
			return out
		}
		name = next
	}
	out.Rcode = dns.RcodeServerFailure
	return out
}

// ServeDNS is Exchange for a [dns.Server]: the hierarchy's resolver on a
// socket. Signatures are given to clients that set DO only, answers are
// truncated to the client's size, and a swallowed answer is not written.
func (l *Lab) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	if len(r.Question) != 1 {
		return
	}
	m := l.answer(r)
	if m == nil {
		return
	}
	size := dns.MinMsgSize
	opt := r.IsEdns0()
	if opt == nil || !opt.Do() {
		m = StripSignatures(m)
	}
	if opt == nil {
		m.Extra = nil
	} else {
		size = int(opt.UDPSize())
	}
	if w.LocalAddr().Network() == "tcp" {
		size = dns.MaxMsgSize
	}
	m.Truncate(size)
	// The client may be gone: it will ask again.
	_ = w.WriteMsg(m)
}
