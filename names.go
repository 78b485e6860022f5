package mske

import (
	"errors"
	"fmt"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/announce"
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
