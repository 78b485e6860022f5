package validate

import (
	"sync"

	"github.com/miekg/dns"
)

// budget counts what a session has cost so far.
type budget struct {
	mu        sync.Mutex
	questions int
	records   int
	octets    int
	checks    int // signatures verified
}

// ask counts a question.
func (b *budget) ask(name string, qtype uint16) *Error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.questions++; b.questions > maxQuestions {
		return exceeded(name, qtype, "%d questions", maxQuestions)
	}
	return nil
}

// read counts an answer.
func (b *budget) read(m *dns.Msg, name string, qtype uint16) *Error {
	records, octets := len(m.Answer)+len(m.Ns)+len(m.Extra), m.Len()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.records += records
	b.octets += octets
	switch {
	case b.records > maxRecordsTotal:
		return exceeded(name, qtype, "%d records in answers", maxRecordsTotal)
	case b.octets > maxOctets:
		return exceeded(name, qtype, "%d octets of answers", maxOctets)
	}
	return nil
}

// check counts the verification of a signature of that RRset.
func (b *budget) check(name string, rrtype uint16) *Error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.checks == maxChecksTotal {
		return exceeded(name, rrtype, "%d signatures", maxChecksTotal)
	}
	b.checks++
	return nil
}

// exceeded says that the session has used up its share of something.
func exceeded(name string, rrtype uint16, what string, limit int) *Error {
	return fail(name, rrtype, CheckLimit, "", "its validation takes more than "+what, limit)
}
