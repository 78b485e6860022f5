package keys

import (
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// Role is what a key is used for, which its flags alone do not tell.
type Role uint8

// The roles of a key.
const (
	RoleUnknown Role = iota
	KSK              // secure entry: signs the apex key sets, is named by DS
	ZSK              // signs the zone's data
	CSK              // does both
)

var roleNames = [...]string{RoleUnknown: "unknown", KSK: "KSK", ZSK: "ZSK", CSK: "CSK"}

// String returns the role's usual abbreviation.
func (r Role) String() string {
	if int(r) >= len(roleNames) {
		r = RoleUnknown
	}
	return roleNames[r]
}

// SecureEntry reports whether a key of this role is named by DS and signs the
// apex key sets.
func (r Role) SecureEntry() bool { return r == KSK || r == CSK }

// SignsData reports whether a key of this role signs the zone's data.
func (r Role) SignsData() bool { return r == ZSK || r == CSK }

// ParseRole reads the word for a role, ksk, zsk or csk in any case.
func ParseRole(word string) (Role, error) {
	for role := KSK; role <= CSK; role++ {
		if strings.EqualFold(word, roleNames[role]) {
			return role, nil
		}
	}
	return RoleUnknown, fmt.Errorf("%.100q is not a role of a key: write ksk, zsk or csk", word)
}

// AssignRoles sets the roles of ks, the keys of one zone (rule K1): a key
// with flags 256 is a ZSK, and one with 257 is a KSK if there is one with 256
// too, else a CSK. Keys with Override keep theirs, and so do those that are
// gone.
func AssignRoles(ks []*Key) {
	sep := CSK
	for _, k := range ks {
		if !k.Gone && k.DNSKEY.Flags&dns.SEP == 0 {
			sep = KSK
		}
	}
	for _, k := range ks {
		switch {
		case k.Override, k.Gone && k.Role != RoleUnknown:
		case k.DNSKEY.Flags&dns.SEP == 0:
			k.Role = ZSK
		default:
			k.Role = sep
		}
	}
}

// CheckSet reports whether zone can be served with ks, its keys with their
// roles: there has to be a private half of a secure-entry key and one of a
// data-signing key (rule K1).
func CheckSet(zone string, ks []*Key) error {
	var missing []string
	for _, kind := range []struct {
		roles, flag string
		fits        func(Role) bool
	}{
		{"KSK or CSK", "-f KSK ", Role.SecureEntry},
		{"ZSK or CSK", "", Role.SignsData},
	} {
		var private bool
		var public []string
		for _, k := range ks {
			switch {
			case !kind.fits(k.Role):
			case k.Signer != nil:
				private = true
			default:
				public = append(public, fmt.Sprintf("%s %d", k.Role, k.Tag()))
			}
		}
		if private {
			continue
		}
		give := ""
		if len(public) > 0 {
			give = "give it the files of " + strings.Join(public, " or ") + ", or "
		}
		missing = append(missing, fmt.Sprintf("zone %q has no %s of ours with its .private file: %smake one with "+
			"\"dnssec-keygen %s%s\" or \"mske keygen %s\"", zone, kind.roles, give, kind.flag, zone, zone))
	}
	if len(missing) > 0 {
		return errors.New(strings.Join(missing, "; "))
	}
	return nil
}
