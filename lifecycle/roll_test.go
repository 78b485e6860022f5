package lifecycle

import (
	"crypto"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/observe"
)

// served is an RRset as it was answered from a time on.
type served struct {
	at      time.Time
	keys    []merge.Key // DNSKEY
	signers []merge.Key // of DNSKEY
	ds      []merge.DS
}

// roller is a zone of ours alone whose keys are rolled, with a parent that
// follows CDS when it likes to.
type roller struct {
	*life
	r       *rand.Rand
	files   []*keys.Key
	data    map[merge.Key]time.Time // signers of the zone's data
	entries []merge.Key
	pub     map[merge.Key]time.Time
	signing map[merge.Key]time.Time // signers of DNSKEY
	keyTTL  time.Duration
	dsTTL   time.Duration
	dnskey  []served
	parent  []served
	plan    keys.Schedule
	away    bool // the parent cannot be read
}

func newRoller(t *testing.T, seed uint64) *roller {
	r := &roller{life: newLife(t), r: rand.New(rand.NewPCG(seed, 0)), data: make(map[merge.Key]time.Time), pub: make(map[merge.Key]time.Time)}
	r.f.Target, r.f.Peers = []string{a1}, nil
	r.keyTTL, r.dsTTL = r.ttl(), r.ttl()
	r.c.TTL, r.c.MaxZoneTTL = r.keyTTL, 8*time.Hour
	return r
}

func (r *roller) ttl() time.Duration {
	return []time.Duration{10 * time.Minute, time.Hour, 5 * time.Hour, 24 * time.Hour}[r.r.IntN(4)]
}

// nobody signs nothing: only that there is a private half matters.
type nobody struct{}

func (nobody) Public() crypto.PublicKey                                  { return nil }
func (nobody) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, nil }
func (r *roller) file(k merge.Key, role keys.Role, t keys.Timing) *keys.Key {
	f := &keys.Key{DNSKEY: k.DNSKEY(zoneName, 0), Signer: nobody{}, Role: role, Timing: t}
	r.files = append(r.files, f)
	return f
}

// serve plans and serves what follows.
func (r *roller) serve() {
	f := keys.Facts{MaxZoneTTL: r.c.MaxZoneTTL, Entries: r.entries, KeysTTL: r.s.HeldKeys.TTL, KeysUntil: r.s.HeldKeys.Until, Seen: make(map[merge.Key]keys.Seen)}
	switch {
	case r.s.DSStatus == observe.DSPresent:
		f.DS = keys.DSThere
	case r.s.DSStatus.Absent():
		f.DS = keys.DSAbsent
	}
	for _, d := range r.s.DS {
		f.DSAlgorithms = append(f.DSAlgorithms, d.Algorithm)
	}
	for _, k := range r.s.Keys {
		f.Seen[k.Key] = keys.Seen{KnownFrom: k.KnownFrom, Signing: r.signing[k.Key], Signed: r.data[k.Key], InDS: k.DSSince, InDSFrom: k.InDSFrom, GoneFrom: k.GoneFrom}
	}
	for k := range r.data {
		f.Signed = append(f.Signed, k)
		f.Chain = append(f.Chain, k)
	}
	for k := range r.pub {
		f.Published = append(f.Published, k)
	}
	r.plan = keys.Plan(r.files, r.now, f)
	now := served{at: r.now, keys: keysOf(r.plan.Published), signers: keysOf(r.plan.SignDNSKEY)}
	r.entries = keysOf(r.plan.SecureEntry)
	if last := r.dnskey; len(last) == 0 || !slices.Equal(last[len(last)-1].keys, now.keys) || !slices.Equal(last[len(last)-1].signers, now.signers) {
		r.dnskey = append(r.dnskey, now)
	}
	signing := make(map[merge.Key]time.Time)
	for _, id := range now.signers {
		if signing[id] = r.signing[id]; signing[id].IsZero() {
			signing[id] = r.now
		}
	}
	pub := make(map[merge.Key]time.Time)
	r.f.Keys = nil
	for _, k := range r.files {
		id := k.ID()
		if slices.Contains(now.keys, id) {
			if pub[id] = r.pub[id]; pub[id].IsZero() {
				pub[id] = r.now
			}
		}
		r.f.Keys = append(r.f.Keys, OwnKey{Key: id, SignsData: k.Role.SignsData(), Published: pub[id]})
	}
	r.pub, r.signing = pub, signing
	r.f.Joint = merge.Joint{CDNSKEY: r.entries, CDS: digests(r.entries...)}
}

func keysOf(ks []*keys.Key) []merge.Key {
	var ids []merge.Key
	for _, k := range ks {
		ids = append(ids, k.ID())
	}
	return ids
}

// follow lets the parent take over CDS.
func (r *roller) follow() {
	ds := digests(r.entries...)
	if len(r.parent) == 0 || !slices.Equal(r.parent[len(r.parent)-1].ds, ds) {
		r.parent = append(r.parent, served{at: r.now, ds: ds})
	}
}

func (r *roller) observe() {
	var p Parent
	if !r.away && r.r.IntN(2) == 0 && len(r.parent) > 0 {
		p = r.life.parent(r.parent[len(r.parent)-1].ds, a1)
		p.DSTTL = r.dsTTL
	}
	var l Look
	if r.r.IntN(2) == 0 {
		l = Look{At: r.now, Seen: []Seen{{Host: a1, KeyTTL: r.keyTTL, Keys: r.dnskey[len(r.dnskey)-1].keys, NS: r.f.NS, NSTTL: time.Hour}}}
	}
	r.read(p, l)
}

// cached returns what caches may hold: what was answered no longer than a TTL
// ago.
func (r *roller) cached(all []served, ttl time.Duration) []served {
	var held []served
	for i, s := range all {
		if i+1 == len(all) || all[i+1].at.Add(ttl).After(r.now) {
			held = append(held, s)
		}
	}
	return held
}

// check holds that every cached DNSKEY RRset validates with every cached DS
// RRset, with every algorithm in it.
func (r *roller) check() {
	r.t.Helper()
	for _, ds := range r.cached(r.parent, r.dsTTL) {
		for _, set := range r.cached(r.dnskey, r.keyTTL) {
			valid := make(map[uint8]bool)
			for _, k := range set.signers {
				if slices.Contains(set.keys, k) && slices.Contains(ds.ds, digest(k)) {
					valid[k.Algorithm] = true
				}
			}
			signed := make(map[uint8]bool)
			for _, k := range set.signers {
				signed[k.Algorithm] = true
			}
			for _, d := range ds.ds {
				if len(valid) == 0 || !signed[d.Algorithm] {
					r.t.Fatalf("Expected every DNSKEY RRset in caches to validate with every DS RRset there at %v, with each algorithm:\nDS %v from %v\nDNSKEY %v signed by %v from %v\nplan: %s",
						r.now.Sub(epoch), tagsDS(ds.ds), ds.at.Sub(epoch), tags(set.keys), tags(set.signers), set.at.Sub(epoch), strings.Join(r.plan.Why, "\n"))
				}
			}
		}
	}
}

func tags(ks []merge.Key) (refs []merge.Ref) {
	for _, k := range ks {
		refs = append(refs, k.Ref())
	}
	return refs
}

func tagsDS(ds []merge.DS) (refs []merge.Ref) {
	for _, d := range ds {
		refs = append(refs, merge.Ref{Tag: d.KeyTag, Algorithm: d.Algorithm})
	}
	return refs
}

// Whatever the operator asks of the key files, and whenever the parent follows
// CDS: no cache ever holds a DNSKEY RRset that a cached DS RRset does not
// validate, and what can be carried out is.
func TestRandomRollsOfSecureEntryKeys(t *testing.T) {
	first := rand.Uint64()
	t.Logf("seed %d", first)
	done := 0
	for seed := first; seed < first+30; seed++ {
		r := newRoller(t, seed)
		created := epoch.AddDate(-1, 0, 0)
		when := func(hours int) time.Time { return epoch.Add(time.Duration(r.r.IntN(hours*60)) * time.Minute) }
		timing := func() keys.Timing {
			at := when(60)
			out := at.Add(time.Duration(r.r.IntN(100)) * time.Hour)
			tm := keys.Timing{Created: created, Publish: at, Activate: at}
			switch r.r.IntN(5) {
			case 0:
				tm.Delete = out
			case 1:
				tm.Inactive, tm.Delete = out, out.Add(time.Hour)
			case 2:
				tm.SyncDelete, tm.Delete = out, out.Add(10*time.Hour)
			}
			return tm
		}
		old := r.file(ksk(1), keys.KSK, keys.Timing{})
		zone := zsk(1)
		r.file(zone, keys.ZSK, keys.Timing{})
		r.data[zone] = created
		old.Timing = keys.Timing{Created: created, Publish: created, Activate: created, Delete: when(100)}
		algorithm := uint8(dns.ECDSAP256SHA256)
		if r.r.IntN(3) == 0 {
			algorithm = dns.ED25519
			z2 := key(256, algorithm, 1)
			r.file(z2, keys.ZSK, keys.Timing{})
			r.data[z2] = epoch.Add(time.Duration(r.r.IntN(20)) * time.Hour)
		}
		last := r.file(key(257, algorithm, 2), keys.KSK, keys.Timing{Created: created, Publish: when(60), Activate: epoch})
		last.Timing.Activate = last.Timing.Publish
		for i := range r.r.IntN(2) {
			r.file(ksk(byte(3+i)), keys.KSK, timing())
		}
		r.serve()
		r.follow()
		for r.now.Before(epoch.Add(900 * time.Hour)) {
			r.pass(time.Duration(5+r.r.IntN(120)) * time.Minute)
			if r.r.IntN(30) == 0 {
				r.away = !r.away
			}
			r.serve()
			r.check()
			if r.r.IntN(8) == 0 {
				r.follow()
				r.check()
			}
			r.observe()
		}
		if !slices.Contains(keysOf(r.plan.Published), ksk(1)) {
			done++
		}
	}
	if done < 10 {
		t.Errorf("Expected most old keys to have gone, got %d of 30", done)
	}
}
