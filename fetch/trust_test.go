package fetch

import (
	"context"
	"errors"
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

// network has several resolvers, by address; each is the lab's with a fault.
type network struct {
	l *lab.Lab

	mu     sync.Mutex
	faults map[string]lab.Tamper
	asked  map[string]int
}

func (n *network) roundTrip(ctx context.Context, r Resolver, _ bool, q *dns.Msg) (*dns.Msg, error) {
	n.mu.Lock()
	fault := n.faults[r.Addr.Addr().String()]
	n.asked[r.Addr.Addr().String()]++
	n.mu.Unlock()
	m, err := transport(n.l)(ctx, r, false, q)
	if err == nil && fault != nil {
		m = fault(m)
	}
	if m == nil {
		return nil, errTimeout
	}
	return m, err
}

// took returns how often the resolver was asked since the last call.
func (n *network) took(addr string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	asked := n.asked[addr]
	n.asked[addr] = 0
	return asked
}

const first, second = "192.0.2.1", "192.0.2.2"

// newNetwork returns a network of a faulty first resolver and a good second.
func newNetwork(t *testing.T, fault lab.Tamper, o Options) (*network, *Fetcher) {
	t.Helper()
	l := newStage(t, announced()).lab()
	n := &network{l: l, faults: map[string]lab.Tamper{first: fault}, asked: make(map[string]int)}
	f := labFetcher(t, l, o, first, second)
	f.client.roundTrip = n.roundTrip
	return n, f
}

func garble(m *dns.Msg) *dns.Msg {
	return lab.Each(dns.TypeDNSKEY, func(rr dns.RR) { rr.(*dns.DNSKEY).Flags ^= 2 })(m)
}

func TestUnfitResolverIsReportedAndNotUsed(t *testing.T) {
	faults := map[string]lab.Tamper{
		"strips signatures": lab.StripSignatures,
		"is silent":         lab.Timeout,
		"SERVFAIL":          lab.Rcode(dns.RcodeServerFailure),
		"REFUSED":           lab.Rcode(dns.RcodeRefused),
		"garbles keys":      garble,
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			var unfit []Resolver
			clock := now
			n, f := newNetwork(t, fault, Options{Now: func() time.Time { return clock }, Unfit: func(r Resolver, why error) {
				if why == nil {
					t.Error("Expected a reason, got none")
				}
				unfit = append(unfit, r)
			}})
			for range 2 {
				if res := f.Fetch(t.Context(), zone, host, merge.Announcement{}); res.Verdict != Secure {
					t.Fatalf("Expected secure, got %s: %s", res.Verdict, res.Reason)
				}
			}
			if probes := n.took(first); probes > 2 {
				t.Errorf("Expected the probe only, got %d questions", probes)
			}
			clock = clock.Add(distrustLife)
			f.Fetch(t.Context(), zone, host, merge.Announcement{})
			if probes := n.took(first); probes == 0 {
				t.Error("Expected another probe, got none")
			}
			if len(unfit) != 1 || unfit[0] != f.client.resolvers[0] {
				t.Errorf("Expected one report of %s, got %v", first, unfit)
			}
		})
	}
}

func TestNoFitResolverIsUnreachableAndSaysWhy(t *testing.T) {
	n, f := newNetwork(t, lab.StripSignatures, Options{})
	n.faults[second] = lab.Rcode(dns.RcodeRefused)
	res := f.Fetch(t.Context(), zone, host, merge.Announcement{})
	if res.Verdict != Unreachable {
		t.Fatalf("Expected unreachable, got %s: %s", res.Verdict, res.Reason)
	}
	for _, want := range []string{first + ":53: ", "no RRSIG", second + ":53: ", "REFUSED"} {
		if !strings.Contains(res.Reason, want) {
			t.Errorf("Expected a reason with %q, got %q", want, res.Reason)
		}
	}
	_, err := f.Exchange(t.Context(), zone, dns.TypeSOA, true)
	var none *NoResolverError
	if !errors.As(err, &none) || len(none.Errs) != 2 {
		t.Errorf("Expected a NoResolverError about 2, got %v", err)
	}
}

func TestResolversAreProbedAgainAfterAWhile(t *testing.T) {
	clock := now
	n, f := newNetwork(t, lab.StripSignatures, Options{Now: func() time.Time { return clock }})
	ask := func(want string) {
		t.Helper()
		n.took(first)
		n.took(second)
		if _, err := f.Exchange(t.Context(), host, dns.TypeA, true); err != nil {
			t.Fatal(err)
		}
		if got := n.took(first); (got > 0) != strings.Contains(want, "1") {
			t.Errorf("Expected %s to be asked, the first got %d questions", want, got)
		}
		if got := n.took(second); (got > 0) != strings.Contains(want, "2") {
			t.Errorf("Expected %s to be asked, the second got %d questions", want, got)
		}
	}
	ask("1 and 2") // both probed
	ask("2")
	clock = clock.Add(distrustLife)
	ask("1 and 2") // the first still unfit
	n.faults[first] = nil
	clock = clock.Add(distrustLife)
	ask("2") // the second time is twice as long
	clock = clock.Add(distrustLife)
	ask("1") // fit again, and before the second
	n.faults[first] = lab.StripSignatures
	clock = clock.Add(trustLife)
	ask("1 and 2")
}

func TestFailingResolverDoesNotEndTheFetch(t *testing.T) {
	below := func(fault lab.Tamper) lab.Tamper {
		return func(m *dns.Msg) *dns.Msg {
			if m.Question[0].Name == "." {
				return m // passes the probe
			}
			return fault(m)
		}
	}
	for name, fault := range map[string]lab.Tamper{
		"silence":  lab.Timeout,
		"SERVFAIL": lab.Rcode(dns.RcodeServerFailure),
		"REFUSED":  lab.Rcode(dns.RcodeRefused),
	} {
		t.Run(name, func(t *testing.T) {
			n, f := newNetwork(t, below(fault), Options{})
			if res := f.Fetch(t.Context(), zone, host, merge.Announcement{}); res.Verdict != Secure {
				t.Fatalf("Expected secure, got %s: %s", res.Verdict, res.Reason)
			}
			n.faults[second] = below(fault)
			res := f.Fetch(t.Context(), zone, host, merge.Announcement{})
			if res.Verdict != Unreachable || !strings.Contains(res.Reason, first) || !strings.Contains(res.Reason, second) {
				t.Errorf("Expected unreachable for what both did, got %s: %s", res.Verdict, res.Reason)
			}
		})
	}
}

func TestSilentResolverIsAskedAgainByTCP(t *testing.T) {
	for _, lost := range []string{"", owner} { // all datagrams, or the large ones: fragments get lost
		l := newStage(t, announced()).lab()
		f := labFetcher(t, l, Options{})
		lossy := transport(l)
		f.client.roundTrip = func(ctx context.Context, r Resolver, stream bool, q *dns.Msg) (*dns.Msg, error) {
			if !stream && (lost == "" || q.Question[0].Name == lost) {
				return nil, errTimeout
			}
			return lossy(ctx, r, stream, q)
		}
		if res := f.Fetch(t.Context(), zone, host, merge.Announcement{}); res.Verdict != Secure {
			t.Errorf("Expected secure where %q is lost, got %s: %s", lost, res.Verdict, res.Reason)
		}
	}
}

func TestResolverThatIsSilentByUDPIsAskedByTCPFromThenOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newStage(t, announced()).lab()
		f := labFetcher(t, l, Options{})
		good := transport(l)
		f.client.roundTrip = func(ctx context.Context, r Resolver, stream bool, q *dns.Msg) (*dns.Msg, error) {
			if !stream {
				ctx, cancel := context.WithTimeout(ctx, defaultTry)
				defer cancel()
				<-ctx.Done()
				return nil, errTimeout
			}
			return good(ctx, r, stream, q)
		}
		start := time.Now()
		if res := f.Fetch(t.Context(), zone, host, merge.Announcement{}); res.Verdict != Secure {
			t.Errorf("Expected secure, got %s: %s", res.Verdict, res.Reason)
		}
		if took := time.Since(start); took > defaultTry {
			t.Errorf("Expected to wait for one datagram, took %s", took)
		}
	})
}

func TestRefusingResolverIsAskedOnce(t *testing.T) {
	n, f := newNetwork(t, nil, Options{})
	n.l.Tamper(owner, 0, lab.Rcode(dns.RcodeServerFailure))
	if _, err := f.Exchange(t.Context(), ".", dns.TypeSOA, true); err != nil {
		t.Fatal(err)
	}
	n.took(first)
	if _, err := f.Exchange(t.Context(), owner, dns.TypeCDS, true); err == nil {
		t.Fatal("Expected an error, got none")
	}
	if asked := n.took(first); asked != 1 {
		t.Errorf("Expected one question, got %d", asked)
	}
}

func TestResolverThatDiesIsGivenUp(t *testing.T) {
	clock := now
	n, f := newNetwork(t, nil, Options{Now: func() time.Time { return clock }})
	ask := func() {
		t.Helper()
		if _, err := f.Exchange(t.Context(), host, dns.TypeA, true); err != nil {
			t.Fatal(err)
		}
	}
	ask()
	n.faults[first] = lab.Timeout
	clock = clock.Add(distrustLife)
	ask()
	ask()
	n.took(first)
	ask()
	if asked := n.took(first); asked > 0 {
		t.Errorf("Expected no question to a dead resolver, got %d", asked)
	}
}

func TestResolverIsNotDoubtedForNothing(t *testing.T) {
	clock := now
	n, f := newNetwork(t, nil, Options{Now: func() time.Time { return clock }})
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := f.Exchange(ctx, host, dns.TypeA, true); err != nil {
		t.Fatal(err)
	}
	f.doubt(0) // it passed its probe just now
	if n.took(first); f.standings[0].doubted {
		t.Error("Expected no doubt just after the probe")
	}
	clock = clock.Add(distrustLife)
	n.faults[first] = func(*dns.Msg) *dns.Msg { cancel(); return nil }
	if _, err := f.Exchange(ctx, host, dns.TypeA, true); err == nil || f.standings[0].doubted {
		t.Errorf("Expected no doubt because of a question that was given up, got %v", err)
	}
	f.doubt(0)
	if !f.standings[0].doubted {
		t.Error("Expected doubt")
	}
}

// A first resolver that is down for a day costs a collection now and then, not
// each of them.
func TestDeadResolverIsProbedLessAndLessOften(t *testing.T) {
	clock := now
	n, f := newNetwork(t, lab.Timeout, Options{Now: func() time.Time { return clock }})
	probes := 0
	for range 3600 {
		if _, err := f.Exchange(t.Context(), host, dns.TypeA, true); err != nil {
			t.Fatal(err)
		}
		if n.took(first) > 0 {
			probes++
		}
		clock = clock.Add(time.Second)
	}
	if probes < 10 || probes > 25 {
		t.Errorf("Expected about 19 probes in an hour, got %d", probes)
	}
}

// What a probe said at a time that is still to come is not believed for as long.
func TestAResolverThatRecoveredIsProbedAgainSoon(t *testing.T) {
	var s standing
	for range 10 {
		s.judge(now, errTimeout)
	}
	if !s.lasts(now.Add(time.Minute), false) {
		t.Error("Expected one that failed ten times to be left alone for a minute")
	}
	s.judge(now, nil)
	s.judge(now, errTimeout)
	if s.lasts(now.Add(distrustLife), false) {
		t.Errorf("Expected a probe after %s", distrustLife)
	}
}

func TestAProbeIsOfNoUseWhenTheClockWasSetBack(t *testing.T) {
	clock := now.AddDate(1, 0, 0)
	n, f := newNetwork(t, lab.Timeout, Options{Now: func() time.Time { return clock }})
	n.faults[second] = lab.Timeout
	f.Exchange(t.Context(), host, dns.TypeA, true)
	clock = now
	clear(n.faults)
	if _, err := f.Exchange(t.Context(), host, dns.TypeA, true); err != nil {
		t.Errorf("Expected an answer, got %v", err)
	}
}

// With nobody else to ask, a resolver that is back is found at once.
func TestTheOnlyResolverIsProbedOften(t *testing.T) {
	clock := now
	n, f := newNetwork(t, lab.Timeout, Options{Now: func() time.Time { return clock }})
	n.faults[second] = lab.Timeout
	for range 100 {
		if _, err := f.Exchange(t.Context(), host, dns.TypeA, true); err == nil {
			t.Fatal("Expected an error, got none")
		}
		clock = clock.Add(distrustLife)
	}
	n.faults[second] = nil
	if _, err := f.Exchange(t.Context(), host, dns.TypeA, true); err != nil {
		t.Errorf("Expected an answer, got %v", err)
	}
}

// Peers whose domains are dead make resolvers silent. That must not keep others
// from using them: one probes, the rest go on.
func TestDoubtDoesNotMakeOthersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newStage(t, announced()).lab()
		f := labFetcher(t, l, Options{Now: time.Now}, first)
		f.validator = validate.New(anchors(t, l), validate.Options{Now: func() time.Time { return now }})
		good := transport(l)
		var slow atomic.Bool
		var probes, most atomic.Int32
		f.client.roundTrip = func(ctx context.Context, r Resolver, stream bool, q *dns.Msg) (*dns.Msg, error) {
			if q.Question[0].Name == "." && slow.Load() {
				most.Store(max(most.Load(), probes.Add(1)))
				defer probes.Add(-1)
				time.Sleep(3 * time.Second)
			}
			return good(ctx, r, stream, q)
		}
		ask := func() {
			if _, err := f.Exchange(t.Context(), host, dns.TypeA, true); err != nil {
				t.Error(err)
			}
		}
		ask()
		slow.Store(true)
		time.Sleep(distrustLife)
		f.doubt(0)
		var wg sync.WaitGroup
		wg.Go(ask) // probes
		synctest.Wait()
		began := time.Now()
		for range 50 {
			f.doubt(0)
			ask()
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("Expected no wait, took %s", took)
		}
		wg.Wait()
		if most.Load() != 1 {
			t.Errorf("Expected one probe at a time, got %d", most.Load())
		}
	})
}

func TestFetchEndsInTimeWhateverResolversDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := labFetcher(t, newStage(t, announced()).lab(), Options{Timeout: 10 * time.Second}, first, second)
		f.client.roundTrip = hang
		start := time.Now()
		res := f.Fetch(t.Context(), zone, host, merge.Announcement{})
		if res.Verdict != Unreachable || !strings.Contains(res.Reason, "does not answer in time") {
			t.Errorf("Expected unreachable in time, got %s: %s", res.Verdict, res.Reason)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("Expected an end after 10 s, took %s", took)
		}
	})
}

func TestDeadResolverLeavesTimeForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newStage(t, announced()).lab()
		f := labFetcher(t, l, Options{Timeout: 10 * time.Second}, first, second)
		f.client.roundTrip = func(ctx context.Context, r Resolver, stream bool, q *dns.Msg) (*dns.Msg, error) {
			if r == f.client.resolvers[0] {
				return hang(ctx, r, stream, q)
			}
			return transport(l)(ctx, r, stream, q)
		}
		if res := f.Fetch(t.Context(), zone, host, merge.Announcement{}); res.Verdict != Secure {
			t.Errorf("Expected secure, got %s: %s", res.Verdict, res.Reason)
		}
	})
}

// hang is a roundTrip without an end of its own.
func hang(ctx context.Context, _ Resolver, _ bool, _ *dns.Msg) (*dns.Msg, error) {
	<-ctx.Done()
	return nil, plain(ctx, ctx.Err())
}

func TestPanicBecomesAVerdict(t *testing.T) {
	l := newStage(t, announced()).lab()
	f := labFetcher(t, l, Options{})
	f.client.roundTrip = func(context.Context, Resolver, bool, *dns.Msg) (*dns.Msg, error) { panic("nobody\nexpects") }
	res := f.Fetch(t.Context(), zone, host, merge.Announcement{})
	if res.Verdict != Unreachable || !strings.Contains(res.Reason, "internal error, please report it: nobody expects") {
		t.Errorf("Expected unreachable with the panic, got %s: %s", res.Verdict, res.Reason)
	}
}

func TestBudgetEndsACostlyFetch(t *testing.T) {
	flood := func(m *dns.Msg) *dns.Msg {
		for range 1024 {
			m.Extra = append(m.Extra, &dns.TXT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{"x"}})
		}
		return m
	}
	l := newStage(t, announced()).lab()
	for _, qtype := range []uint16{dns.TypeDNSKEY, dns.TypeDS} {
		l.Tamper("", qtype, flood)
	}
	l.Tamper(owner, 0, flood)
	res := labFetcher(t, l, Options{}).Fetch(t.Context(), zone, host, merge.Announcement{})
	if res.Verdict == Secure {
		t.Errorf("Expected a failure, got %s: %s", res.Verdict, res.Reason)
	}
}
