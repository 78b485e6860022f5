package serve

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/announce"
	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/yield"
)

// ErrNext says that a question is for the next plugin: DS at the apex of a
// delegated signaling domain is the parent's (RFC 4035 section 3.1.4.1).
var ErrNext = errors.New("DS of a signaling domain belongs to its parent")

var (
	errOutside = errors.New("the name is not at or below the signaling domain")
	errEmpty   = errors.New("the signaling domain has no view yet")
	errFailing = errors.New("the apex key sets of the signaling domain are not known or can no longer be signed")
)

// maxDenialTTL is the longest TTL of SOA and NSEC here, in seconds, so that
// "nothing announced" is not remembered for a day (rule P3).
const maxDenialTTL = 300

// SubtreeConfig says which subtree it is.
type SubtreeConfig struct {
	NS        string // our nameserver, canonical: the subtree is at and below _signal.<NS>
	Zone      string // the zone that encloses it, canonical
	Delegated bool   // the zone is _signal.<NS> itself: mske is its whole authority
	TTL       uint32 // of the NS RRset of a delegated zone, in seconds
	Serial    uint32 // of the SOA of a delegated zone: another one for other contents
}

// Announced is what is announced for one zone.
type Announced struct {
	Zone         string // canonical
	Announcement merge.Announcement
	Boot         merge.Announcement // what a parent without DS is to take over, empty for nothing (RFC 9615)
	TTL          uint32             // of the records, in seconds

	// Since is when this came in place of something else, zero if that is not known.
	// Signatures that are kept from before then are not used: to those who have seen
	// what was between, they would show a replay (rule F8).
	Since time.Time
}

// append appends octets that say which records a comes to.
func (a Announced) append(octets []byte) []byte {
	text := func(s string) { octets = append(binary.BigEndian.AppendUint32(octets, uint32(len(s))), s...) }
	number := func(n int) { octets = binary.BigEndian.AppendUint32(octets, uint32(n)) }
	text(a.Zone)
	number(int(a.TTL))
	for _, sets := range []*merge.Announcement{&a.Announcement, &a.Boot} {
		for _, ks := range [][]merge.Key{sets.DNSKEY, sets.CDNSKEY} {
			number(len(ks))
			for _, k := range ks {
				octets = append(octets, byte(k.Flags>>8), byte(k.Flags), k.Protocol, k.Algorithm)
				text(k.PublicKey)
			}
		}
		number(len(sets.CDS))
		for _, d := range sets.CDS {
			octets = append(octets, byte(d.KeyTag>>8), byte(d.KeyTag), d.Algorithm, d.DigestType)
			text(d.Digest)
		}
	}
	return octets
}

// Subtree is what is answered at and below a signaling domain. It does not
// change.
type Subtree struct {
	config SubtreeConfig
	suffix []byte           // the key of the signaling domain
	nodes  map[string]*node // by key: every name that exists

	data    []*keys.Key // sign at query time: one for each algorithm
	signers []identity  // those that signed the view

	// Of a delegated zone alone.
	apex    *node
	chain   []*node  // names with data, in canonical order
	failing []uint16 // the apex types that fail

	span span
}

// node is a name. Nodes are shared by successive views and do not change.
type node struct {
	key    string
	source Digest   // of what is announced
	since  int64    // when it came in place of something else, in seconds since 1970
	sets   []*RRset // by ascending type; none: an empty non-terminal
	span   span     // of sets

	// Of a delegated zone alone.
	nsec     *RRset
	nsecSpan span
}

// empty is every empty non-terminal.
var empty = new(node)

// BuildSubtree returns the view of what is announced, signed by the
// data-signing keys of s, which are those of the enclosing zone. Zones that
// cannot be announced under that nameserver are left out (rule P2). What old,
// which may be nil, has is used again where it says the same and is not due, so
// that a change costs the signatures of that change.
//
// A delegated zone needs apex, its own key sets, which are renewed apart.
func BuildSubtree(c SubtreeConfig, announced []Announced, s Signers, apex *Apex, p Params, old *Subtree) (*Subtree, error) {
	if c.Delegated && apex == nil {
		return nil, fmt.Errorf("signaling domain of %q: the key sets of its own zone are missing", c.NS)
	}
	b, err := newBuilder(c, s, p, old)
	if err != nil {
		return nil, err
	}
	b.view.nodes = make(map[string]*node, len(b.old.nodes))
	for _, a := range announced {
		yield.ToQueries()
		if err := b.announce(a); err != nil {
			return nil, err
		}
	}
	if c.Delegated {
		if err := b.delegate(apex); err != nil {
			return nil, err
		}
	}
	return b.finish(), nil
}

// builder builds a view.
type builder struct {
	view   *Subtree
	old    *Subtree
	same   bool // old was signed by the same keys
	signer *signer
	keys   []*keys.Key
}

func newBuilder(c SubtreeConfig, s Signers, p Params, old *Subtree) (*builder, error) {
	suffix, err := sortKey(announce.SignalingDomain(c.NS))
	if err != nil {
		return nil, err
	}
	if old == nil || old.config.NS != c.NS || old.config.Zone != c.Zone {
		old = new(Subtree)
	}
	v := &Subtree{
		config: c, suffix: suffix,
		data: onePerAlgorithm(s.Data), signers: identities(s.Data),
	}
	return &builder{
		view: v, old: old, same: slices.Equal(v.signers, old.signers),
		signer: newSigner(subtreeLife, p), keys: s.Data,
	}, nil
}

// finish returns the view, which is complete.
func (b *builder) finish() *Subtree {
	for _, n := range b.view.nodes {
		b.view.span.add(n.span)
		b.view.span.add(n.nsecSpan)
	}
	return b.view
}

// announce adds the names of a to the view.
func (b *builder) announce(a Announced) error {
	name, err := announce.Name(a.Zone, b.view.config.NS)
	if err == nil {
		err = b.add(name, a, a.Announcement)
	}
	boot, errBoot := announce.BootName(a.Zone, b.view.config.NS)
	if errBoot == nil && len(a.Boot.CDS) > 0 {
		err = errors.Join(err, b.add(boot, a, a.Boot))
	}
	if errors.Is(err, announce.ErrTooLong) || errors.Is(err, announce.ErrInDomain) {
		return nil // rule P2; the caller says so, once
	}
	return err
}

// add adds one name of a with the sets that it is to have.
func (b *builder) add(owner string, a Announced, sets merge.Announcement) error {
	key, err := sortKey(owner)
	if err != nil {
		return err
	}
	was, source := b.old.nodes[string(key)], b.signer.hasher.announced(a)
	if was != nil && b.same && was.source == source && b.lasts(was.span) {
		b.put(key, was)
		return nil
	}
	names := owner + string(key) // in one piece
	owner = names[:len(owner)]
	n := &node{key: names[len(owner):], source: source, since: a.Since.Unix()}
	if was != nil {
		n.nsec = was.nsec
	}
	if err := b.fill(n, announce.RRsets(owner, sets, a.TTL), was); err != nil {
		return err
	}
	if len(n.sets) > 0 {
		n = n.together()
		join(n.sets)
		b.put(key, n)
	}
	return nil
}

// lasts reports whether signatures of that span are used on.
func (b *builder) lasts(s span) bool {
	return b.signer.now.Before(timeOf(s.expires)) && (s.renew == 0 || b.signer.now.Before(timeOf(s.renew)))
}

// fill signs the RRsets of n, a new node, using those of was again.
func (b *builder) fill(n *node, sets [][]dns.RR, was *node) error {
	expiration := b.signer.expiration()
	b.signer.since = n.since
	for _, rrs := range sets {
		set, lasts, err := b.signer.sign(rrs, b.keys, was.set(rrs[0].Header().Rrtype), expiration)
		if err != nil {
			return fmt.Errorf("signaling domain of %q: %w", b.view.config.NS, err)
		}
		n.sets = append(n.sets, set)
		n.span.add(lasts)
	}
	slices.SortFunc(n.sets, func(x, y *RRset) int { return int(x.rrtype) - int(y.rrtype) })
	return nil
}

// put adds a name, and those between it and the signaling domain.
func (b *builder) put(key []byte, n *node) {
	b.view.nodes[n.key] = n
	for up := parentKey(key); len(up) >= len(b.view.suffix); up = parentKey(up) {
		if _, ok := b.view.nodes[string(up)]; ok {
			return
		}
		b.view.nodes[n.key[:len(up)]] = empty // the key of a name begins with those above
	}
}

// set returns the RRset of a type, nil if there is none.
func (n *node) set(rrtype uint16) *RRset {
	if n == nil {
		return nil
	}
	for _, set := range n.sets {
		if set.rrtype == rrtype {
			return set
		}
	}
	return nil
}

// types returns the types at n and the further ones as an NSEC lists them,
// which is one of them.
func (n *node) types(further ...uint16) []uint16 {
	types := append([]uint16{dns.TypeRRSIG, dns.TypeNSEC}, further...)
	for _, set := range n.sets {
		types = append(types, set.rrtype)
	}
	slices.Sort(types)
	return types
}

// Changed returns the names whose signatures s and old, which may be nil, do not
// share, in order: these are to be kept anew (see Params.Kept). The apex of a delegated
// zone, of which there are few, is left out.
func (s *Subtree) Changed(old *Subtree) []string {
	var owners []string
	for key, n := range s.nodes {
		yield.ToQueries()
		if n.announces(s) && (old == nil || old.nodes[key] != n) {
			owners = append(owners, n.sets[0].owner)
		}
	}
	if old != nil {
		for key, n := range old.nodes {
			yield.ToQueries()
			if n.announces(old) && !s.nodes[key].announces(s) {
				owners = append(owners, n.sets[0].owner)
			}
		}
	}
	slices.Sort(owners)
	return owners
}

// Signatures returns the signatures over what s announces at owner, none for a name
// that Changed does not return.
func (s *Subtree) Signatures(owner string) []Signature {
	key, err := sortKey(owner)
	if err != nil {
		return nil
	}
	n := s.nodes[string(key)]
	if !n.announces(s) {
		return nil
	}
	var sigs []Signature
	for _, set := range n.sets {
		sigs = append(sigs, set.kept()...)
	}
	if n.nsec != nil {
		sigs = append(sigs, n.nsec.kept()...)
	}
	return sigs
}

// announces reports whether n, a name in s, has data other than the apex of a zone.
func (n *node) announces(s *Subtree) bool { return n != nil && n != s.apex && len(n.sets) > 0 }

// Renew returns when BuildSubtree has something to renew, the apex key sets of
// a delegated zone apart. It is zero if there is nothing, ever.
func (s *Subtree) Renew() time.Time { return timeOf(s.span.renew) }

// Expires returns when the first signature ends, the apex key sets of a
// delegated zone apart. It is zero if there is none.
func (s *Subtree) Expires() time.Time { return timeOf(s.span.expires) }

// Reply answers r, a question at or below the signaling domain. In a larger
// zone denial is compact (RFC 9824): signed by o, with what soa returns, the
// larger zone's SOA and its RRSIGs. An error means SERVFAIL: ErrBudget, or what
// soa returned; but ErrNext means that the next plugin has to answer, or
// DSDenial does.
func (s *Subtree) Reply(r *dns.Msg, o *Online, soa func() ([]dns.RR, error), now time.Time) (*dns.Msg, error) {
	if s == nil || s.nodes == nil {
		return nil, errEmpty
	}
	if len(r.Question) != 1 {
		return refuse(r, dns.RcodeFormatError), nil
	}
	q := r.Question[0]
	switch q.Qtype {
	case dns.TypeNXNAME:
		return invalidType(r), nil
	case dns.TypeAXFR, dns.TypeIXFR:
		return refuse(r, dns.RcodeRefused), nil
	}
	key, err := sortKey(q.Name)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(key, s.suffix) {
		return nil, fmt.Errorf("%q: %w", q.Name, errOutside)
	}
	n := s.nodes[string(key)]
	if s.config.Delegated {
		return s.replyDelegated(r, key, n)
	}
	m := reply(r)
	if wantsCompact(r) {
		addOPT(m, r).SetCo()
	}
	if n.answer(m, q, wantsDNSSEC(r)) {
		return m, nil
	}
	return s.denyCompactly(m, n, compact{do: wantsDNSSEC(r), nxdomain: wantsCompact(r), online: o, soa: soa, now: now})
}

// RRset returns the RRset that q, a question for one type of a name at or below
// the signaling domain, is answered with, nil if there is none.
func (s *Subtree) RRset(q dns.Question) *RRset {
	key, err := sortKey(q.Name)
	if s == nil || err != nil {
		return nil
	}
	return s.nodes[string(key)].ready(q.Qtype)
}

// answer fills in what n has for q, and reports whether it has anything.
func (n *node) answer(m *dns.Msg, q dns.Question, do bool) bool {
	if n == nil {
		return false
	}
	switch set := n.set(q.Qtype); {
	case set != nil:
		m.Answer = set.appendTo(nil, q.Name, do)
	case q.Qtype == dns.TypeNSEC && n.nsec != nil:
		m.Answer = n.nsec.appendTo(nil, q.Name, do)
	case q.Qtype == dns.TypeANY && len(n.sets) > 0:
		// One RRset is enough (RFC 8482 section 4.1).
		m.Answer = n.sets[0].appendTo(nil, q.Name, do)
	case q.Qtype == dns.TypeRRSIG:
		for _, set := range n.sets {
			m.Answer = set.appendSigs(m.Answer, q.Name)
		}
	}
	return len(m.Answer) > 0
}
