package validate

import (
	"sync"

	"github.com/miekg/dns"
)

// budget counts what a session has cost so far. Whatever takes time that grows
// with what is in an answer is paid for here before it is done.
type budget struct {
	mu        sync.Mutex
	questions int
	records   int
	octets    int
	checks    int // signatures verified
	cost      int // of all, in units of maxCost
}

// ask counts a question.
func (b *budget) ask(name string, qtype uint16) *Error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.questions == maxQuestions {
		return exceeded(name, qtype, "%d questions", maxQuestions)
	}
	b.questions++
	return nil
}

// read counts an answer, and what it costs to sort out its records.
func (b *budget) read(m *dns.Msg, name string, qtype uint16) *Error {
	records := len(m.Answer) + len(m.Ns) + len(m.Extra)
	if records > maxRecordsTotal {
		return exceeded(name, qtype, "%d records in answers", maxRecordsTotal)
	}
	octets := m.Len() // as if it was not compressed
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
	return b.take(name, qtype, readCost(records, octets))
}

// check counts the verification of a signature of the RRset with the key.
func (b *budget) check(set *rrset, k key) *Error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.checks == maxChecksTotal {
		return exceeded(set.name, set.rrtype, "%d signatures", maxChecksTotal)
	}
	if err := b.take(set.name, set.rrtype, k.cost+set.cost()); err != nil {
		return err
	}
	b.checks++
	return nil
}

// spend counts the cost of work for that RRset.
func (b *budget) spend(name string, rrtype uint16, cost int) *Error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.take(name, rrtype, cost)
}

// take is spend for callers that hold the lock. What is too much is not spent,
// so that nothing else is done for it either.
func (b *budget) take(name string, rrtype uint16, cost int) *Error {
	if cost > maxCost-b.cost {
		return exceeded(name, rrtype, "%d units of work", maxCost)
	}
	b.cost += cost
	return nil
}

// exceeded says that the session has used up its share of something.
func exceeded(name string, rrtype uint16, what string, limit int) *Error {
	return fail(name, rrtype, CheckLimit, limitRule, "the validation of what was asked for takes more than "+what, limit)
}
