// Package lab builds a signed DNS hierarchy in memory, for tests: zones with
// keys, delegations, NSEC, NSEC3 or compact denial, and a recursive resolver
// that answers for all of them, whose answers a test can tamper with.
//
//	l := lab.New(t, now)
//	l.Add(lab.Zone{Name: "."})
//	l.Add(lab.Zone{Name: "net."})
//	l.Add(lab.Zone{Name: "example.net.", Denial: lab.NSEC3, Records: `
//	ns1   A   192.0.2.1
//	*.w   TXT "wild"`})
//	m, err := l.Exchange(ctx, "ns1.example.net.", dns.TypeA, true)
//
// A delegation, with DS unless the child is Unsigned or NoDS, appears in the
// closest enclosing zone by itself. Keys are the same in every run. Nothing here
// is fit for production. [Zone.Signed] is a zone for a real server.
//
// # Limitations
//
// Names are plain ASCII without escapes. A resolver is one machine that knows
// everything: it has no cache, and gives TTLs as the zones have them.
package lab

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// ErrTimeout is what Exchange returns when a [Tamper] swallowed the answer.
var ErrTimeout = errors.New("lab: no answer")

// Tamper changes a resolver's answer before it is returned. It may change m in
// place; nil means that no answer arrives.
type Tamper func(m *dns.Msg) *dns.Msg

// Lab is a DNS hierarchy and the resolver that knows it. Its methods may be
// called concurrently.
type Lab struct {
	t testing.TB

	mu      sync.Mutex
	now     time.Time
	zones   map[string]*Zone
	tampers []tamper
	asked   []dns.Question
}

type tamper struct {
	name  string
	qtype uint16
	edit  Tamper
}

// New returns an empty hierarchy whose signatures are made at now.
func New(t testing.TB, now time.Time) *Lab {
	return &Lab{t: t, now: now, zones: make(map[string]*Zone)}
}

// Add adds a zone, or replaces the one of that name, and returns it. The zone's
// fields may be changed until it is first asked.
func (l *Lab) Add(z Zone) *Zone {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	z.Name = dns.CanonicalName(z.Name)
	z.lab = l
	if err := z.init(); err != nil {
		l.t.Fatalf("lab: zone %q: %v", z.Name, err)
	}
	l.zones[z.Name] = &z
	l.forget()
	return &z
}

// Zone returns the zone of that name, or nil.
func (l *Lab) Zone(name string) *Zone {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.zones[dns.CanonicalName(name)]
}

// Remove removes the zone of that name, and with it the delegation.
func (l *Lab) Remove(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.zones, dns.CanonicalName(name))
	l.forget()
}

// SetTime moves the clock that signatures are made by; all are made anew.
func (l *Lab) SetTime(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = now
	l.forget()
}

// forget drops everything that was derived from the zones' fields.
func (l *Lab) forget() {
	for _, z := range l.zones {
		z.built = nil
	}
}

// Tamper edits the answers to the questions for that name and type, from now
// on. The name "" stands for any name, the type 0 for any type.
func (l *Lab) Tamper(name string, qtype uint16, edit Tamper) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if name != "" {
		name = dns.CanonicalName(name)
	}
	l.tampers = append(l.tampers, tamper{name, qtype, edit})
}

// Untamper takes all edits away.
func (l *Lab) Untamper() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tampers = nil
}

// Asked returns the questions Exchange was asked so far, and starts a new list.
func (l *Lab) Asked() []dns.Question {
	l.mu.Lock()
	defer l.mu.Unlock()
	asked := l.asked
	l.asked = nil
	return asked
}

// Anchors returns the root's secure-entry keys as DS records, one a line: the
// contents of a trust anchor file.
func (l *Lab) Anchors() string { return l.AnchorsOf(".") }

// AnchorsOf is [Lab.Anchors] for another zone.
func (l *Lab) AnchorsOf(zone string) string {
	var text string
	for _, ds := range l.Zone(zone).DS() {
		text += ds.String() + "\n"
	}
	return text
}

// Exchange answers as a recursive resolver does that was asked with RD and DO.
func (l *Lab) Exchange(ctx context.Context, name string, qtype uint16, cd bool) (*dns.Msg, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	q := new(dns.Msg)
	q.SetQuestion(dns.Fqdn(name), qtype)
	q.SetEdns0(4096, true)
	q.CheckingDisabled = cd
	m := l.answer(q)
	if m == nil {
		return nil, ErrTimeout
	}
	return m, nil
}

// answer resolves q's question and applies the edits.
func (l *Lab) answer(q *dns.Msg) *dns.Msg {
	l.mu.Lock()
	question := q.Question[0]
	l.asked = append(l.asked, question)
	m := l.resolve(question)
	tampers := slices.Clone(l.tampers)
	l.mu.Unlock()

	rcode := m.Rcode
	m.SetReply(q)
	m.Rcode = rcode
	m.RecursionAvailable = true
	m.CheckingDisabled = q.CheckingDisabled
	m.SetEdns0(4096, true)

	name := dns.CanonicalName(question.Name)
	for _, t := range tampers {
		if (t.name == "" || t.name == name) && (t.qtype == 0 || t.qtype == question.Qtype) {
			if m = t.edit(m); m == nil {
				return nil
			}
		}
	}
	return m
}
