package store

import (
	"unique"

	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
)

// share lets equal texts of z be one in memory: a record names each key and each
// host many times, and the zones of a fleet have hosts in common.
func (z *Zone) share() {
	var s sharer
	s.name(&z.Name)
	s.names(z.Nameservers, z.Target, z.NS, z.Imported, z.Delegation.NS, z.Delegation.Chain)
	for i := range z.Own {
		s.text(&z.Own[i].Key.PublicKey)
	}
	s.keys(z.Signers, z.Joint.DNSKEY, z.Joint.CDNSKEY, z.Seed.DNSKEY, z.Seed.CDNSKEY)
	s.digests(z.Joint.CDS, z.Joint.Unmatched, z.Seed.CDS)
	for i := range z.Peers {
		p := &z.Peers[i]
		s.name(&p.Host)
		s.keys(p.Announcement.DNSKEY, p.Announcement.CDNSKEY)
		s.digests(p.Announcement.CDS)
		for i := range p.Retiring {
			s.text(&p.Retiring[i].Key.PublicKey)
		}
	}
	for _, sig := range z.Signatures {
		s.name(&sig.Hdr.Name)
		s.name(&sig.SignerName)
	}
	s.life(&z.Life)
}

// sharer holds the texts that were met, and stays with a record.
type sharer struct{ met []string }

// maxMet bounds the texts that each further one is compared with.
const maxMet = 64

// text lets an equal text that was met stand in for one, and reports whether there
// is any.
func (s *sharer) text(text *string) bool {
	for _, same := range s.met {
		if same == *text {
			*text = same
			return true
		}
	}
	if len(s.met) < maxMet {
		s.met = append(s.met, *text)
	}
	return false
}

// name is text for what other records have as well.
func (s *sharer) name(name *string) {
	before := len(s.met)
	if !s.text(name) {
		*name = unique.Make(*name).Value()
		if len(s.met) > before {
			s.met[before] = *name
		}
	}
}

func (s *sharer) life(l *lifecycle.State) {
	s.names(l.ParentNS, l.Target)
	s.digests(l.DS)
	for i := range l.Hosts {
		s.name(&l.Hosts[i].Name)
		s.names(l.Hosts[i].ListedBy, l.Hosts[i].NamedBy)
	}
	for i := range l.Keys {
		s.text(&l.Keys[i].Key.PublicKey)
	}
}

func (s *sharer) keys(lists ...[]merge.Key) {
	for _, ks := range lists {
		for i := range ks {
			s.text(&ks[i].PublicKey)
		}
	}
}

func (s *sharer) digests(lists ...[]merge.DS) {
	for _, digests := range lists {
		for i := range digests {
			s.text(&digests[i].Digest)
		}
	}
}

func (s *sharer) names(lists ...[]string) {
	for _, names := range lists {
		for i := range names {
			s.name(&names[i])
		}
	}
}
