package lab

import (
	"slices"

	"github.com/miekg/dns"
)

// StripSignatures removes every RRSIG, as a resolver without DNSSEC does.
func StripSignatures(m *dns.Msg) *dns.Msg { return Drop(dns.TypeRRSIG)(m) }

// Timeout swallows the answer.
func Timeout(*dns.Msg) *dns.Msg { return nil }

// Drop removes the records of these types from answer and authority section.
func Drop(types ...uint16) Tamper {
	return func(m *dns.Msg) *dns.Msg {
		drop := func(rr dns.RR) bool { return slices.Contains(types, rr.Header().Rrtype) }
		m.Answer = slices.DeleteFunc(m.Answer, drop)
		m.Ns = slices.DeleteFunc(m.Ns, drop)
		return m
	}
}

// Rcode replaces the answer by an empty one with this RCODE.
func Rcode(rcode int) Tamper {
	return func(m *dns.Msg) *dns.Msg {
		m.Rcode = rcode
		m.Answer, m.Ns = nil, nil
		return m
	}
}

// Each calls edit on every record of type rrtype in answer and authority
// section; 0 stands for any type. The records are the caller's to change.
func Each(rrtype uint16, edit func(dns.RR)) Tamper {
	return func(m *dns.Msg) *dns.Msg {
		for _, section := range [][]dns.RR{m.Answer, m.Ns} {
			for _, rr := range section {
				if rrtype == 0 || rr.Header().Rrtype == rrtype {
					edit(rr)
				}
			}
		}
		return m
	}
}

// EachSig calls edit on every RRSIG that covers rrtype; 0 stands for any type.
func EachSig(rrtype uint16, edit func(*dns.RRSIG)) Tamper {
	return Each(dns.TypeRRSIG, func(rr dns.RR) {
		if sig := rr.(*dns.RRSIG); rrtype == 0 || sig.TypeCovered == rrtype {
			edit(sig)
		}
	})
}

// Replace answers with another message's sections and RCODE: a replayed or
// forged answer.
func Replace(other *dns.Msg) Tamper {
	return func(m *dns.Msg) *dns.Msg {
		m.Rcode = other.Rcode
		m.Answer, m.Ns = copies(other.Answer), copies(other.Ns)
		return m
	}
}
