package hostile

import (
	"encoding/hex"
	"fmt"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/internal/lab"
)

// manyKeys is how many keys of one tag a DNSKEY RRset has room for.
const manyKeys = 60

// keyTraps are the attacks of "The Harder You Try, The Harder You Fail"
// (CVE-2023-50387), and what an attacker makes of them who has read our limits.
func keyTraps() []attack {
	var all []attack
	for _, c := range ciphers {
		all = append(all,
			attack{"KeySigTrap " + c.name, "many keys of one tag times many signatures of the announcement", verdicts(fetch.Bogus), func(w *world) {
				w.addKeys(w.signal(), c.junkKeys(w.signal().Name, false, manyKeys))
				w.signData(func(z *lab.Zone, rrs []dns.RR) []dns.RR { return c.junkSigs(z, rrs, c.sigsThatFit(len(rrs))) })
			}},
			attack{"SigJam " + c.name, "one key, many signatures of the announcement", verdicts(fetch.Bogus), func(w *world) {
				w.addKeys(w.signal(), c.junkKeys(w.signal().Name, false, 1))
				w.signData(func(z *lab.Zone, rrs []dns.RR) []dns.RR { return c.junkSigs(z, rrs, c.sigsThatFit(len(rrs))) })
			}},
			attack{"LockCram " + c.name, "many keys of one tag, one signature", verdicts(fetch.Bogus), func(w *world) {
				w.addKeys(w.signal(), c.junkKeys(w.signal().Name, false, manyKeys))
				w.signData(func(z *lab.Zone, rrs []dns.RR) []dns.RR { return c.junkSigs(z, rrs, 1) })
			}},
			attack{"DNSKEY KeySigTrap " + c.name, "DS names many keys of one tag, the DNSKEY RRset has many signatures", verdicts(fetch.Bogus), func(w *world) {
				w.addKeys(w.signal(), c.junkKeys(w.signal().Name, true, 30))
				w.signAll(w.signal().Name, func(z *lab.Zone, rrs []dns.RR) []dns.RR { return c.junkSigs(z, rrs, c.sigsThatFit(len(rrs))) })
			}},
			attack{"DenialJam " + c.name, "a denial by eight NSEC with many signatures each", verdicts(fetch.Bogus), func(w *world) {
				w.addKeys(w.signal(), c.junkKeys(w.signal().Name, false, 16))
				w.signData(signWell)
				w.message = func(q question, m *dns.Msg) *dns.Msg {
					if q.name == w.owner() {
						m.Answer, m.Ns = nil, c.junkDenial(w.lab.Zone(w.signal().Name), 8)
					}
					return m
				}
			}},
			attack{"ChainJam " + c.name, "a dozen zones, each RRset's signature behind fifteen that fail", verdicts(fetch.Bogus), func(w *world) {
				jamChain(w, c, 12)
			}},
		)
	}
	for _, digest := range []uint8{dns.SHA256, dns.SHA384} {
		all = append(all, attack{"HashTrap " + dns.HashToString[digest], "many DS times many large keys of one tag", verdicts(fetch.Bogus), func(w *world) {
			c := ciphers[len(ciphers)-1]
			name := w.signal().Name
			w.addKeys(w.signal(), c.junkKeys(name, true, manyKeys))
			w.signAll(name, signWell)
			r := noise(name)
			for range 400 {
				w.zones[peerZone].Records += fmt.Sprintf("%s DS %d %d %d %s\n",
					name, junkTag, c.algorithm, digest, hex.EncodeToString(octets(r, map[uint8]int{dns.SHA256: 32, dns.SHA384: 48}[digest])))
			}
		}})
	}
	return append(all, attack{"ANY", "RRsets of twenty other types with failing signatures, beside the announcement", verdicts(fetch.Secure), func(w *world) {
		c := ciphers[0]
		w.addKeys(w.signal(), c.junkKeys(w.signal().Name, false, 16))
		w.signData(signWell)
		w.message = func(q question, m *dns.Msg) *dns.Msg {
			if q.name != w.owner() {
				return m
			}
			for t := range uint16(20) {
				rr := &dns.RFC3597{Hdr: dns.RR_Header{Name: q.name, Rrtype: 65400 + t, Class: dns.ClassINET, Ttl: 300}, Rdata: "00"}
				m.Answer = append(append(m.Answer, rr), c.junkSigs(w.lab.Zone(w.signal().Name), []dns.RR{rr}, 16)...)
			}
			return m
		}
	}})
}

// jamChain puts n zones between peerZone and the announcement, in each of which
// an RRset's signature comes after fifteen that fail.
func jamChain(w *world, c cipher, n int) {
	name := peerZone
	for i := range n {
		name = fmt.Sprintf("z%d.%s", i, name)
		z := &lab.Zone{Name: name}
		w.zones[name] = z
		w.addKeys(z, c.junkKeys(name, true, 1))
		w.signAll(name, func(z *lab.Zone, rrs []dns.RR) []dns.RR {
			return append(c.junkSigs(z, rrs, 15), signWell(z, rrs)...)
		})
	}
	delete(w.zones, w.signal().Name)
	w.host = "ns." + name
	w.zones[name].Records = announcement(w.host)
}

// junkDenial returns n NSEC of a zone, none about what was asked, with
// signatures that fail.
func (c cipher) junkDenial(z *lab.Zone, n int) []dns.RR {
	var all []dns.RR
	for i := range n {
		name := fmt.Sprintf("n%d.%s", i, z.Name)
		rr := &dns.NSEC{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: 300},
			NextDomain: "z." + name, TypeBitMap: []uint16{dns.TypeA}}
		all = append(append(all, rr), c.junkSigs(z, []dns.RR{rr}, c.sigsThatFit(n)/n)...)
	}
	return all
}

// addKeys gives a zone keys beside a KSK and a ZSK of its own.
func (w *world) addKeys(z *lab.Zone, keys []*lab.Key) {
	z.Keys = append([]*lab.Key{
		lab.NewKey(z.Name, dns.ECDSAP256SHA256, 257, ""),
		lab.NewKey(z.Name, dns.ECDSAP256SHA256, 256, ""),
	}, keys...)
}

// signer signs an RRset of a zone.
type signer func(z *lab.Zone, rrs []dns.RR) []dns.RR

// signWell signs with the keys that [world.addKeys] makes, as a zone does.
func signWell(z *lab.Zone, rrs []dns.RR) []dns.RR {
	if rrs[0].Header().Rrtype == dns.TypeDNSKEY {
		return []dns.RR{z.SignWith(z.Keys[0], rrs)}
	}
	return []dns.RR{z.SignWith(z.Keys[1], rrs)}
}

// signAll has a zone signed by sign.
func (w *world) signAll(name string, sign signer) {
	finish := w.finish
	w.finish = func(l *lab.Lab) {
		finish(l)
		z := l.Zone(name)
		z.SignRRset = func(rrs []dns.RR) []dns.RR { return sign(z, rrs) }
	}
}

// signData has all but the keys of the signaling zone signed by sign.
func (w *world) signData(sign signer) {
	w.signAll(w.signal().Name, func(z *lab.Zone, rrs []dns.RR) []dns.RR {
		if rrs[0].Header().Rrtype == dns.TypeDNSKEY {
			return signWell(z, rrs)
		}
		return sign(z, rrs)
	})
}
