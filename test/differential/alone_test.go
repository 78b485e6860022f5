package differential

import (
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
)

// TestWhatWeAloneCallSecureIsHardlyExplained holds that the rules do not hide a
// wrong verdict of ours: that something is secure which neither peer believes.
func TestWhatWeAloneCallSecureIsHardlyExplained(t *testing.T) {
	top := &zone{name: "w1.", denial: lab.NSEC3}
	child := &zone{name: "example.w1.", parent: top, denial: lab.NSEC}
	top.children = []*zone{child}
	l := lab.New(t, time.Now())
	l.Add(lab.Zone{Name: "."})
	l.Add(lab.Zone{Name: top.name})
	l.Add(lab.Zone{Name: child.name, Records: "www A 192.0.2.1\nalias CNAME nowhere\n"})
	damaged := func(name string) *damage {
		all := damages()
		for i := range all {
			if all[i].name == name {
				return &all[i]
			}
		}
		t.Fatalf("Expected a damage %q", name)
		return nil
	}
	plain := opinion{verdict: secure}
	denied := func(by *zone) opinion { return opinion{verdict: secure, denied: true, proof: by.name} }
	tests := []struct {
		name      string
		many      uint16 // iterations of the top zone
		damage    string
		asked     string
		ours      opinion
		other     verdict // of ours, through the other peer
		theirs    verdict
		explained bool
	}{
		{"nothing damaged", 0, "", "www.example.w1.", plain, secure, bogus, false},
		{"nothing damaged, an alias", 0, "", "alias.example.w1.", plain, secure, bogus, false},
		{"a signature", 0, "signature: a bit", "www.example.w1.", plain, bogus, bogus, false},
		{"a strange key", 0, "DNSKEY: a stranger's", "alias.example.w1.", plain, bogus, bogus, false},
		{"no DS", 0, "DS: none, as the parent proves", "www.example.w1.", plain, secure, bogus, false},
		{"a denial from a wildcard", 0, "denial: from a wildcard, signed", "nx.example.w1.", denied(child), bogus, insecure, false},
		{"a delegation's denial", 0, "denial: a delegation's, signed", "alias.example.w1.", denied(child), bogus, bogus, false},
		{"a damaged denial, from a cache", 0, "denial: dropped", "nx.example.w1.", denied(child), bogus, bogus, false},
		{"a damaged denial of the zone", 0, "denial: bitmap changed", "nx.example.w1.", denied(child), secure, bogus, false},
		{"many iterations above", 300, "", "www.example.w1.", plain, secure, insecure, true},
		{"many iterations above a denial", 300, "", "nx.example.w1.", denied(child), secure, insecure, true},
		{"many iterations of the denial", 300, "", "nx.w1.", denied(top), secure, insecure, false},
		{"an RCODE", 0, "message: RCODE the other one", "nx.example.w1.", denied(child), secure, bogus, true},
		{"a denial of what is there", 0, "message: RCODE the other one", "www.example.w1.", denied(child), secure, bogus, false},
		{"a denial of what is there, which one peer believes", 0, "denial: bitmap changed", "www.example.w1.", denied(child), bogus, secure, false},
		{"an RCODE, and data", 0, "message: RCODE the other one", "www.example.w1.", plain, secure, bogus, false},
	}
	for _, tc := range tests {
		top.iterations = tc.many
		w := &world{lab: l, zones: []*zone{top, child}}
		if tc.damage != "" {
			w.damage, w.damaged = damaged(tc.damage), child
			w.tamper = func(dns.Question, *dns.Msg) {}
		}
		theirs := opinion{verdict: tc.theirs}
		a := asked{question: question{tc.asked, dns.TypeA}, ours: [2]opinion{tc.ours, {verdict: tc.other}}, theirs: [2]opinion{theirs, theirs}}
		for peer := range a.theirs {
			d := disagreement{w: w, asked: a, peer: peer, ours: tc.ours, theirs: theirs}
			if cause := d.cause(); (cause != nil) != tc.explained {
				t.Errorf("%s: Expected an explanation: %t, got %v", tc.name, tc.explained, cause)
			}
		}
	}
}
