package merge

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// universe are the keys that fuzzed announcements are made of: by role, by
// algorithm, and two pairs of the same tag.
func universe(t testing.TB) []Key {
	t.Helper()
	ks := []Key{ksk(1), ksk(2), zsk(1), zsk(2), zsk(3), key(257, dns.ED25519, 4), key(256, dns.ED25519, 5), key(256, dns.RSASHA256, 6)}
	for _, k := range []Key{ksk(1), zsk(1)} {
		k.PublicKey = twin(t, k)
		ks = append(ks, k)
	}
	return ks
}

// pick returns those of ks whose bits are set.
func pick(ks []Key, bits uint16) []Key {
	var picked []Key
	for i, k := range ks {
		if bits>>i&1 == 1 {
			picked = append(picked, k)
		}
	}
	return picked
}

// script takes what the fuzzer wrote apart.
type script []byte

func (s *script) octet() byte {
	if len(*s) == 0 {
		return 0
	}
	b := (*s)[0]
	*s = (*s)[1:]
	return b
}

func (s *script) bits() uint16 { return uint16(s.octet())<<8 | uint16(s.octet()) }

// announcement returns the next announcement: keys by role, digests of keys of
// which some are told by these alone, TTL and inceptions.
func (s *script) announcement(t testing.TB, ks []Key) Announcement {
	types := []uint8{dns.SHA256, dns.SHA384, dns.SHA1}
	a := Announcement{DNSKEY: pick(ks, s.bits()), CDNSKEY: pick(ks, s.bits()), TTL: time.Duration(s.octet()) * time.Minute}
	for i, k := range pick(ks, s.bits()) {
		a.CDS = append(a.CDS, digest(t, k, types[i%len(types)]))
		if i%2 == 0 {
			a.CDS = append(a.CDS, digest(t, k, types[(i+1)%len(types)]))
		}
	}
	at := func() time.Time { return epoch.Add(time.Duration(s.octet()) * time.Minute) }
	a.Inception = Inceptions{DNSKEY: at(), CDNSKEY: at(), CDS: at()}
	return a
}

// held is what the test remembers of a data-signing key of one host: what rule
// M2 says of it, in the simplest words.
type held struct {
	missing bool
	since   time.Time     // when it was first missing, without a silence after that
	ttl     time.Duration // the longer of the TTLs of the announcement before that and of that one
}

// hostModel is what was collected of one host.
type hostModel struct {
	last   Announcement
	at     time.Time // when that was
	newest Inceptions
	keys   map[Key]*held
}

const (
	fuzzMaxZoneTTL = 24 * time.Hour
	fuzzGap        = 30 * time.Hour
)

// collect follows an announcement at now, and drops nothing.
func (m *hostModel) collect(a Announcement, now time.Time) {
	if at := a.Inception.DNSKEY; !at.IsZero() && at.Before(m.newest.DNSKEY) {
		a.DNSKEY = slices.Concat(a.DNSKEY, m.last.DNSKEY) // it may come from a cache
	}
	for _, k := range a.DNSKEY {
		m.keys[k] = new(held)
	}
	for k, h := range m.keys {
		silence := now.Sub(m.at) > fuzzGap
		if (!h.missing || silence) && !slices.Contains(a.DNSKEY, k) {
			*h = held{missing: true, since: now, ttl: max(a.TTL, m.last.TTL)}
		}
	}
	m.last, m.at = a, now
	for at, to := range map[*time.Time]*time.Time{
		&a.Inception.DNSKEY: &m.newest.DNSKEY, &a.Inception.CDNSKEY: &m.newest.CDNSKEY, &a.Inception.CDS: &m.newest.CDS,
	} {
		if at.After(*to) {
			*to = *at
		}
	}
}

// check holds what is published for the host against rule M2.
func (m *hostModel) check(t *testing.T, p Peer, now time.Time, longest time.Duration) {
	t.Helper()
	published := p.dnskeys()
	for k, h := range m.keys {
		here := slices.Contains(published, k)
		switch {
		case !here && !h.missing:
			t.Fatalf("Expected the announced key %d to be published", k.Tag())
		case !here && now.Before(h.since.Add(fuzzMaxZoneTTL+h.ttl)):
			t.Fatalf("Expected key %d, missing since %v, to stay for %v, not only until %v", k.Tag(), h.since, fuzzMaxZoneTTL+h.ttl, now)
		case here && h.missing && !now.Before(h.since.Add(fuzzMaxZoneTTL+longest)):
			t.Fatalf("Expected key %d, missing since %v, to have gone by %v", k.Tag(), h.since, now)
		case !here:
			delete(m.keys, k)
		}
	}
	for _, k := range published {
		if m.keys[k] == nil {
			t.Fatalf("Expected only keys that were announced, got %d", k.Tag())
		}
	}
	for i, r := range p.Retiring {
		if slices.Contains(p.Announcement.DNSKEY, r.Key) || slices.ContainsFunc(p.Retiring[:i], func(o Retiring) bool { return o.Key == r.Key }) {
			t.Fatalf("Expected each key to be announced or retiring, once, got %+v", p.Retiring)
		}
	}
	if p.Announcement.Inception != m.newest {
		t.Fatalf("Expected the newest inceptions %+v, got %+v", m.newest, p.Announcement.Inception)
	}
}

// FuzzMerge has three hosts announce whatever they like, at times that may also
// go back, and holds the joint sets against rules M1 and M2: no key is lost and
// none is invented, in no matter which order the hosts come, and what is
// announced again changes nothing.
func FuzzMerge(f *testing.F) {
	ks := universe(f)
	one := []byte{0, 0, 0b11100, 0, 0b11, 60, 0, 0b11, 1, 1, 1, 10}
	other := []byte{1, 0, 0b100100, 0, 0b100000, 5, 0, 0b100000, 9, 9, 9, 10}
	roll := []byte{0, 0, 0b1100, 0, 0b10, 5, 0, 0b10, 2, 2, 2, 250}
	back := []byte{0, 0, 0b11000, 0, 0b1, 5, 0, 0b1, 0, 0, 0, 0x80}
	short := []byte{0, 0, 0b1000, 0, 0b1, 0, 0, 0b1, 2, 2, 2, 73}
	long := []byte{0, 0, 0b1000, 0, 0b1, 0, 0, 0b1, 2, 2, 2, 100}
	named := []byte{1, 0, 0b1000, 0, 0b10, 0, 0, 0b1110011, 2, 2, 2, 1}
	also := []byte{2, 0, 0b1000, 0, 0b10, 0, 0, 0b1100111, 0, 0, 0, 1}
	twins := []byte{2, 3, 0b11, 1, 0b1, 5, 3, 0b1, 0, 0, 0, 1}
	for _, steps := range [][][]byte{{one}, {one, other}, {one, roll, roll}, {one, roll, one, roll}, {one, roll, back, other, twins}, {twins, one, other, other}, {one, short, short, short}, {one, short, long, short, short}, {named, also}} {
		f.Add(append([]byte{0, 0b101, 0, 0b1}, slices.Concat(steps...)...))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s := script(text)
		local := Local{DNSKEY: pick(ks, s.bits()), SecureEntry: pick(ks, s.bits())}
		var peers []Peer
		models := make(map[string]*hostModel)
		now, longest := epoch, time.Duration(0)
		for range 12 {
			if len(s) == 0 {
				break
			}
			host := []string{"ns1.example.net.", "ns2.example.net.", "ns1.example.org."}[s.octet()%3]
			i := slices.IndexFunc(peers, func(p Peer) bool { return p.Host == host })
			if i < 0 {
				i = len(peers)
				peers = append(peers, Peer{Host: host})
				models[host] = &hostModel{keys: make(map[Key]*held)}
			}
			a := s.announcement(t, ks)
			now = now.Add(time.Duration(int8(s.octet())) * 20 * time.Minute)
			longest = max(longest, a.TTL)

			admitted(t, a, local, slices.Concat(peers[:i], peers[i+1:]))
			models[host].collect(a, now)
			peers[i] = collected(t, peers[i], a, now)
			models[host].check(t, peers[i], now, longest)
			joint(t, local, peers)
		}
	})
}

// collected has p collect a, and checks what can be said of that alone.
func collected(t *testing.T, p Peer, a Announcement, now time.Time) Peer {
	t.Helper()
	was := Peer{Host: p.Host, Announcement: p.Announcement, Collected: p.Collected, Retiring: slices.Clone(p.Retiring)}
	next, change := p.Collect(a, now, fuzzMaxZoneTTL, fuzzGap)
	if !reflect.DeepEqual(p, was) {
		t.Fatal("Expected Collect to leave its receiver alone")
	}
	same, none := next.Collect(a, now, fuzzMaxZoneTTL, fuzzGap)
	if !reflect.DeepEqual(same, next) || !none.None() {
		t.Fatalf("Expected the same announcement to change nothing, got %v", none)
	}
	before, after := refs(p.dnskeys()), refs(next.dnskeys())
	before = append(before, change.DNSKEY.Added...)
	before = slices.DeleteFunc(before, func(r Ref) bool { return slices.Contains(change.DNSKEY.Removed, r) })
	if !slices.Equal(sortRefs(before), after) {
		t.Fatalf("Expected the change %v to lead to %v, got %v", change, after, before)
	}
	if why := a.Replayed(a); why != "" {
		t.Fatalf("Expected no announcement to be a replay of itself, got %q", why)
	}
	return next
}

// admitted checks Admit: what it lets in has our algorithms and shares no tag
// with another key.
func admitted(t *testing.T, a Announcement, local Local, others []Peer) {
	t.Helper()
	err, lax := Admit(a, local, others, false), Admit(a, local, others, true)
	var ae *AlgorithmError
	var ce *CollisionError
	if err != nil && !errors.As(err, &ae) && !errors.As(err, &ce) {
		t.Fatalf("Expected one of two errors, got %v", err)
	}
	if errors.As(lax, &ae) || err == nil && lax != nil {
		t.Fatalf("Expected lax to be no stricter, got %v and %v", err, lax)
	}
	sets := [][]Key{a.DNSKEY, a.CDNSKEY, local.DNSKEY, local.SecureEntry}
	for _, p := range others {
		sets = append(sets, p.dnskeys(), p.Announcement.CDNSKEY)
	}
	announced := sortKeys(a.DNSKEY, a.CDNSKEY)
	collides := slices.ContainsFunc(announced, func(k Key) bool {
		return slices.ContainsFunc(sortKeys(sets...), func(other Key) bool { return other != k && other.Ref() == k.Ref() })
	})
	if collides != (lax != nil) {
		t.Fatalf("Expected a collision %t, got %v", collides, lax)
	}
	ours := algorithmsOf(sortKeys(local.DNSKEY, local.SecureEntry), nil)
	if alike := slices.Equal(algorithmsOf(announced, a.CDS), ours); alike == errors.As(err, &ae) {
		t.Fatalf("Expected like algorithms %t, got %v", alike, err)
	}
}

// joint checks the joint sets of local and peers (rule M1).
func joint(t *testing.T, local Local, peers []Peer) {
	t.Helper()
	j := Union(zone, local, peers)
	backwards := slices.Clone(peers)
	slices.Reverse(backwards)
	if again := Union(zone, local, backwards); !reflect.DeepEqual(j, again) {
		t.Fatalf("Expected the same sets whichever peer comes first, got\n%+v and\n%+v", j, again)
	}
	sets, entries := [][]Key{local.DNSKEY}, [][]Key{local.SecureEntry}
	var digests []DS
	for _, p := range peers {
		sets = append(sets, p.dnskeys())
		entries = append(entries, p.Announcement.CDNSKEY)
		digests = append(digests, p.Announcement.CDS...)
	}
	if want := sortKeys(sets...); !slices.Equal(j.DNSKEY, want) {
		t.Fatalf("Expected DNSKEY %v, got %v", want, j.DNSKEY)
	}
	known := sortKeys(j.DNSKEY, sortKeys(entries...))
	for _, k := range sortKeys(entries...) {
		if !slices.Contains(j.CDNSKEY, k) {
			t.Fatalf("Expected the secure entry %d in CDNSKEY", k.Tag())
		}
	}
	for _, k := range j.CDNSKEY {
		if d := digest(t, k, dns.SHA256); !slices.Contains(j.CDS, d) {
			t.Fatalf("Expected the digest of key %d in CDS", k.Tag())
		}
		if !slices.Contains(sortKeys(entries...), k) && !slices.ContainsFunc(digests, func(d DS) bool { return d.Names(zone, k) }) {
			t.Fatalf("Expected only secure entries in CDNSKEY, got %d", k.Tag())
		}
	}
	unknown := make([][]DS, len(peers))
	for i, p := range peers {
		for _, d := range p.Announcement.CDS {
			matches := func(k Key) bool { return d.Names(zone, k) }
			switch {
			case !slices.ContainsFunc(known, matches):
				unknown[i] = append(unknown[i], d)
			case !slices.ContainsFunc(j.CDNSKEY, matches):
				t.Fatalf("Expected the key of digest %v, which is known, in CDNSKEY", d)
			}
		}
	}
	var kept []DS
	for i, p := range peers {
		for _, d := range unknown[i] {
			stronger := func(o DS) bool {
				return o.KeyTag == d.KeyTag && o.Algorithm == d.Algorithm && rank(o.DigestType) > rank(d.DigestType)
			}
			weak := slices.ContainsFunc(unknown[i], stronger)
			for k, q := range peers {
				zsks := sortKeys(p.Announcement.DNSKEY)
				same := len(zsks) > 0 && slices.Equal(zsks, sortKeys(q.Announcement.DNSKEY)) // a provider's
				weak = weak || same && slices.ContainsFunc(unknown[k], stronger)
			}
			if !weak {
				kept = append(kept, d)
			}
		}
	}
	if want := sortDS(kept); !slices.Equal(j.Unmatched, want) {
		t.Fatalf("Expected of each provider the digests of unknown keys, of one type for each, %v, got %v", want, j.Unmatched)
	}
	for _, d := range j.CDS {
		named := slices.ContainsFunc(j.CDNSKEY, func(k Key) bool { return digest(t, k, dns.SHA256) == d })
		if named == slices.Contains(j.Unmatched, d) {
			t.Fatalf("Expected %v to be the digest of a known key or unmatched", d)
		}
	}
	if !slices.IsSortedFunc(j.DNSKEY, CompareKeys) || !slices.IsSortedFunc(j.CDNSKEY, CompareKeys) || !slices.IsSortedFunc(j.CDS, CompareDS) {
		t.Fatal("Expected canonical order")
	}
}
