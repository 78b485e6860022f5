package fetch

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// rawServer answers with octets of its own: datagrams for each question by UDP,
// and whatever a function does to a connection once a question came over it.
type rawServer struct {
	t        *testing.T
	datagram func(q []byte) [][]byte
	stream   func(conn net.Conn, q []byte)

	addr  string
	other net.PacketConn // sends from another address

	mu    sync.Mutex
	ports []string // that were asked from, by UDP
	asked [][]byte
}

// start listens on loopback until the test ends. What is not set is not answered.
func (s *rawServer) start() *rawServer {
	s.t.Helper()
	l, p := listen(s.t)
	s.addr = l.Addr().String()
	var wg sync.WaitGroup
	wg.Go(func() { s.serveDatagrams(p) })
	wg.Go(func() { s.serveStreams(l, &wg) })
	s.t.Cleanup(func() {
		l.Close()
		p.Close()
		wg.Wait()
	})
	return s
}

func (s *rawServer) serveDatagrams(p net.PacketConn) {
	buf := make([]byte, dns.MaxMsgSize)
	for {
		n, from, err := p.ReadFrom(buf)
		if err != nil {
			return
		}
		q := slices.Clone(buf[:n])
		s.mu.Lock()
		s.ports = append(s.ports, from.String())
		s.asked = append(s.asked, q)
		s.mu.Unlock()
		if s.datagram == nil {
			continue
		}
		for i, d := range s.datagram(q) {
			if s.other != nil && i == 0 {
				s.other.WriteTo(d, from)
				continue
			}
			p.WriteTo(d, from)
		}
	}
}

func (s *rawServer) serveStreams(l net.Listener, wg *sync.WaitGroup) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		wg.Go(func() {
			defer conn.Close()
			var size [2]byte
			if _, err := io.ReadFull(conn, size[:]); err != nil {
				return
			}
			q := make([]byte, binary.BigEndian.Uint16(size[:]))
			if _, err := io.ReadFull(conn, q); err == nil && s.stream != nil {
				s.stream(conn, q)
			}
		})
	}
}

// reply returns the answer to q with one TXT record, with edits.
func reply(q []byte, text string, edits ...func(*dns.Msg)) []byte {
	r := new(dns.Msg)
	if err := r.Unpack(q); err != nil {
		panic(err)
	}
	m := txt(r, text)
	m.SetEdns0(ednsSize, true)
	for _, edit := range edits {
		edit(m)
	}
	m.Compress = true
	p, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return p
}

func framed(p []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(p))), p...)
}

// sends returns a stream that sends messages made of the question, and ends.
func sends(answers ...func(q []byte) []byte) func(net.Conn, []byte) {
	return func(conn net.Conn, q []byte) {
		for _, a := range answers {
			conn.Write(framed(a(q)))
		}
	}
}

// plainly answers rightly, with that text.
func plainly(text string) func([]byte) []byte {
	return func(q []byte) []byte { return reply(q, text) }
}

// opt returns an OPT record of that EDNS version.
func opt(version uint8) *dns.OPT {
	o := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	o.SetUDPSize(ednsSize)
	o.SetVersion(version)
	return o
}

// raw returns an answer to q with these counts and octets after the question.
func raw(q []byte, an, ns, ar uint16, rest []byte) []byte {
	end := headerSize + len(name(q)) + 4
	p := slices.Clone(q[:end])
	p[2] |= 0x80
	binary.BigEndian.PutUint16(p[6:], an)
	binary.BigEndian.PutUint16(p[8:], ns)
	binary.BigEndian.PutUint16(p[10:], ar)
	return append(p, rest...)
}

// loop is a TXT record whose owner is a pointer to itself.
func loop(q []byte) []byte {
	at := uint16(headerSize + len(name(q)) + 4)
	return raw(q, 1, 0, 0, append(binary.BigEndian.AppendUint16(nil, 0xc000|at), 0, 16, 0, 1, 0, 0, 0, 60, 0, 2, 1, 'x'))
}

// tiny returns an answer of n records of eleven octets.
func tiny(q []byte, n int) []byte {
	return raw(q, uint16(n), 0, 0, bytes.Repeat([]byte{0, 0, 16, 0, 1, 0, 0, 0, 60, 0, 0}, n))
}

func TestHostileAnswers(t *testing.T) {
	first := func(bad func(q []byte) []byte) func(q []byte) [][]byte {
		return func(q []byte) [][]byte { return [][]byte{bad(q), reply(q, "right")} }
	}
	flag := func(edit func(p []byte)) func(q []byte) []byte {
		return func(q []byte) []byte { p := reply(q, "forged"); edit(p); return p }
	}
	garbage := errGarbage.Error()
	tests := []struct {
		name     string
		datagram func(q []byte) [][]byte
		stream   func(conn net.Conn, q []byte)
		want     string // the answer's text
		err      string // or a part of the error
	}{
		// What is another's is skipped, and its content never read.
		{"other ID", first(flag(func(p []byte) { p[0] ^= 1 })), nil, "right", ""},
		{"other name", first(flag(func(p []byte) { p[headerSize+1] = 'x' })), nil, "right", ""},
		{"other case", first(flag(func(p []byte) { p[headerSize+1] ^= 0x20 })), nil, "right", ""},
		{"other type", first(flag(func(p []byte) { p[headerSize+14]++ })), nil, "right", ""},
		{"other class", first(flag(func(p []byte) { p[headerSize+16]++ })), nil, "right", ""},
		{"other opcode", first(flag(func(p []byte) { p[2] |= 0x10 })), nil, "right", ""},
		{"a query", first(func(q []byte) []byte { return q }), nil, "right", ""},
		{"two questions", first(func(q []byte) []byte {
			return reply(q, "forged", func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) })
		}), nil, "right", ""},
		{"no question", first(func(q []byte) []byte { return reply(q, "forged", func(m *dns.Msg) { m.Question = nil }) }), nil, "right", ""},
		{"refusal without a question by UDP", first(func(q []byte) []byte {
			return reply(q, "", func(m *dns.Msg) { m.Question, m.Rcode = nil, dns.RcodeRefused })
		}), nil, "right", ""},
		{"a header cut short", first(func(q []byte) []byte { return q[:11] }), nil, "right", ""},
		{"an empty datagram", first(func([]byte) []byte { return nil }), nil, "right", ""},

		// What nobody else sent, and is no answer, leads to TCP.
		{"compression loop", func(q []byte) [][]byte { return [][]byte{loop(q)} }, sends(plainly("tcp")), "tcp", ""},
		{"cut short", func(q []byte) [][]byte { return [][]byte{reply(q, "x")[:50]} }, sends(plainly("tcp")), "tcp", ""},
		{"larger than asked for", func(q []byte) [][]byte {
			return [][]byte{append(reply(q, "forged"), make([]byte, 2*ednsSize)...)}
		}, sends(plainly("tcp")), "tcp", ""},
		{"TC, the rest cut anywhere", func(q []byte) [][]byte {
			p := reply(q, "forged")[:50]
			p[2] |= 0x02
			return [][]byte{p}
		}, sends(plainly("tcp")), "tcp", ""},
		{"two OPT records", func(q []byte) [][]byte {
			return [][]byte{reply(q, "forged", func(m *dns.Msg) { m.Extra = append(m.Extra, opt(0)) })}
		}, sends(plainly("tcp")), "tcp", ""},

		// What may be odd and yet is an answer.
		{"trailing garbage", func(q []byte) [][]byte { return [][]byte{append(reply(q, "right"), "garbage"...)} }, nil, "right", ""},
		{"no OPT", func(q []byte) [][]byte { return [][]byte{reply(q, "right", func(m *dns.Msg) { m.Extra = nil })} }, nil, "right", ""},
		{"DO not echoed", func(q []byte) [][]byte {
			return [][]byte{reply(q, "right", func(m *dns.Msg) { m.Extra = []dns.RR{opt(0)} })}
		}, nil, "right", ""},
		{"OPT of version 1", func(q []byte) [][]byte {
			return [][]byte{reply(q, "right", func(m *dns.Msg) { m.Extra = []dns.RR{opt(1)} })}
		}, nil, "right", ""},
		{"huge options", nil, sends(func(q []byte) []byte {
			return reply(q, "tcp", func(m *dns.Msg) {
				m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: 65001, Data: make([]byte, 60000)}}
			})
		}), "tcp", ""},

		// Errors, the same in two tries.
		{"BADVERS", func(q []byte) [][]byte {
			return [][]byte{reply(q, "", func(m *dns.Msg) { m.Answer, m.Rcode = nil, dns.RcodeBadVers })}
		}, nil, "", "answers BADVERS"},
		{"extended RCODE", func(q []byte) [][]byte {
			return [][]byte{reply(q, "", func(m *dns.Msg) { m.Answer, m.Rcode = nil, 3841 })}
		}, nil, "", "answers RCODE3841"},
		{"other ID over TCP", nil, sends(flag(func(p []byte) { p[0] ^= 1 })), "", garbage},
		{"other name over TCP", nil, sends(flag(func(p []byte) { p[headerSize+1] = 'x' }), plainly("second")), "", garbage},
		{"other case over TCP", nil, sends(flag(func(p []byte) { p[headerSize+1] ^= 0x20 })), "forged", ""},
		{"other type over TCP", nil, sends(flag(func(p []byte) { p[headerSize+14] ^= 0x20 })), "", garbage},
		{"several messages over TCP", nil, sends(plainly("one"), plainly("two"), plainly("three")), "one", ""},
		{"TC over TCP, the rest cut anywhere", nil, sends(func(q []byte) []byte { p := reply(q, "forged")[:50]; p[2] |= 0x02; return p }), "", errTruncated.Error()},
		{"compression loop over TCP", nil, sends(loop), "", garbage},
		{"a header cut short over TCP", nil, sends(func(q []byte) []byte { return q[:11] }), "", garbage},
		{"an empty message over TCP", nil, sends(func([]byte) []byte { return nil }), "", garbage},
		{"as many records as may be", nil, sends(func(q []byte) []byte {
			return raw(q, maxRecords, 0, 0, append(framedTXT("full"), bytes.Repeat([]byte{0, 0, 99, 0, 1, 0, 0, 0, 60, 0, 0}, maxRecords-1)...))
		}), "full", ""},
		{"thousands of records", nil, sends(func(q []byte) []byte { return tiny(q, 5900) }), "", "more than 512 records"},
		{"65,535 octets", nil, sends(func(q []byte) []byte {
			rest := framedTXT("long")
			return raw(q, 1, 0, 0, append(rest, make([]byte, math.MaxUint16-headerSize-len(name(q))-4-len(rest))...))
		}), "long", ""},
		{"records fewer than said", nil, sends(func(q []byte) []byte { return raw(q, 2, 0, 0, framedTXT("one")) }), "", garbage},
		{"thousands of names in one record of another type", nil, sends(func(q []byte) []byte {
			hip := []byte{0, 0, 55, 0, 1, 0, 0, 0, 60, 0, 0, 0, 0, 0, 0}
			hip = append(hip, bytes.Repeat([]byte{0xc0, headerSize}, 30000)...)
			binary.BigEndian.PutUint16(hip[9:], uint16(len(hip)-11))
			return raw(q, 1, 0, 1, append(framedTXT("right"), hip...))
		}), "right", ""},
		{"length larger than what comes", nil, func(conn net.Conn, q []byte) {
			conn.Write(append([]byte{0xff, 0xff}, reply(q, "x")...))
		}, "", errClosed.Error()},
		{"reset", nil, func(conn net.Conn, _ []byte) { conn.(*net.TCPConn).SetLinger(0) }, "", "fails: connection reset by peer"},
		{"closed", nil, func(net.Conn, []byte) {}, "", errClosed.Error()},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			s := (&rawServer{t: t, datagram: tc.datagram, stream: tc.stream}).start()
			if tc.stream == nil {
				s.stream = sends(plainly("tcp"))
			}
			c := client(t, 5*time.Second, s.addr)
			m, err := c.Ask(t.Context(), c.resolvers[0], tc.datagram == nil, "example.org.", dns.TypeTXT, true)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("Expected an error with %q, got %v, %v", tc.err, m, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := m.Answer[0].(*dns.TXT).Txt[0]; got != tc.want {
				t.Errorf("Expected %q, got %q", tc.want, got)
			}
			if m.Question[0].Name != "example.org." {
				t.Errorf("Expected the question as it was asked, got %q", m.Question[0].Name)
			}
		})
	}
}

// framedTXT returns a TXT record of the root in wire format.
func framedTXT(text string) []byte {
	return append([]byte{0, 0, 16, 0, 1, 0, 0, 0, 60, 0, byte(1 + len(text)), byte(len(text))}, text...)
}

func TestAnswerFromAnotherAddressIsNotRead(t *testing.T) {
	other, err := net.ListenPacket("udp", "127.0.0.2:0")
	if err != nil {
		t.Skipf("no second loopback address: %v", err)
	}
	defer other.Close()
	s := &rawServer{t: t, other: other, datagram: func(q []byte) [][]byte { return [][]byte{reply(q, "forged"), reply(q, "right")} }}
	s.start()
	c := client(t, 5*time.Second, s.addr)
	m, err := c.Ask(t.Context(), c.resolvers[0], false, "example.org.", dns.TypeTXT, true)
	if err != nil || m.Answer[0].(*dns.TXT).Txt[0] != "right" {
		t.Errorf("Expected the answer of the address that was asked, got %v, %v", m, err)
	}
}

func TestEveryQuestionHasItsOwnPortAndIDAndCase(t *testing.T) {
	s := (&rawServer{t: t, datagram: func(q []byte) [][]byte { return [][]byte{reply(q, "")} }}).start()
	c := client(t, 5*time.Second, s.addr)
	const questions = 8
	for range questions {
		if _, err := c.Ask(t.Context(), c.resolvers[0], false, "nameserver.example.org.", dns.TypeTXT, true); err != nil {
			t.Fatal(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ports, ids, cases := make(map[string]bool), make(map[string]bool), make(map[string]bool)
	for i, q := range s.asked {
		ports[s.ports[i]], ids[string(q[:2])], cases[string(name(q))] = true, true, true
	}
	// By chance two in a row may be equal, but not all.
	if len(s.asked) != questions || len(ports) < 2 || len(ids) < 2 || len(cases) < 2 {
		t.Errorf("Expected %d differing questions, got %d of %d ports, %d IDs, %d cases", questions, len(s.asked), len(ports), len(ids), len(cases))
	}
}

func TestScrambleChangesLettersOnly(t *testing.T) {
	for _, text := range []string{".", "example.org.", `a\000b\255.\@[\096{.zA.`, strings.Repeat(strings.Repeat("z", 62)+".", 4)} {
		p, err := new(dns.Msg).SetQuestion(text, dns.TypeDNSKEY).Pack()
		if err != nil {
			t.Fatal(err)
		}
		before := slices.Clone(p)
		for range 20 {
			scramble(p)
			if !bytes.Equal(lower(name(p)), lower(name(before))) || !bytes.Equal(p[headerSize+len(name(p)):], before[headerSize+len(name(p)):]) || !bytes.Equal(p[:headerSize], before[:headerSize]) {
				t.Fatalf("%s: Expected % x but for case, got % x", text, before, p)
			}
		}
	}
}

// A server that drips, or floods us with others' answers, has a try's time.
func TestSlowAndNoisyServersHaveATrysTime(t *testing.T) {
	const try = 200 * time.Millisecond
	drip := func(conn net.Conn, _ []byte) {
		conn.Write([]byte{0xff, 0xff})
		for {
			if _, err := conn.Write([]byte{0}); err != nil {
				return
			}
			select {
			case <-t.Context().Done():
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	flood := func(n int) func(q []byte) [][]byte {
		return func(q []byte) [][]byte {
			stray := tiny(q, 100)
			stray[0] ^= 1
			return slices.Repeat([][]byte{stray}, n)
		}
	}
	tests := []struct {
		name   string
		s      *rawServer
		stream bool
		err    error
		least  time.Duration
		most   time.Duration
	}{
		{"drip", &rawServer{stream: drip}, true, errTimeout, 2 * try, 4 * try},
		{"a few strays", &rawServer{datagram: flood(maxStray - 1)}, false, errTimeout, try, 3 * try},
		{"a flood, and a drip", &rawServer{datagram: flood(10 * maxStray), stream: drip}, false, errTimeout, 2 * try, 5 * try},
		{"a near miss, and a drip", &rawServer{datagram: func(q []byte) [][]byte { return [][]byte{q} }, stream: drip}, false, errTimeout, 2 * try, 5 * try},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			tc.s.t = t
			tc.s.start()
			c := client(t, try, tc.s.addr)
			began := time.Now()
			_, err := c.Ask(t.Context(), c.resolvers[0], tc.stream, "example.org.", dns.TypeTXT, true)
			if took := time.Since(began); err != tc.err || took < tc.least || took > tc.most {
				t.Errorf("Expected %v after %s to %s, got %v after %s", tc.err, tc.least, tc.most, err, took)
			}
		})
	}
}

// A server that does not keep the case of names costs a part of a try.
func TestNearMissShortensTheWait(t *testing.T) {
	const try = 2 * time.Second
	s := &rawServer{t: t, stream: sends(plainly("tcp")), datagram: func(q []byte) [][]byte {
		p := reply(q, "udp")
		copy(p[headerSize:], bytes.ToUpper(name(q)))
		return [][]byte{p}
	}}
	s.start()
	c := client(t, try, s.addr)
	began := time.Now()
	m, err := c.Ask(t.Context(), c.resolvers[0], false, "nameserver.example.org.", dns.TypeTXT, true)
	if took := time.Since(began); err != nil || m.Answer[0].(*dns.TXT).Txt[0] != "tcp" || took > try*3/4 {
		t.Errorf("Expected the answer over TCP after %s, got %v, %v after %s", try/missShare, m, err, took)
	}
}

// What is another's is not parsed: it costs a few comparisons and no memory.
func TestStraysCostNothing(t *testing.T) {
	q, err := new(dns.Msg).SetQuestion("example.org.", dns.TypeTXT).Pack()
	if err != nil {
		t.Fatal(err)
	}
	stray := tiny(q, 5900)
	stray[0] ^= 1
	if n := testing.AllocsPerRun(100, func() { decode(stray, q, false) }); n > 0 {
		t.Errorf("Expected no allocation, got %v", n)
	}
	bomb := raw(q, 1, 0, 0, append([]byte{0, 0, 55, 0, 1, 0, 0, 0, 60, 0xea, 0x64, 0, 0, 0, 0}, bytes.Repeat([]byte{0xc0, headerSize}, 30000)...))
	if m, err := decode(bomb, q, true); err != nil || len(m.Answer) > 0 {
		t.Errorf("Expected that a record of another type is dropped, got %v, %v", m, err)
	}
	if n := testing.AllocsPerRun(100, func() { decode(bomb, q, true) }); n > 20 {
		t.Errorf("Expected a few allocations, got %v", n)
	}
	var bitmap []byte
	for window := range 256 {
		bitmap = append(append(bitmap, byte(window), 32), bytes.Repeat([]byte{0xff}, 32)...)
	}
	nsec := binary.BigEndian.AppendUint16([]byte{0, 0, 47, 0, 1, 0, 0, 0, 60}, uint16(1+len(bitmap)))
	nsec = append(append(nsec, 0), bitmap...)
	if m, err := decode(raw(q, 8, 0, 0, append(bytes.Repeat(nsec, 7), framedTXT("right")...)), q, true); err != nil || len(m.Answer) != 1 {
		t.Errorf("Expected that NSEC of more than %d octets are dropped, and nothing else, got %v", maxProofs, err)
	}
	large := tiny(q, 5900)
	if n := testing.AllocsPerRun(100, func() { decode(large, q, true) }); n > 5 {
		t.Errorf("Expected a few allocations, got %v", n)
	}
}

// What is of no use is dropped unread, but a message is whole or garbage.
func TestWhatIsDroppedHasToBeWhole(t *testing.T) {
	q, err := new(dns.Msg).SetQuestion("example.org.", dns.TypeTXT).Pack()
	if err != nil {
		t.Fatal(err)
	}
	const hip = 55
	record := func(name []byte, octets ...byte) []byte {
		return append(append(name, 0, hip, 0, 1, 0, 0, 0, 60, 0, 4), octets...)
	}
	for _, tc := range []struct {
		name  string
		rest  []byte
		whole bool
	}{
		{"whole", record([]byte{0}, 1, 2, 3, 4), true},
		{"an octet short", record([]byte{0}, 1, 2, 3), false},
		{"without data", record([]byte{0})[:5], false},
		{"a label of an unknown kind", record(append([]byte{0x41}, make([]byte, 0x42)...), 1, 2, 3, 4), false},
		{"a name without end", []byte{63}, false},
	} {
		if m, err := decode(raw(q, 1, 0, 0, tc.rest), q, true); (err == nil) != tc.whole || err == nil && len(m.Answer) > 0 {
			t.Errorf("%s: Expected whole %t and no record, got %v, %v", tc.name, tc.whole, m, err)
		}
	}
}

func TestEDNSOptionsAreReadToALimit(t *testing.T) {
	q, err := new(dns.Msg).SetQuestion("example.org.", dns.TypeTXT).Pack()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ octets, options int }{{maxOptions, 1}, {maxOptions + 1, 0}} {
		opt := binary.BigEndian.AppendUint16([]byte{0, 0, 41, 4, 208, 0, 0, 0, 0}, uint16(tc.octets))
		opt = binary.BigEndian.AppendUint16(append(opt, 0xfd, 0xe9), uint16(tc.octets-4))
		m, err := decode(raw(q, 0, 0, 1, append(opt, make([]byte, tc.octets-4)...)), q, true)
		if err != nil || m.IsEdns0() == nil || len(m.IsEdns0().Option) != tc.options {
			t.Errorf("%d octets: Expected %d options, got %v, %v", tc.octets, tc.options, m, err)
		}
	}
}

// FuzzAnswer holds that nothing passes for an answer unless ID and question are
// those of the question, over UDP to the letter.
func FuzzAnswer(f *testing.F) {
	const asked = "eXaMPle.oRg."
	query := new(dns.Msg).SetQuestion(asked, dns.TypeTXT)
	query.Id = 4711
	q, err := query.Pack()
	if err != nil {
		f.Fatal(err)
	}
	for _, stream := range []bool{false, true} {
		f.Add(reply(q, "right"), stream)
		f.Add(reply(q, "right")[:50], stream)
		f.Add(loop(q), stream)
		f.Add(tiny(q, 600), stream)
		f.Add(q, stream)
	}
	f.Fuzz(func(t *testing.T, p []byte, stream bool) {
		m, err := decode(p, q, stream)
		if err != nil {
			return
		}
		if m.Id != query.Id || !m.Response || m.Opcode != dns.OpcodeQuery || len(m.Answer)+len(m.Ns)+len(m.Extra) > maxRecords {
			t.Fatalf("Expected an answer to %v, got %v", query, m)
		}
		if m.Truncated {
			return // nothing of it is used
		}
		var head dns.Msg
		octets := slices.Clone(p[:headerSize+len(m.Question)*len(question(q))])
		clear(octets[6:headerSize]) // no records
		if err := head.Unpack(octets); err != nil {
			t.Fatal(err)
		}
		got := m.MsgHdr
		got.Rcode &= 0xf // the rest is in OPT
		if got != head.MsgHdr || !slices.Equal(m.Question, head.Question) {
			t.Fatalf("Expected the head %v, got %v", head, m)
		}
		switch {
		case len(m.Question) == 0 && stream && m.Rcode != dns.RcodeSuccess:
		case len(m.Question) != 1 || m.Question[0].Qtype != dns.TypeTXT || m.Question[0].Qclass != dns.ClassINET:
			t.Fatalf("Expected the question %v, got %v", query, m)
		case m.Question[0].Name != asked && (!stream || !strings.EqualFold(m.Question[0].Name, asked)):
			t.Fatalf("Expected the name %s, got %v", asked, m)
		}
	})
}
