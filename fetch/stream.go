package fetch

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/miekg/dns"
)

// stream is a connection to a server by TCP or TLS, opened for the first question
// and kept for the next. Any failure ends it.
type stream struct {
	client *Client
	to     Resolver
	conn   net.Conn // nil while there is none
	single bool     // the server answers one question over each
}

// exchange sends a question and returns what came back, whatever it is.
func (s *stream) exchange(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
	if s.client.roundTrip != nil {
		return s.client.roundTrip(ctx, s.to, true, q)
	}
	asked, err := q.Pack()
	if err != nil {
		return nil, fmt.Errorf("cannot be asked: %w", err)
	}
	m, err := s.ask(ctx, asked)
	if err != nil {
		return nil, err
	}
	m.Question = q.Question
	return m, nil
}

// ask sends a question and returns its answer. A server may close a connection at
// any time between two questions (RFC 7766 section 6.2.4), or not care for a second
// one: then it is asked over a new one, and each time from then on.
func (s *stream) ask(ctx context.Context, asked []byte) (*dns.Msg, error) {
	if s.conn != nil {
		m, err := s.try(ctx, asked, s.client.try)
		if err == nil || errors.Is(err, errLarge) || ctx.Err() != nil {
			return m, err
		}
		s.single = s.single || errors.Is(err, errTimeout) || errors.Is(err, errGarbage)
	}
	m, err := s.try(ctx, asked, 2*s.client.try)
	if s.single {
		s.close()
	}
	return m, err
}

// try is ask over the connection that there is, or else over a new one.
func (s *stream) try(ctx context.Context, asked []byte, wait time.Duration) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if s.conn == nil {
		conn, err := s.client.dial(ctx, s.to)
		if err != nil {
			return nil, plain(ctx, err)
		}
		s.conn = conn
	}
	// The context's end is the deadline, and also ends a wait early.
	conn := s.conn
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	m, err := overStream(conn, asked)
	if stop() && err == nil {
		return m, nil
	}
	s.close()
	if err != nil {
		return nil, plain(ctx, err)
	}
	return m, nil
}

// close ends the connection, if there is one.
func (s *stream) close() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}

func (c *Client) dial(ctx context.Context, r Resolver) (net.Conn, error) {
	var d net.Dialer
	if !r.TLS {
		return d.DialContext(ctx, "tcp", r.Addr.String())
	}
	name := r.ServerName
	if name == "" {
		name = r.Addr.Addr().WithZone("").String()
	}
	td := tls.Dialer{NetDialer: &d, Config: &tls.Config{
		ServerName: name,
		RootCAs:    c.roots,
		MinVersion: tls.VersionTLS12, // RFC 9325 section 3.1.1
	}}
	return td.DialContext(ctx, "tcp", r.Addr.String())
}

// overStream sends a question and reads the next message, which has to be its
// answer.
func overStream(conn net.Conn, asked []byte) (*dns.Msg, error) {
	framed := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(asked)), uint16(len(asked))) // #nosec G115 -- a question
	if _, err := conn.Write(append(framed, asked...)); err != nil {
		return nil, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	p := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, p); err != nil {
		return nil, err
	}
	m, err := decode(p, asked, true)
	if err == errStray || err == errNearMiss {
		err = errGarbage
	}
	return m, err
}
