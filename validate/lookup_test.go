package validate_test

import (
	"context"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/validate"
)

// want is a verdict in short.
type want struct {
	status   validate.Status
	denied   bool
	alias    uint16
	wildcard bool
	signer   string
	check    validate.Check // of Reason
}

func secure(signer string) want { return want{status: validate.Secure, signer: signer} }
func wild(signer string) want   { return want{status: validate.Secure, signer: signer, wildcard: true} }
func aliased(signer string, t uint16) want {
	return want{status: validate.Secure, signer: signer, alias: t}
}
func denied(signer string) want      { return want{status: validate.Secure, denied: true, signer: signer} }
func insecure(c validate.Check) want { return want{status: validate.Insecure, check: c} }
func bogus(c validate.Check) want    { return want{status: validate.Bogus, check: c} }

// got sums up a Result.
func got(r validate.Result) want {
	w := want{status: r.Status, denied: r.Denied, wildcard: r.Wildcard, signer: r.Signer}
	if r.Alias != nil {
		w.alias = r.Alias.Header().Rrtype
	}
	var e *validate.Error
	if errors.As(r.Reason, &e) {
		w.check = e.Check
	}
	return w
}

const (
	net    = "example.net."
	org    = "example.org."
	signal = "_signal.ns1.example.net."
)

func TestHonestAnswers(t *testing.T) {
	const (
		delegation = validate.CheckDelegation
		optOut     = validate.CheckDenial
	)
	tests := []struct {
		name  string
		qtype uint16
		want  want
	}{
		// data
		{"ns1.example.net.", dns.TypeA, secure(net)},
		{"NS1.Example.NET.", dns.TypeA, secure(net)},
		{"ns1.example.org.", dns.TypeA, secure(org)},
		{"ns1.compact.net.", dns.TypeA, secure("compact.net.")},
		{"ns1.lies.net.", dns.TypeA, secure("lies.net.")},
		{"example.net.", dns.TypeSOA, secure(net)},
		{"example.net.", dns.TypeDNSKEY, secure(net)},
		{"example.net.", dns.TypeDS, secure("net.")},
		{".", dns.TypeDNSKEY, secure(".")},
		{"_multi.example.co.uk._signal.ns1.example.net.", dns.TypeTXT, secure(signal)},
		{"_signal.ns1.example.net.", dns.TypeDS, secure(net)},
		{"alias.example.net.", dns.TypeCNAME, secure(net)},
		{"moved.example.net.", dns.TypeDNAME, secure(net)},

		// aliases and wildcards
		{"alias.example.net.", dns.TypeA, aliased(net, dns.TypeCNAME)},
		{"alias.compact.net.", dns.TypeA, aliased("compact.net.", dns.TypeCNAME)},
		{"ns1.moved.example.net.", dns.TypeA, aliased(net, dns.TypeDNAME)},
		{"x.wild.example.net.", dns.TypeTXT, wild(net)},
		{"x.wild.example.org.", dns.TypeTXT, wild(org)},
		{"x.y.wild.example.net.", dns.TypeTXT, wild(net)},
		{"x.y.wild.example.org.", dns.TypeTXT, wild(org)},
		{"*.wild.example.net.", dns.TypeTXT, secure(net)},
		{"x.wild.compact.net.", dns.TypeTXT, secure("compact.net.")},
		{"x.wildalias.example.net.", dns.TypeA, want{status: validate.Secure, signer: net, wildcard: true, alias: dns.TypeCNAME}},
		{"x.wild.optout.net.", dns.TypeTXT, insecure(optOut)},

		// denials
		{"ns1.example.net.", dns.TypeTXT, denied(net)},
		{"ns1.example.org.", dns.TypeTXT, denied(org)},
		{"ns1.compact.net.", dns.TypeTXT, denied("compact.net.")},
		{"ns1.lies.net.", dns.TypeTXT, denied("lies.net.")},
		{"ns1.optout.net.", dns.TypeTXT, denied("optout.net.")},
		{"example.net.", dns.TypeTXT, denied(net)},
		{"example.org.", dns.TypeTXT, denied(org)},
		{"none.example.net.", dns.TypeA, denied(net)},
		{"zzz.example.net.", dns.TypeA, denied(net)},
		{"none.example.org.", dns.TypeA, denied(org)},
		{"a.none.none.example.org.", dns.TypeA, denied(org)},
		{"none.compact.net.", dns.TypeA, denied("compact.net.")},
		{"none.lies.net.", dns.TypeA, denied("lies.net.")},
		{"none.", dns.TypeA, denied(".")},
		{"b.deep.example.net.", dns.TypeA, denied(net)},
		{"b.deep.example.org.", dns.TypeA, denied(org)},
		{"ent.example.net.", dns.TypeA, denied(net)},
		{"b.deep.compact.net.", dns.TypeA, denied("compact.net.")},
		{"x.wild.example.net.", dns.TypeA, denied(net)},
		{"x.wild.example.org.", dns.TypeA, denied(org)},
		{"closer.wild.example.net.", dns.TypeTXT, denied(net)},
		{"x.closer.wild.example.net.", dns.TypeTXT, denied(net)},
		{"x.closer.wild.example.org.", dns.TypeTXT, denied(org)},
		{"a.closer.wild.example.net.", dns.TypeTXT, denied(net)}, // the next name shows the closest encloser
		{".", dns.TypeDS, denied(".")},
		{"none._signal.ns1.example.net.", dns.TypeA, denied(signal)},
		{"ns1.example.net.", dns.TypeDS, denied(net)},
		{"ns1.example.org.", dns.TypeDS, denied(org)},
		{"ns1.compact.net.", dns.TypeDS, denied("compact.net.")},
		{"ns1.lies.net.", dns.TypeDS, denied("lies.net.")},
		{"unsigned.example.net.", dns.TypeDS, denied(net)},
		{"unsigned.example.org.", dns.TypeDS, denied(org)},
		{"none.optout.net.", dns.TypeA, insecure(optOut)},
		{"unsigned.net.", dns.TypeDS, insecure(optOut)},

		// insecure zones
		{"ns1.unsigned.net.", dns.TypeA, insecure(optOut)},
		{"none.unsigned.net.", dns.TypeA, insecure(optOut)},
		{"unsigned.net.", dns.TypeSOA, insecure(optOut)},
		{"alias.unsigned.net.", dns.TypeA, insecure(optOut)},
		{"ns1.moved.unsigned.net.", dns.TypeA, insecure(optOut)},
		{"ns1.unsigned.example.net.", dns.TypeA, insecure(delegation)},
		{"a.b.deep.unsigned.example.net.", dns.TypeTXT, insecure(delegation)},
		{"none.unsigned.example.org.", dns.TypeA, insecure(delegation)},
		{"ns1.nods.uk.", dns.TypeA, insecure(delegation)},
		{"none.nods.uk.", dns.TypeA, insecure(delegation)},
		{"nods.uk.", dns.TypeDNSKEY, insecure(delegation)},
		{"ns1.signed.nods.uk.", dns.TypeA, insecure(delegation)},
		{"signed.nods.uk.", dns.TypeDS, insecure(delegation)},
		{"none.signed.nods.uk.", dns.TypeA, insecure(delegation)},
	}
	l := hierarchy(t)
	warm := validator(t, l)
	for _, tc := range tests {
		t.Run(tc.name+" "+dns.TypeToString[tc.qtype], func(t *testing.T) {
			for _, v := range []*validate.Validator{validator(t, l), warm} {
				r, err := v.Lookup(t.Context(), l, tc.name, tc.qtype)
				if err != nil {
					t.Fatal(err)
				}
				if got := got(r); got != tc.want {
					t.Errorf("Expected %+v, got %+v: %v", tc.want, got, r.Reason)
				}
				wantData := tc.want.status == validate.Secure && !tc.want.denied && tc.want.alias == 0
				if len(r.RRset) > 0 != wantData {
					t.Errorf("Expected data %t, got %v", wantData, r.RRset)
				}
				if !tc.want.denied && (r.Sig != nil) != (tc.want.status == validate.Secure) {
					t.Errorf("Expected an RRSIG with a secure answer only, got %v", r.Sig)
				}
				if r.TTL <= 0 {
					t.Errorf("Expected a TTL, got %s", r.TTL)
				}
			}
		})
	}
}

// attacks are answers that were changed on the way, or made by a zone for which
// they are not. Each is tried with empty and with warm caches.
var attacks = []struct {
	name   string
	qname  string
	qtype  uint16
	attack func(l *lab.Lab)
	want   want
}{
	{"signatures stripped", "ns1.example.net.", dns.TypeA, everywhere(lab.StripSignatures), bogus(validate.CheckSigned)},
	{"signature of the answer stripped", "ns1.example.net.", dns.TypeA, on("ns1.example.net.", dns.TypeA, lab.StripSignatures), bogus(validate.CheckSigned)},
	{"denial stripped", "none.example.net.", dns.TypeA, on("none.example.net.", dns.TypeA, lab.Drop(dns.TypeNSEC)), bogus(validate.CheckDenial)},
	{"signatures of the denial stripped", "none.example.net.", dns.TypeA, on("none.example.net.", dns.TypeA, lab.StripSignatures), bogus(validate.CheckSigned)},
	{"empty answer", "ns1.example.net.", dns.TypeA, on("ns1.example.net.", dns.TypeA, lab.Rcode(dns.RcodeSuccess)), bogus(validate.CheckDenial)},
	{"empty NXDOMAIN", "ns1.example.net.", dns.TypeA, on("ns1.example.net.", dns.TypeA, lab.Rcode(dns.RcodeNameError)), bogus(validate.CheckDenial)},
	{"data changed", "ns1.example.net.", dns.TypeA, on("ns1.example.net.", dns.TypeA, lab.Each(dns.TypeA, func(rr dns.RR) { rr.(*dns.A).A[3]++ })), bogus(validate.CheckSignature)},
	{"data added", "ns1.example.net.", dns.TypeA, on("ns1.example.net.", dns.TypeA, add("ns1.example.net. 3600 IN A 192.0.2.66")), bogus(validate.CheckSignature)},
	{"data changed, and AD set on all that the resolver says", "ns1.example.net.", dns.TypeA, func(l *lab.Lab) {
		l.Tamper("", 0, believeMe)
		l.Tamper("ns1.example.net.", dns.TypeA, lab.Each(dns.TypeA, func(rr dns.RR) { rr.(*dns.A).A[3]++ }))
	}, bogus(validate.CheckSignature)},
	{"empty answer with AD", "ns1.example.net.", dns.TypeA, func(l *lab.Lab) {
		l.Tamper("ns1.example.net.", dns.TypeA, lab.Rcode(dns.RcodeSuccess))
		l.Tamper("", 0, believeMe)
	}, bogus(validate.CheckDenial)},
	{"unsigned data of an insecure zone with AD", "ns1.unsigned.net.", dns.TypeA, everywhere(believeMe), insecure(validate.CheckDenial)},
	{"data missing", "example.net.", dns.TypeDNSKEY, dropKey(256), bogus(validate.CheckSignature)},
	{"signature expired", "ns1.example.net.", dns.TypeA, resigned(func(s *dns.RRSIG) { s.Expiration = stamp(-time.Second) }), bogus(validate.CheckPeriod)},
	{"signature not yet valid", "ns1.example.net.", dns.TypeA, resigned(func(s *dns.RRSIG) { s.Inception = stamp(time.Second) }), bogus(validate.CheckPeriod)},
	{"signature expires before its inception", "ns1.example.net.", dns.TypeA, resigned(func(s *dns.RRSIG) {
		s.Inception, s.Expiration = stamp(-1<<31*time.Second+time.Hour), stamp(1<<31*time.Second-2*time.Hour)
	}), bogus(validate.CheckPeriod)},
	{"expiration changed", "ns1.example.net.", dns.TypeA, sigs(dns.TypeA, func(s *dns.RRSIG) { s.Expiration++ }), bogus(validate.CheckSignature)},
	{"original TTL changed", "ns1.example.net.", dns.TypeA, sigs(dns.TypeA, func(s *dns.RRSIG) { s.OrigTtl++ }), bogus(validate.CheckSignature)},
	{"key tag changed", "ns1.example.net.", dns.TypeA, sigs(dns.TypeA, func(s *dns.RRSIG) { s.KeyTag++ }), bogus(validate.CheckKey)},
	{"algorithm changed", "ns1.example.net.", dns.TypeA, sigs(dns.TypeA, func(s *dns.RRSIG) { s.Algorithm = dns.RSASHA1 }), bogus(validate.CheckKey)},
	{"signature empty", "ns1.example.net.", dns.TypeA, sigs(dns.TypeA, func(s *dns.RRSIG) { s.Signature = "" }), bogus(validate.CheckSignature)},
	{"labels more than the name has", "ns1.example.net.", dns.TypeA, sigs(dns.TypeA, func(s *dns.RRSIG) { s.Labels = 9 }), bogus(validate.CheckSigned)},
	{"labels fewer than the signer has", "ns1.example.net.", dns.TypeA, sigs(dns.TypeA, func(s *dns.RRSIG) { s.Labels = 1 }), bogus(validate.CheckSigned)},
	{"signer is a suffix, but no ancestor", "ns1.example.net.", dns.TypeA, sigs(dns.TypeA, func(s *dns.RRSIG) { s.SignerName = "ample.net." }), bogus(validate.CheckSigned)},
	{"signer is another zone", "ns1.example.net.", dns.TypeA, sigs(dns.TypeA, func(s *dns.RRSIG) { s.SignerName = "example.org." }), bogus(validate.CheckSigned)},
	{"signer is a zone's owner of keys elsewhere", "ns1.example.net.", dns.TypeA, signedBy("example.org.", "example.org."), bogus(validate.CheckSigned)},
	{"signer is a child of the owner", "ns1.example.net.", dns.TypeA, signedBy("_signal.ns1.example.net.", "_signal.ns1.example.net."), bogus(validate.CheckSigned)},
	{"signed by a sub-zone's key in the zone's name", "ns1.example.net.", dns.TypeA, signedBy("_signal.ns1.example.net.", "example.net."), bogus(validate.CheckKey)},
	{"signed by the parent's key in the zone's name", "ns1.example.net.", dns.TypeA, signedBy("net.", "example.net."), bogus(validate.CheckKey)},
	{"signer is the owner, which is no zone", "ns1.example.net.", dns.TypeA, sigs(dns.TypeA, func(s *dns.RRSIG) { s.SignerName = "ns1.example.net." }), bogus(validate.CheckDelegation)},
	{"signer is the owner, which is no zone, by NSEC3", "ns1.example.org.", dns.TypeA, func(l *lab.Lab) {
		l.Tamper("ns1.example.org.", dns.TypeA, lab.EachSig(dns.TypeA, func(s *dns.RRSIG) { s.SignerName = "ns1.example.org." }))
	}, bogus(validate.CheckDelegation)},
	{"owner renamed", "two.a.example.net.", dns.TypeTXT, func(l *lab.Lab) {
		m := l.Zone("example.net.").Answer("zz.example.net.", dns.TypeTXT)
		lab.Each(0, func(rr dns.RR) { rr.Header().Name = "two.a.example.net." })(m)
		l.Tamper("two.a.example.net.", dns.TypeTXT, lab.Replace(m))
	}, bogus(validate.CheckSignature)},
	{"another type's signature", "ns1.example.net.", dns.TypeA, func(l *lab.Lab) {
		m := l.Zone("example.net.").Answer("ns1.example.net.", dns.TypeA)
		other := l.Zone("example.net.").Answer("zz.example.net.", dns.TypeTXT)
		sig := other.Answer[1].(*dns.RRSIG)
		sig.Hdr.Name, sig.TypeCovered = "ns1.example.net.", dns.TypeA
		m.Answer[1] = sig
		l.Tamper("ns1.example.net.", dns.TypeA, lab.Replace(m))
	}, bogus(validate.CheckSignature)},

	// keys
	{"DNSKEY RRset signed by a key that no DS names", "ns1.example.net.", dns.TypeA, rogueKeys(true), bogus(validate.CheckKey)},
	{"DNSKEY RRset with a key added", "ns1.example.net.", dns.TypeA, rogueKeys(false), bogus(validate.CheckSignature)},
	{"DNSKEY RRset of another zone", "ns1.example.net.", dns.TypeA, replay("example.net.", dns.TypeDNSKEY, "example.org.", dns.TypeDNSKEY), bogus(validate.CheckKey)},
	{"DNSKEY answer empty", "ns1.example.net.", dns.TypeA, on("example.net.", dns.TypeDNSKEY, lab.Rcode(dns.RcodeSuccess)), bogus(validate.CheckKey)},
	{"DNSKEY RRset signed by the ZSK only", "ns1.example.net.", dns.TypeA, keysSignedBy(1), bogus(validate.CheckKey)},
	{"key in DS is revoked", "ns1.example.net.", dns.TypeA, flags(dns.ZONE | dns.SEP | dns.REVOKE), bogus(validate.CheckKey)},
	{"key in DS has no ZONE flag", "ns1.example.net.", dns.TypeA, flags(dns.SEP), bogus(validate.CheckKey)},
	{"key in DS has another protocol", "ns1.example.net.", dns.TypeA, func(l *lab.Lab) {
		l.Zone("example.net.").Keys[0].Protocol = 2
	}, bogus(validate.CheckKey)},
	{"signed by a ZSK that is revoked", "ns1.example.net.", dns.TypeA, func(l *lab.Lab) { l.Zone("example.net.").Keys[1].Flags |= dns.REVOKE }, bogus(validate.CheckKey)},
	{"signed by a key without ZONE flag", "ns1.example.net.", dns.TypeA, func(l *lab.Lab) { l.Zone("example.net.").Keys[1].Flags = 0 }, bogus(validate.CheckKey)},
	{"root keys exchanged", "ns1.example.net.", dns.TypeA, func(l *lab.Lab) {
		rogue := lab.NewKey(".", dns.ECDSAP256SHA256, 257, "rogue")
		l.Add(lab.Zone{Name: ".", Keys: []*lab.Key{rogue}})
	}, bogus(validate.CheckKey)},

	// DS
	{"DS expired", "ns1.example.net.", dns.TypeA, func(l *lab.Lab) {
		resign(l, "net.", dns.TypeDS, func(s *dns.RRSIG) { s.Expiration = stamp(-time.Hour) })
	}, bogus(validate.CheckPeriod)},
	{"DS stripped", "ns1.example.net.", dns.TypeA, on("example.net.", dns.TypeDS, lab.Rcode(dns.RcodeSuccess)), bogus(validate.CheckDenial)},
	{"DS unsigned", "ns1.example.net.", dns.TypeA, on("example.net.", dns.TypeDS, lab.StripSignatures), bogus(validate.CheckSigned)},
	{"DS of an attacker", "ns1.example.net.", dns.TypeA, on("example.net.", dns.TypeDS, lab.Each(dns.TypeDS, func(rr dns.RR) {
		ds := rr.(*dns.DS)
		ds.Digest = strings.Repeat("00", 32)
	})), bogus(validate.CheckSignature)},
	{"DS signed by the child", "ns1.example.net.", dns.TypeA, func(l *lab.Lab) {
		child := l.Zone("example.net.")
		ds := child.DS()
		m := &dns.Msg{Answer: append(ds, child.SignWith(child.Keys[1], ds))}
		l.Tamper("example.net.", dns.TypeDS, lab.Replace(m))
	}, bogus(validate.CheckSigned)},
	{"DS denied by the child's apex NSEC", "ns1.nods.uk.", dns.TypeA, func(l *lab.Lab) {
		l.Tamper("nods.uk.", dns.TypeDS, lab.Replace(l.Zone("nods.uk.").Answer("nods.uk.", dns.TypeTXT)))
	}, bogus(validate.CheckSigned)},
	{"denied by the NSEC before it", "ns1.example.net.", dns.TypeA, replay("ns1.example.net.", dns.TypeA, "ns0.example.net.", dns.TypeA), bogus(validate.CheckDenial)},
	{"DS denied by another delegation's NSEC", "_multi.example.co.uk._signal.ns1.example.net.", dns.TypeTXT,
		replay("_signal.ns1.example.net.", dns.TypeDS, "unsigned.example.net.", dns.TypeDS), bogus(validate.CheckDenial)},
	{"DS denied by another delegation's NSEC3", "signed.example.org.", dns.TypeSOA, func(l *lab.Lab) {
		l.Add(lab.Zone{Name: "signed.example.org."})
		replay("signed.example.org.", dns.TypeDS, "unsigned.example.org.", dns.TypeDS)(l)
	}, bogus(validate.CheckDenial)},
	{"CNAME for DS, signed by the zone itself", "ns1.example.net.", dns.TypeA, func(l *lab.Lab) {
		z := l.Zone("example.net.")
		set := records("example.net. 300 IN CNAME example.org.")
		l.Tamper("example.net.", dns.TypeDS, lab.Replace(&dns.Msg{Answer: append(set, z.SignWith(z.Keys[1], set))}))
	}, bogus(validate.CheckSigned)},
	{"CNAME for DS, not signed, at the zone itself", "ns1.example.net.", dns.TypeA, on("example.net.", dns.TypeDS,
		lab.Replace(&dns.Msg{Answer: records("example.net. 300 IN CNAME example.org.")})), bogus(validate.CheckSigned)},
	{"CNAME for DS, signed by the parent", "ns1.example.net.", dns.TypeA, func(l *lab.Lab) {
		z := l.Zone("net.")
		set := records("example.net. 300 IN CNAME example.org.")
		l.Tamper("example.net.", dns.TypeDS, lab.Replace(&dns.Msg{Answer: append(set, z.SignWith(z.Keys[1], set))}))
	}, bogus(validate.CheckDelegation)},
	{"SOA claims a zone cut that is none", "ns1.example.net.", dns.TypeA, func(l *lab.Lab) {
		l.Tamper("ns1.example.net.", dns.TypeA, lab.StripSignatures)
		l.Tamper("ns1.example.net.", dns.TypeSOA, lab.Replace(&dns.Msg{Answer: records("ns1.example.net. 60 IN SOA . . 1 1 1 1 1")}))
	}, bogus(validate.CheckDelegation)},
	{"SOA claims a zone above the anchor", "ns1.example.net.", dns.TypeA, func(l *lab.Lab) {
		l.Tamper("ns1.example.net.", dns.TypeA, lab.StripSignatures)
		l.Tamper("ns1.example.net.", dns.TypeSOA, lab.Replace(&dns.Msg{Ns: records(". 60 IN SOA . . 1 1 1 1 1")}))
	}, bogus(validate.CheckSigned)},
	{"SOA of an unrelated insecure zone", "ns1.example.net.", dns.TypeA, func(l *lab.Lab) {
		l.Tamper("ns1.example.net.", dns.TypeA, lab.StripSignatures)
		l.Tamper("", dns.TypeSOA, lab.Replace(&dns.Msg{Ns: records("unsigned.net. 60 IN SOA . . 1 1 1 1 1")}))
	}, bogus(validate.CheckSigned)},

	// NSEC
	{"NSEC of another name", "ns1.example.net.", dns.TypeA, replay("ns1.example.net.", dns.TypeA, "zz.example.net.", dns.TypeA), bogus(validate.CheckDenial)},
	{"NSEC of another gap", "ns1.example.net.", dns.TypeA, replay("ns1.example.net.", dns.TypeA, "zzz.example.net.", dns.TypeA), bogus(validate.CheckDenial)},
	{"NSEC that lists the type", "ns1.example.net.", dns.TypeA, replay("ns1.example.net.", dns.TypeA, "ns1.example.net.", dns.TypeTXT), bogus(validate.CheckDenial)},
	{"NSEC that lists a CNAME", "alias.example.net.", dns.TypeA, replay("alias.example.net.", dns.TypeA, "aliaz.example.net.", dns.TypeA), bogus(validate.CheckDenial)},
	{"NSEC bitmap changed", "ns1.example.net.", dns.TypeA, func(l *lab.Lab) {
		replay("ns1.example.net.", dns.TypeA, "ns1.example.net.", dns.TypeTXT)(l)
		l.Tamper("ns1.example.net.", dns.TypeA, lab.Each(dns.TypeNSEC, func(rr dns.RR) { rr.(*dns.NSEC).TypeBitMap = []uint16{dns.TypeRRSIG, dns.TypeNSEC} }))
	}, bogus(validate.CheckSignature)},
	{"NSEC of the wildcard, renamed", "ns1.example.net.", dns.TypeA, func(l *lab.Lab) {
		m := l.Zone("example.net.").Answer("*.wild.example.net.", dns.TypeA)
		lab.Each(dns.TypeNSEC, func(rr dns.RR) { rr.Header().Name = "x.wild.example.net." })(m)
		lab.EachSig(dns.TypeNSEC, func(s *dns.RRSIG) { s.Hdr.Name = "x.wild.example.net." })(m)
		l.Tamper("ns1.example.net.", dns.TypeA, lab.Replace(m))
	}, bogus(validate.CheckSigned)},
	{"NSEC of the wildcard, renamed, beside a genuine one", "x.wild.example.net.", dns.TypeA, func(l *lab.Lab) {
		z := l.Zone("example.net.")
		m := z.Answer("*.wild.example.net.", dns.TypeA)
		lab.Each(0, func(rr dns.RR) { rr.Header().Name = "x.wild.example.net." })(m)
		m.Ns = append(m.Ns, z.Answer("zz.example.net.", dns.TypeA).Ns...)
		l.Tamper("x.wild.example.net.", dns.TypeA, lab.Replace(m))
	}, bogus(validate.CheckSigned)},
	{"NSEC whose next name is in another zone", "zzz.example.net.", dns.TypeA, denials("example.net.",
		"zz.example.net. 300 IN NSEC example.org. A", "example.net. 300 IN NSEC a.example.net. SOA NS"), bogus(validate.CheckDenial)},
	{"NSEC for DS with SOA", "ns1.example.net.", dns.TypeDS, denials("example.net.", "ns1.example.net. 300 IN NSEC zz.example.net. SOA NS"), bogus(validate.CheckDenial)},
	{"wildcard delegation, no delegation of the name", "x.net.", dns.TypeA, func(l *lab.Lab) {
		l.Tamper("x.net.", dns.TypeA, lab.Replace(&dns.Msg{Answer: records("x.net. 300 IN A 192.0.2.1")}))
		l.Tamper("x.net.", dns.TypeSOA, lab.Replace(&dns.Msg{Answer: records("x.net. 300 IN SOA . . 1 1 1 1 1")}))
		set := [][]dns.RR{records("*.net. 300 IN NSEC a.net. NS"), records("w.net. 300 IN NSEC y.net. A")}
		var ns []dns.RR
		for _, rrs := range set {
			ns = append(append(ns, rrs...), l.Zone("net.").Sign(rrs)...)
		}
		l.Tamper("x.net.", dns.TypeDS, lab.Replace(&dns.Msg{Ns: ns}))
	}, bogus(validate.CheckDelegation)},
	{"wildcard not denied", "none.example.net.", dns.TypeA, on("none.example.net.", dns.TypeA, func(m *dns.Msg) *dns.Msg {
		m.Ns = keep(m.Ns, func(rr dns.RR) bool { return rr.Header().Name != "example.net." || rr.Header().Rrtype == dns.TypeSOA })
		return m
	}), bogus(validate.CheckDenial)},
	{"SOA beside the proof changed", "none.example.net.", dns.TypeA, on("none.example.net.", dns.TypeA, func(m *dns.Msg) *dns.Msg {
		for _, rr := range m.Ns {
			if soa, ok := rr.(*dns.SOA); ok {
				soa.Serial++
			}
		}
		return m
	}), bogus(validate.CheckSignature)},
	{"SOA beside the proof unsigned", "none.example.net.", dns.TypeA, on("none.example.net.", dns.TypeA, func(m *dns.Msg) *dns.Msg {
		m.Ns = keep(m.Ns, func(rr dns.RR) bool { sig, ok := rr.(*dns.RRSIG); return !ok || sig.TypeCovered != dns.TypeSOA })
		return m
	}), bogus(validate.CheckSigned)},
	{"wildcard that exists is passed over", "x.wild.example.net.", dns.TypeTXT, func(l *lab.Lab) {
		m := l.Zone("example.net.").Answer("x.wild.example.net.", dns.TypeA)
		l.Tamper("x.wild.example.net.", dns.TypeTXT, lab.Replace(m))
	}, bogus(validate.CheckDenial)},
	{"delegation's NSEC denies what is below", "_multi.example.co.uk._signal.ns1.example.net.", dns.TypeTXT, func(l *lab.Lab) {
		m := l.Zone("example.net.").Answer("zzzz.example.net.", dns.TypeTXT) // has the apex NSEC, which covers the wildcards
		m.Ns = append(m.Ns, cutNSEC(l)...)
		l.Tamper("_multi.example.co.uk._signal.ns1.example.net.", dns.TypeTXT, lab.Replace(m))
	}, bogus(validate.CheckDenial)},
	{"delegation's NSEC denies the child's apex", "_signal.ns1.example.net.", dns.TypeTXT, func(l *lab.Lab) {
		l.Tamper("_signal.ns1.example.net.", dns.TypeTXT, lab.Replace(&dns.Msg{Ns: cutNSEC(l)}))
	}, bogus(validate.CheckDenial)},
	{"DNAME's NSEC denies what is below", "ns1.moved.example.net.", dns.TypeTXT, func(l *lab.Lab) {
		m := l.Zone("example.net.").Answer("moved.example.net.", dns.TypeTXT)
		l.Tamper("ns1.moved.example.net.", dns.TypeTXT, lab.Replace(m))
	}, bogus(validate.CheckDenial)},
	{"parent's NSEC3 denies the child's name", "ns1.example.org.", dns.TypeA, replay("ns1.example.org.", dns.TypeA, "none.org.", dns.TypeA), bogus(validate.CheckDenial)},
	{"compact denial of another name", "ns1.compact.net.", dns.TypeA, replay("ns1.compact.net.", dns.TypeA, "none.compact.net.", dns.TypeA), bogus(validate.CheckDenial)},
	{"compact denial of another type", "ns1.compact.net.", dns.TypeA, replay("ns1.compact.net.", dns.TypeA, "ns1.compact.net.", dns.TypeTXT), bogus(validate.CheckDenial)},
	{"two NSEC at one name", "ns1.lies.net.", dns.TypeTXT, func(l *lab.Lab) {
		a, b := l.Zone("lies.net.").Answer("ns1.lies.net.", dns.TypeTXT), l.Zone("lies.net.").Answer("ns1.lies.net.", dns.TypeA)
		l.Tamper("ns1.lies.net.", dns.TypeTXT, lab.Replace(&dns.Msg{Ns: append(a.Ns, b.Ns...)}))
	}, denied("lies.net.")},

	{"two NSEC at one name, signed together", "ns1.lies.net.", dns.TypeTXT, func(l *lab.Lab) {
		z := l.Zone("lies.net.")
		set := records("ns1.lies.net. 300 IN NSEC \\000.ns1.lies.net. A RRSIG NSEC", "ns1.lies.net. 300 IN NSEC \\001.ns1.lies.net. TXT RRSIG NSEC")
		l.Tamper("ns1.lies.net.", dns.TypeTXT, lab.Replace(&dns.Msg{Ns: append(set, z.Sign(set)...)}))
	}, bogus(validate.CheckDenial)},

	// NSEC3
	{"NSEC3 of another name", "ns1.example.org.", dns.TypeA, replay("ns1.example.org.", dns.TypeA, "zz.example.org.", dns.TypeA), bogus(validate.CheckDenial)},
	{"NSEC3 of another NXDOMAIN", "ns1.example.org.", dns.TypeA, replay("ns1.example.org.", dns.TypeA, "none.example.org.", dns.TypeA), bogus(validate.CheckDenial)},
	{"NSEC3 of another zone", "none.example.org.", dns.TypeA, replay("none.example.org.", dns.TypeA, "none.optout.net.", dns.TypeA), bogus(validate.CheckSigned)},
	{"NSEC3 without closest encloser", "none.example.org.", dns.TypeA, without3("none.example.org.", dns.TypeA, "example.org."), bogus(validate.CheckDenial)},
	{"NSEC3 without next closer", "ns1.example.org.", dns.TypeA, func(l *lab.Lab) {
		m := l.Zone("example.org.").Answer("example.org.", dns.TypeTXT) // matches the apex
		l.Tamper("ns1.example.org.", dns.TypeA, lab.Replace(m))
	}, bogus(validate.CheckDenial)},
	{"NSEC3 of a delegation as closest encloser", "x.unsigned.example.org.", dns.TypeA, func(l *lab.Lab) {
		z := l.Zone("example.org.")
		m := z.Answer("unsigned.example.org.", dns.TypeDS)
		for _, name := range []string{"none1", "none2", "none3", "none4"} {
			m.Ns = append(m.Ns, z.Answer(name+".example.org.", dns.TypeA).Ns...)
		}
		m.Ns = append(m.Ns, z.Answer("example.org.", dns.TypeTXT).Ns...)
		l.Tamper("x.unsigned.example.org.", dns.TypeA, lab.Replace(m))
	}, insecure(validate.CheckDelegation)},
	{"NSEC3 of the name, not of the next closer name", "x.wild.example.org.", dns.TypeTXT, having3("x.wild.example.org.", dns.TypeTXT, func(rr *dns.NSEC3) bool {
		return rr.Match("example.org.") || rr.Cover("x.wild.example.org.") || rr.Cover("*.example.org.")
	}), bogus(validate.CheckDenial)},
	{"NSEC3 before that of the name", "ns1.example.org.", dns.TypeA, having3("ns1.example.org.", dns.TypeA, func(rr *dns.NSEC3) bool {
		return rr.Match("example.org.") || rr.NextDomain == dns.HashName("ns1.example.org.", dns.SHA1, rr.Iterations, rr.Salt) || rr.Cover("*.example.org.")
	}), bogus(validate.CheckDenial)},
	{"NSEC3 that shows the wildcard, which is passed over", "x.wild.example.org.", dns.TypeTXT,
		replay("x.wild.example.org.", dns.TypeTXT, "x.wild.example.org.", dns.TypeA), bogus(validate.CheckDenial)},
	{"NSEC3 without the wildcard", "x.wild.example.org.", dns.TypeTXT, func(l *lab.Lab) {
		m := l.Zone("example.org.").Answer("x.wild.example.org.", dns.TypeA)
		l.Tamper("x.wild.example.org.", dns.TypeTXT, lab.Replace(m))
		without3("x.wild.example.org.", dns.TypeTXT, "*.wild.example.org.")(l)
	}, bogus(validate.CheckDenial)},
	{"NSEC3 of two chains, which deny anything together", "ns1.example.org.", dns.TypeA, func(l *lab.Lab) {
		l.Tamper("ns1.example.org.", dns.TypeA, lab.Replace(mixed3(l, resalted(l, "FFFF"), "ns1.example.org.", "*.example.org.")))
	}, bogus(validate.CheckDenial)},
	{"NSEC3 of two chains of different iterations", "ns1.example.org.", dns.TypeA, func(l *lab.Lab) {
		l.Tamper("ns1.example.org.", dns.TypeA, lab.Replace(mixed3(l, iterated(l, 7), "ns1.example.org.", "*.example.org.")))
	}, bogus(validate.CheckDenial)},
	{"NSEC3 parameters mixed", "none.example.org.", dns.TypeA, func(l *lab.Lab) {
		m := l.Zone("example.org.").Answer("none.example.org.", dns.TypeA)
		other := resalted(l, "FFFF").Answer("none.example.org.", dns.TypeA)
		m.Ns = append(m.Ns[:4], other.Ns[2:]...)
		l.Tamper("none.example.org.", dns.TypeA, lab.Replace(m))
	}, bogus(validate.CheckDenial)},
	{"NSEC3 opt-out flag set on the way", "none.example.org.", dns.TypeA, on("none.example.org.", dns.TypeA, lab.Each(dns.TypeNSEC3, func(rr dns.RR) { rr.(*dns.NSEC3).Flags = 1 })), bogus(validate.CheckSignature)},
	{"NSEC3 iterations raised on the way", "none.example.org.", dns.TypeA, on("none.example.org.", dns.TypeA, lab.Each(dns.TypeNSEC3, func(rr dns.RR) { rr.(*dns.NSEC3).Iterations = 500 })), bogus(validate.CheckSignature)},
	{"NSEC3 of an unknown hash", "none.example.org.", dns.TypeA, changed3(func(rr *dns.NSEC3) { rr.Hash = 6 }), bogus(validate.CheckDenial)},
	{"NSEC3 with unknown flags", "none.example.org.", dns.TypeA, changed3(func(rr *dns.NSEC3) { rr.Flags = 2 }), bogus(validate.CheckDenial)},
	{"NSEC3 with a short owner", "none.example.org.", dns.TypeA, changed3(func(rr *dns.NSEC3) { rr.Hdr.Name = rr.Hdr.Name[20:] }), bogus(validate.CheckDenial)},
	{"NSEC3 with a short next hash", "none.example.org.", dns.TypeA, changed3(func(rr *dns.NSEC3) { rr.HashLength, rr.NextDomain = 5, "VVVVVVVV" }), bogus(validate.CheckDenial)},
	{"NSEC3 deeper in the zone", "none.example.org.", dns.TypeA, changed3(func(rr *dns.NSEC3) { rr.Hdr.Name = strings.Replace(rr.Hdr.Name, ".", ".wild.", 1) }), bogus(validate.CheckDenial)},
	{"NSEC3 with 100 iterations", "none.example.org.", dns.TypeA, func(l *lab.Lab) { iterate(l, 100) }, denied(org)},
	{"NSEC3 with 101 iterations", "none.example.org.", dns.TypeA, func(l *lab.Lab) { iterate(l, 101) }, insecure(validate.CheckDenial)},
	{"NSEC3 with 101 iterations and a wildcard", "x.wild.example.org.", dns.TypeTXT, func(l *lab.Lab) { iterate(l, 101) }, insecure(validate.CheckDenial)},

	// wildcards and aliases
	{"wildcard without proof", "x.wild.example.net.", dns.TypeTXT, on("x.wild.example.net.", dns.TypeTXT, lab.Drop(dns.TypeNSEC)), bogus(validate.CheckDenial)},
	{"wildcard without proof, NSEC3", "x.wild.example.org.", dns.TypeTXT, on("x.wild.example.org.", dns.TypeTXT, lab.Drop(dns.TypeNSEC3)), bogus(validate.CheckDenial)},
	{"wildcard in place of the name's own data", "two.a.example.net.", dns.TypeTXT, func(l *lab.Lab) {
		l.Add(lab.Zone{Name: "example.net.", Records: exampleNet + "*.a TXT wrong\n"})
		m := l.Zone("example.net.").Answer("x.a.example.net.", dns.TypeTXT)
		lab.Each(dns.TypeTXT, func(rr dns.RR) { rr.Header().Name = "two.a.example.net." })(m)
		lab.EachSig(dns.TypeTXT, func(s *dns.RRSIG) { s.Hdr.Name = "two.a.example.net." })(m)
		l.Tamper("two.a.example.net.", dns.TypeTXT, lab.Replace(m))
	}, bogus(validate.CheckDenial)},
	{"wildcard where a closer one would be", "x.closer.wild.example.net.", dns.TypeTXT, expandTooFar("x", "example.net."), bogus(validate.CheckDenial)},
	{"wildcard where a closer one would be, as the next name shows", "a.closer.wild.example.net.", dns.TypeTXT, expandTooFar("a", "example.net."), bogus(validate.CheckDenial)},
	{"wildcard where a closer one would be, NSEC3", "x.closer.wild.example.org.", dns.TypeTXT, expandTooFar("x", "example.org."), bogus(validate.CheckDenial)},
	{"CNAME unsigned", "ns1.example.net.", dns.TypeA, on("ns1.example.net.", dns.TypeA, func(m *dns.Msg) *dns.Msg {
		m.Answer = records("ns1.example.net. 60 IN CNAME evil.example.org.")
		return m
	}), bogus(validate.CheckSigned)},
	{"CNAME made from a DNAME that is not shown", "ns1.moved.example.net.", dns.TypeA, on("ns1.moved.example.net.", dns.TypeA, lab.Drop(dns.TypeDNAME)), bogus(validate.CheckSigned)},
	{"DNAME made from a wildcard", "y.x.wd.example.net.", dns.TypeA, func(l *lab.Lab) {
		z := l.Add(lab.Zone{Name: "example.net.", Records: exampleNet + "*.wd DNAME example.org.\n"})
		m := z.Answer("*.wd.example.net.", dns.TypeDNAME)
		lab.Each(0, func(rr dns.RR) { rr.Header().Name = "x.wd.example.net." })(m)
		lawful := *m.Answer[1].(*dns.RRSIG)
		lawful.Labels++
		m.Answer = append(m.Answer, &lawful)
		m.Ns = z.Answer("y.wild.example.net.", dns.TypeTXT).Ns
		l.Tamper("y.x.wd.example.net.", dns.TypeA, lab.Replace(m))
	}, bogus(validate.CheckSignature)},
	{"DNAME changed", "ns1.moved.example.net.", dns.TypeA, on("ns1.moved.example.net.", dns.TypeA, lab.Each(dns.TypeDNAME, func(rr dns.RR) { rr.(*dns.DNAME).Target = "evil." })), bogus(validate.CheckSignature)},

	// what costs too much
	{"KeyTrap: many signatures of one key tag", "ns1.example.net.", dns.TypeA, on("ns1.example.net.", dns.TypeA, func(m *dns.Msg) *dns.Msg {
		for i := range 300 {
			sig := *m.Answer[1].(*dns.RRSIG)
			sig.Signature = base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(rune('a'+i%26)), 64)))
			m.Answer = append(m.Answer, &sig)
		}
		m.Answer = append(m.Answer[:1], m.Answer[2:]...)
		return m
	}), bogus(validate.CheckSignature)},
	{"more records than any answer has", "ns1.example.net.", dns.TypeA, on("ns1.example.net.", dns.TypeA, func(m *dns.Msg) *dns.Msg {
		for range 600 {
			m.Ns = append(m.Ns, m.Answer...)
		}
		return m
	}), bogus(validate.CheckLimit)},
	{"more records than any answer has, for the keys", "ns1.example.net.", dns.TypeA, on("example.net.", dns.TypeDNSKEY, func(m *dns.Msg) *dns.Msg {
		for all := m.Answer; len(m.Answer) <= 512; {
			m.Answer = append(m.Answer, all...)
		}
		return m
	}), bogus(validate.CheckLimit)},
	{"more keys than any zone has", "ns1.example.net.", dns.TypeA, on("example.net.", dns.TypeDNSKEY, func(m *dns.Msg) *dns.Msg {
		for i := range 100 {
			m.Answer = append(m.Answer, lab.NewKey("example.net.", dns.ED25519, 256, string(rune('a'+i))).DNSKEY)
		}
		return m
	}), bogus(validate.CheckLimit)},
	{"no SOA anywhere on a long way up", strings.Repeat("a.", 100) + "example.net.", dns.TypeA, func(l *lab.Lab) {
		l.Tamper(strings.Repeat("a.", 100)+"example.net.", dns.TypeA, lab.StripSignatures)
		l.Tamper("", dns.TypeSOA, lab.Rcode(dns.RcodeSuccess))
	}, bogus(validate.CheckLimit)},

	// what is not an attack
	{"TTL raised on the way", "ns1.example.net.", dns.TypeA, on("ns1.example.net.", dns.TypeA, lab.Each(0, func(rr dns.RR) { rr.Header().Ttl = 1 << 30 })), secure(net)},
	{"case changed on the way", "ns1.example.net.", dns.TypeA, on("ns1.example.net.", dns.TypeA, lab.Each(0, func(rr dns.RR) { rr.Header().Name = "nS1.eXample.nET." })), secure(net)},
	{"records twice", "ns1.example.net.", dns.TypeA, on("ns1.example.net.", dns.TypeA, func(m *dns.Msg) *dns.Msg { m.Answer = append(m.Answer, m.Answer...); return m }), secure(net)},
	{"a bad signature before the good one", "ns1.example.net.", dns.TypeA, on("ns1.example.net.", dns.TypeA, func(m *dns.Msg) *dns.Msg {
		bad := *m.Answer[1].(*dns.RRSIG)
		bad.Signature = base64.StdEncoding.EncodeToString(make([]byte, 64))
		m.Answer = append([]dns.RR{&bad}, m.Answer...)
		return m
	}), secure(net)},
	{"an SOA further up beside the right one", "ns1.unsigned.example.net.", dns.TypeA, on("ns1.unsigned.example.net.", dns.TypeSOA, func(m *dns.Msg) *dns.Msg {
		m.Ns = append(m.Ns, records(". 60 IN SOA . . 1 1 1 1 1")...)
		return m
	}), insecure(validate.CheckDelegation)},
	{"an SOA further up before the right one", "ns1.unsigned.example.net.", dns.TypeA, on("ns1.unsigned.example.net.", dns.TypeSOA, func(m *dns.Msg) *dns.Msg {
		m.Ns = append(records(". 60 IN SOA . . 1 1 1 1 1"), m.Ns...)
		return m
	}), insecure(validate.CheckDelegation)},
	{"unrelated records", "ns1.example.net.", dns.TypeA, on("ns1.example.net.", dns.TypeA, add("evil.example.net. 60 IN A 192.0.2.66", "ns1.example.net. 60 IN TXT evil", ". 60 IN NS evil.", "ns1.example.net. 60 CH A 192.0.2.66")), secure(net)},
	{"NXDOMAIN with an answer", "ns1.example.net.", dns.TypeA, on("ns1.example.net.", dns.TypeA, func(m *dns.Msg) *dns.Msg { m.Rcode = dns.RcodeNameError; return m }), secure(net)},
	{"NXDOMAIN for NODATA", "ns1.example.net.", dns.TypeTXT, on("ns1.example.net.", dns.TypeTXT, func(m *dns.Msg) *dns.Msg { m.Rcode = dns.RcodeNameError; return m }), denied(net)},
}

func TestAttacks(t *testing.T) {
	for _, tc := range attacks {
		for _, warm := range []bool{false, true} {
			name := tc.name
			if warm {
				if tc.name == "root keys exchanged" {
					continue // they are known by then
				}
				name += ", warm"
			}
			t.Run(name, func(t *testing.T) {
				l := hierarchy(t)
				v := validator(t, l)
				if warm {
					// The chain as far as the zones above, not the one attacked.
					for _, z := range []string{"net.", "org.", "uk."} {
						if _, err := v.Lookup(t.Context(), l, z, dns.TypeSOA); err != nil {
							t.Fatal(err)
						}
					}
				}
				tc.attack(l)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // what waits for itself fails
				defer cancel()
				r, err := v.Lookup(ctx, l, tc.qname, tc.qtype)
				if err != nil {
					t.Fatal(err)
				}
				if got := got(r); got != tc.want {
					t.Errorf("Expected %+v, got %+v: %v", tc.want, got, r.Reason)
				}
				if r.Reason != nil && strings.Contains(r.Reason.Error(), "\n") {
					t.Errorf("Expected one line, got %q", r.Reason)
				}
			})
		}
	}
}

func everywhere(edit lab.Tamper) func(*lab.Lab) { return on("", 0, edit) }

func on(name string, qtype uint16, edit lab.Tamper) func(*lab.Lab) {
	return func(l *lab.Lab) { l.Tamper(name, qtype, edit) }
}

func sigs(covered uint16, edit func(*dns.RRSIG)) func(*lab.Lab) {
	return on("ns1.example.net.", covered, lab.EachSig(covered, edit))
}

// replay answers one question with the answer to another.
func replay(name string, qtype uint16, other string, otherType uint16) func(*lab.Lab) {
	return func(l *lab.Lab) {
		var z *lab.Zone
		for n := other; ; n = n[strings.IndexByte(n, '.')+1:] {
			if n == "" {
				n = "."
			}
			if found := l.Zone(n); found != nil && (otherType != dns.TypeDS || n != other) {
				z = found
				break
			}
		}
		l.Tamper(name, qtype, lab.Replace(z.Answer(other, otherType)))
	}
}

// resign has a zone sign the RRsets of a type in another way.
func resign(l *lab.Lab, name string, rrtype uint16, edit func(*dns.RRSIG)) {
	z := l.Zone(name)
	z.SignRRset = func(rrs []dns.RR) []dns.RR {
		if rrs[0].Header().Rrtype != rrtype {
			return z.Sign(rrs)
		}
		return []dns.RR{z.SignWith(z.Keys[1], rrs, edit)}
	}
}

func resigned(edit func(*dns.RRSIG)) func(*lab.Lab) {
	return func(l *lab.Lab) { resign(l, "example.net.", dns.TypeA, edit) }
}

// signedBy signs ns1.example.net. A with the ZSK of another zone.
func signedBy(keys, signer string) func(*lab.Lab) {
	return func(l *lab.Lab) {
		other := l.Zone(keys).Keys[1]
		z := l.Zone("example.net.")
		z.SignRRset = func(rrs []dns.RR) []dns.RR {
			if rrs[0].Header().Rrtype != dns.TypeA {
				return z.Sign(rrs)
			}
			return []dns.RR{z.SignWith(other, rrs, func(s *dns.RRSIG) { s.SignerName = signer })}
		}
	}
}

// rogueKeys adds a key to the DNSKEY RRset, signed by itself or not at all, and
// signs everything else with it.
func rogueKeys(sign bool) func(*lab.Lab) {
	return func(l *lab.Lab) {
		z := l.Zone("example.net.")
		rogue := lab.NewKey("example.net.", dns.ECDSAP256SHA256, 257, "rogue")
		l.Tamper("example.net.", dns.TypeDNSKEY, func(m *dns.Msg) *dns.Msg {
			set := append(keep(m.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeDNSKEY }), rogue.DNSKEY)
			if sign {
				m.Answer = append(set, z.SignWith(rogue, set))
			} else {
				m.Answer = append(m.Answer, rogue.DNSKEY)
			}
			return m
		})
		z.SignRRset = func(rrs []dns.RR) []dns.RR {
			if rrs[0].Header().Rrtype == dns.TypeDNSKEY {
				return z.Sign(rrs)
			}
			return []dns.RR{z.SignWith(rogue, rrs)}
		}
	}
}

// keysSignedBy signs the DNSKEY RRset with one of the zone's keys.
func keysSignedBy(i int) func(*lab.Lab) {
	return func(l *lab.Lab) {
		z := l.Zone("example.net.")
		z.SignRRset = func(rrs []dns.RR) []dns.RR { return []dns.RR{z.SignWith(z.Keys[i], rrs)} }
	}
}

// flags changes the flags of the secure-entry key; the parent's DS follows.
func flags(f uint16) func(*lab.Lab) {
	return func(l *lab.Lab) {
		z := l.Zone("example.net.")
		z.Keys[0].Flags = f | dns.SEP
	}
}

func dropKey(flags uint16) func(*lab.Lab) {
	return on("example.net.", dns.TypeDNSKEY, func(m *dns.Msg) *dns.Msg {
		m.Answer = keep(m.Answer, func(rr dns.RR) bool {
			k, ok := rr.(*dns.DNSKEY)
			return !ok || k.Flags != flags
		})
		return m
	})
}

// believeMe sets the AD bit.
func believeMe(m *dns.Msg) *dns.Msg { m.AuthenticatedData = true; return m }

// cutNSEC returns the signed NSEC of the delegation to _signal.ns1.example.net.
func cutNSEC(l *lab.Lab) []dns.RR {
	l.Zone("_signal.ns1.example.net.").NoDS = true
	l.Add(lab.Zone{Name: "example.net.", Records: exampleNet})
	m := l.Zone("example.net.").Answer("_signal.ns1.example.net.", dns.TypeDS)
	l.Zone("_signal.ns1.example.net.").NoDS = false
	l.Add(lab.Zone{Name: "example.net.", Records: exampleNet})
	return keep(m.Ns, func(rr dns.RR) bool { return rr.Header().Name == "_signal.ns1.example.net." })
}

// without3 drops the NSEC3 that matches a name.
func without3(qname string, qtype uint16, name string) func(*lab.Lab) {
	return on(qname, qtype, func(m *dns.Msg) *dns.Msg {
		hash := strings.ToLower(dns.HashName(name, dns.SHA1, 0, "0123456789"))
		m.Ns = keep(m.Ns, func(rr dns.RR) bool { return !strings.HasPrefix(rr.Header().Name, hash) })
		return m
	})
}

// changed3 signs example.org.'s NSEC3 after a change.
func changed3(change func(*dns.NSEC3)) func(*lab.Lab) {
	return func(l *lab.Lab) {
		z := l.Zone("example.org.")
		l.Tamper("none.example.org.", dns.TypeA, func(m *dns.Msg) *dns.Msg {
			var out []dns.RR
			for _, rr := range m.Ns {
				if rr, ok := rr.(*dns.NSEC3); ok {
					change(rr)
					out = append(append(out, rr), z.Sign([]dns.RR{rr})...)
				}
			}
			m.Ns = out
			return m
		})
	}
}

// denials answers with NSEC records that the zone signs, whatever they say.
func denials(zone string, texts ...string) func(*lab.Lab) {
	return func(l *lab.Lab) {
		var ns []dns.RR
		for _, rr := range records(texts...) {
			ns = append(append(ns, rr), l.Zone(zone).Sign([]dns.RR{rr})...)
		}
		l.Tamper("", 0, func(m *dns.Msg) *dns.Msg {
			if qtype := m.Question[0].Qtype; qtype == dns.TypeA || qtype == dns.TypeDS && dns.CountLabel(m.Question[0].Name) > 2 {
				return lab.Replace(&dns.Msg{Ns: ns})(m)
			}
			return m
		})
	}
}

// iterate makes example.org.'s NSEC3 chain hash that often.
func iterate(l *lab.Lab, n uint16) {
	l.Add(lab.Zone{Name: "example.org.", Denial: lab.NSEC3, Iterations: n, Records: exampleNet})
}

// resalted returns a copy of example.org. with the same keys and another salt,
// iterated one with the same salt and more iterations.
func resalted(l *lab.Lab, salt string) *lab.Zone { return otherChain(l, salt, 0) }

func iterated(l *lab.Lab, n uint16) *lab.Zone { return otherChain(l, l.Zone("example.org.").Salt, n) }

func otherChain(l *lab.Lab, salt string, iterations uint16) *lab.Zone {
	original := *l.Zone("example.org.")
	z := l.Add(lab.Zone{Name: "example.org.", Denial: lab.NSEC3, Salt: salt, Iterations: iterations, Records: exampleNet})
	z.Answer("example.org.", dns.TypeSOA)
	out := *z
	*l.Zone("example.org.") = original
	return &out
}

// having3 answers with those of example.org.'s NSEC3 that are chosen.
func having3(name string, qtype uint16, chosen func(*dns.NSEC3) bool) func(*lab.Lab) {
	return func(l *lab.Lab) {
		var proof []dns.RR
		for _, set := range l.Zone("example.org.").Signed() {
			if rr, ok := set.RRs[0].(*dns.NSEC3); ok && chosen(rr) {
				proof = append(append(proof, rr), set.Sigs...)
			}
		}
		l.Tamper(name, qtype, lab.Replace(&dns.Msg{Ns: proof}))
	}
}

// mixed3 returns example.org.'s NSEC3 of the apex, and those of another chain of
// it in whose spans the names' hashes of the first chain are.
func mixed3(l *lab.Lab, other *lab.Zone, names ...string) *dns.Msg {
	m := l.Zone("example.org.").Answer("example.org.", dns.TypeTXT)
	for _, name := range names {
		hash := dns.HashName(name, dns.SHA1, 0, "0123456789")
		found := false
		for i := 0; !found; i++ {
			ns := other.Answer(strconv.Itoa(i)+".example.org.", dns.TypeA).Ns
			for i, rr := range ns {
				rr, ok := rr.(*dns.NSEC3)
				if !ok || found {
					continue
				}
				owner := strings.ToUpper(rr.Hdr.Name[:32])
				if owner < hash && hash < rr.NextDomain || owner > rr.NextDomain && (owner < hash || hash < rr.NextDomain) {
					m.Ns = append(m.Ns, rr, ns[i+1])
					found = true
				}
			}
		}
	}
	return m
}

// expandTooFar answers a name below closer.wild that does not exist from *.wild.
func expandTooFar(label, zone string) func(*lab.Lab) {
	return func(l *lab.Lab) {
		name := label + ".closer.wild." + zone
		m := l.Zone(zone).Answer("x.wild."+zone, dns.TypeTXT)
		lab.Each(dns.TypeTXT, func(rr dns.RR) { rr.Header().Name = name })(m)
		lab.EachSig(dns.TypeTXT, func(s *dns.RRSIG) { s.Hdr.Name = name })(m)
		m.Ns = append(m.Ns, l.Zone(zone).Answer(name, dns.TypeTXT).Ns...)
		l.Tamper(name, dns.TypeTXT, lab.Replace(m))
	}
}

func add(texts ...string) lab.Tamper {
	return func(m *dns.Msg) *dns.Msg {
		m.Answer = append(records(texts...), m.Answer...)
		return m
	}
}

func records(texts ...string) []dns.RR {
	var rrs []dns.RR
	for _, s := range texts {
		rr, err := dns.NewRR(s)
		if err != nil {
			panic(err)
		}
		rrs = append(rrs, rr)
	}
	return rrs
}

func stamp(d time.Duration) uint32 { return uint32(now.Add(d).Unix()) }
