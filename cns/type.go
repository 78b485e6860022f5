package cns

import (
	"fmt"

	"github.com/miekg/dns"
)

// AbsentType is the type that no zone may hold, so that a question for it is
// answered with a denial: the last number for private use (RFC 6895 section 3.1).
const AbsentType uint16 = 65534

// CheckType returns an error unless t can be the number of CNS: not that of a
// question or meta type (RFC 6895 section 3.1), nor another type's, nor the one
// that we ask for to see a denial. Its error says what to do.
func CheckType(t uint16) error {
	_, taken := dns.TypeToString[t]
	switch {
	case t == DefaultType:
		return nil
	case taken, t >= 128 && t <= 255, t == AbsentType:
		return fmt.Errorf("type %s cannot be CNS: take the number that your zones use, or leave it out (%d)", dns.Type(t), DefaultType)
	}
	return nil
}
