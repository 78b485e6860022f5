package hostile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/internal/lab"
)

// longest is a name of 255 octets, each of which takes four to write. It stands
// at or below name.
func longest(name string) string {
	octets := 255 - packedLen(name)
	var s strings.Builder
	for octets > 1 {
		label := min(octets-1, 63)
		s.WriteString(strings.Repeat(`\000`, label) + ".")
		octets -= label + 1
	}
	return s.String() + name
}

// packedLen is how many octets a name takes in a message.
func packedLen(name string) int {
	p := make([]byte, 256)
	n, err := dns.PackDomainName(name, p, 0, nil, false)
	if err != nil {
		panic(err)
	}
	return n
}

// anyButHarm is allowed where a true announcement comes with things nobody asked
// for: these may be dropped, by us or by a resolver between, or be too much.
var anyButHarm = verdicts(fetch.Secure, fetch.Bogus, fetch.Unreachable)

// bulks are attacks by size.
func bulks() []attack {
	empty := func(name string, rrtype uint16) dns.RR {
		return &dns.RFC3597{Hdr: dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: 300}}
	}
	all := []attack{
		{"64 KB of TXT", "answers of 65,535 octets", anyButHarm, func(w *world) {
			w.message = func(q question, m *dns.Msg) *dns.Msg {
				rr := func() dns.RR {
					return &dns.TXT{Hdr: dns.RR_Header{Name: q.name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 300}, Txt: []string{strings.Repeat("x", 255)}}
				}
				return fill(m, &m.Extra, rr)
			}
		}},
	}
	for _, s := range []struct {
		name string
		of   func(*dns.Msg) *[]dns.RR
	}{
		{"answer", func(m *dns.Msg) *[]dns.RR { return &m.Answer }},
		{"authority", func(m *dns.Msg) *[]dns.RR { return &m.Ns }},
		{"additional", func(m *dns.Msg) *[]dns.RR { return &m.Extra }},
	} {
		all = append(all,
			attack{"Records in " + s.name, "thousands of empty records", anyButHarm, func(w *world) {
				w.message = func(q question, m *dns.Msg) *dns.Msg {
					return fill(m, s.of(m), func() dns.RR { return empty(q.name, 65400) })
				}
			}},
			attack{"Long names in " + s.name, "thousands of records whose names take 255 octets, 2 when compressed", anyButHarm, func(w *world) {
				name := longest(peerZone)
				w.message = func(q question, m *dns.Msg) *dns.Msg {
					return fill(m, s.of(m), func() dns.RR {
						return &dns.MINFO{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeMINFO, Class: dns.ClassINET, Ttl: 300}, Rmail: name, Email: name}
					})
				}
			}},
			attack{"Alike in " + s.name, "four hundred records of one RRset that differ in their last octet", anyButHarm, func(w *world) {
				name := longest(peerZone)
				w.message = func(q question, m *dns.Msg) *dns.Msg {
					if q.name != w.owner() {
						return m
					}
					for i := range 400 {
						*s.of(m) = append(*s.of(m), &dns.MINFO{
							Hdr:   dns.RR_Header{Name: name, Rrtype: dns.TypeMINFO, Class: dns.ClassINET, Ttl: 300},
							Rmail: fmt.Sprintf(`\%03d\%03d.%s`, i>>8, i&255, peerZone), Email: name,
						})
					}
					return m
				}
			}},
			attack{"Bitmaps in " + s.name, "NSEC that list all 65,536 types", anyButHarm, func(w *world) {
				types := make([]uint16, 65536)
				for i := range types {
					types[i] = uint16(i)
				}
				w.message = func(q question, m *dns.Msg) *dns.Msg {
					for i := range 6 {
						*s.of(m) = append(*s.of(m), &dns.NSEC{
							Hdr:        dns.RR_Header{Name: fmt.Sprintf("b%d.%s", i, peerZone), Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: 300},
							NextDomain: peerZone, TypeBitMap: types,
						})
					}
					return m
				}
			}},
		)
	}
	all = append(all,
		attack{"Pointers", "HIP records with thousands of names that take 255 octets, 2 when compressed", anyButHarm, func(w *world) {
			name := longest(peerZone)
			w.message = func(q question, m *dns.Msg) *dns.Msg {
				m.Answer = append(m.Answer, &dns.NS{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: 300}, Ns: "."})
				return m
			}
			w.octets = pointers
		}},
		attack{"Empty strings", "TXT records of 60,000 empty strings", anyButHarm, func(w *world) {
			w.message = func(q question, m *dns.Msg) *dns.Msg {
				m.Answer = append(m.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: q.name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 300}, Txt: make([]string, 60000)})
				return m
			}
		}},
	)
	for _, c := range ciphers {
		all = append(all, attack{"Large RRset " + c.name, "an announcement of hundreds of keys with many signatures that fail", verdicts(fetch.Bogus, fetch.Refused), func(w *world) {
			w.addKeys(w.signal(), c.junkKeys(w.signal().Name, false, 16))
			var more strings.Builder
			r := noise("large")
			for range 400 {
				fmt.Fprintf(&more, "%s CDS %d 13 2 %x\n", w.owner(), junkTag, octets(r, 32))
			}
			w.zones[w.signal().Name].Records += more.String()
			w.signData(func(z *lab.Zone, rrs []dns.RR) []dns.RR { return c.junkSigs(z, rrs, 20) })
		}})
	}
	return append(all, attack{"Large RRset signed well", "an announcement of hundreds of digests that validates", verdicts(fetch.Bogus, fetch.Refused), func(w *world) {
		var more strings.Builder
		r := noise("large")
		for range 400 {
			fmt.Fprintf(&more, "%s CDS %d 13 2 %x\n", w.owner(), junkTag, octets(r, 32))
		}
		w.zones[w.signal().Name].Records += more.String()
	}})
}

// fill adds records to a section of m until the message is as large as can be.
func fill(m *dns.Msg, section *[]dns.RR, rr func() dns.RR) *dns.Msg {
	size := func() int {
		p, err := m.Pack()
		if err != nil {
			return dns.MaxMsgSize + 1
		}
		return len(p)
	}
	*section = append(*section, rr()) // its name is not compressed
	first := size()
	*section = append(*section, rr())
	each := size() - first
	for range (dns.MaxMsgSize - first - each) / each {
		*section = append(*section, rr())
	}
	return m
}

// pointers appends a HIP record to an answer whose last record but OPT is owned
// by the longest name, and has all its rendezvous servers point to that.
func pointers(q question, p []byte) []byte {
	p = bytes.Clone(p)
	at := bytes.Index(p, append([]byte{63}, make([]byte, 63)...))
	if at < 0 {
		return p
	}
	p[11]++ // one more record in the additional section
	p = append(p, 0, 0, byte(dns.TypeHIP), 0, dns.ClassINET, 0, 0, 1, 44)
	n := (dns.MaxMsgSize - len(p) - 10) / 2
	p = binary.BigEndian.AppendUint16(p, uint16(4+1+1+2*n))
	p = append(p, 1, 1, 0, 1, 'h', 'k')
	for range n {
		p = append(p, pointTo(at)...)
	}
	return p
}
