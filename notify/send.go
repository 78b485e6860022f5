package notify

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/miekg/dns"
)

// How long each copy of a message is waited for, before the next is sent: with
// the exponential back-off and the five retransmissions that RFC 1996 section
// 3.6 has for a default. A nameserver is told by each of ours, and looks by
// itself in a while.
var (
	parentWaits = []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second, 32 * time.Second}
	hostWaits   = []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second}
)

// streamWait is how long TCP may take.
const streamWait = 10 * time.Second

// maxAnswer is how much of an answer is read: there is nothing in it after the
// question.
const maxAnswer = 1232

var (
	errNoAnswer = errors.New("does not answer")
	errNotMine  = errors.New("sends something else")
)

// plan is how hard to try.
type plan struct {
	waits  []time.Duration
	stream bool // then over TCP
}

// message returns the NOTIFY that qtype of zone changed (RFC 1996 section 3.7).
func message(zone string, qtype uint16) ([]byte, error) {
	m := new(dns.Msg).SetNotify(zone)
	m.Question[0].Qtype = qtype
	return m.Pack()
}

// send sends a message to addr until it is answered, in whatever way: an error
// is an answer as well. It is dropped if addr has been sent enough.
func (s *Sender) send(ctx context.Context, addr netip.AddrPort, zone string, qtype uint16, p plan) error {
	if !s.rates.take(addr.Addr()) {
		return ErrBusy
	}
	defer s.rates.done(addr.Addr())
	for _, wait := range p.waits {
		err := s.try(ctx, addr, false, zone, qtype, wait)
		if !errors.Is(err, errNoAnswer) || ctx.Err() != nil {
			return err
		}
	}
	if p.stream {
		return s.try(ctx, addr, true, zone, qtype, streamWait)
	}
	return fmt.Errorf("%s %w", addr, errNoAnswer)
}

// try sends one copy.
func (s *Sender) try(ctx context.Context, addr netip.AddrPort, stream bool, zone string, qtype uint16, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	asked, err := message(zone, qtype)
	if err != nil {
		return fmt.Errorf("cannot be sent: %w", err)
	}
	reply, err := s.roundTrip(ctx, addr, stream, asked)
	if err != nil {
		return fmt.Errorf("%s: %w", addr, err)
	}
	if rcode := int(reply[3] & 0x0f); rcode != dns.RcodeSuccess {
		return fmt.Errorf("%s answers %s", addr, dns.RcodeToString[rcode])
	}
	return nil
}

// answers reports whether p answers the NOTIFY asked (RFC 1996 section 4.7):
// with its ID and its question, which some leave out of an error.
func answers(p, asked []byte) bool {
	const header, response, opcode = 12, 0x80, 0x78
	if len(p) < header || !bytes.Equal(p[:2], asked[:2]) || p[2]&response == 0 || p[2]&opcode != dns.OpcodeNotify<<3 {
		return false
	}
	if binary.BigEndian.Uint16(p[4:]) == 0 {
		return p[3]&0x0f != dns.RcodeSuccess
	}
	return len(p) >= len(asked) && bytes.EqualFold(p[header:len(asked)], asked[header:])
}

// overNetwork is the roundTrip of a sender in use.
func overNetwork(ctx context.Context, addr netip.AddrPort, stream bool, asked []byte) ([]byte, error) {
	var d net.Dialer
	network := "udp"
	if stream {
		network = "tcp"
	}
	conn, err := d.DialContext(ctx, network, addr.String())
	if err != nil {
		return nil, plain(ctx, err)
	}
	defer conn.Close()
	// The context's end is the deadline, and also ends a wait early.
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	exchange := overDatagrams
	if stream {
		exchange = overStream
	}
	reply, err := exchange(conn, asked)
	if err != nil {
		return nil, plain(ctx, err)
	}
	return reply, nil
}

// plain tells the lack of an answer from an answer: that the port is unreachable
// is one, too (RFC 1996 section 3.6).
func plain(ctx context.Context, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil {
		return errNoAnswer
	}
	return err
}

// overDatagrams sends a message and waits for its answer, skipping what is
// another's.
func overDatagrams(conn net.Conn, asked []byte) ([]byte, error) {
	if _, err := conn.Write(asked); err != nil {
		return nil, err
	}
	p := make([]byte, maxAnswer)
	for range maxStray {
		n, err := conn.Read(p)
		if err != nil {
			return nil, err
		}
		if answers(p[:n], asked) {
			return p[:n], nil
		}
	}
	return nil, errNotMine
}

// maxStray is how many datagrams that answer something else are skipped.
const maxStray = 16

// overStream sends a message and reads the next, which has to be its answer.
func overStream(conn net.Conn, asked []byte) ([]byte, error) {
	framed := binary.BigEndian.AppendUint16(nil, uint16(len(asked))) // #nosec G115 -- a name and a question
	if _, err := conn.Write(append(framed, asked...)); err != nil {
		return nil, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	p := make([]byte, min(binary.BigEndian.Uint16(size[:]), maxAnswer))
	if _, err := io.ReadFull(conn, p); err != nil {
		return nil, err
	}
	if !answers(p, asked) {
		return nil, errNotMine
	}
	return p, nil
}
