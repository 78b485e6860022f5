package serve

import (
	"reflect"
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
		if was := *a.sources()[i]; *set != nil && unsafe.StringData((*set).data) != unsafe.StringData(was.data) {
			t.Errorf("Expected the octets of the view before, got others of %s", dns.Type((*set).rrtype))
		}
	}
	checkTogether(t, "apex made again", unsafe.Pointer(again), again.DNSKEY.RRset, again.CDS.RRset, again.CDNSKEY.RRset)

	for _, delegated := range []bool{false, true} {
		f := newFixture(t, delegated)
		for _, n := range f.view.nodes {
			if n.announces(f.view) {
				checkTogether(t, n.sets[0].owner, unsafe.Pointer(n), n.sets...)
				if n.nsec != nil {
					checkNear(t, n.sets[0].owner, unsafe.Pointer(n), unsafe.Pointer(n.nsec))
				}
			}
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
	n := &node{key: "k", sets: []*RRset{a.NS, a.DNSKEY.RRset, a.CSYNC, a.CDS.RRset, a.NS}, nsec: a.CSYNC}
	if got := n.together(); !reflect.DeepEqual(got, n) {
		t.Errorf("Expected the same name, got %+v", got)
	}
}
