package serve

import (
	"testing"

	"github.com/miekg/dns"
)

// FuzzReply asks for any name and type below a signaling domain, which has to
// give an answer that a validator can prove.
func FuzzReply(f *testing.F) {
	zones := []string{zone, "example.net.", "deep.er.example.net.", `a\.b\000.example.net.`, "*.example.org."}
	fixtures := []*fixture{newFixture(f, false, zones...), newFixture(f, true, zones...)}
	worlds := []*world{fixtures[0].world(), fixtures[1].world()}
	for _, prefix := range []string{"", "\x06_multi\x07example\x02co\x02uk", "\x02uk", "\x01*", "\x01\x00\x01\xff", "\x3f" + string(make([]byte, 63))} {
		for _, qtype := range []uint16{dns.TypeCDS, dns.TypeA, dns.TypeDS, dns.TypeNSEC, dns.TypeRRSIG, dns.TypeANY, dns.TypeNXNAME, dns.TypeAXFR} {
			f.Add([]byte(prefix), qtype, true, false, false)
			f.Add([]byte(prefix), qtype, true, true, true)
		}
	}
	suffix, err := packLower(domain)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, prefix []byte, qtype uint16, do, co, delegated bool) {
		name, end, err := dns.UnpackDomainName(append(prefix[:len(prefix):len(prefix)], suffix...), 0)
		if err != nil || end != len(prefix)+len(suffix) || !fits(name) || !below(name, domain) || qtype == dns.TypeOPT {
			return
		}
		i := 0
		if delegated {
			i = 1
		}
		fixtures[i].check(t, worlds[i], question(name, qtype, do, co))
	})
}

// FuzzReplyText gives Reply what is not necessarily a name.
func FuzzReplyText(f *testing.F) {
	inZone, delegated := newFixture(f, false, zone), newFixture(f, true, zone)
	for _, name := range []string{"", ".", "x." + domain, `\` + domain, `\1.` + domain, `..` + domain, `\999.` + domain} {
		f.Add(name, dns.TypeCDS)
	}
	f.Fuzz(func(t *testing.T, name string, qtype uint16) {
		r := question("placeholder.", qtype, true, true)
		r.Question[0].Name = name
		for _, f := range []*fixture{inZone, delegated} {
			m, err := f.view.Reply(r, f.online, f.askSOA, now)
			if err == nil && m == nil {
				t.Errorf("Expected a message or an error for %q", name)
			}
		}
	})
}
