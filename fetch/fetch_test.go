package fetch

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/validate"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	zone       = "example.co.uk."
	host       = "ns1.example.net."
	signalZone = "_signal.ns1.example.net."
	owner      = "_multi.example.co.uk._signal.ns1.example.net."
)

// The keys that host announces for zone.
var (
	ksk = lab.NewKey(zone, dns.ECDSAP256SHA256, 257, "ksk")
	zsk = lab.NewKey(zone, dns.ECDSAP256SHA256, 256, "zsk")
)

// line returns rr at the signaling name, in zone-file form.
func line(rr dns.RR) string {
	rr.Header().Name = owner
	return rr.String() + "\n"
}

func dnskeys(ks ...*lab.Key) (text string) {
	for _, k := range ks {
		text += line(merge.KeyOf(k.DNSKEY).DNSKEY(owner, 3600))
	}
	return text
}

func cdnskeys(ks ...*lab.Key) (text string) {
	for _, k := range ks {
		text += line(merge.KeyOf(k.DNSKEY).CDNSKEY(owner, 3600))
	}
	return text
}

// cdss returns the digests of ks.
func cdss(digestType uint8, ks ...*lab.Key) (text string) {
	for _, k := range ks {
		text += line(k.ToDS(digestType).ToCDS())
	}
	return text
}

// announced is what a provider with ksk and zsk announces.
func announced() string { return dnskeys(zsk) + cdnskeys(ksk) + cdss(dns.SHA256, ksk) }

// stage is a hierarchy that can still be changed: zones by name, what is done
// to the resolver's answers, and who asks for what.
type stage struct {
	t          *testing.T
	zones      map[string]*lab.Zone
	tamper     func(*lab.Lab)
	zone, host string
}

// newStage returns a hierarchy in which host announces records for zone in a
// delegated signaling zone.
func newStage(t *testing.T, records string) *stage {
	s := &stage{t: t, zones: make(map[string]*lab.Zone), tamper: func(*lab.Lab) {}, zone: zone, host: host}
	for _, z := range []lab.Zone{
		{Name: "."},
		{Name: "net."},
		{Name: "example.net.", Records: "ns1 A 192.0.2.1\n"},
		{Name: signalZone, Records: records},
	} {
		s.zones[z.Name] = &z
	}
	return s
}

// put sets the records of the signaling zone.
func (s *stage) put(records ...string) { s.zones[signalZone].Records = strings.Join(records, "") }

// signedBy has what the zone of that name holds at and below the signaling name
// signed by a zone above it: RRsets of these types, or of all.
func (s *stage) signedBy(name, above string, types ...uint16) {
	s.tamper = func(l *lab.Lab) {
		z, signer := l.Zone(name), l.Zone(above)
		z.SignRRset = func(rrs []dns.RR) []dns.RR {
			h := rrs[0].Header()
			if !slices.Contains(types, h.Rrtype) && (len(types) > 0 || h.Name != owner) {
				return z.Sign(rrs)
			}
			return []dns.RR{z.SignWith(signer.Keys[len(signer.Keys)-1], rrs, func(sig *dns.RRSIG) { sig.SignerName = above })}
		}
	}
}

// inZone has the announcement in the provider's zone instead of a signaling
// zone of its own.
func (s *stage) inZone() {
	s.zones["example.net."].Records += s.zones[signalZone].Records
	delete(s.zones, signalZone)
}

// lab builds the hierarchy.
func (s *stage) lab() *lab.Lab {
	l := lab.New(s.t, now)
	for _, z := range s.zones {
		l.Add(*z)
	}
	s.tamper(l)
	return l
}

// transport has the lab answer in place of the network.
func transport(l *lab.Lab) func(context.Context, Resolver, bool, *dns.Msg) (*dns.Msg, error) {
	return func(ctx context.Context, _ Resolver, _ bool, q *dns.Msg) (*dns.Msg, error) {
		m, err := l.Exchange(ctx, q.Question[0].Name, q.Question[0].Qtype, q.CheckingDisabled)
		if err == nil {
			m.Id = q.Id
		}
		return m, err
	}
}

func anchors(t testing.TB, l *lab.Lab) *validate.Anchors {
	t.Helper()
	path := filepath.Join(t.TempDir(), "anchors")
	if err := os.WriteFile(path, []byte(l.Anchors()), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := validate.ReadAnchors(path)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// labFetcher returns a fetcher whose resolvers all are l.
func labFetcher(t *testing.T, l *lab.Lab, o Options, resolvers ...string) *Fetcher {
	t.Helper()
	if len(resolvers) == 0 {
		resolvers = []string{"192.0.2.53"}
	}
	c := client(t, time.Second, resolvers...)
	c.roundTrip = transport(l)
	if o.Now == nil {
		o.Now = func() time.Time { return now }
	}
	return New(c, anchors(t, l), o)
}

// fetch fetches from the hierarchy as it is now. What is proven has to be the same
// through sockets, and there the second time as the first.
func (s *stage) fetch() Result {
	s.t.Helper()
	l := s.lab()
	want := labFetcher(s.t, l, Options{}).Fetch(s.t.Context(), s.zone, s.host, merge.Announcement{})
	if want.Verdict != Secure && want.Verdict != Absent || strings.Contains(want.Reason, "not complete") {
		return want // here the host's own address is asked, where nobody is
	}
	for _, keepCase := range []bool{true, false} {
		f := wireFetcher(s.t, l, keepCase)
		for _, pass := range []string{"first", "second"} {
			if got := f.Fetch(s.t.Context(), s.zone, s.host, merge.Announcement{}); !reflect.DeepEqual(got, want) {
				s.t.Errorf("Expected through sockets, the %s time, %+v, got %+v", pass, want, got)
			}
		}
	}
	return want
}

// wireFetcher returns a fetcher that asks the lab through sockets. Names in answers
// are compressed to the question's as most resolvers do it; if keepCase, as BIND
// does, only as far as they are of the same case.
func wireFetcher(t *testing.T, l *lab.Lab, keepCase bool) *Fetcher {
	t.Helper()
	return New(client(t, time.Second, serve(t, wired(l, keepCase))), anchors(t, l), Options{Now: func() time.Time { return now }})
}

func wired(l *lab.Lab, keepCase bool) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m, err := l.Exchange(context.Background(), q.Question[0].Name, q.Question[0].Qtype, q.CheckingDisabled)
		if err != nil {
			return
		}
		m.Id, m.Compress, m.Question = q.Id, true, slices.Clone(q.Question)
		if !keepCase {
			m.Question[0].Name = dns.CanonicalName(m.Question[0].Name)
		}
		p, err := m.Pack()
		if err != nil {
			panic(err)
		}
		if len(p) > ednsSize && !overTCP(w) {
			p[2] |= truncated
			p = p[:headerSize+len(name(p))+4]
		}
		dns.PackDomainName(q.Question[0].Name, p, headerSize, nil, false)
		w.Write(p)
	}
}

func at(qtype uint16, edit lab.Tamper) func(*stage) {
	return func(s *stage) { s.tamper = func(l *lab.Lab) { l.Tamper(owner, qtype, edit) } }
}

func records(text ...string) func(*stage) { return func(s *stage) { s.put(text...) } }

// signalling changes the zone that holds the announcement.
func signalling(edit func(z *lab.Zone)) func(*stage) {
	return func(s *stage) { edit(s.zones[signalZone]) }
}

// edited returns the announcement of key in place of ksk, with an edit.
func edited(edit func(k *dns.DNSKEY)) func(*stage) {
	k := &lab.Key{DNSKEY: dns.Copy(ksk.DNSKEY).(*dns.DNSKEY)}
	edit(k.DNSKEY)
	return records(dnskeys(zsk), cdnskeys(k), cdss(dns.SHA256, k))
}

// rsaKey returns a public key with a modulus of that many bits.
func rsaKey(bits int) string {
	octets := make([]byte, bits/8)
	for i := range octets {
		octets[i] = 0xa5 // odd, and the highest bit is set
	}
	return base64Of(append([]byte{3, 1, 0, 1}, octets...))
}

// many returns n distinct data-signing keys.
func many(n int) []*lab.Key {
	ks := make([]*lab.Key, n)
	for i := range ks {
		ks[i] = lab.NewKey(zone, dns.ED25519, 256, fmt.Sprint(i))
	}
	return ks
}

var announcements = []struct {
	name   string
	edit   func(*stage)
	want   Verdict
	reason string // part of it
}{
	// Secure.
	{"KSK and ZSK", func(*stage) {}, Secure, "1 key for data, 1 key as secure entry, signed by " + signalZone},
	{"CSK", records(dnskeys(ksk), cdnskeys(ksk), cdss(dns.SHA256, ksk)), Secure, ""},
	{"two keys of each role", records(dnskeys(many(2)...), cdnskeys(ksk, zsk), cdss(dns.SHA256, ksk, zsk)), Secure, "2 keys for data, 2 keys"},
	{"as many keys as may be", records(dnskeys(many(8)...), cdnskeys(ksk), cdss(dns.SHA256, ksk)), Secure, "8 keys for data"},
	{"as many keys as may be, two digests each", records(dnskeys(many(8)...), cdss(dns.SHA256, many(8)...), cdss(dns.SHA384, many(8)...)), Secure, "8 keys as secure entry"},
	{"CDNSKEY without CDS", records(dnskeys(zsk), cdnskeys(ksk)), Secure, ""},
	{"CDS without CDNSKEY", records(dnskeys(zsk), cdss(dns.SHA256, ksk)), Secure, "no key is found for the digest of 5102"},
	{"CDS of a CSK without CDNSKEY", records(dnskeys(ksk), cdss(dns.SHA256, ksk)), Secure, "1 key as secure entry"},
	{"SHA-384", records(dnskeys(zsk), cdnskeys(ksk), cdss(dns.SHA384, ksk)), Secure, ""},
	{"SHA-1 beside SHA-256", records(dnskeys(zsk), cdnskeys(ksk), cdss(dns.SHA1, ksk), cdss(dns.SHA256, ksk)), Secure, ""},
	{"an unknown digest beside SHA-256", records(announced(), otherDigests(1)), Secure, ""},
	{"upper case asked", func(s *stage) { s.zone, s.host = "EXAMPLE.Co.Uk", "NS1.Example.NET" }, Secure, ""},
	{"escapes asked", func(s *stage) { s.zone, s.host = `ex\097mple.c\111.uk.`, `n\s1.\101xample.net.` }, Secure, ""},
	{"RSASHA256", records(algorithm(dns.RSASHA256)), Secure, ""},
	{"RSASHA512", records(algorithm(dns.RSASHA512)), Secure, ""},
	{"ECDSAP384SHA384", records(algorithm(dns.ECDSAP384SHA384)), Secure, ""},
	{"ED25519", records(algorithm(dns.ED25519)), Secure, ""},
	{"RSA of 4096 bits", edited(func(k *dns.DNSKEY) { k.Algorithm, k.PublicKey = dns.RSASHA256, rsaKey(4096) }), Secure, ""},
	{"signaling zone of another algorithm", signalling(func(z *lab.Zone) { z.Algorithm = dns.ED25519 }), Secure, ""},
	{"signaling zone with one key", signalling(func(z *lab.Zone) { z.CSK = true }), Secure, ""},
	{"signaling zone with NSEC3", signalling(func(z *lab.Zone) { z.Denial = lab.NSEC3 }), Secure, ""},
	{"inside the provider's zone", (*stage).inZone, Secure, "signed by example.net."},
	{"inside a zone with compact denial", func(s *stage) { s.inZone(); s.zones["example.net."].Denial = lab.Compact }, Secure, ""},
	{"inside a zone with black lies", func(s *stage) { s.inZone(); s.zones["example.net."].Denial = lab.BlackLies }, Secure, ""},

	// Absent.
	{"no such name, NSEC", records(""), Absent, "nothing is announced"},
	{"no such name, NSEC3", func(s *stage) { s.put(""); s.zones[signalZone].Denial = lab.NSEC3 }, Absent, ""},
	{"no such name, compact denial", func(s *stage) { s.put(""); s.zones[signalZone].Denial = lab.Compact }, Absent, ""},
	{"no such name, black lies", func(s *stage) { s.put(""); s.zones[signalZone].Denial = lab.BlackLies }, Absent, ""},
	{"no such type, NSEC", records(owner + " TXT nothing\n"), Absent, ""},
	{"no such type, NSEC3", func(s *stage) { s.put(owner + " TXT nothing\n"); s.zones[signalZone].Denial = lab.NSEC3 }, Absent, ""},
	{"empty non-terminal", records("a." + owner + " TXT nothing\n"), Absent, ""},
	{"another zone's announcement only", records(strings.ReplaceAll(announced(), "example.co.uk", "example.org")), Absent, ""},
	{"no signaling domain", func(s *stage) { delete(s.zones, signalZone) }, Absent, ""},

	// Insecure.
	{"unsigned signaling zone", signalling(func(z *lab.Zone) { z.Unsigned = true }), Insecure, ""},
	{"signaling zone without DS", signalling(func(z *lab.Zone) { z.NoDS = true }), Insecure, ""},
	{"provider's zone without DS", func(s *stage) { s.zones["example.net."].NoDS = true }, Insecure, ""},
	{"unsigned provider's zone", func(s *stage) { s.inZone(); s.zones["example.net."].Unsigned = true }, Insecure, ""},
	{"unsigned top-level domain", func(s *stage) { s.zones["net."].Unsigned = true }, Insecure, ""},
	{"unsupported algorithm in the chain", signalling(func(z *lab.Zone) { z.Algorithm = dns.ECCGOST }), Insecure, ""},
	{"unsigned and nothing announced", func(s *stage) { s.put(""); s.zones[signalZone].Unsigned = true }, Insecure, ""},
	{"too many NSEC3 iterations", func(s *stage) {
		s.put("")
		s.zones[signalZone].Denial, s.zones[signalZone].Iterations = lab.NSEC3, 2000
	}, Insecure, ""},

	// Bogus.
	{"altered DNSKEY", at(dns.TypeDNSKEY, lab.Each(dns.TypeDNSKEY, func(rr dns.RR) { rr.(*dns.DNSKEY).Flags = 257 })), Bogus, ""},
	{"altered CDS", at(dns.TypeCDS, lab.Each(dns.TypeCDS, func(rr dns.RR) { rr.(*dns.CDS).KeyTag++ })), Bogus, ""},
	{"altered CDNSKEY", at(dns.TypeCDNSKEY, lab.Each(dns.TypeCDNSKEY, func(rr dns.RR) { rr.(*dns.CDNSKEY).PublicKey = zsk.PublicKey })), Bogus, ""},
	{"added key", at(dns.TypeDNSKEY, func(m *dns.Msg) *dns.Msg {
		m.Answer = append(m.Answer, merge.KeyOf(ksk.DNSKEY).DNSKEY(owner, 3600))
		return m
	}), Bogus, ""},
	{"signatures stripped of one type", at(dns.TypeCDS, lab.StripSignatures), Bogus, ""},
	{"signatures stripped of all", at(0, lab.StripSignatures), Bogus, owner + " DNSKEY: "},
	{"expired", signalling(func(z *lab.Zone) { z.Inception, z.Expiration = now.AddDate(0, -2, 0), now.AddDate(0, -1, 0) }), Bogus, ""},
	{"not yet valid", signalling(func(z *lab.Zone) { z.Inception, z.Expiration = now.AddDate(0, 1, 0), now.AddDate(0, 2, 0) }), Bogus, ""},
	{"key tag of another key", at(0, lab.EachSig(0, func(s *dns.RRSIG) { s.KeyTag++ })), Bogus, ""},
	{"signer is another zone", at(0, lab.EachSig(0, func(s *dns.RRSIG) { s.SignerName = "example.net." })), Bogus, ""},
	{"signer is no ancestor", at(0, lab.EachSig(0, func(s *dns.RRSIG) { s.SignerName = "example.org." })), Bogus, ""},
	{"signed by the zone above the signaling zone", func(s *stage) { s.signedBy(signalZone, "example.net.") }, Bogus, "_signal.ns1.example.net. between is a zone of its own"},
	{"signed by the top-level domain", func(s *stage) { s.inZone(); s.signedBy("example.net.", "net.") }, Bogus, "example.net. between is a zone of its own"},
	{"one type signed by the root", func(s *stage) { s.inZone(); s.signedBy("example.net.", ".", dns.TypeCDS) }, Bogus, "CDS"},
	{"absence proven by the zone above", func(s *stage) { s.put(""); s.signedBy(signalZone, "example.net.", dns.TypeNSEC) }, Bogus, ""},
	{"DS of another key", func(s *stage) {
		s.zones["example.net."].Records += "_signal.ns1 DS " + rdataOf(lab.NewKey(signalZone, 13, 257, "other").ToDS(dns.SHA256)) + "\n"
	}, Bogus, ""},
	{"no proof of absence", func(s *stage) { s.put(""); at(0, lab.Drop(dns.TypeNSEC, dns.TypeRRSIG))(s) }, Bogus, ""},
	{"proof of absence without signature", func(s *stage) { s.put(""); at(0, lab.StripSignatures)(s) }, Bogus, ""},
	{"forged absence", at(0, func(m *dns.Msg) *dns.Msg { m.Answer, m.Rcode = nil, dns.RcodeNameError; return m }), Bogus, ""},
	{"forged absence of one type", at(dns.TypeCDNSKEY, func(m *dns.Msg) *dns.Msg { m.Answer = nil; return m }), Bogus, ""},
	{"bogus beside refused", func(s *stage) {
		s.put(dnskeys(many(9)...), cdnskeys(ksk), cdss(dns.SHA256, ksk))
		at(dns.TypeCDS, lab.StripSignatures)(s)
	}, Bogus, "CDS"},

	// Unreachable.
	{"no answer", at(0, lab.Timeout), Unreachable, "192.0.2.53:53"},
	{"no answer for one type", at(dns.TypeCDS, lab.Timeout), Unreachable, "CDS at " + owner},
	{"SERVFAIL", at(0, lab.Rcode(dns.RcodeServerFailure)), Unreachable, "SERVFAIL"},
	{"REFUSED", at(0, lab.Rcode(dns.RcodeRefused)), Unreachable, "REFUSED"},
	{"SERVFAIL for one type", at(dns.TypeDNSKEY, lab.Rcode(dns.RcodeServerFailure)), Unreachable, "DNSKEY at " + owner},
	{"chain out of reach", func(s *stage) {
		s.tamper = func(l *lab.Lab) { l.Tamper(signalZone, dns.TypeDNSKEY, lab.Timeout) }
	}, Unreachable, "DNSKEY at " + signalZone},
	{"lame delegation", func(s *stage) {
		s.zones["example.net."].Records += "_signal.ns1 NS ns1\n"
		delete(s.zones, signalZone)
	}, Unreachable, "SERVFAIL"},
	{"unreachable beside insecure", func(s *stage) {
		s.zones[signalZone].Unsigned = true
		at(dns.TypeCDS, lab.Timeout)(s)
	}, Unreachable, ""},
	{"resolver strips signatures", func(s *stage) { s.tamper = func(l *lab.Lab) { l.Tamper("", 0, lab.StripSignatures) } }, Unreachable, "192.0.2.53:53"},
	{"resolver without a root", func(s *stage) {
		s.tamper = func(l *lab.Lab) { l.Tamper(".", 0, lab.Rcode(dns.RcodeServerFailure)) }
	}, Unreachable, "192.0.2.53:53"},
	{"resolver with another root", func(s *stage) {
		s.tamper = func(l *lab.Lab) {
			l.Tamper(".", dns.TypeDNSKEY, lab.Each(dns.TypeDNSKEY, func(rr dns.RR) { rr.(*dns.DNSKEY).PublicKey = zsk.PublicKey }))
		}
	}, Unreachable, "192.0.2.53:53"},

	// Refused.
	{"wildcard", records(strings.ReplaceAll(announced(), "_multi.example.co.uk.", "*.")), Refused, "wildcard"},
	{"CNAME", records(owner+" CNAME x\n", strings.ReplaceAll(announced(), "_multi.example.co.uk.", "x.")), Refused, "CNAME"},
	{"CNAME to nowhere", records(owner + " CNAME x\n"), Refused, "CNAME"},
	{"DNAME", records("uk DNAME x\n", strings.ReplaceAll(announced(), "co.uk.", "co.x.")), Refused, "DNAME"},
	{"DNAME that makes the name too long", func(s *stage) {
		s.put("uk DNAME x\n")
		at(0, func(m *dns.Msg) *dns.Msg { m.Rcode = dns.RcodeYXDomain; return lab.Drop(dns.TypeCNAME)(m) })(s)
	}, Refused, "DNAME"},
	{"in-domain nameserver", func(s *stage) { s.zone = "example.net." }, Refused, "RFC 9615"},
	{"nameserver named as the zone", func(s *stage) { s.zone = host }, Refused, "RFC 9615"},
	{"name too long", func(s *stage) { s.zone = strings.Repeat(strings.Repeat("a", 60)+".", 4) }, Refused, "255"},
	{"zone cut at the signaling name", func(s *stage) {
		s.zones[owner] = &lab.Zone{Name: owner, CSK: true, Records: cdnskeys(ksk) + cdss(dns.SHA256, ksk)}
		s.put("")
	}, Refused, "zone cut"},
	{"delete sentinel as CDS", records(dnskeys(zsk), owner, " CDS 0 0 0 00\n"), Refused, "0 0 0 00"},
	{"delete sentinel as CDNSKEY", records(dnskeys(zsk), owner, " CDNSKEY 0 3 0 AA==\n"), Refused, "0 3 0 AA=="},
	{"delete sentinel as both", records(dnskeys(zsk), owner, " CDS 0 0 0 00\n", owner, " CDNSKEY 0 3 0 AA==\n"), Refused, "RFC 8078"},
	{"delete sentinel beside a key", records(announced(), owner, " CDS 0 0 0 00\n"), Refused, "RFC 8078"},
	{"CDS of another key", records(dnskeys(zsk), cdnskeys(ksk), cdss(dns.SHA256, zsk)), Refused, "RFC 7344"},
	{"CDS of a further key", records(dnskeys(zsk), cdnskeys(ksk), cdss(dns.SHA256, ksk, zsk)), Refused, "RFC 7344"},
	{"CDNSKEY of a further key", records(dnskeys(zsk), cdnskeys(ksk, zsk), cdss(dns.SHA256, ksk)), Refused, "RFC 7344"},
	{"CDS digest of the signaling name", func(s *stage) {
		s.put(dnskeys(zsk), cdnskeys(ksk), line(merge.KeyOf(ksk.DNSKEY).DNSKEY(owner, 3600).ToDS(dns.SHA256).ToCDS()))
	}, Refused, "RFC 7344"},
	{"key without ZONE", edited(func(k *dns.DNSKEY) { k.Flags = 1 }), Refused, "ZONE"},
	{"key with REVOKE", edited(func(k *dns.DNSKEY) { k.Flags = 257 | dns.REVOKE }), Refused, "REVOKE"},
	{"key of another protocol", edited(func(k *dns.DNSKEY) { k.Protocol = 2 }), Refused, "protocol 2"},
	{"RSASHA1 key", edited(func(k *dns.DNSKEY) { k.Algorithm = dns.RSASHA1 }), Refused, "RSASHA1"},
	{"key of algorithm 0", edited(func(k *dns.DNSKEY) { k.Algorithm = 0 }), Refused, "algorithm 0"},
	{"private algorithm", edited(func(k *dns.DNSKEY) { k.Algorithm = dns.PRIVATEDNS }), Refused, "PRIVATEDNS"},
	{"RSA of 512 bits", edited(func(k *dns.DNSKEY) { k.Algorithm, k.PublicKey = dns.RSASHA256, rsaKey(512) }), Refused, "512 bits"},
	{"RSA of 8192 bits", edited(func(k *dns.DNSKEY) { k.Algorithm, k.PublicKey = dns.RSASHA256, rsaKey(8192) }), Refused, "8192 bits"},
	{"RSA without modulus", edited(func(k *dns.DNSKEY) { k.Algorithm, k.PublicKey = dns.RSASHA256, base64Of([]byte{3, 1, 0, 1}) }), Refused, "malformed"},
	{"ECDSA off the curve", edited(func(k *dns.DNSKEY) { k.PublicKey = base64Of(make([]byte, 64)) }), Refused, "malformed"},
	{"ECDSA cut short", edited(func(k *dns.DNSKEY) { k.PublicKey = base64Of(make([]byte, 32)) }), Refused, "malformed"},
	{"ED25519 too long", edited(func(k *dns.DNSKEY) { k.Algorithm = dns.ED25519 }), Refused, "malformed"},
	{"malformed key as DNSKEY", records(announced(), owner, " DNSKEY 256 3 13 AAAA\n"), Refused, "DNSKEY at"},
	{"RSASHA1 key as DNSKEY", records(dnskeys(lab.NewKey(zone, dns.RSASHA1, 256, "")), cdnskeys(ksk), cdss(dns.SHA256, ksk)), Refused, "RSASHA1"},
	{"SHA-1 only", records(dnskeys(zsk), cdnskeys(ksk), cdss(dns.SHA1, ksk)), Refused, "SHA-256"},
	{"SHA-1 only for one of two keys", records(dnskeys(zsk), cdnskeys(ksk, zsk), cdss(dns.SHA256, ksk), cdss(dns.SHA1, zsk)), Refused, "SHA-256"},
	{"SHA-1 only for a key of another algorithm and the same tag", records(dnskeys(zsk), cdss(dns.SHA256, ksk),
		fmt.Sprintf("%s CDS %d 14 1 %s\n", owner, ksk.KeyTag(), strings.Repeat("00", 20))), Refused, "SHA-256"},
	{"unsupported digest type only", records(dnskeys(zsk), owner, " CDS 1 13 3 00112233\n"), Refused, "SHA-256"},
	{"digest of the wrong length", records(dnskeys(zsk), owner, " CDS 1 13 2 00112233\n"), Refused, "length"},
	{"CDS of an unsupported algorithm", records(dnskeys(zsk), owner, " CDS 1 5 2 ", strings.Repeat("00", 32), "\n"), Refused, "RSASHA1"},
	{"too many keys", records(dnskeys(many(9)...), cdnskeys(ksk), cdss(dns.SHA256, ksk)), Refused, "9 keys"},
	{"too many digests", records(dnskeys(zsk), cdss(dns.SHA256, many(9)...)), Refused, "9 keys"},
	{"as many digests as may be of few keys", records(dnskeys(zsk), cdss(dns.SHA256, ksk), otherDigests(23)), Secure, ""},
	{"too many digests of few keys", records(dnskeys(zsk), cdss(dns.SHA256, ksk), otherDigests(24)), Refused, "25 records"},
	{"no DNSKEY", records(cdnskeys(ksk), cdss(dns.SHA256, ksk)), Refused, "incomplete"},
	{"DNSKEY only", records(dnskeys(zsk)), Refused, "incomplete"},
	{"CDS only", records(cdss(dns.SHA256, ksk)), Refused, "incomplete"},
}

// otherDigests returns n digests of ksk of types that cannot be computed.
func otherDigests(n int) (text string) {
	for i := range n {
		text += fmt.Sprintf("%s CDS %d 13 %d 00112233\n", owner, ksk.KeyTag(), 100+i)
	}
	return text
}

// algorithm returns an announcement of keys of an algorithm.
func algorithm(a uint8) string {
	k, z := lab.NewKey(zone, a, 257, "ksk"), lab.NewKey(zone, a, 256, "zsk")
	return dnskeys(z) + cdnskeys(k) + cdss(dns.SHA256, k)
}

func TestFetchGivesTheRightVerdict(t *testing.T) {
	for _, tc := range announcements {
		t.Run(tc.name, func(t *testing.T) {
			s := newStage(t, announced())
			tc.edit(s)
			res := s.fetch()
			if res.Verdict != tc.want || !strings.Contains(res.Reason, tc.reason) {
				t.Fatalf("Expected %s with %q, got %s: %s", tc.want, tc.reason, res.Verdict, res.Reason)
			}
			if res.Reason == "" || strings.ContainsAny(res.Reason, "\n\r") {
				t.Errorf("Expected one line of reason, got %q", res.Reason)
			}
			a := res.Announcement
			if empty := len(a.DNSKEY)+len(a.CDNSKEY)+len(a.CDS) == 0; empty == (tc.want == Secure) {
				t.Errorf("Expected keys with secure and with nothing else, got %v", a)
			}
			if timed := res.TTL > 0; timed != (tc.want == Secure || tc.want == Absent) {
				t.Errorf("Expected a TTL with secure and absent, got %s", res.TTL)
			}
		})
	}
}

// What an operator needs to find the rule: an RRset, a name, and the section where
// it is written.
var (
	reasonRRset   = regexp.MustCompile(`\b(DNSKEY|CDNSKEY|CDS|DS|NSEC)\b`)
	reasonName    = regexp.MustCompile(`[a-z]\.["]?[: ]`)
	reasonSection = regexp.MustCompile(`\((RFC \d+ section \d+(\.\d+)*|draft-[a-z-]+ section \d+(\.\d+)*|limit of this software)\)`)
)

func TestReasonNamesRRsetNameAndSection(t *testing.T) {
	for _, tc := range announcements {
		t.Run(tc.name, func(t *testing.T) {
			s := newStage(t, announced())
			tc.edit(s)
			res := s.fetch()
			for _, part := range []*regexp.Regexp{reasonRRset, reasonName, reasonSection} {
				if !part.MatchString(res.Reason) {
					t.Errorf("Expected %s with RRset, name and section, got %q", tc.want, res.Reason)
				}
			}
		})
	}
}

// TestPrecedence holds rule F3's order: the worst of the three decides.
func TestPrecedence(t *testing.T) {
	insecure, bogus := validate.Result{Status: validate.Insecure}, validate.Result{Status: validate.Bogus}
	absent := validate.Result{Status: validate.Secure, Denied: true, Signer: signalZone}
	secure := validate.Result{Status: validate.Secure, Signer: signalZone, RRset: []dns.RR{ksk.ToDS(dns.SHA256).ToCDS()}, Sig: new(dns.RRSIG)}
	refused := secure
	refused.Wildcard = true
	unreachable := errors.New("silence")
	tests := []struct {
		one, other answer
		want       Verdict
	}{
		{answer{result: bogus}, answer{err: unreachable}, Bogus},
		{answer{result: bogus}, answer{result: insecure}, Bogus},
		{answer{err: unreachable}, answer{result: insecure}, Unreachable},
		{answer{err: unreachable}, answer{result: refused}, Unreachable},
		{answer{result: insecure}, answer{result: refused}, Insecure},
		{answer{result: insecure}, answer{result: secure}, Insecure},
		{answer{result: insecure}, answer{result: absent}, Insecure},
		{answer{result: refused}, answer{result: absent}, Refused},
		{answer{result: refused}, answer{result: secure}, Refused},
		{answer{result: secure}, answer{result: absent}, Refused}, // incomplete
		{answer{result: absent}, answer{result: absent}, Absent},
		{answer{}, answer{result: absent}, Unreachable}, // no conclusion is no proof
		{answer{}, answer{}, Unreachable},
	}
	for _, tc := range tests {
		for _, set := range [][]answer{{tc.one, tc.other, {result: absent}}, {{result: absent}, tc.other, tc.one}} {
			for i := range set {
				set[i].qtype = types[i]
			}
			v, reason := judge(zone, owner, set)
			if v != tc.want || (reason == nil) != (v == Absent) {
				t.Errorf("%v and %v: Expected %s, got %s: %v", tc.one, tc.other, tc.want, v, reason)
			}
		}
	}
}

func TestAnnouncementIsComplete(t *testing.T) {
	s := newStage(t, announced())
	inception := now.Add(-36 * time.Hour)
	s.zones[signalZone].Inception = inception
	res := s.fetch()
	k, z := merge.KeyOf(ksk.DNSKEY), merge.KeyOf(zsk.DNSKEY)
	d, _ := k.DS(zone, dns.SHA256)
	want := merge.Announcement{
		DNSKEY: []merge.Key{z}, CDNSKEY: []merge.Key{k}, CDS: []merge.DS{d}, TTL: time.Hour,
		Inception: merge.Inceptions{DNSKEY: inception, CDNSKEY: inception, CDS: inception},
	}
	if !reflect.DeepEqual(res.Announcement, want) {
		t.Errorf("Expected %v, got %v", want, res.Announcement)
	}
	if res.Zone != zone || res.Host != host || !res.At.Equal(now) || res.TTL != time.Hour {
		t.Errorf("Expected %s at %s, at %s for an hour, got %v", zone, host, now, res)
	}
}

// How long keys are held is by the longest TTL that caches may have.
func TestTheTTLOfAnAnnouncementIsTheLongest(t *testing.T) {
	for i := range types {
		ttl := []string{"60", "60", "60"}
		ttl[i] = "7200"
		with := func(text string, i int) string { return strings.ReplaceAll(text, "\t3600\t", "\t"+ttl[i]+"\t") }
		res := newStage(t, with(dnskeys(zsk), 0)+with(cdnskeys(ksk), 1)+with(cdss(dns.SHA256, ksk), 2)).fetch()
		if res.Verdict != Secure || res.Announcement.TTL != 2*time.Hour || res.TTL != time.Minute {
			t.Errorf("%s: Expected two hours, for a minute, got %s: %s, %s, %s", dns.Type(types[i]), res.Verdict, res.Reason, res.Announcement.TTL, res.TTL)
		}
	}
}

func TestTTLEndsWithTheSignatures(t *testing.T) {
	s := newStage(t, announced())
	s.zones[signalZone].Expiration = now.Add(10 * time.Minute)
	if res := s.fetch(); res.TTL != 10*time.Minute {
		t.Errorf("Expected 10 minutes, got %s: %s", res.TTL, res.Reason)
	}
	s = newStage(t, announced())
	at(dns.TypeCDNSKEY, lab.Each(0, func(rr dns.RR) { rr.Header().Ttl = 60 }))(s)
	res := s.fetch()
	if res.TTL != time.Minute {
		t.Errorf("Expected what is left of the TTL, a minute, got %s: %s", res.TTL, res.Reason)
	}
	if res.Announcement.TTL != time.Hour {
		t.Errorf("Expected the original TTL, an hour, got %s", res.Announcement.TTL)
	}
}

func TestChainIsSharedBetweenFetches(t *testing.T) {
	l := newStage(t, announced()).lab()
	f := labFetcher(t, l, Options{})
	f.Fetch(t.Context(), zone, host, merge.Announcement{})
	l.Asked()
	if res := f.Fetch(t.Context(), zone, host, merge.Announcement{}); res.Verdict != Secure {
		t.Fatalf("Expected secure, got %s: %s", res.Verdict, res.Reason)
	}
	if asked := l.Asked(); len(asked) != len(types) {
		t.Errorf("Expected %d questions, got %v", len(types), asked)
	}
}

func TestZoneOfTheSignalingDomainIsAskedForOnce(t *testing.T) {
	s := newStage(t, announced())
	s.inZone()
	l := s.lab()
	f := labFetcher(t, l, Options{})
	for _, soa := range []int{1, 0, 0} {
		l.Asked()
		if res := f.Fetch(t.Context(), zone, host, merge.Announcement{}); res.Verdict != Secure {
			t.Fatalf("Expected secure, got %s: %s", res.Verdict, res.Reason)
		}
		asked := 0
		for _, q := range l.Asked() {
			if q.Qtype == dns.TypeSOA {
				asked++
			}
		}
		if asked != soa {
			t.Errorf("Expected %d questions for SOA, got %d", soa, asked)
		}
	}
}

func TestZoneOfTheSignalingDomainNeedNotBeFound(t *testing.T) {
	s := newStage(t, announced())
	s.inZone()
	s.tamper = func(l *lab.Lab) { l.Tamper("", dns.TypeSOA, lab.Rcode(dns.RcodeServerFailure)) }
	if res := s.fetch(); res.Verdict != Secure {
		t.Errorf("Expected secure, got %s: %s", res.Verdict, res.Reason)
	}
}

func TestRefusedWithoutAQuestion(t *testing.T) {
	l := newStage(t, announced()).lab()
	f := labFetcher(t, l, Options{})
	for _, z := range []string{"example.net.", host, ".", strings.Repeat(strings.Repeat("a", 60)+".", 4)} {
		if res := f.Fetch(t.Context(), z, host, merge.Announcement{}); res.Verdict != Refused {
			t.Errorf("%s: Expected refused, got %s: %s", z, res.Verdict, res.Reason)
		}
	}
	if asked := l.Asked(); len(asked) > 0 {
		t.Errorf("Expected no question, got %v", asked)
	}
}

func TestSerialTime(t *testing.T) {
	for _, want := range []time.Time{now, now.AddDate(-60, 0, 0), now.AddDate(60, 0, 0), now.Add(time.Second)} {
		if got := serialTime(uint32(want.Unix()), now); !got.Equal(want) {
			t.Errorf("Expected %s, got %s", want, got)
		}
	}
}

func base64Of(octets []byte) string { return base64.StdEncoding.EncodeToString(octets) }

func rdataOf(rr dns.RR) string { return strings.TrimPrefix(rr.String(), rr.Header().String()) }
