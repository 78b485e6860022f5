package serve

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/announce"
)

// The SOA of a delegated signaling domain, in seconds. Nothing transfers the
// zone, so that only the minimum has an effect.
const (
	soaRefresh = 3600
	soaRetry   = 600
	soaExpire  = 1209600
)

// delegate makes the view that of a whole zone: it adds the apex and the chain
// of NSEC records.
func (b *builder) delegate(apex *Apex) error {
	if err := b.addApex(apex); err != nil {
		return err
	}
	return b.link()
}

// addApex adds the apex of a delegated zone.
func (b *builder) addApex(apex *Apex) error {
	v := b.view
	n := &node{key: string(v.suffix)}
	was := b.old.apex
	if was != nil {
		n.nsec = was.nsec
	}
	if err := b.fill(n, apexRecords(v.config), was); err != nil {
		return err
	}
	for _, qtype := range []uint16{dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY} {
		switch set := apex.Set(qtype); set.Answer {
		case Served:
			n.sets = append(n.sets, set.RRset)
		case Failing:
			v.failing = append(v.failing, qtype)
		}
	}
	v.nodes[n.key], v.apex = n, n
	return nil
}

// apexRecords returns SOA and NS of a delegated zone.
func apexRecords(c SubtreeConfig) [][]dns.RR {
	zone := announce.SignalingDomain(c.NS)
	header := func(rrtype uint16, ttl uint32) dns.RR_Header {
		return dns.RR_Header{Name: zone, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl}
	}
	mbox := "hostmaster." + c.NS
	if _, err := packLower(mbox); err != nil {
		mbox = c.NS // no room for the label
	}
	return [][]dns.RR{
		{&dns.NS{Hdr: header(dns.TypeNS, c.TTL), Ns: c.NS}},
		{&dns.SOA{
			Hdr: header(dns.TypeSOA, maxDenialTTL), Ns: c.NS, Mbox: mbox, Serial: c.Serial,
			Refresh: soaRefresh, Retry: soaRetry, Expire: soaExpire, Minttl: maxDenialTTL,
		}},
	}
}

// link makes the chain of NSEC records over all names with data. Empty
// non-terminals have none (RFC 4035 section 2.3).
func (b *builder) link() error {
	v := b.view
	for _, n := range v.nodes {
		if n != empty {
			v.chain = append(v.chain, n)
		}
	}
	slices.SortFunc(v.chain, func(x, y *node) int { return strings.Compare(x.key, y.key) })
	for i, n := range v.chain {
		linked, err := b.linkTo(n, v.chain[(i+1)%len(v.chain)])
		if err != nil {
			return err
		}
		v.chain[i], v.nodes[n.key] = linked, linked
	}
	v.apex = v.chain[0]
	return nil
}

// linkTo returns n with its NSEC, which is n itself if nothing changes.
func (b *builder) linkTo(n, next *node) (*node, error) {
	types := n.types()
	if n.key == string(b.view.suffix) {
		// A type that fails is there, for all that we know: no denial.
		types = n.types(b.view.failing...)
	}
	nsec := []dns.RR{&dns.NSEC{
		Hdr:        dns.RR_Header{Name: n.sets[0].owner, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: maxDenialTTL},
		NextDomain: next.sets[0].owner,
		TypeBitMap: types,
	}}
	b.signer.since = n.since
	set, span, err := b.signer.sign(nsec, b.keys, n.nsec, b.signer.expiration())
	if err != nil {
		return nil, fmt.Errorf("signaling domain of %q: %w", b.view.config.NS, err)
	}
	if set == n.nsec && span == n.nsecSpan {
		return n, nil
	}
	linked := *n
	linked.nsec, linked.nsecSpan = set, span
	return linked.together(), nil
}

// replyDelegated answers r, whose name has that key and node.
func (s *Subtree) replyDelegated(r *dns.Msg, key []byte, n *node) (*dns.Msg, error) {
	q := r.Question[0]
	if n == s.apex && q.Qtype == dns.TypeDS {
		return nil, ErrNext
	}
	if n == s.apex && slices.Contains(s.failing, q.Qtype) {
		return nil, errFailing
	}
	m := reply(r)
	if !n.answer(m, q, wantsDNSSEC(r)) {
		s.deny(m, key, n, wantsDNSSEC(r))
	}
	return m, nil
}

// DSDenial answers r, the question of ErrNext, where no plugin holds the
// parent: a NODATA of this zone.
func (s *Subtree) DSDenial(r *dns.Msg) *dns.Msg {
	m := reply(r)
	s.deny(m, s.suffix, s.apex, wantsDNSSEC(r))
	return m
}

// deny makes m a denial of what its question asks for, out of the chain (RFC
// 4035 section 3.1.3). n is what there is at the name of that key, nil for
// nothing.
func (s *Subtree) deny(m *dns.Msg, key []byte, n *node, do bool) {
	m.Ns = s.apex.set(dns.TypeSOA).appendTo(nil, s.apex.sets[0].owner, do)
	if n == nil {
		m.Rcode = dns.RcodeNameError
	}
	if !do {
		return
	}
	proof := s.proof(key, n)
	for i, p := range proof {
		if i > 0 && p == proof[0] {
			continue
		}
		owner := p.nsec.owner
		if p == n {
			owner = m.Question[0].Name
		}
		m.Ns = p.nsec.appendTo(m.Ns, owner, true)
	}
}

// proof returns the names whose NSECs prove that there is no such type at n,
// or, if it is nil, that there is no such name, nor a wildcard for it.
func (s *Subtree) proof(key []byte, n *node) []*node {
	if n != nil {
		return []*node{s.at(key)}
	}
	closest := parentKey(key)
	for s.nodes[string(closest)] == nil {
		closest = parentKey(closest)
	}
	return []*node{s.at(key), s.at(wildcardKey(closest))}
}

// at returns the name with data at key, or the last one before it.
func (s *Subtree) at(key []byte) *node {
	i := sort.Search(len(s.chain), func(i int) bool { return s.chain[i].key > string(key) })
	return s.chain[max(i-1, 0)]
}
