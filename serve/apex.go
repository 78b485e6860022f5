package serve

import (
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/announce"
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
	Withheld               // NODATA: the type is not at the apex now
)

// ApexSet is what is answered for one type at the apex.
type ApexSet struct {
	Answer Answer
	RRset  *RRset // if Answer is Served
}

// Apex is what is answered at the apex of a zone (rule S1). The zero value and
// nil answer SERVFAIL. An Apex does not change once it is published. A copy keeps
// the original in memory, whose RRsets may lie with it.
type Apex struct {
	Zone                 string // canonical
	DNSKEY, CDS, CDNSKEY ApexSet

	// Where the RRsets of these lie, or some that they once were: resolvers ask for the
	// first above all, and it comes in the next line of a processor's cache.
	own [3]RRset

	// NS and CSYNC are answered in place of what the plugin chain has; nil
	// leaves that as it is. See [Apex.WithDelegation].
	NS, CSYNC *RRset

	// What the plugin chain has at the apex; SignApex leaves them false.
	HasCNS, HasCSYNC bool

	// Data sign corrected denials (rule S2): one key for each algorithm, with
	// its private half. SignApex takes the first ones of Signers.Data.
	Data []*keys.Key

	span span
}

// SignApex returns the view of the joint sets of zone. DNSKEY is signed by the
// secure-entry keys, CDS and CDNSKEY by these and the data-signing keys (rule
// M3). Signatures of old, which may be nil, and p.Stored are used again where
// they are over the same RRset by the same key and not yet due.
//
// An empty CDS or CDNSKEY set is withheld, and so is CDNSKEY while there are
// digests whose key is not known (rule F6). It is an error if there is nobody
// to sign a set.
func SignApex(zone string, joint merge.Joint, s Signers, p Params, old *Apex) (*Apex, error) {
	if len(joint.DNSKEY) == 0 {
		return nil, fmt.Errorf("zone %q: there are no keys to publish", zone)
	}
	if old == nil {
		old = new(Apex)
	}
	if len(joint.Unmatched) > 0 {
		joint.CDNSKEY = nil
	}
	a := &Apex{Zone: zone, Data: onePerAlgorithm(s.Data)}
	with := newSigner(apexLife, p)
	everybody := slices.Concat(s.SecureEntry, s.Data)
	sets := announce.RRsets(zone, merge.Announcement{DNSKEY: joint.DNSKEY, CDNSKEY: joint.CDNSKEY, CDS: joint.CDS}, p.TTL)

	a.CDS.Answer, a.CDNSKEY.Answer = Withheld, Withheld
	for _, rrs := range sets {
		qtype := rrs[0].Header().Rrtype
		by := everybody
		if qtype == dns.TypeDNSKEY {
			by = s.SecureEntry
		}
		set, lasts, err := with.sign(rrs, by, old.Set(qtype).RRset, with.expiration())
		if err != nil {
			return nil, fmt.Errorf("zone %q: %w", zone, err)
		}
		a.span.add(lasts)
		*a.set(qtype) = ApexSet{Answer: Served, RRset: set}
	}
	return a.together(old), nil
}

// set returns where what is answered for qtype stands, nil if it is not one of
// the three types.
func (a *Apex) set(qtype uint16) *ApexSet {
	switch qtype {
	case dns.TypeDNSKEY:
		return &a.DNSKEY
	case dns.TypeCDS:
		return &a.CDS
	case dns.TypeCDNSKEY:
		return &a.CDNSKEY
	}
	return nil
}

// Set returns what is answered for a type that a answers. Other types fail.
func (a *Apex) Set(qtype uint16) ApexSet {
	if a == nil {
		return ApexSet{}
	}
	if set := a.set(qtype); set != nil {
		return *set
	}
	switch {
	case qtype == dns.TypeNS && a.NS != nil:
		return ApexSet{Served, a.NS}
	case qtype == dns.TypeCSYNC && a.CSYNC != nil:
		return ApexSet{Served, a.CSYNC}
	}
	return ApexSet{}
}

// RRset returns the RRset that q, a question for a type at the apex, is answered
// with, nil if there is none.
func (a *Apex) RRset(q dns.Question) *RRset { return a.Set(q.Qtype).RRset }

// Reply answers r, a question for a type at the apex that a answers. What is
// withheld has no reply: which other types there are, only the plugin chain
// knows.
func (a *Apex) Reply(r *dns.Msg) (*dns.Msg, Answer) {
	if len(r.Question) != 1 {
		return refuse(r, dns.RcodeFormatError), Failing
	}
	q := r.Question[0]
	set := a.Set(q.Qtype)
	switch set.Answer {
	case Served:
		m := reply(r)
		m.Answer = set.RRset.appendTo(nil, q.Name, wantsDNSSEC(r))
		return m, Served
	case Withheld:
		return nil, Withheld
	}
	return refuse(r, dns.RcodeServerFailure), Failing
}

// Renew returns when SignApex has something to renew: when the first signature
// has a quarter of its life left. It is zero if there is nothing, ever.
func (a *Apex) Renew() time.Time { return timeOf(a.span.renew) }

// Expires returns when the first signature ends, zero if there is none.
func (a *Apex) Expires() time.Time { return timeOf(a.span.expires) }

// Signatures returns all signatures of the view, to be stored and offered
// again as Params.Stored.
func (a *Apex) Signatures() []Signature {
	var sigs []Signature
	for _, set := range a.sources() {
		if *set != nil {
			sigs = append(sigs, (*set).kept()...)
		}
	}
	return sigs
}
