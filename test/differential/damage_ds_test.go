package differential

import (
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// dsDamages are about the DS RRset, in a zone's parent.
var dsDamages = []damage{
	delegated("DS: of another key", breaks, func(h *hit, all []*dns.DS) []*dns.DS {
		return []*dns.DS{h.newKey(h.z, all[0].Algorithm, 257).digest(dns.SHA256)}
	}),
	delegated("DS: another digest", breaks, func(_ *hit, all []*dns.DS) []*dns.DS {
		for _, ds := range all {
			ds.Digest = strings.Repeat("00", 2) + ds.Digest[4:]
		}
		return all
	}),
	delegated("DS: another tag", breaks, func(_ *hit, all []*dns.DS) []*dns.DS {
		for _, ds := range all {
			ds.KeyTag ^= 0x5555
		}
		return all
	}),
	delegated("DS: another algorithm", breaks, func(_ *hit, all []*dns.DS) []*dns.DS {
		for _, ds := range all {
			if ds.Algorithm++; ds.Algorithm > dns.ED25519 {
				ds.Algorithm = dns.RSASHA256
			}
		}
		return all
	}),
	delegated("DS: a digest of another length", breaks, func(_ *hit, all []*dns.DS) []*dns.DS {
		for _, ds := range all {
			ds.Digest = ds.Digest[:8]
		}
		return all
	}),
	delegated("DS: none, as the parent proves", downgrades, func(*hit, []*dns.DS) []*dns.DS { return nil }),
	delegated("DS: of unknown digests alone", downgrades, func(_ *hit, all []*dns.DS) []*dns.DS {
		for _, ds := range all {
			ds.DigestType = 200
		}
		return all
	}),
	delegated("DS: of unknown algorithms alone", downgrades, func(_ *hit, all []*dns.DS) []*dns.DS {
		for _, ds := range all {
			ds.Algorithm = 200
		}
		return all
	}),
	delegated("DS: a weak digest of the key, a strong one of none", breaks, func(h *hit, all []*dns.DS) []*dns.DS {
		weak := h.z.signers(h.z.name, dns.TypeDNSKEY)[0].digest(dns.SHA1)
		strong := *h.newKey(h.z, weak.Algorithm, 257).digest(dns.SHA256)
		return []*dns.DS{weak, &strong}
	}),
	delegated("DS: of an unknown algorithm beside", harmless, func(_ *hit, all []*dns.DS) []*dns.DS {
		unknown := *all[0]
		unknown.Algorithm = 200
		return append(all, &unknown)
	}),
	delegated("DS: of a key that is not there beside", harmless, func(h *hit, all []*dns.DS) []*dns.DS {
		return append(all, h.newKey(h.z, all[0].Algorithm, 257).digest(all[0].DigestType))
	}),

	atParent("DS: RRSIG dropped", func(h *hit) { h.z.parent.set(h.z.name, dns.TypeDS).Sigs = nil }),
	atParent("DS: changed", func(h *hit) {
		ds := h.z.parent.set(h.z.name, dns.TypeDS).RRs[0].(*dns.DS)
		ds.Digest = ds.Digest[:len(ds.Digest)-4] + "BEEF"
	}),
	atParent("DS: signed by the child", func(h *hit) {
		set := h.z.parent.set(h.z.name, dns.TypeDS)
		set.Sigs = h.signed(set.RRs)
	}),
	atParent("DS: taken out of the file", func(h *hit) {
		ds := h.z.parent.set(h.z.name, dns.TypeDS)
		h.z.parent.sets = slices.DeleteFunc(h.z.parent.sets, func(set *rrset) bool { return set == ds })
	}),
}

// delegated has the parent sign other DS records.
func delegated(name string, e effect, edit func(*hit, []*dns.DS) []*dns.DS) damage {
	return damage{name: name, effect: e, fits: (*hit).below, plan: func(h *hit) {
		h.z.editDS = func(all []*dns.DS) []*dns.DS { return edit(h, all) }
		h.inside()
	}}
}

// atParent changes what the parent has signed.
func atParent(name string, edit func(*hit)) damage {
	return damage{name: name, effect: breaks, fits: (*hit).below, file: func(h *hit) bool {
		edit(h)
		h.inside()
		return true
	}}
}
