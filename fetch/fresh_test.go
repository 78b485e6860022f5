package fetch

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/merge"
)

// What resolvers keep is older than what the host's servers have, and the host
// may not be heard.
func TestFreshAnswersComeFromTheHostItself(t *testing.T) {
	newer := lab.NewKey(zone, dns.ECDSAP256SHA256, 256, "newer")
	newerKSK := lab.NewKey(zone, dns.ECDSAP256SHA256, 257, "newer")
	current := signedAt(t, now.AddDate(0, 0, -1), dnskeys(newer)+cdnskeys(newerKSK)+cdss(dns.SHA256, newerKSK))
	for _, tc := range []struct {
		name string
		host func(q *dns.Msg) *dns.Msg
		want *lab.Key
		then bool // the resolver is asked for the announcement, too
	}{
		{"newer", of(current), newer, false},
		{"the same", nil, zsk, false},
		{"silent", func(*dns.Msg) *dns.Msg { return nil }, zsk, true},
		{"forged", of(current, forge), zsk, true},
		{"refused", of(current, broken), zsk, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			th := newTheater(t)
			th.host = tc.host
			var mu sync.Mutex // questions are asked side by side
			var asked []string
			resolver := of(th.truth)
			th.views[first] = func(q *dns.Msg) *dns.Msg {
				mu.Lock()
				defer mu.Unlock()
				asked = append(asked, q.Question[0].Name)
				return resolver(q)
			}
			began := time.Now()
			res := th.fetcher(t, first).FetchFresh(t.Context(), zone, host, merge.Announcement{})
			if res.Verdict != Secure || res.Announcement.DNSKEY[0] != merge.KeyOf(tc.want.DNSKEY) || res.Zone != zone || res.Host != host || res.At.IsZero() {
				t.Errorf("%s: expected key %d, got %+v", tc.name, tc.want.DNSKEY.KeyTag(), res)
			}
			if then := slices.ContainsFunc(asked, func(name string) bool { return strings.EqualFold(name, owner) }); then != tc.then {
				t.Errorf("%s: expected the resolver to be asked for the announcement: %v", tc.name, tc.then)
			}
			if took := time.Since(began); took > DefaultTimeout {
				t.Errorf("%s: expected an end within %s, took %s", tc.name, DefaultTimeout, took)
			}
		})
	}
	if res := newTheater(t).fetcher(t, first).FetchFresh(t.Context(), zone, "ns1."+zone, merge.Announcement{}); res.Verdict != Refused {
		t.Errorf("Expected a host that cannot announce to be refused, got %+v", res)
	}
}
