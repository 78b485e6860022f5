package refresh

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/announce"
	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/store"
)

// expectSets holds that DNSKEY and CDNSKEY are exactly these keys.
func (w *world) expectSets(dnskey, entries []merge.Key) {
	w.t.Helper()
	a := w.apex()
	expectSet(w.t, "DNSKEY", a.DNSKEY, dnskey, keyOf)
	expectSet(w.t, "CDNSKEY", a.CDNSKEY, entries, func(rr dns.RR) merge.Key { return merge.KeyOf(&rr.(*dns.CDNSKEY).DNSKEY) })
}

// The old KSK's files are removed at once. It goes as DS and caches allow, and
// not before, even over a restart that leaves nothing of it but signatures.
func TestAKSKIsRolledByItsFilesAlone(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			n := w.online()
			w.chain.change(true, func(c *chainZone) { c.keys = nil })
			e := w.startMinutely()
			w.pass(30 * time.Hour)
			next := w.newKey(zoneName, 257)
			w.pass(10 * time.Minute)
			w.expectSets([]merge.Key{w.ksk.ID(), next.ID(), w.zsk.ID()}, []merge.Key{w.ksk.ID(), next.ID()})
			w.removeKey(w.ksk)
			w.pass(10 * time.Minute)
			w.expectSets([]merge.Key{w.ksk.ID(), next.ID(), w.zsk.ID()}, []merge.Key{w.ksk.ID(), next.ID()})
			expectLog(t, w.log, 1, "its file has gone, but it stays in DNSKEY and CDS and signs", "does not name key")
			if restart {
				e.Stop()
				e = w.startMinutely()
				w.expectSets([]merge.Key{w.ksk.ID(), next.ID(), w.zsk.ID()}, []merge.Key{w.ksk.ID(), next.ID()})
				w.expectReady(e, false)
			}
			n.change(func(n *internet) { n.ds = digestsOf(w.ksk.ID(), next.ID()) })
			w.pass(2 * time.Hour)
			if !restart {
				w.expectSets([]merge.Key{w.ksk.ID(), next.ID(), w.zsk.ID()}, []merge.Key{next.ID()})
			}
			n.change(func(n *internet) { n.ds = digestsOf(next.ID()) })
			w.pass(4 * time.Hour)
			w.expectSets([]merge.Key{next.ID(), w.zsk.ID()}, []merge.Key{next.ID()})
			w.expectReady(e, true)
		})
	}
}

// The others go by what we announced while we were one of the zone's.
func TestALeaverRollsNoSecureEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		w.chain.change(true, func(c *chainZone) { c.keys = nil })
		e, p := w.complete(n)
		next := w.newKey(zoneName, 257)
		n.change(func(n *internet) { n.ds = digestsOf(w.ksk.ID(), next.ID(), p.ksk) })
		w.pass(30 * time.Hour)
		w.chain.change(true, func(c *chainZone) { c.cns = []string{theirNS} })
		n.delegate(theirNS)
		w.until(e, lifecycle.Left, 3*time.Hour)
		w.removeKey(w.ksk)
		w.pass(20 * time.Hour)
		w.expectSets([]merge.Key{w.ksk.ID(), next.ID(), w.zsk.ID(), p.zsk}, []merge.Key{w.ksk.ID(), next.ID(), p.ksk})
		expectLog(t, w.log, 1, "stays in DNSKEY and CDS and signs: our nameservers are none of the zone's any more")
	})
}

func TestTheLastKeyInDSStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.online()
		e := w.startMinutely()
		next := w.newKey(zoneName, 257)
		w.removeKey(w.ksk)
		w.pass(4 * 24 * time.Hour)
		w.expectSets([]merge.Key{w.ksk.ID(), next.ID(), w.zsk.ID()}, []merge.Key{w.ksk.ID(), next.ID()})
		if r := w.report(e); len(r.Keys) == 0 {
			t.Error("Expected our keys in the report")
		}
	})
}

func TestANewZSKMaySignOnceEveryCacheHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		e, p := w.complete(n)
		next := w.newKey(zoneName, 256)
		published := time.Now()
		w.pass(10 * time.Minute)
		report := func() lifecycle.KeyReport {
			t.Helper()
			r := w.report(e)
			i := slices.IndexFunc(r.Keys, func(k lifecycle.KeyReport) bool { return k.Key == next.ID() })
			if i < 0 {
				t.Fatalf("Expected key %d to be reported, got %+v", next.Tag(), r.Keys)
			}
			return r.Keys[i]
		}
		if k := report(); !k.Everywhere.IsZero() || !k.SignFrom.IsZero() {
			t.Errorf("Expected a key that the peer lacks not to be everywhere, got %+v", k)
		}
		n.change(func(n *internet) { n.hosts[theirNS].dnskey = append(n.hosts[theirNS].dnskey, next.ID()) })
		w.pass(2 * time.Hour)
		if k := report(); k.Everywhere.Before(published) || !k.SignFrom.Equal(k.Everywhere.Add(time.Hour)) {
			t.Errorf("Expected the key to be everywhere, got %+v", k)
		}
		expectLog(t, w.log, 1, "is at every nameserver", "may sign")
		w.expectPhase(e, lifecycle.Complete)
		_ = p
	})
}

func TestWhenAKeyMayTakeItsNextStepIsSaidOnce(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	old, k := merge.Key{PublicKey: "b2xk"}, merge.Key{PublicKey: "bmV3"}
	since := lifecycle.KeyReport{Key: k, Everywhere: now, SignFrom: now.Add(time.Hour)}
	over := lifecycle.KeyReport{Key: k, Everywhere: now.Add(-2 * time.Hour), SignFrom: now.Add(-time.Hour)}
	ds := lifecycle.KeyReport{Key: k, InDS: now, InDSFrom: now.Add(time.Hour)}
	first := lifecycle.Report{}
	of := func(ks ...lifecycle.KeyReport) lifecycle.Report {
		return lifecycle.Report{Phase: lifecycle.Complete, Keys: ks}
	}
	for name, tt := range map[string]struct {
		was  lifecycle.Report
		is   lifecycle.KeyReport
		want int
	}{
		"it came before the last decision":  {of(lifecycle.KeyReport{Key: k}), since, 1},
		"it came with the last decision":    {of(), since, 1},
		"it is said already":                {of(since), since, 0},
		"not everywhere":                    {of(), lifecycle.KeyReport{Key: k}, 0},
		"a start in the middle of its wait": {first, since, 1},
		"a start after its wait":            {first, over, 0},
		"DS, and it came just now":          {of(), ds, 1},
		"DS, at a start":                    {first, ds, 1},
		"DS, said already":                  {of(ds), ds, 0},
	} {
		z := newZone(&Zone{Name: zoneName})
		l := new(logbook)
		z.log = l
		z.open().facts.state.Own = []store.Own{{Key: old, Published: now.Add(-week)}, {Key: k, Published: now.Add(-time.Minute)}}
		z.open().outside.report = of(tt.is)
		z.reportKeys(tt.was, now)
		if got := l.count("our key"); got != tt.want {
			t.Errorf("%s: expected %d lines, got %q", name, tt.want, l.lines)
		}
	}
}

func TestAWaitForAKeyIsSaidAgainAtAStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		e, _ := w.complete(n)
		next := w.newKey(zoneName, 256)
		n.change(func(n *internet) { n.hosts[theirNS].dnskey = append(n.hosts[theirNS].dnskey, next.ID()) })
		w.pass(5 * time.Minute)
		expectLog(t, w.log, 1, "is at every nameserver", "may sign")
		e.Stop()
		w.startMinutely()
		w.pass(3 * time.Hour)
		expectLog(t, w.log, 2, "is at every nameserver", "may sign")
	})
}

func TestDistrustedKeysAreDroppedAtOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		distrust func(w *world, p provider) Distrust
		dnskey   func(w *world, p provider) []merge.Key
		entries  func(w *world, p provider) []merge.Key
	}{
		"all of a host": {
			func(*world, provider) Distrust { return Distrust{Hosts: []string{theirNS}} },
			func(w *world, _ provider) []merge.Key { return with(w.ksk, w.zsk.ID()) },
			func(w *world, _ provider) []merge.Key { return with(w.ksk) },
		},
		"a peer's KSK": {
			func(_ *world, p provider) Distrust { return Distrust{Tags: []uint16{p.ksk.Tag()}} },
			func(w *world, p provider) []merge.Key { return with(w.ksk, w.zsk.ID(), p.zsk) },
			func(w *world, _ provider) []merge.Key { return with(w.ksk) },
		},
		"a peer's ZSK": {
			func(_ *world, p provider) Distrust { return Distrust{Tags: []uint16{p.zsk.Tag()}} },
			func(w *world, _ provider) []merge.Key { return with(w.ksk, w.zsk.ID()) },
			func(w *world, p provider) []merge.Key { return with(w.ksk, p.ksk) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				n := w.online()
				e, p := w.complete(n)
				e.Stop()
				w.zone.Distrust = tt.distrust(w, p)
				e = w.startMinutely()
				w.expectKeys(tt.dnskey(w, p), tt.entries(w, p))
				expectLog(t, w.log, 1, "WARNING", "dropped as distrusted")
				asked := len(w.peers.times(theirNS))
				w.pass(3 * time.Hour)
				w.expectKeys(tt.dnskey(w, p), tt.entries(w, p))
				if again := len(w.peers.times(theirNS)); len(w.zone.Distrust.Hosts) > 0 && again != asked {
					t.Error("Expected a distrusted host not to be asked")
				}
				e.Stop()
				w.zone.Distrust = Distrust{}
				w.startMinutely()
				w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
			})
		})
	}
}

func TestAnOwnKeyThatIsDistrustedIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.online()
		next := w.newKey(zoneName, 257)
		e := w.startMinutely()
		w.expectSets([]merge.Key{w.ksk.ID(), next.ID(), w.zsk.ID()}, []merge.Key{w.ksk.ID(), next.ID()})
		e.Stop()
		w.zone.Distrust = Distrust{Tags: []uint16{next.Tag()}}
		e = w.startMinutely()
		w.expectSets(with(w.ksk, w.zsk.ID()), with(w.ksk))
		w.expectReady(e, true)
	})
}

func TestCDSDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		e := w.startMinutely()
		e.Stop()
		w.zone.DeleteDS = true
		e = w.startMinutely()
		deleted := func() {
			t.Helper()
			a := w.apex()
			cds, cdnskey := a.CDS.RRset, a.CDNSKEY.RRset
			if cds == nil || len(cds.RRs()) != 1 || cds.RRs()[0].(*dns.CDS).Algorithm != 0 || cds.RRs()[0].(*dns.CDS).Digest != "00" ||
				cdnskey == nil || len(cdnskey.RRs()) != 1 || cdnskey.RRs()[0].(*dns.CDNSKEY).Algorithm != 0 || cdnskey.RRs()[0].(*dns.CDNSKEY).PublicKey != "AA==" {
				t.Fatalf("Expected the sentinel of RFC 8078 alone, got\n%s", text(a))
			}
			expectSigned(t, a.CDS, w.ksk, w.zsk)
			expectSigned(t, a.CDNSKEY, w.ksk, w.zsk)
			expectSet(t, "DNSKEY", a.DNSKEY, with(w.ksk, w.zsk.ID()), keyOf)
		}
		deleted()
		expectLog(t, w.log, 1, "WARNING", "ask the parent to remove DS")
		e.Stop()
		e = w.startOnly()
		deleted()
		n.change(func(n *internet) { n.absent = true })
		w.pass(3 * time.Hour)
		deleted()

		p := w.join()
		w.pass(time.Minute)
		w.expectKeys(with(w.ksk, w.zsk.ID(), p.zsk), with(w.ksk, p.ksk))
		expectLog(t, w.log, 1, "ERROR", "cds delete is not carried out")
		_ = e
	})
}

func TestBootstrappingIsAnnouncedWhileThereIsNoDS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		w.withSignaling()
		n.change(func(n *internet) { n.absent = true })
		e := w.startMinutely()
		w.expectBoot(w.ksk.ID())
		p := w.join()
		n.alone(theirNS, p)
		w.until(e, lifecycle.Insecure, time.Hour)
		w.pass(time.Hour)
		w.expectBoot() // not all nameservers serve the joint sets
		n.serves(theirNS, p)
		w.pass(2 * time.Hour)
		w.expectBoot(w.ksk.ID(), p.ksk)
		n.change(func(n *internet) { n.absent, n.ds = false, digestsOf(w.ksk.ID(), p.ksk) })
		w.pass(2 * time.Hour)
		w.expectBoot()
	})
}

// expectBoot holds that CDS and CDNSKEY of exactly these keys are announced for
// bootstrapping.
func (w *world) expectBoot(want ...merge.Key) {
	w.t.Helper()
	name, err := announce.BootName(zoneName, ourNS)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, qtype := range []uint16{dns.TypeCDS, dns.TypeCDNSKEY} {
		var got []merge.DS
		for _, rr := range w.query(name, qtype) {
			switch rr := rr.(type) {
			case *dns.CDS:
				got = append(got, merge.DSOf(&rr.DS))
			case *dns.CDNSKEY:
				got = append(got, digestsOf(merge.KeyOf(&rr.DNSKEY))...)
			}
		}
		for _, d := range digestsOf(want...) {
			if !slices.Contains(got, d) {
				w.t.Errorf("Expected key %d in %s at %s, got %v", d.KeyTag, dns.Type(qtype), name, got)
			}
		}
		if len(got) != len(want) {
			w.t.Errorf("Expected %d records of %s at %s, got %v", len(want), dns.Type(qtype), name, got)
		}
	}
}

// When an old key may go is said once, and again after a start in the middle of
// the wait; of a key that no other came after, it is not said at all.
func TestWhenAKeyMayGoIsSaidOnce(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	old, k := merge.Key{PublicKey: "b2xk"}, merge.Key{PublicKey: "bmV3"}
	of := func(k merge.Key, from time.Time) lifecycle.Report {
		return lifecycle.Report{Phase: lifecycle.Complete, Keys: []lifecycle.KeyReport{{Key: k, GoFrom: from}}}
	}
	for name, tt := range map[string]struct {
		was, is lifecycle.Report
		want    int
	}{
		"it may, from later":                   {of(old, time.Time{}), of(old, now.Add(time.Hour)), 1},
		"it may now":                           {of(old, time.Time{}), of(old, now), 1},
		"as things are it may not":             {of(old, now), of(old, time.Time{}), 0},
		"it is said already":                   {of(old, now), of(old, now.Add(time.Second)), 0},
		"a start in the middle of its wait":    {lifecycle.Report{}, of(old, now.Add(time.Hour)), 1},
		"a start after its wait":               {lifecycle.Report{}, of(old, now), 0},
		"another may take the new one's place": {of(k, time.Time{}), of(k, now.Add(time.Hour)), 0},
	} {
		z := newZone(&Zone{Name: zoneName})
		l := new(logbook)
		z.log = l
		z.open().facts.state.Own = []store.Own{{Key: old, Published: now.Add(-week)}, {Key: k, Published: now.Add(-time.Minute)}}
		z.open().outside.report = tt.is
		z.reportExits(tt.was, now)
		if got := l.count("may go from"); got != tt.want {
			t.Errorf("%s: expected %d lines, got %q", name, tt.want, l.lines)
		}
	}
}

// A whole roll of the ZSK and of the KSK, in what is told of the keys.
func TestEachStepOfARollIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		e, _ := w.complete(n)
		told := func(k merge.Key) (r lifecycle.KeyReport, role string) {
			t.Helper()
			found := false
			e.Tell(zoneName, func(_ *Zone, t Told) {
				for _, r2 := range t.Keys {
					if r2.Key == k {
						r, role, found = r2, t.Roles[k].String(), true
					}
				}
			})
			if !found {
				t.Fatalf("Expected key %d to be told of", k.Tag())
			}
			return r, role
		}
		if k, role := told(w.zsk.ID()); role != "ZSK" || !k.Signs || !k.GoFrom.IsZero() {
			t.Errorf("Expected the only ZSK to sign, got %s %+v", role, k)
		}
		if k, role := told(w.ksk.ID()); role != "KSK" || k.Signs || k.InDS.IsZero() || !k.GoFrom.IsZero() {
			t.Errorf("Expected the only KSK in DS to stay, got %s %+v", role, k)
		}
		next := w.newKey(zoneName, 256)
		n.change(func(n *internet) { n.hosts[theirNS].dnskey = append(n.hosts[theirNS].dnskey, next.ID()) })
		w.pass(3 * time.Hour)
		if k, role := told(next.ID()); role != "ZSK" || k.Signs || k.Everywhere.IsZero() || k.SignFrom.IsZero() {
			t.Errorf("Expected the new ZSK to be everywhere, got %s %+v", role, k)
		}
		w.chain.change(true, func(c *chainZone) { c.keys, c.signers = nil, []*keys.Key{next} })
		w.pass(2 * time.Minute)
		changed := time.Now()
		if k, _ := told(next.ID()); !k.Signs {
			t.Errorf("Expected the new ZSK to sign, got %+v", k)
		}
		if k, _ := told(w.zsk.ID()); k.Signs || k.GoFrom.Sub(changed).Abs() < w.zone.MaxZoneTTL-5*time.Minute {
			t.Errorf("Expected the old ZSK to stay for %v, got %+v", w.zone.MaxZoneTTL, k)
		}
		expectLog(t, w.log, 1, "INFO", "may go from")
	})
}

// What is told of a zone holds what it was warned of, as long as it is so.
func TestWarningsAreToldWhileTheyLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.online()
		e, _ := w.complete(n)
		warnings := func() (all []string) {
			e.Tell("", func(_ *Zone, t Told) { all = append(all, t.Warnings...) })
			return all
		}
		if got := warnings(); len(got) > 0 {
			t.Errorf("Expected nothing to be warned of, got %q", got)
		}
		n.change(func(n *internet) { n.down = true })
		w.pass(6 * time.Hour)
		if got := warnings(); len(got) != 1 || !strings.Contains(got[0], "cannot be read") {
			t.Errorf("Expected the parent to be warned of, got %q", got)
		}
		n.change(func(n *internet) { n.down = false })
		w.pass(6 * time.Hour)
		if got := warnings(); len(got) > 0 {
			t.Errorf("Expected nothing to be warned of any more, got %q", got)
		}
	})
}
