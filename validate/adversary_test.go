package validate_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/validate"
)

// questions is what the adversary's victim asks. The zones above the names are
// secure, and none opts out: no verdict may be insecure.
var questions = []dns.Question{
	{Name: "ns1.example.net.", Qtype: dns.TypeA}, {Name: "ns1.example.net.", Qtype: dns.TypeTXT}, {Name: "zz.example.net.", Qtype: dns.TypeTXT},
	{Name: "none.example.net.", Qtype: dns.TypeTXT}, {Name: "b.deep.example.net.", Qtype: dns.TypeTXT}, {Name: "x.wild.example.net.", Qtype: dns.TypeTXT},
	{Name: "sub.closer.wild.example.net.", Qtype: dns.TypeTXT}, {Name: "x.closer.wild.example.net.", Qtype: dns.TypeTXT},
	{Name: "alias.example.net.", Qtype: dns.TypeA}, {Name: "ns1.moved.example.net.", Qtype: dns.TypeA}, {Name: "example.net.", Qtype: dns.TypeDNSKEY},
	{Name: "ns1.example.org.", Qtype: dns.TypeA}, {Name: "none.example.org.", Qtype: dns.TypeA}, {Name: "x.wild.example.org.", Qtype: dns.TypeTXT},
	{Name: "x.closer.wild.example.org.", Qtype: dns.TypeTXT}, {Name: "b.deep.example.org.", Qtype: dns.TypeA}, {Name: "example.org.", Qtype: dns.TypeMX},
	{Name: "ns1.compact.net.", Qtype: dns.TypeA}, {Name: "none.compact.net.", Qtype: dns.TypeA},
	{Name: "_multi.example.co.uk." + signal, Qtype: dns.TypeTXT}, {Name: "_multi.example.co.uk." + signal, Qtype: dns.TypeA}, {Name: signal, Qtype: dns.TypeDS},
}

// truth is a hierarchy, and what is true in it.
type truth struct {
	*lab.Lab
	answers []*dns.Msg // to questions and to what the chain asks
	pool    []dns.RR   // every record that anyone signed
}

func newTruth(t testing.TB) *truth {
	l := hierarchy(t)
	evil := l.Add(lab.Zone{Name: "evil.net.", Records: "*.x TXT evil\nns1 TXT evil\n"})
	tr := &truth{Lab: l}
	asked := slices.Clone(questions)
	for _, z := range []string{".", "net.", "org.", "uk.", "example.net.", "example.org.", "compact.net.", "lies.net.", "evil.net.", "unsigned.example.net.", signal} {
		for _, qtype := range []uint16{dns.TypeDS, dns.TypeDNSKEY, dns.TypeSOA} {
			asked = append(asked, dns.Question{Name: z, Qtype: qtype})
		}
	}
	for _, name := range []string{"ns1.evil.net.", "none.evil.net.", "none.net.", "none.lies.net.", "unsigned.example.org."} {
		asked = append(asked, dns.Question{Name: name, Qtype: dns.TypeDS})
	}
	for _, q := range asked {
		m := ask(t, l, q.Name, q.Qtype)
		tr.answers = append(tr.answers, m)
		tr.pool = append(append(tr.pool, m.Answer...), m.Ns...)
	}
	// What evil.net. signs though it may not.
	for _, q := range questions {
		set := records(fmt.Sprintf("%s 300 IN TXT evil", q.Name))
		tr.pool = append(append(tr.pool, set...), evil.Sign(set)...)
		set = records(fmt.Sprintf("%s 300 IN NSEC \\000.%s RRSIG NSEC", q.Name, q.Name))
		tr.pool = append(append(tr.pool, set...), evil.Sign(set)...)
	}
	return tr
}

// check fails the test if a verdict says what is not true.
func (tr *truth) check(t *testing.T, q dns.Question, r validate.Result, mayBeInsecure bool) {
	t.Helper()
	var honest *dns.Msg
	for _, m := range tr.answers {
		if m.Question[0].Name == q.Name && m.Question[0].Qtype == q.Qtype {
			honest = m
		}
	}
	data := keep(honest.Answer, func(rr dns.RR) bool { return rr.Header().Name == q.Name && rr.Header().Rrtype == q.Qtype })
	aliased := len(honest.Answer) > 0 && len(data) == 0
	switch {
	case r.Status == validate.Insecure && !mayBeInsecure:
		t.Errorf("%s: Expected not to be insecure: %v", q.String(), r.Reason)
	case r.Status != validate.Secure:
		if r.Reason == nil {
			t.Errorf("%s: Expected a reason for %s", q.String(), r.Status)
		}
	case r.Denied:
		if len(data) > 0 || aliased {
			t.Errorf("%s: Expected not to be denied", q.String())
		}
	case r.Alias != nil:
		if !aliased {
			t.Errorf("%s: Expected no alias, got %v", q.String(), r.Alias)
		}
	case texts(r.RRset) != texts(data):
		t.Errorf("%s: Expected %v, got %v", q.String(), data, r.RRset)
	case r.Wildcard != strings.HasPrefix(q.Name, "x.wild"):
		t.Errorf("%s: Expected another wildcard than %t", q.String(), r.Wildcard)
	}
}

// texts returns the records without their TTL, in order. The case of names in the
// data of these types is not signed (RFC 4034 section 6.2).
func texts(rrs []dns.RR) string {
	var out []string
	for _, rr := range rrs {
		rr = dns.Copy(rr)
		rr.Header().Ttl = 0
		text := rr.String()
		switch rr.(type) {
		case *dns.SOA, *dns.NS, *dns.MX, *dns.CNAME, *dns.DNAME:
			text = strings.ToLower(text)
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// adversary is an Exchanger on whose way someone changes the answers.
type adversary struct {
	*truth
	*rand.Rand
	rate float64
}

func (a *adversary) Exchange(ctx context.Context, name string, qtype uint16, cd bool) (*dns.Msg, error) {
	m, err := a.truth.Exchange(ctx, name, qtype, cd)
	if err != nil {
		return nil, err
	}
	for a.Float64() < a.rate {
		a.change(m, name)
	}
	return m, nil
}

// change does one random thing to an answer.
func (a *adversary) change(m *dns.Msg, name string) {
	section := &m.Answer
	if a.IntN(2) == 0 {
		section = &m.Ns
	}
	names := []string{name, name, questions[a.IntN(len(questions))].Name, above(name), "*.example.net."}
	other := names[a.IntN(len(names))]
	var some dns.RR
	if len(*section) > 0 {
		some = (*section)[a.IntN(len(*section))]
	}
	switch a.IntN(12) {
	case 0: // drop
		if i := a.IntN(len(*section) + 1); i < len(*section) {
			*section = slices.Delete(*section, i, i+1)
		}
	case 1: // replay
		r := a.answers[a.IntN(len(a.answers))].Copy()
		m.Rcode, m.Answer, m.Ns = r.Rcode, r.Answer, r.Ns
	case 2: // replay one section
		r := a.answers[a.IntN(len(a.answers))].Copy()
		*section = append(*section, r.Ns...)
	case 3: // add
		for range 1 + a.IntN(4) {
			*section = append(*section, dns.Copy(a.pool[a.IntN(len(a.pool))]))
		}
	case 4: // rename one owner
		if some != nil {
			some.Header().Name = other
		}
	case 5: // rename an owner everywhere
		if some != nil {
			was := some.Header().Name
			lab.Each(0, func(rr dns.RR) {
				if rr.Header().Name == was {
					rr.Header().Name = other
				}
			})(m)
		}
	case 6: // say that others signed
		signers := []string{".", "net.", "org.", "example.net.", "example.org.", "evil.net.", signal, other}
		signer := signers[a.IntN(len(signers))]
		lab.EachSig(0, func(s *dns.RRSIG) { s.SignerName = signer })(m)
	case 7: // sections exchanged
		m.Answer, m.Ns = m.Ns, m.Answer
	case 8: // another field
		if sig, ok := some.(*dns.RRSIG); ok {
			switch a.IntN(5) {
			case 0:
				sig.Labels = uint8(a.IntN(8))
			case 1:
				sig.KeyTag++
			case 2:
				sig.Expiration = a.Uint32()
			case 3:
				sig.TypeCovered = dns.TypeTXT
			case 4:
				sig.OrigTtl = 0
			}
		}
	case 9: // strip
		*section = keep(*section, func(rr dns.RR) bool { return rr.Header().Rrtype != dns.TypeRRSIG })
	case 10: // sign with a key of one's own
		if some != nil && some.Header().Rrtype != dns.TypeRRSIG {
			set := []dns.RR{dns.Copy(some)}
			set[0].Header().Name = other
			evil := a.Zone("evil.net.")
			signer := []string{"evil.net.", "example.net.", "net."}[a.IntN(3)]
			*section = append(*section, set[0], evil.SignWith(evil.Keys[1], set, func(s *dns.RRSIG) { s.SignerName = signer }))
		}
	case 11: // what a denial says
		switch rr := some.(type) {
		case *dns.NSEC:
			rr.NextDomain, rr.TypeBitMap = other, rr.TypeBitMap[a.IntN(len(rr.TypeBitMap)+1):]
		case *dns.NSEC3:
			rr.Flags ^= 1
			rr.Iterations = uint16(a.IntN(200))
		}
	}
}

// above returns the name without its first label.
func above(name string) string {
	if i := strings.IndexByte(name, '.'); i+1 < len(name) {
		return name[i+1:]
	}
	return "."
}

func TestAnAdversaryOnThePathNeverWins(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // what waits for itself fails
	defer cancel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	tr := newTruth(t)
	shared := validator(t, tr.Lab)
	secure := 0
	for range 1500 {
		v := shared
		if rnd.IntN(3) == 0 {
			v = validator(t, tr.Lab)
		}
		q := questions[rnd.IntN(len(questions))]
		x := &adversary{truth: tr, Rand: rnd, rate: []float64{0.3, 0.6, 0.9}[rnd.IntN(3)]}
		r, err := v.Lookup(ctx, x, q.Name, q.Qtype)
		if err != nil {
			t.Fatalf("%s: %v", q.String(), err)
		}
		tr.check(t, q, r, false)
		if r.Status == validate.Secure {
			secure++
		}
	}
	if secure == 0 {
		t.Error("Expected some of the answers to be left alone")
	}
	// Nor did it leave anything behind.
	for _, q := range questions {
		r, err := shared.Lookup(t.Context(), tr, q.Name, q.Qtype)
		if err != nil || r.Status != validate.Secure {
			t.Errorf("%s: Expected secure, got %+v, %v", q.String(), r, err)
		}
		tr.check(t, q, r, false)
	}
}
