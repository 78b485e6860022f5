package fetch

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// arrived is how long an answer is waited for that has to be there already, as its
// time went by while another was waited for.
const arrived = 10 * time.Millisecond

// hand is the three questions for an announcement, asked of one resolver by UDP
// together, and what came of them: nearly always there is nothing more to ask.
type hand struct {
	resolver int // by index
	owner    string
	cd       bool
	name     []byte // owner's octets
	idle     *sockets

	questions [len(types)]inquest
	taken     [len(types)]atomic.Bool // by a look-up
}

// inquest is a question by UDP and what came of it.
type inquest struct {
	asked  []byte
	octets []byte // the answer, in the socket's buffer, if err is nil
	err    error
	anew   bool // it has to be asked again, see [Client.byDatagram]
	socket *socket
}

// together asks for the announcement in way r, and returns when all three
// questions are answered or a try is over. It returns nil where a look-up would
// not begin with a question by UDP to the first resolver.
func (c *collection) together(ctx context.Context, r *route) *hand {
	i := r.through[0]
	if c.f.client.roundTrip != nil || ctx.Err() != nil {
		return nil
	}
	if doubtful, err := c.f.fit(ctx, i, false); doubtful || err != nil {
		return nil
	}
	to := c.f.client.resolvers[i]
	if to.TLS || c.f.streams[i].Load() {
		return nil
	}
	h := &hand{resolver: i, owner: c.owner, cd: !r.checked, idle: c.f.client.sockets[to.Addr]}
	for n, qtype := range types {
		asked := packQuestion(c.owner, qtype, h.cd)
		if asked == nil {
			return nil
		}
		if n == 0 {
			h.name = append(h.name, name(asked)...)
		}
		binary.BigEndian.PutUint16(asked, newID())
		scramble(asked)
		h.questions[n].asked = asked
	}
	h.ask(ctx, to.Addr, c.f.client.try)
	return h
}

// ask sends the questions, each from a socket of its own, and waits for the answers.
func (h *hand) ask(ctx context.Context, to netip.AddrPort, try time.Duration) {
	deadline := time.Now().Add(try)
	if end, ok := ctx.Deadline(); ok && end.Before(deadline) {
		deadline = end
	}
	for i := range h.questions {
		q := &h.questions[i]
		if q.socket = h.idle.take(); q.socket == nil {
			conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
			if err != nil {
				q.err = err
				continue
			}
			q.socket = newSocket(conn)
		}
		if q.err = q.socket.SetDeadline(deadline); q.err == nil {
			_, q.err = q.socket.Write(q.asked)
		}
	}
	stop := context.AfterFunc(ctx, func() {
		for i := range h.questions {
			if s := h.questions[i].socket; s != nil {
				s.SetDeadline(time.Unix(1, 0))
			}
		}
	})
	for i := range h.questions {
		h.questions[i].receive(ctx, deadline, try/missShare)
	}
	if stop() {
		return
	}
	for i := range h.questions {
		if s := h.questions[i].socket; s != nil {
			s.spoiled = true
		}
	}
}

// receive waits for the answer, unless the question could not be sent.
func (q *inquest) receive(ctx context.Context, deadline time.Time, wait time.Duration) {
	if q.err == nil && ctx.Err() == nil && !time.Now().Before(deadline) {
		q.err = q.socket.SetReadDeadline(time.Now().Add(arrived))
	}
	if q.err == nil {
		q.octets, q.err = q.socket.receive(ctx, q.asked, deadline, wait)
	}
	if q.err == nil {
		return
	}
	if q.socket != nil {
		q.socket.spoiled = true
		q.anew = q.socket.used && ctx.Err() == nil && !errors.Is(q.err, os.ErrDeadlineExceeded)
	}
	q.err = plain(ctx, q.err)
}

// read returns the answer.
func (q *inquest) read() (*dns.Msg, error) {
	if q.err != nil {
		return nil, q.err
	}
	m, err := readAnswer(q.octets, q.asked)
	if err != nil {
		q.socket.spoiled = true
	}
	return m, err
}

// packQuestion returns the octets of a question for name and qtype with RD, DO, and
// CD if cd; the ID is the sender's to set. It returns nil for what is no name.
func packQuestion(name string, qtype uint16, cd bool) []byte {
	const (
		recursive = 0x01 // RD, in the third octet
		disabled  = 0x10 // CD, in the fourth
		dnssecOK  = 0x80 // DO, in the third octet of OPT's TTL
		room      = 4 + 11
	)
	asked := make([]byte, headerSize, headerSize+len(name)+2+room)
	asked[2], asked[5], asked[11] = recursive, 1, 1
	if cd {
		asked[3] = disabled
	}
	end, err := dns.PackDomainName(name, asked[:cap(asked)-room], headerSize, nil, false)
	if err != nil {
		return nil
	}
	asked = binary.BigEndian.AppendUint16(asked[:end], qtype)
	asked = binary.BigEndian.AppendUint16(asked, dns.ClassINET)
	asked = binary.BigEndian.AppendUint16(append(asked, 0), dns.TypeOPT)
	asked = binary.BigEndian.AppendUint16(asked, ednsSize)
	return append(asked, 0, 0, dnssecOK, 0, 0, 0)
}

// take returns the question if it is among those in hand and nobody took it, else
// nil.
func (h *hand) take(resolver int, name string, qtype uint16, cd bool) *inquest {
	if h == nil || resolver != h.resolver || name != h.owner || cd != h.cd {
		return nil
	}
	for i, t := range types {
		if t == qtype && !h.questions[i].anew && !h.taken[i].Swap(true) {
			return &h.questions[i]
		}
	}
	return nil
}

// free gives up the answers, and the sockets that they came to.
func (h *hand) free() {
	for i := range h.questions {
		if s := h.questions[i].socket; s != nil {
			h.idle.put(s)
		}
	}
}
