package hostile

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/internal/lab"
)

// manyLabels is a nameserver whose signaling name is as long as can be and has
// as many labels, so that its closest encloser is found after a hundred hashes.
var manyLabels = strings.Repeat("a.", 106) + peerZone

// hashings are attacks by what NSEC3 makes a validator hash (CVE-2023-50868).
func hashings() []attack {
	var all []attack
	for _, n := range []uint16{0, 50, 100} {
		all = append(all, attack{fmt.Sprintf("NSEC3 %d iterations", n), "denial of a name of 111 labels in an NSEC3 zone with a salt of 255 octets",
			verdicts(fetch.Absent, fetch.Bogus), func(w *world) { w.hashed(n) }})
	}
	for _, n := range []uint16{101, 150, 2500} {
		all = append(all, attack{fmt.Sprintf("NSEC3 %d iterations", n), "the same: so many make the zone insecure (RFC 9276)",
			verdicts(fetch.Insecure), func(w *world) { w.hashed(n) }})
	}
	return append(all,
		attack{"NSEC3 no encloser", "eight NSEC3, none of them of a name above", verdicts(fetch.Bogus), func(w *world) {
			w.hashed(100)
			w.message = func(q question, m *dns.Msg) *dns.Msg {
				if q.name == w.owner() {
					m.Ns = foreignNSEC3(w.lab.Zone(peerZone), 8)
				}
				return m
			}
		}},
		attack{"NSEC3 no encloser, no SOA", "the same, and no answer to SOA", verdicts(fetch.Bogus, fetch.Unreachable), func(w *world) {
			w.hashed(100)
			w.message = func(q question, m *dns.Msg) *dns.Msg {
				if q.name != peerZone {
					m.Answer, m.Ns = nil, foreignNSEC3(w.lab.Zone(peerZone), 8)
				}
				return m
			}
		}},
		attack{"NSEC3 several chains", "NSEC3 of eight salts and iterations", verdicts(fetch.Bogus), func(w *world) {
			w.hashed(100)
			w.message = func(q question, m *dns.Msg) *dns.Msg {
				if q.name == w.owner() {
					for i := range uint16(8) {
						m.Ns = append(m.Ns, signedNSEC3(w.lab.Zone(peerZone), int(i), 100-i, fmt.Sprintf("%02x", i))...)
					}
				}
				return m
			}
		}},
		attack{"NSEC3 wildcard", "an announcement expanded from a wildcard a hundred labels above", verdicts(fetch.Refused, fetch.Bogus), func(w *world) {
			w.hashed(100)
			w.zones[peerZone].Records += strings.ReplaceAll(announcement(host), signalingName(host), "*."+peerZone)
		}},
		attack{"NSEC3 unhashable", "owners that are no hashes, unknown hash and flags, next names of other lengths", verdicts(fetch.Bogus), func(w *world) {
			w.hashed(1)
			w.message = func(q question, m *dns.Msg) *dns.Msg {
				if q.name != w.owner() {
					return m
				}
				z := w.lab.Zone(peerZone)
				m.Ns = nil
				for i, spoil := range []func(*dns.NSEC3){
					func(rr *dns.NSEC3) { rr.Hash = 2 },
					func(rr *dns.NSEC3) { rr.Flags = 0xfe },
					func(rr *dns.NSEC3) { rr.Hdr.Name = "short." + peerZone },
					func(rr *dns.NSEC3) { rr.Hdr.Name = peerZone },
					func(rr *dns.NSEC3) { rr.NextDomain, rr.HashLength = "", 0 },
					func(rr *dns.NSEC3) { rr.NextDomain, rr.HashLength = strings.Repeat("0", 400), 250 },
				} {
					rr := signedNSEC3(z, i, 1, "")[0].(*dns.NSEC3)
					spoil(rr)
					m.Ns = append(append(m.Ns, rr), signWell(z, []dns.RR{rr})...)
				}
				return m
			}
		}},
	)
}

// hashed makes peerZone an NSEC3 zone and gives the peer a name of many labels,
// at which nothing is announced.
func (w *world) hashed(iterations uint16) {
	delete(w.zones, "_signal."+w.host)
	w.host = manyLabels
	z := w.zones[peerZone]
	z.Denial, z.Iterations, z.Salt = lab.NSEC3, iterations, strings.Repeat("5a", 255)
}

// foreignNSEC3 returns n NSEC3 of names that are not above the signaling name.
func foreignNSEC3(z *lab.Zone, n int) []dns.RR {
	var all []dns.RR
	for i := range n {
		all = append(all, signedNSEC3(z, i, z.Iterations, z.Salt)...)
	}
	return all
}

// signedNSEC3 returns the i-th NSEC3 of a zone's that is of no name in it.
func signedNSEC3(z *lab.Zone, i int, iterations uint16, salt string) []dns.RR {
	rr := &dns.NSEC3{
		Hdr:  dns.RR_Header{Name: fmt.Sprintf("%032d.%s", i, z.Name), Rrtype: dns.TypeNSEC3, Class: dns.ClassINET, Ttl: 300},
		Hash: dns.SHA1, Iterations: iterations, SaltLength: uint8(len(salt) / 2), Salt: salt,
		HashLength: 20, NextDomain: fmt.Sprintf("%032d", i+1), TypeBitMap: []uint16{dns.TypeA},
	}
	return append([]dns.RR{rr}, signWell(z, []dns.RR{rr})...)
}
