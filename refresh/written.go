package refresh

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"github.com/coredns-mske/mske/store"
)

// written tells what was written of a zone last. The record itself would take
// far more memory.
type written struct {
	content [16]byte // all but times
	times   [16]byte // when things were seen last, which changes nothing
}

// writtenOf returns what r says. Signatures follow from the rest.
func writtenOf(r store.Zone) written {
	h := sha256.New()
	seen := func(t *time.Time) {
		var octets [12]byte
		binary.BigEndian.PutUint64(octets[:], uint64(t.Unix()))
		binary.BigEndian.PutUint32(octets[8:], uint32(t.Nanosecond()))
		h.Write(octets[:])
		*t = time.Time{}
	}
	seen(&r.Life.DSAt)
	seen(&r.Life.DSFrom)
	seen(&r.Life.NSAt)
	seen(&r.Life.ConvergedAt)
	r.Life.Hosts = slices.Clone(r.Life.Hosts)
	for i := range r.Life.Hosts {
		seen(&r.Life.Hosts[i].Heard)
		seen(&r.Life.Hosts[i].Clear)
	}
	r.Peers = slices.Clone(r.Peers)
	for i := range r.Peers {
		seen(&r.Peers[i].Collected)
	}
	r.Saved, r.Clock, r.Signatures = time.Time{}, time.Time{}, nil
	return written{content: r.Digest(), times: [16]byte(h.Sum(nil))}
}
