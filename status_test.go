package mske

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/status"
)

// expectStatus waits until the server with the state file at path says of zone
// that it is single, and so which keys of ours it has.
func expectStatus(t *testing.T, path, zone string) {
	t.Helper()
	last := ""
	eventually(t, "the status of "+zone, func() bool {
		zones, err := status.Ask(t.Context(), path, zone)
		last = fmt.Sprintf("%+v, %v", zones, err)
		return err == nil && len(zones) == 1 && zones[0].Zone == zone && zones[0].Phase == "single" && len(zones[0].Keys) == 2
	}, func() string { return last })
}

func TestStatusIsToldAcrossReloads(t *testing.T) {
	p := newProvider(t)
	s := start(t, p.watched(t, ""))
	s.until("an answer", question("example.org.", dns.TypeDNSKEY, true), answered)
	path := filepath.Join(p.dir, defaultState)
	expectStatus(t, path, "example.org.")
	if zones, err := status.Ask(t.Context(), path, "example.com."); err != nil || len(zones) > 0 {
		t.Errorf("Expected nothing to be known of another zone, got %+v, %v", zones, err)
	}
	if err := s.restart(p.watched(t, "ttl 5m")); err != nil {
		t.Fatal(err)
	}
	expectStatus(t, path, "example.org.")
	if err := s.restart(p.watched(t, "") + "example.com:PORT {\n bind 127.0.0.1\n file\n}"); err == nil {
		t.Fatal("Expected the reload to fail")
	}
	expectStatus(t, path, "example.org.")
	s.stop()
	if _, err := os.Lstat(status.Path(path)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Expected the socket to be gone, got %v", err)
	}
}

// The metric of phases counts the zones that are in each.
func TestZonesAreCountedByPhase(t *testing.T) {
	p := newProvider(t)
	s := start(t, p.watched(t, ""))
	s.until("an answer", question("example.org.", dns.TypeDNSKEY, true), answered)
	expectStatus(t, filepath.Join(p.dir, defaultState), "example.org.")
	counted := func() map[string]float64 {
		zones := make(map[string]float64)
		for _, f := range gather(t) {
			for _, m := range f.GetMetric() {
				if f.GetName() == "coredns_mske_zones" && m.GetGauge().GetValue() != 0 {
					zones[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
				}
			}
		}
		return zones
	}
	eventually(t, "one zone that is single", func() bool { return maps.Equal(counted(), map[string]float64{"single": 1}) },
		func() string { return fmt.Sprint(counted()) })
}

// Each state file has a socket of its own, which tells of its zones alone.
func TestStatusIsThatOfAStateFile(t *testing.T) {
	p := newProvider(t)
	text := p.watched(t, "state one.db")
	other := strings.NewReplacer("example.org:PORT", "example.org.:PORT", "ns1.example.net", "ns2.example.net", "one.db", "two.db", "127.0.0.1\n", "127.0.0.2\n").Replace(text)
	s := start(t, text+other)
	s.until("an answer", question("example.org.", dns.TypeDNSKEY, true), answered)
	for state, host := range map[string]string{"one.db": "ns1.example.net.", "two.db": "ns2.example.net."} {
		path, last := filepath.Join(p.dir, state), ""
		eventually(t, "the zone under "+host+" alone", func() bool {
			zones, err := status.Ask(t.Context(), path, "")
			last = fmt.Sprintf("%+v, %v", zones, err)
			return err == nil && len(zones) == 1 && zones[0].Nameservers[0] == host
		}, func() string { return last })
	}
}
