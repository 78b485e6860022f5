package keys

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/merge"
)

// reader takes what the fuzzer wrote apart.
type reader []byte

func (r *reader) octet() byte {
	if len(*r) == 0 {
		return 0
	}
	b := (*r)[0]
	*r = (*r)[1:]
	return b
}

// at returns a time some hours before or after fuzzNow, zero for an octet that
// is zero.
func (r *reader) at() time.Time {
	b := r.octet()
	if b == 0 {
		return time.Time{}
	}
	return fuzzNow.Add(time.Duration(int8(b)) * time.Hour)
}

var fuzzNow = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// subset returns the keys of ks whose bits are set.
func (r *reader) subset(ks []*Key) []merge.Key {
	var ids []merge.Key
	bits := r.octet()
	for i, k := range ks {
		if bits>>i&1 == 1 {
			ids = append(ids, k.ID())
		}
	}
	return ids
}

// parts returns the parts of a schedule by their names.
func parts(s Schedule) map[string][]*Key {
	return map[string][]*Key{
		"published": s.Published, "announced": s.Announced, "secure entries": s.SecureEntry, "signing DNSKEY": s.SignDNSKEY,
		"signing data": s.DataSigning, "lost": s.Lost,
	}
}

// FuzzPlan has the times in the files of five keys be any, and what is known of
// the zone and its parent. Whatever they say, nothing is signed with a key that
// is not published, CDS names no key that does not sign, and nothing changes
// before the time that the schedule says.
func FuzzPlan(f *testing.F) {
	var all []*Key
	for i, kind := range []struct {
		algorithm uint8
		flags     uint16
	}{{dns.ED25519, 257}, {dns.ED25519, 257}, {dns.ED25519, 256}, {dns.ECDSAP256SHA256, 257}, {dns.ECDSAP256SHA256, 256}} {
		k, _, err := Generate("example.co.uk.", kind.algorithm, kind.flags, nil)
		if err != nil {
			f.Fatal(err)
		}
		k.Base = fmt.Sprint(i)
		all = append(all, k)
	}
	f.Add([]byte{})
	f.Add([]byte{0x1f, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0x07, 0, 0, 0x80, 0x80, 0x80, 0xf0, 0xf8, 0, 0, 0x81, 0x81, 0x81, 0, 0, 0, 0, 0x82, 0x82, 0x82, 0x10, 0x18, 0, 0, 0x04, 0x07, 0x01, 0x01, 0x07, 1})
	f.Add([]byte{0x1f, 0x01, 0x08, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40})
	f.Add([]byte{0x1f, 0x04, 0x02, 0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0, 0, 0, 0xf8, 0xf9, 0, 0, 0xe0, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0xd0, 0xd0, 0xd0, 0xd0, 0xd0})
	f.Fuzz(func(t *testing.T, text []byte) {
		r := reader(text)
		there, gone, public := r.octet(), r.octet(), r.octet()
		var ks []*Key
		for i, k := range all {
			c := *k
			c.Timing = Timing{Created: r.at(), Publish: r.at(), Activate: r.at(), Inactive: r.at(), Delete: r.at(), SyncPublish: r.at(), SyncDelete: r.at()}
			c.Gone = gone>>i&1 == 1
			if public>>i&1 == 1 {
				c.Signer = nil
			}
			if there>>i&1 == 0 {
				ks = append(ks, &c)
			}
		}
		AssignRoles(ks)
		facts := Facts{
			Chain: r.subset(ks), Signed: r.subset(ks), Entries: r.subset(ks), Signing: r.subset(ks), Published: r.subset(ks),
			MaxZoneTTL: 24 * time.Hour, KeysTTL: time.Hour, DS: DSState(r.octet() % 3), DSAlgorithms: []uint8{dns.ED25519}, Seen: make(map[merge.Key]Seen),
		}
		if facts.DS != DSUnknown {
			for _, k := range ks {
				facts.Seen[k.ID()] = Seen{KnownFrom: r.at(), Signing: r.at(), Signed: r.at(), InDS: r.at(), InDSFrom: r.at(), GoneFrom: r.at()}
			}
		}
		facts.SigningData, facts.CachedUntil = r.subset(ks), make(map[merge.Key]time.Time)
		for _, k := range facts.Signed {
			facts.CachedUntil[k] = r.at()
		}
		s := Plan(ks, fuzzNow, facts)
		checkPlan(t, ks, facts, s)
		checkNext(t, ks, facts, s)
	})
}

// checkPlan checks what holds of every schedule.
func checkPlan(t *testing.T, ks []*Key, facts Facts, s Schedule) {
	t.Helper()
	for name, part := range parts(s) {
		for i, k := range part {
			if slices.Contains(part[:i], k) || !slices.Contains(ks, k) {
				t.Errorf("Expected each of our keys once in %s, got %v", name, part)
			}
			if name != "announced" && !slices.Contains(s.Published, k) {
				t.Errorf("Expected what is %s to be published, but %s is not", name, k)
			}
			if (name == "signing DNSKEY" || name == "signing data") && k.Signer == nil {
				t.Errorf("Expected no %s without its private half, got %s", name, k)
			}
		}
	}
	for _, k := range s.SecureEntry {
		if !slices.Contains(s.SignDNSKEY, k) && !slices.Contains(s.Lost, k) {
			t.Errorf("Expected CDS to name keys that sign DNSKEY, got %s", k)
		}
	}
	for _, k := range s.DataSigning {
		if !slices.Contains(s.Announced, k) {
			t.Errorf("Expected what signs data to be announced, but %s is not", k)
		}
	}
	entries := false
	for _, k := range ks {
		if slices.Contains(facts.Chain, k.ID()) && !slices.Contains(s.Published, k) {
			t.Errorf("Expected %s to be published, with which the chain signs (rule K2)", k)
		}
		if k.Role.SecureEntry() && slices.Contains(facts.Entries, k.ID()) {
			entries = true
			if facts.DS == DSUnknown && !slices.Contains(s.SecureEntry, k) {
				t.Errorf("Expected %s to stay a secure entry as long as the parent's DS is not known", k)
			}
		}
	}
	if entries && len(s.SecureEntry) == 0 {
		t.Error("Expected CDS not to become empty")
	}
}

// checkNext checks that time alone changes nothing before s.Next.
func checkNext(t *testing.T, ks []*Key, facts Facts, s Schedule) {
	t.Helper()
	until := s.Next
	if until.IsZero() {
		until = fuzzNow.AddDate(10, 0, 0)
	} else if !until.After(fuzzNow) {
		t.Fatalf("Expected the next change to come after now, got %v", until)
	}
	for _, now := range []time.Time{fuzzNow, fuzzNow.Add(until.Sub(fuzzNow) / 2), until.Add(-time.Second)} {
		later := parts(Plan(ks, now, facts))
		for name, part := range parts(s) {
			if !slices.Equal(part, later[name]) {
				t.Errorf("Expected %s to be the same until %v, got %v, but %v at %v", name, until, part, later[name], now)
			}
		}
	}
}
