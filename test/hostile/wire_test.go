package hostile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/internal/lab"
)

// mangled are attacks by octets that are no answer, or hardly.
func mangled() []attack {
	var all []attack
	for _, rcode := range []int{
		dns.RcodeFormatError, dns.RcodeServerFailure, dns.RcodeNotImplemented, dns.RcodeRefused,
		dns.RcodeYXDomain, dns.RcodeNotAuth, dns.RcodeBadVers, 4095,
	} {
		name := dns.RcodeToString[rcode]
		if name == "" {
			name = fmt.Sprintf("RCODE %d", rcode)
		}
		all = append(all, attack{name, "nothing but that RCODE", verdicts(fetch.Unreachable, fetch.Bogus), func(w *world) {
			w.message = func(q question, m *dns.Msg) *dns.Msg { return lab.Rcode(rcode)(m) }
		}})
	}

	// Each of these makes every answer of the peer unreadable or another's.
	for _, o := range []struct {
		name, about string
		octets      func(q question, p []byte) []byte
	}{
		{"Compression loop", "an owner that points to itself", func(q question, p []byte) []byte { return bogusRecord(p, pointTo(questionEnd(p))) }},
		{"Compression loop of two", "an owner that points to a pointer to it", func(q question, p []byte) []byte {
			at := questionEnd(p)
			return bogusRecord(p, append(pointTo(at+2), pointTo(at)...))
		}},
		{"Pointer ahead", "an owner that points beyond the message", func(q question, p []byte) []byte { return bogusRecord(p, pointTo(0x3fff)) }},
		{"Pointer to header", "an owner that points to the ID", func(q question, p []byte) []byte { return bogusRecord(p, pointTo(0)) }},
		{"Endless name", "a label and a pointer back to it", func(q question, p []byte) []byte {
			return bogusRecord(p, append([]byte{1, 'a'}, pointTo(questionEnd(p))...))
		}},
		{"Long name", "an owner of 300 octets", func(q question, p []byte) []byte {
			return bogusRecord(p, append(bytes.Repeat([]byte("\x3baaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), 5), 0))
		}},
		{"Label of unknown type", "a label that begins with the bits 10", func(q question, p []byte) []byte { return bogusRecord(p, []byte{0x80, 0}) }},
		{"RDLENGTH", "a record that says it is longer than the message", func(q question, p []byte) []byte {
			return append(bogusRecord(p, []byte{0})[:questionEnd(p)+9], 0xff, 0xff)
		}},
		{"Counts", "a message of a header that counts 65,535 records in each section", func(q question, p []byte) []byte {
			p = bytes.Clone(p[:questionEnd(p)])
			for i := 6; i < headerSize; i++ {
				p[i] = 0xff
			}
			return p
		}},
		{"Cut short", "half a message", func(q question, p []byte) []byte { return p[:len(p)/2] }},
		{"Header", "a header and nothing else", func(q question, p []byte) []byte { return p[:headerSize] }},
		{"ID", "two octets", func(q question, p []byte) []byte { return p[:2] }},
		{"Empty", "no octet", func(q question, p []byte) []byte { return []byte{} }},
		{"Query", "the question itself", edited(func(p []byte) { p[2] &^= 0x80 })},
		{"Update", "another opcode", edited(func(p []byte) { p[2] |= 5 << 3 })},
		{"No question", "an answer whose question section is said to be empty", edited(func(p []byte) { p[5] = 0 })},
		{"Two questions", "an answer that says it has two questions", edited(func(p []byte) { p[5] = 2 })},
		{"Other name", "the answer to another name", edited(func(p []byte) { p[headerSize+1] ^= 3 })},
		{"Other type", "the answer to another type", func(q question, p []byte) []byte {
			p = bytes.Clone(p)
			p[questionEnd(p)-3]++
			return p
		}},
		{"Other class", "the answer in class CH", func(q question, p []byte) []byte {
			p = bytes.Clone(p)
			p[questionEnd(p)-1] = dns.ClassCHAOS
			return p
		}},
		{"TC", "TC, over TCP too", edited(func(p []byte) { p[2] |= 2 })},
	} {
		all = append(all, attack{o.name, o.about, verdicts(fetch.Unreachable, fetch.Bogus), func(w *world) { w.slow, w.octets = true, o.octets }})
	}

	// EDNS is read by nobody but for its RCODE, so that these change nothing,
	// or make the answer unreadable.
	opt := func(name string) *dns.OPT {
		return &dns.OPT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeOPT, Class: 1232}}
	}
	for _, o := range []struct {
		name, about string
		edit        func(m *dns.Msg)
	}{
		{"Two OPT", "two OPT records", func(m *dns.Msg) { m.Extra = append(m.Extra, opt(".")) }},
		{"No OPT", "no OPT record", func(m *dns.Msg) { m.Extra = nil }},
		{"OPT with a name", "an OPT record whose owner is not the root", func(m *dns.Msg) { m.Extra = []dns.RR{opt(peerZone)} }},
		{"OPT as answer", "an OPT record in the answer section", func(m *dns.Msg) { m.Answer = append(m.Answer, opt(".")) }},
		{"EDNS version", "an OPT record of version 255", func(m *dns.Msg) { m.IsEdns0().SetVersion(255) }},
		{"Large OPT", "an OPT record with 50 KB of unknown options", func(m *dns.Msg) {
			for i := range uint16(10000) {
				m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_LOCAL{Code: 65001 + i%8, Data: []byte{0}})
			}
		}},
		{"Extended errors", "a thousand extended errors, with text for our log", func(m *dns.Msg) {
			m.Rcode = dns.RcodeServerFailure
			for range 1000 {
				m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_EDE{InfoCode: 65535, ExtraText: "\x1b[31m\nspite"})
			}
		}},
	} {
		all = append(all, attack{o.name, o.about, verdicts(fetch.Secure, fetch.Unreachable, fetch.Bogus), func(w *world) {
			w.message = func(q question, m *dns.Msg) *dns.Msg {
				o.edit(m)
				return m
			}
		}})
	}
	return all
}

func edited(edit func(p []byte)) func(question, []byte) []byte {
	return func(_ question, p []byte) []byte {
		p = bytes.Clone(p)
		edit(p)
		return p
	}
}

// questionEnd returns where the question section of a message ends.
func questionEnd(p []byte) int {
	q, ok := parse(p)
	if !ok {
		panic("not one of our answers")
	}
	return q.end
}

// bogusRecord cuts a message off behind its question, and has one record follow
// whose owner is these octets.
func bogusRecord(p, owner []byte) []byte {
	out := bytes.Clone(p[:questionEnd(p)])
	copy(out[6:headerSize], []byte{0, 1, 0, 0, 0, 0})
	return append(append(out, owner...), 0, byte(dns.TypeDS), 0, dns.ClassINET, 0, 0, 0, 0, 0, 5, 0, 1, 13, 2, 0)
}

func pointTo(offset int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(0xc000|offset)) }

// transports are attacks by how answers arrive.
func transports() []attack {
	truncate := func(d *datagram, p []byte) {
		p = d.reply(p)
		p[2] |= 2
		d.send(p[:d.end])
	}
	silent := func(d *datagram, p []byte) {}
	// overTCP is an attack on those who come by TCP since UDP is truncated.
	overTCP := func(name, about string, allowed []fetch.Verdict, send func(s *stream, p []byte)) attack {
		return attack{name, about, allowed, func(w *world) {
			w.slow = allowed[0] != fetch.Secure
			w.datagram = truncate
			w.stream = send
		}}
	}
	gone := verdicts(fetch.Unreachable)
	return []attack{
		{"Silence", "no answer at all", gone, func(w *world) {
			w.slow = true
			w.datagram = silent
			w.stream = func(s *stream, p []byte) { s.silence() }
		}},
		{"Wrong ID", "answers with another ID, by UDP and TCP", gone, func(w *world) {
			w.slow = true
			w.datagram = func(d *datagram, p []byte) {
				p = d.reply(p)
				p[0]++
				d.send(p)
			}
			w.stream = func(s *stream, p []byte) {
				s.octets[0]++
				s.send(p)
			}
		}},
		{"Wrong address", "answers from another address", gone, func(w *world) {
			w.slow = true
			w.datagram = func(d *datagram, p []byte) {
				other, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 9)}, d.from)
				if err != nil {
					return
				}
				defer other.Close()
				_, _ = other.Write(d.reply(p))
			}
			w.stream = func(s *stream, p []byte) { s.silence() }
		}},
		{"Wrong port", "answers from another port", gone, func(w *world) {
			w.slow = true
			w.datagram = func(d *datagram, p []byte) {
				other, err := net.DialUDP("udp", nil, d.from)
				if err != nil {
					return
				}
				defer other.Close()
				_, _ = other.Write(d.reply(p))
			}
			w.stream = func(s *stream, p []byte) { s.silence() }
		}},
		{"Flood", "a hundred datagrams with another ID before the answer", verdicts(fetch.Secure), func(w *world) {
			w.datagram = func(d *datagram, p []byte) {
				right := d.reply(p)
				forged := bytes.Clone(right)
				for i := range uint16(100) {
					if binary.BigEndian.PutUint16(forged, i); !bytes.Equal(forged[:2], right[:2]) {
						d.send(forged)
					}
				}
				d.send(right)
			}
		}},
		{"Scraps", "datagrams of less than a header before the answer", verdicts(fetch.Secure), func(w *world) {
			w.datagram = func(d *datagram, p []byte) {
				right := d.reply(p)
				for i := range headerSize {
					d.send(right[:i])
				}
				d.send(right)
			}
		}},
		overTCP("Drip", "an octet each 100 ms over TCP", gone, func(s *stream, p []byte) {
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			pr, pw := net.Pipe()
			defer pr.Close()
			go func() {
				(&stream{query: s.query, conn: pw}).send(p)
				pw.Close()
			}()
			one := make([]byte, 1)
			for {
				select {
				case <-tick.C:
				case <-s.s.quit:
					return
				}
				if _, err := io.ReadFull(pr, one); err != nil {
					return
				}
				if _, err := s.conn.Write(one); err != nil {
					return
				}
			}
		}),
		overTCP("Reset", "connections that are reset", gone, func(s *stream, p []byte) {
			_ = s.conn.(*net.TCPConn).SetLinger(0)
			s.conn.Close()
		}),
		overTCP("Reset midway", "connections that are reset after half an answer", gone, func(s *stream, p []byte) {
			_, _ = s.conn.Write(append([]byte{0xff, 0xff}, p[:len(p)/2]...))
			_ = s.conn.(*net.TCPConn).SetLinger(0)
			s.conn.Close()
		}),
		overTCP("Close", "connections that are closed without an answer", gone, func(s *stream, p []byte) { s.conn.Close() }),
		overTCP("Half an answer", "an answer that stops midway, on a connection that stays", gone, func(s *stream, p []byte) {
			_, _ = s.conn.Write(append([]byte{0xff, 0xff}, p[:len(p)/2]...))
			s.silence()
		}),
		overTCP("Length zero", "answers of no octet over TCP", gone, func(s *stream, p []byte) {
			_, _ = s.conn.Write(make([]byte, 1000))
			s.silence()
		}),
		overTCP("More than one", "answers again and again over TCP", verdicts(fetch.Secure), func(s *stream, p []byte) {
			for range 100 {
				s.send(p)
			}
		}),
	}
}
