package serve

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/merge"
)

const (
	host    = "ns1.provider-a.net."
	domain  = "_signal.ns1.provider-a.net."
	inZone  = "provider-a.net."
	another = "example.org."
)

// fixture is a subtree with its keys and what it has to answer.
type fixture struct {
	*provider
	config    SubtreeConfig
	announced []Announced
	params    Params
	apex      *Apex
	view      *Subtree
	online    *Online
	soa       []dns.RR // with RRSIGs
}

func newFixture(t testing.TB, delegated bool, zones ...string) *fixture {
	t.Helper()
	f := &fixture{config: SubtreeConfig{NS: host, Zone: inZone, TTL: 3600}, online: NewOnline(1000, 1e6), params: Params{TTL: 3600, Now: now}}
	if delegated {
		f.config.Zone, f.config.Delegated, f.config.Serial = domain, true, 7
	}
	f.provider = newProvider(t, f.config.Zone)
	f.joint = merge.Union(f.zone, merge.Local{DNSKEY: []merge.Key{f.ksk.ID(), f.zsk.ID()}, SecureEntry: []merge.Key{f.ksk.ID()}}, nil)
	soa := &dns.SOA{
		Hdr: dns.RR_Header{Name: inZone, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 3600},
		Ns:  host, Mbox: "hostmaster.provider-a.net.", Serial: 1, Minttl: 120,
	}
	if delegated {
		f.apex = f.provider.sign(t, f.params, nil)
	} else {
		sigs, err := keys.Sign([]dns.RR{soa}, []*keys.Key{f.zsk}, now.Add(-time.Hour), now.Add(day))
		if err != nil {
			t.Fatal(err)
		}
		f.soa = []dns.RR{soa, sigs[0]}
	}
	for _, name := range zones {
		f.announced = append(f.announced, announcement(t, name))
	}
	f.build(t)
	return f
}

// shared are keys to announce; drawing some for every zone takes long.
var shared = func() (ks []merge.Key) {
	for i := range 8 {
		ks = append(ks, merge.Key{Flags: 256 | uint16(i&1), Protocol: 3, Algorithm: dns.ED25519, PublicKey: fmt.Sprintf("%042dA=", i)})
	}
	return ks
}()

func announcement(t testing.TB, name string) Announced {
	ksk, zsk := shared[1], shared[0]
	ds, ok := ksk.DS(name, dns.SHA256)
	if !ok {
		t.Fatalf("Expected a digest of %v", ksk)
	}
	return Announced{Zone: name, TTL: 600, Announcement: merge.Announcement{
		DNSKEY: []merge.Key{zsk}, CDNSKEY: []merge.Key{ksk}, CDS: []merge.DS{ds}, TTL: time.Hour,
	}}
}

// build builds the view anew, out of what it was.
func (f *fixture) build(t testing.TB) {
	t.Helper()
	view, err := BuildSubtree(f.config, f.announced, f.signers(), f.apex, f.params, f.view)
	if err != nil {
		t.Fatal(err)
	}
	f.view = view
}

func (f *fixture) askSOA() ([]dns.RR, error) { return f.soa, nil }

func (f *fixture) reply(t testing.TB, r *dns.Msg) *dns.Msg {
	t.Helper()
	m, err := f.view.Reply(r, f.online, f.askSOA, f.params.Now)
	if err != nil {
		t.Fatalf("%v: %v", r.Question, err)
	}
	return m
}

// world returns what f has to answer, made from what went in alone.
func (f *fixture) world() *world {
	w := &world{domain: domain, zone: f.zone, delegated: f.config.Delegated, records: make(map[string]map[uint16][]dns.RR)}
	w.v = validator{zone: f.zone, now: f.params.Now, by: func(owner string, qtype uint16) []*keys.Key {
		if f.config.Delegated && sameName(owner, domain) && slices.Contains(apexTypes, qtype) {
			return f.by(qtype)
		}
		return []*keys.Key{f.zsk}
	}}
	for _, a := range f.announced {
		name := "_multi." + a.Zone + domain
		sets := make(map[uint16][]dns.RR)
		for _, k := range a.Announcement.DNSKEY {
			sets[dns.TypeDNSKEY] = append(sets[dns.TypeDNSKEY], k.DNSKEY(name, a.TTL))
		}
		for _, k := range a.Announcement.CDNSKEY {
			sets[dns.TypeCDNSKEY] = append(sets[dns.TypeCDNSKEY], k.CDNSKEY(name, a.TTL))
		}
		for _, d := range a.Announcement.CDS {
			sets[dns.TypeCDS] = append(sets[dns.TypeCDS], d.CDS(name, a.TTL))
		}
		w.records[name] = sets
	}
	if !f.config.Delegated {
		w.soa = f.soa[0].(*dns.SOA)
		return w
	}
	h := func(rrtype uint16, ttl uint32) dns.RR_Header {
		return dns.RR_Header{Name: domain, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl}
	}
	w.soa = &dns.SOA{Hdr: h(dns.TypeSOA, 300), Ns: host, Mbox: "hostmaster." + host, Serial: f.config.Serial, Refresh: 3600, Retry: 600, Expire: 1209600, Minttl: 300}
	w.records[domain] = map[uint16][]dns.RR{
		dns.TypeSOA: {w.soa}, dns.TypeNS: {&dns.NS{Hdr: h(dns.TypeNS, 3600), Ns: host}},
	}
	for _, qtype := range apexTypes {
		if f.apex.Set(qtype).Answer == Served {
			w.records[domain][qtype] = f.provider.records(qtype, 3600)
		}
	}
	return w
}

// check asks and judges.
func (f *fixture) check(t testing.TB, w *world, r *dns.Msg) {
	t.Helper()
	m, err := f.view.Reply(r, f.online, f.askSOA, f.params.Now)
	if errors.Is(err, ErrNext) && f.config.Delegated && r.Question[0].Qtype == dns.TypeDS && sameName(r.Question[0].Name, domain) {
		m, err = f.view.DSDenial(r), nil
	}
	if err != nil {
		t.Errorf("%v: %v", r.Question, err)
		return
	}
	if err := w.judge(t, r, m); err != nil {
		t.Errorf("%v: %v in\n%v", r.Question, err, m)
	}
}

// both runs a test in a larger zone and in a delegated one.
func both(t *testing.T, test func(t *testing.T, delegated bool)) {
	t.Run("in a zone", func(t *testing.T) { test(t, false) })
	t.Run("delegated", func(t *testing.T) { test(t, true) })
}

func TestEveryKindOfNameIsAnsweredProvably(t *testing.T) {
	both(t, func(t *testing.T, delegated bool) {
		f := newFixture(t, delegated, zone, "example.net.", "deep.er.example.net.", `a\.b\000.example.net.`)
		w := f.world()
		for _, name := range []string{
			domain, "uk." + domain, "co.uk." + domain, zone + domain, "net." + domain, `example.net.` + domain, // empty non-terminals or the apex
			"_multi." + zone + domain, "_multi.example.net." + domain, `_multi.a\.b\000.example.net.` + domain,
			"_multi." + domain, "a._multi." + zone + domain, "_multi._multi." + zone + domain, "org." + domain, "*." + domain, "*.co.uk." + domain,
			`\000.` + domain, `\255.` + domain, "_multj." + zone + domain, "_multi.b.example.net." + domain, "x.y.z." + domain, "_dsboot." + zone + domain,
		} {
			for _, spelt := range []string{name, strings.ToUpper(name)} {
				for _, qtype := range []uint16{
					dns.TypeA, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeDNSKEY, dns.TypeDS, dns.TypeSOA, dns.TypeNS, dns.TypeNSEC, dns.TypeRRSIG,
					dns.TypeANY, dns.TypeNXNAME, dns.TypeAXFR, dns.TypeIXFR, dns.TypeCNAME, dns.TypeNSEC3PARAM, 65302,
				} {
					f.check(t, w, question(spelt, qtype, true, false))
					f.check(t, w, question(spelt, qtype, true, true))
					f.check(t, w, question(spelt, qtype, false, false))
					f.check(t, w, question(spelt, qtype, false, true))
				}
			}
		}
	})
}

// randomZone draws a zone out of few labels, so that zones nest.
func randomZone(rng *rand.Rand) string {
	labels := []string{"a", "b", "aa", `\000`, `\255`, "*", `a\000`, `a\.b`, "_multi", "_signal", "-", "co", "uk", "example", "*a"}
	var name string
	for range 1 + rng.IntN(4) {
		name += labels[rng.IntN(len(labels))] + "."
	}
	return name
}

// randomName draws a name at or below domain, near those of w.
func randomName(rng *rand.Rand, w *world) string {
	name := domain
	if owners := slices.Sorted(mapsKeys(w.records)); len(owners) > 0 && rng.IntN(4) > 0 {
		name = owners[rng.IntN(len(owners))]
	}
	for rng.IntN(3) == 0 && !sameName(name, domain) {
		name = parent(name)
	}
	switch rng.IntN(4) {
	case 0:
		name = strings.TrimSuffix(randomZone(rng), ".") + "." + name
	case 1:
		if next, err := successor(name); err == nil && below(next, domain) {
			name = next
		}
	case 2:
		if len(labelsOf(name)) > len(labelsOf(domain)) {
			name = []string{"!", `\255`, "zz"}[rng.IntN(3)] + name
		}
	}
	if !fits(name) || !below(name, domain) {
		return domain
	}
	for _, label := range dns.SplitDomainName(name) {
		if len(label) > 40 {
			return domain
		}
	}
	if rng.IntN(2) == 0 {
		name = strings.ToUpper(name)
	}
	// As from the wire.
	wire := make([]byte, 255)
	if _, err := dns.PackDomainName(name, wire, 0, nil, false); err != nil {
		return domain
	}
	name, _, _ = dns.UnpackDomainName(wire, 0)
	return name
}

func mapsKeys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func TestRandomQuestionsAreAnsweredProvably(t *testing.T) {
	both(t, func(t *testing.T, delegated bool) {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 0))
		defer func() {
			if t.Failed() {
				t.Logf("seed %d", seed)
			}
		}()
		f := newFixture(t, delegated)
		for range 12 {
			// Some stay, some go, some come, some change.
			f.announced = slices.DeleteFunc(f.announced, func(Announced) bool { return rng.IntN(3) == 0 })
			for range rng.IntN(5) {
				name := randomZone(rng)
				f.announced = slices.DeleteFunc(f.announced, func(a Announced) bool { return sameName(a.Zone, name) })
				a := announcement(t, name)
				a.TTL += uint32(rng.IntN(3))
				if rng.IntN(3) == 0 {
					a.Announcement.DNSKEY = shared[2:5]
				}
				f.announced = append(f.announced, a)
			}
			f.config.Serial++
			f.params.Now = f.params.Now.Add(time.Duration(rng.IntN(6)) * time.Hour)
			f.params.Jitter = rng.Float64
			f.renewSOA(t)
			f.build(t)
			w := f.world()
			types := []uint16{dns.TypeA, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeDNSKEY, dns.TypeDS, dns.TypeNSEC, dns.TypeRRSIG, dns.TypeANY, uint16(rng.IntN(1 << 16))}
			for range 60 {
				f.check(t, w, question(randomName(rng, w), types[rng.IntN(len(types))], rng.IntN(5) > 0, rng.IntN(3) == 0))
			}
			if f.view.Renew().Before(f.params.Now) && len(f.announced) > 0 {
				t.Errorf("Expected nothing to be due after building at %s, got %s", f.params.Now, f.view.Renew())
			}
		}
	})
}

// renewSOA signs the SOA of the larger zone anew.
func (f *fixture) renewSOA(t testing.TB) {
	if f.config.Delegated {
		return
	}
	sigs, err := keys.Sign(f.soa[:1], []*keys.Key{f.zsk}, f.params.Now.Add(-time.Hour), f.params.Now.Add(day))
	if err != nil {
		t.Fatal(err)
	}
	f.soa = []dns.RR{f.soa[0], sigs[0]}
}

func TestAChangeCostsTheSignaturesOfThatChange(t *testing.T) {
	for _, tc := range []struct {
		name      string
		change    func(f *fixture, t *testing.T)
		in, alone int64 // signatures in a larger zone, delegated
	}{
		{"nothing", func(*fixture, *testing.T) {}, 0, 0},
		{"a day less an hour", func(f *fixture, _ *testing.T) { f.params.Now = now.Add(23 * time.Hour) }, 0, 0},
		{"a day", func(f *fixture, _ *testing.T) { f.params.Now = now.Add(day) }, 9, 15},
		{"another serial", func(f *fixture, _ *testing.T) { f.config.Serial++ }, 0, 1},
		{"another inception", func(f *fixture, _ *testing.T) { f.announced[0].Announcement.Inception.CDS = now }, 0, 0},
		{"one more zone", func(f *fixture, t *testing.T) { f.announced = append(f.announced, announcement(t, another)) }, 3, 5},
		{"one zone less", func(f *fixture, t *testing.T) { f.announced = f.announced[1:] }, 0, 1},
		{"one more key", func(f *fixture, t *testing.T) {
			f.announced[1].Announcement.DNSKEY = append(slices.Clone(f.announced[1].Announcement.DNSKEY), shared[2])
		}, 1, 1},
		{"no CDS", func(f *fixture, t *testing.T) { f.announced[1].Announcement.CDS = nil }, 0, 1},
		{"another TTL", func(f *fixture, t *testing.T) { f.announced[2].TTL++ }, 3, 3},
		{"another key signs", func(f *fixture, t *testing.T) { f.zsk = f.key(t, dns.ED25519, 256, keys.ZSK) }, 9, 15},
		{"a key without its private half", func(f *fixture, t *testing.T) { f.zsk = public(f.zsk) }, 0, 0},
	} {
		both(t, func(t *testing.T, delegated bool) {
			f := newFixture(t, delegated, "example.net.", zone, "example.co.jp.")
			f.spent()
			tc.change(f, t)
			f.build(t)
			want := tc.in
			if delegated {
				want = tc.alone
			}
			if got := f.spent(); got != want {
				t.Errorf("%s: expected %d signatures, got %d", tc.name, want, got)
			}
			if f.zsk.Signer == nil {
				return // cannot deny compactly
			}
			f.renewSOA(t)
			w := f.world()
			for _, name := range []string{domain, "_multi.example.net." + domain, "_multi." + zone + domain, "_multi." + another + domain, "jp." + domain} {
				for _, qtype := range append(apexTypes, dns.TypeSOA) {
					if !delegated || !sameName(name, domain) || !slices.Contains(apexTypes, qtype) { // the apex is signed apart
						f.check(t, w, question(name, qtype, true, false))
					}
				}
			}
		})
	}
}

func TestAnnouncementsLastThreeDaysAndAreRenewedDaily(t *testing.T) {
	both(t, func(t *testing.T, delegated bool) {
		f := newFixture(t, delegated, zone)
		if got, want := f.view.Expires(), now.Add(3*day).Truncate(time.Hour); !got.Equal(want) {
			t.Errorf("Expected the end at %s, got %s", want, got)
		}
		if got, want := f.view.Renew(), now.Add(day).Truncate(time.Hour); !got.Equal(want) {
			t.Errorf("Expected renewal at %s, got %s", want, got)
		}
		f.params.Jitter = func() float64 { return 1 }
		f.view = nil
		f.build(t)
		if got, want := f.view.Renew(), now.Add(18*time.Hour).Truncate(time.Hour); !got.Equal(want) {
			t.Errorf("Expected jitter to bring renewal to %s, got %s", want, got)
		}
	})
}

func TestViewIsDueWithItsFirstSignature(t *testing.T) {
	both(t, func(t *testing.T, delegated bool) {
		seed := rand.Uint64()
		f := newFixture(t, delegated, zone, another)
		f.params.Jitter = rand.New(rand.NewPCG(seed, 0)).Float64
		for range 20 { // so that the first is now of a set, now of an NSEC
			f.view = nil
			f.build(t)
			var end int64
			for _, name := range []string{domain, "_multi." + zone + domain, "_multi." + another + domain} {
				for _, qtype := range []uint16{dns.TypeSOA, dns.TypeNS, dns.TypeCDS, dns.TypeNSEC} {
					if sameName(name, domain) && (!delegated || qtype == dns.TypeCDS) || !delegated && qtype == dns.TypeNSEC {
						continue // not signed by the view
					}
					for _, rr := range f.reply(t, question(name, qtype, true, false)).Answer {
						if sig, ok := rr.(*dns.RRSIG); ok {
							end = earlier(end, sigTime(sig.Expiration, now).Unix())
						}
					}
				}
			}
			first := time.Unix(end, 0)
			if !f.view.Expires().Equal(first) || !f.view.Renew().Equal(first.Add(-2*day)) {
				t.Errorf("Expected the end at %s, got %s, renewal %s (seed %d)", first, f.view.Expires(), f.view.Renew(), seed)
			}
		}
	})
}

func TestSubtreeWithoutAPrivateHalfIsServedToItsEnd(t *testing.T) {
	both(t, func(t *testing.T, delegated bool) {
		f := newFixture(t, delegated, zone)
		f.zsk = public(f.zsk)
		f.build(t)
		if !f.view.Renew().IsZero() {
			t.Errorf("Expected nothing to renew, got %s", f.view.Renew())
		}
		f.params.Now = f.view.Expires().Add(-time.Second)
		f.build(t)
		f.params.Now = f.view.Expires()
		if view, err := BuildSubtree(f.config, f.announced, f.signers(), f.apex, f.params, f.view); err == nil {
			t.Errorf("Expected an error once the signatures have ended, got a view until %s", view.Expires())
		}
	})
}

func TestZonesThatCannotBeAnnouncedAreLeftOut(t *testing.T) {
	tooLong := strings.Repeat(strings.Repeat("a", 60)+".", 4)
	both(t, func(t *testing.T, delegated bool) {
		f := newFixture(t, delegated)
		f.announced = []Announced{announcement(t, "provider-a.net."), announcement(t, tooLong), {Zone: another, TTL: 60}}
		f.build(t)
		f.announced = nil
		f.check(t, f.world(), question("_multi."+another+domain, dns.TypeCDS, true, false))
		f.check(t, f.world(), question(domain, dns.TypeA, true, false))
	})
}

func TestSubtreeAnswersOnlyItsNames(t *testing.T) {
	both(t, func(t *testing.T, delegated bool) {
		f := newFixture(t, delegated, zone)
		for _, name := range []string{"ns1.provider-a.net.", ".", "x_signal.ns1.provider-a.net.", "_signal.ns2.provider-a.net.", "", "no name"} {
			r := question("placeholder.", dns.TypeA, true, false)
			r.Question[0].Name = name
			if m, err := f.view.Reply(r, f.online, f.askSOA, now); err == nil {
				t.Errorf("Expected an error for %q, got\n%v", name, m)
			}
		}
		if m, err := f.view.Reply(new(dns.Msg), f.online, f.askSOA, now); err != nil || m.Rcode != dns.RcodeFormatError {
			t.Errorf("Expected FORMERR without a question, got %v, %v", m, err)
		}
	})
	for _, s := range []*Subtree{nil, {}} {
		if m, err := s.Reply(question(domain, dns.TypeA, true, false), nil, nil, now); err == nil {
			t.Errorf("Expected an error without a view, got\n%v", m)
		}
	}
}

func TestReplyOfSubtreeIsACopy(t *testing.T) {
	both(t, func(t *testing.T, delegated bool) {
		f := newFixture(t, delegated, zone)
		w := f.world()
		for _, name := range []string{domain, "uk." + domain, "_multi." + zone + domain, "x." + domain} {
			for _, qtype := range []uint16{dns.TypeCDS, dns.TypeDNSKEY, dns.TypeCDNSKEY, dns.TypeA, dns.TypeNSEC, dns.TypeSOA, dns.TypeNS, dns.TypeRRSIG, dns.TypeANY} {
				spoil(f.reply(t, question(name, qtype, true, true)))
				f.check(t, w, question(name, qtype, true, true))
			}
		}
	})
}

func TestRebuildingDoesNotChangeTheOldView(t *testing.T) {
	both(t, func(t *testing.T, delegated bool) {
		f := newFixture(t, delegated, zone, "example.net.")
		old, w := *f, f.world()
		f.announced = []Announced{f.announced[1], announcement(t, another)}
		f.build(t)
		for _, name := range []string{domain, "_multi." + zone + domain, "_multi." + another + domain, "net." + domain, "a._multi.example.net." + domain} {
			old.check(t, w, question(name, dns.TypeCDS, true, false))
			f.check(t, f.world(), question(name, dns.TypeCDS, true, false))
		}
	})
}
