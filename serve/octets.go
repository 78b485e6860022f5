package serve

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/miekg/dns"
)

const (
	headerSize   = 12 // octets of a message's header (RFC 1035 section 4.1.1), after which comes the question
	pointerSize  = 2  // octets of a compressed name
	optSize      = 11 // octets of an OPT record without options (RFC 6891 section 6.1.2)
	questionRoom = maxName + 4
	toQuestion   = 0xC000 | headerSize // a pointer to the question's name (RFC 1035 section 4.1.4)

	// maxPointer is the last place in a message that a pointer can point to.
	maxPointer = 0x3FFF
)

// Flags of a message's header (RFC 1035 section 4.1.1, RFC 4035 section 3.2.2)
// and of an OPT record (RFC 6891 section 6.1.4, RFC 9824 section 5.1).
const (
	flagQR = 1 << 15
	flagAA = 1 << 10
	flagTC = 1 << 9
	flagRD = 1 << 8
	flagRA = 1 << 7
	flagZ  = 1 << 6
	flagAD = 1 << 5
	flagCD = 1 << 4

	flagDO = 1 << 15
	flagCO = 1 << 14

	// flagsKept are the flags of a client's OPT record that CoreDNS keeps in
	// the one it answers with.
	flagsKept = 0xff00
)

// AppendReply answers r as Reply does, in octets as the server sends them to a
// client that takes answers of size octets, truncation and OPT record included.
// They are appended to buf, which is empty. It reports whether it could; buf is
// then the message, and length what [dns.Msg.Len] of what Reply returns would say.
// Otherwise Reply has to answer.
func (a *Apex) AppendReply(buf []byte, r *dns.Msg, size int) (_ []byte, length int, ok bool) {
	if len(r.Question) != 1 {
		return buf, 0, false
	}
	set := a.Set(r.Question[0].Qtype)
	if set.Answer != Served {
		return buf, 0, false
	}
	var m message
	m.start(buf, r, size, flagsKept)
	m.answer(set.RRset)
	return m.finish()
}

// AppendReply is [Apex.AppendReply] for a name at or below the signaling
// domain. Denials that have to be signed are left to Reply.
func (s *Subtree) AppendReply(buf []byte, r *dns.Msg, size int) (_ []byte, length int, ok bool) {
	if s == nil || s.nodes == nil || len(r.Question) != 1 {
		return buf, 0, false
	}
	q := r.Question[0]
	switch q.Qtype {
	case dns.TypeNXNAME, dns.TypeAXFR, dns.TypeIXFR, dns.TypeANY, dns.TypeRRSIG:
		return buf, 0, false
	}
	kept, own := uint16(flagsKept), 0
	if !s.config.Delegated && wantsCompact(r) {
		kept, own = flagDO|flagCO, optSize // as in an OPT record of our own, see addOPT
	}
	var m message
	m.start(buf, r, size, kept)
	m.whole += own
	key := m.key()
	if !bytes.HasPrefix(key, s.suffix) {
		return buf, 0, false
	}
	n := s.nodes[string(key)]
	set := n.ready(q.Qtype)
	switch {
	case !s.config.Delegated && set == nil:
		return buf, 0, false
	case s.config.Delegated && n == s.apex && (q.Qtype == dns.TypeDS || slices.Contains(s.failing, q.Qtype)):
		return buf, 0, false
	case set != nil:
		m.answer(set)
	default:
		m.deny(s, key, n)
	}
	return m.finish()
}

// ready returns the RRset of a type, with NSEC among these, nil if there is none.
func (n *node) ready(qtype uint16) *RRset {
	if set := n.set(qtype); set != nil || n == nil || qtype != dns.TypeNSEC {
		return set
	}
	return n.nsec
}

// IsIn reports whether the answer of m is copies of the records of s as Reply
// makes them, the first of them at least, and whether AppendMessage can pack it.
// The flags of m may be any.
func (s *RRset) IsIn(m *dns.Msg) bool {
	if len(m.Question) != 1 || len(m.Ns) > 0 || m.Rcode != dns.RcodeSuccess || !s.holds(m.Answer, m.Question[0].Name) {
		return false
	}
	switch len(m.Extra) {
	case 0:
		return true
	case 1:
		opt, ok := m.Extra[0].(*dns.OPT)
		return ok && len(opt.Option) == 0 && opt.Hdr.Name == "." && opt.Version() == 0
	}
	return false
}

// AppendMessage appends m, which s is in, as m.Pack would return it to buf, which
// is empty, but with the owners compressed. It reports whether it could.
func (s *RRset) AppendMessage(buf []byte, m *dns.Msg) ([]byte, bool) {
	w := message{opt: m.IsEdns0(), kept: 0xffff, size: dns.MaxMsgSize, flags: flags(&m.MsgHdr)}
	w.question(buf, m.Id, &m.Question[0])
	w.add(s, len(m.Answer))
	wire, _, ok := w.finish()
	return wire, ok
}

// flags returns the flags of a header, with the opcode but without the RCODE.
func flags(h *dns.MsgHdr) uint16 {
	bits := uint16(h.Opcode) << 11
	for _, f := range [...]struct {
		set bool
		bit uint16
	}{
		{h.Response, flagQR}, {h.Authoritative, flagAA}, {h.Truncated, flagTC}, {h.RecursionDesired, flagRD},
		{h.RecursionAvailable, flagRA}, {h.Zero, flagZ}, {h.AuthenticatedData, flagAD}, {h.CheckingDisabled, flagCD},
	} {
		if f.set {
			bits |= f.bit
		}
	}
	return bits
}

// message is an answer in the making.
type message struct {
	buf     []byte
	failed  bool
	flags   uint16
	answers uint16 // records in the answer section
	proofs  uint16 // and in the authority section

	do     bool
	opt    *dns.OPT // of the client
	kept   uint16   // which of its flags are kept
	name   int      // octets of the name in the question
	length int      // of buf, as miekg/dns reckons
	size   int      // that length has to be kept at, leaving room for the OPT record
	whole  int      // length of all of the answer that there is, without compression
}

// start starts an authoritative answer to r with its question.
func (m *message) start(buf []byte, r *dns.Msg, size int, kept uint16) {
	m.flags, m.opt, m.kept, m.size = flagQR|flagAA, r.IsEdns0(), kept, max(size, dns.MinMsgSize)
	if m.opt != nil {
		m.do = m.opt.Do()
		m.size -= optSize
	}
	if r.RecursionDesired {
		m.flags |= flagRD
	}
	if r.CheckingDisabled {
		m.flags |= flagCD
	}
	m.question(buf, r.Id, &r.Question[0])
}

// question starts m, in buf, with what comes first.
func (m *message) question(buf []byte, id uint16, q *dns.Question) {
	buf = slices.Grow(buf[:0], headerSize+questionRoom+maxKey)[:headerSize+questionRoom]
	end, err := packName(q.Name, buf, headerSize)
	// The root has nothing to point to. A name may be too long where a plugin has
	// rewritten it, and miekg/dns packs that too.
	if err != nil || end-headerSize > maxName || q.Name == "" || q.Name == "." {
		m.failed = true
		return
	}
	binary.BigEndian.PutUint16(buf, id)
	buf = binary.BigEndian.AppendUint16(buf[:end], q.Qtype)
	m.buf = binary.BigEndian.AppendUint16(buf, q.Qclass)
	m.name, m.length, m.whole = end-headerSize, len(m.buf), len(m.buf)
}

// key returns the sort key of the name in the question, nil if m has failed. It
// lies in the room behind m, not on a stack: a goroutine begins with a small one
// for each query, and growing it costs more than all the rest here. So it lasts
// until something is added to m.
func (m *message) key() []byte {
	if m.failed {
		return nil
	}
	return appendSortKey(m.buf[len(m.buf):], m.buf[headerSize:])
}

// answer adds set as the answer, as much of it as there is room for.
func (m *message) answer(set *RRset) {
	if m.failed {
		return
	}
	n := set.count(m.do)
	length := set.length(n)
	m.whole += length + n*(m.name-pointerSize)
	if m.length+length > m.size {
		if set.compressible() {
			m.failed = true // with its names compressed there may be room for more
			return
		}
		m.flags |= flagTC
		for n--; n > 0 && m.length+set.length(n) > m.size; n-- {
		}
	}
	m.add(set, n)
}

// add adds the first n records of set as the answer.
func (m *message) add(set *RRset, n int) {
	m.answers = uint16(n)
	if n > 0 && !m.failed {
		all := set.upTo(n)
		m.buf = append(m.buf, set.data[:all.end]...)
		m.length += int(all.length)
	}
}

// compressible reports whether names in the records of s are compressed where
// that is needed (RFC 3597 section 4).
func (s *RRset) compressible() bool { return s.rrtype == dns.TypeNS || s.rrtype == dns.TypeSOA }

// deny adds a denial of what the question asks for, as Subtree.deny.
func (m *message) deny(s *Subtree, key []byte, n *node) {
	var room [maxKey + 2]byte // for a wildcard in place of the last label
	key = append(room[:0], key...)
	if n == nil {
		m.flags |= dns.RcodeNameError
	}
	m.authority(s.apex.set(dns.TypeSOA), false)
	if !m.do {
		return
	}
	first := s.at(key)
	m.authority(first.nsec, first == n)
	if n != nil {
		return
	}
	closest := parentKey(key)
	for s.nodes[string(closest)] == nil {
		closest = parentKey(closest)
	}
	wildcard := append(closest, '*', 0)
	if second := s.at(wildcard); second != first {
		m.authority(second.nsec, false)
	}
}

// authority adds set to the authority section, at the name asked for or at its
// own. A denial is sent whole by this way or not at all.
func (m *message) authority(set *RRset, asked bool) {
	if m.failed || set == nil || len(m.buf) > maxPointer {
		m.failed = true
		return
	}
	n := set.count(m.do)
	all := set.upTo(n)
	wire, length := set.data[:all.end], int(all.length)
	m.proofs += uint16(n)
	m.length += length
	if asked {
		m.whole += length + n*(m.name-pointerSize)
		m.buf = append(m.buf, wire...)
		return
	}
	at := len(m.buf)
	m.buf = slices.Grow(m.buf, maxName)[:at+maxName]
	end, err := dns.PackDomainName(set.owner, m.buf, at, nil, false)
	if err != nil {
		m.failed = true
		return
	}
	m.length += end - at - pointerSize
	m.whole += length + n*(end-at-pointerSize)
	m.buf = append(m.buf[:end], wire[pointerSize:]...)
	for i := range n - 1 { // the first has the name itself
		owner := end - pointerSize + int(set.marks[i].end)
		binary.BigEndian.PutUint16(m.buf[owner:], 0xC000|uint16(at))
	}
}

// finish adds the OPT record and fills in the header.
func (m *message) finish() (wire []byte, whole int, ok bool) {
	if m.failed || m.length > m.size {
		return m.buf, 0, false
	}
	if opt := m.opt; opt != nil {
		m.buf = append(m.buf, 0)
		m.buf = binary.BigEndian.AppendUint16(m.buf, dns.TypeOPT)
		m.buf = binary.BigEndian.AppendUint16(m.buf, opt.UDPSize())
		m.buf = binary.BigEndian.AppendUint32(m.buf, opt.Hdr.Ttl&uint32(m.kept))
		m.buf = binary.BigEndian.AppendUint16(m.buf, 0)
		m.buf[11] = 1
	} else {
		m.buf[11] = 0
	}
	binary.BigEndian.PutUint16(m.buf[2:], m.flags)
	binary.BigEndian.PutUint16(m.buf[4:], 1)
	binary.BigEndian.PutUint16(m.buf[6:], m.answers)
	binary.BigEndian.PutUint16(m.buf[8:], m.proofs)
	m.buf[10] = 0
	return m.buf, m.whole, true
}
