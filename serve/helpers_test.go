package serve

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/merge"
)

var now = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)

// counter counts the signatures that a key makes.
type counter struct {
	crypto.Signer
	made *atomic.Int64
}

func (c counter) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	c.made.Add(1)
	return c.Signer.Sign(rand, digest, opts)
}

// ring makes keys of one zone and counts what they sign.
type ring struct {
	zone string
	made atomic.Int64
}

func (r *ring) key(t testing.TB, algorithm uint8, flags uint16, role keys.Role) *keys.Key {
	t.Helper()
	k, _, err := keys.Generate(r.zone, algorithm, flags, nil)
	if err != nil {
		t.Fatal(err)
	}
	k.Role, k.Signer = role, counter{k.Signer, &r.made}
	return k
}

// public returns k without its private half.
func public(k *keys.Key) *keys.Key {
	c := *k
	c.Signer = nil
	return &c
}

// spent returns how many signatures were made since it was called last.
func (r *ring) spent() int64 { return r.made.Swap(0) }

// foreign returns a key that is not ours.
func foreign(t testing.TB, zone string, flags uint16) merge.Key {
	t.Helper()
	r := ring{zone: zone}
	return r.key(t, dns.ED25519, flags, keys.RoleUnknown).ID()
}

// question returns a query, with DO and CO as given.
func question(name string, qtype uint16, do, co bool) *dns.Msg {
	m := new(dns.Msg).SetQuestion(name, qtype)
	if do || co {
		m.SetEdns0(1232, do)
		m.IsEdns0().SetCo(co)
	}
	return m
}

// wire returns the octets of rr with its owner in lower case.
func wire(t testing.TB, rr dns.RR) string {
	t.Helper()
	c := dns.Copy(rr)
	c.Header().Name = dns.CanonicalName(c.Header().Name)
	buf := make([]byte, dns.Len(c)+1)
	n, err := dns.PackRR(c, buf, 0, nil, false)
	if err != nil {
		t.Fatalf("%v does not pack: %v", rr, err)
	}
	return string(buf[:n])
}

// sameWire fails the test unless got is want, octet by octet.
func sameWire(t testing.TB, got, want []dns.RR) {
	t.Helper()
	a, b := make([]string, len(got)), make([]string, len(want))
	for i := range got {
		a[i] = wire(t, got[i])
	}
	for i := range want {
		b[i] = wire(t, want[i])
	}
	slices.Sort(a)
	slices.Sort(b)
	if !slices.Equal(a, b) {
		t.Errorf("Expected\n%v\ngot\n%v", want, got)
	}
}

// labelsOf returns the labels of a name as octets in lower case, the last
// first.
func labelsOf(name string) [][]byte {
	buf := make([]byte, 255)
	n, err := dns.PackDomainName(name, buf, 0, nil, false)
	if err != nil {
		panic(fmt.Sprintf("%q: %v", name, err))
	}
	var labels [][]byte
	for off := 0; off < n-1; off += 1 + int(buf[off]) {
		var label []byte
		for _, b := range buf[off+1 : off+1+int(buf[off])] {
			if 'A' <= b && b <= 'Z' {
				b += 32
			}
			label = append(label, b)
		}
		labels = append(labels, label)
	}
	slices.Reverse(labels)
	return labels
}

// fits reports whether name is one, of at most 255 octets; IsDomainName allows
// one more.
func fits(name string) bool {
	_, err := dns.PackDomainName(name, make([]byte, 255), 0, nil, false)
	return err == nil
}

// compareNames compares as in RFC 4034 section 6.1.
func compareNames(a, b string) int {
	return slices.CompareFunc(labelsOf(a), labelsOf(b), bytes.Compare)
}

// below reports whether name is at or below above.
func below(name, above string) bool {
	n, a := labelsOf(name), labelsOf(above)
	return len(n) >= len(a) && slices.EqualFunc(n[:len(a)], a, bytes.Equal)
}

func sameName(a, b string) bool { return compareNames(a, b) == 0 }

// wildcardAt returns the wildcard below a name.
func wildcardAt(name string) string { return "*." + strings.TrimPrefix(name, ".") }

// parent returns the name above.
func parent(name string) string {
	off, end := dns.NextLabel(name, 0)
	if end {
		return "."
	}
	return name[off:]
}

// spans reports whether nsec, of zone, proves that there is no such name.
func spans(nsec *dns.NSEC, zone, name string) bool {
	return compareNames(nsec.Hdr.Name, name) < 0 &&
		(compareNames(name, nsec.NextDomain) < 0 || sameName(nsec.NextDomain, zone))
}

// validator checks what a resolver would.
type validator struct {
	zone string
	now  time.Time
	by   func(owner string, rrtype uint16) []*keys.Key // who has to sign an RRset
}

// verify checks that every RRset of section is signed by all keys that have to
// and nobody else, exactly and now, and returns the records without RRSIGs.
func (v validator) verify(section []dns.RR) ([]dns.RR, error) {
	type id struct {
		name   string
		rrtype uint16
	}
	sets, sigs, plain := make(map[id][]dns.RR), make(map[id][]*dns.RRSIG), []dns.RR(nil)
	for _, rr := range section {
		if sig, ok := rr.(*dns.RRSIG); ok {
			i := id{sig.Hdr.Name, sig.TypeCovered}
			sigs[i] = append(sigs[i], sig)
			continue
		}
		i := id{rr.Header().Name, rr.Header().Rrtype}
		sets[i] = append(sets[i], rr)
		plain = append(plain, rr)
	}
	for i := range sigs {
		if len(sets[i]) == 0 {
			return nil, fmt.Errorf("RRSIG over %v without the RRset", i)
		}
	}
	for i, set := range sets {
		if !below(i.name, v.zone) {
			return nil, fmt.Errorf("%v is not in the zone", i)
		}
		var by []string
		for _, k := range v.by(i.name, i.rrtype) {
			by = append(by, fmt.Sprint(k.Tag()))
		}
		var got []string
		for _, sig := range sigs[i] {
			if err := v.verifies(sig, set); err != nil {
				return nil, fmt.Errorf("%v: %w", i, err)
			}
			got = append(got, fmt.Sprint(sig.KeyTag))
		}
		slices.Sort(by)
		slices.Sort(got)
		if !slices.Equal(got, by) {
			return nil, fmt.Errorf("%v: signed by %v, expected %v", i, got, by)
		}
	}
	return plain, nil
}

func (v validator) verifies(sig *dns.RRSIG, set []dns.RR) error {
	h := set[0].Header()
	labels := labelsOf(h.Name)
	want := len(labels)
	if want > 0 && string(labels[want-1]) == "*" {
		want--
	}
	switch {
	case sig.SignerName != v.zone:
		return fmt.Errorf("signer %q, expected %q", sig.SignerName, v.zone)
	case !sig.ValidityPeriod(v.now):
		return fmt.Errorf("valid from %s to %s", dns.TimeToString(sig.Inception), dns.TimeToString(sig.Expiration))
	case int(sig.Labels) != want:
		return fmt.Errorf("%d labels, expected %d", sig.Labels, want)
	case sig.Hdr.Ttl != h.Ttl || sig.OrigTtl < h.Ttl:
		return fmt.Errorf("TTL %d of the signature, %d of the records, %d original", sig.Hdr.Ttl, h.Ttl, sig.OrigTtl)
	}
	for _, k := range v.by(h.Name, h.Rrtype) {
		if k.Tag() != sig.KeyTag || k.DNSKEY.Algorithm != sig.Algorithm {
			continue
		}
		// Verify takes an owner for a wildcard by its first octet; what is
		// right is in Labels, checked above.
		if err := sig.Verify(k.DNSKEY, set); err != nil {
			return fmt.Errorf("key %d: %w", sig.KeyTag, err)
		}
		return nil
	}
	return fmt.Errorf("key %d is not one that should sign", sig.KeyTag)
}

// overWire returns m as a client gets it.
func overWire(t testing.TB, m *dns.Msg) *dns.Msg {
	t.Helper()
	buf, err := m.Pack()
	if err != nil {
		t.Fatalf("%v\ndoes not pack: %v", m, err)
	}
	got := new(dns.Msg)
	if err := got.Unpack(buf); err != nil {
		t.Fatalf("%v\ndoes not unpack: %v", m, err)
	}
	return got
}

// world is what there is at and below a signaling domain, made without the code
// under test.
type world struct {
	domain    string
	zone      string
	delegated bool
	records   map[string]map[uint16][]dns.RR // by canonical name
	soa       *dns.SOA                       // of the enclosing zone
	v         validator
}

// exists reports whether a name has data or one below it has.
func (w *world) exists(name string) bool {
	for owner := range w.records {
		if below(owner, name) {
			return true
		}
	}
	return false
}

// at returns the records at a name by type, nil if it has none.
func (w *world) at(name string) map[uint16][]dns.RR {
	for owner, sets := range w.records {
		if sameName(owner, name) {
			return sets
		}
	}
	return nil
}

// bitmap returns what an NSEC has to say of a name.
func (w *world) bitmap(name string) []uint16 {
	if !w.exists(name) {
		return []uint16{dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNXNAME}
	}
	types := []uint16{dns.TypeRRSIG, dns.TypeNSEC}
	for rrtype := range w.at(name) {
		types = append(types, rrtype)
	}
	slices.Sort(types)
	return types
}

// judge reports what is wrong with the answer m to r.
func (w *world) judge(t testing.TB, r, m *dns.Msg) error {
	m = overWire(t, m)
	q := r.Question[0]
	if m.Id != r.Id || !m.Response || len(m.Question) != 1 || m.Question[0] != q {
		return errors.New("not a reply to the question as it was spelt")
	}
	if q.Qtype == dns.TypeNXNAME || q.Qtype == dns.TypeAXFR || q.Qtype == dns.TypeIXFR {
		return w.judgeRefusal(r, m)
	}
	if !m.Authoritative {
		return errors.New("AA is clear")
	}
	opt := r.IsEdns0()
	do := opt != nil && opt.Do()
	if answer := m.IsEdns0(); answer != nil && (opt == nil || answer.Do() != do) {
		return errors.New("an OPT record unlike the question's")
	} else if !w.delegated && opt != nil && opt.Co() && (answer == nil || !answer.Co()) {
		return errors.New("CO is not echoed")
	}
	if !do {
		return w.judgePlain(q, m)
	}
	if q.Qtype == dns.TypeRRSIG && len(m.Answer) > 0 {
		return w.judgeSignatures(q, m)
	}
	answer, err := w.v.verify(m.Answer)
	if err != nil {
		return err
	}
	ns, err := w.v.verify(m.Ns)
	if err != nil {
		return err
	}
	if len(answer) == 0 {
		return w.judgeDenial(r, m.Rcode, ns)
	}
	if m.Rcode != dns.RcodeSuccess || len(ns) > 0 {
		return fmt.Errorf("a positive answer with %s and %v", dns.RcodeToString[m.Rcode], ns)
	}
	if nsec, ok := answer[0].(*dns.NSEC); ok && q.Qtype == dns.TypeNSEC && len(answer) == 1 {
		return w.judgeNSEC(q.Name, nsec)
	}
	return w.judgeData(t, q, answer)
}

func (w *world) judgeRefusal(r, m *dns.Msg) error {
	if len(m.Answer)+len(m.Ns) > 0 {
		return errors.New("an error with records")
	}
	if r.Question[0].Qtype != dns.TypeNXNAME {
		if m.Rcode != dns.RcodeRefused {
			return fmt.Errorf("%s, expected REFUSED", dns.RcodeToString[m.Rcode])
		}
		return nil
	}
	if m.Rcode != dns.RcodeFormatError {
		return fmt.Errorf("%s, expected FORMERR", dns.RcodeToString[m.Rcode])
	}
	if r.IsEdns0() == nil {
		return nil
	}
	if opt := m.IsEdns0(); opt == nil || len(opt.Option) != 1 || opt.Option[0].(*dns.EDNS0_EDE).InfoCode != 30 {
		return errors.New("FORMERR without the reason")
	}
	return nil
}

// judgePlain judges an answer to a client without DO.
func (w *world) judgePlain(q dns.Question, m *dns.Msg) error {
	for _, rr := range append(slices.Clone(m.Answer), m.Ns...) {
		if t := rr.Header().Rrtype; (t == dns.TypeRRSIG || t == dns.TypeNSEC) && t != q.Qtype {
			return fmt.Errorf("%v without DO", rr)
		}
	}
	rcode := dns.RcodeSuccess
	if !w.exists(q.Name) {
		rcode = dns.RcodeNameError
	}
	if m.Rcode != rcode {
		return fmt.Errorf("%s, expected %s", dns.RcodeToString[m.Rcode], dns.RcodeToString[rcode])
	}
	if want := w.at(q.Name)[q.Qtype]; len(want) != len(m.Answer) && q.Qtype != dns.TypeANY && q.Qtype != dns.TypeRRSIG && q.Qtype != dns.TypeNSEC {
		return fmt.Errorf("%d records, expected %d", len(m.Answer), len(want))
	}
	if len(m.Answer) == 0 && (len(m.Ns) != 1 || m.Ns[0].Header().Rrtype != dns.TypeSOA) {
		return fmt.Errorf("a denial with %v, expected one SOA", m.Ns)
	}
	return nil
}

// judgeSignatures judges an answer to a question for RRSIG.
func (w *world) judgeSignatures(q dns.Question, m *dns.Msg) error {
	types := w.bitmap(q.Name)
	for _, rr := range m.Answer {
		sig, ok := rr.(*dns.RRSIG)
		if !ok || rr.Header().Name != q.Name || !slices.Contains(types, sig.TypeCovered) {
			return fmt.Errorf("%v in an answer of RRSIG", rr)
		}
		if set := w.at(q.Name)[sig.TypeCovered]; len(set) > 0 {
			set = slices.Clone(set)
			for i := range set {
				set[i] = dns.Copy(set[i])
				set[i].Header().Name = q.Name
			}
			if err := w.v.verifies(sig, set); err != nil {
				return err
			}
		}
	}
	return nil
}

// judgeData judges a positive answer.
func (w *world) judgeData(t testing.TB, q dns.Question, answer []dns.RR) error {
	for _, rr := range answer {
		if rr.Header().Name != q.Name {
			return fmt.Errorf("owner %q, expected the question's spelling %q", rr.Header().Name, q.Name)
		}
	}
	rrtype := q.Qtype
	if rrtype == dns.TypeANY {
		rrtype = answer[0].Header().Rrtype
	}
	want := w.at(q.Name)[rrtype]
	if len(want) == 0 {
		return fmt.Errorf("%v, expected a denial", answer)
	}
	sameWire(t, answer, want)
	return nil
}

// judgeNSEC judges what an NSEC at a name says.
func (w *world) judgeNSEC(name string, nsec *dns.NSEC) error {
	if !sameName(nsec.Hdr.Name, name) {
		return fmt.Errorf("NSEC of %q, expected of %q", nsec.Hdr.Name, name)
	}
	if want := w.bitmap(name); !slices.Equal(nsec.TypeBitMap, want) {
		return fmt.Errorf("%q has types %v, expected %v", name, nsec.TypeBitMap, want)
	}
	return w.judgeLies(nsec)
}

// judgeLies reports a name with data that nsec denies, and a TTL that makes a
// denial last.
func (w *world) judgeLies(nsec *dns.NSEC) error {
	for owner := range w.records {
		if spans(nsec, w.zone, owner) {
			return fmt.Errorf("%v denies %s", nsec, owner)
		}
	}
	ttl := min(w.soa.Hdr.Ttl, w.soa.Minttl, 300)
	if nsec.Hdr.Ttl != ttl {
		return fmt.Errorf("NSEC has TTL %d, expected %d", nsec.Hdr.Ttl, ttl)
	}
	return nil
}

// judgeDenial judges a verified authority section that is to deny the question.
func (w *world) judgeDenial(r *dns.Msg, rcode int, ns []dns.RR) error {
	q := r.Question[0]
	if len(w.at(q.Name)[q.Qtype]) > 0 {
		return errors.New("a denial of a type that is there")
	}
	var soas int
	var nsecs []*dns.NSEC
	for _, rr := range ns {
		switch rr := rr.(type) {
		case *dns.SOA:
			if rr.Hdr.Ttl > 300 || rr.Hdr.Name != w.zone || rr.Minttl != w.soa.Minttl {
				return fmt.Errorf("wrong SOA %v", rr)
			}
			soas++
		case *dns.NSEC:
			nsecs = append(nsecs, rr)
		default:
			return fmt.Errorf("%v in a denial", rr)
		}
	}
	if soas != 1 || len(nsecs) == 0 {
		return fmt.Errorf("a denial with %d SOA and %d NSEC", soas, len(nsecs))
	}
	for _, nsec := range nsecs {
		if err := w.judgeLies(nsec); err != nil {
			return err
		}
	}
	if w.delegated {
		return w.judgeChain(q.Name, rcode, nsecs)
	}
	return w.judgeCompact(r, rcode, nsecs)
}

// judgeCompact judges a denial as in RFC 9824.
func (w *world) judgeCompact(r *dns.Msg, rcode int, nsecs []*dns.NSEC) error {
	q := r.Question[0]
	want := dns.RcodeSuccess
	if !w.exists(q.Name) && r.IsEdns0().Co() {
		want = dns.RcodeNameError
	}
	if rcode != want || len(nsecs) != 1 {
		return fmt.Errorf("%s with %d NSEC, expected %s with one", dns.RcodeToString[rcode], len(nsecs), dns.RcodeToString[want])
	}
	nsec := nsecs[0]
	if nsec.Hdr.Name != q.Name {
		return fmt.Errorf("NSEC at %q, expected %q", nsec.Hdr.Name, q.Name)
	}
	if fits(`\000.` + q.Name) {
		if !sameName(nsec.NextDomain, `\000.`+q.Name) || nsec.NextDomain != strings.ToLower(nsec.NextDomain) {
			return fmt.Errorf("next name %q of %q", nsec.NextDomain, q.Name)
		}
	} else if compareNames(q.Name, nsec.NextDomain) >= 0 {
		return fmt.Errorf("next name %q does not follow %q", nsec.NextDomain, q.Name)
	}
	return w.judgeNSEC(q.Name, nsec)
}

// judgeChain judges a denial as in RFC 4035 section 5.4.
func (w *world) judgeChain(name string, rcode int, nsecs []*dns.NSEC) error {
	if len(nsecs) > 2 || len(nsecs) == 2 && sameName(nsecs[0].Hdr.Name, nsecs[1].Hdr.Name) {
		return fmt.Errorf("too many NSECs: %v", nsecs)
	}
	for _, nsec := range nsecs {
		if want := w.bitmap(nsec.Hdr.Name); len(w.at(nsec.Hdr.Name)) == 0 || !slices.Equal(nsec.TypeBitMap, want) {
			return fmt.Errorf("%v, expected types %v", nsec, want)
		}
		if len(w.at(nsec.NextDomain)) == 0 {
			return fmt.Errorf("%v leads to a name without data", nsec)
		}
	}
	covering := func(name string) *dns.NSEC {
		for _, nsec := range nsecs {
			if spans(nsec, w.zone, name) {
				return nsec
			}
		}
		return nil
	}
	if w.exists(name) {
		cover := covering(name)
		switch {
		case rcode != dns.RcodeSuccess || len(nsecs) != 1:
			return fmt.Errorf("%s with %d NSEC for a name that exists", dns.RcodeToString[rcode], len(nsecs))
		case len(w.at(name)) > 0:
			return w.judgeNSEC(name, nsecs[0])
		case cover == nil || !below(cover.NextDomain, name):
			return fmt.Errorf("%v does not prove the empty non-terminal %s", nsecs, name)
		}
		return nil
	}
	cover := covering(name)
	if rcode != dns.RcodeNameError || cover == nil || below(cover.NextDomain, name) {
		return fmt.Errorf("%s with %v does not prove that %q does not exist", dns.RcodeToString[rcode], nsecs, name)
	}
	closest := parent(name)
	for !below(cover.Hdr.Name, closest) && !below(cover.NextDomain, closest) {
		closest = parent(closest)
	}
	if w.exists(parent(name)) && !sameName(closest, parent(name)) {
		return fmt.Errorf("%v proves %q the closest encloser of %q", cover, closest, name)
	}
	if covering(wildcardAt(closest)) == nil {
		return fmt.Errorf("%v does not deny the wildcard at %q", nsecs, closest)
	}
	return nil
}
