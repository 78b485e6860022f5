package validate_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/validate"
)

// What a session may ask for and may cost, whatever it is answered.
const (
	mostQuestions = 96
	mostCost      = 12000
)

// forger is an Exchanger that answers some questions with given messages and
// counts what it is asked.
type forger struct {
	*lab.Lab
	v      *validate.Validator
	forged map[dns.Question]*dns.Msg
	asked  int
}

func (f *forger) Exchange(ctx context.Context, name string, qtype uint16, cd bool) (*dns.Msg, error) {
	f.asked++
	q := dns.Question{Name: name, Qtype: qtype, Qclass: dns.ClassINET}
	if f.forged[q] == nil {
		return f.Lab.Exchange(ctx, name, qtype, cd)
	}
	m := f.forged[q].Copy()
	m.Question, m.Truncated = []dns.Question{q}, false
	return m, nil
}

// lookup asks in a session of its own, which has to end and to stay within its
// bounds.
func (f *forger) lookup(t *testing.T, q dns.Question) (validate.Result, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // what waits for itself fails
	defer cancel()
	s := validate.Forgetful(f.v).Session(f)
	r, err := s.Lookup(ctx, q.Name, q.Qtype)
	if _, apexErr := s.Apex(ctx, q.Name); ctx.Err() != nil {
		t.Fatal(err, apexErr)
	}
	if f.asked > mostQuestions {
		t.Errorf("Expected at most %d questions, got %d", mostQuestions, f.asked)
	}
	if cost := validate.Cost(s); cost > mostCost {
		t.Errorf("Expected a cost of at most %d, got %d", mostCost, cost)
	}
	return r, err
}

// checkSigned fails the test unless the zone that is named as the signer made the
// signature of what was returned.
func checkSigned(t *testing.T, l *lab.Lab, r validate.Result) {
	t.Helper()
	rrs := r.RRset
	if r.Alias != nil {
		rrs = []dns.RR{r.Alias}
	}
	if r.Status != validate.Secure || len(rrs) == 0 {
		return
	}
	byZone := func(k *lab.Key) bool { return r.Sig.Verify(k.DNSKEY, rrs) == nil }
	if z := l.Zone(r.Signer); z == nil || r.Sig == nil || !slices.ContainsFunc(z.Keys, byZone) {
		t.Errorf("Expected a signature by %s, got %v for %v", r.Signer, r.Sig, rrs)
	}
}

// FuzzLookup has any octets be the answer to any two of the questions that a
// look-up asks, DS, DNSKEY and SOA of the chain among them: nothing panics, the
// work is bounded, and nothing is believed that no zone signed.
func FuzzLookup(f *testing.F) {
	tr := newTruth(f)
	v := validator(f, tr.Lab)
	asks := slices.Clone(questions)
	for _, z := range []string{".", "net.", "org.", "example.net.", "example.org.", "compact.net.", signal} {
		for _, qtype := range []uint16{dns.TypeDS, dns.TypeDNSKEY, dns.TypeSOA} {
			if z != "." || qtype != dns.TypeDS {
				asks = append(asks, dns.Question{Name: z, Qtype: qtype})
			}
		}
	}
	var wires [][]byte
	for _, m := range tr.answers {
		wire, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		wires = append(wires, wire)
	}
	for i, wire := range wires {
		f.Add(wire, wires[(i+1)%len(wires)], uint8(i), uint8(i), uint8(i+1))
		f.Add(wire, wires[(i+7)%len(wires)], uint8(i+1), uint8(i), uint8(i+7))
	}
	f.Fuzz(func(t *testing.T, one, other []byte, ask, forgeOne, forgeOther uint8) {
		x := &forger{Lab: tr.Lab, v: v, forged: make(map[dns.Question]*dns.Msg)}
		for i, wire := range [][]byte{one, other} {
			m := new(dns.Msg)
			if m.Unpack(wire) != nil {
				continue
			}
			x.forged[tr.answers[int([]uint8{forgeOne, forgeOther}[i])%len(tr.answers)].Question[0]] = m
		}
		q := asks[int(ask)%len(asks)]
		r, err := x.lookup(t, q)
		if err != nil {
			return // an RCODE
		}
		tr.check(t, q, r, false)
		checkSigned(t, tr.Lab, r)
	})
}

// denialNames are asked for by FuzzDenial, below each of its zones.
var denialNames = []string{"", "ns1.", "none.", "zzz.", "b.deep.", "a.b.deep.", "x.wild.", "x.y.wild.", "closer.wild.", "sub.closer.wild.", "x.closer.wild.",
	"*.wild.", "alias.", "x.wildalias.", "ns1.moved.", "ent.", "x.ent.", "two.a.", "unsigned.", "none.unsigned."}

// FuzzDenial has any of the genuine NSEC, NSEC3 and wildcard records of several
// zones be the answer to any question, in any combination: no name is denied that
// exists, nor made insecure that is not, nor answered from a wildcard that does
// not apply.
func FuzzDenial(f *testing.F) {
	l := hierarchy(f)
	type truth struct {
		question dns.Question
		verdict  want
		data     string
	}
	var truths []truth
	var denials, wildcards [][]dns.RR // each with its RRSIGs
	seen := make(map[string]bool)
	gather := func(section []dns.RR, types ...uint16) (sets [][]dns.RR) {
		for i, rr := range section {
			if !slices.Contains(types, rr.Header().Rrtype) || seen[rr.String()] {
				continue
			}
			seen[rr.String()] = true
			set := []dns.RR{rr}
			for _, sig := range section[i+1:] {
				if sig, ok := sig.(*dns.RRSIG); ok && sig.TypeCovered == rr.Header().Rrtype && sig.Hdr.Name == rr.Header().Name {
					set = append(set, sig)
				}
			}
			sets = append(sets, set)
		}
		return sets
	}
	v := validator(f, l)
	for _, zone := range []string{"example.net.", "example.org.", "compact.net.", "optout.net.", signal} {
		for _, name := range denialNames {
			if zone == "compact.net." && strings.Contains(name, "wild.") {
				continue // the lab's compact denials forget what a wildcard has
			}
			for _, qtype := range []uint16{dns.TypeTXT, dns.TypeDS, dns.TypeA} {
				q := dns.Question{Name: name + zone, Qtype: qtype, Qclass: dns.ClassINET}
				m := ask(f, l, q.Name, qtype)
				r, err := v.Lookup(f.Context(), l, q.Name, qtype)
				if err != nil {
					f.Fatal(err)
				}
				truths = append(truths, truth{q, got(r), texts(r.RRset)})
				denials = append(denials, gather(m.Ns, dns.TypeNSEC, dns.TypeNSEC3)...)
				if r.Wildcard {
					wildcards = append(wildcards, gather(m.Answer, dns.TypeTXT, dns.TypeCNAME)...)
				}
			}
		}
	}
	if len(denials) > 256 || len(wildcards) > 16 || len(wildcards) == 0 {
		f.Fatalf("Expected records that an octet can choose from, got %d and %d", len(denials), len(wildcards))
	}
	for i := range truths {
		f.Add(uint16(i), uint8(i), []byte{byte(i), byte(i + 1), byte(i + 2)})
	}
	f.Fuzz(func(t *testing.T, ask uint16, wildcard uint8, choices []byte) {
		truth := truths[int(ask)%len(truths)]
		m := new(dns.Msg)
		if i := int(wildcard); i < len(wildcards) {
			for _, rr := range wildcards[i] {
				rr = dns.Copy(rr)
				rr.Header().Name = truth.question.Name
				m.Answer = append(m.Answer, rr)
			}
		}
		for _, i := range choices[:min(len(choices), 12)] {
			m.Ns = append(m.Ns, denials[int(i)%len(denials)]...)
		}
		x := &forger{Lab: l, v: v, forged: map[dns.Question]*dns.Msg{truth.question: m}}
		r, err := x.lookup(t, truth.question)
		if err != nil {
			t.Fatal(err)
		}
		verdict := got(r)
		verdict.check = truth.verdict.check
		if r.Status != validate.Bogus && (verdict != truth.verdict || texts(r.RRset) != truth.data) {
			t.Errorf("%s: Expected bogus or %+v, got %+v: %v", truth.question.String(), truth.verdict, got(r), m)
		}
	})
}
