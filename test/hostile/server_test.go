package hostile

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// headerSize is the size of a message's header, after which the question
// comes.
const headerSize = 12

// server answers as w says, on one loopback port: a resolver that is hostile,
// or, since AA is set in all answers, the authoritative server of all zones.
// An answer is made once for each question, so that serving costs next to
// nothing.
type server struct {
	w    *world
	udp  *net.UDPConn
	tcp  net.Listener
	quit chan struct{} // closed at the end of the test

	mu       sync.Mutex
	prepared map[question][]byte
	asked    int
	conns    map[net.Conn]bool
}

// serve starts a server for w.
func serve(tb testing.TB, w *world) *server {
	tb.Helper()
	tcp, udp := listen(tb)
	w.build()
	s := &server{w: w, udp: udp, tcp: tcp, quit: make(chan struct{}),
		prepared: make(map[question][]byte), conns: make(map[net.Conn]bool)}
	var wg sync.WaitGroup
	wg.Go(s.serveUDP)
	wg.Go(func() { s.serveTCP(&wg) })
	tb.Cleanup(func() {
		close(s.quit)
		s.udp.Close()
		s.tcp.Close()
		s.mu.Lock()
		for c := range s.conns {
			c.Close()
		}
		s.mu.Unlock()
		wg.Wait()
	})
	return s
}

// listen returns a loopback port for both TCP and UDP.
func listen(tb testing.TB) (net.Listener, *net.UDPConn) {
	tb.Helper()
	var failed error
	for range 20 {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(tcp.Addr().(*net.TCPAddr).AddrPort()))
		if err == nil {
			return tcp, udp
		}
		tcp.Close()
		failed = err
	}
	tb.Fatal(failed)
	return nil, nil
}

func (s *server) addr() string { return s.tcp.Addr().String() }

// takeAsked returns how many questions came since it was last called.
func (s *server) takeAsked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.asked
	s.asked = 0
	return n
}

// waiting returns how many questions at or below a name came so far.
func (s *server) waiting(name string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for q := range s.prepared {
		if dns.IsSubDomain(name, q.name) {
			n++
		}
	}
	return n
}

// query is a question as it came in a message.
type query struct {
	question
	octets []byte // of the message
	end    int    // of its question section
}

// parse reads a message with one question.
func parse(p []byte) (query, bool) {
	if len(p) < headerSize {
		return query{}, false
	}
	name, off, err := dns.UnpackDomainName(p, headerSize)
	if err != nil || off+4 > len(p) {
		return query{}, false
	}
	return query{
		question: question{dns.CanonicalName(name), binary.BigEndian.Uint16(p[off:])},
		octets:   p, end: off + 4,
	}, true
}

// answer returns what is said to a question, nil for nothing. It is shared:
// fit has to make it fit the message that asks.
func (s *server) answer(q question) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	p, ok := s.prepared[q]
	if !ok {
		p = s.prepare(q)
		s.prepared[q] = p
	}
	return p
}

// prepare makes the answer to a question.
func (s *server) prepare(q question) []byte {
	m, err := s.w.lab.Exchange(s.w.tb.Context(), q.name, q.qtype, true)
	if err != nil {
		return nil
	}
	m.Authoritative, m.Compress = true, true
	concerned := s.w.concerns(q)
	if concerned && s.w.message != nil {
		if m = s.w.message(q, m); m == nil {
			return nil
		}
	}
	p, err := m.Pack()
	if err != nil || len(p) > dns.MaxMsgSize {
		s.w.tb.Errorf("The answer to %v cannot be sent: %d octets, %v", q, len(p), err)
		return nil
	}
	if concerned && s.w.octets != nil {
		p = s.w.octets(q, p)
	}
	return p
}

// fit returns the beginning of p, up to the end of the question, as an answer
// to q has it: with q's ID, and its name in q's case. The rest is p's own.
func fit(p []byte, q query) (head, rest []byte) {
	if len(p) < 2 {
		return nil, p
	}
	if len(p) < q.end || !bytes.EqualFold(p[headerSize:q.end], q.octets[headerSize:q.end]) {
		return q.octets[:2], p[2:]
	}
	head = append([]byte(nil), p[:q.end]...)
	copy(head[:2], q.octets[:2])
	copy(head[headerSize:], q.octets[headerSize:q.end])
	head[2] = head[2]&^1 | q.octets[2]&1       // RD
	head[3] = head[3]&^0x10 | q.octets[3]&0x10 // CD
	return head, p[q.end:]
}

// datagram is a question that came by UDP.
type datagram struct {
	query
	s    *server
	from *net.UDPAddr
}

// send answers with p whatever it is.
func (d *datagram) send(p []byte) {
	_, _ = d.s.udp.WriteToUDP(p, d.from) // the client may be gone
}

// reply is p fit for the question, truncated if it is long.
func (d *datagram) reply(p []byte) []byte {
	head, rest := fit(p, d.query)
	if len(head)+len(rest) <= maxDatagram || len(head) < headerSize {
		return append(head[:len(head):len(head)], rest...)
	}
	head[2] |= 2                           // TC
	clear(head[headerSize-6 : headerSize]) // nothing but the question
	return head
}

// maxDatagram is the size that both our client and unbound ask for.
const maxDatagram = 1232

func (s *server) serveUDP() {
	buf := make([]byte, dns.MaxMsgSize)
	for {
		n, from, err := s.udp.ReadFromUDP(buf)
		if err != nil {
			return
		}
		q, ok := parse(bytes.Clone(buf[:n]))
		if !ok {
			continue
		}
		d := &datagram{query: q, s: s, from: from}
		switch p := s.answer(q.question); {
		case p == nil:
		case s.w.datagram != nil && s.w.concerns(q.question):
			s.w.datagram(d, p)
		default:
			d.send(d.reply(p))
		}
	}
}

// stream is a question that came over a TCP connection.
type stream struct {
	query
	s    *server
	conn net.Conn
}

// send answers with p, whatever it is, behind its length.
func (t *stream) send(p []byte) {
	head, rest := fit(p, t.query)
	var length [2]byte
	binary.BigEndian.PutUint16(length[:], uint16(len(head)+len(rest)))
	bufs := net.Buffers{length[:], head, rest}
	_, _ = bufs.WriteTo(t.conn) // the client may be gone
}

// silence waits until the client closes the connection.
func (t *stream) silence() { _, _ = io.Copy(io.Discard, t.conn) }

func (s *server) serveTCP(wg *sync.WaitGroup) {
	for {
		c, err := s.tcp.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = true
		s.mu.Unlock()
		wg.Go(func() {
			s.serveConn(c)
			c.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
	}
}

func (s *server) serveConn(c net.Conn) {
	for {
		var length [2]byte
		if _, err := io.ReadFull(c, length[:]); err != nil {
			return
		}
		p := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(c, p); err != nil {
			return
		}
		q, ok := parse(p)
		if !ok {
			return
		}
		t := &stream{query: q, s: s, conn: c}
		switch p := s.answer(q.question); {
		case p == nil:
			t.silence()
			return
		case s.w.stream != nil && s.w.concerns(q.question):
			s.w.stream(t, p)
		default:
			t.send(p)
		}
	}
}
