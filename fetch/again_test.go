package fetch

import (
	"bytes"
	"context"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/validate"
)

// inHand returns a collection of the announcement by f, with its answers.
func inHand(t *testing.T, f *Fetcher) (*collection, *route, *hand) {
	t.Helper()
	c := &collection{f: f, zone: zone, host: host, owner: owner, at: f.now()}
	r := f.route()
	h := c.together(t.Context(), r)
	if h == nil {
		t.Fatal("Expected the answers of all questions")
	}
	t.Cleanup(h.free)
	return c, r, h
}

// recalled returns what is recalled of the answers.
func recalled(t *testing.T, c *collection, r *route, h *hand) (Result, bool) {
	t.Helper()
	s, ok := c.look(h)
	if !ok {
		return Result{}, false
	}
	return c.recall(t.Context(), r, s)
}

// recalls reports whether f recalls the announcement as it is now.
func recalls(t *testing.T, f *Fetcher) bool {
	t.Helper()
	c, r, h := inHand(t, f)
	_, ok := recalled(t, c, r, h)
	return ok
}

// secure fetches what has to be accepted.
func secure(t *testing.T, f *Fetcher) Result {
	t.Helper()
	res := f.Fetch(t.Context(), zone, host, merge.Announcement{})
	if res.Verdict != Secure {
		t.Fatal(res)
	}
	return res
}

func TestUnchangedAnnouncementIsRecalled(t *testing.T) {
	for name, records := range map[string]string{
		"one key of each kind":       announced(),
		"two, and digests of two":    dnskeys(zsk, ksk) + cdnskeys(ksk, zsk) + cdss(dns.SHA256, ksk, zsk) + cdss(dns.SHA384, ksk),
		"a digest that does not say": dnskeys(zsk) + cdnskeys(ksk) + cdss(dns.SHA256, ksk) + cdss(dns.SHA1, ksk),
	} {
		t.Run(name, func(t *testing.T) {
			l := newStage(t, records).lab()
			f := wireFetcher(t, l, true)
			secure(t, f)
			if !recalls(t, f) {
				t.Error("Expected that it is recalled")
			}
			// Resolvers turn RRsets.
			l.Tamper(owner, 0, func(m *dns.Msg) *dns.Msg {
				slices.Reverse(m.Answer[:len(m.Answer)-1])
				return m
			})
			if !recalls(t, f) {
				t.Error("Expected that it is recalled in another order")
			}
		})
	}
}

// What is recalled was accepted before: nothing else is remembered.
func TestOnlyWhatWasAcceptedIsRecalled(t *testing.T) {
	l := newStage(t, announced()).lab()
	f := wireFetcher(t, l, false)
	if _, err := f.Session().Lookup(t.Context(), signalZone, dns.TypeSOA); err != nil {
		t.Fatal(err)
	}
	if recalls(t, f) {
		t.Error("Expected that nothing is recalled before it is accepted, though the chain is known")
	}
	refused := newStage(t, dnskeys(zsk)+cdnskeys(ksk)+cdss(dns.SHA256, zsk)).lab()
	f = wireFetcher(t, refused, false)
	if res := f.Fetch(t.Context(), zone, host, merge.Announcement{}); res.Verdict != Refused || recalls(t, f) {
		t.Errorf("Expected that what is refused is not recalled, got %v", res)
	}
	// Only digests: whose keys they are is found elsewhere.
	f = wireFetcher(t, newStage(t, dnskeys(zsk, ksk)+cdss(dns.SHA256, ksk)).lab(), false)
	secure(t, f)
	if recalls(t, f) {
		t.Error("Expected that what is not complete is not recalled")
	}
}

// moving is a fetcher of the lab whose clock can be set.
func moving(t *testing.T, l *lab.Lab) (*Fetcher, *atomic.Int64) {
	var clock atomic.Int64
	f := New(client(t, time.Second, serve(t, wired(l, false))), anchors(t, l), Options{Now: func() time.Time { return now.Add(time.Duration(clock.Load())) }})
	return f, &clock
}

func TestRecallLooksAtTheTime(t *testing.T) {
	s := newStage(t, announced())
	s.tamper = func(l *lab.Lab) {
		z := l.Zone(signalZone)
		z.SignRRset = func(rrs []dns.RR) []dns.RR {
			if rrs[0].Header().Rrtype != dns.TypeCDS {
				return z.Sign(rrs)
			}
			return []dns.RR{z.SignWith(z.Keys[len(z.Keys)-1], rrs, func(sig *dns.RRSIG) {
				sig.Inception, sig.Expiration = uint32(now.Add(-time.Minute).Unix()), uint32(now.Add(time.Minute).Unix())
			})}
		}
	}
	f, clock := moving(t, s.lab())
	if got := secure(t, f).TTL; got != time.Minute {
		t.Errorf("Expected a TTL of a minute, got %s", got)
	}
	for _, tc := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {59 * time.Second, true}, {61 * time.Second, false}, {-time.Second, false}} {
		clock.Store(int64(tc.after))
		c, r, h := inHand(t, f)
		got, ok := recalled(t, c, r, h)
		if ok != tc.want {
			t.Errorf("After %s: expected recalled %t, got %t", tc.after, tc.want, ok)
		}
		if ok && got.TTL != time.Minute-tc.after {
			t.Errorf("After %s: expected a TTL of %s, got %s", tc.after, time.Minute-tc.after, got.TTL)
		}
	}
}

func TestRecallTakesTheTTLOfTheAnswer(t *testing.T) {
	l := newStage(t, announced()).lab()
	f := wireFetcher(t, l, false)
	secure(t, f)
	l.Tamper(owner, dns.TypeCDNSKEY, func(m *dns.Msg) *dns.Msg {
		for i := range m.Answer {
			m.Answer[i] = dns.Copy(m.Answer[i])
			m.Answer[i].Header().Ttl = 7
		}
		return m
	})
	c, r, h := inHand(t, f)
	if got, ok := recalled(t, c, r, h); !ok || got.TTL != 7*time.Second {
		t.Errorf("Expected a TTL of 7 s, got %s, recalled %t", got.TTL, ok)
	}
}

// The chain is known by its TTL, and after that asked for: an announcement whose
// zone is secure no more is not recalled.
func TestRecallLooksAtTheChain(t *testing.T) {
	s := newStage(t, announced())
	l := s.lab()
	f, clock := moving(t, l)
	secure(t, f)
	clock.Store(int64(25 * time.Hour)) // longer than anything is kept
	if recalls(t, f) {
		t.Error("Expected that nothing is recalled by a chain that is no longer known")
	}
	secure(t, f)
	if !recalls(t, f) {
		t.Error("Expected that it is recalled by the chain that was asked for")
	}
	clock.Store(int64(50 * time.Hour))
	insecure := newStage(t, announced())
	insecure.zones[signalZone].NoDS = true
	denied, err := insecure.lab().Exchange(t.Context(), signalZone, dns.TypeDS, true)
	if err != nil {
		t.Fatal(err)
	}
	l.Tamper(signalZone, dns.TypeDS, func(m *dns.Msg) *dns.Msg {
		m.Answer, m.Ns = denied.Answer, denied.Ns
		return m
	})
	for range 2 {
		if res := f.Fetch(t.Context(), zone, host, merge.Announcement{}); res.Verdict == Secure {
			t.Errorf("Expected that nothing is secure without DS, got %v", res)
		}
	}
}

func TestRecallTellsReplays(t *testing.T) {
	f := wireFetcher(t, newStage(t, announced()).lab(), false)
	newer := secure(t, f).Announcement
	newer.Inception.CDS = newer.Inception.CDS.Add(time.Hour)
	newer.CDS = nil
	if res := f.Fetch(t.Context(), zone, host, newer); res.Verdict != Stale {
		t.Errorf("Expected %s, got %v", Stale, res)
	}
}

// Whose announcement it is is part of what is remembered: one name may be the
// signaling name of two zones.
func TestFingerprintIsOfOneZoneAndHostAndKey(t *testing.T) {
	f := wireFetcher(t, newStage(t, announced()).lab(), false)
	c, _, h := inHand(t, f)
	if _, err := f.Session().Lookup(t.Context(), signalZone, dns.TypeSOA); err != nil {
		t.Fatal(err)
	}
	s, ok := c.look(h)
	if !ok {
		t.Fatal("Expected answers that could be recalled")
	}
	for _, whose := range [][2]string{
		{"example.co.uk._signal.ns1.", "example.net."}, // of the same signaling name
		{"example.org.", host}, {zone, "ns2.example.net."},
	} {
		other := *c
		other.zone, other.host = whose[0], whose[1]
		if c.fingerprint(s) == other.fingerprint(s) {
			t.Errorf("Expected another fingerprint of what %s announces for %s", other.host, other.zone)
		}
	}
	signed := *s
	signed.makers[1][0] ^= 1
	if c.fingerprint(s) == c.fingerprint(&signed) {
		t.Error("Expected another fingerprint of what another key signed")
	}
}

// A host that has no zone for its signaling domain signs with one above. That there
// still is none is asked for each time.
func TestRecallLooksForTheSigningZone(t *testing.T) {
	s := newStage(t, announced())
	s.inZone()
	old := s.lab()
	f := wireFetcher(t, old, false)
	secure(t, f)
	if !recalls(t, f) {
		t.Error("Expected that it is recalled where there is no zone between")
	}
	l := newStage(t, "").lab()
	l.Tamper(owner, 0, func(m *dns.Msg) *dns.Msg {
		was, err := old.Exchange(t.Context(), owner, m.Question[0].Qtype, true)
		if err != nil {
			t.Error(err)
		}
		m.Rcode, m.Answer, m.Ns = was.Rcode, was.Answer, nil
		return m
	})
	later := wireFetcher(t, l, false)
	later.known = f.known
	if _, err := later.Session().Lookup(t.Context(), "example.net.", dns.TypeSOA); err != nil {
		t.Fatal(err)
	}
	if recalls(t, later) {
		t.Error("Expected that it is not recalled where there is a zone between")
	}
}

// TestNoOctetIsOverlooked changes each octet of each answer: what is recalled then
// has to be what a judgement finds.
func TestNoOctetIsOverlooked(t *testing.T) {
	f := wireFetcher(t, newStage(t, dnskeys(zsk, ksk)+cdnskeys(ksk)+cdss(dns.SHA256, ksk)).lab(), true)
	want := secure(t, f).Announcement
	c, r, h := inHand(t, f)
	recalledAny := 0
	for i, qtype := range types {
		q := &h.questions[i]
		octets := slices.Clone(q.octets)
		for at := 2; at < len(octets); at++ {
			for bit := range 8 {
				q.octets = slices.Clone(octets)
				q.octets[at] ^= 1 << bit
				got, ok := recalled(t, c, r, h)
				if !ok || fits(q.octets, q.asked, false) != nil {
					continue
				}
				recalledAny++
				m, err := readAnswer(q.octets, q.asked)
				if err != nil {
					t.Fatalf("%s, octet %d: recalled, but no answer: %v", dns.Type(qtype), at, err)
				}
				m.Question[0].Name = owner
				judged, err := f.Session().Check(t.Context(), m, owner, qtype)
				if err != nil || judged.Status != validate.Secure || !same(got.Announcement, want) {
					t.Fatalf("%s, octet %d: recalled as %v, but judged %v, %v", dns.Type(qtype), at, got, judged, err)
				}
			}
		}
		q.octets = octets
	}
	if recalledAny == 0 {
		t.Error("Expected that a change of a TTL does not matter")
	}
}

// What is in hand is remembered only if it is what was judged.
func TestRememberedIsWhatWasJudged(t *testing.T) {
	type judged struct {
		h        *hand
		a        merge.Announcement
		answers  []answer
		expected bool
	}
	for name, edit := range map[string]func(j *judged){
		"as it was":             func(j *judged) { j.expected = true },
		"another key signed":    func(j *judged) { j.answers[1].result.Key[0] ^= 1 },
		"another signature":     func(j *judged) { j.answers[1].result.Sig.Signature = "AAAA" },
		"no signature":          func(j *judged) { j.answers[1].result.Sig = nil },
		"another announcement":  func(j *judged) { j.a.CDS = nil },
		"of another inception":  func(j *judged) { j.a.Inception.CDS = now },
		"of another TTL":        func(j *judged) { j.a.TTL++ },
		"other answers came in": func(j *judged) { j.h.taken[2].Store(false) },
	} {
		t.Run(name, func(t *testing.T) {
			f := wireFetcher(t, newStage(t, announced()).lab(), false)
			c, r, h := inHand(t, f)
			r.hand = h
			s := f.validator.Session(r)
			j := &judged{h: h, answers: c.lookup(t.Context(), func(ctx context.Context, qtype uint16) (validate.Result, error) {
				return s.Lookup(ctx, owner, qtype)
			})}
			j.a = assemble(j.answers, c.at)
			edit(j)
			seen, ok := c.look(h)
			if !ok {
				t.Fatal("Expected answers that could be recalled")
			}
			c.remember(h, seen, j.a, j.answers)
			if _, ok := c.recall(t.Context(), r, seen); ok != j.expected {
				t.Errorf("Expected recalled %t, got %t", j.expected, ok)
			}
		})
	}
}

// FuzzGlance holds that what is seen of an answer at a glance is what reading finds.
func FuzzGlance(f *testing.F) {
	asked := packQuestion(owner, dns.TypeDNSKEY, true)
	h := &hand{owner: owner, name: bytes.Clone(name(asked))}
	set := []dns.RR{merge.KeyOf(zsk.DNSKEY).DNSKEY(owner, 3600), merge.KeyOf(ksk.DNSKEY).DNSKEY(owner, 60)}
	sig := &dns.RRSIG{
		Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeRRSIG, Class: dns.ClassINET, Ttl: 60}, TypeCovered: dns.TypeDNSKEY, Algorithm: 13, Labels: 8,
		OrigTtl: 3600, Inception: 1, Expiration: 2, KeyTag: 3, SignerName: signalZone, Signature: "AAAA",
	}
	for _, compress := range []bool{true, false} {
		m := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true}, Compress: compress, Answer: append(set, sig)}
		m.Question = []dns.Question{{Name: owner, Qtype: dns.TypeDNSKEY, Qclass: dns.ClassINET}}
		m.SetEdns0(ednsSize, true)
		p, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if fits(p, asked, false) != nil {
			return
		}
		g, ok := h.glance(p, dns.TypeDNSKEY)
		m, err := readAnswer(p, asked)
		if !ok || err != nil {
			return
		}
		var keys, seen []merge.Key
		var first *dns.RRSIG
		for _, rr := range m.Answer {
			if dns.CanonicalName(rr.Header().Name) != owner {
				t.Fatalf("Expected records of the name only, got %v", rr)
			}
			switch rr := rr.(type) {
			case *dns.DNSKEY:
				keys = append(keys, merge.KeyOf(rr))
			case *dns.RRSIG:
				if first == nil {
					first = rr
				}
			}
		}
		for _, rdata := range g.rdatas {
			if len(rdata) < 4 {
				return
			}
			seen = append(seen, keyIn(rdata))
		}
		if !slices.Equal(keys, seen) {
			t.Fatalf("Expected %v, got %v", keys, seen)
		}
		got := g.sig
		got.Hdr, got.Signature = first.Hdr, first.Signature
		if !reflect.DeepEqual(&got, first) {
			t.Fatalf("Expected %v, got %v", first, &got)
		}
	})
}
