package refresh

import (
	"slices"
	"testing"

	"github.com/coredns-mske/mske/chain"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/store"
)

func TestTargetIsTheOptionElseCNSElseNS(t *testing.T) {
	l := chain.Look{NS: []string{ourNS}, CNS: []string{theirNS}, HasCNS: true}
	for _, tc := range []struct {
		option []string
		look   chain.Look
		want   []string
	}{
		{[]string{theirNS2}, l, []string{theirNS2}},
		{nil, l, []string{theirNS}},
		{nil, chain.Look{NS: []string{ourNS}}, []string{ourNS}},
	} {
		if got := target(&Zone{CNS: tc.option}, tc.look, tc.look.NS); !slices.Equal(got, tc.want) {
			t.Errorf("Expected %v, got %v", tc.want, got)
		}
	}
}

func TestImportsAreTakenFromWhomTheOwnerNamed(t *testing.T) {
	for _, tc := range []struct {
		name  string
		state store.Zone
		want  []string
	}{
		{"in CNS", store.Zone{HasCNS: true, Target: []string{ourNS, theirNS}, NS: []string{ourNS}}, []string{theirNS}},
		{"in NS, never in CNS", store.Zone{Target: []string{ourNS, theirNS}, NS: []string{ourNS, theirNS}}, nil},
		{"in NS, once in CNS", store.Zone{Target: []string{ourNS, theirNS}, NS: []string{ourNS, theirNS}, Imported: []string{theirNS}}, []string{theirNS}},
		{"in NS once in CNS, CNS names another", store.Zone{HasCNS: true, Target: []string{ourNS, theirNS2}, NS: []string{ourNS, theirNS}, Imported: []string{theirNS}}, []string{theirNS, theirNS2}},
		{"once in CNS, now nowhere", store.Zone{Target: []string{ourNS}, NS: []string{ourNS}, Imported: []string{theirNS}}, nil},
	} {
		z := &Zone{Nameservers: []string{ourNS}}
		if got, _ := z.imports(tc.state); !slices.Equal(got, tc.want) {
			t.Errorf("%s: Expected %v, got %v", tc.name, tc.want, got)
		}
	}
}

func TestKnownHostsComeFirstWhereThereAreTooMany(t *testing.T) {
	var s store.Zone
	s.HasCNS = true
	for i := range store.MaxHosts + 1 {
		s.Target = append(s.Target, string(rune('a'+i/26))+string(rune('a'+i%26))+".example.org.")
	}
	last := s.Target[store.MaxHosts]
	s.Peers = []merge.Peer{{Host: last}}
	z := &Zone{Nameservers: []string{ourNS}}
	hosts, excess := z.imports(s)
	if len(hosts) != store.MaxHosts || !slices.Contains(hosts, last) {
		t.Errorf("Expected %d hosts and %s among them, got %v", store.MaxHosts, last, hosts)
	}
	if !slices.Equal(excess, s.Target[store.MaxHosts-1:store.MaxHosts]) {
		t.Errorf("Expected the last of the others to be left out, got %v", excess)
	}
}

func TestImportedHostsAreRememberedWhileTheyMatter(t *testing.T) {
	z := &Zone{Nameservers: []string{ourNS}}
	s := store.Zone{Imported: []string{theirNS, theirNS2, "ns3.example.org."}, NS: []string{theirNS}, Peers: []merge.Peer{{Host: theirNS2}}}
	want := []string{theirNS, theirNS2, "ns4.example.org."}
	if got := z.imported(s, []string{ourNS, "ns4.example.org."}); !slices.Equal(got, want) {
		t.Errorf("Expected %v, got %v", want, got)
	}
}
