package serve

import (
	"errors"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/merge"
)

// ErrNext says that the question is for the next plugin: DS at the apex of a
// delegated signaling domain belongs to the parent.
var ErrNext = errors.New("DS of a signaling domain belongs to its parent")

// SubtreeConfig says where a subtree is.
type SubtreeConfig struct {
	NS        string // our nameserver; the subtree is at and below _signal.<NS>
	Zone      string // the zone that encloses it
	Delegated bool   // the zone is the subtree: we are its whole authority
	TTL       uint32 // of the delegated zone's NS RRset, in seconds
	Serial    uint32 // of the delegated zone's SOA
}

// Announced is what is announced for one zone.
type Announced struct {
	Zone         string
	Announcement merge.Announcement
	TTL          uint32 // in seconds
}

// Subtree is what is answered at and below a signaling domain.
type Subtree struct {
	life span
}

// BuildSubtree returns the view of what is announced.
func BuildSubtree(c SubtreeConfig, announced []Announced, s Signers, apex *Apex, p Params, old *Subtree) (*Subtree, error) {
	return nil, errors.New("not written yet")
}

// Reply answers a question at or below the signaling domain.
func (s *Subtree) Reply(r *dns.Msg, o *Online, soa func() ([]dns.RR, error), now time.Time) (*dns.Msg, error) {
	return nil, errors.New("not written yet")
}

// DSDenial answers the question of ErrNext when there is no next plugin.
func (s *Subtree) DSDenial(r *dns.Msg) *dns.Msg { return nil }

// Renew returns when the first signature is due to be made anew.
func (s *Subtree) Renew() time.Time { return s.life.renew }

// Expires returns when the first signature ends.
func (s *Subtree) Expires() time.Time { return s.life.expires }
