package refresh

import (
	"fmt"
	"slices"
	"strings"

	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/merge"
)

// Distrust are keys that are dropped at once, whatever depends on them (rule
// M7). What is known of them is kept, so that they are back when the owner
// trusts them again.
type Distrust struct {
	Hosts []string // external nameservers, canonical: all their keys
	Tags  []uint16 // keys of whoever they are
}

// distrusts reports whether no key of host is taken.
func (z *Zone) distrusts(host string) bool { return slices.Contains(z.Distrust.Hosts, host) }

func (z *Zone) distrustsKey(k merge.Key) bool {
	return len(z.Distrust.Tags) > 0 && slices.Contains(z.Distrust.Tags, k.Tag())
}

func (z *Zone) distrustsDigest(d merge.DS) bool { return slices.Contains(z.Distrust.Tags, d.KeyTag) }

// trusted returns peers without the keys that are distrusted.
func (z *Zone) trusted(peers []merge.Peer) []merge.Peer {
	if len(z.Distrust.Hosts)+len(z.Distrust.Tags) == 0 {
		return peers
	}
	var kept []merge.Peer
	for _, p := range peers {
		if z.distrusts(p.Host) {
			continue
		}
		a := p.Announcement
		a.DNSKEY = slices.DeleteFunc(slices.Clone(a.DNSKEY), z.distrustsKey)
		a.CDNSKEY = slices.DeleteFunc(slices.Clone(a.CDNSKEY), z.distrustsKey)
		a.CDS = slices.DeleteFunc(slices.Clone(a.CDS), z.distrustsDigest)
		p.Announcement = a
		p.Retiring = slices.DeleteFunc(slices.Clone(p.Retiring), func(r merge.Retiring) bool { return z.distrustsKey(r.Key) })
		kept = append(kept, p)
	}
	return kept
}

// trustedFiles returns ks without the keys that are distrusted.
func (z *Zone) trustedFiles(ks []*keys.Key) []*keys.Key {
	return slices.DeleteFunc(slices.Clone(ks), func(k *keys.Key) bool { return z.distrustsKey(k.ID()) })
}

// distrustedFiles returns those of ks that are distrusted.
func (z *Zone) distrustedFiles(ks []*keys.Key) []merge.Key {
	return slices.DeleteFunc(ids(ks), func(k merge.Key) bool { return !z.distrustsKey(k) })
}

// trustedJoint returns what was served last without what is distrusted: what its
// hosts alone are known to hold, and keys with its tags.
func (z *Zone) trustedJoint(f facts) merge.Joint {
	was := f.state.Joint
	if len(z.Distrust.Hosts)+len(z.Distrust.Tags) == 0 {
		return was
	}
	var ours merge.Local
	for _, o := range f.state.Own {
		ours.DNSKEY = append(ours.DNSKEY, o.Key)
		if o.SecureEntry {
			ours.SecureEntry = append(ours.SecureEntry, o.Key)
		}
	}
	all, kept := merge.Union(z.Name, ours, f.state.Peers), merge.Union(z.Name, ours, f.others(z))
	is := merge.Joint{
		DNSKEY:    except(was.DNSKEY, all.DNSKEY, kept.DNSKEY, z.distrustsKey),
		CDNSKEY:   except(was.CDNSKEY, all.CDNSKEY, kept.CDNSKEY, z.distrustsKey),
		Unmatched: except(was.Unmatched, all.Unmatched, kept.Unmatched, z.distrustsDigest),
	}
	if len(is.DNSKEY) == len(was.DNSKEY) && len(is.CDNSKEY) == len(was.CDNSKEY) && len(is.Unmatched) == len(was.Unmatched) {
		return was
	}
	for _, d := range kept.Unmatched { // another may have only named what went
		if slices.ContainsFunc(was.CDS, func(o merge.DS) bool { return o.KeyTag == d.KeyTag && o.Algorithm == d.Algorithm }) {
			is.Unmatched = append(is.Unmatched, d)
		}
	}
	return plus(z.Name, is, merge.Joint{})
}

// except returns set without what is in all but not in kept, or distrusted.
func except[T comparable](set, all, kept []T, distrusted func(T) bool) []T {
	return slices.DeleteFunc(slices.Clone(set), func(v T) bool {
		return distrusted(v) || slices.Contains(all, v) && !slices.Contains(kept, v)
	})
}

// reportOrphaned says that the zone's data does not validate here, as it is signed with
// keys that are dropped as distrusted (rule K2).
func (d *decision) reportOrphaned(z *Zone, signers []merge.Key) {
	var orphaned []merge.Key
	for _, k := range signers {
		other := func(o merge.Key) bool { return o.Algorithm == k.Algorithm && slices.Contains(d.view.joint.DNSKEY, o) }
		if z.distrustsKey(k) && !slices.ContainsFunc(signers, other) {
			orphaned = append(orphaned, k)
		}
	}
	if len(orphaned) == 0 {
		d.find("orphaned", levelInfo, "")
		return
	}
	d.find("orphaned", levelProblem, "its data is still signed with key %s, which is distrusted, and does not validate with the keys that are served: let the plugins behind mske sign with another one", tags(orphaned))
}

// reportDistrust says what is dropped, and what that may break, or why it is not.
func (d *decision) reportDistrust(z *Zone, f facts) {
	if len(z.Distrust.Hosts)+len(z.Distrust.Tags) == 0 {
		d.find("distrust", levelInfo, "")
		return
	}
	var dropped []string
	for _, p := range f.state.Peers {
		if z.distrusts(p.Host) {
			dropped = append(dropped, "all of "+p.Host)
		}
		for _, k := range slices.Concat(p.Announcement.DNSKEY, p.Announcement.CDNSKEY) {
			if z.distrustsKey(k) {
				dropped = append(dropped, fmt.Sprintf("%d of %s", k.Tag(), p.Host))
			}
		}
	}
	for _, k := range f.files {
		if z.distrustsKey(k.ID()) {
			dropped = append(dropped, fmt.Sprintf("%d of ours", k.Tag()))
		}
	}
	if len(dropped) == 0 {
		d.find("distrust", levelInfo, "")
		return
	}
	slices.Sort(dropped)
	named := strings.Join(slices.Compact(dropped), ", ")
	if d.kept != "" {
		d.find("distrust", levelError, "keys that are distrusted are not dropped: %s; %s", named, d.kept)
		return
	}
	d.find("distrust", levelWarning, "keys are dropped as distrusted: %s; what they signed does not validate with ours, and neither does the zone where only the parent's DS names them", named)
}
