package hostile

import (
	"context"
	"flag"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/validate"
)

// How long one try, and a collection, may take: from peers that can be expected
// to answer, and from those that cannot.
const (
	try, timeout           = 3 * time.Second, 30 * time.Second
	shortTry, shortTimeout = 50 * time.Millisecond, 500 * time.Millisecond
)

// newFetcher returns a Fetcher that knows nothing yet, and asks the resolver at
// addr.
func newFetcher(tb testing.TB, s *server, addr string) *fetch.Fetcher {
	tb.Helper()
	anchors, err := validate.ReadAnchors(anchorFile(tb, s.w.lab))
	if err != nil {
		tb.Fatal(err)
	}
	try, timeout := try, timeout
	if s.w.slow {
		try, timeout = shortTry, shortTimeout
	}
	client, err := fetch.NewClient([]string{addr}, fetch.ClientOptions{Try: try})
	if err != nil {
		tb.Fatal(err)
	}
	return fetch.New(client, anchors, fetch.Options{Timeout: timeout})
}

// maxAsked is how many questions one announcement may take: four ways of 96
// each, and what finds the host's own servers and probes the resolver.
const maxAsked = 4*96 + 16

// manyAtOnce is how many tests run at once: they wait more than they compute.
const manyAtOnce = "8"

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", manyAtOnce); err != nil {
		panic(err)
	}
	m.Run()
}

func collect(ctx context.Context, f *fetch.Fetcher, host string) fetch.Result {
	return f.Fetch(ctx, zone, host, merge.Announcement{})
}

// judge fails the test if the verdict on an attack is not a right one.
func judge(t *testing.T, a attack, r fetch.Result) {
	t.Helper()
	if !slices.Contains(a.allowed, r.Verdict) || strings.Contains(r.Reason, "internal error") {
		t.Errorf("Expected one of %v, got %s: %s", a.allowed, r.Verdict, r.Reason)
	}
	if n := len(r.Announcement.DNSKEY); (r.Verdict == fetch.Secure) != (n == 1) {
		t.Errorf("Expected the announced key if secure only, got %d keys", n)
	}
}

func TestHostileResolver(t *testing.T) {
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			a.arm(w)
			s := serve(t, w)
			judge(t, a, collect(t.Context(), newFetcher(t, s, s.addr()), w.host))
			if n := s.takeAsked(); n > maxAsked {
				t.Errorf("Expected at most %d questions, got %d", maxAsked, n)
			}
		})
	}
}
