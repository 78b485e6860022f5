package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coredns-mske/mske/status"
)

var (
	statusTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	inRoll     = status.Zone{
		Zone: "example.co.uk.", Nameservers: []string{"ns1.provider-a.net.", "ns2.provider-a.net."}, Phase: "converged",
		Waits: []string{"the parent's DS lacks key 4711 (ECDSAP256SHA256)"}, NS: []string{"ns1.provider-a.net."},
		Leaving: []status.Leaving{{Host: "ns1.provider-c.com.", Since: statusTime, Until: statusTime.Add(48 * time.Hour)}},
		Keys: []status.Key{
			{Tag: 52265, Algorithm: 13, Role: "KSK", Everywhere: statusTime, InDS: statusTime, GoFrom: statusTime.Add(2 * time.Hour)},
			{Tag: 4711, Algorithm: 13, Role: "KSK", Everywhere: statusTime},
			{Tag: 45734, Algorithm: 13, Role: "ZSK", Signs: true, Everywhere: statusTime, SignFrom: statusTime.Add(time.Hour)},
			{Tag: 33000, Algorithm: 13, Role: "ZSK", Everywhere: statusTime, SignFrom: statusTime.Add(time.Hour)},
			{Tag: 1000, Algorithm: 15, Role: "CSK"},
		},
		Warnings: []string{"the parent's NS cannot be read"},
	}
)

const rollPage = `example.co.uk. under ns1.provider-a.net., ns2.provider-a.net. is converged

Waits for
  the parent's DS lacks key 4711 (ECDSAP256SHA256)

NS may be
  ns1.provider-a.net. (it may not gain hosts now)

Leaving
  ns1.provider-c.com. since 2026-03-01 12:00:00 UTC; its keys stay until
    2026-03-03 12:00:00 UTC at least

Our keys
  KSK 52265 (ECDSAP256SHA256): published everywhere since 2026-03-01 12:00:00
    UTC; in the parent's DS since 2026-03-01 12:00:00 UTC; may go from
    2026-03-01 14:00:00 UTC
  KSK 4711 (ECDSAP256SHA256): published everywhere since 2026-03-01 12:00:00
    UTC; not in the parent's DS
  ZSK 45734 (ECDSAP256SHA256): published everywhere since 2026-03-01 12:00:00
    UTC; signs the zone's data
  ZSK 33000 (ECDSAP256SHA256): published everywhere since 2026-03-01 12:00:00
    UTC; may sign the zone's data from 2026-03-01 13:00:00 UTC
  CSK 1000 (ED25519): not published everywhere yet; may not sign the zone's data
    yet; not in the parent's DS

Warnings
  the parent's NS cannot be read
`

// serveStatus has zones told beside a state file, which is returned.
func serveStatus(t *testing.T, zones ...status.Zone) string {
	t.Helper()
	state := filepath.Join(t.TempDir(), "mske.db")
	s, err := status.Listen(state, func(zone string) []status.Zone {
		var found []status.Zone
		for _, z := range zones {
			if zone == "" || z.Zone == zone {
				found = append(found, z)
			}
		}
		return found
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return state
}

func TestStatusSaysWhatEachKeyMayDo(t *testing.T) {
	left := status.Zone{Zone: "example.co.uk.", Nameservers: []string{"ns1.provider-d.org."}, Phase: "left", Deletable: statusTime}
	state := serveStatus(t, inRoll, left)
	code, stdout, stderr := call("status", "--state", state, "Example.CO.uk")
	want := rollPage + "\nexample.co.uk. under ns1.provider-d.org. is left\n\nTo be deleted here\n  from 2026-03-01 12:00:00 UTC\n"
	if code != exitOK || stdout != want || stderr != "" {
		t.Errorf("Expected\n%s\ngot %d\n%s%s", want, code, stdout, stderr)
	}
}

func TestStatusOfAllZonesIsALineEach(t *testing.T) {
	state := serveStatus(t, inRoll, status.Zone{Zone: "example.org.", Nameservers: []string{"ns1.provider-a.net."}, Phase: "single"})
	code, stdout, _ := call("status", "--state", state)
	want := "example.co.uk.  ns1.provider-a.net.,ns2.provider-a.net.  converged  the parent's DS lacks key 4711 (ECDSAP256SHA256)\n" +
		"example.org.  ns1.provider-a.net.  single\n"
	if code != exitOK || stdout != want {
		t.Errorf("Expected\n%s\ngot %d\n%s", want, code, stdout)
	}
}

func TestStatusForMachines(t *testing.T) {
	state := serveStatus(t, inRoll)
	code, stdout, _ := call("status", "--json", "--state", state, "example.co.uk")
	var got struct {
		Phase string
		Keys  []map[string]any
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != exitOK || strings.Count(stdout, "\n") != 1 {
		t.Fatalf("Expected an object in a line, got %d, %v\n%s", code, err, stdout)
	}
	if key := got.Keys[0]; got.Phase != "converged" || key["may_go_from"] != "2026-03-01T14:00:00Z" || key["published_everywhere_since"] != "2026-03-01T12:00:00Z" || key["may_sign_from"] != nil {
		t.Errorf("Expected the times of a KSK, got %v", key)
	}
}

func TestStatusWithoutAnAnswer(t *testing.T) {
	state := serveStatus(t, inRoll)
	for _, tc := range []struct {
		args []string
		code int
		say  string
	}{
		{[]string{"--state", state, "example.org"}, exitFailed, "does not know zone example.org."},
		{[]string{"--state", state + ".other", "example.org"}, exitFailed, "is it running"},
		{[]string{"example.org", "example.net"}, exitUsage, "more than one ZONE"},
		{[]string{"example..org"}, exitUsage, "write it as in example.co.uk"},
		{[]string{"--zone"}, exitUsage, "see mske status -h"},
	} {
		code, stdout, stderr := call(append([]string{"status"}, tc.args...)...)
		if code != tc.code || stdout != "" || !strings.Contains(stderr, tc.say) {
			t.Errorf("%q: expected status %d and %q, got %d, %q, %q", tc.args, tc.code, tc.say, code, stdout, stderr)
		}
	}
}
