package serve

import (
	"bytes"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// aReply is a message that Reply made, and the RRset that it took.
type aReply struct {
	*dns.Msg
	set *RRset
}

// replies returns answers of all types that have octets, with DO and without.
func replies(t *testing.T) []aReply {
	t.Helper()
	f := newFixture(t, true, "example.co.uk.")
	f.build(t)
	apex := newProvider(t, zone).sign(t, Params{TTL: 3600, Now: now}, nil)
	var all []aReply
	for _, do := range []bool{false, true} {
		for _, qtype := range []uint16{dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY} {
			for _, name := range []string{zone, strings.ToUpper(zone)} {
				r := question(name, qtype, do, false)
				m, answer := apex.Reply(r)
				if answer != Served {
					t.Fatalf("Expected an answer for %s", dns.Type(qtype))
				}
				all = append(all, aReply{m, apex.RRset(r.Question[0])})
			}
			r := question("_multi.example.co.uk."+domain, qtype, do, false)
			m, err := f.view.Reply(r, nil, nil, now)
			if err != nil || len(m.Answer) == 0 {
				t.Fatalf("Expected an announcement, got %v, %v", m, err)
			}
			all = append(all, aReply{m, f.view.RRset(r.Question[0])})
		}
	}
	return all
}

// packed returns m with every name written out.
func packed(t *testing.T, m *dns.Msg) []byte {
	t.Helper()
	m.Compress = false
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// TestMessagesInOctetsAreThoseOfPack is rule S4 for messages that plugins in front
// of us have seen: whatever the server does to them, the octets say the same.
func TestMessagesInOctetsAreThoseOfPack(t *testing.T) {
	opt := func(ttl uint32) *dns.OPT {
		return &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT, Class: 1232, Ttl: ttl}}
	}
	for _, change := range []func(m *dns.Msg){
		func(*dns.Msg) {},
		func(m *dns.Msg) { m.Extra = []dns.RR{opt(flagDO)} },
		func(m *dns.Msg) { m.Extra = []dns.RR{opt(flagDO | flagCO)} },
		func(m *dns.Msg) {
			m.RecursionAvailable, m.RecursionDesired, m.AuthenticatedData, m.CheckingDisabled, m.Zero = true, true, true, true, true
		},
		func(m *dns.Msg) { m.Authoritative, m.Response, m.Opcode = false, false, dns.OpcodeNotify },
		func(m *dns.Msg) { m.Answer, m.Truncated, m.Id = m.Answer[:1], true, 4711 },
		func(m *dns.Msg) { m.Compress = true },
	} {
		for _, reply := range replies(t) {
			change(reply.Msg)
			if !reply.set.IsIn(reply.Msg) {
				t.Fatalf("Expected the records in\n%v", reply)
			}
			wire, ok := reply.set.AppendMessage(nil, reply.Msg)
			got := new(dns.Msg)
			if !ok || got.Unpack(wire) != nil {
				t.Fatalf("Expected a message, got %x for\n%v", wire, reply)
			}
			if want := packed(t, reply.Msg); !bytes.Equal(packed(t, got), want) {
				t.Errorf("Expected\n%v\ngot\n%v", reply, got)
			}
		}
	}
}

// field changes a field of the first record of m, which is a key or the digest of
// one.
func field(m *dns.Msg, key func(*dns.DNSKEY), digest func(*dns.CDS)) {
	switch rr := m.Answer[0].(type) {
	case *dns.DNSKEY:
		key(rr)
	case *dns.CDNSKEY:
		key(&rr.DNSKEY)
	case *dns.CDS:
		digest(rr)
	}
}

// TestChangedMessagesAreNotInOctets changes everything that a plugin may change
// in a message, one by one.
func TestChangedMessagesAreNotInOctets(t *testing.T) {
	last := func(m *dns.Msg) dns.RR { return m.Answer[len(m.Answer)-1] }
	for what, change := range map[string]func(m *dns.Msg){
		"TTL":              func(m *dns.Msg) { m.Answer[0].Header().Ttl-- },
		"TTL of the last":  func(m *dns.Msg) { last(m).Header().Ttl = 1 },
		"class":            func(m *dns.Msg) { last(m).Header().Class = dns.ClassCHAOS },
		"type":             func(m *dns.Msg) { last(m).Header().Rrtype = dns.TypeTXT },
		"owner":            func(m *dns.Msg) { m.Answer[0].Header().Name = "another.example." },
		"case of an owner": func(m *dns.Msg) { last(m).Header().Name = "eXample." },
		"question":         func(m *dns.Msg) { m.Question[0].Name = "another.example." },
		"no question":      func(m *dns.Msg) { m.Question = nil },
		"two questions":    func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) },
		"RCODE":            func(m *dns.Msg) { m.Rcode = dns.RcodeNameError },
		"no answer":        func(m *dns.Msg) { m.Answer = nil },
		"without the first": func(m *dns.Msg) {
			m.Answer = append([]dns.RR{new(dns.TXT)}, m.Answer[1:]...)
		},
		"one more":      func(m *dns.Msg) { m.Answer = append(m.Answer, dns.Copy(last(m))) },
		"authority":     func(m *dns.Msg) { m.Ns = []dns.RR{new(dns.SOA)} },
		"additional":    func(m *dns.Msg) { m.Extra = []dns.RR{new(dns.A)} },
		"two additions": func(m *dns.Msg) { m.Extra = []dns.RR{new(dns.OPT), new(dns.OPT)} },
		"an option": func(m *dns.Msg) {
			m.Extra = []dns.RR{&dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}, Option: []dns.EDNS0{new(dns.EDNS0_NSID)}}}
		},
		"EDNS version": func(m *dns.Msg) {
			m.Extra = []dns.RR{&dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT, Ttl: 1 << 16}}}
		},
		"flags, key tag": func(m *dns.Msg) {
			field(m, func(k *dns.DNSKEY) { k.Flags ^= 1 }, func(c *dns.CDS) { c.KeyTag++ })
		},
		"protocol, digest type": func(m *dns.Msg) {
			field(m, func(k *dns.DNSKEY) { k.Protocol++ }, func(c *dns.CDS) { c.DigestType++ })
		},
		"algorithm": func(m *dns.Msg) {
			field(m, func(k *dns.DNSKEY) { k.Algorithm++ }, func(c *dns.CDS) { c.Algorithm++ })
		},
		"key, digest": func(m *dns.Msg) {
			field(m, func(k *dns.DNSKEY) { k.PublicKey = "AAAA" }, func(c *dns.CDS) { c.Digest = "AA" })
		},
	} {
		for _, reply := range replies(t) {
			change(reply.Msg)
			if reply.set.IsIn(reply.Msg) {
				t.Errorf("%s: expected another message than that of Reply:\n%v", what, reply)
			}
		}
	}
	for what, change := range map[string]func(s *dns.RRSIG){
		"type covered": func(s *dns.RRSIG) { s.TypeCovered++ },
		"algorithm":    func(s *dns.RRSIG) { s.Algorithm++ },
		"labels":       func(s *dns.RRSIG) { s.Labels++ },
		"original TTL": func(s *dns.RRSIG) { s.OrigTtl++ },
		"expiration":   func(s *dns.RRSIG) { s.Expiration++ },
		"inception":    func(s *dns.RRSIG) { s.Inception++ },
		"key tag":      func(s *dns.RRSIG) { s.KeyTag++ },
		"signer":       func(s *dns.RRSIG) { s.SignerName = "another.example." },
		"signature":    func(s *dns.RRSIG) { s.Signature = "AAAA" },
	} {
		for _, reply := range replies(t) {
			sig, ok := last(reply.Msg).(*dns.RRSIG)
			if !ok {
				continue
			}
			change(sig)
			if reply.set.IsIn(reply.Msg) {
				t.Errorf("%s of a signature: expected another message than that of Reply:\n%v", what, reply)
			}
		}
	}
}

// TestRepliesAreCopies lets plugins change what they get, and no more than that.
func TestRepliesAreCopies(t *testing.T) {
	for _, reply := range replies(t) {
		before := reply.set.RRs()
		for _, rr := range reply.Answer {
			rr.Header().Ttl, rr.Header().Name = 0, "another.example."
			if key, ok := rr.(*dns.DNSKEY); ok {
				key.PublicKey = "AAAA"
			}
		}
		again, err := NewRRset(reply.set.RRs(), reply.set.Sigs())
		if n := len(reply.set.marks); err != nil || again.wire(n) != reply.set.wire(n) {
			t.Errorf("Expected the RRset to stay as it was: %v, %v", reply.set.RRs(), err)
		}
		sameWire(t, reply.set.RRs(), before)
	}
}

// TestTooLongNames has names that a plugin in front of us may make of a question,
// and no wire can bring.
func TestTooLongNames(t *testing.T) {
	f := newFixture(t, true, "example.co.uk.")
	f.build(t)
	for length := 250; length <= 300; length++ {
		name := strings.Repeat("a.", (length-len(domain))/2) + domain
		if length%2 == 1 {
			name = "a" + name
		}
		wire, _, ok := f.view.AppendReply(nil, question(name, dns.TypeCDS, true, false), 1232)
		if fit := fits(name); ok != fit {
			t.Errorf("A name of %d octets in text: expected an answer %v, got %x", len(name), fit, wire)
		}
	}
}
