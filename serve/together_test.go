package serve

import (
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/miekg/dns"
)

// What a query waits for lies together, and so does what the garbage collector visits.
func TestRRsetsLieTogether(t *testing.T) {
	p := newProvider(t, zone)
	a := p.sign(t, Params{TTL: 3600, Now: now}, nil)
	checkTogether(t, "apex", unsafe.Pointer(a), a.DNSKEY.RRset, a.CDS.RRset, a.CDNSKEY.RRset)
	a = p.sign(t, Params{TTL: 7200, Now: now}, a)
	checkTogether(t, "apex made anew", unsafe.Pointer(a), a.DNSKEY.RRset, a.CDS.RRset, a.CDNSKEY.RRset)

	// What stays is not in memory twice, as it would be during a reload.
	again := p.sign(t, Params{TTL: 7200, Now: now}, a)
	for i, set := range again.sources() {
		if was := *a.sources()[i]; *set != nil && !sameMemory((*set).data, was.data) {
			t.Errorf("Expected the octets of the view before, got others of %s", dns.Type((*set).rrtype))
		}
	}
	checkTogether(t, "apex made again", unsafe.Pointer(again), again.DNSKEY.RRset, again.CDS.RRset, again.CDNSKEY.RRset)

	// Nor with a delegation.
	both := p.delegated(t, bothProviders, Params{TTL: 7200, Now: now}, a)
	again = p.delegated(t, bothProviders, Params{TTL: 7200, Now: now}, both)
	checkTogether(t, "apex with a delegation", unsafe.Pointer(both), both.DNSKEY.RRset, both.CDS.RRset, both.CDNSKEY.RRset)
	for i, set := range again.sources() {
		if was := *both.sources()[i]; !sameMemory((*set).data, was.data) {
			t.Errorf("With a delegation: expected the octets of the view before, got others of %s", dns.Type((*set).rrtype))
		}
	}

	for _, delegated := range []bool{false, true} {
		f := newFixture(t, delegated, "example.org.", "example.net.")
		checked := 0
		for _, n := range f.view.nodes {
			if n.announces(f.view) {
				checked++
				checkTogether(t, n.sets[0].owner, unsafe.Pointer(n), n.sets...)
				if n.nsec != nil {
					checkNear(t, n.sets[0].owner, unsafe.Pointer(n), unsafe.Pointer(n.nsec))
				}
			}
		}
		if checked != 2 {
			t.Errorf("Expected two names that announce something, got %d", checked)
		}
	}
}

// A view names its zone by the string that it was made with: those before may be parts
// of a large one, of all names of a Corefile.
func TestViewsDoNotKeepNamesBefore(t *testing.T) {
	p := newProvider(t, zone)
	old := p.delegated(t, bothProviders, Params{TTL: 3600, Now: now}, nil)
	p.zone = strings.Clone(zone)
	again := p.delegated(t, bothProviders, Params{TTL: 3600, Now: now}, old)
	for _, set := range again.sources() {
		if s := *set; unsafe.StringData(s.owner) != unsafe.StringData(again.Zone) || unsafe.StringData(s.signer) != unsafe.StringData(again.Zone) {
			t.Errorf("Expected %s to name the zone by the string of the view", dns.Type(s.rrtype))
		}
	}
}

func checkTogether(t *testing.T, name string, view unsafe.Pointer, sets ...*RRset) {
	t.Helper()
	for i, set := range sets {
		checkNear(t, name, view, unsafe.Pointer(set))
		checkNear(t, name, view, unsafe.Pointer(&set.marks[0]))
		if i > 0 && unsafe.Pointer(unsafe.StringData(set.data)) != unsafe.Add(unsafe.Pointer(unsafe.StringData(sets[i-1].data)), len(sets[i-1].data)) {
			t.Errorf("%s: expected the octets of %s right after those of %s", name, dns.Type(set.rrtype), dns.Type(sets[i-1].rrtype))
		}
	}
}

func checkNear(t *testing.T, name string, view, part unsafe.Pointer) {
	t.Helper()
	if away := uintptr(part) - uintptr(view); away > 640 {
		t.Errorf("%s: expected all that is not octets in one piece, but a part is %d octets away", name, int(away))
	}
}

// More RRsets and records than usual lie elsewhere, and nothing else changes.
func TestTogetherWithoutRoom(t *testing.T) {
	many := func(rrtype uint16, records int) *RRset {
		rrs := make([]dns.RR, records)
		for i := range rrs {
			rrs[i] = &dns.DNSKEY{Hdr: dns.RR_Header{Name: zone, Rrtype: rrtype, Class: dns.ClassINET, Ttl: 60}, Flags: 256, Protocol: 3, Algorithm: 13, PublicKey: string(rune('a'+i)) + "AA="}
		}
		set, err := NewRRset(rrs, nil)
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	a := &Apex{
		Zone: zone, DNSKEY: ApexSet{Served, many(dns.TypeDNSKEY, 12)}, CDS: ApexSet{Served, many(dns.TypeDNSKEY, 12)},
		CDNSKEY: ApexSet{Served, many(dns.TypeDNSKEY, 9)}, NS: many(dns.TypeDNSKEY, 25), CSYNC: many(dns.TypeDNSKEY, 1),
	}
	got, want := a.together(new(Apex)), *a
	if want.own = got.own; !reflect.DeepEqual(got, &want) {
		t.Errorf("Expected the same view, got %+v", got)
	}
	less := *got
	less.CDS, less.CDNSKEY, less.NS, less.CSYNC = ApexSet{}, ApexSet{}, nil, nil
	if own := less.together(got).own; !reflect.DeepEqual(own[1:], make([]RRset, 2)) {
		t.Errorf("Expected nothing of the RRsets that are left out, got %+v", own[1:])
	}
	n := &node{key: "k", sets: []*RRset{a.NS, a.DNSKEY.RRset, a.CSYNC, a.CDS.RRset, a.NS}, nsec: a.CSYNC}
	if got := n.together(); !reflect.DeepEqual(got, n) {
		t.Errorf("Expected the same name, got %+v", got)
	}
}
