package fetch

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"time"

	"github.com/miekg/dns"
)

const (
	// maxStray is how many datagrams that answer something else are skipped
	// while waiting for an answer: a forger's, or late ones. Of each only the
	// header and the question are looked at.
	maxStray = 32

	// missShare is the share of a try that is still waited for the right answer
	// when one came that has the question's ID but not its question: a forger's
	// that was lucky, or that of a server that does not keep the case of names.
	missShare = 8
)

// byDatagram asks r by UDP. What comes to a socket that had another question
// before, and is not the answer, may be from somebody who had time to look for its
// port: then the question is asked anew, from a new one.
func (c *Client) byDatagram(ctx context.Context, r Resolver, asked []byte) (*dns.Msg, error) {
	deadline := time.Now().Add(c.try)
	if end, ok := ctx.Deadline(); ok && end.Before(deadline) {
		deadline = end
	}
	idle := c.sockets[r.Addr]
	if s := idle.take(); s != nil {
		scramble(asked)
		m, err := s.ask(ctx, asked, deadline, c.try/missShare)
		idle.put(s)
		switch {
		case err == nil:
			return m, nil
		case ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded):
			return nil, plain(ctx, err)
		}
		binary.BigEndian.PutUint16(asked, newID())
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(r.Addr))
	if err != nil {
		return nil, plain(ctx, err)
	}
	s := newSocket(conn)
	defer idle.put(s)
	scramble(asked)
	m, err := s.ask(ctx, asked, deadline, c.try/missShare)
	if err != nil {
		return nil, plain(ctx, err)
	}
	return m, nil
}

// scramble gives each letter of the name that a question asks for a random
// case. Servers give it back, so a forger who does not see the question has to
// guess it (draft-vixie-dnsext-dns0x20).
func scramble(asked []byte) {
	var coins [256 / 8]byte // a name has 255 octets at most
	rand.Read(coins[:])
	for i, octet := range name(asked) {
		// The length of a label is less than any letter.
		if letter := octet | 0x20; 'a' <= letter && letter <= 'z' {
			asked[headerSize+i] ^= coins[i/8] >> (i % 8) & 1 << 5
		}
	}
}

// newID returns an ID for a question, one that nobody can tell beforehand. It is
// quicker than dns.Id.
func newID() uint16 {
	var id [2]byte
	rand.Read(id[:])
	return binary.BigEndian.Uint16(id[:])
}

// ask sends a question and waits for its answer until the deadline or the
// context's end.
func (s *socket) ask(ctx context.Context, asked []byte, deadline time.Time, wait time.Duration) (*dns.Msg, error) {
	s.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { s.SetDeadline(time.Unix(1, 0)) })
	m, err := s.exchange(ctx, asked, deadline, wait)
	if !stop() || err != nil {
		s.spoiled = true
	}
	return m, err
}

// exchange sends a question and reads its answer.
func (s *socket) exchange(ctx context.Context, asked []byte, deadline time.Time, wait time.Duration) (*dns.Msg, error) {
	if _, err := s.Write(asked); err != nil {
		return nil, err
	}
	p, err := s.receive(ctx, asked, deadline, wait)
	if err != nil {
		return nil, err
	}
	return readAnswer(p, asked)
}

// receive returns the octets of the answer to a question that was sent, which stay
// until the socket has its next one, skipping what is another's: for all the time
// there is, or for wait after a near miss. A socket that was used before skips
// nothing.
func (s *socket) receive(ctx context.Context, asked []byte, deadline time.Time, wait time.Duration) ([]byte, error) {
	missed := false
	for range maxStray {
		n, err := s.Read(s.buffer[:])
		if err != nil && missed && ctx.Err() != context.Canceled {
			return nil, errGarbage
		}
		if err != nil {
			return nil, err
		}
		err = fits(s.buffer[:n], asked, false)
		s.spoiled = s.spoiled || err != nil
		switch {
		case err != nil && s.used:
			return nil, err
		case err == errStray:
		case err == errNearMiss:
			if !missed && time.Until(deadline) > wait {
				s.SetReadDeadline(time.Now().Add(wait))
			}
			missed = true
		case n > ednsSize:
			// Larger than we asked for: it may have come in fragments, and
			// only the first of them has what a forger has to guess.
			return nil, errGarbage
		default:
			return s.buffer[:n], nil
		}
	}
	return nil, errGarbage
}
