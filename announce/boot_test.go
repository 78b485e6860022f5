package announce

import (
	"errors"
	"strings"
	"testing"
)

func TestBootNames(t *testing.T) {
	if got, err := BootName("example.co.uk.", "ns1.example.net."); err != nil || got != "_dsboot.example.co.uk._signal.ns1.example.net." {
		t.Errorf("Expected the name of RFC 9615, got %q, %v", got, err)
	}
	if _, err := BootName("example.net.", "ns1.example.net."); !errors.Is(err, ErrInDomain) {
		t.Errorf("Expected a nameserver inside the zone to be refused, got %v", err)
	}
	long := strings.Repeat(strings.Repeat("a", 60)+".", 3) + strings.Repeat("b", 55) + "."
	if _, err := BootName(long, "ns."); !errors.Is(err, ErrTooLong) {
		t.Errorf("Expected a name that is too long to be refused, got %v", err)
	}
	if _, ok := Split("_dsboot.example.co.uk._signal.ns1.example.net.", "ns1.example.net."); ok {
		t.Error("Expected no announcement of keys at the name for bootstrapping")
	}
}
