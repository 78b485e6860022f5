package serve

import (
	"fmt"
	"testing"

	"github.com/miekg/dns"
)

func BenchmarkApexReply(b *testing.B) {
	p := newProvider(b, zone)
	a := p.sign(b, Params{TTL: 3600, Now: now}, nil)
	r := question(zone, dns.TypeDNSKEY, true, false)
	b.ReportAllocs()
	for b.Loop() {
		if _, answer := a.Reply(r); answer != Served {
			b.Fatal(answer)
		}
	}
}

// manyZones returns what is announced for n zones.
func manyZones(b *testing.B, n int) []Announced {
	all := make([]Announced, n)
	for i := range all {
		all[i] = announcement(b, fmt.Sprintf("z%d.example.co.uk.", i))
	}
	return all
}

func BenchmarkSubtreeReply(b *testing.B) {
	for _, delegated := range []bool{false, true} {
		for _, zones := range []int{1, 1000} {
			f := newFixture(b, delegated)
			f.announced = manyZones(b, zones)
			f.build(b)
			for _, q := range []struct {
				kind, name string
				qtype      uint16
			}{
				{"announcement", "_multi.z0.example.co.uk." + domain, dns.TypeCDS},
				{"nodata", "co.uk." + domain, dns.TypeCDS},
				{"nxdomain", "x.co.uk." + domain, dns.TypeCDS},
			} {
				b.Run(fmt.Sprintf("delegated=%v/zones=%d/%s", delegated, zones, q.kind), func(b *testing.B) {
					r := question(q.name, q.qtype, true, false)
					b.ReportAllocs()
					for b.Loop() {
						if _, err := f.view.Reply(r, f.online, f.askSOA, now); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}

// BenchmarkRebuild builds the view of a fleet after one zone has changed.
func BenchmarkRebuild(b *testing.B) {
	for _, delegated := range []bool{false, true} {
		for _, zones := range []int{1000, 10000} {
			b.Run(fmt.Sprintf("delegated=%v/zones=%d", delegated, zones), func(b *testing.B) {
				f := newFixture(b, delegated)
				f.announced = manyZones(b, zones)
				f.build(b)
				b.ReportAllocs()
				for b.Loop() {
					f.announced[0].TTL++
					f.build(b)
				}
			})
		}
	}
}

// BenchmarkUpdate does the same as an update.
func BenchmarkUpdate(b *testing.B) {
	for _, delegated := range []bool{false, true} {
		f := newFixture(b, delegated)
		f.announced = manyZones(b, 10_000)
		f.build(b)
		b.Run(fmt.Sprintf("delegated=%v/zones=10000", delegated), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f.announced[0].TTL++
				var err error
				if f.view, err = f.view.Update(f.config, f.announced[:1], f.signers(), f.apex, f.params); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCorrect(b *testing.B) {
	p := newProvider(b, zone)
	a := p.sign(b, Params{TTL: 3600, Now: now}, nil)
	o := NewOnline(10, 10)
	right := with(lies, dns.TypeCDS, dns.TypeCDNSKEY)
	hash := dns.HashName(zone, dns.SHA1, 0, "")
	for _, bm := range []struct {
		name string
		rr   dns.RR
	}{
		{"not of the apex", nsec("a."+zone, zone, lies...)},
		{"right", nsec(zone, "a."+zone, right...)},
		{"right NSEC3", nsec3(hash, hash, 0, "", right...)},
		{"wrong", nsec(zone, "a."+zone, lies...)},
	} {
		b.Run(bm.name, func(b *testing.B) {
			m := denial(dns.TypeAAAA, nil, []dns.RR{bm.rr})
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Correct(m, a, cnsType, o, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAppendReply is the answers in octets that BenchmarkApexReply and
// BenchmarkSubtreeReply make in messages.
func BenchmarkAppendReply(b *testing.B) {
	f := newFixture(b, true)
	f.announced = manyZones(b, 1000)
	f.build(b)
	for _, q := range []struct {
		kind, name string
		qtype      uint16
		size       int
	}{
		{"apex", domain, dns.TypeDNSKEY, 1232},
		{"truncated", domain, dns.TypeDNSKEY, 0},
		{"announcement", "_multi.z0.example.co.uk." + domain, dns.TypeCDS, 1232},
		{"nodata", "_multi.z0.example.co.uk." + domain, dns.TypeTXT, 1232},
		{"nxdomain", "x.co.uk." + domain, dns.TypeCDS, 1232},
	} {
		b.Run(q.kind, func(b *testing.B) {
			r := question(q.name, q.qtype, true, false)
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				var ok bool
				if buf, _, ok = f.view.AppendReply(buf[:0], r, q.size); !ok {
					b.Fatal("Expected an answer in octets")
				}
			}
		})
	}
}

// BenchmarkSignApex makes the view of a zone: anew, and where nothing has
// changed.
func BenchmarkSignApex(b *testing.B) {
	p := newProvider(b, zone)
	params := Params{TTL: 3600, Now: now}
	old := p.sign(b, params, nil)
	for name, old := range map[string]*Apex{"anew": nil, "unchanged": old} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.sign(b, params, old)
			}
		})
	}
}
