package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/observe"
)

var (
	checkNewZSK = checkKey(256, "new A")
	checkNewKSK = checkKey(257, "new A")
)

// rollingZSK has A announce a new ZSK, which stands at the hosts.
func rollingZSK(hosts ...string) *outside {
	o := completeZone()
	for _, host := range hosts {
		o.change(host, func(a *observe.Apex) { a.DNSKEY.Records = append(a.DNSKEY.Records, checkNewZSK) })
	}
	a := o.announced[checkA]
	a.Announcement.DNSKEY = []merge.Key{checkZSKA, checkNewZSK}
	o.announced[checkA] = a
	return o
}

// rollingKSK has A serve a new KSK beside the old one.
func rollingKSK() *outside {
	o := completeZone()
	o.change(checkA, func(a *observe.Apex) {
		a.DNSKEY.Records = append(a.DNSKEY.Records, checkNewKSK)
		a.DNSKEY.Signers = append(a.DNSKEY.Signers, checkNewKSK)
	})
	a := o.announced[checkA]
	a.Announcement.CDNSKEY = []merge.Key{checkKSKA, checkNewKSK}
	o.announced[checkA] = a
	return o
}

func TestStepsOfRollsAsSeenFromOutside(t *testing.T) {
	newZSK, newKSK := dnsTag(checkNewZSK), dnsTag(checkNewKSK)
	for _, tc := range []struct {
		name  string
		world *outside
		want  string // in the one line there is; "" for none
	}{
		{"nothing rolls", completeZone(), ""},
		{"one provider", completeZone().alone(), ""},
		{"the other provider lacks the new ZSK", rollingZSK(checkA), "ZSK " + newZSK + " (ECDSAP256SHA256) of A may not sign data yet: not every nameserver has it"},
		{"all have the new ZSK", rollingZSK(checkA, checkB),
			"ZSK " + newZSK + " (ECDSAP256SHA256) of A is published everywhere since 2026-03-01 12:00:00 UTC, or before, and signs no data: if it is new it may sign from 2026-03-01 14:00:00 UTC at the latest"},
		{"the new ZSK signs", rollingZSK(checkA, checkB).change(checkA, func(a *observe.Apex) { a.SOA.Signers = []merge.Key{checkNewZSK, checkZSKA} }), ""},
		{"the old ZSK has gone from the other provider", rollingZSK(checkA, checkB).change(checkA, func(a *observe.Apex) { a.SOA.Signers = []merge.Key{checkNewZSK} }).
			change(checkB, func(a *observe.Apex) { a.DNSKEY.Records = []merge.Key{checkZSKB, checkNewZSK, checkKSKB} }).
			edited(func(o *outside) {
				o.announced[checkA] = fetch.Result{Zone: checkZone, Host: checkA, Verdict: fetch.Secure, Announcement: merge.Announcement{
					DNSKEY: []merge.Key{checkNewZSK}, CDNSKEY: []merge.Key{checkKSKA}, CDS: checkDS(checkKSKA),
				}}
			}),
			"ZSK " + dnsTag(checkZSKA) + " (ECDSAP256SHA256) signs no data; if it did, it may go max_zone_ttl after its last signature"},
		{"DS lacks the new KSK", rollingKSK(), ""},
		{"DS names both KSKs", rollingKSK().edited(func(o *outside) { o.parent.DS = checkDS(checkKSKA, checkKSKB, checkNewKSK) }),
			" are both in DS: the old one may leave CDS, and may go from 2026-03-01 15:00:00 UTC at the latest"},
		{"but the new KSK does not sign yet", rollingKSK().edited(func(o *outside) { o.parent.DS = checkDS(checkKSKA, checkKSKB, checkNewKSK) }).
			change(checkA, func(a *observe.Apex) { a.DNSKEY.Signers = []merge.Key{checkKSKA} }), ""},
	} {
		lines := tc.world.assess().steps()
		switch {
		case tc.want == "" && len(lines) > 0:
			t.Errorf("%s: expected nothing, got %q", tc.name, lines)
		case tc.want != "" && (len(lines) != 1 || !strings.Contains(lines[0], tc.want)):
			t.Errorf("%s: expected %q, got %q", tc.name, tc.want, lines)
		}
	}
	if text := rollingKSK().edited(func(o *outside) { o.parent.DS = checkDS(checkKSKA, checkKSKB, checkNewKSK) }).assess().steps()[0]; !strings.Contains(text, newKSK) || !strings.Contains(text, dnsTag(checkKSKA)) {
		t.Errorf("Expected both KSKs to be named, got %q", text)
	}
}

// edited changes o.
func (o *outside) edited(edit func(*outside)) *outside {
	edit(o)
	return o
}

// A command that looks again and again knows since when it is so, and begins anew
// when it was otherwise in between.
func TestWatchKnowsSinceWhen(t *testing.T) {
	m := newMemory()
	look := func(o *outside, after time.Duration) keyJSON {
		t.Helper()
		o.edit = func(s *observe.Sight) { s.At = s.At.Add(after) }
		a := o.assess()
		a.recall(m)
		var out bytes.Buffer
		if err := printCheckJSON(&out, a); err != nil {
			t.Fatal(err)
		}
		var got checkJSON
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		for _, k := range got.Keys {
			if k.Tag == checkNewZSK.Tag() {
				return k
			}
		}
		t.Fatal("Expected the new key")
		return keyJSON{}
	}
	for _, step := range []struct {
		world            *outside
		after            time.Duration
		everywhere, sign string
	}{
		{rollingZSK(checkA), 0, "", ""},
		{rollingZSK(checkA, checkB), time.Minute, "2026-03-01T12:01:00Z", "2026-03-01T14:01:00Z"},
		{rollingZSK(checkA, checkB), time.Hour, "2026-03-01T12:01:00Z", "2026-03-01T14:01:00Z"},
		{rollingZSK(checkA), 2 * time.Hour, "", ""},
		{rollingZSK(checkA, checkB), 3 * time.Hour, "2026-03-01T15:00:00Z", "2026-03-01T17:00:00Z"},
	} {
		if k := look(step.world, step.after); k.Everywhere != step.everywhere || k.SignFrom != step.sign || k.Signs || k.GoFrom != "" {
			t.Errorf("After %v: expected %q and %q, got %+v", step.after, step.everywhere, step.sign, k)
		}
	}
}
