package lifecycle

import (
	"reflect"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/observe"
)

// Vouched are the apex key sets of a zone as one nameserver serves them at one
// address, with a chain of signatures from the parent's DS: what the zone's present
// providers agree to.
type Vouched struct {
	DNSKEY  []merge.Key
	CDNSKEY []merge.Key
	CDS     []merge.DS
	TTL     time.Duration // of DNSKEY

	// Entries are those in DNSKEY that were seen to sign nothing but key sets, of
	// which no other provider needs the DNSKEY record (RFC 8901 section 6.2).
	Entries []merge.Key
}

// VouchedBy returns the key sets that server serves for zone, as far as they are
// signed by a key that ds, the validated DS RRset, names; none if DNSKEY is not
// (RFC 4035 section 5.2). The signatures were verified when the server was
// looked at. Its addresses may serve different ones, of which resolvers get any:
// each counts for itself, those that are the same once.
func VouchedBy(zone string, server observe.Server, ds []merge.DS) []Vouched {
	var sets []Vouched
	for _, apex := range apexes(server) {
		v, ok := vouched(zone, apex, ds)
		if ok && !slices.ContainsFunc(sets, func(o Vouched) bool { return reflect.DeepEqual(o, v) }) {
			sets = append(sets, v)
		}
	}
	return sets
}

// vouched returns the key sets of one answer, false if DS does not vouch for it.
func vouched(zone string, apex observe.Apex, ds []merge.DS) (Vouched, bool) {
	own := apex.DNSKEY.Records
	entry := func(k merge.Key) bool { return slices.Contains(own, k) && names(zone, ds, k) }
	if apex.DNSKEY.Err != nil || !slices.ContainsFunc(apex.DNSKEY.Signers, entry) {
		return Vouched{}, false
	}
	v := Vouched{DNSKEY: own, TTL: apex.DNSKEY.TTL}
	for _, k := range apex.DNSKEY.Signers {
		if k.Flags&dns.SEP != 0 && len(apex.SOA.Signers) > 0 && !slices.Contains(apex.SOA.Signers, k) {
			v.Entries = append(v.Entries, k)
		}
	}
	if signedBy(apex.CDNSKEY.Signers, own) {
		v.CDNSKEY = apex.CDNSKEY.Records
	}
	if signedBy(apex.CDS.Signers, own) {
		v.CDS = apex.CDS.Records
	}
	return v, true
}

func signedBy(signers, keys []merge.Key) bool {
	return slices.ContainsFunc(signers, func(k merge.Key) bool { return slices.Contains(keys, k) })
}

// Consented returns the part of an announcement that counts for a host which is
// in the zone's NS RRset but never was in its CNS RRset: the keys that also stand
// in an apex RRset of their kind, as that host serves it and DS vouches for it
// (rule D2). Whoever took over the name of a nameserver that is of no use any
// more can copy such RRsets, but cannot bring a key of its own into them. left
// are the keys that do not count.
func Consented(zone string, a merge.Announcement, sets []Vouched) (part merge.Announcement, left []merge.Ref) {
	var v Vouched // all of them
	for _, s := range sets {
		v.DNSKEY = append(v.DNSKEY, s.DNSKEY...)
		v.CDNSKEY = append(v.CDNSKEY, s.CDNSKEY...)
		v.CDS = append(v.CDS, s.CDS...)
	}
	part = a
	part.DNSKEY, part.CDNSKEY, part.CDS = nil, nil, nil
	for _, k := range a.DNSKEY {
		if slices.Contains(v.DNSKEY, k) {
			part.DNSKEY = append(part.DNSKEY, k)
		} else {
			left = append(left, k.Ref())
		}
	}
	for _, k := range a.CDNSKEY {
		if slices.Contains(v.CDNSKEY, k) || names(zone, v.CDS, k) {
			part.CDNSKEY = append(part.CDNSKEY, k)
		} else {
			left = append(left, k.Ref())
		}
	}
	for _, d := range a.CDS {
		named := slices.ContainsFunc(slices.Concat(v.CDNSKEY, part.CDNSKEY), func(k merge.Key) bool { return d.Names(zone, k) })
		if ref := (merge.Ref{Tag: d.KeyTag, Algorithm: d.Algorithm}); named || slices.Contains(v.CDS, d) {
			part.CDS = append(part.CDS, d)
		} else if !slices.Contains(left, ref) {
			left = append(left, ref)
		}
	}
	return part, left
}
