package serve

import (
	"crypto"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/keys"
)

// record returns something to sign.
func record(name string, ttl uint32) []dns.RR {
	return []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: ttl}, Txt: []string{"x"}}}
}

// sign signs and verifies.
func (o *Online) sign(t *testing.T, rrs []dns.RR, at time.Time, signers ...*keys.Key) []*dns.RRSIG {
	t.Helper()
	sigs, err := o.Sign(rrs, signers, at)
	if err != nil {
		t.Fatalf("%v: %v", rrs, err)
	}
	v := validator{zone: signers[0].Zone(), now: at, by: func(string, uint16) []*keys.Key { return signers }}
	if len(sigs) != len(signers) {
		t.Errorf("Expected %d signatures, got %d", len(signers), len(sigs))
	}
	for _, sig := range sigs {
		if err := v.verifies(sig, rrs); err != nil {
			t.Error(err)
		}
		if sig.Hdr.Name != rrs[0].Header().Name {
			t.Errorf("Expected owner %q, got %q", rrs[0].Header().Name, sig.Hdr.Name)
		}
	}
	return sigs
}

func TestOnlineSignsTheSameOnce(t *testing.T) {
	r := &ring{zone: zone}
	a, b := r.key(t, dns.ECDSAP256SHA256, 256, keys.ZSK), r.key(t, dns.ED25519, 256, keys.ZSK)
	o := NewOnline(100, 100)
	for _, tc := range []struct {
		name    string
		rrs     []dns.RR
		signers []*keys.Key
		want    int64
	}{
		{"first", record(zone, 60), []*keys.Key{a}, 1},
		{"again", record(zone, 60), []*keys.Key{a}, 0},
		{"spelt otherwise", record("EXAMPLE.co.uk.", 60), []*keys.Key{a}, 0},
		{"another TTL", record(zone, 61), []*keys.Key{a}, 1},
		{"another name", record("a."+zone, 60), []*keys.Key{a}, 1},
		{"other rdata", []dns.RR{&dns.TXT{Hdr: record(zone, 60)[0].(*dns.TXT).Hdr, Txt: []string{"y"}}}, []*keys.Key{a}, 1},
		{"another key", record(zone, 60), []*keys.Key{b}, 1},
		{"both keys", record(zone, 60), []*keys.Key{a, b}, 2},
	} {
		o.sign(t, tc.rrs, now, tc.signers...)
		if got := r.spent(); got != tc.want {
			t.Errorf("%s: expected %d signatures, got %d", tc.name, tc.want, got)
		}
	}
}

func TestOnlineSignaturesAreUsedForHalfTheirLife(t *testing.T) {
	r := &ring{zone: zone}
	k := r.key(t, dns.ED25519, 256, keys.ZSK)
	o := NewOnline(100, 100)
	sig := o.sign(t, record(zone, 60), now, k)[0]
	if life := sigTime(sig.Expiration, now).Sub(sigTime(sig.Inception, now)); life != 27*time.Hour {
		t.Errorf("Expected signatures of a day and 3 hours, got %s", life)
	}
	r.spent()
	half := 27 * time.Hour / 2
	for _, tc := range []struct {
		name string
		at   time.Time
		want int64
	}{
		{"before half", now.Add(-3*time.Hour + half - time.Second), 0},
		{"at half", now.Add(-3*time.Hour + half), 1},
		{"clock before inception", now, 1},
	} {
		o.sign(t, record(zone, 60), tc.at, k)
		if got := r.spent(); got != tc.want {
			t.Errorf("%s: expected %d signatures, got %d", tc.name, tc.want, got)
		}
	}
}

func TestOnlineForgetsWhatWasUsedLeastRecently(t *testing.T) {
	r := &ring{zone: zone}
	k := r.key(t, dns.ED25519, 256, keys.ZSK)
	o := NewOnline(3, 100)
	name := func(i int) []dns.RR { return record(fmt.Sprintf("n%d.%s", i, zone), 60) }
	for _, i := range []int{0, 1, 2, 0, 3} { // 1 goes
		o.sign(t, name(i), now, k)
	}
	r.spent()
	for _, i := range []int{2, 0, 3} {
		o.sign(t, name(i), now, k)
	}
	if got := r.spent(); got != 0 {
		t.Errorf("Expected three to be kept, got %d signatures", got)
	}
	if o.sign(t, name(1), now, k); r.spent() != 1 {
		t.Error("Expected the one used least recently to be gone")
	}
	if len(o.entries) != 3 || o.recent.Len() != 3 || len(o.flights) != 0 {
		t.Errorf("Expected three entries, got %d, %d and %d flights", len(o.entries), o.recent.Len(), len(o.flights))
	}
}

func TestOnlineWithoutACacheStillSigns(t *testing.T) {
	r := &ring{zone: zone}
	k := r.key(t, dns.ED25519, 256, keys.ZSK)
	o := NewOnline(0, 100)
	o.sign(t, record(zone, 60), now, k)
	o.sign(t, record(zone, 60), now, k)
	if got := r.spent(); got != 2 {
		t.Errorf("Expected two signatures, got %d", got)
	}
}

func TestOnlineKeepsToItsBudget(t *testing.T) {
	r := &ring{zone: zone}
	ec, rsa := r.key(t, dns.ED25519, 256, keys.ZSK), r.key(t, dns.RSASHA256, 256, keys.ZSK)
	i := 0
	signs := func(o *Online, at time.Time, signers ...*keys.Key) (n int) {
		for range 20 {
			i++
			switch _, err := o.Sign(record(fmt.Sprintf("n%d.%s", i, zone), 60), signers, at); {
			case err == nil:
				n++
			case !errors.Is(err, ErrBudget):
				t.Fatal(err)
			}
		}
		return n
	}
	o := NewOnline(10, 10)
	for _, tc := range []struct {
		name    string
		at      time.Time
		signers []*keys.Key
		want    int
	}{
		{"at once", now, []*keys.Key{ec}, 10},
		{"no time later", now, []*keys.Key{ec}, 0},
		{"a tenth of a second later", now.Add(100 * time.Millisecond), []*keys.Key{ec}, 1},
		{"a clock that went back", now.Add(-time.Hour), []*keys.Key{ec}, 0},
		{"an hour later", now.Add(time.Hour), []*keys.Key{ec}, 10},
		{"with two keys", now.Add(2 * time.Hour), []*keys.Key{ec, ec}, 5},
		{"with RSA", now.Add(3 * time.Hour), []*keys.Key{rsa}, 1},
		{"RSA is paid for later", now.Add(3*time.Hour + 2*time.Second), []*keys.Key{ec}, 0},
		{"and then paid", now.Add(3*time.Hour + 3*time.Second), []*keys.Key{ec}, 10},
	} {
		if got := signs(o, tc.at, tc.signers...); got != tc.want {
			t.Errorf("%s: expected %d, got %d", tc.name, tc.want, got)
		}
	}
	if got := signs(NewOnline(10, 0), now, ec); got != 0 {
		t.Errorf("Expected no budget to sign nothing, got %d", got)
	}
	if got := signs(nil, now, ec); got != 0 {
		t.Errorf("Expected nil to sign nothing, got %d", got)
	}
	if _, err := o.Sign(record(zone, 60), nil, now); err == nil || errors.Is(err, ErrBudget) {
		t.Errorf("Expected an error of its own without keys, got %v", err)
	}
}

// slow is a key that takes its time.
type slow struct {
	crypto.Signer
	begin func()
}

func (s slow) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	s.begin()
	return s.Signer.Sign(rand, digest, opts)
}

func TestOnlineSignsOnceForAllWhoAskAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &ring{zone: zone}
		k := r.key(t, dns.ED25519, 256, keys.ZSK)
		start := make(chan struct{})
		k.Signer = slow{k.Signer, func() { <-start }}
		o := NewOnline(0, 1) // a budget for one
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() { o.sign(t, record(zone, 60), now, k) })
		}
		synctest.Wait() // all but one wait for that one
		close(start)
		all.Wait()
		if got := r.spent(); got != 1 {
			t.Errorf("Expected one signature, got %d", got)
		}
	})
}

func TestOnlineSurvivesAKeyThatPanics(t *testing.T) {
	r := &ring{zone: zone}
	k := r.key(t, dns.ED25519, 256, keys.ZSK)
	good := k.Signer
	k.Signer = slow{good, func() { panic("broken") }}
	o := NewOnline(10, 10)
	func() {
		defer func() { _ = recover() }()
		_, _ = o.Sign(record(zone, 60), []*keys.Key{k}, now)
	}()
	k.Signer = good
	o.sign(t, record(zone, 60), now, k)
}

func TestSignaturesOfOnlineMayBeChanged(t *testing.T) {
	r := &ring{zone: zone}
	k := r.key(t, dns.ED25519, 256, keys.ZSK)
	o := NewOnline(10, 10)
	sig := o.sign(t, record(zone, 60), now, k)[0]
	sig.Signature, sig.Hdr.Ttl = "", 1
	o.sign(t, record(zone, 60), now, k)
}
