package observe

import (
	"slices"

	"github.com/coredns-mske/mske/merge"
)

// Share has s, which nobody else has yet, use the texts of those of keys and ds
// that it shows. Of a fleet's zones, what is kept of a look is mostly these.
func (s Sight) Share(keys []merge.Key, ds []merge.DS) {
	for i := range s.Servers {
		addresses := s.Servers[i].Addresses
		for j := range addresses {
			for _, a := range []*Apex{&addresses[j].UDP, &addresses[j].TCP} {
				share(a.CDS.Records, ds)
				for _, shown := range [][]merge.Key{
					a.DNSKEY.Records, a.CDNSKEY.Records, a.SOA.Signers, a.DNSKEY.Signers, a.CDNSKEY.Signers, a.CDS.Signers, a.NS.Signers, a.CNS.Signers,
				} {
					share(shown, keys)
				}
			}
		}
	}
}

// share replaces those of shown that are among known by these.
func share[T comparable](shown, known []T) {
	for i, v := range shown {
		if at := slices.Index(known, v); at >= 0 {
			shown[i] = known[at]
		}
	}
}
