package hostile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/internal/lab"
)

// delegations are attacks by where the answers lead.
func delegations() []attack {
	all := []attack{
		{"Deep", "forty zones, each a label further", verdicts(fetch.Bogus), func(w *world) { w.deepen(40) }},
		{"Deep enough", "a dozen zones, each a label further, with nothing wrong", verdicts(fetch.Secure), func(w *world) { w.deepen(8) }},
		{"DS by the child", "DS signed by the zone it is of", verdicts(fetch.Bogus), func(w *world) {
			w.swapSigners(peerZone, w.signal().Name, dns.TypeDS)
		}},
		{"Keys by each other", "the keys of two zones, each said to be signed by the other", verdicts(fetch.Bogus), func(w *world) {
			w.swapSigners(peerZone, w.signal().Name, dns.TypeDNSKEY, dns.TypeDS)
			w.swapSigners(w.signal().Name, peerZone, dns.TypeDNSKEY)
		}},
		{"Signers everywhere", "an RRSIG by every zone that the name could be in", verdicts(fetch.Bogus), func(w *world) {
			w.announceAs(strings.Repeat("a.", 90) + peerZone)
			w.signAll(peerZone, func(z *lab.Zone, rrs []dns.RR) []dns.RR {
				if rrs[0].Header().Name != w.owner() {
					return z.Sign(rrs)
				}
				var sigs []dns.RR
				for name := w.host; name != peerZone; name = name[strings.IndexByte(name, '.')+1:] {
					sigs = append(sigs, z.SignWith(z.Keys[1], rrs, func(sig *dns.RRSIG) { sig.SignerName = name }))
				}
				return sigs
			})
		}},
		{"Stripped", "no RRSIG, and an SOA at every one of a hundred labels", verdicts(fetch.Bogus, fetch.Unreachable), func(w *world) {
			w.announceAs(strings.Repeat("a.", 100) + peerZone)
			w.message = func(q question, m *dns.Msg) *dns.Msg {
				if q.name == peerZone {
					return m
				}
				m.Ns = nil
				if q.qtype == dns.TypeSOA {
					m.Answer = []dns.RR{soa(q.name)}
				}
				return lab.StripSignatures(m)
			}
		}},
		{"Stripped, no SOA", "no RRSIG, and no SOA at any of a hundred labels", verdicts(fetch.Bogus, fetch.Unreachable), func(w *world) {
			w.announceAs(strings.Repeat("a.", 100) + peerZone)
			w.message = func(q question, m *dns.Msg) *dns.Msg {
				if q.name == peerZone {
					return m
				}
				return lab.Drop(dns.TypeSOA, dns.TypeRRSIG)(m)
			}
		}},
	}
	for _, target := range []struct{ name, owner string }{
		{"up", "."}, {"down", "x." + signalingName(host)}, {"elsewhere", "example.org."}, {"nowhere", "nowhere."},
	} {
		all = append(all, attack{"SOA points " + target.name, "a bare announcement, and an SOA that leads " + target.name,
			verdicts(fetch.Bogus, fetch.Unreachable), func(w *world) {
				w.message = func(q question, m *dns.Msg) *dns.Msg {
					switch {
					case q.qtype == dns.TypeSOA:
						m.Answer, m.Ns = nil, []dns.RR{soa(target.owner)}
					case q.name == w.owner():
						lab.StripSignatures(m)
					}
					return m
				}
			}})
	}
	cname := func(name, target string) dns.RR {
		return &dns.CNAME{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 300}, Target: target}
	}
	// An alias that validates is refused; what it leads to does not matter.
	aliases := func(name, about string, records func(w *world) []dns.RR) attack {
		return attack{name, about, verdicts(fetch.Refused, fetch.Bogus, fetch.Unreachable), func(w *world) {
			w.message = func(q question, m *dns.Msg) *dns.Msg {
				if q.name == w.owner() {
					m.Answer, m.Ns = nil, nil
					z := w.lab.Zone(w.signal().Name)
					for i, rr := range records(w) {
						m.Answer = append(m.Answer, rr)
						if i < 8 {
							m.Answer = append(m.Answer, z.Sign([]dns.RR{rr})...)
						}
					}
				}
				return m
			}
		}}
	}
	return append(all,
		aliases("CNAME to itself", "a signed CNAME that leads to its owner", func(w *world) []dns.RR {
			return []dns.RR{cname(w.owner(), w.owner())}
		}),
		aliases("CNAME loop", "two signed CNAMEs that lead to each other", func(w *world) []dns.RR {
			other := "x." + w.signal().Name
			return []dns.RR{cname(w.owner(), other), cname(other, w.owner())}
		}),
		aliases("CNAME chain", "four hundred CNAMEs", func(w *world) []dns.RR {
			rrs := []dns.RR{cname(w.owner(), "c0."+w.signal().Name)}
			for i := range 400 {
				rrs = append(rrs, cname(fmt.Sprintf("c%d.%s", i, w.signal().Name), fmt.Sprintf("c%d.%s", i+1, w.signal().Name)))
			}
			return rrs
		}),
		aliases("DNAME", "a signed DNAME at the signaling zone's apex that leads below itself", func(w *world) []dns.RR {
			apex := w.signal().Name
			return []dns.RR{&dns.DNAME{Hdr: dns.RR_Header{Name: apex, Rrtype: dns.TypeDNAME, Class: dns.ClassINET, Ttl: 300}, Target: "x." + apex}}
		}),
		attack{"One RRset for all", "a resolver that has one answer to everything", verdicts(fetch.Unreachable), func(w *world) {
			w.everywhere = true
			w.message = func(q question, m *dns.Msg) *dns.Msg {
				m.Rcode, m.Ns = dns.RcodeSuccess, nil
				m.Answer = w.lab.Zone(w.signal().Name).Answer(w.owner(), dns.TypeDNSKEY).Answer
				for _, rr := range m.Answer {
					rr.Header().Name = q.name
				}
				return m
			}
		}},
		attack{"One RRset for the peer", "a peer that has one answer to everything", verdicts(fetch.Bogus), func(w *world) {
			w.message = func(q question, m *dns.Msg) *dns.Msg {
				m.Rcode, m.Ns = dns.RcodeSuccess, nil
				m.Answer = w.lab.Zone(w.signal().Name).Answer(w.owner(), dns.TypeDNSKEY).Answer
				for _, rr := range m.Answer {
					rr.Header().Name = q.name
				}
				return m
			}
		}},
		attack{"Lame", "a referral to the root", verdicts(fetch.Bogus, fetch.Unreachable), func(w *world) {
			w.message = func(q question, m *dns.Msg) *dns.Msg {
				m.Rcode, m.Answer, m.Authoritative = dns.RcodeSuccess, nil, false
				m.Ns = []dns.RR{&dns.NS{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: 300}, Ns: "a.root-servers.net."}}
				return m
			}
		}},
		attack{"Nothing there", "NXDOMAIN without proof", verdicts(fetch.Bogus), func(w *world) {
			w.message = func(q question, m *dns.Msg) *dns.Msg { return lab.Rcode(dns.RcodeNameError)(m) }
		}},
	)
}

// swapSigners has RRsets of some types in a zone signed by another zone.
func (w *world) swapSigners(name, other string, types ...uint16) {
	finish := w.finish
	w.finish = func(l *lab.Lab) {
		finish(l)
		z, by := l.Zone(name), l.Zone(other)
		z.SignRRset = func(rrs []dns.RR) []dns.RR {
			if slices.Contains(types, rrs[0].Header().Rrtype) {
				return by.Sign(rrs)
			}
			return z.Sign(rrs)
		}
	}
}

// deepen has the peer announce n zones below peerZone, each a label below the
// last.
func (w *world) deepen(n int) {
	delete(w.zones, w.signal().Name)
	name := peerZone
	for range n {
		name = "a." + name
		w.zones[name] = &lab.Zone{Name: name}
	}
	w.host = "ns." + name
	w.zones[name].Records = announcement(w.host)
}

func soa(name string) dns.RR {
	return &dns.SOA{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 300},
		Ns: host, Mbox: host, Serial: 1, Refresh: 7200, Retry: 3600, Expire: 1209600, Minttl: 300}
}
