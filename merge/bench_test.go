package merge

import (
	"testing"
	"time"

	"github.com/miekg/dns"
)

// benchPeer returns a peer with a key of each kind.
func benchPeer(host string, seed byte) Peer {
	entry := ksk(seed)
	d, _ := entry.DS("example.org.", dns.SHA256)
	return Peer{Host: host, Announcement: Announcement{DNSKEY: []Key{zsk(seed)}, CDNSKEY: []Key{entry}, CDS: []DS{d}, TTL: time.Hour}}
}

// BenchmarkUnion makes the joint sets of three providers.
func BenchmarkUnion(b *testing.B) {
	ours := benchPeer("", 0).Announcement
	local := Local{DNSKEY: append(ours.DNSKEY, ours.CDNSKEY...), SecureEntry: ours.CDNSKEY}
	peers := []Peer{benchPeer("ns1.example.net.", 2), benchPeer("ns2.example.net.", 4)}
	b.ReportAllocs()
	for b.Loop() {
		Union("example.org.", local, peers)
	}
}

// BenchmarkCollect takes over an announcement that says what the last one did.
func BenchmarkCollect(b *testing.B) {
	p, now := benchPeer("ns1.example.net.", 2), time.Unix(1_800_000_000, 0)
	b.ReportAllocs()
	for b.Loop() {
		p.Collect(p.Announcement, now, time.Hour, time.Hour)
	}
}
