package differential

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/announce"
	"github.com/coredns-mske/mske/internal/lab"
)

// maxAttempts is how many worlds are made for a case until one has what its
// damage is for.
const maxAttempts = 200

// world is a random hierarchy of zones below a top zone of its own, made from
// a seed and the number of its case alone.
type world struct {
	number int
	ip     string // where its servers seem to be
	now    time.Time
	rng    *rand.Rand
	keys   int // made so far

	lab       *lab.Lab
	zones     []*zone // parents before children
	announced string  // the zone that is announced
	host      string  // the nameserver that announces it
	owner     string  // the signaling name
	holder    *zone   // that it is in
	mixedCase bool    // the server gives names in another case

	damage    *damage // nil: none
	damaged   *zone   // where
	targets   []question
	tamper    func(q dns.Question, m *dns.Msg)
	questions []question
}

// zone is a zone of a world.
type zone struct {
	world    *world
	name     string
	parent   *zone
	children []*zone
	records  []string // in zone-file form, names relative
	unsigned bool
	keys     []*key
	digests  []uint8 // of DS
	editDS   func([]*dns.DS) []*dns.DS

	denial        lab.Denial
	salt          string
	iterations    uint16
	optOut        bool
	oldSignatures bool // expired ones beside the new

	built *lab.Zone
	sets  []*rrset
}

// newWorld makes the world of a case. Its damage follows from the number, so
// that each comes up as often as the others.
func newWorld(tb testing.TB, seed uint64, number int, ip string, now time.Time) *world {
	tb.Helper()
	d := damageOf(number)
	for attempt := range uint64(maxAttempts) {
		w := &world{
			number: number, ip: ip, now: now, damage: d,
			rng: rand.New(rand.NewPCG(seed, uint64(number)<<16|attempt)), // #nosec G115 G404 -- reproducible on purpose
			lab: lab.New(tb, now),
		}
		w.addZones()
		if w.build() {
			w.askQuestions()
			return w
		}
	}
	panic(fmt.Sprintf("case %d: no world of %d has what the damage %q is for", number, maxAttempts, d.name))
}

// chance is true in percent of a hundred cases.
func (w *world) chance(percent int) bool { return w.rng.IntN(100) < percent }

// pick returns a random element.
func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

// addZones makes the zones: a chain to the one that the nameserver is in, and
// others beside it.
func (w *world) addZones() {
	z := w.addZone(nil, fmt.Sprintf("w%d.", w.number))
	for _, label := range []string{"example", "provider", "hosting"}[:w.rng.IntN(4)] {
		z = w.addZone(z, label+"."+z.name)
	}
	w.host = "ns1." + z.name
	w.announced = pick(w.rng, []string{"example.org.", "example.co.uk.", "co.", "a.very.long.name.example.net."})
	z.add("ns1 A " + w.ip)
	holder := z
	if w.chance(50) {
		holder = w.addZone(z, announce.SignalingDomain(w.host))
	}
	w.addAnnouncement(holder)
	for _, parent := range slices.Clone(w.zones) {
		if w.chance(30) {
			w.addZone(parent, "sister."+parent.name)
		}
		if w.chance(25) {
			cut := w.addZone(parent, "insecure."+parent.name)
			cut.unsigned, cut.keys = true, nil
		}
		if w.chance(15) { // signed, and nobody says so
			w.addZone(parent, "island."+parent.name).editDS = func([]*dns.DS) []*dns.DS { return nil }
		}
	}
	w.mixedCase = w.chance(15)
}

// addZone adds a zone of random kind.
func (w *world) addZone(parent *zone, name string) *zone {
	z := &zone{world: w, name: name, parent: parent}
	w.zones = append(w.zones, z)
	if parent != nil {
		parent.children = append(parent.children, z)
	}
	if w.chance(4) {
		z.unsigned = true
	} else {
		z.dress()
	}
	z.fill()
	return z
}

// dress gives z keys and a way to deny.
func (z *zone) dress() {
	w := z.world
	algorithms := []uint8{dns.RSASHA256, dns.RSASHA512, dns.ECDSAP256SHA256, dns.ECDSAP384SHA384, dns.ED25519}
	switch {
	case w.chance(5):
		w.addKeys(z, pick(w.rng, []uint8{dns.ECCGOST, dns.ED448, dns.PRIVATEDNS, dns.RSASHA1NSEC3SHA1}))
	case w.chance(8):
		w.rng.Shuffle(len(algorithms), func(i, j int) { algorithms[i], algorithms[j] = algorithms[j], algorithms[i] })
		w.addKeys(z, algorithms[0])
		w.addKeys(z, algorithms[1])
	default:
		w.addKeys(z, pick(w.rng, algorithms))
	}
	z.digests = pick(w.rng, [][]uint8{
		{dns.SHA256}, {dns.SHA256}, {dns.SHA256}, {dns.SHA384}, {dns.SHA1}, {dns.SHA1, dns.SHA256},
		{dns.GOST94, dns.SHA256}, {200, dns.SHA384}, {dns.SHA256, dns.SHA384},
	})
	z.oldSignatures = w.chance(10)
	if w.chance(55) {
		z.denial = lab.NSEC3
		z.salt = pick(w.rng, []string{"", "", "AABB", "0123456789ABCDEF"})
		z.iterations = pick(w.rng, []uint16{0, 0, 0, 0, 0, 0, 1, 1, 5, 50, 100, 101, 150, 151, 300})
		z.optOut = w.chance(35)
	}
}

// add adds records in zone-file form.
func (z *zone) add(lines ...string) { z.records = append(z.records, lines...) }

// fill gives z the data that questions are about.
func (z *zone) fill() {
	z.add("@ NS "+"ns1."+z.name,
		`@ TXT "apex"`,
		"www A 192.0.2.1", "www A 192.0.2.2",
		"single A 192.0.2.3",
		`text TXT "one" "two"`,
		`*.wild TXT "wild"`, "*.wild A 192.0.2.4",
		`host.wild TXT "not wild"`,
		`a.b.c.deep TXT "below empty non-terminals"`,
		"alias CNAME www", "far CNAME nowhere.deep", "wildalias CNAME x.wild",
		"moved DNAME deep",
		"zero 0 A 192.0.2.5",
	)
	if z.world.chance(30) {
		z.add("*.starred CNAME www")
	}
}

// addAnnouncement puts the announcement into z: complete or not, or none.
func (w *world) addAnnouncement(z *zone) {
	w.holder = z
	w.owner = "_multi." + w.announced + announce.SignalingDomain(w.host)
	relative := strings.TrimSuffix(w.owner, "."+z.name)
	peer := &zone{world: w, name: w.announced}
	ksk, zsk := w.newKey(peer, dns.ECDSAP256SHA256, 257), w.newKey(peer, dns.ED25519, 256)
	cds := ksk.digest(dns.SHA256).ToCDS()
	record := func(rr dns.RR, rrtype string) string {
		text := strings.SplitN(rr.String(), "\t", 5)
		return relative + " " + rrtype + " " + text[4]
	}
	lines := []string{record(cds, "CDS"), record(ksk.ToCDNSKEY(), "CDNSKEY"), record(zsk.DNSKEY, "DNSKEY")}
	switch w.rng.IntN(12) {
	case 0: // without DNSKEY
		lines = lines[:2]
	case 1: // without CDS
		lines = lines[1:]
	case 2: // nothing announced
		lines = nil
	case 3: // from a wildcard
		relative = strings.Replace(relative, "_multi.", "*.", 1)
		lines = []string{record(cds, "CDS"), record(ksk.ToCDNSKEY(), "CDNSKEY"), record(zsk.DNSKEY, "DNSKEY")}
	case 4: // elsewhere
		lines = []string{relative + " CNAME elsewhere", record(cds, "CDS")}
		lines[1] = strings.Replace(lines[1], relative, "elsewhere", 1)
	}
	z.add(lines...)
}

// build makes the records of all zones and damages them. It is false if this
// world has nothing that can be damaged so.
func (w *world) build() bool {
	if !w.plan() {
		return false
	}
	for _, z := range slices.Backward(w.zones) { // DS before what holds them
		z.build()
	}
	for _, z := range w.zones {
		for _, set := range z.built.Signed() {
			z.sets = append(z.sets, &set)
		}
	}
	return w.inflict()
}

// build gives z to the lab.
func (z *zone) build() {
	lines := slices.Clone(z.records)
	for _, child := range z.children {
		lines = append(lines, child.name+" NS ns1."+child.name)
		for _, ds := range child.ds() {
			lines = append(lines, ds.String())
		}
	}
	if z.denial == lab.NSEC3 && !z.unsigned {
		salt := z.salt
		if salt == "" {
			salt = "-"
		}
		lines = append(lines, fmt.Sprintf("@ 0 NSEC3PARAM 1 0 %d %s", z.iterations, salt))
	}
	var keys []*lab.Key
	for _, k := range z.keys {
		if !k.hidden {
			keys = append(keys, k.Key)
		}
	}
	z.built = z.world.lab.Add(lab.Zone{
		Name: z.name, Records: strings.Join(lines, "\n") + "\n", Keys: keys, Unsigned: z.unsigned, NoDS: true,
		Denial: z.denial, Salt: z.salt, Iterations: z.iterations, OptOut: z.optOut, SignRRset: z.sign,
	})
}

// secure says whether a chain of trust leads to z, as long as nothing is
// damaged.
func (z *zone) secure() bool {
	if z.unsigned || z.editDS != nil || z.parent != nil && !z.parent.secure() {
		return false
	}
	return slices.ContainsFunc(z.keys, func(k *key) bool { return k.Signer != nil && k.Algorithm >= dns.RSASHA256 })
}

// set returns the RRset of that name and type, or nil.
func (z *zone) set(name string, rrtype uint16) *rrset {
	for _, set := range z.sets {
		if set.Name() == name && set.Type() == rrtype {
			return set
		}
	}
	return nil
}

// at returns the name in z with these labels in front.
func (z *zone) at(labels string) string { return labels + "." + z.name }

// file returns z in zone-file form.
func (z *zone) file() string {
	var text strings.Builder
	for _, set := range z.sets {
		for _, rr := range slices.Concat(set.RRs, set.Sigs) {
			fmt.Fprintln(&text, rr)
		}
	}
	return text.String()
}
