package fetch

import (
	"context"
	"math"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/merge"
)

// echo is a socket whose answers are there at once, and are the lab's.
type echo struct {
	net.Conn
	l       *lab.Lab
	answers map[string][]byte // by the question's octets in lower case
	asked   []byte
}

func (*echo) Close() error                    { return nil }
func (*echo) SetReadDeadline(time.Time) error { return nil }
func (*echo) SetDeadline(time.Time) error     { return nil }

func (e *echo) Write(p []byte) (int, error) {
	e.asked = append(e.asked[:0], p...)
	return len(p), nil
}

func (e *echo) Read(p []byte) (int, error) {
	var room [512]byte
	q := question(e.asked)
	key := append(room[:0], q...)
	for i, octet := range key[:len(key)-4] {
		if 'A' <= octet && octet <= 'Z' {
			key[i] |= 0x20
		}
	}
	wire := e.answers[string(key)]
	if wire == nil {
		wire = e.answer(key)
		e.answers[string(key)] = wire
	}
	n := copy(p, wire)
	copy(p, e.asked[:2])
	copy(p[headerSize:], q)
	return n, nil
}

func (e *echo) answer(q []byte) []byte {
	text, off, err := dns.UnpackDomainName(q, 0)
	if err != nil {
		panic(err)
	}
	m, err := e.l.Exchange(context.Background(), text, uint16(q[off])<<8|uint16(q[off+1]), true)
	if err != nil {
		panic(err)
	}
	m.Compress = true
	p, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return p
}

// BenchmarkFetch collects an announcement that has not changed, without what the
// network costs.
func BenchmarkFetch(b *testing.B) {
	l := lab.New(b, now)
	for _, z := range []lab.Zone{{Name: "."}, {Name: "net."}, {Name: signalZone, Records: announced()}} {
		l.Add(z)
	}
	c, err := NewClient([]string{"192.0.2.1"}, ClientOptions{})
	if err != nil {
		b.Fatal(err)
	}
	answers := make(map[string][]byte)
	for range 2 * minIdle {
		s := newSocket(&echo{l: l, answers: answers})
		s.left, s.until = math.MaxInt, time.Now().Add(time.Hour)
		c.sockets[c.resolvers[0].Addr].put(s)
	}
	f := New(c, anchors(b, l), Options{Now: func() time.Time { return now }})
	collect := func() {
		if res := f.Fetch(b.Context(), zone, host, merge.Announcement{}); res.Verdict != Secure {
			b.Fatal(res)
		}
	}
	collect()
	b.ReportAllocs()
	before := cpu(b)
	for b.Loop() {
		collect()
	}
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
}

// cpu returns the CPU time that the process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Skip(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
