package fetch

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
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

// overNetwork is the roundTrip of a client in use. Each question has a socket of
// its own, connected, so that the kernel picks its port at random and drops what
// others than r send (RFC 5452 section 9.2), and takes one answer.
func (c *Client) overNetwork(ctx context.Context, r Resolver, stream bool, q *dns.Msg) (*dns.Msg, error) {
	timeout := c.try
	if stream {
		timeout *= 2
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	asked, err := q.Pack()
	if err != nil {
		return nil, fmt.Errorf("cannot be asked: %w", err)
	}
	conn, err := c.dial(ctx, r, stream)
	if err != nil {
		return nil, plain(ctx, err)
	}
	defer conn.Close()
	// The context's end is the deadline, and also ends a wait early.
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	var m *dns.Msg
	if stream {
		m, err = overStream(conn, asked)
	} else {
		scramble(asked)
		m, err = overDatagrams(ctx, conn, asked, timeout/missShare)
	}
	if err != nil {
		return nil, plain(ctx, err)
	}
	m.Question = q.Question
	return m, nil
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

func (c *Client) dial(ctx context.Context, r Resolver, stream bool) (net.Conn, error) {
	var d net.Dialer
	network := "udp"
	if stream {
		network = "tcp"
	}
	if !r.TLS {
		return d.DialContext(ctx, network, r.Addr.String())
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

// scramble gives each letter of the name that a question asks for a random
// case. Servers give it back, so a forger who does not see the question has to
// guess it (draft-vixie-dnsext-dns0x20).
func scramble(asked []byte) {
	var coins [256]byte // a name has 255 octets at most
	rand.Read(coins[:])
	for i, octet := range name(asked) {
		// The length of a label is less than any letter.
		if letter := octet | 0x20; 'a' <= letter && letter <= 'z' {
			asked[headerSize+i] ^= coins[i] & 0x20
		}
	}
}

// overDatagrams sends a question and waits for its answer, skipping what is
// another's: for all the context allows, or for wait after a near miss.
func overDatagrams(ctx context.Context, conn net.Conn, asked []byte, wait time.Duration) (*dns.Msg, error) {
	if _, err := conn.Write(asked); err != nil {
		return nil, err
	}
	p := make([]byte, ednsSize+1)
	missed := false
	for range maxStray {
		n, err := conn.Read(p)
		if err != nil && missed && ctx.Err() != context.Canceled {
			return nil, errGarbage
		}
		if err != nil {
			return nil, err
		}
		m, err := decode(p[:n], asked, false)
		switch {
		case err == errStray:
		case err == errNearMiss:
			if deadline, ok := ctx.Deadline(); !missed && (!ok || time.Until(deadline) > wait) {
				conn.SetReadDeadline(time.Now().Add(wait))
			}
			missed = true
		case n > ednsSize:
			// Larger than we asked for: it may have come in fragments, and
			// only the first of them has what a forger has to guess.
			return nil, errGarbage
		default:
			return m, err
		}
	}
	return nil, errGarbage
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

// decode reads the answer p to the question asked (RFC 5452 section 9.1), and no
// more of it than what tells whose it is if it is another's. Over a stream the
// case of the name does not matter, and a refusal may come without the question:
// some servers send a bare header. Of a truncated answer there is the header.
func decode(p, asked []byte, stream bool) (*dns.Msg, error) {
	if len(p) < headerSize || !bytes.Equal(p[:2], asked[:2]) {
		return nil, errStray
	}
	if !answers(p, asked, stream) {
		return nil, errNearMiss
	}
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
