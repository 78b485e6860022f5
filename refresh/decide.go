package refresh

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/serve"
	"github.com/coredns-mske/mske/store"
)

const (
	// coldWait is how long a zone that begins cold answers no apex key query
	// at all: time for the other providers' keys to be collected (rule M5).
	coldWait = 5 * time.Minute

	// coldTTL is the TTL of a DNSKEY RRset that may lack keys, in seconds.
	coldTTL = 60
)

// answer is how much of the apex key sets is served.
type answer uint8

const (
	failing   answer = iota // nothing: resolvers turn to another provider
	keysAlone               // DNSKEY, with a short TTL
	full                    // all of them
)

// view is what an apex is made from.
type view struct {
	answer           answer
	joint            merge.Joint
	signers          serve.Signers
	hasCNS, hasCSYNC bool

	// correcting sign the chain's denials while nothing is served: a denial of
	// the key sets would stay in caches for longer than that.
	correcting []*keys.Key

	// deleting says that CDS and CDNSKEY ask the parent to remove DS instead
	// (rule M7).
	deleting bool

	delegation delegation
}

// equal reports whether v and w make the same apex.
func (v view) equal(w view) bool {
	return v.answer == w.answer && v.deleting == w.deleting && reflect.DeepEqual(v.delegation, w.delegation) && reflect.DeepEqual(v.joint, w.joint) && v.hasCNS == w.hasCNS && v.hasCSYNC == w.hasCSYNC &&
		slices.EqualFunc(v.signers.SecureEntry, w.signers.SecureEntry, sameSigner) &&
		slices.EqualFunc(v.signers.Data, w.signers.Data, sameSigner) && slices.EqualFunc(v.correcting, w.correcting, sameSigner)
}

func sameSigner(a, b *keys.Key) bool {
	return a.ID() == b.ID() && (a.Signer == nil) == (b.Signer == nil)
}

// finding is something about a zone that an operator has to know. Without text
// it says that its topic is settled.
type finding struct {
	topic string
	level level
	text  string
}

// decision is what a zone is to serve and announce, and why.
type decision struct {
	view         view
	local        merge.Local        // our part of it
	announcement merge.Announcement // of our own keys
	announced    bool               // whether it is known what to announce
	boot         merge.Announcement // what is announced for bootstrapping, empty for nothing (rule P5)
	kept         string             // why what is distrusted is served all the same, "" if it is not

	// life is the phase of the zone, with what this serves, and what NS may be:
	// life.MayAdd says that it may be the target now, life.NS what it may be in
	// any case. It is not part of view, since most of it is not published; what
	// is to be served because of it belongs there.
	life lifecycle.Report

	own      []store.Own
	may      map[merge.Key]time.Time // from when each may go
	roles    map[merge.Key]keys.Role // of those that are published
	cold     time.Time
	next     time.Time // when time alone changes this; zero for never
	findings []finding
}

// decide returns what z is to serve at now.
func decide(z *Zone, f facts, now time.Time) decision {
	o := planOwn(z, f, now)
	d := decision{own: o.marks, may: o.may, roles: o.roles(), next: o.next}
	d.view.hasCNS, d.view.hasCSYNC = f.state.HasCNS, f.state.HasCSYNC

	until := lostUntil(f.state, o.lost, now)
	d.local = o.local(!until.IsZero())
	// Without a usable key of ours, peers are not told less than before, see hold.
	d.announcement, d.announced = o.announcement(z.Name, d.local), o.usable == nil
	d.view.joint = merge.Union(z.Name, d.local, f.others(z))
	d.view.signers = o.signers(f.state.Signers)
	d.view.answer = full

	d.reportKeys(o, z.distrustedFiles(f.files))
	d.reportLost(o, until)
	d.deleteDS(z, f)
	switch established := len(f.state.Joint.DNSKEY) > 0; {
	case o.usable != nil || f.unknown || len(d.own) > store.MaxOwnKeys:
		d.hold(z, f, now)
	case !until.IsZero() && covered(f.state.Signers, f.state.Joint):
		d.hold(z, f, now)
		d.next = earliest(d.next, until)
	case z.Whole || established || !f.state.Seed.At.IsZero():
	case !f.looked:
		d.fail(f)
		d.cold = f.state.Cold
		d.find("cold", levelPending, "its apex key sets are not served before the zone has been read for the first time")
	default:
		d.start(z, f, now)
	}
	d.reportDistrust(z, f)
	d.reportOrphaned(z, f.state.Signers)
	d.reportCrowd()
	if d.view.answer == full && d.cold.IsZero() {
		d.find("cold", levelInfo, "")
	}
	return d
}

func (d *decision) find(topic string, l level, format string, args ...any) {
	d.findings = append(d.findings, finding{topic, l, fmt.Sprintf(format, args...)})
}

// fail has the zone not served at all, and so none of our keys. Only a key that
// the zone is signed with corrects its denials: nobody need have another one.
func (d *decision) fail(f facts) {
	d.view.answer, d.view.joint = failing, merge.Joint{}
	d.own = f.state.Own
	for _, k := range d.view.signers.Data {
		if k.Signer != nil && slices.Contains(f.state.Signers, k.ID()) {
			d.view.correcting = append(d.view.correcting, k)
		}
	}
}

// hold leaves everything as it was served last, but for what is distrusted (rule M7),
// and announces no key that is not served; a zone that never was served is not.
func (d *decision) hold(z *Zone, f facts, now time.Time) {
	d.own, d.cold = f.state.Own, f.state.Cold
	if len(f.state.Joint.DNSKEY) == 0 {
		d.announced = false
		d.fail(f)
		return
	}
	j := f.state.Joint
	if trusted := z.trustedJoint(f); !reflect.DeepEqual(trusted, j) {
		if d.kept = d.unsignable(f.state, now); d.kept == "" {
			j = trusted
		}
	}
	d.view.joint = j
	a := &d.announcement
	if !d.announced {
		*a, d.announced = z.announcedBefore(f.state.Own), true
	}
	a.DNSKEY = common(a.DNSKEY, j.DNSKEY)
	a.CDNSKEY = common(a.CDNSKEY, j.CDNSKEY)
	a.CDS = common(a.CDS, j.CDS)
}

// announcedBefore returns what was announced last of the keys with these marks, or
// more: peers would take what is missing for removed, and who does not know us yet would
// learn nothing.
func (z *Zone) announcedBefore(marks []store.Own) (a merge.Announcement) {
	for _, o := range marks {
		if o.Published.IsZero() || z.distrustsKey(o.Key) {
			continue
		}
		if o.SignsData {
			a.DNSKEY = append(a.DNSKEY, o.Key)
		}
		if o.SecureEntry {
			a.CDNSKEY = append(a.CDNSKEY, o.Key)
		}
	}
	a.CDS = digests(z.Name, a.CDNSKEY)
	return a
}

// unsignable returns why DNSKEY cannot be signed anew, "" if it can: no signature may
// be lost by that which cannot be made again, since it may be the one that validates.
func (d *decision) unsignable(s store.Zone, now time.Time) string {
	for _, k := range d.view.signers.SecureEntry {
		if k.Signer == nil && !lostUntil(s, []merge.Key{k.ID()}, now).IsZero() {
			return fmt.Sprintf("without its file, the signature by our key %d cannot be made anew", k.Tag())
		}
	}
	return ""
}

// common returns those of a that are in b.
func common[T comparable](a, b []T) []T {
	return slices.DeleteFunc(slices.Clone(a), func(v T) bool { return !slices.Contains(b, v) })
}

// start decides about a zone that was never served (rule M5): if it is
// delegated to other providers, whatever lacks their keys breaks it, unless no
// DS vouches for any.
func (d *decision) start(z *Zone, f facts, now time.Time) {
	var missing, never []string
	imports, _ := z.imports(f.state)
	life := f.state.Life
	for _, h := range z.external(slices.Concat(f.state.NS, life.ParentNS)) {
		if peer(f.state.Peers, h) >= 0 {
			continue
		}
		missing = append(missing, h)
		if !slices.Contains(imports, h) || z.incapable(h) != nil {
			never = append(never, h)
		}
	}
	if len(missing) == 0 || life.DSStatus.Absent() {
		return
	}
	d.cold = f.state.Cold
	if d.cold.IsZero() {
		d.cold = now
	}
	text := fmt.Sprintf("the keys of %s, to which the zone is delegated, are not known yet: ", strings.Join(missing, ", "))
	if len(never) > 0 {
		text += fmt.Sprintf("name %s in the zone's CNS RRset or with the cns option, so that they are collected: ", strings.Join(never, ", "))
	}
	if end := d.cold.Add(coldWait); end.After(now) {
		d.next = earliest(d.next, end)
		d.fail(f)
		d.find("cold", levelProblem, "%sits apex key sets are not served", text)
		return
	}
	d.view.answer = keysAlone
	d.find("cold", levelProblem, "%sDNSKEY is served without them, CDS and CDNSKEY are not", text)
}

// deleteDS carries out the owner's wish to leave DNSSEC, unless others sign the
// zone: their data, too, would no longer validate in the time between.
func (d *decision) deleteDS(z *Zone, f facts) {
	const topic = "cds delete"
	switch ext := z.external(f.state.Target); {
	case !z.DeleteDS:
		d.find(topic, levelInfo, "")
	case len(ext) > 0:
		d.find(topic, levelError, "cds delete is not carried out while the zone has other providers (%s): take them out of its CNS or NS RRset first", strings.Join(ext, ", "))
	default:
		d.view.deleting = true
		d.find(topic, levelWarning, "CDS and CDNSKEY ask the parent to remove DS: once it has, nothing protects the zone; go on signing until caches have forgotten DS")
	}
}

// reportKeys says what our keys do and what stands in their way. Those in distrusted
// do nothing.
func (d *decision) reportKeys(o ours, distrusted []merge.Key) {
	if o.usable == nil {
		d.find("usable", levelInfo, "")
	} else {
		text := fmt.Sprintf("it cannot be signed; what was served last stays while its signatures last, and without that its apex key sets are not served: %v", o.usable)
		if len(distrusted) > 0 {
			text += fmt.Sprintf(" (the distrust option names %s)", tags(distrusted))
		}
		d.find("usable", levelProblem, "%s", text)
	}
	if len(o.marks) > store.MaxOwnKeys {
		d.find("many", levelProblem, "it has %d keys of ours, more than %d: remove old ones", len(o.marks), store.MaxOwnKeys)
	} else {
		d.find("many", levelInfo, "")
	}
	var roles []string
	for _, k := range o.Published {
		roles = append(roles, fmt.Sprintf("%s %d %s", k.Role, k.Tag(), keys.AlgorithmName(k.DNSKEY.Algorithm)))
	}
	if len(roles) > 0 {
		d.find("roles", levelInfo, "our keys are %s", strings.Join(roles, ", "))
	}
	d.find("plan", levelWarning, "%s", strings.Join(o.Why, "; "))
}

// reportCrowd says that others refuse what is announced.
func (d *decision) reportCrowd() {
	if n := max(len(d.announcement.DNSKEY), len(d.announcement.CDNSKEY)); n > fetch.MaxKeys {
		d.find("crowd", levelWarning, "%d keys of one kind are announced, and other providers refuse more than %d, so that no change of them arrives there: remove the files of old keys", n, fetch.MaxKeys)
		return
	}
	d.find("crowd", levelInfo, "")
}

func (d *decision) reportLost(o ours, until time.Time) {
	if len(o.lost) == 0 {
		d.find("lost", levelInfo, "")
		return
	}
	text := fmt.Sprintf("the files of key %s are gone and it may be what the parent's DS names: put them back", tags(o.lost))
	if !until.IsZero() {
		text += fmt.Sprintf(" before %s, until when its stored signatures are served and nothing is changed", until.UTC().Format(time.RFC3339))
	}
	d.find("lost", levelProblem, "%s", text)
}

func tags(ks []merge.Key) string {
	var texts []string
	for _, k := range ks {
		texts = append(texts, fmt.Sprint(k.Tag()))
	}
	return strings.Join(texts, ", ")
}

// announcement returns what we announce: what the schedule says of data-signing
// keys, with the lost ones, and the secure entries that are our part of the joint
// sets (rule K3).
func (o *ours) announcement(zone string, l merge.Local) merge.Announcement {
	a := merge.Announcement{DNSKEY: ids(o.Announced), CDNSKEY: l.SecureEntry}
	for _, k := range o.lost {
		if i := mark(o.marks, k); i >= 0 && o.marks[i].SignsData && !slices.Contains(a.DNSKEY, k) {
			a.DNSKEY = append(a.DNSKEY, k)
		}
	}
	a.CDS = digests(zone, l.SecureEntry)
	return a
}

// digests returns what CDS says of keys.
func digests(zone string, ks []merge.Key) (ds []merge.DS) {
	for _, k := range ks {
		if d, ok := k.DS(zone, dns.SHA256); ok {
			ds = append(ds, d)
		}
	}
	return ds
}

// lostUntil returns how long the stored DNSKEY RRset has a signature by each
// of the lost keys; zero if it has none.
func lostUntil(s store.Zone, lost []merge.Key, now time.Time) time.Time {
	var until time.Time
	for _, k := range lost {
		i := slices.IndexFunc(s.Signatures, func(sig serve.Signature) bool {
			return sig.Covers() == dns.TypeDNSKEY && sig.KeyTag() == k.Tag() && sig.Algorithm() == k.Algorithm &&
				!now.Before(sig.Inception(now)) && !now.After(sig.Expiration(now))
		})
		if i < 0 {
			return time.Time{}
		}
		until = earliest(until, s.Signatures[i].Expiration(now))
	}
	return until
}

// covered reports whether the zone data can be validated with the keys of j.
func covered(signers []merge.Key, j merge.Joint) bool {
	return !slices.ContainsFunc(signers, func(k merge.Key) bool { return !slices.Contains(j.DNSKEY, k) })
}

// plus returns a with what b has more: no key of a is missing in it. It is
// what is served when b cannot be stored (rule T1).
func plus(zone string, a, b merge.Joint) merge.Joint {
	var named []merge.Peer // one for each digest, which may be another key's than one with its tag
	for _, d := range slices.Concat(a.Unmatched, b.Unmatched) {
		named = append(named, merge.Peer{Announcement: merge.Announcement{CDS: []merge.DS{d}}})
	}
	return merge.Union(zone, merge.Local{
		DNSKEY:      slices.Concat(a.DNSKEY, b.DNSKEY),
		SecureEntry: slices.Concat(a.CDNSKEY, b.CDNSKEY),
	}, named)
}

// difference returns what tells is from was.
func difference(was, is merge.Joint) merge.Change {
	return merge.Change{DNSKEY: delta(was.DNSKEY, is.DNSKEY), SecureEntry: delta(was.CDNSKEY, is.CDNSKEY)}
}

func delta(was, is []merge.Key) merge.Delta {
	return merge.Delta{Added: minus(is, was), Removed: minus(was, is)}
}

// minus returns those of a that are not in b.
func minus(a, b []merge.Key) []merge.Ref {
	var refs []merge.Ref
	for _, k := range a {
		if !slices.Contains(b, k) {
			refs = append(refs, k.Ref())
		}
	}
	return refs
}
