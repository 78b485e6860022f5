package fetch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/validate"
)

// theater has several resolvers and the host itself, each of which may see
// another hierarchy. All hierarchies have the same keys, but for zones' own.
type theater struct {
	truth *lab.Lab
	views map[string]func(q *dns.Msg) *dns.Msg // by resolver; nil: the truth
	host  func(q *dns.Msg) *dns.Msg            // nil: the truth

	mu    sync.Mutex
	asked []string // who, in the order of the questions
}

func newTheater(t *testing.T) *theater {
	return &theater{truth: newStage(t, announced()).lab(), views: make(map[string]func(*dns.Msg) *dns.Msg)}
}

// of returns what a resolver answers that knows l.
func of(l *lab.Lab, edits ...lab.Tamper) func(q *dns.Msg) *dns.Msg {
	return func(q *dns.Msg) *dns.Msg {
		m, err := transport(l)(context.Background(), Resolver{}, false, q)
		if err != nil {
			return nil
		}
		for _, edit := range edits {
			if m != nil {
				m = edit(m)
			}
		}
		return m
	}
}

// about applies an edit to the answers to questions for a name and type, 0 for
// any.
func about(name string, qtype uint16, edit lab.Tamper) lab.Tamper {
	return func(m *dns.Msg) *dns.Msg {
		if q := m.Question[0]; q.Name == name && (qtype == 0 || q.Qtype == qtype) {
			return edit(m)
		}
		return m
	}
}

// kept has an edit apply to what a resolver gives with CD only: it keeps apart
// what it validated.
func kept(edit lab.Tamper) lab.Tamper {
	return func(m *dns.Msg) *dns.Msg {
		if m.CheckingDisabled {
			return edit(m)
		}
		return m
	}
}

func (th *theater) roundTrip(ctx context.Context, r Resolver, _ bool, q *dns.Msg) (*dns.Msg, error) {
	view, who := th.views[r.Addr.Addr().String()], r.Addr.Addr().String()
	if !q.RecursionDesired {
		view, who = th.host, "host"
	} else if !q.CheckingDisabled {
		who += " without CD"
	}
	th.mu.Lock()
	if !slices.Contains(th.asked, who) {
		th.asked = append(th.asked, who)
	}
	th.mu.Unlock()
	if view == nil {
		view = of(th.truth)
	}
	m := view(q)
	if m == nil {
		ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		<-ctx.Done()
		return nil, errTimeout
	}
	return m, nil
}

// fetcher returns a fetcher that asks resolvers, who all pass their probe.
func (th *theater) fetcher(t *testing.T, resolvers ...string) *Fetcher {
	f := labFetcher(t, th.truth, Options{}, resolvers...)
	f.client.roundTrip = th.roundTrip
	return f
}

const third = "192.0.2.3"

var (
	forge = about(owner, dns.TypeCDS, lab.Each(dns.TypeCDS, func(rr dns.RR) { rr.(*dns.CDS).KeyTag++ }))
	// forgeChain forges what leads to the announcement.
	forgeChain = about(signalZone, dns.TypeDNSKEY, lab.Each(dns.TypeDNSKEY, func(rr dns.RR) { rr.(*dns.DNSKEY).PublicKey = zsk.PublicKey }))
	broken     = about(owner, 0, lab.Rcode(dns.RcodeServerFailure))
	// flood has more records than any answer of use.
	flood = about(owner, dns.TypeCDS, func(m *dns.Msg) *dns.Msg {
		for i := range 600 {
			m.Answer = append(m.Answer, &dns.CDS{DS: dns.DS{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeCDS, Class: dns.ClassINET}, KeyTag: uint16(i), Algorithm: 13, DigestType: 2, Digest: "00"}})
		}
		return m
	})
)

// signedAt returns the hierarchy with these records, signed at that time.
func signedAt(t *testing.T, at time.Time, records string) *lab.Lab {
	s := newStage(t, records)
	s.zones[signalZone].Inception, s.zones[signalZone].Expiration = at, now.AddDate(0, 0, 7)
	return s.lab()
}

func TestOtherWays(t *testing.T) {
	newer := lab.NewKey(zone, dns.ECDSAP256SHA256, 256, "newer")
	newerKSK := lab.NewKey(zone, dns.ECDSAP256SHA256, 257, "newer")
	yesterday, lastWeek := now.AddDate(0, 0, -1), now.AddDate(0, 0, -7)
	all := dnskeys(newer) + cdnskeys(newerKSK) + cdss(dns.SHA256, newerKSK)
	current := func() *lab.Lab { return signedAt(t, yesterday, all) }
	old := func() *lab.Lab { return signedAt(t, lastWeek, announced()) }
	known := newStageResult(t, current())
	mixed := func(records string) *lab.Lab { return signedAt(t, yesterday, records) }

	tests := []struct {
		name      string
		edit      func(th *theater)
		resolvers []string
		known     merge.Announcement
		want      Verdict
		asked     string // in order
		reason    string
	}{
		{"healthy", func(*theater) {}, []string{first, second}, merge.Announcement{}, Secure, first, ""},

		// Forged.
		{"one forged answer, kept with CD only", func(th *theater) { th.views[first] = of(th.truth, kept(forge)) },
			[]string{first, second}, merge.Announcement{}, Secure, first + ", " + first + " without CD", ""},
		{"one forged answer", func(th *theater) { th.views[first] = of(th.truth, forge) },
			[]string{first, second}, merge.Announcement{}, Secure, first + ", " + first + " without CD, " + second, ""},
		{"one forged answer at the only resolver", func(th *theater) { th.views[first] = of(th.truth, forge) },
			[]string{first}, merge.Announcement{}, Secure, first + ", " + first + " without CD, host", ""},
		{"forged, and SERVFAIL without CD", func(th *theater) {
			th.views[first] = func(q *dns.Msg) *dns.Msg {
				if q.CheckingDisabled {
					return of(th.truth, forge)(q)
				}
				return of(th.truth, broken)(q)
			}
		}, []string{first}, merge.Announcement{}, Secure, first + ", " + first + " without CD, host", ""},
		{"forged chain, kept with CD only, at a resolver that refuses the types without CD", func(th *theater) {
			th.views[first] = of(th.truth, func(m *dns.Msg) *dns.Msg {
				if m.CheckingDisabled {
					return forgeChain(m)
				}
				return broken(m)
			})
		}, []string{first}, merge.Announcement{}, Secure, first + ", " + first + " without CD, host", ""},
		{"forged chain at one of two", func(th *theater) { th.views[first] = of(th.truth, forgeChain) },
			[]string{first, second}, merge.Announcement{}, Secure, first + ", " + first + " without CD, " + second, ""},
		{"forged at all", func(th *theater) {
			th.views[first], th.views[second], th.host = of(th.truth, forge), of(th.truth, forge), of(th.truth, forge)
		}, []string{first, second, third}, merge.Announcement{}, Bogus, first + ", " + first + " without CD, " + second + ", " + second + " without CD, host",
			"other ways were no better: without CD: bogus, through 192.0.2.2:53: bogus, from ns1.example.net. itself: bogus"},
		{"forged, and nothing is announced", func(th *theater) {
			th.views[first] = of(th.truth, forge)
			th.views[second] = of(signedAt(t, yesterday, ""))
		}, []string{first, second}, merge.Announcement{}, Absent, first + ", " + first + " without CD, " + second, ""},
		{"forged, and unsigned elsewhere", func(th *theater) {
			s := newStage(t, announced())
			s.zones[signalZone].Unsigned = true
			th.views[first], th.views[second], th.host = of(th.truth, forge), of(s.lab()), of(th.truth, broken)
		}, []string{first, second}, merge.Announcement{}, Bogus, first + ", " + first + " without CD, " + second + ", " + second + " without CD, host", "from ns1.example.net. itself: unreachable"},
		{"an answer that costs too much", func(th *theater) { th.views[first] = of(th.truth, flood) },
			[]string{first, second}, merge.Announcement{}, Secure, first + ", " + second, ""},
		{"answers that cost too much everywhere", func(th *theater) {
			th.views[first], th.views[second], th.views[third], th.host = of(th.truth, flood), of(th.truth, flood), of(th.truth, flood), of(th.truth, flood)
		}, []string{first, second, third}, merge.Announcement{}, Bogus, first + ", " + second + ", " + second + " without CD, host", "more than 512"},

		// Expired.
		{"an expired answer", func(th *theater) {
			s := newStage(t, announced())
			s.zones[signalZone].Inception, s.zones[signalZone].Expiration = lastWeek, yesterday
			th.views[first] = of(s.lab())
		}, []string{first, second}, merge.Announcement{}, Secure, first + ", " + first + " without CD, " + second, ""},

		// Replayed.
		{"an old announcement at one", func(th *theater) { th.truth, th.views[first] = current(), of(old()) },
			[]string{first, second}, known, Secure, first + ", " + second, ""},
		{"an old announcement at the only resolver", func(th *theater) { th.truth, th.views[first] = current(), of(old()) },
			[]string{first}, known, Secure, first + ", host", ""},
		{"an old announcement everywhere", func(th *theater) { th.truth = old() },
			[]string{first, second}, known, Stale, first + ", " + second + ", host", "it is an old announcement (RFC 4034 section 3.1.5); other ways were no better"},
		{"an old announcement, nothing known", func(th *theater) { th.truth = old() },
			[]string{first, second}, merge.Announcement{}, Secure, first, ""},
		{"an old proof that nothing is announced", func(th *theater) {
			th.truth, th.views[first] = current(), of(signedAt(t, lastWeek, owner+" TXT nothing\n"))
		}, []string{first, second}, known, Secure, first + ", " + second, ""},
		{"an old proof that there is no such name, for one type", func(th *theater) {
			th.truth = current()
			gone := signedAt(t, lastWeek, "")
			th.views[first] = of(th.truth, about(owner, dns.TypeCDNSKEY, func(*dns.Msg) *dns.Msg { return answerOf(gone, owner, dns.TypeCDNSKEY) }))
		}, []string{first, second}, known, Secure, first + ", " + second, ""},
		{"an old proof that there is no such name, for one type, everywhere", func(th *theater) {
			th.truth = current()
			gone := signedAt(t, lastWeek, "")
			th.truth.Tamper(owner, dns.TypeCDNSKEY, lab.Replace(answerOf(gone, owner, dns.TypeCDNSKEY)))
		}, []string{first}, known, Refused, first + ", host", "CDNSKEY at " + owner},
		{"an old proof that there is no such name", func(th *theater) {
			th.truth, th.views[first] = current(), of(signedAt(t, lastWeek, ""))
		}, []string{first, second}, known, Secure, first + ", " + second, ""},
		{"an old announcement that is refused", func(th *theater) {
			th.truth, th.views[first] = current(), of(signedAt(t, lastWeek, announced()+owner+" CDS 0 0 0 00\n"))
		}, []string{first, second}, known, Secure, first + ", " + second, ""},
		{"a new announcement that is refused", func(th *theater) {
			th.truth = signedAt(t, now, announced()+owner+" CDS 0 0 0 00\n")
		}, []string{first, second}, known, Refused, first, "sentinel"},
		{"an old proof that the zone is not secure", func(th *theater) {
			s := newStage(t, all)
			s.zones[signalZone].NoDS = true
			th.truth, th.views[first] = current(), of(s.lab())
		}, []string{first, second}, known, Secure, first + ", " + second, ""},
		{"a new proof that nothing is announced", func(th *theater) { th.truth = signedAt(t, now, owner+" TXT nothing\n") },
			[]string{first, second}, known, Absent, first, ""},

		// Caches of different age.
		{"new CDS beside old CDNSKEY", func(th *theater) {
			th.truth, th.views[first] = current(), of(mixed(dnskeys(newer)+cdnskeys(ksk)+cdss(dns.SHA256, newerKSK)))
		}, []string{first, second}, merge.Announcement{}, Secure, first + ", " + second, ""},
		{"no DNSKEY yet", func(th *theater) {
			th.truth, th.views[first] = current(), of(mixed(cdnskeys(newerKSK)+cdss(dns.SHA256, newerKSK)))
		}, []string{first, second}, merge.Announcement{}, Secure, first + ", " + second, ""},
		{"two resolvers of different age, the host knows", func(th *theater) {
			th.truth = current()
			th.views[first], th.views[second] = of(mixed(dnskeys(newer)+cdnskeys(ksk)+cdss(dns.SHA256, newerKSK))), of(mixed(dnskeys(newer)))
		}, []string{first, second}, merge.Announcement{}, Secure, first + ", " + second + ", host", ""},
		{"more resolvers than ways", func(th *theater) {
			th.truth = current()
			for _, addr := range []string{first, second, third, "192.0.2.4", "192.0.2.5"} {
				th.views[addr] = of(mixed(dnskeys(newer)))
			}
		}, []string{first, second, third, "192.0.2.4", "192.0.2.5"}, merge.Announcement{}, Secure, first + ", " + second + ", " + third + ", host", ""},
		{"incomplete everywhere", func(th *theater) { th.truth = mixed(dnskeys(newer)) },
			[]string{first, second}, merge.Announcement{}, Refused, first + ", " + second + ", host", "incomplete: there is DNSKEY, but neither CDS nor CDNSKEY"},

		// No way leads anywhere else where the verdict is the peer's doing.
		{"insecure", func(th *theater) {
			s := newStage(t, announced())
			s.zones[signalZone].Unsigned = true
			th.truth = s.lab()
		}, []string{first, second}, merge.Announcement{}, Insecure, first, ""},
		{"refused", func(th *theater) { th.truth = mixed(announced() + owner + " CDS 0 0 0 00\n") },
			[]string{first, second}, merge.Announcement{}, Refused, first, ""},
		{"absent", func(th *theater) { th.truth = mixed("") }, []string{first, second}, merge.Announcement{}, Absent, first, ""},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			th := newTheater(t)
			tc.edit(th)
			f := th.fetcher(t, tc.resolvers...)
			f.validator = validate.New(anchors(t, th.truth), validate.Options{Now: ticking()})
			res := f.Fetch(t.Context(), zone, host, tc.known)
			if res.Verdict != tc.want || !strings.Contains(res.Why(), tc.reason) {
				t.Errorf("Expected %s with %q, got %s: %s", tc.want, tc.reason, res.Verdict, res.Why())
			}
			// Probes of resolvers come in between.
			if asked := strings.Join(th.asked, ", "); asked != tc.asked {
				t.Errorf("Expected to ask %s, got %s", tc.asked, asked)
			}
			if secure := len(res.Announcement.DNSKEY) > 0; secure != (tc.want == Secure) {
				t.Errorf("Expected keys with secure only, got %v", res.Announcement)
			}
		})
	}
}

// Where several resolvers answered one way, by turns, none was asked for all.
func TestResolversThatAnsweredByTurnsAreAskedAlone(t *testing.T) {
	for _, tc := range []struct {
		answered, fresh, used []int
	}{
		{nil, []int{0, 1, 2}, nil},
		{[]int{0}, []int{1, 2}, []int{0}},
		{[]int{0, 1}, []int{2, 1, 0}, nil},
		{[]int{0, 1, 2}, []int{2, 1, 0}, nil},
	} {
		r := newTheater(t).fetcher(t, first, second, third).route()
		for _, i := range tc.answered {
			r.answered[i].Store(true)
		}
		if fresh, used := r.others(); !slices.Equal(fresh, tc.fresh) || !slices.Equal(used, tc.used) {
			t.Errorf("Answered by %v: Expected %v, then %v, got %v, %v", tc.answered, tc.fresh, tc.used, fresh, used)
		}
	}
}

// A resolver that hands out the same forged or old answer for hours changes
// nothing, and once it is well again, it is believed as before.
func TestOneForgedOrOldAnswerForHours(t *testing.T) {
	yesterday, lastWeek := now.AddDate(0, 0, -1), now.AddDate(0, 0, -7)
	newer, newerKSK := lab.NewKey(zone, dns.ECDSAP256SHA256, 256, "newer"), lab.NewKey(zone, dns.ECDSAP256SHA256, 257, "newer")
	all := dnskeys(newer) + cdnskeys(newerKSK) + cdss(dns.SHA256, newerKSK)
	unsigned := newStage(t, all)
	unsigned.zones[signalZone].NoDS = true
	truth := signedAt(t, yesterday, all)
	one, two := []string{first}, []string{first, second}
	for _, tc := range []struct {
		name      string
		view      func(q *dns.Msg) *dns.Msg
		resolvers [][]string
	}{
		{"forged", of(truth, forge), [][]string{one, two}},
		{"forged chain, with CD only", of(truth, kept(forgeChain)), [][]string{one, two}},
		{"forged chain", of(truth, forgeChain), [][]string{two}},
		{"an old announcement", of(signedAt(t, lastWeek, announced())), [][]string{one, two}},
		{"an old proof that there is no such name", of(signedAt(t, lastWeek, "")), [][]string{one, two}},
		{"an old proof that the zone is not secure", of(unsigned.lab()), [][]string{two}},
	} {
		for _, resolvers := range tc.resolvers {
			t.Run(fmt.Sprintf("%s, %d resolvers", tc.name, len(resolvers)), func(t *testing.T) {
				th := newTheater(t)
				th.truth = truth
				at, tick := now, ticking()
				clock := func() time.Time { return at.Add(tick().Sub(now)) }
				f := th.fetcher(t, resolvers...)
				f.now, f.validator = clock, validate.New(anchors(t, th.truth), validate.Options{Now: clock})
				known := newStageResult(t, th.truth)
				for th.views[first] = tc.view; at.Before(now.Add(6 * time.Hour)); at = at.Add(20 * time.Minute) {
					res := f.Fetch(t.Context(), zone, host, known)
					if res.Verdict != Secure || !slices.Equal(res.Announcement.DNSKEY, []merge.Key{merge.KeyOf(newer.DNSKEY)}) {
						t.Fatalf("After %s: Expected secure, got %s: %s", at.Sub(now), res.Verdict, res.Why())
					}
				}
				delete(th.views, first)
				th.asked = nil
				if res := f.Fetch(t.Context(), zone, host, known); res.Verdict != Secure || slices.Contains(th.asked, "host") {
					t.Errorf("Expected secure, by resolvers alone, got %s: %s, by %v", res.Verdict, res.Why(), th.asked)
				}
			})
		}
	}
}

// ticking returns a clock that goes on by a microsecond each time it is read.
func ticking() func() time.Time {
	var read atomic.Int64
	return func() time.Time { return now.Add(time.Duration(read.Add(1)) * time.Microsecond) }
}

// answerOf returns what l says.
func answerOf(l *lab.Lab, name string, qtype uint16) *dns.Msg {
	q := new(dns.Msg).SetQuestion(name, qtype)
	return of(l)(q)
}

// newStageResult returns the announcement that is collected from l.
func newStageResult(t *testing.T, l *lab.Lab) merge.Announcement {
	t.Helper()
	res := labFetcher(t, l, Options{}).Fetch(t.Context(), zone, host, merge.Announcement{})
	if res.Verdict != Secure {
		t.Fatalf("Expected secure, got %s: %s", res.Verdict, res.Why())
	}
	return res.Announcement
}

// A healthy announcement costs its three questions, and the chain once.
func TestOtherWaysCostAHealthyAnnouncementNothing(t *testing.T) {
	th := newTheater(t)
	f := th.fetcher(t, first, second, third)
	known := newStageResult(t, th.truth)
	for i, want := range []int{10, len(types)} {
		th.truth.Asked()
		f.Fetch(t.Context(), zone, host, known)
		if asked := th.truth.Asked(); len(asked) != want {
			t.Errorf("Collection %d: Expected %d questions, got %d: %v", i, want, len(asked), asked)
		}
	}
}

// A way that hangs leaves time for the next: for all of them, in time.
func TestWaysThatHangLeaveTimeForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newTheater(t)
		f := labFetcher(t, th.truth, Options{}, first, second)
		forged := of(th.truth, forge)
		f.client.roundTrip = func(ctx context.Context, r Resolver, stream bool, q *dns.Msg) (*dns.Msg, error) {
			switch name := q.Question[0].Name; {
			case !q.RecursionDesired:
				return of(th.truth)(q), nil
			case name != owner && r == f.client.resolvers[0], name == ".", name == host:
				return of(th.truth)(q), nil
			case r == f.client.resolvers[0] && q.CheckingDisabled && q.Question[0].Qtype == dns.TypeCDS:
				return forged(q), nil
			default:
				return hang(ctx, r, stream, q)
			}
		}
		start := time.Now()
		if res := f.Fetch(t.Context(), zone, host, merge.Announcement{}); res.Verdict != Secure {
			t.Errorf("Expected secure, got %s: %s", res.Verdict, res.Why())
		}
		if took := time.Since(start); took > DefaultTimeout {
			t.Errorf("Expected an end within %s, took %s", DefaultTimeout, took)
		}
	})
}

// A peer with many addresses, all of which say what does not validate, or say
// nothing, is not asked without end.
func TestFewServersOfAHostAreAsked(t *testing.T) {
	for _, tc := range []struct {
		name string
		host func(l *lab.Lab) func(q *dns.Msg) *dns.Msg
		want int
	}{
		{"forged", func(l *lab.Lab) func(*dns.Msg) *dns.Msg { return of(l, forge) }, maxServers},
		{"refused for what it announces", func(*lab.Lab) func(*dns.Msg) *dns.Msg {
			return of(signedAt(t, now, announced()+owner+" CDS 0 0 0 00\n"))
		}, 1},
		{"silent", func(l *lab.Lab) func(*dns.Msg) *dns.Msg { return of(l, lab.Timeout) }, maxAddresses / 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStage(t, announced())
			for i := range 6 {
				s.zones["example.net."].Records += fmt.Sprintf("ns1 A 192.0.2.%d\n", 10+i)
			}
			l := s.lab()
			servers := make(map[string]bool)
			var mu sync.Mutex
			f := labFetcher(t, l, Options{}, first)
			f.client.roundTrip = func(_ context.Context, r Resolver, _ bool, q *dns.Msg) (*dns.Msg, error) {
				view := of(l, forge)
				if !q.RecursionDesired {
					mu.Lock()
					servers[r.Addr.String()] = true
					mu.Unlock()
					view = tc.host(l)
				}
				if m := view(q); m != nil {
					return m, nil
				}
				return nil, errTimeout
			}
			if res := f.Fetch(t.Context(), zone, host, merge.Announcement{}); res.Verdict != Bogus || len(servers) != tc.want {
				t.Errorf("Expected bogus and %d servers asked, got %s: %s, %d", tc.want, res.Verdict, res.Why(), len(servers))
			}
		})
	}
}

// The direct way goes where a resolver says. That must not be where one
// question reaches many.
func TestAddressesThatAreNoServersAreNotAsked(t *testing.T) {
	s := newStage(t, announced())
	text := "ns1 A 192.0.2.1\n"
	for _, a := range []string{"0.0.0.0", "224.0.0.251", "255.255.255.255", "169.254.169.254"} {
		text = "ns1 A " + a + "\n" + text
	}
	for _, a := range []string{"::", "ff02::fb", "fe80::1", "::ffff:224.0.0.1"} {
		text += "ns1 AAAA " + a + "\n"
	}
	s.zones["example.net."].Records = text
	_, f := directFetcher(t, s, Options{})
	addrs, err := f.Addresses(t.Context(), host)
	if err != nil || fmt.Sprint(addrs) != "[192.0.2.1:53]" {
		t.Errorf("Expected 192.0.2.1 only, got %v, %v", addrs, err)
	}
}
