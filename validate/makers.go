package validate

import "github.com/miekg/dns"

// Makers finds, for each of sigs, the key that has to have made it if it is good
// now: that of its tag and algorithm in the zone that it names as its signer. It is
// for callers who know that this very key made this very signature over RRsets at
// name, which they have in hand again, and spare them all but what may have changed
// since: the time, what is known of who may sign the name, and the signer's keys
// and trust, as they are known by their TTL. It puts the keys' fingerprints (as in
// [Result.Key]) into keys, which is as long as sigs, and asks nobody. It reports
// false if not all of that is as it has to be, or if a look-up would ask: then only
// that can tell what is right.
func (v *Validator) Makers(name string, sigs []*dns.RRSIG, keys []Fingerprint) bool {
	now := v.clock()
	q := v.about(name, dns.TypeNone, now)
	labels := countLabels(name)
	var z *zone
	for i, sig := range sigs {
		set := &rrset{name: name, rrtype: sig.TypeCovered}
		if sig.TypeCovered == dns.TypeDS || int(sig.Labels) != labels || checkPeriod(sig, set, now) != nil {
			return false // DS is the parent's to sign
		}
		if z == nil || z.name != sig.SignerName { // who signs one signs all, as a rule
			if q.mayHaveSigned(sig, set) != nil {
				return false
			}
			z = v.zones.known(sig.SignerName, now)
		}
		if z == nil || z.insecure != nil {
			return false
		}
		ok := false
		if keys[i], ok = z.only(sig); !ok {
			return false
		}
	}
	return true
}

// only returns the fingerprint of the zone's key that a signature names, if there
// is one.
func (z *zone) only(sig *dns.RRSIG) (made Fingerprint, ok bool) {
	found := 0
	for _, k := range z.keys {
		if k.tag == sig.KeyTag && k.Algorithm == sig.Algorithm {
			made = k.id
			found++
		}
	}
	return made, found == 1
}
