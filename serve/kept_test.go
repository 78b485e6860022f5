package serve

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// again builds the view of f without what it was, with the signatures kept of it.
func (f *fixture) again(t *testing.T, kept map[string][]Signature) {
	t.Helper()
	f.spent()
	f.params.Kept = func(owner string) []Signature { return kept[owner] }
	f.view = nil
	f.build(t)
}

// A start makes no signatures over announcements that were kept, and takes none that
// are not known to fit.
func TestKeptSignatures(t *testing.T) {
	for _, delegated := range []bool{false, true} {
		apex, each := int64(0), int64(3) // DNSKEY, CDS and CDNSKEY
		if delegated {
			apex, each = 3, 4 // SOA, NS and NSEC; and the NSEC of each name
		}
		for _, tt := range []struct {
			name   string
			change func(f *fixture, kept map[string][]Signature)
			want   int64
		}{
			{"nothing has changed", func(*fixture, map[string][]Signature) {}, apex},
			{"one name has none", func(_ *fixture, kept map[string][]Signature) { delete(kept, "_multi."+another+domain) }, apex + each},
			{"an octet of each is wrong", func(_ *fixture, kept map[string][]Signature) {
				for _, sigs := range kept {
					for i, s := range sigs {
						rdata := []byte(s.RDATA())
						rdata[len(rdata)-1] ^= 1
						sigs[i], _ = ParseSignature(s.Owner, s.TTL, rdata, s.Over)
					}
				}
			}, apex + 2*each},
			{"nothing says what they are over", func(_ *fixture, kept map[string][]Signature) {
				for _, sigs := range kept {
					for i := range sigs {
						sigs[i].Over = Digest{}
					}
				}
			}, apex + 2*each},
			{"another TTL", func(f *fixture, _ map[string][]Signature) { f.announced[0].TTL++ }, apex + 3},
			{"other keys are announced", func(f *fixture, _ map[string][]Signature) { f.announced[0].Announcement.DNSKEY = shared[2:4] }, apex + 1},
			{"one zone announces something else since then", func(f *fixture, _ map[string][]Signature) {
				f.announced[0].Since = now.Add(time.Second)
				f.params.Now = now.Add(2 * time.Second)
			}, apex + each},
			{"it did so just before", func(f *fixture, _ map[string][]Signature) { f.announced[0].Since = now.Add(time.Second - 1) }, apex},
			{"they are due", func(f *fixture, _ map[string][]Signature) { f.params.Now = now.Add(day + time.Hour) }, apex + 2*each},
			{"another key signs", func(f *fixture, _ map[string][]Signature) {
				f.zsk = f.ring.key(t, dns.ECDSAP256SHA256, 256, f.zsk.Role)
			}, apex + 2*each},
			{"the names are another's", func(f *fixture, kept map[string][]Signature) {
				owners := slices.Sorted(maps.Keys(kept))
				kept[owners[0]], kept[owners[1]] = kept[owners[1]], kept[owners[0]]
			}, apex + 2*each},
		} {
			f := newFixture(t, delegated, another, "example.com.")
			kept := make(map[string][]Signature)
			for _, owner := range f.view.Changed(nil) {
				kept[owner] = f.view.Signatures(owner)
			}
			if len(kept) != 2 {
				t.Fatalf("Expected the signatures of two names, got those of %d", len(kept))
			}
			tt.change(f, kept)
			f.again(t, kept)
			if got := f.spent(); got != tt.want {
				t.Errorf("Delegated %v, %s: expected %d signatures to be made, got %d", delegated, tt.name, tt.want, got)
			}
			w := f.world()
			for _, a := range f.announced {
				for _, qtype := range []uint16{dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY} {
					r := question("_multi."+a.Zone+domain, qtype, true, false)
					if err := w.judge(t, r, f.reply(t, r)); err != nil {
						t.Errorf("Delegated %v, %s: %v", delegated, tt.name, err)
					}
				}
			}
		}
	}
}

// Those by a key that can make no others are used, however old what is announced is.
func TestKeptSignaturesWithoutAPrivateKey(t *testing.T) {
	f := newFixture(t, false, "example.com.")
	kept := map[string][]Signature{"_multi.example.com." + domain: f.view.Signatures("_multi.example.com." + domain)}
	public := *f.zsk
	public.Signer = nil
	f.zsk = &public
	f.announced[0].Since = now.Add(time.Hour)
	f.params.Now = now.Add(2 * time.Hour)
	f.again(t, kept)
	r := question("_multi.example.com."+domain, dns.TypeCDS, true, false)
	if err := f.world().judge(t, r, f.reply(t, r)); err != nil {
		t.Error(err)
	}
}

// Only what has changed is to be kept anew.
func TestSignaturesThatChanged(t *testing.T) {
	for _, delegated := range []bool{false, true} {
		f := newFixture(t, delegated, another, "example.com.", "example.net.")
		old := f.view
		if changed := old.Changed(old); len(changed) > 0 {
			t.Errorf("Expected nothing to have changed, got %q", changed)
		}
		f.announced[1].TTL++
		f.announced = f.announced[:2]
		f.build(t)
		changed, gone := "_multi.example.com."+domain, "_multi.example.net."+domain
		if got := f.view.Changed(old); !slices.Equal(got, []string{changed, gone}) {
			t.Errorf("Delegated %v: expected %q and %q to have changed, got %q", delegated, changed, gone, got)
		}
		if len(f.view.Signatures(changed)) == 0 || len(f.view.Signatures(gone)) > 0 || len(f.view.Signatures(domain)) > 0 || len(f.view.Signatures("nowhere.")) > 0 {
			t.Errorf("Delegated %v: expected signatures of %q alone", delegated, changed)
		}
	}
}
