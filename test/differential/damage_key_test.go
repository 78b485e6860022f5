package differential

import (
	"slices"

	"github.com/miekg/dns"
)

// keyDamages are about the DNSKEY RRset.
var keyDamages = []damage{
	{name: "DNSKEY: RRSIG dropped", effect: breaks, file: func(h *hit) bool {
		h.z.set(h.z.name, dns.TypeDNSKEY).Sigs = nil
		h.inside()
		return true
	}},
	{name: "DNSKEY: RRSIG expired", effect: breaks, file: func(h *hit) bool {
		h.resign(h.z.set(h.z.name, dns.TypeDNSKEY), expired(h.now))
		h.inside()
		return true
	}},
	{name: "DNSKEY: signed by the ZSK alone", effect: breaks, fits: (*hit).split, file: func(h *hit) bool {
		set := h.z.set(h.z.name, dns.TypeDNSKEY)
		set.Sigs = h.signed(copies(set.RRs, h.z.at("as-data")))
		for i, k := range h.z.signers(h.z.at("as-data"), dns.TypeDNSKEY) {
			set.Sigs[i] = h.z.built.SignWith(k.Key, set.RRs)
		}
		h.inside()
		return true
	}},
	{name: "DNSKEY: a key changed", effect: breaks, file: func(h *hit) bool {
		set := h.z.set(h.z.name, dns.TypeDNSKEY)
		set.RRs[0].(*dns.DNSKEY).Flags ^= 0x0400 // a flag that means nothing
		h.inside()
		return true
	}},
	{name: "DNSKEY: the signing key missing", effect: breaks, fits: (*hit).split, file: func(h *hit) bool {
		set := h.z.set(h.z.name, dns.TypeDNSKEY)
		for _, k := range h.z.signers(h.z.at("single"), dns.TypeA) {
			set.RRs = slices.DeleteFunc(set.RRs, func(rr dns.RR) bool { return rr.(*dns.DNSKEY).PublicKey == k.PublicKey })
		}
		h.resign(set)
		h.inside()
		return true
	}},
	{name: "DNSKEY: a stranger's", effect: breaks, file: func(h *hit) bool {
		set, stranger := h.z.set(h.z.name, dns.TypeDNSKEY), h.newKey(h.z, dns.ECDSAP256SHA256, 257)
		set.RRs = []dns.RR{stranger.DNSKEY}
		set.Sigs = []dns.RR{h.z.built.SignWith(stranger.Key, set.RRs)}
		data := h.z.set(h.z.at("single"), dns.TypeA)
		data.Sigs = []dns.RR{h.z.built.SignWith(stranger.Key, data.RRs)}
		h.inside()
		return true
	}},
	{name: "DNSKEY: a stranger's beside, that signs it all", effect: breaks, file: func(h *hit) bool {
		set, stranger := h.z.set(h.z.name, dns.TypeDNSKEY), h.newKey(h.z, dns.ECDSAP256SHA256, 257)
		set.RRs = append(set.RRs, stranger.DNSKEY)
		set.Sigs = append(set.Sigs, h.z.built.SignWith(stranger.Key, set.RRs))
		data := h.z.set(h.z.at("single"), dns.TypeA)
		data.Sigs = []dns.RR{h.z.built.SignWith(stranger.Key, data.RRs)}
		h.about(data.Name(), data.Type())
		return true
	}},
	flagged("DNSKEY: KSK revoked", true, func(k *key) { k.Flags |= dns.REVOKE }),
	flagged("DNSKEY: ZSK revoked", false, func(k *key) { k.Flags |= dns.REVOKE }),
	flagged("DNSKEY: KSK without ZONE flag", true, func(k *key) { k.Flags &^= dns.ZONE }),
	flagged("DNSKEY: ZSK without ZONE flag", false, func(k *key) { k.Flags &^= dns.ZONE }),
	flagged("DNSKEY: KSK of protocol 2", true, func(k *key) { k.Protocol = 2 }),
	flagged("DNSKEY: ZSK of protocol 2", false, func(k *key) { k.Protocol = 2 }),
	{name: "DNSKEY: KSK without SEP flag", effect: harmless, plan: func(h *hit) {
		for _, k := range h.z.signers(h.z.name, dns.TypeDNSKEY) {
			k.Flags &^= dns.SEP
		}
		h.inside()
	}},
}

// split says whether no key signs both keys and data.
func (h *hit) split() bool {
	return !slices.ContainsFunc(h.z.keys, func(k *key) bool { return k.signsKeys && k.signsData })
}

// flagged makes all keys that sign the keys, or all that sign the data, unfit.
// DS and signatures are made of them as they then are.
func flagged(name string, entry bool, change func(*key)) damage {
	d := damage{name: name, effect: breaks, plan: func(h *hit) {
		for _, k := range h.z.keys {
			if entry && k.signsKeys || !entry && k.signsData {
				change(k)
			}
		}
		h.inside()
	}}
	if !entry {
		d.fits = (*hit).split
	}
	return d
}
