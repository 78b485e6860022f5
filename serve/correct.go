package serve

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// maxIterations is the most NSEC3 iterations that are computed. Resolvers need
// not go further (RFC 9276 section 3.2), and do not believe what they did not
// compute.
const maxIterations = 150

// Correct puts right what m, an answer of the plugin chain to a question with
// DO, says of the types at the apex (rule S2): in an NSEC or NSEC3 of the apex,
// the bits of DNSKEY, CDS, CDNSKEY, CNS (type cnsType) and CSYNC are set if and
// only if the type is answered with data now; all other bits stay. The record
// is signed anew by a.Data, within the budget of o. What already is right
// comes back as it is, m itself. Otherwise it is a copy, since others may hold
// the records of m.
//
// The bit of a type that fails is set rather than cleared: a denial kept by a
// resolver would outlast the failure. A view that fails and has no key to sign
// that with knows nothing of the zone, and m stays as it is.
func Correct(m *dns.Msg, a *Apex, cnsType uint16, o *Online, now time.Time) (*dns.Msg, error) {
	if a == nil || a.DNSKEY.Answer == Failing && len(a.Data) == 0 {
		return m, nil
	}
	c := &corrector{msg: m, apex: a, cnsType: cnsType, online: o, now: now}
	answer, err := c.section(m.Answer)
	if err != nil {
		return nil, err
	}
	ns, err := c.section(m.Ns)
	if err != nil {
		return nil, err
	}
	if !c.changed {
		return m, nil
	}
	corrected := *m
	corrected.Answer, corrected.Ns = answer, ns
	return &corrected, nil
}

// corrector corrects one message.
type corrector struct {
	msg     *dns.Msg
	apex    *Apex
	cnsType uint16
	online  *Online
	now     time.Time
	changed bool

	hashed hashed // the apex, as hashed last
}

// hashed is a name hashed for NSEC3.
type hashed struct {
	name       string
	iterations uint16
	salt       string
}

// section returns the records of a section with those of the apex put right,
// rrs itself if they were.
func (c *corrector) section(rrs []dns.RR) ([]dns.RR, error) {
	for i := 0; i < len(rrs); i++ {
		bitmap := c.bitmap(rrs[i])
		if bitmap == nil {
			continue
		}
		types := c.types(*bitmap)
		if slices.Equal(types, *bitmap) {
			continue
		}
		var err error
		if rrs, err = c.replace(rrs, i, types); err != nil {
			return nil, err
		}
		c.changed = true
		i = -1 // the signatures that went may have stood before
	}
	return rrs, nil
}

// bitmap returns the bitmap of rr, or nil if it is no NSEC or NSEC3 of the
// apex. The NSEC on the parent's side of the zone cut has the same owner, but no
// SOA (RFC 4035 section 2.3).
func (c *corrector) bitmap(rr dns.RR) *[]uint16 {
	if rr.Header().Class != dns.ClassINET {
		return nil
	}
	switch rr := rr.(type) {
	case *dns.NSEC:
		if strings.EqualFold(rr.Hdr.Name, c.apex.Zone) && slices.Contains(rr.TypeBitMap, dns.TypeSOA) {
			return &rr.TypeBitMap
		}
	case *dns.NSEC3:
		if c.matches(rr) {
			return &rr.TypeBitMap
		}
	}
	return nil
}

// matches reports whether rr is the NSEC3 of the apex.
func (c *corrector) matches(rr *dns.NSEC3) bool {
	next, root := dns.NextLabel(rr.Hdr.Name, 0)
	above := rr.Hdr.Name[next:]
	if root {
		above = "."
	}
	if next == 0 || !strings.EqualFold(above, c.apex.Zone) || rr.Hash != dns.SHA1 || rr.Iterations > maxIterations {
		return false
	}
	if c.hashed.name == "" || c.hashed.iterations != rr.Iterations || c.hashed.salt != rr.Salt {
		c.hashed = hashed{dns.HashName(c.apex.Zone, rr.Hash, rr.Iterations, rr.Salt), rr.Iterations, rr.Salt}
	}
	return c.hashed.name != "" && strings.EqualFold(strings.TrimSuffix(rr.Hdr.Name[:next], "."), c.hashed.name)
}

// types returns what a bitmap of the apex should be, in ascending order:
// present itself if it is that.
func (c *corrector) types(present []uint16) []uint16 {
	types := present
	if !slices.IsSorted(types) {
		types = slices.Sorted(slices.Values(present))
	}
	for _, qtype := range []uint16{dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeCSYNC, c.cnsType} {
		i, is := slices.BinarySearch(types, qtype)
		switch want := c.wants(qtype); {
		case want == is:
		case want:
			types = slices.Insert(slices.Clone(types), i, qtype)
		default:
			types = slices.Delete(slices.Clone(types), i, i+1)
		}
	}
	return types
}

// wants reports whether the bit of a type should be set.
func (c *corrector) wants(qtype uint16) bool {
	switch qtype {
	case c.cnsType:
		return c.has(qtype, c.apex.HasCNS)
	case dns.TypeCSYNC:
		return c.apex.Answers(qtype) || c.has(qtype, c.apex.HasCSYNC)
	}
	return c.apex.Set(qtype).Answer != Withheld
}

// has reports whether the chain has data of a type at the apex. If that is what
// the message is about, it knows better than the view.
func (c *corrector) has(qtype uint16, had bool) bool {
	m := c.msg
	if len(m.Question) != 1 || m.Question[0].Qtype != qtype || !strings.EqualFold(m.Question[0].Name, c.apex.Zone) {
		return had
	}
	return slices.ContainsFunc(m.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype == qtype })
}

// replace returns a copy of rrs with that bitmap in the record at i, and its
// signatures replaced by ours.
func (c *corrector) replace(rrs []dns.RR, i int, types []uint16) ([]dns.RR, error) {
	wrong := rrs[i].Header()
	right := dns.Copy(rrs[i])
	switch rr := right.(type) {
	case *dns.NSEC:
		rr.TypeBitMap = types
	case *dns.NSEC3:
		rr.TypeBitMap = types
	}
	covers := func(rr dns.RR) bool {
		sig, ok := rr.(*dns.RRSIG)
		return ok && sig.TypeCovered == wrong.Rrtype && strings.EqualFold(sig.Hdr.Name, wrong.Name)
	}
	// What is signed is the original TTL, of which the record may have a part
	// only (RFC 4034 section 3.1.4).
	ttl := wrong.Ttl
	if at := slices.IndexFunc(rrs, covers); at >= 0 {
		right.Header().Ttl = rrs[at].(*dns.RRSIG).OrigTtl
	}
	sigs, err := c.online.Sign([]dns.RR{right}, c.apex.Data, c.now)
	if err != nil {
		return nil, fmt.Errorf("correcting the %s of zone %q: %w", dns.Type(wrong.Rrtype), c.apex.Zone, err)
	}
	right.Header().Ttl = ttl

	corrected := make([]dns.RR, 0, len(rrs)+len(sigs))
	for j, rr := range rrs {
		switch {
		case j == i:
			corrected = append(corrected, right)
			for _, sig := range sigs {
				sig.Hdr.Ttl = ttl
				corrected = append(corrected, sig)
			}
		case !covers(rr):
			corrected = append(corrected, rr)
		}
	}
	return corrected, nil
}
