package fetch

import (
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"
)

const (
	// minIdle is how many sockets have to be idle for one of them to be used
	// again: which of several ports a question comes from is not known to who
	// found out one. Who asks a few questions has a new port for each.
	minIdle = 8

	// maxIdle bounds the idle sockets for one resolver.
	maxIdle = 256

	// minUses and maxUses bound how many questions a socket has, drawn at random
	// for each.
	minUses = 16
	maxUses = 64

	// socketLife is how long a socket is used again.
	socketLife = 2 * time.Second
)

// socket is a UDP socket that is connected, so that the kernel picks its port at
// random and drops what others send (RFC 5452 section 9.2). It has one question
// at a time.
type socket struct {
	net.Conn
	left    int       // questions that it may still have
	until   time.Time // it may have one
	used    bool      // it had one before
	spoiled bool      // something came, or may still come, that is not the answer
	buffer  [ednsSize + 1]byte
}

// newSocket returns the socket that conn is.
func newSocket(conn net.Conn) *socket {
	return &socket{Conn: conn, left: minUses + rand.IntN(maxUses-minUses+1), until: time.Now().Add(socketLife)}
}

// sockets are those for one resolver that are not in use; nil keeps none. To open one costs more
// than a question, so a few questions, one after the other, come from the same.
//
// That gives a forger who is not on the path no more than a new port for each
// question does. A datagram that reaches a socket and is not the answer, be it a
// guess or only a probe for open ports, ends the use of the socket, at the latest
// when it has its next question; and that question is asked anew from a new one
// (see [Client.byDatagram]). So a port that somebody found is good for one guess
// at an ID and the case of a name, where a new one takes [maxStray]. A socket that
// waited in vain is not used again either: late answers meet no other question.
type sockets struct {
	mu    sync.Mutex
	idle  []*socket
	sweep *time.Timer // runs while any is idle
}

// take returns an idle socket, any of them, nil if there are too few.
func (p *sockets) take() *socket {
	if p == nil {
		return nil
	}
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) >= minIdle {
		last := len(p.idle) - 1
		i := rand.IntN(len(p.idle))
		s := p.idle[i]
		p.idle[i], p.idle[last] = p.idle[last], nil
		p.idle = p.idle[:last]
		if now.Before(s.until) {
			return s
		}
		s.Close()
	}
	return nil
}

// put takes back a socket whose question is over.
func (p *sockets) put(s *socket) {
	s.used = true
	s.left--
	left := time.Until(s.until)
	if p == nil || s.spoiled || s.left <= 0 || left <= 0 {
		s.Close()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) >= maxIdle {
		s.Close()
		return
	}
	p.idle = append(p.idle, s)
	switch {
	case p.sweep == nil:
		p.sweep = time.AfterFunc(left, p.expire)
	case len(p.idle) == 1:
		p.sweep.Reset(left)
	}
}

// expire closes the idle sockets whose time is over, so that none stays when
// nobody asks any more.
func (p *sockets) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, next := time.Now(), time.Duration(0)
	p.idle = slices.DeleteFunc(p.idle, func(s *socket) bool {
		left := s.until.Sub(now)
		if left > 0 {
			next = max(next, left)
			return false
		}
		s.Close()
		return true
	})
	if len(p.idle) > 0 {
		p.sweep.Reset(next)
	}
}
