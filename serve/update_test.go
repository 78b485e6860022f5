package serve

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/merge"

	"github.com/miekg/dns"
)

// describe returns what a view has at each name, and in which order, but for the
// signatures.
func describe(s *Subtree) []string {
	var all []string
	for key, n := range s.nodes {
		text := fmt.Sprintf("%q", key)
		for _, set := range append(slices.Clone(n.sets), n.nsec) {
			if set != nil {
				text += fmt.Sprint(set.RRs())
			}
		}
		all = append(all, text)
	}
	slices.Sort(all)
	for _, n := range s.chain {
		all = append(all, fmt.Sprintf("%q", n.key))
		if s.nodes[n.key] != n {
			all = append(all, "another node than at the name")
		}
	}
	return append(all, fmt.Sprint(s.span, s.failing, s.apex == s.nodes[string(s.suffix)]))
}

// Views that are made by Update, one of the other, are what BuildSubtree makes.
func TestUpdateMakesWhatABuildDoes(t *testing.T) {
	for _, delegated := range []bool{false, true} {
		seed := rand.Uint64()
		r := rand.New(rand.NewPCG(seed, 0))
		f := newFixture(t, delegated)
		f.params.Jitter = nil
		updated := f.view
		announced := make(map[string]Announced)
		names := []string{"example.org.", "a.example.org.", "b.a.example.org.", "example.net.", "z.example.org.", "x._multi.example.org.", "org.", "y.x._multi.example.org."}
		for step := range 100 {
			var changed []Announced
			for range r.IntN(3) {
				a := announcement(t, names[r.IntN(len(names))])
				switch r.IntN(4) {
				case 0:
					a.Announcement = merge.Announcement{}
				case 1:
					a.Announcement.DNSKEY = append(a.Announcement.DNSKEY, shared[2*r.IntN(4)])
				}
				if r.IntN(2) == 0 {
					a.Boot = merge.Announcement{CDNSKEY: a.Announcement.CDNSKEY, CDS: a.Announcement.CDS}
				}
				changed = slices.DeleteFunc(changed, func(c Announced) bool { return c.Zone == a.Zone })
				changed = append(changed, a)
				announced[a.Zone] = a
			}
			f.params.Now = f.params.Now.Add(time.Minute)
			f.config.Serial++
			if len(updated.nodes) == 0 {
				f.announced, f.view = changed, nil // there is nothing yet to update
				f.build(t)
				updated = f.view
				continue
			}
			if !updated.CanUpdate(f.config, f.signers(), f.params) {
				t.Fatalf("seed %d, step %d: expected an update to do", seed, step)
			}
			var err error
			if updated, err = updated.Update(f.config, changed, f.signers(), f.apex, f.params); err != nil {
				t.Fatal(err)
			}
			f.announced = slices.Collect(maps.Values(announced))
			f.view = nil
			f.build(t)
			got, want := describe(updated), describe(f.view)
			if !slices.Equal(got[:len(got)-1], want[:len(want)-1]) {
				t.Fatalf("seed %d, step %d: expected\n%q\ngot\n%q", seed, step, want, got)
			}
			for _, n := range updated.nodes {
				for _, set := range append(slices.Clone(n.sets), n.nsec) {
					if set == nil || set.rrtype == dns.TypeDNSKEY {
						continue
					}
					if err := set.Sigs()[0].Verify(f.zsk.DNSKEY, set.RRs()); err != nil && set.rrtype != dns.TypeCDS && set.rrtype != dns.TypeCDNSKEY {
						t.Fatalf("seed %d, step %d: %s: %v", seed, step, set.RRs()[0], err)
					}
				}
			}
		}
	}
}

// When the last zone has gone, nothing is left of the signaling domain, unless it
// is a zone.
func TestUpdateThatTakesTheLastAway(t *testing.T) {
	for _, delegated := range []bool{false, true} {
		f := newFixture(t, delegated, "example.org.")
		updated, err := f.view.Update(f.config, []Announced{{Zone: "example.org.", TTL: 3600}}, f.signers(), f.apex, f.params)
		if err != nil {
			t.Fatal(err)
		}
		f.announced, f.view = nil, nil
		f.build(t)
		if got, want := describe(updated), describe(f.view); !slices.Equal(got[:len(got)-1], want[:len(want)-1]) {
			t.Errorf("Delegated %v: expected\n%q\ngot\n%q", delegated, want, got)
		}
	}
}

func TestUpdateIsNotForEveryChange(t *testing.T) {
	f := newFixture(t, true, "example.org.")
	other := newProvider(t, domain)
	later := f.params
	later.Now = f.view.Renew()
	config := f.config
	config.TTL++
	for name, can := range map[string]bool{
		"nothing":           f.view.CanUpdate(f.config, f.signers(), f.params),
		"other keys":        !f.view.CanUpdate(f.config, Signers{Data: []*keys.Key{other.zsk}}, f.params),
		"signatures due":    !f.view.CanUpdate(f.config, f.signers(), later),
		"other TTL":         !f.view.CanUpdate(config, f.signers(), f.params),
		"nothing to update": !(*Subtree)(nil).CanUpdate(f.config, f.signers(), f.params),
	} {
		if !can {
			t.Errorf("%s: expected otherwise", name)
		}
	}
}
