package validate_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/internal/lab"
	"github.com/coredns-mske/mske/validate"
)

// rolling is a world whose time passes: a lab, and a validator with a clock.
type rolling struct {
	*testing.T
	l  *lab.Lab
	v  *validate.Validator
	at time.Time
}

func newRolling(t *testing.T) *rolling {
	r := &rolling{T: t, l: hierarchy(t), at: now}
	r.v = validate.New(anchors(t, r.l), validate.Options{Now: func() time.Time { return r.at }})
	return r
}

// after goes to that time after the start, and signs all zones anew.
func (r *rolling) after(d time.Duration) { r.at = now.Add(d); r.l.SetTime(r.at) }

// expect looks up a name, at which the answer is to be as wanted.
func (r *rolling) expect(name string, want want) {
	r.Helper()
	res, err := r.v.Lookup(r.Context(), r.l, name, dns.TypeA)
	if err != nil || got(res) != want {
		r.Errorf("%s after %s: Expected %+v, got %+v, %v, %v", name, r.at.Sub(now), want, got(res), res.Reason, err)
	}
}

func key257(seed string) *lab.Key {
	return lab.NewKey("example.net.", dns.ECDSAP256SHA256, 257, seed)
}
func key256(seed string) *lab.Key {
	return lab.NewKey("example.net.", dns.ECDSAP256SHA256, 256, seed)
}

// zone gives example.net. other keys. The parent has DS of the first.
func (r *rolling) zone(keys ...*lab.Key) {
	r.l.Add(lab.Zone{Name: "example.net.", Records: exampleNet, Keys: keys})
}

func TestAKeyThatTheCacheLacksIsAskedForOnceInASession(t *testing.T) {
	r := newRolling(t)
	r.zone(key257("a"), key256("a"))
	r.expect("ns1.example.net.", secure(net))
	r.after(time.Minute) // long before what is cached expires
	r.zone(key257("a"), key256("b"))
	r.expect("ns1.example.net.", secure(net))

	// It is known from now on.
	r.l.Asked()
	r.expect("zz.example.net.", denied(net))
	if asked := r.l.Asked(); len(asked) != 1 {
		t.Errorf("Expected one question, got %v", asked)
	}

	// Forged tags do not make it ask again and again.
	r.after(2 * time.Minute)
	s := r.v.Session(r.l)
	r.l.Tamper("", dns.TypeA, lab.EachSig(0, func(sig *dns.RRSIG) { sig.KeyTag++ }))
	r.l.Asked()
	for range 5 {
		if res, err := s.Lookup(t.Context(), "ns1.example.net.", dns.TypeA); err != nil || got(res) != bogus(validate.CheckKey) {
			t.Errorf("Expected %+v, got %+v, %v", bogus(validate.CheckKey), res, err)
		}
	}
	if asked := r.l.Asked(); len(asked) != 5+2 {
		t.Errorf("Expected DS and DNSKEY once, got %v", asked)
	}

	// Nor does a forged signature.
	r.l.Untamper()
	r.after(3 * time.Minute)
	r.l.Tamper("", dns.TypeA, lab.EachSig(0, func(sig *dns.RRSIG) { sig.Inception++ }))
	r.expect("ns1.example.net.", bogus(validate.CheckSignature))
	if asked := r.l.Asked(); len(asked) != 1 {
		t.Errorf("Expected one question, got %v", asked)
	}

	// Nor a forged tag after what the session itself has just asked for.
	r.l.Tamper("", dns.TypeA, lab.EachSig(0, func(sig *dns.RRSIG) { sig.KeyTag++ }))
	r.v = validate.New(anchors(t, r.l), validate.Options{Now: func() time.Time { return r.at }})
	r.expect("ns1.example.net.", bogus(validate.CheckKey))
	if asked := r.l.Asked(); len(asked) != 1+5 {
		t.Errorf("Expected the chain once, got %v", asked)
	}
}

func TestAKeyThatTheCacheLacksIsAskedForInTheParentToo(t *testing.T) {
	r := newRolling(t)
	r.expect("ns1.example.net.", secure(net))
	r.after(time.Minute)
	parent := func(seed string) *lab.Key { return lab.NewKey("net.", dns.ECDSAP256SHA256, 256, seed) }
	r.l.Add(lab.Zone{Name: "net.", Keys: []*lab.Key{r.l.Zone("net.").Keys[0], parent("new")}})
	r.zone(key257("b"), key256("b"))
	r.expect("ns1.example.net.", secure(net))
}

func TestADSThatChangesMidway(t *testing.T) {
	// The parent's DS, as a resolver has it cached, names the old key only.
	r := newRolling(t)
	r.zone(key257("old"), key256("a"))
	r.expect("ns1.example.net.", secure(net))
	old := ask(t, r.l, "example.net.", dns.TypeDS)
	r.after(10 * time.Minute)
	r.l.Tamper("example.net.", dns.TypeDS, lab.Replace(old))
	r.zone(key257("new"), key256("new"))
	r.expect("ns1.example.net.", bogus(validate.CheckKey)) // the child did not wait for the DS
	r.l.Untamper()
	r.expect("ns1.example.net.", secure(net)) // as soon as the new one is there
}

func TestAZoneThatGoesFromSecureToInsecure(t *testing.T) {
	r := newRolling(t)
	r.expect("ns1.example.net.", secure(net))
	r.after(time.Minute)
	r.l.Add(lab.Zone{Name: "example.net.", Records: exampleNet, NoDS: true})
	r.expect("ns1.example.net.", secure(net)) // still signed, with the keys that are known

	r.l.Add(lab.Zone{Name: "example.net.", Records: exampleNet, NoDS: true, Keys: []*lab.Key{key257("new"), key256("new")}})
	r.expect("ns1.example.net.", insecure(validate.CheckDenial)) // keys that nobody vouches for: net. opts out

	r = newRolling(t)
	r.expect("ns1.example.net.", secure(net))
	r.after(time.Minute)
	r.l.Add(lab.Zone{Name: "example.net.", Records: exampleNet, Unsigned: true})
	r.expect("ns1.example.net.", bogus(validate.CheckSigned)) // it did not wait for the DS's TTL
	r.after(time.Hour)
	r.expect("ns1.example.net.", insecure(validate.CheckDenial)) // net. opts out
}

func TestAZoneThatGoesFromInsecureToSecure(t *testing.T) {
	r := newRolling(t)
	honest := lab.Zone{Name: "unsigned.example.net.", Records: exampleNet}
	r.expect("ns1.unsigned.example.net.", insecure(validate.CheckDelegation))
	r.expect("ns1.unsigned.net.", insecure(validate.CheckDenial)) // net. opts out
	r.l.Add(honest)
	r.l.Add(lab.Zone{Name: "unsigned.net.", Records: exampleNet})
	r.after(299 * time.Second)
	r.expect("ns1.unsigned.example.net.", insecure(validate.CheckDelegation))
	r.after(300 * time.Second)
	r.expect("ns1.unsigned.example.net.", secure("unsigned.example.net."))
	r.expect("ns1.unsigned.net.", secure("unsigned.net."))
}

func TestARRSIGThatExpiresWhileItsZoneIsCached(t *testing.T) {
	r := newRolling(t)
	z := r.l.Zone("example.net.")
	z.Inception, z.Expiration = now.Add(-time.Hour), now.Add(10*time.Minute)
	r.l.SetTime(now)
	r.expect("ns1.example.net.", secure(net))
	r.at = now.Add(10*time.Minute + time.Second) // and nobody signs anew
	r.expect("ns1.example.net.", bogus(validate.CheckPeriod))
	z.Inception, z.Expiration = time.Time{}, time.Time{}
	r.after(11 * time.Minute)
	r.expect("ns1.example.net.", secure(net))
}

func TestAClockThatJumps(t *testing.T) {
	r := newRolling(t)
	year := 365 * 24 * time.Hour
	r.expect("ns1.example.net.", secure(net))

	r.at = now.Add(year) // ahead: everything has expired
	r.expect("ns1.example.net.", bogus(validate.CheckPeriod))
	r.at = now
	r.expect("ns1.example.net.", secure(net))

	r.after(year) // what is learnt then ...
	r.expect("ns1.example.net.", secure(net))
	r.expect("ns1.unsigned.example.net.", insecure(validate.CheckDelegation))
	if apex, err := r.v.Session(r.l).Apex(t.Context(), signal); err != nil || apex != signal {
		t.Errorf("Expected %s, got %q, %v", signal, apex, err)
	}
	r.after(0) // ... is not used before
	r.l.Asked()
	r.expect("ns1.example.net.", secure(net))
	if asked := r.l.Asked(); len(asked) != 1+5 {
		t.Errorf("Expected the whole chain to be asked for, got %v", asked)
	}
	if _, err := r.v.Session(r.l).Apex(t.Context(), signal); err != nil {
		t.Error(err)
	}
	if asked := r.l.Asked(); len(asked) == 0 {
		t.Error("Expected the apex to be asked for")
	}
}

func TestAMachineThatSleepsDoesNotMakeTheChainLastLonger(t *testing.T) {
	// The monotonic clock stands still meanwhile, and a time that has a reading of
	// it is compared by that.
	for _, o := range []validate.Options{{}, {Now: time.Now}} {
		if at := validate.Clock(validate.New(nil, o)).String(); strings.Contains(at, "m=") {
			t.Errorf("Expected a time by the wall clock alone, got %s", at)
		}
	}
}

func TestATrustAnchorThatRolls(t *testing.T) {
	root := func(seed string) *lab.Key { return lab.NewKey(".", dns.ECDSAP256SHA256, 257, seed) }
	zsk := lab.NewKey(".", dns.ECDSAP256SHA256, 256, "")
	before, after := root("old"), root("new")
	file := func(keys ...*lab.Key) string {
		var b strings.Builder
		for _, k := range keys {
			b.WriteString(k.ToDS(dns.SHA256).String() + "\n")
		}
		return b.String()
	}
	tests := []struct {
		name    string
		anchors string
		keys    []*lab.Key // the root's
		secure  bool
	}{
		{"old in the file, old signs", file(before), []*lab.Key{before, zsk}, true},
		{"old and new in the file, old signs", file(before, after), []*lab.Key{before, zsk}, true},
		{"old and new in the file, both sign", file(before, after), []*lab.Key{before, after, zsk}, true},
		{"old and new in the file, new signs", file(before, after), []*lab.Key{after, zsk}, true},
		{"new in the file, both sign", file(after), []*lab.Key{before, after, zsk}, true},
		{"new in the file, new signs", file(after), []*lab.Key{after, zsk}, true},
		{"old in the file, both sign", file(before), []*lab.Key{before, after, zsk}, true},
		{"old in the file, new signs", file(before), []*lab.Key{after, zsk}, false},
		{"new in the file, old signs", file(after), []*lab.Key{before, zsk}, false},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			l := hierarchy(t)
			l.Add(lab.Zone{Name: ".", Keys: tc.keys})
			v := validate.New(parsed(t, tc.anchors), validate.Options{Now: clock})
			want := bogus(validate.CheckKey)
			if tc.secure {
				want = secure(net)
			}
			r, err := v.Lookup(t.Context(), l, "ns1.example.net.", dns.TypeA)
			if err != nil || got(r) != want {
				t.Errorf("Expected %+v, got %+v, %v, %v", want, got(r), r.Reason, err)
			}
		})
	}
}

func TestARollOfTheTrustAnchorLeavesNothingBehind(t *testing.T) {
	// With both in the file, one validator goes through the whole roll.
	root := func(seed string) *lab.Key { return lab.NewKey(".", dns.ECDSAP256SHA256, 257, seed) }
	zsk := func(seed string) *lab.Key { return lab.NewKey(".", dns.ECDSAP256SHA256, 256, seed) }
	r := newRolling(t)
	r.v = validate.New(parsed(t, root("old").ToDS(dns.SHA256).String()+"\n"+root("new").ToDS(dns.SHA256).String()+"\n"),
		validate.Options{Now: func() time.Time { return r.at }})
	for i, keys := range [][]*lab.Key{
		{root("old"), zsk("a")}, {root("old"), root("new"), zsk("a")}, {root("old"), root("new"), zsk("b")}, {root("new"), zsk("b")},
	} {
		r.l.Add(lab.Zone{Name: ".", Keys: keys})
		r.after(time.Duration(i) * 20 * time.Minute)
		r.expect("ns1.example.net.", secure(net))
		r.expect("none.", denied("."))
	}
}

// parsed returns the anchors in a file's text.
func parsed(t *testing.T, text string) *validate.Anchors {
	t.Helper()
	a, err := validate.ReadAnchors(write(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestWhatABogusChainSaysIsAskedForOnceInASession(t *testing.T) {
	l := hierarchy(t)
	l.Tamper("example.net.", dns.TypeDNSKEY, lab.StripSignatures)
	s := validator(t, l).Session(l)
	for range 3 {
		r, err := s.Lookup(t.Context(), "ns1.example.net.", dns.TypeA)
		var e *validate.Error
		if err != nil || !errors.As(r.Reason, &e) || e.Check != validate.CheckSigned {
			t.Fatalf("Expected %+v, got %+v, %v", bogus(validate.CheckSigned), r, err)
		}
	}
	if asked := l.Asked(); len(asked) != 3+5 {
		t.Errorf("Expected the chain to be asked for once, got %v", asked)
	}
}

func TestAZoneThatIsMergedIntoItsParent(t *testing.T) {
	// The signaling zone is no longer delegated: the zone above holds its names,
	// long before what is cached of the delegation expires.
	r := newRolling(t)
	name := "_multi.example.co.uk." + signal
	lookup := func(what string, want string) {
		t.Helper()
		res, err := r.v.Lookup(t.Context(), r.l, name, dns.TypeCDS)
		if err != nil || res.Status != validate.Secure || res.Signer != want {
			t.Errorf("%s: Expected secure by %s, got %+v, %v", what, want, res, err)
		}
		if apex, err := r.v.Session(r.l).Apex(t.Context(), signal); err != nil || apex != want {
			t.Errorf("%s: Expected the apex %s, got %q, %v", what, want, apex, err)
		}
	}
	lookup("before", signal)
	r.l.Remove(signal)
	r.after(time.Minute)
	lookup("after", "example.net.")
}

func TestAZoneThatIsOutOfSightIsNotMergedIntoItsParent(t *testing.T) {
	// The zone above signs a name of the signaling zone, which is known, and what
	// would prove that zone is kept away or forged.
	name := "_multi.example.co.uk." + signal
	for what, edit := range map[string]lab.Tamper{
		"no DS":        lab.Rcode(dns.RcodeSuccess),
		"unsigned DS":  lab.StripSignatures,
		"no answer":    lab.Timeout,
		"another's DS": lab.Each(dns.TypeDS, func(rr dns.RR) { rr.(*dns.DS).KeyTag++ }),
	} {
		r := newRolling(t)
		if res, err := r.v.Lookup(t.Context(), r.l, name, dns.TypeTXT); err != nil || res.Status != validate.Secure || res.Signer != signal {
			t.Fatalf("Expected secure, got %+v, %v", res, err)
		}
		r.at = now.Add(time.Minute)
		set := records(name + " 300 IN TXT evil")
		r.l.Tamper(name, dns.TypeTXT, lab.Replace(&dns.Msg{Answer: append(set, r.l.Zone("example.net.").Sign(set)...)}))
		r.l.Tamper(signal, dns.TypeDS, edit)
		for range 2 {
			if res, err := r.v.Lookup(t.Context(), r.l, name, dns.TypeTXT); err != nil || got(res) != bogus(validate.CheckSigned) {
				t.Errorf("%s: Expected %+v, got %+v, %v, %v", what, bogus(validate.CheckSigned), got(res), res.Reason, err)
			}
		}
	}
}

func TestASessionAfreshAsksAgainForWhatWasInsecure(t *testing.T) {
	r := newRolling(t)
	honest := *r.l.Zone("example.net.")
	r.l.Add(lab.Zone{Name: "example.net.", Records: exampleNet, NoDS: true})
	old := ask(t, r.l, "example.net.", dns.TypeDS)
	r.l.Add(lab.Zone{Name: "example.net.", Records: honest.Records, Denial: honest.Denial})
	r.l.Tamper("example.net.", dns.TypeDS, lab.Replace(old)) // by one resolver, once
	r.expect("ns1.example.net.", insecure(validate.CheckDenial))
	r.l.Untamper()
	r.at = now.Add(time.Second)
	r.expect("ns1.example.net.", insecure(validate.CheckDenial)) // by the TTL of the denial
	r.l.Asked()
	s := r.v.Session(r.l).Afresh()
	for range 2 {
		if res, err := s.Lookup(t.Context(), "ns1.example.net.", dns.TypeA); err != nil || got(res) != secure(net) {
			t.Errorf("Expected %+v, got %+v, %v", secure(net), res, err)
		}
	}
	if asked := r.l.Asked(); len(asked) != 2+2 {
		t.Errorf("Expected DS and DNSKEY once, got %v", asked)
	}
	r.expect("ns1.example.net.", secure(net)) // known to all from now on
}
