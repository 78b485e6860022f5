package store

import (
	"unique"

	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
)

// share lets equal texts of z be one in memory: a record names each key and each
// host many times, and the zones of a fleet have hosts in common.
func (z *Zone) share() {
	shareText(&z.Name)
	shareTexts(z.Nameservers, z.Target, z.NS, z.Imported, z.Delegation.NS, z.Delegation.Chain)
	for i := range z.Own {
		shareText(&z.Own[i].Key.PublicKey)
	}
	shareKeys(z.Signers, z.Joint.DNSKEY, z.Joint.CDNSKEY, z.Seed.DNSKEY, z.Seed.CDNSKEY)
	shareDS(z.Joint.CDS, z.Joint.Unmatched, z.Seed.CDS)
	for i := range z.Peers {
		p := &z.Peers[i]
		shareText(&p.Host)
		shareKeys(p.Announcement.DNSKEY, p.Announcement.CDNSKEY)
		shareDS(p.Announcement.CDS)
		for i := range p.Retiring {
			shareText(&p.Retiring[i].Key.PublicKey)
		}
	}
	for _, sig := range z.Signatures {
		shareText(&sig.Hdr.Name)
		shareText(&sig.SignerName)
	}
	shareLife(&z.Life)
}

func shareLife(s *lifecycle.State) {
	shareTexts(s.ParentNS, s.Target)
	shareDS(s.DS)
	for i := range s.Hosts {
		shareText(&s.Hosts[i].Name)
		shareTexts(s.Hosts[i].ListedBy, s.Hosts[i].NamedBy)
	}
	for i := range s.Keys {
		shareText(&s.Keys[i].Key.PublicKey)
	}
}

func shareKeys(lists ...[]merge.Key) {
	for _, ks := range lists {
		for i := range ks {
			shareText(&ks[i].PublicKey)
		}
	}
}

func shareDS(lists ...[]merge.DS) {
	for _, digests := range lists {
		for i := range digests {
			shareText(&digests[i].Digest)
		}
	}
}

func shareTexts(lists ...[]string) {
	for _, texts := range lists {
		for i := range texts {
			shareText(&texts[i])
		}
	}
}

func shareText(text *string) { *text = unique.Make(*text).Value() }
