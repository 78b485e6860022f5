package fetch

import (
	"fmt"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/validate"
)

// judge returns the verdict on the three RRsets as one unit (rule F3), and for
// any but Secure and Absent the reason. The worst of the three decides.
func judge(zone, owner string, answers []answer) (Verdict, error) {
	worst, reason := Absent, error(nil)
	for _, a := range answers {
		if v, err := judgeOne(owner, a); severity[v] > severity[worst] {
			worst, reason = v, err
		}
	}
	if worst != Secure {
		return worst, reason
	}
	if err := checkNames(owner, answers); err != nil {
		return Refused, err
	}
	if err := checkUnit(zone, owner, assemble(answers, time.Time{})); err != nil {
		return Refused, err
	}
	return Secure, nil
}

// severity orders the verdicts on single RRsets: the highest decides. Secure
// stands above Absent since what is there has to be complete.
var severity = map[Verdict]int{Absent: 0, Secure: 1, Stale: 2, Refused: 3, Insecure: 4, Unreachable: 5, Bogus: 6}

// judgeOne returns the verdict on one RRset, and the reason if it is neither
// Secure nor Absent.
func judgeOne(owner string, a answer) (Verdict, error) {
	switch {
	case a.err != nil:
		return Unreachable, a.err
	case a.result.Status == validate.Bogus:
		return Bogus, explain(owner, a, "validation failed")
	case a.result.Status == validate.Insecure:
		return Insecure, explain(owner, a, "no chain of trust leads there")
	case a.result.Status != validate.Secure:
		return Unreachable, explain(owner, a, "validation came to no conclusion")
	}
	if err := checkPlace(owner, a); err != nil {
		return Refused, err
	}
	if a.result.Denied {
		return Absent, nil
	}
	if err := checkRecords(owner, a.qtype, a.result.RRset); err != nil {
		return Refused, err
	}
	return Secure, nil
}

// explain returns the validator's reason, or a poorer one if it gave none.
func explain(owner string, a answer, otherwise string) error {
	if a.result.Reason != nil {
		return a.result.Reason
	}
	return fmt.Errorf("%s at %s: %s", dns.Type(a.qtype), owner, otherwise)
}

// assemble returns the announcement that the accepted answers make at now.
func assemble(answers []answer, now time.Time) merge.Announcement {
	var a merge.Announcement
	for _, ans := range answers {
		sig := ans.result.Sig
		if sig == nil {
			continue // a denial that nothing dates
		}
		if len(ans.result.RRset) > 0 {
			a.TTL = max(a.TTL, time.Duration(sig.OrigTtl)*time.Second)
		}
		switch inception := serialTime(sig.Inception, now); ans.qtype {
		case dns.TypeDNSKEY:
			a.DNSKEY, a.Inception.DNSKEY = keysOf(ans.result.RRset), inception
		case dns.TypeCDNSKEY:
			a.CDNSKEY, a.Inception.CDNSKEY = keysOf(ans.result.RRset), inception
		case dns.TypeCDS:
			a.CDS, a.Inception.CDS = digestsOf(ans.result.RRset), inception
		}
	}
	return a
}

// serialTime returns the time that an RRSIG's field means, the one nearest to
// now (RFC 4034 section 3.1.5).
func serialTime(field uint32, now time.Time) time.Time {
	sec := now.Unix()
	return time.Unix(sec+int64(int32(field-uint32(sec))), 0).UTC() // #nosec G115 -- serial number arithmetic
}
