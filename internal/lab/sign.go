package lab

import (
	"encoding/base64"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

// Sign returns the RRSIGs that the zone has for an RRset: by its secure-entry
// keys for DNSKEY, by these and the others for CDS and CDNSKEY at the apex, by
// the others for the rest.
func (z *Zone) Sign(rrs []dns.RR) []dns.RR {
	var sigs []dns.RR
	for _, k := range z.signers(rrs[0].Header().Name, rrs[0].Header().Rrtype) {
		sigs = append(sigs, z.SignWith(k, rrs))
	}
	return sigs
}

// signers returns the keys that sign an RRset of that name and type.
func (z *Zone) signers(name string, rrtype uint16) []*Key {
	var entry, data []*Key
	for _, k := range z.Keys {
		if k.Flags&dns.SEP != 0 {
			entry = append(entry, k)
		} else {
			data = append(data, k)
		}
	}
	switch {
	case len(data) == 0:
		return entry
	case rrtype == dns.TypeDNSKEY && name == z.Name:
		return entry
	case (rrtype == dns.TypeCDS || rrtype == dns.TypeCDNSKEY) && name == z.Name:
		return append(entry, data...)
	}
	return data
}

// SignWith signs an RRset with one key. Each edit may change the RRSIG before
// it is signed: inception, expiration, signer name, key tag, original TTL.
// Labels follow from the owner's name. It panics if signing fails.
func (z *Zone) SignWith(k *Key, rrs []dns.RR, edits ...func(*dns.RRSIG)) *dns.RRSIG {
	inception, expiration := z.Inception, z.Expiration
	if inception.IsZero() {
		inception = z.lab.now.Add(-time.Hour)
	}
	if expiration.IsZero() {
		expiration = z.lab.now.Add(14 * 24 * time.Hour)
	}
	h := rrs[0].Header()
	sig := &dns.RRSIG{
		Hdr:        dns.RR_Header{Name: h.Name, Rrtype: dns.TypeRRSIG, Class: dns.ClassINET, Ttl: h.Ttl},
		Algorithm:  k.Algorithm,
		KeyTag:     k.KeyTag(),
		SignerName: z.Name,
		Inception:  uint32(inception.Unix()),
		Expiration: uint32(expiration.Unix()),
	}
	for _, edit := range edits {
		edit(sig)
	}
	if k.Signer == nil {
		sig.TypeCovered, sig.OrigTtl, sig.Labels = h.Rrtype, h.Ttl, uint8(dns.CountLabel(h.Name))
		sig.Signature = base64.StdEncoding.EncodeToString(make([]byte, 64))
		return sig
	}
	if err := sig.Sign(k.Signer, rrs); err != nil {
		panic(fmt.Sprintf("lab: signing %s %s: %v", h.Name, dns.TypeToString[h.Rrtype], err))
	}
	return sig
}

// signed returns copies of an RRset of the zone and its signatures, which are
// made once. The lab is locked.
func (z *Zone) signed(rrs []dns.RR) []dns.RR {
	if len(rrs) == 0 {
		return nil
	}
	out := copies(rrs)
	if z.Unsigned {
		return out
	}
	h := rrs[0].Header()
	key := fmt.Sprintf("%s %d", h.Name, h.Rrtype)
	if h.Rrtype == dns.TypeNSEC {
		key = rrs[0].String() // compact denial has several for a name
	}
	sigs, ok := z.built.sigs[key]
	if !ok {
		if z.SignRRset != nil {
			sigs = z.SignRRset(copies(rrs))
		} else {
			sigs = z.Sign(rrs)
		}
		z.built.sigs[key] = sigs
	}
	return append(out, copies(sigs)...)
}

func copies(rrs []dns.RR) []dns.RR {
	out := make([]dns.RR, len(rrs))
	for i, rr := range rrs {
		out[i] = dns.Copy(rr)
	}
	return out
}
