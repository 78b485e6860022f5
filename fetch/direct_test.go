package fetch

import (
	"context"
	"encoding/base64"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/merge"
)

// direct has the lab answer what is asked without RD as the server of the
// zone, and notes where that was sent.
type direct struct {
	l *lab.Lab

	mu    sync.Mutex
	asked []string
}

func (d *direct) roundTrip(ctx context.Context, r Resolver, stream bool, q *dns.Msg) (*dns.Msg, error) {
	if q.RecursionDesired {
		return transport(d.l)(ctx, r, stream, q)
	}
	d.mu.Lock()
	d.asked = append(d.asked, r.Addr.String())
	d.mu.Unlock()
	for name := q.Question[0].Name; ; name = name[strings.Index(name, ".")+1:] {
		if z := d.l.Zone(name); z != nil {
			m := z.Answer(q.Question[0].Name, q.Question[0].Qtype)
			rcode := m.Rcode
			m.SetReply(q).Rcode = rcode
			return m, nil
		}
		if name == "" {
			return nil, errTimeout
		}
	}
}

func directFetcher(t *testing.T, s *stage, o Options) (*direct, *Fetcher) {
	t.Helper()
	d := &direct{l: s.lab()}
	f := labFetcher(t, d.l, o)
	f.client.roundTrip = d.roundTrip
	return d, f
}

// rsaTwins returns two keys of one tag, without private halves.
func rsaTwins() (a, b *lab.Key) {
	octets, _ := base64.StdEncoding.DecodeString(rsaKey(2048))
	key := func() *lab.Key {
		k := dns.Copy(ksk.DNSKEY).(*dns.DNSKEY)
		k.Algorithm, k.PublicKey = dns.RSASHA256, base64Of(octets)
		return &lab.Key{DNSKEY: k}
	}
	a = key()
	octets[100]++
	octets[102]--
	return a, key()
}

func TestKeyOfALoneDigestIsTakenFromTheHost(t *testing.T) {
	other := lab.NewKey(zone, dns.ECDSAP256SHA256, 257, "other")
	revoked := lab.NewKey(zone, dns.ECDSAP256SHA256, 257|dns.REVOKE, "revoked")
	genuine, twin := rsaTwins()
	tests := []struct {
		name   string
		served []*lab.Key // in the zone's apex DNSKEY RRset; nil: the host does not answer
		digest []*lab.Key
		want   []*lab.Key
	}{
		{"key found", []*lab.Key{other, ksk, zsk}, []*lab.Key{ksk}, []*lab.Key{ksk}},
		{"both keys found", []*lab.Key{other, ksk, zsk}, []*lab.Key{ksk, other}, []*lab.Key{ksk, other}},
		{"one of two found", []*lab.Key{ksk, zsk}, []*lab.Key{ksk, other}, []*lab.Key{ksk}},
		{"key not found", []*lab.Key{other, zsk}, []*lab.Key{ksk}, nil},
		{"key not usable", []*lab.Key{other, revoked}, []*lab.Key{revoked}, nil},
		{"another key of the same tag", []*lab.Key{twin}, []*lab.Key{genuine}, nil},
		{"among others of the same tag", []*lab.Key{twin, genuine}, []*lab.Key{genuine}, []*lab.Key{genuine}},
		{"no answer", nil, []*lab.Key{ksk}, nil},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			s := newStage(t, dnskeys(zsk)+cdss(dns.SHA256, tc.digest...)+cdss(dns.SHA1, tc.digest...))
			if tc.served != nil {
				s.zones[zone] = &lab.Zone{Name: zone, Keys: tc.served, SignRRset: func([]dns.RR) []dns.RR { return nil }}
			}
			d, f := directFetcher(t, s, Options{Port: 5353})
			res := f.Fetch(t.Context(), zone, host, merge.Announcement{})
			if res.Verdict != Secure {
				t.Fatalf("Expected secure, got %s: %s", res.Verdict, res.Reason)
			}
			var want []merge.Key
			for _, k := range tc.want {
				want = append(want, merge.KeyOf(k.DNSKEY))
			}
			if got := res.Announcement.CDNSKEY; !sameKeys(got, want) {
				t.Errorf("Expected %v, got %v", want, got)
			}
			if got := len(res.Announcement.CDS); got != len(tc.digest) {
				t.Errorf("Expected the %d SHA-256 digests, got %v", len(tc.digest), res.Announcement.CDS)
			}
			if complete := len(tc.want) == len(tc.digest); complete == strings.Contains(res.Reason, "not complete") {
				t.Errorf("Expected complete %t, got %s", complete, res.Reason)
			}
			if !slices.Equal(d.asked, []string{"192.0.2.1:5353"}) {
				t.Errorf("Expected one question to the host, got %v", d.asked)
			}
		})
	}
}

// A key that was found before need not be found again: that the host's servers do not
// answer takes it from nobody. What the digest does not name stays out.
func TestKeyOfALoneDigestThatIsKnownIsNotAskedFor(t *testing.T) {
	other := lab.NewKey(zone, dns.ECDSAP256SHA256, 257, "other")
	genuine, twin := rsaTwins()
	tests := []struct {
		name   string
		known  []*lab.Key
		digest *lab.Key
		want   []*lab.Key
		asked  int
	}{
		{"known", []*lab.Key{ksk}, ksk, []*lab.Key{ksk}, 0},
		{"one of two known", []*lab.Key{other, ksk}, ksk, []*lab.Key{ksk}, 0},
		{"among others of the same tag", []*lab.Key{twin, genuine}, genuine, []*lab.Key{genuine}, 0},
		{"another key known", []*lab.Key{other}, ksk, nil, 1},
		{"another key of the same tag known", []*lab.Key{twin}, genuine, nil, 1},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			d, f := directFetcher(t, newStage(t, dnskeys(zsk)+cdss(dns.SHA256, tc.digest)), Options{})
			keysOf := func(ks []*lab.Key) (of []merge.Key) {
				for _, k := range ks {
					of = append(of, merge.KeyOf(k.DNSKEY))
				}
				return of
			}
			known := merge.Announcement{DNSKEY: keysOf([]*lab.Key{zsk}), CDNSKEY: keysOf(tc.known)}
			res := f.Fetch(t.Context(), zone, host, known)
			if res.Verdict != Secure || !sameKeys(res.Announcement.CDNSKEY, keysOf(tc.want)) {
				t.Errorf("Expected secure and %v, got %s and %v: %s", keysOf(tc.want), res.Verdict, res.Announcement.CDNSKEY, res.Reason)
			}
			if len(d.asked) != tc.asked {
				t.Errorf("Expected %d questions to the host, got %v", tc.asked, d.asked)
			}
		})
	}
}

func sameKeys(a, b []merge.Key) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(k merge.Key) bool { return !slices.Contains(b, k) })
}

func TestLoneKeyGetsItsDigest(t *testing.T) {
	res := newStage(t, dnskeys(zsk)+cdnskeys(ksk)).fetch()
	want, _ := merge.KeyOf(ksk.DNSKEY).DS(zone, dns.SHA256)
	if !slices.Equal(res.Announcement.CDS, []merge.DS{want}) {
		t.Errorf("Expected %v, got %v", want, res.Announcement.CDS)
	}
}

func TestAddresses(t *testing.T) {
	text := ""
	for _, a := range []string{"1", "2", "3", "4", "5"} {
		text += "many A 192.0.2." + a + "\n"
	}
	s := newStage(t, "")
	s.zones["example.net."].Records = text + "many AAAA 2001:db8::1\nv6 AAAA 2001:db8::2\nalias CNAME v6\nnone TXT nothing\n"
	_, f := directFetcher(t, s, Options{})
	tests := []struct {
		host string
		want string
	}{
		{"many.example.net.", "[2001:db8::1]:53 192.0.2.1:53 192.0.2.2:53 192.0.2.3:53 192.0.2.4:53"},
		{"V6.example.net", "[2001:db8::2]:53"},
		{"alias.example.net.", "[2001:db8::2]:53"},
		{"none.example.net.", ""},
		{"missing.example.net.", ""},
	}
	for _, tc := range tests {
		addrs, err := f.Addresses(t.Context(), tc.host)
		var got []string
		for _, a := range addrs {
			got = append(got, a.String())
		}
		if strings.Join(got, " ") != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%s: Expected %q, got %q, %v", tc.host, tc.want, got, err)
		}
	}
}

// The reason becomes part of a line in the log, so it is one, and says nothing twice.
func TestAddressesThatCannotBeAskedFor(t *testing.T) {
	n, f := newNetwork(t, nil, Options{})
	silent := func(*dns.Msg) *dns.Msg { return nil }
	n.faults = map[string]lab.Tamper{first: silent, second: silent}
	_, err := f.Addresses(t.Context(), host)
	if err == nil || strings.Contains(err.Error(), "\n") || strings.Count(err.Error(), "no usable resolver") != 1 {
		t.Errorf("Expected one line with one reason, got %v", err)
	}
}

func TestDenies(t *testing.T) {
	at := netip.MustParseAddrPort("192.0.2.1:53")
	tests := []struct {
		name string
		edit func(*stage)
		want bool
		err  bool
	}{
		{"served", func(*stage) {}, false, false},
		{"denied", func(s *stage) { s.put("") }, true, false},
		{"not signed", func(s *stage) { s.put(""); s.zones[signalZone].Unsigned = true }, false, false},
		{"denied without a valid signature", func(s *stage) {
			s.put("")
			s.zones[signalZone].SignRRset = func([]dns.RR) []dns.RR { return nil }
		}, false, false},
	}
	for _, tc := range tests {
		s := newStage(t, announced())
		tc.edit(s)
		_, f := directFetcher(t, s, Options{})
		denied, err := f.Denies(t.Context(), at, owner, dns.TypeCDS)
		if denied != tc.want || (err != nil) != tc.err {
			t.Errorf("%s: Expected %t, got %t, %v", tc.name, tc.want, denied, err)
		}
	}
	_, f := directFetcher(t, newStage(t, ""), Options{})
	f.client.roundTrip = func(context.Context, Resolver, bool, *dns.Msg) (*dns.Msg, error) { return nil, errTimeout }
	if _, err := f.Denies(t.Context(), at, owner, dns.TypeCDS); err == nil {
		t.Error("Expected an error from a silent server, got none")
	}
}
