package validate_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/validate"
)

// worst are the answers that cost most, each in a world of its own: what is asked,
// as for an announcement, and what it is to come to.
var worst = []struct {
	name  string
	world func(testing.TB) *lab.Lab
	qname string
	check validate.Check // "" if it is to be secure
}{
	{"honest: six zones of P-384, NSEC3 with 100 iterations", honestChain(dns.ECDSAP384SHA384), deepName, ""},
	{"signatures by P-384", sameTag(dns.ECDSAP384SHA384), "ns1.evil.net.", validate.CheckLimit},
	{"keys of one tag x signatures, RSA-4096", sameTag(dns.RSASHA512), "ns1.evil.net.", validate.CheckLimit},
	{"keys of one tag x signatures, RSA-1024", sameTag(dns.RSASHA256), "ns1.evil.net.", validate.CheckLimit},
	{"DS x keys of one tag", manyDS, "ns1.evil.net.", validate.CheckKey},
	{"RRset of 64 KB x signatures", hugeRRset(470, 110), "ns1.evil.net.", validate.CheckLimit},
	{"RRset of 500 records x signatures", hugeRRset(490, 4), "ns1.evil.net.", validate.CheckLimit},
	{"denials x signatures", manyDenials, "ns1.evil.net.", validate.CheckLimit},
	{"NSEC3 of a name with 120 labels, 100 iterations", hashed, strings.Repeat("a.", 110) + "evil.net.", validate.CheckLimit},
	{"SOA everywhere with long names", longSOA, strings.Repeat("a.", 110) + "evil.net.", validate.CheckLimit},
	{"chain of 19 zones of P-384", chainOf(19, dns.ECDSAP384SHA384), deepest(19), validate.CheckLimit},
	{"a DNSKEY RRset of 64 KB", hugeKeys, "ns1.evil.net.", validate.CheckSignature},
}

// recorded answers as the lab did before, so that only the validator works.
type recorded struct {
	l       *lab.Lab
	mu      sync.Mutex
	answers map[dns.Question]*dns.Msg
}

func (r *recorded) Exchange(ctx context.Context, name string, qtype uint16, cd bool) (*dns.Msg, error) {
	q := dns.Question{Name: name, Qtype: qtype}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answers[q] == nil {
		m, err := r.l.Exchange(ctx, name, qtype, cd)
		if err != nil {
			return nil, err
		}
		r.answers[q] = m
	}
	return r.answers[q], nil
}

const deepName = "none.a.a.a.a.a."

// deepest returns the name of a chain's lowest zone.
func deepest(zones int) string { return strings.Repeat("a.", zones) }

// honestChain returns a root and five zones, each below the last, with two
// signatures for each RRset.
func honestChain(algorithm uint8) func(testing.TB) *lab.Lab {
	return func(t testing.TB) *lab.Lab {
		l := lab.New(t, now)
		for n := range 6 {
			zone := lab.Zone{Name: deepest(n), Denial: lab.NSEC3, Iterations: 100, Salt: "0123456789ABCDEF"}
			if n == 0 {
				zone.Name = "."
			}
			for _, flags := range []uint16{257, 256} {
				for _, seed := range []string{"a", "b"} {
					k := lab.NewKey(zone.Name, algorithm, flags, seed)
					zone.Keys = append(zone.Keys, k)
				}
			}
			l.Add(zone)
		}
		return l
	}
}

func chainOf(zones int, algorithm uint8) func(testing.TB) *lab.Lab {
	return func(t testing.TB) *lab.Lab {
		l := lab.New(t, now)
		l.Add(lab.Zone{Name: ".", Algorithm: algorithm})
		for n := range zones {
			l.Add(lab.Zone{Name: deepest(n + 1), Algorithm: algorithm})
		}
		return l
	}
}

// evil returns a lab whose zone evil.net. has a good key, and others after it.
func evil(t testing.TB, records string, keys ...*lab.Key) (*lab.Lab, *lab.Zone) {
	l := lab.New(t, now)
	l.Add(lab.Zone{Name: "."})
	l.Add(lab.Zone{Name: "net."})
	good := lab.NewKey("evil.net.", dns.ED25519, 257, "")
	z := l.Add(lab.Zone{Name: "evil.net.", Records: records, Keys: append([]*lab.Key{good}, keys...)})
	z.SignRRset = func(rrs []dns.RR) []dns.RR {
		if rrs[0].Header().Rrtype == dns.TypeDNSKEY {
			return []dns.RR{z.SignWith(good, rrs)}
		}
		if len(keys) == 0 {
			return spoiled(z.SignWith(good, rrs), 16)
		}
		return spoiled(signature(z, keys[0], rrs), 16)
	}
	return l, z
}

// signature returns one of the size that the key makes.
func signature(z *lab.Zone, k *lab.Key, rrs []dns.RR) *dns.RRSIG {
	sig := z.SignWith(k, rrs)
	if k.Signer == nil {
		public, _ := base64.StdEncoding.DecodeString(k.PublicKey)
		sig.Signature = base64.StdEncoding.EncodeToString(make([]byte, len(public)-5))
	}
	return sig
}

const announcement = "ns1 CDS 1 13 2 " + "00\nns1 TXT a\nns1 DNSKEY 256 3 13 AAAA\nns1 CDNSKEY 257 3 13 AAAA\n"

// sameTag has up to 16 keys of one tag, and 16 signatures by that tag for each
// RRset.
func sameTag(algorithm uint8) func(testing.TB) *lab.Lab {
	return func(t testing.TB) *lab.Lab {
		var keys []*lab.Key
		for i := range 16 {
			keys = append(keys, tagged(algorithm, i))
		}
		l, _ := evil(t, announcement, keys...)
		return l
	}
}

// tagged returns the i-th of the RSA keys that have one tag; of other algorithms
// there is but one.
func tagged(algorithm uint8, i int) *lab.Key {
	size := map[uint8]int{dns.RSASHA256: 128, dns.RSASHA512: 512}[algorithm]
	if size == 0 {
		return lab.NewKey("evil.net.", algorithm, 256, "")
	}
	k := lab.NewKey("evil.net.", dns.ED25519, 256, "")
	k.DNSKEY = dns.Copy(k.DNSKEY).(*dns.DNSKEY)
	public := append([]byte{4, 0x7f, 0xff, 0xff, 0xff}, make([]byte, size)...)
	for j := range size {
		public[5+j] = byte(j*7 + 131)
	}
	public[5], public[4+size] = 0xc1, 0xff
	k.Algorithm, k.Signer = algorithm, nil
	// What one pair of octets gains, another loses.
	binary.BigEndian.PutUint16(public[11:], uint16(1000+i))
	binary.BigEndian.PutUint16(public[21:], uint16(60000-i))
	k.PublicKey = base64.StdEncoding.EncodeToString(public)
	return k
}

// manyDS has 32 DS records of one tag, and 60 keys with it of which none is meant.
func manyDS(t testing.TB) *lab.Lab {
	var keys []*lab.Key
	for i := range 60 {
		keys = append(keys, tagged(dns.RSASHA512, i))
		keys[i].Flags = 257
	}
	l, _ := evil(t, announcement, keys...)
	var ds []string
	for i := range 32 {
		ds = append(ds, fmt.Sprintf("evil.net. 300 IN DS %d %d %d %0*X", keys[0].KeyTag(), dns.RSASHA512, []int{2, 4}[i%2], []int{64, 96}[i%2], i))
	}
	l.Add(lab.Zone{Name: "net.", Records: strings.Join(ds, "\n") + "\n"})
	return l
}

// hugeRRset has RRsets of so many records of so many octets.
func hugeRRset(records, octets int) func(testing.TB) *lab.Lab {
	return func(t testing.TB) *lab.Lab {
		l, z := evil(t, announcement, tagged(dns.RSASHA256, 0))
		l.Tamper("ns1.evil.net.", 0, func(m *dns.Msg) *dns.Msg {
			m.Answer = nil
			for i := range records {
				m.Answer = append(m.Answer, &dns.RFC3597{Rdata: fmt.Sprintf("%0*X", 2*octets, i),
					Hdr: dns.RR_Header{Name: "ns1.evil.net.", Rrtype: m.Question[0].Qtype, Class: dns.ClassINET, Ttl: 300}})
			}
			m.Answer = append(m.Answer, spoiled(signature(z, z.Keys[1], m.Answer), 16)...)
			return m
		})
		return l
	}
}

// manyDenials has eight NSEC with sixteen signatures each.
func manyDenials(t testing.TB) *lab.Lab {
	l, z := evil(t, announcement, tagged(dns.RSASHA512, 0))
	l.Tamper("ns1.evil.net.", 0, func(m *dns.Msg) *dns.Msg {
		m.Answer, m.Ns = nil, nil
		for i := range 8 {
			set := records(fmt.Sprintf("%c%d.evil.net. 300 IN NSEC z.evil.net. A", 'a'+i, m.Question[0].Qtype))
			m.Ns = append(append(m.Ns, set...), spoiled(signature(z, z.Keys[1], set), 16)...)
		}
		return m
	})
	return l
}

// hashed has NSEC3 that match no ancestor of a name, though each is hashed.
func hashed(t testing.TB) *lab.Lab {
	l, z := evil(t, announcement)
	l.Tamper(strings.Repeat("a.", 110)+"evil.net.", 0, func(m *dns.Msg) *dns.Msg {
		m.Answer, m.Ns = nil, nil
		for i := range 8 {
			set := records(fmt.Sprintf("%032d.evil.net. 300 IN NSEC3 1 0 100 %s 00000000000000000000000000000001 A", i, strings.Repeat("AB", 255)))
			m.Ns = append(append(m.Ns, set...), z.SignWith(z.Keys[0], set))
		}
		return m
	})
	return l
}

// longSOA has no signatures, and SOA records that are of no zone above the name.
func longSOA(t testing.TB) *lab.Lab {
	l, _ := evil(t, announcement)
	l.Tamper("", dns.TypeSOA, func(m *dns.Msg) *dns.Msg {
		m.Answer, m.Ns = nil, nil
		for i := range 20 {
			owner := strings.Repeat("b.", 100) + fmt.Sprint(i) + ".evil.net."
			m.Ns = append(m.Ns, &dns.SOA{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 300}, Ns: owner, Mbox: owner})
		}
		return m
	})
	l.Tamper(strings.Repeat("a.", 110)+"evil.net.", dns.TypeTXT, lab.StripSignatures)
	for _, qtype := range announced {
		l.Tamper(strings.Repeat("a.", 110)+"evil.net.", qtype, lab.StripSignatures)
	}
	return l
}

// hugeKeys has 64 KB of other keys in each DNSKEY RRset.
func hugeKeys(t testing.TB) *lab.Lab {
	l, _ := evil(t, announcement)
	l.Tamper("", dns.TypeDNSKEY, func(m *dns.Msg) *dns.Msg {
		for i := range 60 {
			m.Answer = append(m.Answer, &dns.DNSKEY{Hdr: dns.RR_Header{Name: m.Question[0].Name, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 300},
				Flags: 256, Protocol: 3, Algorithm: 13, PublicKey: base64.StdEncoding.EncodeToString(append(make([]byte, 1000), byte(i)))})
		}
		return m
	})
	return l
}

// announced are the types that are asked for together.
var announced = []uint16{dns.TypeDNSKEY, dns.TypeCDNSKEY, dns.TypeCDS}

func TestWorstAnswersCostNoMoreThanASessionMay(t *testing.T) {
	for _, tc := range worst {
		t.Run(tc.name, func(t *testing.T) {
			x := &recorded{l: tc.world(t), answers: make(map[dns.Question]*dns.Msg)}
			s := validator(t, x.l).Session(x)
			var last want
			for _, qtype := range announced {
				r, err := s.Lookup(t.Context(), tc.qname, qtype)
				if err != nil {
					t.Fatal(err)
				}
				last = got(r)
			}
			if tc.check == "" && last.status != validate.Secure || tc.check != "" && last != bogus(tc.check) {
				t.Errorf("Expected %q, got %+v", tc.check, last)
			}
			if cost := validate.Cost(s); cost > 12000 {
				t.Errorf("Expected at most 12000 units, got %d", cost)
			}
		})
	}
}
