package differential

import (
	"encoding/base64"
	"time"

	"github.com/miekg/dns"
)

// signatureDamages are about the RRSIGs of an RRset, all of them.
var signatureDamages = []damage{
	edited("signature: a bit", func(h *hit, sig *dns.RRSIG) {
		octets, _ := base64.StdEncoding.DecodeString(sig.Signature)
		octets[h.rng.IntN(len(octets))] ^= 1 << h.rng.IntN(8)
		sig.Signature = base64.StdEncoding.EncodeToString(octets)
	}),
	edited("signature: cut short", func(_ *hit, sig *dns.RRSIG) {
		octets, _ := base64.StdEncoding.DecodeString(sig.Signature)
		sig.Signature = base64.StdEncoding.EncodeToString(octets[:len(octets)/2])
	}),
	edited("signer: above", func(h *hit, sig *dns.RRSIG) {
		sig.SignerName = "."
		if h.z.parent != nil {
			sig.SignerName = h.z.parent.name
		}
	}),
	edited("signer: below", func(h *hit, sig *dns.RRSIG) { sig.SignerName = h.z.at("www") }),
	edited("signer: elsewhere", func(_ *hit, sig *dns.RRSIG) { sig.SignerName = "example." }),
	edited("labels: more", func(_ *hit, sig *dns.RRSIG) { sig.Labels++ }),
	edited("labels: fewer", func(_ *hit, sig *dns.RRSIG) { sig.Labels-- }),
	edited("original TTL", func(_ *hit, sig *dns.RRSIG) { sig.OrigTtl++ }),
	edited("inception: earlier", func(_ *hit, sig *dns.RRSIG) { sig.Inception -= 60 }),
	edited("expiration: later", func(_ *hit, sig *dns.RRSIG) { sig.Expiration += 3600 }),
	edited("key tag", func(_ *hit, sig *dns.RRSIG) { sig.KeyTag ^= 0x5555 }),
	edited("algorithm: another", func(_ *hit, sig *dns.RRSIG) {
		if sig.Algorithm++; sig.Algorithm > dns.ED25519 {
			sig.Algorithm = dns.RSASHA256
		}
	}),
	edited("algorithm: unknown", func(_ *hit, sig *dns.RRSIG) { sig.Algorithm = 200 }),

	resigned("inception: in an hour", func(now time.Time) (from, to time.Time) { return now.Add(time.Hour), now.Add(50 * time.Hour) }),
	resigned("expiration: an hour ago", func(now time.Time) (from, to time.Time) { return now.Add(-50 * time.Hour), now.Add(-time.Hour) }),
	resigned("expiration: before inception", func(now time.Time) (from, to time.Time) {
		return now.Add(2 * time.Hour), now.Add(time.Hour)
	}),
	resigned("expiration: in 70 years", func(now time.Time) (from, to time.Time) {
		return now.Add(-time.Hour), now.AddDate(70, 0, 0)
	}),

	{name: "RRSIG: dropped", effect: breaks, file: func(h *hit) bool {
		h.data().Sigs = nil
		return true
	}},
	{name: "RRSIG: of another RRset", effect: breaks, file: func(h *hit) bool {
		set, other := h.data(), h.z.set(h.z.at("ns1"), dns.TypeA)
		if other == nil {
			return false
		}
		set.Sigs = copies(other.Sigs, set.Name())
		for _, rr := range set.Sigs {
			rr.(*dns.RRSIG).TypeCovered = set.Type()
		}
		return true
	}},
	{name: "RRSIG: by a zone above", effect: breaks, fits: (*hit).below, file: func(h *hit) bool { return h.signBy(h.z.parent) }},
	{name: "RRSIG: by a zone elsewhere", effect: breaks, fits: (*hit).elsewhere, file: func(h *hit) bool {
		return h.signBy(h.other())
	}},
	{name: "RRSIG: by a key that is not there", effect: breaks, file: func(h *hit) bool {
		set, stranger := h.data(), h.newKey(h.z, dns.ECDSAP256SHA256, 256)
		set.Sigs = []dns.RR{h.z.built.SignWith(stranger.Key, set.RRs)}
		return true
	}},
	{name: "RRSIG: by a stranger with a known tag", effect: breaks, file: func(h *hit) bool {
		set := h.data()
		known := h.z.signers(set.Name(), set.Type())[0]
		if known.Algorithm != dns.ECDSAP256SHA256 {
			return false
		}
		stranger := h.newKey(h.z, known.Algorithm, 256)
		set.Sigs = []dns.RR{h.z.built.SignWith(stranger.Key, set.RRs, func(sig *dns.RRSIG) { sig.KeyTag = known.KeyTag() })}
		return true
	}},
	{name: "RRSIG: as if expanded from a wildcard", effect: breaks, file: func(h *hit) bool {
		set := h.data()
		if set.Name() == h.z.name {
			return false
		}
		labels := dns.Split(set.Name())
		wild := "*." + set.Name()[labels[1]:]
		set.Sigs = copies(h.signed(copies(set.RRs, wild)), set.Name())
		return true
	}},
	{name: "RRSIG: by a KSK", effect: harmless, file: func(h *hit) bool {
		set := h.data()
		for _, k := range h.z.signers(h.z.name, dns.TypeDNSKEY) {
			set.Sigs = []dns.RR{h.z.built.SignWith(k.Key, set.RRs)}
		}
		return true
	}},
}

// edited changes signatures and leaves them unsigned.
func edited(name string, edit func(*hit, *dns.RRSIG)) damage {
	return damage{name: name, effect: breaks, file: func(h *hit) bool {
		for _, rr := range h.data().Sigs {
			edit(h, rr.(*dns.RRSIG))
		}
		return true
	}}
}

// resigned makes signatures with another validity period.
func resigned(name string, period func(now time.Time) (from, to time.Time)) damage {
	return damage{name: name, effect: breaks, file: func(h *hit) bool {
		h.resign(h.data(), valid(period(h.now)))
		return true
	}}
}

// signBy has another zone sign data of h's, in its own name.
func (h *hit) signBy(z *zone) bool {
	set := h.data()
	set.Sigs = nil
	for _, k := range z.signers(set.Name(), set.Type()) {
		set.Sigs = append(set.Sigs, z.built.SignWith(k.Key, set.RRs))
	}
	return true
}
