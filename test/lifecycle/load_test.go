package lifecycle

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// answerTime is how long a resolver may take. One that waits for a server
	// which is cut off takes long, as resolvers do.
	answerTime = 6 * time.Second

	// attempts are how often a question is asked whose answer failed without a
	// sign that it is bogus: machines that run tests are busy at times.
	attempts = 3

	// maxShown bounds the failures that are shown in full.
	maxShown = 5
)

// question is one for a validating resolver.
type question struct {
	name  string
	qtype uint16
	want  string // rdata that is to be among the answers, "" for none at all
}

// pick returns a random question about the zone.
func pick(rng *rand.Rand) question {
	h := rng.IntN(hosts)
	host := fmt.Sprintf("h%d.%s", h, shared)
	switch rng.IntN(14) {
	case 0:
		return question{shared, dns.TypeTXT, `"the apex"`}
	case 1:
		return question{shared, dns.TypeMX, "10 mail." + shared}
	case 2:
		return question{"mail." + shared, dns.TypeA, "192.0.2.200"}
	case 3:
		return question{"mail." + shared, dns.TypeTXT, `"mail"`}
	case 4:
		return question{host, dns.TypeAAAA, ""}
	case 5, 6:
		return question{fmt.Sprintf("x%d.%s", rng.Uint32(), shared), dns.TypeA, ""}
	case 7:
		return question{shared, dns.TypeSOA, "ns.stage. hostmaster"}
	case 8:
		return question{shared, dns.TypeNS, "ns1."}
	case 9:
		return question{shared, dns.TypeDNSKEY, "25"}
	}
	return question{host, dns.TypeA, fmt.Sprintf("192.0.2.%d", h)}
}

// verdict is what became of a question.
type verdict int

const (
	secure verdict = iota
	bogus          // validation failed
	failed         // no answer, or none that will do, as often as it was asked
	busy           // no answer at first, but then
	verdicts
)

func (v verdict) String() string { return []string{"secure", "bogus", "failed", "busy"}[v] }

// counts are how many questions got which verdict.
type counts [verdicts]int

func (c counts) String() string {
	var parts []string
	for v, n := range c {
		parts = append(parts, fmt.Sprintf("%d %s", n, verdict(v)))
	}
	return strings.Join(parts, ", ")
}

// load asks all resolvers all the time.
type load struct {
	w      *world
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	step  string
	steps []string
	by    map[string]*counts // by step and by resolver
	shown int
}

func (w *world) startLoad() {
	ctx, cancel := context.WithCancel(context.Background())
	w.load = &load{w: w, cancel: cancel, by: make(map[string]*counts)}
	for i, r := range w.resolvers {
		rng := rand.New(rand.NewPCG(w.rng.Uint64(), uint64(i)))
		w.load.wg.Go(func() { w.load.ask(ctx, r, rng) })
		if r.forget != nil {
			w.load.wg.Go(func() { w.load.forget(ctx, r) })
		}
	}
	w.t.Cleanup(w.load.stop)
}

// begin names what happens from now on.
func (l *load) begin(step string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.step = step
	if !slices.Contains(l.steps, step) {
		l.steps = append(l.steps, step)
	}
	l.w.t.Logf("%s === %s", clock(), step)
}

// stop ends the load and reports what was counted.
func (l *load) stop() {
	if l == nil {
		return
	}
	l.cancel()
	l.wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by == nil {
		return
	}
	var all counts
	var b strings.Builder
	for _, step := range l.steps {
		c := l.by["step "+step]
		if c == nil {
			continue
		}
		fmt.Fprintf(&b, "%-40s %s\n", step, c)
		for v, n := range c {
			all[v] += n
		}
	}
	for _, r := range l.w.resolvers {
		fmt.Fprintf(&b, "%-40s %s\n", r.name, l.by[r.name])
	}
	fmt.Fprintf(&b, "%-40s %s\n", "all", all)
	l.w.t.Logf("Answers:\n%s", b.String())
	l.by = nil
}

// total returns how many questions were asked.
func (l *load) total() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, r := range l.w.resolvers {
		if c := l.by[r.name]; c != nil {
			for _, of := range c {
				n += of
			}
		}
	}
	return n
}

func (l *load) count(r *resolver, v verdict) {
	for _, key := range []string{"step " + l.step, r.name} {
		if l.by[key] == nil {
			l.by[key] = new(counts)
		}
		l.by[key][v]++
	}
}

func (l *load) ask(ctx context.Context, r *resolver, rng *rand.Rand) {
	for {
		wait := time.Duration(rng.ExpFloat64() / *rateFlag * float64(time.Second))
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(wait, time.Second)):
		}
		q := pick(rng)
		began := time.Now()
		v, why := judge(r, q)
		l.mu.Lock()
		step := l.step
		l.count(r, v)
		full := v != secure && v != busy && l.shown < maxShown
		if full {
			l.shown++
		}
		l.mu.Unlock()
		switch {
		case v == secure:
		case v == busy:
			l.w.t.Logf("%s busy: %s, %s %s: %s", clock(), r.name, q.name, dns.Type(q.qtype), why)
		default:
			text := fmt.Sprintf("%s %s, seed %d, during %q: %s asked for %s %s: %s", began.UTC().Format("15:04:05.000"), v, *seedFlag, step, r.name, q.name, dns.Type(q.qtype), why)
			if full {
				text += "\nWho served what until " + clock() + ":\n" + l.w.trace.recent(40*time.Second)
			}
			l.w.t.Error(text)
		}
	}
}

func (l *load) forget(ctx context.Context, r *resolver) {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if problem := r.forget(); problem != "" && ctx.Err() == nil {
			l.w.t.Errorf("%s does not forget: %s", r.name, problem)
			return
		}
	}
}

// judge asks a resolver and says what became of the question.
func judge(r *resolver, q question) (v verdict, why string) {
	var all []string
	for range attempts {
		m, err := exchange(r.addr, q.name, q.qtype, answerTime)
		problem := q.problem(m, err)
		if problem == "" {
			if len(all) > 0 {
				return busy, strings.Join(all, "; ")
			}
			return secure, ""
		}
		all = append(all, problem)
		if complaint := r.complaint(); complaint != "" || accused(m) {
			return bogus, strings.Join(all, "; ") + "\n" + r.unchecked(q) + "\n" + complaint
		}
		if err == nil && m.Rcode == dns.RcodeSuccess {
			return failed, fmt.Sprintf("%s\n%v", strings.Join(all, "; "), m) // it was answered, wrongly
		}
	}
	return failed, strings.Join(all, "; ") + "\n" + r.unchecked(q)
}

// unchecked says what the resolver answers without validation.
func (r *resolver) unchecked(q question) string {
	m, err := exchange(r.addr, q.name, q.qtype, answerTime, func(m *dns.Msg) { m.CheckingDisabled = true })
	if err != nil {
		return "With CD: " + err.Error()
	}
	return "With CD: " + m.String()
}

// problem returns what is wrong with an answer, "" if nothing is.
func (q question) problem(m *dns.Msg, err error) string {
	if err != nil {
		return err.Error()
	}
	nothing := m.Rcode == dns.RcodeNameError || m.Rcode == dns.RcodeSuccess
	for _, rr := range m.Answer {
		if rr.Header().Rrtype != q.qtype {
			continue
		}
		nothing = false
		if q.want != "" && strings.Contains(rr.String(), q.want) && m.AuthenticatedData {
			return ""
		}
	}
	switch {
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return dns.RcodeToString[m.Rcode] + errorsIn(m)
	case !m.AuthenticatedData:
		return "not validated"
	case nothing && q.want == "":
		return ""
	}
	return "another answer than " + q.want
}

// errorsIn returns the extended errors of an answer (RFC 8914).
func errorsIn(m *dns.Msg) string {
	text := ""
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok {
				text += fmt.Sprintf(" (%d %s %s)", e.InfoCode, dns.ExtendedErrorCodeToString[e.InfoCode], e.ExtraText)
			}
		}
	}
	return text
}

// accused reports whether the resolver says that validation failed.
func accused(m *dns.Msg) bool {
	if m == nil || m.IsEdns0() == nil {
		return false
	}
	for _, o := range m.IsEdns0().Option {
		if e, ok := o.(*dns.EDNS0_EDE); ok && e.InfoCode >= dns.ExtendedErrorCodeUnsupportedDNSKEYAlgorithm && e.InfoCode <= dns.ExtendedErrorCodeNSECMissing &&
			e.InfoCode != dns.ExtendedErrorCodeStaleAnswer && e.InfoCode != dns.ExtendedErrorCodeForgedAnswer {
			return true
		}
	}
	return false
}
