package fetch

import (
	"bytes"
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/merge"
)

func TestQuestionIsPackedAsAMessageIs(t *testing.T) {
	for _, name := range []string{owner, ".", `a\.b\000.example.org.`} {
		for _, cd := range []bool{true, false} {
			m := new(dns.Msg).SetQuestion(name, dns.TypeCDS)
			m.Id, m.CheckingDisabled = 0, cd
			m.SetEdns0(ednsSize, true)
			want, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			if got := packQuestion(name, dns.TypeCDS, cd); !bytes.Equal(got, want) {
				t.Errorf("Expected % x, got % x", want, got)
			}
		}
	}
	if got := packQuestion("a..b.", dns.TypeCDS, true); got != nil {
		t.Errorf("Expected nothing for what is no name, got % x", got)
	}
}

// seen is what a resolver was asked.
type seen struct {
	mu        sync.Mutex
	questions []dns.Question
	ports     []string
	ids       []uint16
	tcp       int
}

// watched notes what h is asked for the announcement.
func (s *seen) watched(h dns.HandlerFunc) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		if dns.CanonicalName(q.Question[0].Name) == owner {
			s.mu.Lock()
			s.questions = append(s.questions, q.Question[0])
			s.ports, s.ids = append(s.ports, w.RemoteAddr().String()), append(s.ids, q.Id)
			if overTCP(w) {
				s.tcp++
			}
			s.mu.Unlock()
		}
		h(w, q)
	}
}

// asked returns how often the announcement was asked for, and over TCP.
func (s *seen) asked() (all, tcp int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.questions), s.tcp
}

// Each of the three has all that a forger has to guess for itself.
func TestQuestionsOfAnAnnouncementShareNothing(t *testing.T) {
	l := newStage(t, announced()).lab()
	var s seen
	f := New(client(t, time.Second, serve(t, s.watched(wired(l, false)))), anchors(t, l), Options{Now: func() time.Time { return now }})
	inHand(t, f)
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.ports)
	slices.Sort(s.ids)
	names := make(map[string]bool)
	for _, q := range s.questions {
		names[q.Name] = true
	}
	if len(s.questions) != 3 || len(slices.Compact(s.ports)) != 3 || len(slices.Compact(s.ids)) == 1 || len(names) == 1 {
		t.Errorf("Expected three questions of differing port, ID and case, got %v from %v with %v", s.questions, s.ports, s.ids)
	}
}

// An announcement takes three questions, whoever judges it.
func TestNothingIsAskedTwice(t *testing.T) {
	l := newStage(t, announced()).lab()
	var s seen
	f := New(client(t, time.Second, serve(t, s.watched(wired(l, false)))), anchors(t, l), Options{Now: func() time.Time { return now }})
	for n := range 3 {
		secure(t, f)
		if got, tcp := s.asked(); got != 3*(n+1) || tcp > 0 {
			t.Errorf("Expected %d questions, none over TCP, got %d and %d", 3*(n+1), got, tcp)
		}
	}
}

func TestTruncatedAnswersOfAnAnnouncementComeOverTCP(t *testing.T) {
	l := newStage(t, announced()).lab()
	var s seen
	whole := wired(l, false)
	f := New(client(t, time.Second, serve(t, s.watched(func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Qtype == dns.TypeCDS && !overTCP(w) {
			m := new(dns.Msg).SetReply(q)
			m.Truncated = true
			w.WriteMsg(m)
			return
		}
		whole(w, q)
	}))), anchors(t, l), Options{Now: func() time.Time { return now }})
	for n := range 2 {
		secure(t, f)
		if got, tcp := s.asked(); got != 4*(n+1) || tcp != n+1 {
			t.Errorf("Expected %d questions, %d over TCP, got %d and %d", 4*(n+1), n+1, got, tcp)
		}
	}
	if recalls(t, f) {
		t.Error("Expected that what came over TCP is judged")
	}
}

// A resolver that leaves out an answer costs a try, and the next is asked for it.
func TestNextResolverIsAskedForWhatIsMissing(t *testing.T) {
	l := newStage(t, announced()).lab()
	whole := wired(l, false)
	var first, second seen
	mute := func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Qtype != dns.TypeCDNSKEY {
			whole(w, q)
		}
	}
	c := client(t, 200*time.Millisecond, serve(t, first.watched(mute)), serve(t, second.watched(whole)))
	f := New(c, anchors(t, l), Options{Now: func() time.Time { return now }})
	secure(t, f)
	if got, _ := first.asked(); got != 3 {
		t.Errorf("Expected three questions to the first resolver, got %d", got)
	}
	if got, _ := second.asked(); got != 1 {
		t.Errorf("Expected one question to the second resolver, got %d", got)
	}
}

func TestTogetherIsForResolversThatAnswerByUDP(t *testing.T) {
	l := newStage(t, announced()).lab()
	whole := wired(l, false)
	addr := serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if overTCP(w) {
			whole(w, q)
		}
	})
	f := New(client(t, 100*time.Millisecond, addr), anchors(t, l), Options{Now: func() time.Time { return now }})
	secure(t, f)
	c := &collection{f: f, zone: zone, host: host, owner: owner, at: now}
	if c.together(t.Context(), f.route()) != nil {
		t.Error("Expected that a resolver which answers by TCP only is asked as such")
	}
	f.client.resolvers[0] = Resolver{Addr: netip.MustParseAddrPort(addr), TLS: true}
	f.streams[0].Store(false)
	if c.together(t.Context(), f.route()) != nil {
		t.Error("Expected that a resolver is asked over TLS if that is configured")
	}
}

// Without CD the same questions are others.
func TestAnswersInHandAreForTheirQuestionOnly(t *testing.T) {
	f := wireFetcher(t, newStage(t, announced()).lab(), false)
	_, _, h := inHand(t, f)
	for name, got := range map[string]*inquest{
		"another resolver's": h.take(1, owner, dns.TypeCDS, true),
		"another name's":     h.take(0, host, dns.TypeCDS, true),
		"another type's":     h.take(0, owner, dns.TypeSOA, true),
		"without CD":         h.take(0, owner, dns.TypeCDS, false),
	} {
		if got != nil {
			t.Errorf("%s: Expected nothing", name)
		}
	}
	if h.take(0, owner, dns.TypeCDS, true) == nil || h.take(0, owner, dns.TypeCDS, true) != nil {
		t.Error("Expected that an answer is taken once")
	}
	if res := f.Fetch(t.Context(), zone, host, merge.Announcement{}); res.Verdict != Secure {
		t.Error(res)
	}
}

// What is not the answer ends the use of the socket that it came to, and the
// question is asked anew where somebody had time to look for its port.
func TestSocketsOfAnAnnouncementAreNotUsedAgainAfterWhatDoesNotFit(t *testing.T) {
	l := newStage(t, announced()).lab()
	whole := wired(l, false)
	for _, tc := range []struct {
		name  string
		wrong func(w dns.ResponseWriter, q *dns.Msg)
		used  bool // the sockets had questions before
		anew  bool
	}{
		{"a stray, new sockets", stray(whole), false, false},
		{"a stray, used sockets", stray(whole), true, true},
		{"silence, used sockets", func(dns.ResponseWriter, *dns.Msg) {}, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var wrong atomic.Bool
			addr := serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
				if wrong.Load() && q.Question[0].Qtype == dns.TypeCDNSKEY && !overTCP(w) {
					tc.wrong(w, q)
					return
				}
				whole(w, q)
			})
			f := New(client(t, 200*time.Millisecond, addr), anchors(t, l), Options{Now: func() time.Time { return now }})
			secure(t, f)
			if tc.used {
				asks(t, f.client, 2*minIdle)
			} else {
				f.client.sockets[f.client.resolvers[0].Addr] = new(sockets)
			}
			wrong.Store(true)
			c, r, h := inHand(t, f)
			if got := h.questions[1].socket.used; got != tc.used {
				t.Fatalf("Expected a used socket %t, got %t", tc.used, got)
			}
			if h.questions[1].anew != tc.anew || h.questions[0].anew || h.questions[2].anew {
				t.Errorf("Expected to be asked anew %t, got %t", tc.anew, h.questions[1].anew)
			}
			if taken := h.take(0, owner, dns.TypeCDNSKEY, true); (taken == nil) != tc.anew {
				t.Errorf("Expected that what is asked anew is not in hand, got %v", taken)
			}
			if !h.questions[1].socket.spoiled || h.questions[0].socket.spoiled || h.questions[2].socket.spoiled {
				t.Error("Expected that the socket where something went wrong is not used again, and only that")
			}
			if _, ok := recalled(t, c, r, h); ok == (h.questions[1].err != nil) {
				t.Errorf("Expected that what is not there is not recalled, and what is there is, got %t", ok)
			}
		})
	}
}

// stray has something else come before the answer.
func stray(h dns.HandlerFunc) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		w.Write([]byte{byte(q.Id>>8) ^ 1, byte(q.Id), 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0})
		h(w, q)
	}
}

// A question whose context ended leaves sockets that answers may still reach.
func TestSocketsOfAnAnnouncementThatWasGivenUpAreNotUsedAgain(t *testing.T) {
	l := newStage(t, announced()).lab()
	whole := wired(l, false)
	addr := serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Qtype != dns.TypeCDS {
			whole(w, q)
		}
	})
	f := New(client(t, 10*time.Second, addr), anchors(t, l), Options{Now: func() time.Time { return now }})
	if _, err := f.Session().Lookup(t.Context(), signalZone, dns.TypeSOA); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer time.AfterFunc(50*time.Millisecond, cancel).Stop()
	c := &collection{f: f, zone: zone, host: host, owner: owner, at: now}
	h := c.together(ctx, f.route())
	for i := range h.questions {
		if !h.questions[i].socket.spoiled {
			t.Errorf("%s: Expected that its socket is not used again", dns.Type(types[i]))
		}
	}
	h.free()
}
