package store

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/coredns-mske/mske/serve"
	"github.com/coredns-mske/mske/yield"
)

// announcedBucket holds our signatures over announcements: a bucket for each
// [Domain], and in that a record for each name. All of it can be made anew. So it is
// no part of the content that is verified as a whole when the file is opened, and a
// record that cannot be relied on is as none; but the structure of the file is one,
// and damage to that is damage to all.
var announcedBucket = []byte("announced")

const (
	// announcedVersion is the first octet of such a record.
	announcedVersion = 1

	// maxAnnounced is the most signatures of one name: of five RRsets, NSEC
	// included, by all our keys.
	maxAnnounced = 5 * MaxOwnKeys

	// announcedFill is how full pages are: a fleet's names come in order.
	announcedFill = 0.9
)

// Domain identifies a signaling domain together with the zone that signs it.
func Domain(domain, zone string) string { return domain + " " + zone }

// Announced returns our signatures over what was announced at owner, as PutAnnounced
// was called with it, in a [Domain]. There are none if none are kept that can be
// relied on. Whether they fit what is announced now, each of them tells itself.
func (l *Lease) Announced(domain, owner string) []serve.Signature {
	var sigs []serve.Signature
	_ = l.h.file.view(func(tx *bolt.Tx) (err error) { // what cannot be read is made anew
		if b := announcedIn(tx, domain); b != nil {
			sigs, err = decodeAnnounced(owner, b.Get([]byte(owner)))
		}
		return err
	})
	return sigs
}

// AnnouncedOwners returns the names in a [Domain] that signatures are kept of.
func (l *Lease) AnnouncedOwners(domain string) (owners []string, err error) {
	err = l.h.file.view(func(tx *bolt.Tx) error {
		b := announcedIn(tx, domain)
		if b == nil {
			return nil
		}
		return b.ForEach(func(owner, _ []byte) error {
			owners = append(owners, string(owner))
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("state file %q: %w", l.h.path, err)
	}
	return owners, nil
}

// PutAnnounced keeps our signatures over what is announced in a [Domain], by owner, in
// place of those that were kept, for the next start. Names without any are forgotten.
// Errors are those of [Lease.Put].
func (l *Lease) PutAnnounced(domain string, signatures map[string][]serve.Signature) error {
	records := make(map[string][]byte, len(signatures))
	for owner, sigs := range signatures {
		yield.ToQueries()
		record, err := encodeAnnounced(sigs)
		if err != nil {
			return fmt.Errorf("state file %q: signatures of %q: %w", l.h.path, owner, err)
		}
		records[owner] = record
	}
	return l.write(func(f *file) error {
		return f.update(func(tx *bolt.Tx) error { return writeAnnounced(tx, domain, records) })
	})
}

// announcedIn returns the bucket of a [Domain], nil if there is none.
func announcedIn(tx *bolt.Tx, domain string) *bolt.Bucket {
	if all := tx.Bucket(announcedBucket); all != nil {
		return all.Bucket([]byte(domain))
	}
	return nil
}

func writeAnnounced(tx *bolt.Tx, domain string, records map[string][]byte) error {
	all, err := tx.CreateBucketIfNotExists(announcedBucket)
	if err != nil {
		return err
	}
	b, err := all.CreateBucketIfNotExists([]byte(domain))
	if err != nil {
		return err
	}
	b.FillPercent = announcedFill
	changed := false
	for _, owner := range slices.Sorted(maps.Keys(records)) {
		record := records[owner]
		if bytes.Equal(b.Get([]byte(owner)), record) {
			continue
		}
		changed = true
		if record == nil {
			err = b.Delete([]byte(owner))
		} else {
			err = b.Put([]byte(owner), record)
		}
		if err != nil {
			return err
		}
	}
	if !changed {
		return errEqual
	}
	return nil
}

// encodeAnnounced returns the record of sigs, nil if there are none.
func encodeAnnounced(sigs []serve.Signature) ([]byte, error) {
	if len(sigs) == 0 {
		return nil, nil
	}
	c := coder{version: announcedVersion, octets: make([]byte, recordHeader)}
	list(&c, &sigs, maxAnnounced, c.bare)
	if c.err != nil {
		return nil, c.err
	}
	finish(announcedVersion, c.octets)
	return c.octets, nil
}

// decodeAnnounced returns the signatures at owner in record.
func decodeAnnounced(owner string, record []byte) (sigs []serve.Signature, err error) {
	switch {
	case record == nil:
		return nil, nil
	case len(record) < recordHeader || record[0] != announcedVersion:
		return nil, errors.New("a record of another version")
	case !whole(record):
		return nil, errChecksum
	}
	c := coder{version: announcedVersion, reading: true, octets: record[recordHeader:]}
	list(&c, &sigs, maxAnnounced, c.bare)
	if c.err == nil && len(c.octets) > 0 {
		c.fail(errAfter)
	}
	if c.err != nil {
		return nil, c.err
	}
	for i := range sigs {
		sigs[i].Owner = owner
	}
	return sigs, nil
}

// bare codes a signature without its owner.
func (c *coder) bare(s *serve.Signature) {
	small(c, &s.TTL)
	rdata := s.RDATA()
	size := uint64(len(rdata))
	c.number(&size)
	if !c.reading {
		c.octets = append(append(c.octets, rdata...), s.Over[:]...)
		return
	}
	octets := c.take(size)
	over := c.take(uint64(len(s.Over)))
	if c.err != nil {
		return
	}
	sig, err := serve.ParseSignature("", s.TTL, octets, serve.Digest(over))
	if err != nil {
		c.fail(err)
		return
	}
	*s = sig
}
