package merge

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// replayGrace is how much older than what was accepted an announcement of
// other content may be: several servers of one provider do not sign at the
// same moment (rule F8).
const replayGrace = 10 * time.Minute

// Replayed returns why a, a validated announcement, is an older one that
// somebody shows again, or that a cache still holds, and "" if it is not
// (rule F8). known is the one accepted last. What is older is told by the
// inceptions of the RRSIGs: one of the three RRsets has other content than in
// known and was signed more than ten minutes before. A type that is not there
// is content too, dated by the inception of its denial. What has no date, on
// either side, is not called replayed. The zero known has none.
//
// Both have to be complete: with the keys that only digests name, and the
// digests of keys that were announced without (rule F6).
func (known Announcement) Replayed(a Announcement) string {
	return cmp.Or(
		replayed("DNSKEY", known.Inception.DNSKEY, a.Inception.DNSKEY, sameSet(known.DNSKEY, a.DNSKEY)),
		replayed("CDNSKEY", known.Inception.CDNSKEY, a.Inception.CDNSKEY, sameSet(known.CDNSKEY, a.CDNSKEY)),
		replayed("CDS", known.Inception.CDS, a.Inception.CDS, sameSet(known.CDS, a.CDS)),
	)
}

// replayed judges one RRset.
func replayed(rrtype string, known, inception time.Time, same bool) string {
	if same || inception.IsZero() || !inception.Before(known.Add(-replayGrace)) {
		return ""
	}
	return fmt.Sprintf("%s was signed at %s, and other content that was accepted before at %s: it is an old announcement",
		rrtype, inception.UTC().Format(time.RFC3339), known.UTC().Format(time.RFC3339))
}

// beside returns a with what known has more of the RRsets that were signed earlier in a
// than in known. CDS and CDNSKEY name the same keys, and go together.
func (a Announcement) beside(known Announcement) Announcement {
	if older(a.Inception.DNSKEY, known.Inception.DNSKEY) {
		a.DNSKEY = sortKeys(a.DNSKEY, known.DNSKEY)
	}
	if older(a.Inception.CDNSKEY, known.Inception.CDNSKEY) || older(a.Inception.CDS, known.Inception.CDS) {
		a.CDNSKEY = sortKeys(a.CDNSKEY, known.CDNSKEY)
		a.CDS = sortDS(slices.Concat(a.CDS, known.CDS))
	}
	return a
}

// older reports whether an inception is before that of what is known. What has no date
// is not.
func older(inception, known time.Time) bool { return !inception.IsZero() && inception.Before(known) }

// sameSet reports whether a and b hold the same elements.
func sameSet[T comparable](a, b []T) bool {
	lacking := func(set []T) func(T) bool {
		return func(x T) bool { return !slices.Contains(set, x) }
	}
	return !slices.ContainsFunc(a, lacking(b)) && !slices.ContainsFunc(b, lacking(a))
}

// latest returns for each RRset the later of the two inceptions.
func (i Inceptions) latest(other Inceptions) Inceptions {
	return Inceptions{
		DNSKEY:  later(i.DNSKEY, other.DNSKEY),
		CDNSKEY: later(i.CDNSKEY, other.CDNSKEY),
		CDS:     later(i.CDS, other.CDS),
	}
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
