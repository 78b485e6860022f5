package lifecycle

import (
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/observe"
)

const (
	zoneName = "example.co.uk."
	a1       = "ns1.example.net." // ours
	b1       = "ns1.example.org."
	c1       = "ns1.example.com."
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// key returns a distinct key for each seed.
func key(flags uint16, algorithm uint8, seed byte) merge.Key {
	public := sha512.Sum512([]byte{byte(flags), algorithm, seed})
	return merge.Key{Flags: flags, Protocol: 3, Algorithm: algorithm, PublicKey: base64.StdEncoding.EncodeToString(public[:])}
}

func ksk(seed byte) merge.Key { return key(257, dns.ECDSAP256SHA256, seed) }
func zsk(seed byte) merge.Key { return key(256, dns.ECDSAP256SHA256, seed) }

func digest(k merge.Key) merge.DS {
	d, _ := k.DS(zoneName, dns.SHA256)
	return d
}

func digests(ks ...merge.Key) []merge.DS {
	var ds []merge.DS
	for _, k := range ks {
		ds = append(ds, digest(k))
	}
	return ds
}

// life is a zone of a test: what is configured, known and remembered.
type life struct {
	t    *testing.T
	c    Config
	s    State
	f    Facts
	last Look
	now  time.Time
}

// newLife returns a zone of ours (a1, keys 1) and of b1 (keys 2), both in the
// target and in no NS RRset but ours, with b1's announcement known.
func newLife(t *testing.T) *life {
	z := &life{t: t, now: epoch, c: Config{Zone: zoneName, Own: []string{a1}, RefreshMin: time.Minute, RefreshMax: time.Hour, TTL: time.Hour, MaxZoneTTL: 24 * time.Hour}}
	z.f = Facts{
		Began: epoch, Read: true, Target: []string{a1, b1}, NS: []string{a1}, NSTTL: 2 * time.Hour,
		Joint:   merge.Joint{CDNSKEY: []merge.Key{ksk(1), ksk(2)}, CDS: digests(ksk(1), ksk(2)), DNSKEY: []merge.Key{ksk(1), zsk(1), zsk(2)}},
		Serving: true, Peers: []string{b1},
		Keys: []OwnKey{{Key: ksk(1), Published: epoch}, {Key: zsk(1), SignsData: true, Published: epoch}},
	}
	return z
}

// good is what hosts show that serve the joint sets.
func (z *life) good(hosts ...string) Look {
	l := Look{At: z.now}
	for _, h := range hosts {
		l.Seen = append(l.Seen, Seen{Host: h, KeyTTL: time.Hour, Keys: []merge.Key{ksk(1), zsk(1), zsk(2)}, NS: z.f.NS, NSTTL: z.f.NSTTL})
	}
	return l
}

// spoil lets a host show something else.
func (l Look) spoil(host string, edit func(*Seen)) Look {
	l.Seen = slices.Clone(l.Seen)
	for i := range l.Seen {
		if l.Seen[i].Host == host {
			edit(&l.Seen[i])
		}
	}
	return l
}

func lacks(s *Seen)  { s.Lacks = []string{s.Host + ": its DNSKEY lacks a key"} }
func silent(s *Seen) { *s = Seen{Host: s.Host, Silent: true, Why: s.Host + ": no answer"} }

// parent is a reading of DS and NS.
func (z *life) parent(ds []merge.DS, ns ...string) Parent {
	p := Parent{At: z.now, DSFrom: z.now, DSStatus: observe.DSPresent, DS: ds, DSTTL: 24 * time.Hour, NSRead: true, NS: ns, NSTTL: 48 * time.Hour}
	if len(ds) == 0 {
		p.DSStatus = observe.DSDenied
	}
	return p
}

func (z *life) pass(d time.Duration) *life {
	z.now = z.now.Add(d)
	return z
}

// until lets the time pass until then, with readings every hour before it.
func (z *life) until(then time.Time, readings func() (Parent, Look)) *life {
	for z.now.Add(time.Hour).Before(then) {
		z.pass(time.Hour).read(readings())
	}
	z.now = then
	return z
}

// read advances the zone by readings of the parent and of the nameservers.
func (z *life) read(p Parent, l Look) *life {
	z.s = Advance(z.c, z.s, z.f, p, l, z.now)
	z.f.Former = z.f.Joint
	if !l.At.IsZero() {
		z.last = l
	}
	return z
}

func (z *life) report() Report { return ReportOf(z.c, z.s, z.f, z.last, z.now) }

func (z *life) expect(p Phase, waits ...string) {
	z.t.Helper()
	r := z.report()
	if r.Phase != p {
		z.t.Fatalf("Expected phase %s at %v, got %s", p, z.now.Sub(epoch), r)
	}
	for _, text := range waits {
		if !strings.Contains(strings.Join(r.Waits, "\n"), text) {
			z.t.Errorf("Expected it to wait for %q, got %s", text, r)
		}
	}
}

func (z *life) expectKept(host string, kept bool) {
	z.t.Helper()
	if got := z.s.host(host) != nil; got != kept {
		z.t.Errorf("Expected %s to be kept %v at %v, got %v: %s", host, kept, z.now.Sub(epoch), got, z.report())
	}
}

var errTest = errors.New("no answer")
