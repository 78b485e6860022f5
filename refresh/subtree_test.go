package refresh

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/announce"
	"github.com/coredns-mske/mske/flat"
	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/serve"
)

// withSignaling adds the delegated signaling zone of our nameserver.
func (w *world) withSignaling() *Zone {
	name := announce.SignalingDomain(ourNS)
	w.newKey(name, 257)
	z := *w.zone
	z.Name, z.Whole, z.Ask = name, true, nil
	w.more = append(w.more, &z)
	w.subs = append(w.subs, &Subtree{NS: ourNS, Zone: &z})
	return &z
}

func (w *world) subtree() *serve.Subtree {
	w.out.mu.Lock()
	defer w.out.mu.Unlock()
	return w.out.subtrees[w.subs[0]]
}

// query asks the subtree and returns the answer section.
func (w *world) query(name string, qtype uint16) []dns.RR {
	w.t.Helper()
	q := new(dns.Msg)
	q.SetQuestion(name, qtype)
	q.SetEdns0(4096, true)
	m, err := w.subtree().Reply(q, serve.NewOnline(16, 100), func() ([]dns.RR, error) { return []dns.RR{w.chain.soa()}, nil }, time.Now())
	if err != nil {
		w.t.Fatalf("Expected an answer for %s, got %v", name, err)
	}
	return m.Answer
}

func (w *world) expectAnnounced(qtype uint16, want ...merge.Key) {
	w.t.Helper()
	name, _ := announce.Name(zoneName, ourNS)
	var got int
	for _, rr := range w.query(name, qtype) {
		if rr.Header().Rrtype != qtype {
			continue
		}
		got++
		found := false
		for _, k := range want {
			switch rr := rr.(type) {
			case *dns.DNSKEY:
				found = found || merge.KeyOf(rr) == k
			case *dns.CDNSKEY:
				found = found || merge.KeyOf(&rr.DNSKEY) == k
			}
		}
		if !found {
			w.t.Errorf("Expected another %s than %s", dns.Type(qtype), rr)
		}
	}
	if got != len(want) {
		w.t.Errorf("Expected %d %s records, got %d", len(want), dns.Type(qtype), got)
	}
}

func TestOnlyOurOwnKeysAreAnnouncedAndAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withSignaling()
		w.start()
		w.join()
		w.pass(time.Minute)
		w.expectAnnounced(dns.TypeDNSKEY, w.zsk.ID())
		w.expectAnnounced(dns.TypeCDNSKEY, w.ksk.ID())
		k := w.newKey(zoneName, 256)
		w.pass(4 * time.Second)
		w.expectAnnounced(dns.TypeDNSKEY, w.zsk.ID(), k.ID())

		n := w.crash()
		n.startOnly() // nobody has to be asked
		n.expectAnnounced(dns.TypeDNSKEY, w.zsk.ID(), k.ID())
		n.expectAnnounced(dns.TypeCDNSKEY, w.ksk.ID())
	})
}

func TestWholeZoneServesItsOwnKeysFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		z := w.withSignaling()
		w.chain.down = errNotYet
		w.startOnly()
		w.out.mu.Lock()
		a := w.out.apexes[z]
		w.out.mu.Unlock()
		if a.DNSKEY.Answer != serve.Served || a.CDS.Answer != serve.Served {
			t.Errorf("Expected the signaling zone to be served, got\n%s", text(a))
		}
	})
}

// A resolver that has the zone's DNSKEY RRset in its cache knows the old key
// only.
func TestWholeZoneThatGetsASecondKeyIsSignedWithTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		z := w.withSignaling()
		w.start()
		name, _ := announce.Name(zoneName, ourNS)
		signer := func() uint16 {
			t.Helper()
			answer := w.query(name, dns.TypeCDS)
			sig, ok := answer[len(answer)-1].(*dns.RRSIG)
			if !ok || len(answer) != 2 {
				t.Fatalf("Expected one record and its signature, got %v", answer)
			}
			return sig.KeyTag
		}
		first := signer()
		second := w.newKey(z.Name, 256)
		w.newKey(zoneName, 256) // makes for another announcement
		w.pass(time.Minute)
		if now := signer(); now != first {
			t.Errorf("Expected key %d to go on signing, got %d", first, now)
		}
		if !slices.ContainsFunc(w.query(z.Name, dns.TypeDNSKEY), func(rr dns.RR) bool {
			k, ok := rr.(*dns.DNSKEY)
			return ok && merge.KeyOf(k) == second.ID()
		}) {
			t.Error("Expected the second key to be published")
		}
	})
}

// When what is announced comes in place of something else is noted, and nothing else
// moves that: each time costs a write, and at the next start signatures.
func TestWhenSomethingElseIsAnnounced(t *testing.T) {
	w := newWorld(t)
	before, now := later(), later().Add(time.Hour)
	this := merge.Announcement{DNSKEY: []merge.Key{w.zsk.ID()}, CDNSKEY: []merge.Key{w.ksk.ID()}}
	other := merge.Announcement{DNSKEY: []merge.Key{w.ksk.ID()}, CDNSKEY: []merge.Key{w.ksk.ID()}}
	told := func(a merge.Announcement) func(z *zone) {
		return func(z *zone) { z.open().facts.state.Told = AnnouncementID(a) }
	}
	says := func(a, boot merge.Announcement) func(z *zone) {
		return func(z *zone) {
			told(other)(z)
			z.said, z.announced = flat.Of(&words{a, boot, before}), true
		}
	}
	for name, tt := range map[string]struct {
		was  func(z *zone)
		d    decision
		want time.Time
	}{
		"the first":                         {func(*zone) {}, decision{announcement: this, announced: true}, now},
		"as before the start":               {told(this), decision{announcement: this, announced: true}, before},
		"other than before the start":       {told(other), decision{announcement: this, announced: true}, now},
		"as now":                            {says(this, merge.Announcement{}), decision{announcement: this, announced: true}, before},
		"as now, and something else for DS": {says(this, other), decision{announcement: this, announced: true}, before},
		"other than now":                    {says(this, merge.Announcement{}), decision{announcement: other, announced: true}, now},
		"not known":                         {told(other), decision{announcement: this}, before},
		"nowhere":                           {func(z *zone) { z.announcedIn = nil }, decision{announcement: this, announced: true}, before},
		"by a clock that was ahead": {func(z *zone) {
			says(this, merge.Announcement{})(z)
			z.open().facts.state.AnnouncedSince = now.Add(time.Hour)
		}, decision{announcement: this, announced: true}, now},
	} {
		e := New(w.config())
		e.loop.now = now
		z := e.zones[0]
		z.announcedIn = []*subtree{{}}
		z.open().facts.state.AnnouncedSince = before
		tt.was(z)
		e.restate(z, tt.d)
		if got := z.open().facts.state.AnnouncedSince; !got.Equal(tt.want) {
			t.Errorf("Announced %s: expected %v, got %v", name, tt.want, got)
		}
	}
}

func (w *world) serial() uint32 {
	w.t.Helper()
	for _, rr := range w.query(announce.SignalingDomain(ourNS), dns.TypeSOA) {
		if soa, ok := rr.(*dns.SOA); ok {
			return soa.Serial
		}
	}
	w.t.Fatal("Expected a SOA record")
	return 0
}

func TestSerialOfADelegatedSubtreeOnlyGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withSignaling()
		w.start()
		before := w.serial()
		w.newKey(zoneName, 256)
		w.pass(2 * time.Minute)
		after := w.serial()
		if after <= before {
			t.Errorf("Expected a serial after %d, got %d", before, after)
		}
		n := w.crash()
		n.startOnly()
		if again := n.serial(); again <= after {
			t.Errorf("Expected a serial after %d once restarted, got %d", after, again)
		}
	})
}

func TestNextSerialFollowsWhateverTheClock(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for _, tc := range []struct{ serial, want uint32 }{
		{0, 1_700_000_000},
		{1_700_000_000, 1_700_000_001},
		{1_800_000_000, 1_800_000_001}, // the clock went back
	} {
		if got := nextSerial(tc.serial, now); got != tc.want {
			t.Errorf("Expected %d after %d, got %d", tc.want, tc.serial, got)
		}
	}
}

func TestAnnouncementsAreRenewedDaily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withSignaling()
		w.startSlow()
		for range 5 {
			w.pass(day)
			if left := time.Until(w.subtree().Expires()); left < 36*time.Hour || left > 3*day {
				t.Errorf("Expected signatures of three days, renewed daily, got %v left", left)
			}
		}
	})
}

func TestZonesWithoutAnAnnouncementAreSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		const inDomain = "ns1." + zoneName
		w.zone.Nameservers = []string{inDomain}
		w.chain.change(true, func(c *chainZone) { c.ns = []string{inDomain} })
		w.startSlow()
		expectLog(t, w.log, 1, "not announced everywhere")
		expectLog(t, w.log, 0, "WARNING")
		w.chain.change(true, func(c *chainZone) { c.cns = []string{inDomain, theirNS} })
		w.pass(3 * time.Hour)
		expectLog(t, w.log, 1, "WARNING", "none of our nameservers can announce")
	})
}

// directory is a Fetcher that also reaches nameservers directly.
type directory struct {
	*peers
	mu     sync.Mutex
	denies bool
	err    error
	asked  []string
}

// Addresses implements the Prober interface.
func (d *directory) Addresses(context.Context, string) ([]netip.AddrPort, error) {
	return []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53")}, nil
}

// Denies implements the Prober interface.
func (d *directory) Denies(_ context.Context, _ netip.AddrPort, name string, qtype uint16) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, name+" "+dns.Type(qtype).String())
	return d.denies, d.err
}

func TestServerThatDeniesOurAnnouncementsIsAProblem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		z := w.withSignaling()
		d := &directory{peers: w.peers, denies: true}
		z.Fetcher = d
		e := w.startSlow()
		w.pass(40 * time.Minute) // the next status
		w.expectReady(e, false)
		expectLog(t, w.log, 1, "ERROR", "delegate "+z.Name)
		if len(d.asked) != 1 || !strings.HasSuffix(d.asked[0], z.Name+" CDS") {
			t.Errorf("Expected one of our announcements to be asked for, got %q", d.asked)
		}
		d.mu.Lock()
		d.denies = false
		d.mu.Unlock()
		w.pass(2 * time.Hour)
		w.expectReady(e, true)
	})
}

func TestServerThatDoesNotAnswerTheProbeIsOnlyLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		z := w.withSignaling()
		z.Fetcher = &directory{peers: w.peers, err: errors.New("timeout")}
		e := w.start()
		w.expectReady(e, true)
		expectLog(t, w.log, 1, "DEBUG", "timeout")
	})
}

func TestEnclosingZoneThatDeniesTooMuchIsAProblem(t *testing.T) {
	for _, wide := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			// Our zone encloses the signaling domain of a nameserver of ours.
			inside := &Subtree{NS: "ns1." + zoneName, Zone: w.zone}
			w.subs = append(w.subs, inside)
			w.zone.Ask = func(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
				name := q.Question[0].Name
				m, err := w.chain.ask(ctx, q)
				if err == nil && strings.Contains(name, "_signal") {
					next := "\\000." + name
					if wide {
						next = "zzz." + zoneName
					}
					m.Ns = append(m.Ns, &dns.NSEC{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeNSEC, Class: dns.ClassINET}, NextDomain: next})
					if wide {
						m.Ns[len(m.Ns)-1].Header().Name = "a." + zoneName
					}
				}
				return m, err
			}
			e := w.start()
			w.pass(3 * w.zone.RefreshMax) // each probe has another name
			w.expectReady(e, !wide)
			if wide {
				expectLog(t, w.log, 1, "ERROR", "denies our announcements", "delegate _signal."+inside.NS)
			}
		})
	}
}

func TestColdEnclosingZoneStillAnnounces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		// The zone that holds our nameserver's name is itself multi-signed.
		name := "example.net."
		back := &chainZone{name: name, serial: 1, ns: []string{ourNS, theirNS}}
		ksk, zsk := w.newKey(name, 257), w.newKey(name, 256)
		back.keys, back.signers = []*keys.Key{ksk, zsk}, []*keys.Key{zsk}
		z := *w.zone
		z.Name, z.Ask = name, back.ask
		w.more = append(w.more, &z)
		w.subs = append(w.subs, &Subtree{NS: ourNS, Zone: &z})
		w.start()
		w.expectAnnounced(dns.TypeDNSKEY, w.zsk.ID())
	})
}
