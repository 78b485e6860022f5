package mske

import (
	"errors"
	"fmt"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/announce"
	"github.com/coredns-mske/mske/chain"
	"github.com/coredns-mske/mske/cns"
)

var (
	errNotDomainName = errors.New("it is not a domain name")
	errDuplicateZone = errors.New("it is named twice")
)

// zoneError says what is wrong with a zone's name.
func zoneError(arg string, why error) error {
	return fmt.Errorf("zone %.300q: %w", arg, why)
}

// hostName returns name in canonical form if it can be a nameserver's and
// leaves room for `_signal.` before it.
func hostName(name string) (string, error) {
	host, err := cns.HostName(name)
	if err != nil {
		return "", err
	}
	if _, ok := dns.IsDomainName(announce.SignalingDomain(host)); !ok {
		return "", fmt.Errorf("%.300q is not a nameserver that can announce keys: %w", name, announce.ErrTooLong)
	}
	return host, nil
}

// dataType reports whether t can be the number of CNS: not one of a question
// or meta type (RFC 6895 section 3.1), nor another type's, nor the one that we
// ask for to see a denial.
func dataType(t uint16) bool {
	switch {
	case t == cns.DefaultType:
		return true
	case t == 0, t >= 128 && t <= 255, t == 0xFFFF, t == chain.AbsentType:
		return false
	}
	_, taken := dns.TypeToString[t]
	return !taken
}
