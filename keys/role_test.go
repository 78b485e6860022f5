package keys

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestAssignRolesSplitsAsTheDNSSECPluginDoes(t *testing.T) {
	type in struct {
		flags    uint16
		override Role
		gone     Role
	}
	for _, tc := range []struct {
		name string
		keys []in
		want string
	}{
		{"257 alone", []in{{257, 0, 0}}, "CSK"},
		{"several 257", []in{{257, 0, 0}, {257, 0, 0}}, "CSK CSK"},
		{"both", []in{{257, 0, 0}, {256, 0, 0}, {257, 0, 0}}, "KSK ZSK KSK"},
		{"256 alone", []in{{256, 0, 0}}, "ZSK"},
		{"a word overrides", []in{{257, CSK, 0}, {256, 0, 0}, {256, KSK, 0}}, "CSK ZSK KSK"},
		{"a ZSK that is gone splits no more", []in{{257, 0, 0}, {256, 0, ZSK}}, "CSK ZSK"},
		{"a KSK that is gone stays one", []in{{257, 0, KSK}, {257, 0, 0}}, "KSK CSK"},
	} {
		var ks []*Key
		for _, k := range tc.keys {
			ks = append(ks, &Key{DNSKEY: &dns.DNSKEY{Flags: k.flags}, Role: k.override | k.gone, Override: k.override != 0, Gone: k.gone != 0})
		}
		AssignRoles(ks)
		var got []string
		for _, k := range ks {
			got = append(got, k.Role.String())
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%s: expected %s, got %v", tc.name, tc.want, got)
		}
	}
}

func TestCheckSetWantsPrivateHalvesOfBothKinds(t *testing.T) {
	const zone = "example.co.uk."
	key := func(role Role) *Key {
		k := generate(t, zone, dns.ED25519, 257)
		k.Role = role
		return k
	}
	public := func(role Role) *Key {
		k := key(role)
		k.Signer = nil
		return k
	}
	zsk := public(ZSK)
	for _, tc := range []struct {
		name string
		keys []*Key
		say  string // empty: no error
	}{
		{"KSK and ZSK", []*Key{key(KSK), key(ZSK)}, ""},
		{"CSK", []*Key{key(CSK)}, ""},
		{"CSK and a public ZSK", []*Key{key(CSK), public(ZSK)}, ""},
		{"KSK", []*Key{key(KSK)}, "has no ZSK or CSK"},
		{"ZSK", []*Key{key(ZSK)}, "has no KSK or CSK"},
		{"public ZSK", []*Key{key(KSK), public(ZSK)}, "mske keygen example.co.uk."},
		{"public CSK", []*Key{public(CSK)}, "dnssec-keygen -f KSK example.co.uk."},
		{"public ZSK, that the zone may be signed with", []*Key{key(KSK), zsk}, fmt.Sprintf("give it the files of ZSK %d, or make one", zsk.Tag())},
		{"nothing", nil, "dnssec-keygen example.co.uk."},
		{"nothing, in one line", nil, "; zone"},
	} {
		err := CheckSet(zone, tc.keys)
		if (err == nil) != (tc.say == "") || err != nil && !strings.Contains(err.Error(), tc.say) {
			t.Errorf("%s: expected %q, got %v", tc.name, tc.say, err)
		}
	}
}

func TestParseRoleTakesTheThreeWords(t *testing.T) {
	for word, want := range map[string]Role{"ksk": KSK, "ZSK": ZSK, "Csk": CSK, "unknown": RoleUnknown, "": RoleUnknown, "sk": RoleUnknown} {
		role, err := ParseRole(word)
		if role != want || (err == nil) != (want != RoleUnknown) {
			t.Errorf("Expected %s for %q, got %s, %v", want, word, role, err)
		}
	}
}

func TestKeyStringIsWhatLogsShow(t *testing.T) {
	k, _, err := Read("testdata/" + bind13)
	if err != nil {
		t.Fatal(err)
	}
	AssignRoles([]*Key{k})
	if want := "example.co.uk. ZSK 49373 ECDSAP256SHA256"; k.String() != want {
		t.Errorf("Expected %q, got %q", want, k)
	}
	if k.ID().Tag() != k.Tag() {
		t.Errorf("Expected identity and key to have one tag, got %d and %d", k.ID().Tag(), k.Tag())
	}
}
