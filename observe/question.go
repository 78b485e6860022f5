package observe

import (
	"iter"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/domain"
	"github.com/coredns-mske/mske/merge"
)

// apexes returns what was seen at each place that could be asked at all.
func (s Sight) apexes() iter.Seq2[Place, Apex] {
	return func(yield func(Place, Apex) bool) {
		for _, server := range s.Servers {
			for _, a := range server.Addresses {
				if a.NoRoute {
					continue
				}
				if !yield(Place{Host: server.Host, Addr: a.Addr}, a.UDP) || !yield(Place{Host: server.Host, Addr: a.Addr, TCP: true}, a.TCP) {
					return
				}
			}
		}
	}
}

// Server returns what was seen of that host.
func (s Sight) Server(host string) (Server, bool) {
	i := slices.IndexFunc(s.Servers, func(server Server) bool { return server.Host == host })
	if i < 0 {
		return Server{}, false
	}
	return s.Servers[i], true
}

// Routed reports whether the host has an address that could be asked, or none
// that is known. Of a host that is not, nothing was seen for want of a route
// here.
func (s Server) Routed() bool {
	return len(s.Addresses) == 0 || slices.ContainsFunc(s.Addresses, func(a Address) bool { return !a.NoRoute })
}

// Answers reports whether the host serves the zone at one place at least.
func (s Server) Answers() bool {
	return slices.ContainsFunc(s.Addresses, func(a Address) bool { return a.UDP.Err == nil || a.TCP.Err == nil })
}

// Silence returns where there is no answer, or not to every question. A place
// without a route from here is no fault.
func (s Sight) Silence() []Fault {
	var faults []Fault
	for _, server := range s.Servers {
		if server.Err != nil {
			faults = append(faults, Fault{Place: Place{Host: server.Host}, Kind: Silent, Err: server.Err})
		}
	}
	for place, apex := range s.apexes() {
		if apex.Err != nil {
			faults = append(faults, Fault{Place: place, Kind: Silent, Err: apex.Err})
			continue
		}
		for _, q := range []struct {
			qtype uint16
			err   error
		}{
			{dns.TypeSOA, apex.SOA.Err}, {dns.TypeDNSKEY, apex.DNSKEY.Err}, {dns.TypeCDS, apex.CDS.Err},
			{dns.TypeCDNSKEY, apex.CDNSKEY.Err}, {dns.TypeNS, apex.NS.Err},
		} {
			if q.err != nil {
				faults = append(faults, Fault{Place: place, Kind: Silent, Type: q.qtype, Err: q.err})
			}
		}
	}
	return faults
}

// Missing returns where which of the keys is missing in DNSKEY.
func (s Sight) Missing(keys []merge.Key) []Fault {
	var faults []Fault
	for place, apex := range s.apexes() {
		if apex.Err != nil || apex.DNSKEY.Err != nil {
			continue
		}
		for _, k := range keys {
			if !slices.Contains(apex.DNSKEY.Records, k) {
				faults = append(faults, Fault{Place: place, Kind: Lacking, Type: dns.TypeDNSKEY, Key: k.Ref()})
			}
		}
	}
	return faults
}

// Crossings returns where a resolver that has the DNSKEY RRset of one place and
// the data of another could not validate: the SOA RRset of each has to be
// signed by a key in every DNSKEY RRset (RFC 8901 section 3.2). One signature is
// enough, of any algorithm (RFC 6840 section 5.11).
func (s Sight) Crossings() []Fault {
	var faults []Fault
	var data []signedData
	for place, apex := range s.apexes() {
		if apex.Err != nil || apex.SOA.Err != nil {
			continue
		}
		if len(apex.SOA.Signers) == 0 {
			faults = append(faults, Fault{Place: place, Kind: Unsigned, Type: dns.TypeSOA})
			continue
		}
		d := signedData{place.Host, apex.SOA.Signers}
		if !slices.ContainsFunc(data, d.equal) {
			data = append(data, d)
		}
	}
	for place, apex := range s.apexes() {
		if apex.Err != nil || apex.DNSKEY.Err != nil {
			continue
		}
		for _, d := range data {
			if !shares(d.signers, apex.DNSKEY.Records) {
				faults = append(faults, Fault{Place: place, Kind: Unverifiable, Type: dns.TypeDNSKEY, Key: d.signers[0].Ref(), Name: d.host})
			}
		}
	}
	return faults
}

// signedData is data of a host by who signed it.
type signedData struct {
	host    string
	signers []merge.Key // sorted
}

func (d signedData) equal(other signedData) bool {
	return d.host == other.host && slices.Equal(d.signers, other.signers)
}

func shares(a, b []merge.Key) bool {
	return slices.ContainsFunc(a, func(k merge.Key) bool { return slices.Contains(b, k) })
}

// Unanchored returns where the DNSKEY RRset is signed by none of the keys that
// ds names: the parent's DS, or the joint CDS, which is to be the DS.
func (s Sight) Unanchored(ds []merge.DS) []Fault {
	var faults []Fault
	for place, apex := range s.apexes() {
		if apex.Err != nil || apex.DNSKEY.Err != nil {
			continue
		}
		if !slices.ContainsFunc(apex.DNSKEY.Signers, func(k merge.Key) bool { return s.Named(ds, k) }) {
			faults = append(faults, Fault{Place: place, Kind: Unanchored, Type: dns.TypeDNSKEY})
		}
	}
	return faults
}

// Failing returns where resolvers fail now: at nameservers in NS, of the zone or
// of its parent, whose DNSKEY RRset is not anchored in the parent's DS.
func (s Sight) Failing() []Fault {
	if s.Parent.DSStatus != DSPresent {
		return nil
	}
	listed := slices.Concat(s.ChildNS(), s.Parent.NS)
	faults := slices.DeleteFunc(s.Unanchored(s.Parent.DS), func(f Fault) bool { return !slices.Contains(listed, f.Place.Host) })
	for i := range faults {
		faults[i].Kind = Broken
	}
	return faults
}

// Named reports whether one of the digests is k's, as [Names] does.
func (s Sight) Named(ds []merge.DS, k merge.Key) bool {
	return slices.ContainsFunc(ds, func(d merge.DS) bool { return Names(s.Zone, d, k) })
}

// Names reports whether d is the digest of k as a key of zone. Of a digest type
// that cannot be computed here, tag and algorithm have to do.
func Names(zone string, d merge.DS, k merge.Key) bool {
	if _, computable := k.DS(zone, d.DigestType); !computable {
		return d.KeyTag == k.Tag() && d.Algorithm == k.Algorithm
	}
	return d.Names(zone, k)
}

// Entry is a secure-entry key that CDS or CDNSKEY names: the key, or where no
// nameserver serves that, the digest. It is comparable, so that nameservers can
// be compared by key, whatever digest types they use (RFC 9975 section 2).
type Entry struct {
	Key merge.Key // zero: not known
	DS  merge.DS  // zero if Key is known
}

// Ref returns the tag and algorithm.
func (e Entry) Ref() merge.Ref {
	if e.Key != (merge.Key{}) {
		return e.Key.Ref()
	}
	return merge.Ref{Tag: e.DS.KeyTag, Algorithm: e.DS.Algorithm}
}

// Digest returns the DS record that the entry is to have in the parent of zone:
// of SHA-256 where the key is known.
func (e Entry) Digest(zone string) merge.DS {
	if e.Key == (merge.Key{}) {
		return e.DS
	}
	ds, _ := e.Key.DS(zone, dns.SHA256)
	return ds
}

// Entries returns the secure-entry keys that CDS and CDNSKEY name at all places
// together: what DS is to be once all agree.
func (s Sight) Entries() []Entry {
	known := s.known()
	var all []Entry
	for _, apex := range s.apexes() {
		for _, e := range append(s.entriesOf(apex.CDS.Records, known), keyEntries(apex.CDNSKEY.Records)...) {
			if !slices.Contains(all, e) {
				all = append(all, e)
			}
		}
	}
	return all
}

// known returns every key in DNSKEY and CDNSKEY at any place.
func (s Sight) known() []merge.Key {
	var all []merge.Key
	for _, apex := range s.apexes() {
		all = append(all, apex.DNSKEY.Records...)
		all = append(all, apex.CDNSKEY.Records...)
	}
	return sortKeys(all)
}

// entriesOf returns the keys that digests name, each once.
func (s Sight) entriesOf(ds []merge.DS, known []merge.Key) []Entry {
	var es []Entry
	for _, d := range ds {
		e := Entry{DS: d}
		if d.Algorithm == 0 {
			e = Entry{} // delete, as CDNSKEY says it
		} else if i := slices.IndexFunc(known, func(k merge.Key) bool { return Names(s.Zone, d, k) }); i >= 0 {
			e = Entry{Key: known[i]}
		}
		if !slices.Contains(es, e) {
			es = append(es, e)
		}
	}
	return es
}

func keyEntries(ks []merge.Key) []Entry {
	var es []Entry
	for _, k := range ks {
		e := Entry{Key: k}
		if k.Algorithm == 0 {
			e = Entry{} // delete (RFC 8078 section 4)
		}
		es = append(es, e)
	}
	return es
}

// Disagreements returns where CDS or CDNSKEY lacks a key that either names
// elsewhere: a parent acts only when all nameservers agree (RFC 9975). A type
// that no nameserver has is not missed.
func (s Sight) Disagreements() []Fault {
	known, all := s.known(), s.Entries()
	var faults []Fault
	for _, qtype := range []uint16{dns.TypeCDS, dns.TypeCDNSKEY} {
		if !s.anyEntry(qtype) {
			continue
		}
		for place, apex := range s.apexes() {
			entries, err := keyEntries(apex.CDNSKEY.Records), apex.CDNSKEY.Err
			if qtype == dns.TypeCDS {
				entries, err = s.entriesOf(apex.CDS.Records, known), apex.CDS.Err
			}
			if apex.Err != nil || err != nil {
				continue
			}
			for _, e := range all {
				if !slices.Contains(entries, e) {
					faults = append(faults, Fault{Place: place, Kind: Lacking, Type: qtype, Key: e.Ref()})
				}
			}
		}
	}
	return faults
}

func (s Sight) anyEntry(qtype uint16) bool {
	for _, apex := range s.apexes() {
		if qtype == dns.TypeCDS && len(apex.CDS.Records) > 0 || qtype == dns.TypeCDNSKEY && len(apex.CDNSKEY.Records) > 0 {
			return true
		}
	}
	return false
}

// NSFaults returns where the zone's NS RRset is not the target, which is sorted.
func (s Sight) NSFaults(target []string) []Fault {
	var faults []Fault
	for place, apex := range s.apexes() {
		if apex.Err != nil || apex.NS.Err != nil {
			continue
		}
		faults = append(faults, compareHosts(place, target, apex.NS.Records)...)
	}
	return faults
}

func compareHosts(place Place, want, have []string) []Fault {
	var faults []Fault
	for _, host := range want {
		if !slices.Contains(have, host) {
			faults = append(faults, Fault{Place: place, Kind: Unlisted, Type: dns.TypeNS, Name: host})
		}
	}
	for _, host := range have {
		if !slices.Contains(want, host) {
			faults = append(faults, Fault{Place: place, Kind: Listed, Type: dns.TypeNS, Name: host})
		}
	}
	return faults
}

// Obstacles returns why the zone is not converged: why not every resolver could
// validate, whichever nameservers it asked, with ds, the joint CDS, as the
// parent's DS. None means that it is converged, if any place was looked at.
func (s Sight) Obstacles(ds []merge.DS) []Fault {
	return slices.Concat(s.Silence(), s.Crossings(), s.Unanchored(ds), s.Disagreements())
}

// JointDS returns the DS RRset that the parent is to have, by what all places
// together name in CDS and CDNSKEY: see [Sight.Entries].
func (s Sight) JointDS() []merge.DS {
	var ds []merge.DS
	for _, e := range s.Entries() {
		if e != (Entry{}) {
			ds = append(ds, e.Digest(s.Zone))
		}
	}
	return ds
}

// ChildNS returns the nameservers in the zone's own NS RRset, at all places
// together.
func (s Sight) ChildNS() []string { return s.hosts(func(a Apex) []string { return a.NS.Records }) }

// ChildCNS returns the same of CNS.
func (s Sight) ChildCNS() []string { return s.hosts(func(a Apex) []string { return a.CNS.Records }) }

func (s Sight) hosts(of func(Apex) []string) []string {
	var all []string
	for _, apex := range s.apexes() {
		all = append(all, of(apex)...)
	}
	slices.SortFunc(all, domain.Compare)
	return slices.Compact(all)
}

// TTLs are the longest at any place.
type TTLs struct {
	DNSKEY, CDS, NS time.Duration // CDS is that of CDNSKEY, too
}

// TTLs returns how long caches may keep what is served.
func (s Sight) TTLs() TTLs {
	var t TTLs
	for _, apex := range s.apexes() {
		t.DNSKEY = max(t.DNSKEY, apex.DNSKEY.TTL)
		t.CDS = max(t.CDS, apex.CDS.TTL, apex.CDNSKEY.TTL)
		t.NS = max(t.NS, apex.NS.TTL)
	}
	return t
}
