package refresh

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/store"
)

// Also from what is held as it was, since our own keys are not in order or those that
// sign the zone are not known.
func TestDistrustedKeysAreDroppedFromWhatIsHeld(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		distrust func(w *world, p, q provider) Distrust
		edit     func(w *world, f *facts, p, q provider)
		dnskey   func(w *world, p, q provider) []merge.Key
		entries  func(w *world, p, q provider) []merge.Key
		digests  func(w *world, p, q provider) []merge.Key // of keys that are not known
	}{
		"nothing": {
			distrust: func(*world, provider, provider) Distrust { return Distrust{} },
			dnskey:   func(w *world, p, q provider) []merge.Key { return with(w.ksk, w.zsk.ID(), p.zsk, q.zsk) },
			entries:  func(w *world, p, q provider) []merge.Key { return with(w.ksk, p.ksk, q.ksk) },
		},
		"all of a host": {
			dnskey:  func(w *world, _, q provider) []merge.Key { return with(w.ksk, w.zsk.ID(), q.zsk) },
			entries: func(w *world, _, q provider) []merge.Key { return with(w.ksk, q.ksk) },
		},
		"one on its way out": {
			edit: func(_ *world, f *facts, p, _ provider) {
				f.state.Peers[0].Announcement.DNSKEY, f.state.Peers[0].Retiring = nil, []merge.Retiring{{Key: p.zsk, Since: now, Until: now.Add(day)}}
			},
			dnskey:  func(w *world, _, q provider) []merge.Key { return with(w.ksk, w.zsk.ID(), q.zsk) },
			entries: func(w *world, _, q provider) []merge.Key { return with(w.ksk, q.ksk) },
		},
		"but no key that another holds, too": {
			edit: func(w *world, f *facts, p, q provider) {
				a := &f.state.Peers[0].Announcement
				a.DNSKEY, a.CDNSKEY = append(a.DNSKEY, q.zsk, w.zsk.ID()), append(a.CDNSKEY, q.ksk, w.ksk.ID())
			},
			dnskey:  func(w *world, _, q provider) []merge.Key { return with(w.ksk, w.zsk.ID(), q.zsk) },
			entries: func(w *world, _, q provider) []merge.Key { return with(w.ksk, q.ksk) },
		},
		"nor one that another has named": {
			edit: func(_ *world, f *facts, p, q provider) {
				f.state.Peers[0].Announcement.CDNSKEY = []merge.Key{p.ksk, q.ksk}
				f.state.Peers[1].Announcement.CDNSKEY = nil
			},
			dnskey:  func(w *world, _, q provider) []merge.Key { return with(w.ksk, w.zsk.ID(), q.zsk) },
			entries: func(w *world, _, _ provider) []merge.Key { return with(w.ksk) },
			digests: func(_ *world, _, q provider) []merge.Key { return []merge.Key{q.ksk} },
		},
		"one known by its digest": {
			edit:    func(_ *world, f *facts, p, _ provider) { f.state.Peers[0].Announcement.CDNSKEY = nil },
			dnskey:  func(w *world, _, q provider) []merge.Key { return with(w.ksk, w.zsk.ID(), q.zsk) },
			entries: func(w *world, _, q provider) []merge.Key { return with(w.ksk, q.ksk) },
		},
		"by tag": {
			distrust: func(_ *world, p, q provider) Distrust { return Distrust{Tags: []uint16{p.ksk.Tag(), q.zsk.Tag()}} },
			dnskey:   func(w *world, p, _ provider) []merge.Key { return with(w.ksk, w.zsk.ID(), p.zsk) },
			entries:  func(w *world, _, q provider) []merge.Key { return with(w.ksk, q.ksk) },
		},
		"by tag, one known by its digest": {
			distrust: func(_ *world, p, _ provider) Distrust { return Distrust{Tags: []uint16{p.ksk.Tag()}} },
			edit:     func(_ *world, f *facts, p, _ provider) { f.state.Peers[0].Announcement.CDNSKEY = nil },
			dnskey:   func(w *world, p, q provider) []merge.Key { return with(w.ksk, w.zsk.ID(), p.zsk, q.zsk) },
			entries:  func(w *world, _, q provider) []merge.Key { return with(w.ksk, q.ksk) },
		},
		"by tag, a seeded one known by its digest": {
			distrust: func(_ *world, p, _ provider) Distrust { return Distrust{Tags: []uint16{p.ksk.Tag()}} },
			edit: func(_ *world, f *facts, p, _ provider) {
				f.state.Peers, f.state.Seed = f.state.Peers[1:], lifecycle.Seed{At: now, CDS: digestsOf(p.ksk)}
			},
			dnskey:  func(w *world, _, q provider) []merge.Key { return with(w.ksk, w.zsk.ID(), q.zsk) },
			entries: func(w *world, _, q provider) []merge.Key { return with(w.ksk, q.ksk) },
		},
		"by tag, one of ours": {
			distrust: func(w *world, _, _ provider) Distrust { return Distrust{Tags: []uint16{w.zsk.Tag()}} },
			dnskey:   func(w *world, p, q provider) []merge.Key { return with(w.ksk, p.zsk, q.zsk) },
			entries:  func(w *world, p, q provider) []merge.Key { return with(w.ksk, p.ksk, q.ksk) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p, q := newProvider(t), newProvider(t)
			w.zone.Distrust = Distrust{Hosts: []string{theirNS}}
			if tt.distrust != nil {
				w.zone.Distrust = tt.distrust(w, p, q)
			}
			f := newZone(w.zone).open().facts
			f.files, f.unknown, f.looked = []*keys.Key{w.ksk, w.zsk}, true, true
			f.state.Own = []store.Own{{Key: w.ksk.ID(), SecureEntry: true, SignsKeys: true, Published: now}, {Key: w.zsk.ID(), SignsData: true, Published: now}}
			f.state.Peers = []merge.Peer{{Host: theirNS, Announcement: p.announcement()}, {Host: theirNS2, Announcement: q.announcement()}}
			if tt.edit != nil {
				tt.edit(w, &f, p, q)
			}
			ours := merge.Local{DNSKEY: []merge.Key{w.ksk.ID(), w.zsk.ID()}, SecureEntry: []merge.Key{w.ksk.ID()}}
			f.state.Joint = merge.Union(zoneName, ours, append(slices.Clone(f.state.Peers), f.state.Seed.Peer()))
			d := decide(w.zone, f, now)
			want := merge.Announcement{CDNSKEY: tt.entries(w, p, q)}
			if tt.digests != nil {
				want.CDS = digestsOf(tt.digests(w, p, q)...)
			}
			expected := merge.Union(zoneName, merge.Local{DNSKEY: tt.dnskey(w, p, q)}, []merge.Peer{{Announcement: want}})
			if !reflect.DeepEqual(d.view.joint, expected) {
				t.Errorf("Expected %v, got %v", expected, d.view.joint)
			}
		})
	}
}

// A zone whose ZSK is gone is held as it was, but its KSK can sign that again. One
// whose KSK is gone has nothing but the signatures of what was.
func TestDistrustedKeysAreDroppedIfWhatIsHeldCanBeSigned(t *testing.T) {
	for name, gone := range map[string]func(*world) *keys.Key{
		"KSK": func(w *world) *keys.Key { return w.ksk },
		"ZSK": func(w *world) *keys.Key { return w.zsk },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.startSlow()
				w.join()
				w.pass(time.Hour)
				before := text(w.apex())
				n := w.crash()
				n.chain.down = nil
				n.zone.Distrust = Distrust{Hosts: []string{theirNS}}
				lost := *gone(w)
				lost.Base = filepath.Join(n.dir, filepath.Base(lost.Base))
				away := filepath.Join(n.t.TempDir(), "away")
				for _, end := range []string{".key", ".private"} {
					if err := os.Rename(lost.Base+end, away+end); err != nil {
						t.Fatal(err)
					}
				}
				e := n.startSlow()
				n.pass(time.Hour)
				n.expectReady(e, false)
				if lost.ID() == w.ksk.ID() {
					if got := text(n.apex()); got != before {
						t.Errorf("Expected the same octets as before, got\n%s\nwant\n%s", got, before)
					}
					expectLog(t, n.log, 1, "ERROR", "not dropped", theirNS, fmt.Sprintf("our key %d", lost.Tag()))
					expectLog(t, n.log, 0, "dropped as distrusted")
				} else {
					n.expectSets(with(w.ksk, w.zsk.ID()), with(w.ksk))
					expectSigned(t, n.apex().DNSKEY, w.ksk)
					expectSigned(t, n.apex().CDS, w.ksk)
					expectLog(t, n.log, 1, "WARNING", "dropped as distrusted")
				}
				for _, end := range []string{".key", ".private"} {
					if err := os.Rename(away+end, lost.Base+end); err != nil {
						t.Fatal(err)
					}
				}
				n.pass(time.Hour)
				n.expectKeys(with(w.ksk, w.zsk.ID()), with(w.ksk))
				expectLog(t, n.log, 1, "WARNING", "dropped as distrusted")
				n.expectReady(e, true)
			})
		})
	}
}

// What the plugins behind ours sign with a key of ours that is distrusted does not
// validate here, which is for an operator to know at once.
func TestZoneSignedWithADistrustedKeyIsNoReadyOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.startSlow()
		w.join()
		w.pass(time.Hour)
		w.expectReady(e, true)
		e.Stop()
		w.zone.Distrust.Tags = []uint16{w.zsk.Tag()}
		e = w.startSlow()
		w.pass(time.Minute)
		w.expectReady(e, false)
		expectLog(t, w.log, 1, "ERROR", fmt.Sprintf("its data is still signed with key %d, which is distrusted", w.zsk.Tag()))
		next := w.newKey(zoneName, 256)
		w.chain.change(true, func(c *chainZone) { c.signers = []*keys.Key{next} })
		w.pass(2 * time.Hour)
		w.expectReady(e, true)
	})
}

// Without any key left to sign with, it is said that distrust is the reason.
func TestDistrustedKeysAreNamedWhereNoneIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.startSlow().Stop()
		w.zone.Distrust.Tags = []uint16{w.ksk.Tag()}
		e := w.startSlow()
		if got := e.zones[0].announces().keys; !e.zones[0].announced || !slices.Equal(got.DNSKEY, []merge.Key{w.zsk.ID()}) || len(got.CDNSKEY) > 0 {
			t.Errorf("Expected the other key to be announced as before, got %v", got)
		}
		expectLog(t, w.log, 1, "ERROR", "it cannot be signed", fmt.Sprintf("(the distrust option names %d)", w.ksk.Tag()))
		expectLog(t, w.log, 1, "ERROR", "signing failed, and nothing can be served")
	})
}
