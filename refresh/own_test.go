package refresh

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/announce"
	"github.com/coredns-mske/mske/chain"
	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
)

// foreignKey returns a key that has no file: only the plugins behind mske have
// it.
func foreignKey(t *testing.T, flags uint16) *keys.Key {
	t.Helper()
	k, _ := generate(t, zoneName, flags)
	return k
}

// announcedKeys returns the DNSKEYs that are announced for the zone.
func announcedKeys(e *Engine) []merge.Key { return e.zones[0].announces().keys.DNSKEY }

func TestKeyOfTheChainIsServedAndAnnouncedUntilCachesForgotIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.startSlow()
		k := foreignKey(t, 256)
		w.chain.change(true, func(c *chainZone) { c.keys = append(c.keys, k) })
		w.pass(time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), k.ID()), with(w.ksk))
		if !slices.Contains(announcedKeys(e), k.ID()) {
			t.Error("Expected the key to be announced")
		}

		w.chain.change(true, func(c *chainZone) { c.keys = []*keys.Key{w.ksk, w.zsk} })
		w.pass(w.zone.MaxZoneTTL - time.Minute)
		w.expectKeys(with(w.ksk, w.zsk.ID(), k.ID()), with(w.ksk))
		if !slices.Contains(announcedKeys(e), k.ID()) {
			t.Error("Expected the key to be announced as long as it is served")
		}
		n := w.crash() // the hold survives
		n.startOnly()
		n.expectKeys(with(w.ksk, w.zsk.ID(), k.ID()), with(w.ksk))
		w.pass(time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID()), with(w.ksk))
	})
}

// The dnssec plugin may get another key without a new serial.
func TestZoneIsReadHourlyWhateverItsSerial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.startSlow()
		k := foreignKey(t, 256)
		w.chain.change(false, func(c *chainZone) { c.keys = append(c.keys, k) })
		w.pass(2 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), k.ID()), with(w.ksk))
	})
}

func TestKeyOfTheChainThatReappearsStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.startSlow()
		k := foreignKey(t, 256)
		for range 3 {
			w.chain.change(true, func(c *chainZone) { c.keys = []*keys.Key{w.ksk, w.zsk, k} })
			w.pass(time.Hour)
			w.chain.change(true, func(c *chainZone) { c.keys = []*keys.Key{w.ksk, w.zsk} })
			w.pass(w.zone.MaxZoneTTL - time.Hour)
			w.expectKeys(with(w.ksk, w.zsk.ID(), k.ID()), with(w.ksk))
		}
	})
}

func TestKeyOfAPeerInTheChainIsNotAnnouncedAsOurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.startSlow()
		k := foreignKey(t, 256)
		p := provider{newPublic(t, 257), k.ID()}
		w.join()
		w.peers.set(theirNS, announces(p.announcement()))
		w.pass(time.Hour)
		w.chain.change(true, func(c *chainZone) { c.keys = append(c.keys, k) })
		w.pass(time.Hour)
		if slices.Contains(announcedKeys(e), k.ID()) {
			t.Error("Expected the peer's key not to be announced")
		}
		// The peer drops it while the zone still holds it: then it is ours.
		w.peers.set(theirNS, announces(newProvider(t).announcement()))
		w.pass(3 * time.Hour)
		if !slices.Contains(announcedKeys(e), k.ID()) {
			t.Error("Expected the key to be announced")
		}
	})
}

func TestPeerThatCopiesOurKeyDoesNotSilenceUs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.startSlow()
		k := foreignKey(t, 256) // the chain signs with it; mske has no file of it
		w.chain.change(true, func(c *chainZone) { c.keys, c.signers = []*keys.Key{w.ksk, k}, []*keys.Key{k} })
		w.pass(time.Hour)
		p := provider{newPublic(t, 257), k.ID()}
		w.join()
		w.peers.set(theirNS, announces(p.announcement()))
		w.pass(3 * time.Hour)
		if !slices.Contains(announcedKeys(e), k.ID()) {
			t.Error("Expected our key to be announced on")
		}
	})
}

func TestZoneSignedWithUnknownKeysStaysAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.startSlow()
		p := w.join()
		w.pass(time.Hour)
		unknown := foreignKey(t, 256)
		w.chain.change(true, func(c *chainZone) { c.keys, c.signers = nil, []*keys.Key{unknown}; c.cns = nil })
		w.pass(time.Hour)
		more := p.announcement()
		more.DNSKEY = append(more.DNSKEY, newPublic(t, 256))
		w.peers.set(theirNS, announces(more))
		w.pass(3 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		w.expectReady(e, false)
		expectLog(t, w.log, 1, "ERROR", "is signed with key")

		w.chain.change(true, func(c *chainZone) { c.keys, c.signers = []*keys.Key{w.ksk, w.zsk}, []*keys.Key{w.zsk} })
		w.pass(time.Hour)
		w.expectKeys(with(w.ksk, append([]merge.Key{w.zsk.ID()}, more.DNSKEY...)...), with(w.ksk, p.ksk))
		w.expectReady(e, true)
		expectLog(t, w.log, 1, "no longer so", "is signed with key")
	})
}

func TestUnsignedZoneIsNotServedAtFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.chain.change(true, func(c *chainZone) { c.signers = []*keys.Key{foreignKey(t, 256)}; c.keys = nil })
		e := w.start()
		w.expectFailing()
		w.expectReady(e, false)
		if e.zones[0].announced {
			t.Error("Expected no key to be announced that is not served")
		}
	})
}

func TestUnreadableZoneKeepsItsTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.startSlow()
		p := w.join()
		w.pass(time.Hour)
		w.chain.change(true, func(c *chainZone) { c.down = errors.New("the backend is away") })
		w.pass(2 * day)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		w.expectReady(e, true)
		expectLog(t, w.log, 1, "WARNING", "could not be read")
		if len(w.peers.times(theirNS)) < 48 {
			t.Error("Expected the collections to go on")
		}
		w.chain.change(true, func(c *chainZone) { c.down = nil })
		w.pass(time.Hour)
		expectLog(t, w.log, 1, "INFO", "can be read again")
	})
}

func TestZoneWithoutKeysFailsAloneUntilTheyCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.removeKey(w.ksk)
		w.chain.change(true, func(c *chainZone) { c.keys = nil })
		e := w.start()
		w.expectFailing()
		w.expectReady(e, false)
		expectLog(t, w.log, 1, "ERROR", "no KSK or CSK of ours")

		w.ksk = w.newKey(zoneName, 257)
		w.pass(5 * time.Second)
		w.expectKeys(with(w.ksk, w.zsk.ID()), with(w.ksk))
		w.expectReady(e, true)
	})
}

func TestNewKeyFileTakesEffectWithinSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := w.start()
		k := w.newKey(zoneName, 256)
		w.pass(3 * time.Second)
		w.expectKeys(with(w.ksk, w.zsk.ID(), k.ID()), with(w.ksk))
		if !slices.Contains(announcedKeys(e), k.ID()) {
			t.Error("Expected the new key to be announced")
		}
	})
}

func TestRemovedDataKeyStaysUntilCachesForgotIt(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			second := w.newKey(zoneName, 256)
			w.chain.signers = append(w.chain.signers, second)
			w.startSlow()
			w.pass(time.Hour)
			n := w
			if restart {
				n = w.crash()
				n.chain.down = nil
			}
			n.chain.change(true, func(c *chainZone) { c.signers = c.signers[:1] })
			k := *second
			k.Base = filepath.Join(n.dir, filepath.Base(k.Base))
			n.removeKey(&k)
			if restart {
				n.startSlow()
			}
			n.pass(23 * time.Hour)
			n.expectKeys(with(w.ksk, w.zsk.ID(), second.ID()), with(w.ksk))
			n.pass(3 * time.Hour)
			n.expectKeys(with(w.ksk, w.zsk.ID()), with(w.ksk))
		})
	}
}

func TestRemovedDataKeyThatWasNeverUsedGoesWithinSeconds(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			second := w.newKey(zoneName, 256)
			w.start()
			w.expectKeys(with(w.ksk, w.zsk.ID(), second.ID()), with(w.ksk))
			n := w
			if restart {
				n = w.crash()
				n.chain.down = nil
			}
			k := *second
			k.Base = filepath.Join(n.dir, filepath.Base(k.Base))
			n.removeKey(&k)
			if restart {
				n.start()
			}
			n.pass(5 * time.Second)
			n.expectKeys(with(w.ksk, w.zsk.ID()), with(w.ksk))
		})
	}
}

func TestRemovedSecureEntryKeyIsServedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		old := w.ksk
		e := w.startSlow()
		w.pass(time.Hour)
		w.ksk = w.newKey(zoneName, 257)
		w.removeKey(old)
		w.pass(3 * week) // its private half is still in memory
		w.expectKeys(with(w.ksk, w.zsk.ID(), old.ID()), with(w.ksk, old.ID()))
		expectSigned(t, w.apex().DNSKEY, old)
		expectLog(t, w.log, 1, "its file has gone")
		w.expectReady(e, true)
	})
}

func TestSecureEntryKeyLostOverARestartIsServedToTheEndOfItsSignatures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.startSlow()
		w.join()
		w.pass(time.Hour)
		before := text(w.apex())

		n := w.crash()
		n.chain.down = nil
		n.peers.set(theirNS, announces(newProvider(t).announcement()))
		lost := *w.ksk
		lost.Base = filepath.Join(n.dir, filepath.Base(lost.Base))
		n.removeKey(&lost)
		n.ksk = n.newKey(zoneName, 257) // the operator thought this was how to roll
		e := n.startSlow()
		n.pass(8 * 24 * time.Hour)
		a := n.apex()
		expectSigned(t, a.DNSKEY, w.ksk)
		if len(a.DNSKEY.RRset.RRs()) != 3 {
			t.Errorf("Expected the keys that the signature is over, got\n%s, before\n%s", text(a), before)
		}
		n.expectReady(e, false)
		expectLog(t, n.log, 1, "ERROR", "put them back")

		n.pass(8 * 24 * time.Hour) // its signatures are over: it is in CDS no more
		if !slices.ContainsFunc(n.apex().DNSKEY.RRset.RRs(), func(rr dns.RR) bool { return merge.KeyOf(rr.(*dns.DNSKEY)) == w.ksk.ID() }) {
			t.Error("Expected the lost key to stay in DNSKEY")
		}
		for _, rr := range n.apex().CDNSKEY.RRset.RRs() {
			if merge.KeyOf(&rr.(*dns.CDNSKEY).DNSKEY) == w.ksk.ID() {
				t.Error("Expected a key that signs no more to leave CDS")
			}
		}
		expectSigned(t, n.apex().DNSKEY, n.ksk)

	})
}

func TestRestartWithoutAnyKeyServesStoredSignatures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.startSlow()
		w.join()
		w.pass(time.Hour)
		n := w.crash()
		for _, name := range []string{filepath.Base(w.ksk.Base), filepath.Base(w.zsk.Base)} {
			os.Remove(filepath.Join(n.dir, name+".key"))
			os.Remove(filepath.Join(n.dir, name+".private"))
		}
		e := n.startOnly()
		if got, want := text(n.apex()), text(w.apex()); got != want {
			t.Errorf("Expected what was served before, got\n%s\nwant\n%s", got, want)
		}
		n.pass(4 * time.Hour)
		if got, want := text(n.apex()), text(w.apex()); got != want {
			t.Errorf("Expected what was served before, got\n%s\nwant\n%s", got, want)
		}
		n.expectReady(e, false)
		want := merge.Announcement{DNSKEY: []merge.Key{w.zsk.ID()}, CDNSKEY: []merge.Key{w.ksk.ID()}, CDS: digestsOf(w.ksk.ID())}
		if got := e.zones[0].announces().keys; !reflect.DeepEqual(got, want) {
			t.Errorf("Expected what was announced before, got %v", got)
		}
	})
}

func TestChainSignerOutsideOurFilesNeedsItsKeyOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		k := foreignKey(t, 256)
		w.chain.change(true, func(c *chainZone) { c.keys, c.signers = []*keys.Key{k}, []*keys.Key{k} })
		e := w.start()
		// CDS is signed by a data key of ours, as k's private half is elsewhere.
		w.expectKeys(with(w.ksk, w.zsk.ID(), k.ID()), with(w.ksk))
		if data := w.apex().Data; len(data) != 1 || data[0].ID() != w.zsk.ID() {
			t.Errorf("Expected the corrected denials to be signed by %s, got %v", w.zsk, data)
		}
		w.expectReady(e, true)
	})
}

func TestDataIsSignedWithTheAlgorithmsOfTheZone(t *testing.T) {
	ecdsa, _ := generate(t, zoneName, 256)
	eddsa, _, err := keys.Generate(zoneName, dns.ED25519, 256, drawn)
	if err != nil {
		t.Fatal(err)
	}
	all := []*keys.Key{ecdsa, eddsa}
	o := ours{Schedule: keys.Schedule{DataSigning: all}, private: all}
	for _, tc := range []struct {
		name  string
		chain []merge.Key
		want  []*keys.Key
	}{
		{"one, with a key of ours", []merge.Key{ecdsa.ID()}, all[:1]},
		{"one, with another key", []merge.Key{newPublic(t, 256)}, all[:1]},
		{"both", []merge.Key{ecdsa.ID(), eddsa.ID()}, all},
		{"not known", nil, all},
	} {
		if got := o.dataSigners(tc.chain); !slices.Equal(got, tc.want) {
			t.Errorf("%s: expected %v, got %v", tc.name, tc.want, got)
		}
	}
}

func TestKeyWhoseFileIsPostponedStaysWhileCachesMayNeedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		second := w.newKey(zoneName, 256)
		w.chain.signers = append(w.chain.signers, second)
		w.startSlow()
		w.pass(time.Hour)
		w.chain.change(true, func(c *chainZone) { c.signers = c.signers[:1] })
		w.pass(time.Hour) // that is when rule K2's wait begins
		// dnssec-settime -P +30d, on a key that is in use.
		text, err := os.ReadFile(second.Base + ".private")
		if err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(30 * day).UTC().Format("20060102150405")
		if err := os.WriteFile(second.Base+".private", append(text, []byte("Publish: "+at+"\n")...), 0o600); err != nil {
			t.Fatal(err)
		}
		w.pass(22 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID(), second.ID()), with(w.ksk))
		w.pass(4 * time.Hour)
		w.expectKeys(with(w.ksk, w.zsk.ID()), with(w.ksk))
	})
}

// A ZSK signs only once every nameserver has had it for the DNSKEY TTL, though its file
// says now, and that of the one before that it is to stop.
func TestDataIsSignedWithAKeyThatCachesHave(t *testing.T) {
	for name, whole := range map[string]bool{"a delegated signaling zone": true, "a zone that is signed elsewhere": false} {
		w := newWorld(t)
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		long := now.Add(-1000 * time.Hour)
		old, next, elsewhere := *w.zsk, *foreignKey(t, 256), foreignKey(t, 256)
		old.Timing = keys.Timing{Created: long, Publish: long, Activate: long, Inactive: now.Add(-time.Minute)}
		next.Timing = keys.Timing{Created: now.Add(-time.Hour), Publish: now.Add(-2 * time.Minute), Activate: now.Add(-time.Minute)}
		w.zone.Whole = whole
		f := newZone(w.zone).open().facts
		f.files, f.looked = []*keys.Key{w.ksk, &old}, true
		if !whole {
			look := chain.Look{Keys: []merge.Key{elsewhere.ID()}, Signers: []merge.Key{elsewhere.ID()}}
			f.state.Signers, f.state.Own = look.Signers, observeOwn(nil, look, long)
		}
		plan := func(at time.Time) ours {
			o := planOwn(w.zone, f, at)
			f.state.Own = o.marks
			return o
		}
		plan(now.Add(-time.Hour)) // it signs
		f.files = append(f.files, &next)
		f.state.Life.Keys = []lifecycle.Key{{Key: old.ID(), Everywhere: long, KnownFrom: long}, {Key: next.ID()}}
		o := plan(now)
		if got := ids(o.dataSigners(f.state.Signers)); !slices.Equal(got, []merge.Key{old.ID()}) {
			t.Errorf("%s: expected %s to sign as long as caches may not have %s, got %v", name, &old, &next, got)
		}
		f.state.Life.Keys[1].KnownFrom = now.Add(time.Hour)
		o = plan(now.Add(time.Hour))
		if got := ids(o.dataSigners(f.state.Signers)); !slices.Equal(got, []merge.Key{next.ID()}) {
			t.Errorf("%s: expected %s to sign once they have it, got %v", name, &next, got)
		}
	}
}

// A KSK that had to sign data, as there was no other key for a while, is one again once
// caches have forgotten that.
func TestAKSKThatSignedDataIsOneAgain(t *testing.T) {
	w := newWorld(t)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f := newZone(w.zone).open().facts
	f.looked = true
	zsk := w.zsk.ID()
	f.state.Signers = []merge.Key{zsk}
	f.state.Own = observeOwn(nil, chain.Look{Keys: f.state.Signers, Signers: f.state.Signers}, now)
	role := func(distrusted bool, at time.Time) keys.Role {
		f.files = []*keys.Key{w.ksk, w.zsk}
		w.zone.Distrust.Tags = nil
		if distrusted {
			w.zone.Distrust.Tags = []uint16{w.zsk.Tag()}
		}
		o := planOwn(w.zone, f, at)
		f.state.Own = o.marks
		return o.roles()[w.ksk.ID()]
	}
	for _, step := range []struct {
		distrusted bool
		after      time.Duration
		want       keys.Role
	}{
		{false, 0, keys.KSK}, {true, time.Hour, keys.CSK}, {false, 2 * time.Hour, keys.CSK},
		{false, 25 * time.Hour, keys.CSK}, {false, 27 * time.Hour, keys.KSK},
	} {
		role(step.distrusted, now.Add(step.after)) // which marks what it is used for
		if got := role(step.distrusted, now.Add(step.after)); got != step.want {
			t.Errorf("After %v: expected a %s, got a %s", step.after, step.want, got)
		}
	}
}

// The last key of a delegated signaling zone signs on after its time. Once there is
// another one, what it signed until then is in caches, and validates there.
func TestASignerThatIsReplacedStaysWhileCachesMayNeedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.online()
		z := w.withSignaling()
		old, private := generate(t, z.Name, 256)
		writeKey(t, w.dir, old, private+"Inactive: 19991230000000\nDelete: 19991231000000\n")
		w.startMinutely()
		w.pass(48 * time.Hour)
		owner, err := announce.Name(zoneName, ourNS)
		if err != nil {
			t.Fatal(err)
		}
		signer := func() (tag uint16) {
			for _, rr := range w.query(owner, dns.TypeCDS) {
				if sig, ok := rr.(*dns.RRSIG); ok {
					tag = sig.KeyTag
				}
			}
			return tag
		}
		published := func(tag uint16) bool {
			return slices.ContainsFunc(w.query(z.Name, dns.TypeDNSKEY), func(rr dns.RR) bool {
				k, ok := rr.(*dns.DNSKEY)
				return ok && k.KeyTag() == tag
			})
		}
		next := w.newKey(z.Name, 256)
		w.pass(2 * time.Minute)
		if signer() != old.Tag() || !published(old.Tag()) || !published(next.Tag()) {
			t.Fatalf("Expected %s to sign on while no cache has %s, got signatures by %d", old, next, signer())
		}
		for waited := 0; signer() != next.Tag(); waited++ {
			if waited > 48 {
				t.Fatalf("Expected %s to sign once it is everywhere", next)
			}
			w.pass(time.Hour)
		}
		w.pass(w.zone.MaxZoneTTL - 2*time.Hour)
		if !published(old.Tag()) {
			t.Error("Expected the key that signed until lately to be published as long as caches may hold what it signed")
		}
		w.pass(4 * time.Hour)
		if published(old.Tag()) {
			t.Error("Expected it to go then")
		}
	})
}

// Only we can do something about it, and nobody else can tell us.
func TestMoreKeysThanOthersTakeAreWarnedOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for range fetch.MaxKeys - 1 {
			w.newKey(zoneName, 256)
		}
		w.start()
		expectLog(t, w.log, 0, "other providers refuse")
		w.newKey(zoneName, 256)
		w.pass(5 * time.Second)
		expectLog(t, w.log, 1, "WARNING", "9 keys of one kind are announced, and other providers refuse more than 8")
	})
}

// Key files are looked at twice a second, and what is found is written at once: so
// there is time left of the two seconds in which a fleet's new key is to be served,
// for listing its files and for the disk.
func TestNewKeyIsServedWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		published := with(w.ksk, w.zsk.ID())
		for _, after := range []time.Duration{0, 130 * time.Millisecond, 290 * time.Millisecond, 410 * time.Millisecond} {
			w.pass(after)
			published = append(published, w.newKey(zoneName, 256).ID())
			w.pass(750 * time.Millisecond)
			w.expectKeys(published, with(w.ksk))
			w.pass(time.Minute)
		}
	})
}
