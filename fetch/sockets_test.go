package fetch

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// answering is a server that gives every question the answers that answer makes.
func answering(t *testing.T, answer func(q []byte) [][]byte) *rawServer {
	return (&rawServer{t: t, datagram: answer, stream: sends(plainly("tcp"))}).start()
}

func rightly(q []byte) [][]byte { return [][]byte{reply(q, "right")} }

// asks asks n questions of c's first resolver, one after the other.
func asks(t *testing.T, c *Client, n int) {
	t.Helper()
	for range n {
		if _, err := c.Ask(t.Context(), c.resolvers[0], false, "example.org.", dns.TypeTXT, true); err != nil {
			t.Error(err)
			return
		}
	}
}

// from returns the ports that s was asked from so far.
func (s *rawServer) from() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ports)
}

func uses(ports []string) map[string]int {
	n := make(map[string]int)
	for _, p := range ports {
		n[p]++
	}
	return n
}

// idle returns the idle sockets for c's first resolver, by port.
func idle(c *Client) map[string]*socket {
	p := c.sockets[c.resolvers[0].Addr]
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[string]*socket)
	for _, s := range p.idle {
		all[s.LocalAddr().String()] = s
	}
	return all
}

// isOver checks that s is closed, and not among those that are used again.
func isOver(t *testing.T, c *Client, s *socket) {
	t.Helper()
	if _, err := s.Write(nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Expected the socket to be closed, got %v", err)
	}
	for _, other := range idle(c) {
		if other == s {
			t.Error("Expected the socket not to be used again")
		}
	}
}

func TestAFewQuestionsHaveAPortEach(t *testing.T) {
	s := answering(t, rightly)
	asks(t, client(t, 5*time.Second, s.addr), minIdle)
	if n := len(uses(s.from())); n != minIdle {
		t.Errorf("Expected %d ports, got %d", minIdle, n)
	}
}

func TestPortsChangeAndAreUsedAgainSoManyTimesOnly(t *testing.T) {
	s := answering(t, rightly)
	const questions = 40 * maxUses
	asks(t, client(t, 5*time.Second, s.addr), questions)
	each := uses(s.from())
	if n := len(each); n < questions/maxUses || n > questions/2 {
		t.Errorf("Expected some of %d questions to come from one port, got %d ports", questions, n)
	}
	for _, n := range each {
		if n > 2*maxUses { // two sockets may have the same port, by chance
			t.Errorf("Expected %d questions from a socket at most, got %d", maxUses, n)
		}
	}
}

func TestHowOftenASocketIsUsedIsDrawnAtRandom(t *testing.T) {
	drawn := make(map[int]bool)
	for range 1000 {
		s := newSocket(nil)
		if s.left < minUses || s.left > maxUses {
			t.Fatalf("Expected %d to %d uses, got %d", minUses, maxUses, s.left)
		}
		drawn[s.left] = true
	}
	if len(drawn) < (maxUses-minUses)/2 {
		t.Errorf("Expected all numbers from %d to %d, got %d of them", minUses, maxUses, len(drawn))
	}
}

func TestServersAskedDirectlySeeANewPortEachTime(t *testing.T) {
	s := answering(t, rightly)
	other := answering(t, rightly)
	c := client(t, 5*time.Second, other.addr)
	r, err := ParseResolvers([]string{s.addr})
	if err != nil {
		t.Fatal(err)
	}
	const questions = 3 * minIdle
	for range questions {
		if _, err := c.AskDirect(t.Context(), r[0].Addr, "example.org.", dns.TypeTXT); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(uses(s.from())); n < questions-2 { // some may be equal, by chance
		t.Errorf("Expected %d ports, got %d", questions, n)
	}
}

func TestTwoQuestionsNeverShareAPort(t *testing.T) {
	const together, rounds = 24, 60
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var server sync.WaitGroup
	server.Go(func() { // answers when all of a round are there
		buf := make([]byte, dns.MaxMsgSize)
		var ports []string
		var answers [][]byte
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			ports, answers = append(ports, from.String()), append(answers, reply(buf[:n], "right"))
			if len(ports) < together {
				continue
			}
			if n := len(uses(ports)); n < together {
				t.Errorf("Expected %d questions at a time from as many ports, got %d", together, n)
			}
			for i, port := range ports {
				to, _ := net.ResolveUDPAddr("udp", port)
				conn.WriteTo(answers[i], to)
			}
			ports, answers = nil, nil
		}
	})
	c := client(t, 10*time.Second, conn.LocalAddr().String())
	for range rounds {
		var round sync.WaitGroup
		for range together {
			round.Go(func() { asks(t, c, 1) })
		}
		round.Wait()
	}
	conn.Close()
	server.Wait()
}

// What went wrong at a port that had questions before is not met by the next, and
// what was no answer has the question asked anew.
func TestAPortWhereSomethingWentWrongIsNotUsedAgain(t *testing.T) {
	edit := func(e func(p []byte)) func(q []byte) [][]byte {
		return func(q []byte) [][]byte { p := reply(q, "forged"); e(p); return [][]byte{p, reply(q, "late")} }
	}
	tests := []struct {
		name   string
		wrong  func(q []byte) [][]byte
		again  bool // the question is asked anew
		failed error
	}{
		{"another ID", edit(func(p []byte) { p[0] ^= 1 }), true, nil},
		{"another case", edit(func(p []byte) { p[headerSize+1] ^= 0x20 }), true, nil},
		{"another question", edit(func(p []byte) { p[headerSize+1] = 'x' }), true, nil},
		{"a query", func(q []byte) [][]byte { return [][]byte{q} }, true, nil},
		{"an empty datagram", func([]byte) [][]byte { return [][]byte{nil} }, true, nil},
		{"a compression loop", func(q []byte) [][]byte { return [][]byte{loop(q)} }, true, nil},
		{"larger than asked for", func(q []byte) [][]byte { return [][]byte{append(reply(q, ""), make([]byte, 2*ednsSize)...)} }, true, nil},
		{"silence", func([]byte) [][]byte { return nil }, false, errTimeout},
	}
	sameIDs, sameCases := 0, 0
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			var bad atomic.Bool
			s := answering(t, func(q []byte) [][]byte {
				if bad.CompareAndSwap(true, false) {
					return tc.wrong(q)
				}
				return rightly(q)
			})
			c := client(t, time.Second, s.addr)
			asks(t, c, 2*minIdle)
			sockets, before := idle(c), len(s.from())
			bad.Store(true)
			m, err := c.Ask(t.Context(), c.resolvers[0], false, "example.org.", dns.TypeTXT, true)
			if err != tc.failed || err == nil && m.Answer[0].(*dns.TXT).Txt[0] != "right" {
				t.Fatalf("Expected %v, got %v, %v", tc.failed, m, err)
			}
			ports := s.from()[before:]
			used := sockets[ports[0]]
			if used == nil {
				t.Fatalf("Expected a port that was used before, got %s", ports[0])
			}
			isOver(t, c, used)
			if again := len(ports) == 2; again != tc.again {
				t.Fatalf("Expected to be asked anew: %v, got questions from %v", tc.again, ports)
			}
			if !tc.again {
				return
			}
			if now := idle(c); now[ports[1]] == nil || now[ports[1]] == sockets[ports[1]] {
				t.Errorf("Expected to be asked anew from a new socket, got questions from %v", ports)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if first, second := s.asked[before], s.asked[before+1]; bytes.Equal(first[:2], second[:2]) {
				sameIDs++
			} else if bytes.Equal(name(first), name(second)) {
				sameCases++
			}
		})
	}
	if sameIDs > 1 || sameCases > 1 { // once may be chance
		t.Errorf("Expected an ID and a case of its own for each question, got the same ID %d times, the same case %d times", sameIDs, sameCases)
	}
}

// A new socket skips what is another's, and is not used again after that.
func TestAPortThatAStrayCameToIsNotUsedAgain(t *testing.T) {
	s := answering(t, func(q []byte) [][]byte {
		stray := reply(q, "forged")
		stray[0] ^= 1
		return [][]byte{stray, reply(q, "right")}
	})
	const questions = 3 * minIdle
	asks(t, client(t, 5*time.Second, s.addr), questions)
	if n := len(s.from()); n != questions {
		t.Errorf("Expected %d questions, each from a new port, got %d", questions, n)
	}
}

// A question whose context ended leaves a socket that its answer may still reach.
func TestAPortWhoseQuestionWasGivenUpIsNotUsedAgain(t *testing.T) {
	var cancel atomic.Value
	s := answering(t, func(q []byte) [][]byte {
		if end, ok := cancel.Swap(context.CancelFunc(nil)).(context.CancelFunc); ok && end != nil {
			end()
			return nil // its answer is still on its way
		}
		return rightly(q)
	})
	c := client(t, 10*time.Second, s.addr)
	asks(t, c, 2*minIdle)
	for range 20 {
		sockets, before := idle(c), len(s.from())
		ctx, end := context.WithCancel(t.Context())
		cancel.Store(context.CancelFunc(end))
		if _, err := c.Ask(ctx, c.resolvers[0], false, "example.org.", dns.TypeTXT, true); !errors.Is(err, context.Canceled) {
			t.Fatalf("Expected the question to be given up, got %v", err)
		}
		if used := sockets[s.from()[before]]; used != nil {
			isOver(t, c, used)
		}
		asks(t, c, 2*minIdle)
	}
}

// An answer does not refer to the octets that it came in.
func TestAnAnswerOutlivesTheNextOne(t *testing.T) {
	var n atomic.Int32
	s := answering(t, func(q []byte) [][]byte { return [][]byte{reply(q, "answer "+strconv.Itoa(int(n.Add(1))))} })
	c := client(t, 5*time.Second, s.addr)
	var texts []string
	var answers []*dns.Msg
	for range 4 * minIdle {
		m, err := c.Ask(t.Context(), c.resolvers[0], false, "example.org.", dns.TypeTXT, true)
		if err != nil {
			t.Fatal(err)
		}
		answers, texts = append(answers, m), append(texts, m.String())
	}
	for i, m := range answers {
		if m.String() != texts[i] {
			t.Errorf("Expected %s, got %s", texts[i], m)
		}
	}
}

// closable is a connection that is only ever closed.
type closable struct {
	net.Conn
	closed atomic.Bool
}

func (c *closable) Close() error { c.closed.Store(true); return nil }

func TestIdleSocketsAreClosedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(sockets)
		var conns []*closable
		put := func(n int) {
			for range n {
				conns = append(conns, new(closable))
				p.put(newSocket(conns[len(conns)-1]))
			}
		}
		open := func() (n int) {
			for _, c := range conns {
				if !c.closed.Load() {
					n++
				}
			}
			return n
		}
		put(2 * minIdle)
		time.Sleep(socketLife / 2)
		put(2 * minIdle)
		if n := open(); n != 4*minIdle {
			t.Fatalf("Expected %d sockets, got %d", 4*minIdle, n)
		}
		time.Sleep(socketLife / 2)
		synctest.Wait()
		if n := open(); n != 2*minIdle {
			t.Errorf("Expected %d sockets after %s, got %d", 2*minIdle, socketLife, n)
		}
		time.Sleep(socketLife / 2)
		synctest.Wait()
		if n := open(); n != 0 {
			t.Errorf("Expected no socket when all are too old, got %d", n)
		}
		put(1) // the sweep starts again
		time.Sleep(socketLife)
		synctest.Wait()
		if n := open(); n != 0 {
			t.Errorf("Expected no socket when all are too old, got %d", n)
		}
	})
}

func TestASocketThatIsTooOldIsNotUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(sockets)
		s := newSocket(new(closable))
		time.Sleep(socketLife)
		p.put(s) // its question took that long
		if len(p.idle) != 0 || !s.Conn.(*closable).closed.Load() {
			t.Errorf("Expected the socket to be closed, got %d idle", len(p.idle))
		}
	})
}

func TestIdleSocketsAreSoManyAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(sockets)
		last := new(closable)
		for range maxIdle {
			p.put(newSocket(new(closable)))
		}
		p.put(newSocket(last))
		p.mu.Lock()
		n := len(p.idle)
		p.mu.Unlock()
		if n != maxIdle || !last.closed.Load() {
			t.Errorf("Expected %d idle sockets, got %d", maxIdle, n)
		}
	})
}
