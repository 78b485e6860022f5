package store

import (
	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/serve"
)

// zone codes all of a record. Whatever changes here is a new recordVersion, and
// records of the versions before are still read.
func (c *coder) zone(z *Zone) {
	c.name(&z.Name)
	c.names(&z.Nameservers)
	c.time(&z.Saved, &z.Clock, &z.Cold)
	c.names(&z.Target)
	c.names(&z.NS)
	c.duration(&z.NSTTL)
	c.names(&z.Imported)
	c.yes(&z.HasCNS, &z.HasCSYNC, &z.Delegation.CSYNC)
	c.names(&z.Delegation.NS)
	c.names(&z.Delegation.Chain)
	list(c, &z.Own, MaxOwnKeys, c.own)
	c.keys(&z.Signers, MaxOwnKeys)
	list(c, &z.Peers, MaxHosts, c.peer)
	c.keys(&z.Joint.DNSKEY, maxJoint)
	c.keys(&z.Joint.CDNSKEY, maxJoint)
	c.digests(&z.Joint.CDS, maxJoint)
	c.digests(&z.Joint.Unmatched, maxJoint)
	list(c, (*[]serve.Signature)(&z.Signatures), maxSignatures, c.signature)
	c.life(&z.Life)
	c.seed(&z.Seed)
	c.text(&z.Told)
	small(c, &z.Serial)
	if c.version >= 4 {
		c.time(&z.AnnouncedSince)
	}
}

func (c *coder) names(names *[]string) { list(c, names, MaxNames, c.name) }

func (c *coder) keys(ks *[]merge.Key, limit int) { listIn(c, ks, limit, c.key, c.ofKeys.take) }

func (c *coder) key(k *merge.Key) {
	small(c, &k.Flags)
	small(c, &k.Protocol)
	small(c, &k.Algorithm)
	c.text(&k.PublicKey)
}

func (c *coder) digests(ds *[]merge.DS, limit int) {
	listIn(c, ds, limit, func(d *merge.DS) {
		small(c, &d.KeyTag)
		small(c, &d.Algorithm)
		small(c, &d.DigestType)
		c.text(&d.Digest)
	}, c.ofDS.take)
}

func (c *coder) own(o *Own) {
	c.key(&o.Key)
	c.yes(&o.SecureEntry, &o.SignsKeys, &o.SignsData, &o.Chain, &o.Signed)
	c.time(&o.SigningFrom, &o.Published, &o.SignedSince, &o.Gone)
}

func (c *coder) peer(p *merge.Peer) {
	c.name(&p.Host)
	a := &p.Announcement
	c.keys(&a.DNSKEY, MaxPeerKeys)
	c.keys(&a.CDNSKEY, MaxPeerKeys)
	c.digests(&a.CDS, MaxPeerKeys)
	c.duration(&a.TTL)
	c.time(&a.Inception.DNSKEY, &a.Inception.CDNSKEY, &a.Inception.CDS, &p.Collected)
	list(c, &p.Retiring, MaxPeerKeys, func(r *merge.Retiring) {
		c.key(&r.Key)
		c.time(&r.Since, &r.Until)
	})
}

func (c *coder) life(s *lifecycle.State) {
	c.text((*string)(&s.Phase))
	c.time(&s.ConvergedSince, &s.ConvergedAt, &s.DSSince, &s.SyncFrom, &s.SyncedAt, &s.DSAt, &s.NSAt, &s.Grown, &s.AbsentFrom)
	if c.version >= 3 {
		c.time(&s.DSFrom, &s.Entered)
	}
	small(c, &s.DSStatus)
	c.digests(&s.DS, MaxDS)
	c.names(&s.ParentNS)
	c.names(&s.Target)
	c.held(&s.HeldDS)
	c.held(&s.HeldKeys)
	list(c, &s.Hosts, lifecycle.MaxHosts, func(h *lifecycle.Host) {
		c.name(&h.Name)
		c.yes(&h.Delegated, &h.ParentRead, &h.Differs)
		c.time(&h.Heard, &h.Silent, &h.Clear, &h.Missing, &h.Until)
		c.duration(&h.KeyTTL)
		c.held(&h.Child)
		c.held(&h.Parent)
		c.names(&h.ListedBy)
		c.names(&h.NamedBy)
	})
	list(c, &s.Keys, MaxOwnKeys, func(k *lifecycle.Key) {
		c.key(&k.Key)
		c.time(&k.Everywhere, &k.KnownFrom, &k.DSSince, &k.InDSFrom, &k.DSGone, &k.GoneFrom)
	})
}

func (c *coder) held(h *lifecycle.Held) {
	c.duration(&h.TTL)
	c.time(&h.Until)
}

func (c *coder) seed(s *lifecycle.Seed) {
	c.time(&s.At, &s.Until)
	c.keys(&s.DNSKEY, lifecycle.MaxSeeds)
	c.keys(&s.CDNSKEY, lifecycle.MaxSeeds)
	c.digests(&s.CDS, lifecycle.MaxSeeds)
	c.duration(&s.TTL)
}

// signature codes a signature as a record in wire format (RFC 4034 section 3.1),
// and after it what it is over.
func (c *coder) signature(s *serve.Signature) {
	if !c.reading {
		wire, err := packSignature(*s)
		if err != nil {
			c.fail(err)
			return
		}
		size := uint64(len(wire))
		c.number(&size)
		c.octets = append(append(c.octets, wire...), s.Over[:]...)
		return
	}
	var size uint64
	c.number(&size)
	wire := c.take(size)
	over := c.take(uint64(len(s.Over)))
	if c.err != nil {
		return
	}
	sig, err := unpackSignature(wire, serve.Digest(over))
	if err != nil {
		c.fail(err)
		return
	}
	*s = sig
	c.same(&s.Owner)
}

// same lets a text that was met stand in for an equal one.
func (c *coder) same(text *string) {
	for _, met := range c.texts {
		if met == *text {
			*text = met
			return
		}
	}
}
