package cns

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestCheckTypeTakesNumbersThatNoOtherTypeHas(t *testing.T) {
	for number, ok := range map[uint16]bool{
		DefaultType: true, 65000: true, 65280: true, 65533: true, 300: true,
		0: false, dns.TypeNS: false, dns.TypeDS: false, 128: false, 200: false, 255: false, AbsentType: false, 65535: false,
	} {
		switch err := CheckType(number); {
		case (err == nil) != ok:
			t.Errorf("Expected type %d to be accepted: %v, got %v", number, ok, err)
		case err != nil && !strings.Contains(err.Error(), dns.Type(number).String()+" cannot be CNS: take the number that your zones use"):
			t.Errorf("Expected what to do instead of type %d, got %q", number, err)
		}
	}
}
