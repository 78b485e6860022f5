package validate

import (
	"fmt"

	"github.com/miekg/dns"
)

// Check names the check that an answer did not pass. There are few of them, so
// that they can label a metric.
type Check string

// The checks, in the order in which they are made, and the file that makes each.
const (
	CheckAnchor     Check = "anchor"     // a trust anchor at or above the name: chain.go, anchor.go
	CheckDelegation Check = "delegation" // DS, or proof that there is none: chain.go
	CheckAlgorithm  Check = "algorithm"  // algorithms and key sizes that are supported: key.go, chain.go (trustDS)
	CheckKey        Check = "key"        // a DNSKEY that DS, the anchor (key.go) or an RRSIG (signature.go) names
	CheckSigned     Check = "signed"     // an RRSIG by a zone that may sign: signer.go
	CheckPeriod     Check = "period"     // inception and expiration: signature.go
	CheckSignature  Check = "signature"  // the signature itself: signature.go
	CheckDenial     Check = "denial"     // denial.go, nsec.go, nsec3.go
	CheckLimit      Check = "limit"      // what a validation may cost: limits.go, budget.go, cost.go
)

// Error says why an RRset is insecure or bogus, in one line: which RRset, what
// is wrong with it, and where that is written.
type Error struct {
	Name    string // owner of the RRset
	Type    uint16 // of the RRset
	Check   Check  // that it did not pass
	Zone    string // whose key or denial it is about, "" if about none
	KeyTag  uint16 // of the key it is about, 0 if about none
	Detail  string // what is wrong
	Section string // the rule: "RFC 4035 section 5.3.1", or that it is a limit

	noZone bool // Zone proves that no zone starts at Name
}

// Error implements the error interface.
func (e *Error) Error() string {
	return fmt.Sprintf("%s %s: %s (%s)", e.Name, dns.Type(e.Type), e.Detail, e.Section)
}

// fail returns an Error about the RRset of that name and type.
func fail(name string, rrtype uint16, check Check, section, detail string, args ...any) *Error {
	return &Error{Name: name, Type: rrtype, Check: check, Section: section, Detail: fmt.Sprintf(detail, args...)}
}

// by adds the key that the Error is about.
func (e *Error) by(zone string, tag uint16) *Error {
	e.Zone, e.KeyTag = zone, tag
	return e
}
