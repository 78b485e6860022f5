package validate_test

import (
	"context"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// forger is an Exchanger that answers one question with given octets and counts
// what it is asked.
type forger struct {
	*truth
	question dns.Question
	forged   *dns.Msg
	asked    int
}

func (f *forger) Exchange(ctx context.Context, name string, qtype uint16, cd bool) (*dns.Msg, error) {
	f.asked++
	if name == f.question.Name && qtype == f.question.Qtype {
		m := f.forged.Copy()
		m.Question = []dns.Question{{Name: name, Qtype: qtype, Qclass: dns.ClassINET}}
		m.Rcode, m.Truncated = dns.RcodeSuccess, false
		return m, nil
	}
	return f.truth.Exchange(ctx, name, qtype, cd)
}

// FuzzLookup has any octets be the answer to any of the questions that a
// look-up asks: nothing panics, the work is bounded, and nothing is believed
// that no zone signed.
func FuzzLookup(f *testing.F) {
	const bound = 64
	tr := newTruth(f)
	for i, m := range tr.answers {
		wire, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire, uint8(i), uint8(i))
		f.Add(wire, uint8(i+1), uint8(i))
	}
	f.Fuzz(func(t *testing.T, wire []byte, ask, forge uint8) {
		m := new(dns.Msg)
		if m.Unpack(wire) != nil {
			return
		}
		q := questions[int(ask)%len(questions)]
		x := &forger{truth: tr, question: tr.answers[int(forge)%len(tr.answers)].Question[0], forged: m}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // what waits for itself fails
		defer cancel()
		r, err := validator(t, tr.Lab).Lookup(ctx, x, q.Name, q.Qtype)
		if err != nil {
			t.Fatal(err)
		}
		tr.check(t, q, r, false)
		if x.asked > bound {
			t.Errorf("Expected at most %d questions, got %d", bound, x.asked)
		}
	})
}
