package mske

import (
	"testing"

	"github.com/coredns-mske/mske/refresh"
)

// Zones of stanzas that fetch alike ask a host as one, whatever else the stanzas
// say: only so do its limits and the chains of trust hold for all of them.
func TestStanzasThatFetchAlikeShare(t *testing.T) {
	f := newCorefile(t)
	stanza := func(zone, more string) string {
		return "mske " + zone + " {\nnameservers ns1.example.net\nkey directory keys\nresolver 192.0.2.53\n" + more + "\n}\n"
	}
	m, err := f.parse(stanza("a.example b.example", "") + stanza("c.example", "ttl 5m") +
		stanza("d.example", "nameserver_port 5353") + stanza("e.example", "cns_type 65300"))
	if err != nil {
		t.Fatal(err)
	}
	m.instance.connect()
	config, err := m.instance.background()
	if err != nil {
		t.Fatal(err)
	}
	zones := make(map[string]*refresh.Zone)
	for _, z := range config.Zones {
		zones[z.Name] = z
	}
	for _, tt := range []struct {
		name                       string
		keys, fetcher, seen, tells bool // the same as those of a.example
	}{
		{"b.example.", true, true, true, true},
		{"c.example.", false, true, true, true},
		{"d.example.", false, false, false, false},
		{"e.example.", false, true, false, true},
	} {
		a, z := zones["a.example."], zones[tt.name]
		for _, part := range []struct {
			name      string
			got, want bool
		}{
			{"watcher", a.Keys == z.Keys, tt.keys},
			{"fetcher", a.Fetcher == z.Fetcher, tt.fetcher},
			{"observer", a.Outside == z.Outside, tt.seen},
			{"notifier", a.Notifier == z.Notifier, tt.tells},
		} {
			if part.got != part.want {
				t.Errorf("%s: expected that it has the %s of a.example: %v", tt.name, part.name, part.want)
			}
		}
	}
	if n := len(m.instance.watchers); n != 4 {
		t.Errorf("Expected a watcher for each of 4 stanzas, got %d", n)
	}
}
