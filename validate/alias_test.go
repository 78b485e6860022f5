package validate_test

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/validate"
)

func TestAnAliasCountsWhateverBecameOfItsTarget(t *testing.T) {
	long := strings.Repeat("a.", 60) + "moved.example.net."
	tests := []struct {
		name  string
		qname string
		rcode int
		edit  lab.Tamper
		want  want // the zero one: no verdict
	}{
		{"CNAME, target dead", "alias.example.net.", dns.RcodeServerFailure, nil, aliased(net, dns.TypeCNAME)},
		{"CNAME, target does not exist", "alias.example.net.", dns.RcodeNameError, nil, aliased(net, dns.TypeCNAME)},
		{"CNAME, target refused", "alias.example.net.", dns.RcodeRefused, nil, aliased(net, dns.TypeCNAME)},
		{"DNAME, target too long", long, dns.RcodeYXDomain, nil, aliased(net, dns.TypeDNAME)},
		{"DNAME, target dead", long, dns.RcodeServerFailure, nil, aliased(net, dns.TypeDNAME)},
		{"CNAME from a wildcard, target dead", "x.wildalias.example.net.", dns.RcodeServerFailure, nil,
			want{status: validate.Secure, signer: net, wildcard: true, alias: dns.TypeCNAME}},
		{"CNAME of an unsigned zone, target dead", "alias.unsigned.net.", dns.RcodeServerFailure, nil, want{}},
		{"forged CNAME, target dead", "alias.example.net.", dns.RcodeServerFailure, lab.StripSignatures, want{}},
		{"CNAME of another name", "alias.example.net.", dns.RcodeServerFailure,
			lab.Each(0, func(rr dns.RR) { rr.Header().Name = "alias.example.org." }), want{}},
		{"an answer that is no alias", "ns1.example.net.", dns.RcodeServerFailure, nil, want{}},
		{"nothing", "none.example.net.", dns.RcodeYXDomain, nil, want{}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			l := hierarchy(t)
			l.Tamper(tc.qname, dns.TypeA, func(m *dns.Msg) *dns.Msg {
				if tc.edit != nil {
					m = tc.edit(m)
				}
				m.Rcode = tc.rcode
				return m
			})
			r, err := validator(t, l).Lookup(t.Context(), l, tc.qname, dns.TypeA)
			if (err != nil) != (tc.want == want{}) || got(r) != tc.want {
				t.Errorf("Expected %+v, got %+v, %v", tc.want, got(r), err)
			}
		})
	}
}

func TestAnErrorNamesTheRcode(t *testing.T) {
	for rcode, want := range map[int]string{dns.RcodeServerFailure: "SERVFAIL", dns.RcodeBadVers: "BADVERS", 4000: "RCODE 4000"} {
		l := hierarchy(t)
		l.Tamper("ns1.example.net.", dns.TypeA, lab.Rcode(rcode))
		_, err := validator(t, l).Lookup(t.Context(), l, "ns1.example.net.", dns.TypeA)
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("Expected %s, got %v", want, err)
		}
	}
}

func TestAnAliasInPlaceOfTheChainFailsIt(t *testing.T) {
	for _, rcode := range []int{dns.RcodeSuccess, dns.RcodeServerFailure} {
		for _, qtype := range []uint16{dns.TypeDS, dns.TypeDNSKEY} {
			l := hierarchy(t)
			l.Tamper("example.net.", qtype, func(m *dns.Msg) *dns.Msg {
				m.Answer, m.Ns, m.Rcode = records("example.net. 300 IN CNAME example.org."), nil, rcode
				return m
			})
			r, err := validator(t, l).Lookup(t.Context(), l, "ns1.example.net.", dns.TypeA)
			if (err != nil) != (rcode != dns.RcodeSuccess) || err == nil && r.Status != validate.Bogus {
				t.Errorf("%s %s: Expected bogus or no verdict, got %+v, %v", dns.Type(qtype), dns.RcodeToString[rcode], r, err)
			}
		}
	}
}
