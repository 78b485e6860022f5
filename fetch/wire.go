package fetch

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/miekg/dns"
)

const (
	headerSize = 12   // RFC 1035 section 4.1.1
	truncated  = 0x02 // TC, in the third octet
)

var (
	errTimeout   = errors.New("does not answer in time")
	errClosed    = errors.New("closes the connection without an answer")
	errGarbage   = errors.New("sends what does not answer the question")
	errLarge     = fmt.Errorf("sends more than %d records", maxRecords)
	errTruncated = errors.New("truncates its answer even over TCP")

	errStray    = errors.New("an answer to something else")
	errNearMiss = errors.New("an answer with the question's ID to something else")
)

// overNetwork sends a question to r and returns what came back, whatever it is.
func (c *Client) overNetwork(ctx context.Context, r Resolver, stream bool, q *dns.Msg) (*dns.Msg, error) {
	asked, err := q.Pack()
	if err != nil {
		return nil, fmt.Errorf("cannot be asked: %w", err)
	}
	ask := c.byDatagram
	if stream {
		ask = c.byStream
	}
	m, err := ask(ctx, r, asked)
	if err != nil {
		return nil, err
	}
	m.Question = q.Question
	return m, nil
}

// byStream asks r by TCP or TLS, each question over a connection of its own.
func (c *Client) byStream(ctx context.Context, r Resolver, asked []byte) (*dns.Msg, error) {
	s := &stream{client: c, to: r}
	defer s.close()
	return s.ask(ctx, asked)
}

// plain returns err without what differs from one try to the next, such as our
// port, so that a lasting failure reads the same every time.
func plain(ctx context.Context, err error) error {
	var errno syscall.Errno
	var slow net.Error
	switch {
	case errors.Is(err, errGarbage) || errors.Is(err, errLarge):
		return err
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case ctx.Err() != nil || errors.As(err, &slow) && slow.Timeout():
		return errTimeout
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return errClosed
	case errors.As(err, &errno):
		return fmt.Errorf("fails: %w", errno)
	default:
		return fmt.Errorf("fails: %w", err)
	}
}

// decode reads the answer p to the question asked, if it is one. Over a stream the
// case of the name does not matter, and a refusal may come without the question:
// some servers send a bare header.
func decode(p, asked []byte, stream bool) (*dns.Msg, error) {
	if err := fits(p, asked, stream); err != nil {
		return nil, err
	}
	return readAnswer(p, asked)
}

// fits returns nil if p is the answer to the question asked (RFC 5452 section
// 9.1), else errStray or errNearMiss, and reads no more of it than what tells
// whose it is.
func fits(p, asked []byte, stream bool) error {
	if len(p) < headerSize || !bytes.Equal(p[:2], asked[:2]) {
		return errStray
	}
	if !answers(p, asked, stream) {
		return errNearMiss
	}
	return nil
}

// readAnswer reads the answer p to the question asked. Of a truncated answer
// there is the header.
func readAnswer(p, asked []byte) (*dns.Msg, error) {
	if p[2]&truncated != 0 {
		return &dns.Msg{MsgHdr: dns.MsgHdr{Id: binary.BigEndian.Uint16(p), Response: true, Truncated: true}}, nil
	}
	if entries(p, 1)+entries(p, 2)+entries(p, 3) > maxRecords {
		return nil, errLarge
	}
	end := headerSize
	if entries(p, 0) > 0 {
		end += len(question(asked))
	}
	m, err := parse(p, end, qtype(asked))
	if err != nil {
		return nil, errGarbage
	}
	return m, nil
}

// answers reports whether the header and the question of p are those of an
// answer to what was asked. The ID is.
func answers(p, asked []byte, stream bool) bool {
	const response, opcode, rcode = 0x80, 0x78, 0x0f
	if p[2]&response == 0 || p[2]&opcode != dns.OpcodeQuery<<3 {
		return false
	}
	if entries(p, 0) == 0 {
		return stream && !useful(int(p[3]&rcode))
	}
	want := question(asked)
	if entries(p, 0) != 1 || len(p) < headerSize+len(want) {
		return false
	}
	got := p[headerSize : headerSize+len(want)]
	if n := len(name(asked)); stream {
		return bytes.Equal(lower(got[:n]), lower(want[:n])) && bytes.Equal(got[n:], want[n:])
	}
	return bytes.Equal(got, want)
}

// lower returns a copy of a name with its letters in lower case.
func lower(name []byte) []byte {
	out := make([]byte, len(name))
	for i, octet := range name {
		if 'A' <= octet && octet <= 'Z' {
			octet |= 0x20
		}
		out[i] = octet
	}
	return out
}
