package store

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/serve"

	"github.com/miekg/dns"
)

// Limits of a record. They are far above what a working zone needs, and keep a
// record that was tampered with from filling memory. The engine keeps within
// them, since a zone beyond them could not be stored.
const (
	// MaxHosts is the most external nameservers of a zone that keys are known
	// of (rule D2).
	MaxHosts = 32
	// MaxPeerKeys is the most keys of one kind of one external nameserver,
	// those on their way out included: four times what one announcement may
	// hold (rule F4).
	MaxPeerKeys = 32
	// MaxOwnKeys is the most keys of our own in a zone.
	MaxOwnKeys = 64
	// MaxDS is the most records of the parent's DS RRset.
	MaxDS = 64
	// MaxNames is the most host names in one list.
	MaxNames = 256

	maxJoint      = MaxOwnKeys + MaxHosts*2*MaxPeerKeys
	maxSignatures = 4 * MaxOwnKeys
	maxPhase      = 32   // octets
	maxTold       = 32   // octets
	maxPublicKey  = 2048 // octets of base64: RSA of 4096 bits, the longest supported, takes 688
	maxDigest     = 128  // hexadecimal digits: SHA-512
)

// Zone is what is kept of one zone as served under one set of our nameservers.
// A zone that nothing is stored of is one that this store never saw.
type Zone struct {
	Name        string    // canonical
	Nameservers []string  // ours, sorted
	Saved       time.Time // when this record was made

	// Clock is a time that had certainly passed by then: what the clock said
	// if it could be trusted, or what was known before (rule M6). The latest
	// of all records counts.
	Clock time.Time

	// Cold is when a cold start began that has not ended (rule M5), else zero.
	Cold time.Time

	Target   []string      // the nameservers the owner wants (rule D1)
	NS       []string      // the zone's own NS RRset
	NSTTL    time.Duration // its TTL
	Imported []string      // external hosts that were in a CNS RRset (rule D2)
	HasCNS   bool          // whether the zone holds CNS
	HasCSYNC bool          // whether the zone holds CSYNC

	// Delegation is what is served in place of NS and CSYNC of the plugins
	// behind us. Then NS is its NS.
	Delegation Delegation `json:",omitzero"`

	Own     []Own        // our keys in the served sets
	Signers []merge.Key  // keys that the zone data was last seen signed with
	Peers   []merge.Peer // what is known of other providers' keys

	Joint      merge.Joint // the sets last served, empty before the first time
	Signatures Signatures  // and our signatures over them

	// Life is how far the zone has come: what was read of the parent and the
	// nameservers, deadlines, hosts that left (section 5, rule D3). Seed are keys
	// taken from the zone itself when it began cold (rule M5).
	Life lifecycle.State `json:",omitzero"`
	Seed lifecycle.Seed  `json:",omitzero"`

	Told   string `json:",omitzero"` // identifies the announcement that the other nameservers were told of last
	Serial uint32 // of the SOA record, in a delegated signaling zone (rule P3)

	// AnnouncedSince is when what we announce came in place of something else. It is
	// on disk before anybody sees that, unless the file cannot be written.
	AnnouncedSince time.Time `json:",omitzero"`
}

// Delegation is what is served as NS and CSYNC under `delegation auto`. The zero
// value leaves both to the plugins behind us.
type Delegation struct {
	NS    []string `json:",omitzero"`
	Chain []string `json:",omitzero"` // the NS RRset that it stands in for: when that changes, it ends
	CSYNC bool     `json:",omitzero"`
}

// Own is a key of ours that is, or was until lately, in the served sets.
type Own struct {
	Key         merge.Key
	SecureEntry bool      // CDS and CDNSKEY name it
	SignsKeys   bool      `json:",omitzero"` // it signs DNSKEY as a secure entry, which CDS may name no more
	SigningFrom time.Time `json:",omitzero"` // since when it does, zero if that is not known
	SignsData   bool      // it may sign zone data
	Chain       bool      // the plugins behind ours hold it or sign with it, or did so lately (rule K2)
	Signed      bool      // they were seen to sign with it, or we did
	Published   time.Time // when it was first served
	SignedSince time.Time `json:",omitzero"` // when they were first seen to sign with it, zero if that is not known
	Gone        time.Time // the first look that no longer showed it, or since when we do not sign data with it any more; zero while neither
}

// Signatures are RRSIG records of ours.
type Signatures []serve.Signature

// Key returns the key of a zone's record: the same zone under other
// nameservers is another provider's part of it (rule T2).
func Key(zone string, nameservers []string) string {
	sorted := slices.Clone(nameservers)
	slices.Sort(sorted)
	return zone + " " + strings.Join(slices.Compact(sorted), ",")
}

// validate reports what in z could not have been stored under key.
func (z *Zone) validate(key string) error {
	if Key(z.Name, z.Nameservers) != key {
		return errors.New("it is about another zone")
	}
	names := [][]string{{z.Name}, z.Nameservers, z.Target, z.NS, z.Imported, z.Delegation.NS, z.Delegation.Chain}
	for _, list := range names {
		if err := checkNames(list); err != nil {
			return err
		}
	}
	if len(z.Own) > MaxOwnKeys || len(z.Signers) > MaxOwnKeys {
		return fmt.Errorf("more than %d keys of ours", MaxOwnKeys)
	}
	for _, o := range z.Own {
		if err := checkKey(o.Key); err != nil {
			return err
		}
	}
	if len(z.Told) > maxTold {
		return fmt.Errorf("a digest of %d octets, more than %d", len(z.Told), maxTold)
	}
	if len(z.Signatures) > maxSignatures {
		return fmt.Errorf("%d signatures, more than %d", len(z.Signatures), maxSignatures)
	}
	return errors.Join(checkKeys(z.Signers, MaxOwnKeys), checkPeers(z.Peers), checkJoint(z.Joint), checkLife(z.Life), checkSeed(z.Seed))
}

func checkLife(s lifecycle.State) error {
	if len(s.Phase) > maxPhase || len(s.Hosts) > lifecycle.MaxHosts || len(s.Keys) > MaxOwnKeys {
		return fmt.Errorf("a phase of %d octets, %d hosts and %d keys of ours, more than %d, %d and %d",
			len(s.Phase), len(s.Hosts), len(s.Keys), maxPhase, lifecycle.MaxHosts, MaxOwnKeys)
	}
	errs := []error{checkDS(s.DS, MaxDS), checkNames(s.ParentNS)}
	for _, h := range s.Hosts {
		errs = append(errs, checkNames([]string{h.Name}), checkNames(h.ListedBy))
	}
	for _, k := range s.Keys {
		errs = append(errs, checkKey(k.Key))
	}
	return errors.Join(errs...)
}

func checkSeed(s lifecycle.Seed) error {
	return errors.Join(checkKeys(s.DNSKEY, lifecycle.MaxSeeds), checkKeys(s.CDNSKEY, lifecycle.MaxSeeds), checkDS(s.CDS, lifecycle.MaxSeeds))
}

func checkPeers(peers []merge.Peer) error {
	if len(peers) > MaxHosts {
		return fmt.Errorf("%d hosts, more than %d", len(peers), MaxHosts)
	}
	for i, p := range peers {
		if err := checkNames([]string{p.Host}); err != nil {
			return err
		}
		if slices.ContainsFunc(peers[:i], func(q merge.Peer) bool { return q.Host == p.Host }) {
			return fmt.Errorf("host %q is there twice", p.Host)
		}
		held := slices.Clone(p.Announcement.DNSKEY)
		for _, r := range p.Retiring {
			held = append(held, r.Key)
		}
		err := errors.Join(checkKeys(held, MaxPeerKeys), checkKeys(p.Announcement.CDNSKEY, MaxPeerKeys), checkDS(p.Announcement.CDS, MaxPeerKeys))
		if err != nil {
			return fmt.Errorf("host %q: %w", p.Host, err)
		}
	}
	return nil
}

func checkJoint(j merge.Joint) error {
	return errors.Join(checkKeys(j.DNSKEY, maxJoint), checkKeys(j.CDNSKEY, maxJoint), checkDS(j.CDS, maxJoint), checkDS(j.Unmatched, maxJoint))
}

func checkNames(names []string) error {
	if len(names) > MaxNames {
		return fmt.Errorf("%d host names, more than %d", len(names), MaxNames)
	}
	for _, name := range names {
		if _, ok := dns.IsDomainName(name); !ok || !dns.IsFqdn(name) || dns.CanonicalName(name) != name {
			return fmt.Errorf("%q is no canonical domain name", name)
		}
	}
	return nil
}

func checkKeys(keys []merge.Key, limit int) error {
	if len(keys) > limit {
		return fmt.Errorf("%d keys, more than %d", len(keys), limit)
	}
	for _, k := range keys {
		if err := checkKey(k); err != nil {
			return err
		}
	}
	return nil
}

func checkKey(k merge.Key) error {
	if len(k.PublicKey) > maxPublicKey {
		return fmt.Errorf("a public key of %d octets, more than %d", len(k.PublicKey), maxPublicKey)
	}
	var room [maxPublicKey]byte
	if raw, err := base64.StdEncoding.AppendDecode(room[:0], []byte(k.PublicKey)); err != nil || len(raw) == 0 {
		return fmt.Errorf("a public key that is not base64: %.20q", k.PublicKey)
	}
	return nil
}

func checkDS(digests []merge.DS, limit int) error {
	if len(digests) > limit {
		return fmt.Errorf("%d digests, more than %d", len(digests), limit)
	}
	for _, d := range digests {
		if raw, err := hex.DecodeString(d.Digest); err != nil || len(raw) == 0 || len(d.Digest) > maxDigest {
			return fmt.Errorf("a digest that is not hexadecimal or too long: %.20q", d.Digest)
		}
	}
	return nil
}
