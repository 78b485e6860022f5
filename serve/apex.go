package serve

import (
	"errors"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/merge"
)

// Answer says what is answered for a type.
type Answer uint8

// The answers. The zero value is the safe one: a resolver that gets SERVFAIL
// asks another provider.
const (
	Failing  Answer = iota // SERVFAIL
	Served                 // the RRset
	Withheld               // NODATA: there is no such type at the apex now
)

// ApexSet is what is answered for one type at the apex.
type ApexSet struct {
	Answer Answer
	RRset  *RRset // if Answer is Served
}

// Apex is what is answered at the apex of a zone. The zero value answers
// SERVFAIL.
type Apex struct {
	Zone                 string // canonical
	DNSKEY, CDS, CDNSKEY ApexSet
	HasCNS, HasCSYNC     bool        // what the plugin chain has
	Data                 []*keys.Key // sign corrected denials (rule S2): one for each algorithm, with private halves

	life span
}

// Signers are the keys that sign.
type Signers struct {
	SecureEntry []*keys.Key // active ones
	Data        []*keys.Key // those that resolvers know
}

// Params are the circumstances of signing.
type Params struct {
	TTL    uint32         // of what is published, in seconds
	Now    time.Time      // the time
	Jitter func() float64 // in [0,1), spreads expirations; nil: no jitter
	Stored []*dns.RRSIG   // signatures made before, used where they fit
}

// SignApex returns the view of the joint sets.
func SignApex(zone string, joint merge.Joint, s Signers, p Params, old *Apex) (*Apex, error) {
	return nil, errors.New("not written yet")
}

// Set returns what is answered for DNSKEY, CDS or CDNSKEY; other types fail.
func (a *Apex) Set(qtype uint16) ApexSet {
	switch qtype {
	case dns.TypeDNSKEY:
		return a.DNSKEY
	case dns.TypeCDS:
		return a.CDS
	case dns.TypeCDNSKEY:
		return a.CDNSKEY
	}
	return ApexSet{}
}

// Reply answers a question for one of the three types.
func (a *Apex) Reply(r *dns.Msg) (*dns.Msg, Answer) { return nil, Failing }

// Renew returns when the first signature is due to be made anew.
func (a *Apex) Renew() time.Time { return a.life.renew }

// Expires returns when the first signature ends.
func (a *Apex) Expires() time.Time { return a.life.expires }

// Signatures returns all signatures of the view.
func (a *Apex) Signatures() []*dns.RRSIG { return nil }
