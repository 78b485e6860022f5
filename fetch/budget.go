package fetch

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/validate"
)

// What the collection of one announcement may cost at most (rule F9). A chain
// from the root to a signaling name is a dozen answers of a few records each.
const (
	maxMessages = 128
	maxRecords  = 4096
	maxOctets   = 1 << 20
)

var errBudget = errors.New("the answers so far exceed what one announcement may cost")

// budget is an Exchanger that stops when the answers it handed out came to
// too much.
type budget struct {
	x validate.Exchanger

	messages, records, octets atomic.Int64
}

// Exchange implements [validate.Exchanger].
func (b *budget) Exchange(ctx context.Context, name string, qtype uint16, cd bool) (*dns.Msg, error) {
	if b.messages.Add(1) > maxMessages {
		return nil, overBudget(name, qtype)
	}
	m, err := b.x.Exchange(ctx, name, qtype, cd)
	if err != nil {
		return nil, err
	}
	records := b.records.Add(int64(len(m.Answer) + len(m.Ns) + len(m.Extra)))
	if records > maxRecords || b.octets.Add(int64(m.Len())) > maxOctets {
		return nil, overBudget(name, qtype)
	}
	return m, nil
}

func overBudget(name string, qtype uint16) error {
	return fmt.Errorf("%s at %s: %w", dns.Type(qtype), name, errBudget)
}
