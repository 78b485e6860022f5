package differential

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
)

// rsaPool is how many RSA keys there are. They are slow to make, so worlds
// share them; no world has two zones with the same.
const rsaPool = 32

// key is a key of a zone and what it is used for.
type key struct {
	*lab.Key
	signsKeys bool // the apex DNSKEY RRset
	signsData bool // everything else
	inDS      bool // its zone's parent names it
	hidden    bool // not in the DNSKEY RRset
}

// newKey makes a key of z from the case's number, so that it is the same in
// every run. Tag 0, which the library does not sign with, is passed over, also
// for what damages make of the key.
func (w *world) newKey(z *zone, algorithm uint8, flags uint16) *key {
	for {
		w.keys++
		seed := fmt.Sprintf("%d/%d", w.number, w.keys)
		owner := z.name
		switch algorithm {
		case dns.RSASHA1NSEC3SHA1, dns.RSASHA256, dns.RSASHA512:
			seed, owner = fmt.Sprint((w.number+w.keys)%rsaPool), "pool."
		}
		made := lab.NewKey(owner, algorithm, 256, seed)
		record := *made.DNSKEY
		record.Hdr.Name, record.Flags = z.name, flags
		if usableTags(record) {
			return &key{Key: &lab.Key{DNSKEY: &record, Signer: made.Signer}}
		}
	}
}

// usableTags says whether a key has no tag of 0, whatever its flags and protocol.
func usableTags(k dns.DNSKEY) bool {
	for _, flags := range []uint16{k.Flags, k.Flags | dns.REVOKE, k.Flags &^ dns.ZONE, k.Flags &^ dns.SEP} {
		for k.Protocol = range uint8(4) {
			if k.Flags = flags; k.KeyTag() == 0 {
				return false
			}
		}
	}
	return true
}

// addKeys gives z keys of one algorithm: a CSK, or KSK and ZSK, and now and
// then others beside: a key waiting for its time, a roll in progress.
func (w *world) addKeys(z *zone, algorithm uint8) {
	if w.chance(35) {
		csk := w.newKey(z, algorithm, 257)
		csk.signsKeys, csk.signsData, csk.inDS = true, true, true
		z.keys = append(z.keys, csk)
	} else {
		ksk, zsk := w.newKey(z, algorithm, 257), w.newKey(z, algorithm, 256)
		ksk.signsKeys, ksk.inDS = true, true
		zsk.signsData = true
		z.keys = append(z.keys, ksk, zsk)
	}
	if w.chance(15) { // published in advance
		z.keys = append(z.keys, w.newKey(z, algorithm, 256))
	}
	if w.chance(15) { // signs beside the other, and is not yet in DS
		next := w.newKey(z, algorithm, 257)
		next.signsKeys = true
		z.keys = append(z.keys, next)
	}
	if w.chance(8) { // in DS before it is published
		next := w.newKey(z, algorithm, 257)
		next.inDS, next.hidden = true, true
		z.keys = append(z.keys, next)
	}
	if w.chance(8) { // two sign all
		next := w.newKey(z, algorithm, 256)
		next.signsData = true
		z.keys = append(z.keys, next)
	}
}

// ds returns the DS records that z's parent has.
func (z *zone) ds() []*dns.DS {
	var all []*dns.DS
	for _, k := range z.keys {
		for _, digest := range z.digests {
			if k.inDS {
				all = append(all, k.digest(digest))
			}
		}
	}
	if z.editDS != nil {
		all = z.editDS(all)
	}
	return all
}

// digest returns a DS of the key; of a digest type that nobody knows, it holds
// noise.
func (k *key) digest(digest uint8) *dns.DS {
	if ds := k.ToDS(digest); ds != nil {
		return ds
	}
	ds := k.ToDS(dns.SHA256)
	ds.DigestType = digest
	ds.Digest = strings.Repeat(hex.EncodeToString([]byte{digest}), 32)
	return ds
}

// signers returns the keys that sign an RRset of that name and type.
func (z *zone) signers(name string, rrtype uint16) []*key {
	var signers []*key
	for _, k := range z.keys {
		apexKeys := rrtype == dns.TypeDNSKEY && name == z.name
		if !k.hidden && (apexKeys && k.signsKeys || !apexKeys && k.signsData) {
			signers = append(signers, k)
		}
	}
	return signers
}

// sign is what the lab signs z's RRsets with.
func (z *zone) sign(rrs []dns.RR) []dns.RR {
	var sigs []dns.RR
	if z.oldSignatures { // first, so that validators meet them first
		for _, k := range z.signers(rrs[0].Header().Name, rrs[0].Header().Rrtype) {
			sigs = append(sigs, z.built.SignWith(k.Key, rrs, expired(z.world.now)))
		}
	}
	for _, k := range z.signers(rrs[0].Header().Name, rrs[0].Header().Rrtype) {
		sigs = append(sigs, z.built.SignWith(k.Key, rrs))
	}
	return sigs
}
