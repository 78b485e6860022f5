package hostile

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/fetch"
)

// TestHealthyPeerDoesNotWaitForAttackers collects the announcement of a healthy
// peer while those of eight that never answer, drip or stop are being collected by the
// same Fetcher through the same resolver. It has to be there before any of
// theirs is given up.
func TestHealthyPeerDoesNotWaitForAttackers(t *testing.T) {
	const attackers = 8
	for _, name := range []string{"Silence", "Drip", "Half an answer"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			attackNamed(t, name).arm(w)
			w.slow = false // attackers are waited for as long as it takes
			s := serve(t, w)
			f := newFetcher(t, s, s.addr())
			if r := collect(t.Context(), f, "ns2.example.org."); r.Verdict != fetch.Absent {
				t.Fatalf("Expected the resolver to work, got %s: %s", r.Verdict, r.Reason)
			}
			var ended atomic.Int32
			done := make(chan struct{})
			ctx, giveUp := context.WithCancel(t.Context())
			defer giveUp()
			for i := range attackers {
				go func() {
					defer func() { done <- struct{}{} }()
					collect(ctx, f, fmt.Sprintf("ns%d.%s", i, peerZone))
					ended.Add(1)
				}()
			}
			for s.waiting(peerZone) == 0 {
				collect(t.Context(), f, "ns3.example.org.") // until the attackers are at it
			}
			r := collect(t.Context(), f, healthyHost)
			if n := ended.Load(); r.Verdict != fetch.Secure || n > 0 {
				t.Errorf("Expected secure before any of the attackers ended, got %s after %d: %s", r.Verdict, n, r.Reason)
			}
			giveUp()
			for range attackers {
				<-done
			}
		})
	}
}

// attackNamed returns the attack of that name.
func attackNamed(t *testing.T, name string) attack {
	t.Helper()
	for _, a := range attacks() {
		if a.name == name {
			return a
		}
	}
	t.Fatalf("There is no attack %q", name)
	return attack{}
}

// TestSpooferIsNotBelieved floods the client with answers that are right but for
// one thing that somebody off the path has to guess. They come from the
// resolver's own address and port, which is what a spoofer would pretend, and to
// the port that the client asks from, which he would have to guess as well.
func TestSpooferIsNotBelieved(t *testing.T) {
	const forged, right = "192.0.2.66", "192.0.2.1"
	spoof := func(d *datagram, p []byte, edit func(p []byte, i uint16)) {
		p = bytes.Replace(d.reply(p), netip.MustParseAddr(right).AsSlice(), netip.MustParseAddr(forged).AsSlice(), 1)
		for i := range uint16(2000) {
			wrong := bytes.Clone(p)
			edit(wrong, i)
			if wrong[2] = d.octets[2] | 0x80; !bytes.Equal(wrong[:2], d.octets[:2]) || !bytes.Equal(wrong[headerSize:d.end], d.octets[headerSize:d.end]) {
				d.send(wrong)
			}
		}
	}
	for _, tc := range []struct {
		name string
		edit func(p []byte, i uint16)
	}{
		{"ID", func(p []byte, i uint16) { p[0], p[1] = p[0]^byte(i>>8)^0x80, p[1]^byte(i) }},
		{"case of the name", func(p []byte, i uint16) {
			// Sixteen of the letters of the second label.
			for bit := range 16 {
				if (i+1)>>bit&1 == 1 {
					p[headerSize+8+bit] ^= 0x20
				}
			}
		}},
		{"type", func(p []byte, i uint16) { p[len(victim)+headerSize+1+1] = byte(i%200 + 2) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.everywhere = true
			w.message = func(q question, m *dns.Msg) *dns.Msg {
				m.Rcode, m.Ns = dns.RcodeSuccess, nil
				m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: netip.MustParseAddr(right).AsSlice()}}
				return m
			}
			w.datagram = func(d *datagram, p []byte) {
				spoof(d, p, tc.edit)
				d.send(d.reply(p))
			}
			s := serve(t, w)
			client, err := fetch.NewClient([]string{s.addr()}, fetch.ClientOptions{Try: try})
			if err != nil {
				t.Fatal(err)
			}
			rs, err := fetch.ParseResolvers([]string{s.addr()})
			if err != nil {
				t.Fatal(err)
			}
			m, err := client.Ask(t.Context(), rs[0], false, victim, dns.TypeA, true)
			if err != nil {
				t.Fatal(err)
			}
			if got := m.Answer[0].(*dns.A).A.String(); got != right {
				t.Errorf("Expected %s, got the forged %s", right, got)
			}
		})
	}
}

// victim is what the client asks for. Its second label has twenty letters.
const victim = "victim.abcdefghijklmnopqrst.example.org."
