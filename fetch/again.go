package fetch

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/announce"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/validate"
)

// maxKnown bounds the announcements that are remembered: those of 100,000 zones by
// two nameservers have to fit into half of that twice, as resolvers turn RRsets.
// Each takes some 30 octets.
const maxKnown = 1 << 20

// glimpse is what has to be seen of an answer that was judged before: an RRset
// and its first signature, as octets.
type glimpse struct {
	rdatas [][]byte
	ttl    uint32 // the lowest
	sig    dns.RRSIG
	signed []byte // rdata of sig
}

// glance reads an answer of the plainest form: there is nothing but the RRset that
// was asked for, at the name, with signatures that are not a wildcard's. It reports
// false if that is not what p is, whatever else it may be.
func (h *hand) glance(p []byte, qtype uint16) (g glimpse, ok bool) {
	const rcode, fixed = 0x0f, 10
	if len(p) > ednsSize || p[2]&truncated != 0 || p[3]&rcode != 0 || entries(p, 2) != 0 || entries(p, 3) > 1 {
		return g, false
	}
	off := headerSize + len(h.name) + 4
	for range entries(p, 1) {
		if off, ok = h.owns(p, off); !ok || len(p) < off+fixed || binary.BigEndian.Uint16(p[off+2:]) != dns.ClassINET {
			return g, false
		}
		rrtype, ttl := binary.BigEndian.Uint16(p[off:]), binary.BigEndian.Uint32(p[off+4:])
		start := off + fixed
		if off = start + int(binary.BigEndian.Uint16(p[off+8:])); len(p) < off {
			return g, false
		}
		switch rdata := p[start:off]; rrtype {
		case qtype:
			if len(g.rdatas) == 0 {
				g.ttl = ttl
			}
			g.rdatas, g.ttl = append(g.rdatas, rdata), min(g.ttl, ttl)
		case dns.TypeRRSIG:
			if g.signed == nil && !g.sign(h, rdata, qtype) {
				return g, false
			}
		default:
			return g, false
		}
	}
	return g, len(g.rdatas) > 0 && g.signed != nil && (entries(p, 3) == 0 || plainOPT(p[off:]))
}

// owns reports whether the name at off of p, whose question fits, is the one in
// hand, and where it ends.
func (h *hand) owns(p []byte, off int) (end int, ok bool) {
	const maxPointers = 8
	pointers := 0
	for rest := h.name; off < len(p); {
		switch length := int(p[off]); {
		case length&0xc0 == 0xc0: // a pointer (RFC 1035 section 4.1.4)
			if pointers++; len(p) < off+2 || pointers > maxPointers {
				return 0, false
			}
			if pointers == 1 {
				end = off + 2
			}
			off = int(binary.BigEndian.Uint16(p[off:])) & 0x3fff
			if off == headerSize && len(rest) == len(h.name) {
				return end, true // as most are: the question's
			}
		case length >= len(rest) || len(p) <= off+length || p[off] != rest[0]:
			return 0, false
		default:
			for i, octet := range p[off+1 : off+1+length] {
				if 'A' <= octet && octet <= 'Z' {
					octet |= 0x20
				}
				if octet != rest[1+i] {
					return 0, false
				}
			}
			off, rest = off+1+length, rest[1+length:]
			if pointers == 0 {
				end = off
			}
			if length == 0 {
				return end, true
			}
		}
	}
	return 0, false
}

// sign reads the rdata of an RRSIG over qtype by a zone that the name is in.
func (g *glimpse) sign(h *hand, rdata []byte, qtype uint16) bool {
	const fixed = 18
	if len(rdata) < fixed || binary.BigEndian.Uint16(rdata) != qtype {
		return false
	}
	end, err := skipName(rdata, fixed)
	if err != nil || end > len(rdata) || !bytes.HasSuffix(h.name, rdata[fixed:end]) || end == fixed+1 {
		return false
	}
	g.signed = rdata
	g.sig = dns.RRSIG{
		Hdr:         dns.RR_Header{Name: h.owner, Rrtype: dns.TypeRRSIG, Class: dns.ClassINET},
		TypeCovered: qtype, Algorithm: rdata[2], Labels: rdata[3], OrigTtl: binary.BigEndian.Uint32(rdata[4:]),
		Expiration: binary.BigEndian.Uint32(rdata[8:]), Inception: binary.BigEndian.Uint32(rdata[12:]),
		KeyTag: binary.BigEndian.Uint16(rdata[16:]),
		// The octets of a name without escapes are its text, after the first.
		SignerName: h.owner[len(h.owner)-(end-fixed-1):],
	}
	return true
}

// plainOPT reports whether p begins with an OPT record that says nothing.
func plainOPT(p []byte) bool {
	return len(p) >= 11 && p[0] == 0 && binary.BigEndian.Uint16(p[1:]) == dns.TypeOPT && p[5] == 0 && binary.BigEndian.Uint16(p[9:]) == 0
}

// sight is all three answers, seen at a glance.
type sight struct {
	glimpses [len(types)]glimpse
	makers   [len(types)]validate.Fingerprint // the keys that have to have signed
}

// look returns what the answers in hand look like, if they could be an announcement
// that was accepted before, and if all that may have changed since is as it has to
// be: the times of the signatures, and the keys that made them, down from the trust
// anchor.
func (c *collection) look(h *hand) (*sight, bool) {
	if len(h.owner)+1 != len(h.name) { // a name with escapes
		return nil, false
	}
	s := new(sight)
	var sigs [len(types)]*dns.RRSIG
	for i, qtype := range types {
		if h.questions[i].err != nil {
			return nil, false
		}
		var ok bool
		if s.glimpses[i], ok = h.glance(h.questions[i].octets, qtype); !ok {
			return nil, false
		}
		sigs[i] = &s.glimpses[i].sig
	}
	return s, c.f.validator.Makers(h.owner, sigs[:], s.makers[:])
}

// fingerprint identifies all that the verdict on the answers depends on but for
// what look has looked at: whose they are, the records, in whatever order, the
// signatures, and the keys that made them.
func (c *collection) fingerprint(s *sight) validate.Fingerprint {
	p := make([]byte, 0, 2048)
	p = appendCounted(p, c.zone)
	p = appendCounted(p, c.host)
	for i := range s.glimpses {
		g := &s.glimpses[i]
		rdatas := g.rdatas
		if len(rdatas) > 1 {
			rdatas = slices.Clone(rdatas)
			slices.SortFunc(rdatas, bytes.Compare)
		}
		p = binary.BigEndian.AppendUint16(p, uint16(len(rdatas))) // #nosec G115
		for _, rdata := range rdatas {
			p = appendCounted(p, rdata)
		}
		p = appendCounted(p, g.signed)
		p = append(p, s.makers[i][:]...)
	}
	return validate.FingerprintOf(p)
}

// appendCounted appends octets so that it shows where they end.
func appendCounted[T string | []byte](p []byte, octets T) []byte {
	p = binary.BigEndian.AppendUint16(p, uint16(len(octets))) // #nosec G115 -- a name, or of a datagram
	return append(p, octets...)
}

// announcement returns what the answers announce.
func (s *sight) announcement(now time.Time) (a merge.Announcement, ok bool) {
	inceptions := []*time.Time{&a.Inception.DNSKEY, &a.Inception.CDNSKEY, &a.Inception.CDS}
	for i, qtype := range types {
		g := &s.glimpses[i]
		a.TTL = max(a.TTL, time.Duration(g.sig.OrigTtl)*time.Second)
		*inceptions[i] = serialTime(g.sig.Inception, now)
		for _, rdata := range g.rdatas {
			if len(rdata) < 4 {
				return a, false
			}
			switch qtype {
			case dns.TypeDNSKEY:
				a.DNSKEY = append(a.DNSKEY, keyIn(rdata))
			case dns.TypeCDNSKEY:
				a.CDNSKEY = append(a.CDNSKEY, keyIn(rdata))
			case dns.TypeCDS:
				d := merge.DS{KeyTag: binary.BigEndian.Uint16(rdata), Algorithm: rdata[2], DigestType: rdata[3], Digest: strings.ToUpper(hex.EncodeToString(rdata[4:]))}
				if strong(d) {
					a.CDS = append(a.CDS, d)
				}
			}
		}
	}
	return a, true
}

// keyIn returns the key in the rdata of a DNSKEY or CDNSKEY record (RFC 4034 section
// 2.1).
func keyIn(rdata []byte) merge.Key {
	return merge.Key{
		Flags: binary.BigEndian.Uint16(rdata), Protocol: rdata[2], Algorithm: rdata[3],
		PublicKey: base64.StdEncoding.EncodeToString(rdata[4:]),
	}
}

// holds returns how long the answers may be kept, as [validate.Result.TTL] does.
func (s *sight) holds(now time.Time) time.Duration {
	least := s.glimpses[0].ttl
	for i := range s.glimpses {
		g := &s.glimpses[i]
		left := g.sig.Expiration - uint32(now.Unix()) // #nosec G115 -- not negative: it was looked at
		least = min(least, g.ttl, g.sig.OrigTtl, left)
	}
	return time.Duration(least) * time.Second
}

// recall returns what an announcement in hand comes to that was accepted before, to
// the octet. What does not depend on its octets alone is looked at anew.
func (c *collection) recall(ctx context.Context, r *route, s *sight) (Result, bool) {
	if !c.f.known.Has(c.fingerprint(s)) {
		return Result{}, false
	}
	a, ok := s.announcement(c.at)
	if !ok || c.known.Replayed(a) != "" {
		return Result{}, false
	}
	if !c.ownSigners(s) {
		answers := make([]answer, len(types))
		for i, qtype := range types {
			answers[i] = answer{qtype: qtype, result: validate.Result{Status: validate.Secure, Signer: s.glimpses[i].sig.SignerName}}
		}
		c.checkSigners(ctx, c.f.validator.Session(r), answers)
		if slices.ContainsFunc(answers, func(a answer) bool { return a.result.Status != validate.Secure }) {
			return Result{}, false
		}
	}
	reason := c.accepted(c.rrsets(a), a, nil, s.glimpses[0].sig.SignerName)
	return Result{Verdict: Secure, Reason: reason, Announcement: a, TTL: s.holds(c.f.now())}, true
}

// ownSigners reports whether all signers are zones of the host's own.
func (c *collection) ownSigners(s *sight) bool {
	domain := announce.SignalingDomain(c.host)
	for i := range s.glimpses {
		if signer := s.glimpses[i].sig.SignerName; signer != domain && !dns.IsSubDomain(domain, signer) {
			return false
		}
	}
	return true
}

// remember notes that the announcement in hand was accepted, with what came of it
// and by which answers. Whatever would be recalled as something else is not.
func (c *collection) remember(h *hand, s *sight, accepted merge.Announcement, answers []answer) {
	for i, a := range answers {
		if !h.taken[i].Load() || a.result.Sig == nil || a.result.Key != s.makers[i] {
			return
		}
		signature, err := base64.StdEncoding.DecodeString(a.result.Sig.Signature)
		if err != nil || !bytes.HasSuffix(s.glimpses[i].signed, signature) {
			return
		}
	}
	if a, ok := s.announcement(c.at); ok && same(a, accepted) {
		c.f.known.Put(c.fingerprint(s))
	}
}

// same reports whether two announcements say the same in the same order.
func same(a, b merge.Announcement) bool {
	return slices.Equal(a.DNSKEY, b.DNSKEY) && slices.Equal(a.CDNSKEY, b.CDNSKEY) && slices.Equal(a.CDS, b.CDS) &&
		a.TTL == b.TTL && a.Inception == b.Inception
}
