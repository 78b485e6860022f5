package lifecycle

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/observe"
)

// maxWaits bounds the reasons that a report lists: one zone may have dozens of
// addresses.
const maxWaits = 12

// Report is what a state means, for people and for what depends on it. It is not
// changed.
type Report struct {
	Phase Phase

	// Converged says that every nameserver serves the joint sets, whatever the
	// phase.
	Converged bool

	// MayAdd says that NS may gain hosts: it may be the target. NS is what it
	// may be in any case, the zone's own less what is to leave: removing a host
	// never waits while another one stays.
	MayAdd bool
	NS     []string

	// Waits are what the next phase waits for, a line each.
	Waits []string

	Leaving []Leaving
	Keys    []KeyReport

	// DeleteFrom is, in the phase Left, when the zone may be deleted here.
	DeleteFrom time.Time

	// Next is the first time in the future from when a reading may move the zone
	// on; zero if time alone is not what it waits for.
	Next time.Time
}

// Leaving is a host that is none of the zone's any more and whose keys are kept
// as long as caches may need them (rule D3).
type Leaving struct {
	Host  string
	Since time.Time
	Until time.Time // the first readings of all after this end it

	// NamedBy are the nameservers of the zone whose CNS still names it, or does
	// again: as long as one does, its keys stay.
	NamedBy []string
}

// KeyReport is when one of our keys may take its next step.
type KeyReport struct {
	Key        merge.Key
	Everywhere time.Time // every nameserver that is to have it has it since; zero: not all do
	SignFrom   time.Time // it may sign the zone's data from then on; zero: not known yet
	InDS       time.Time // since when the parent's DS names it; zero: it does not
	InDSFrom   time.Time // no cache holds a DS RRset without it from then on

	// Signs is whether it was seen to sign the zone's data, last. GoFrom is when
	// it may go, as a signer of data max_zone_ttl after its last signature, as a
	// secure entry once others have taken its place (rule K3); zero: not as things
	// are. The caller fills both in.
	Signs  bool
	GoFrom time.Time
}

// ReportOf returns what s means at now. l is the last look, zero if there was
// none since the start.
func ReportOf(c Config, s State, f Facts, l Look, now time.Time) Report {
	r := Report{Phase: s.Phase, Converged: !s.ConvergedSince.IsZero(), MayAdd: s.Phase.MayAdd(), NS: f.NS}
	if s.Phase == Single { // more nameservers of our own
		r.MayAdd = !s.SyncedAt.IsZero() || s.insecure()
	}
	if s.Phase != Insecure && len(unheard(s, f)) > 0 {
		r.MayAdd = false
	}
	stay := common(f.NS, f.Target)
	switch {
	case r.MayAdd:
		r.NS = f.Target
	case len(stay) > 0:
		r.NS = stay
	}
	later := func(at time.Time) {
		if at.After(now) {
			r.Next = earliest(r.Next, at)
		}
	}
	for _, h := range s.Hosts {
		if h.Missing.IsZero() {
			continue
		}
		until := c.leaves(h)
		if c.own(h.Name) {
			r.DeleteFrom = latest(r.DeleteFrom, h.Until)
			continue
		}
		if !slices.Contains(f.Peers, h.Name) {
			continue // of whose keys nothing is known
		}
		later(until)
		r.Leaving = append(r.Leaving, Leaving{Host: h.Name, Since: h.Missing, Until: until, NamedBy: h.NamedBy})
	}
	if s.Phase != Left {
		r.DeleteFrom = time.Time{}
	}
	for _, k := range s.Keys {
		i := slices.IndexFunc(f.Keys, func(o OwnKey) bool { return o.Key == k.Key })
		if i < 0 || f.Keys[i].Published.IsZero() {
			continue
		}
		kr := KeyReport{Key: k.Key, Everywhere: k.Everywhere, InDS: k.DSSince, InDSFrom: k.InDSFrom}
		if f.Keys[i].SignsData {
			kr.SignFrom = k.KnownFrom
			later(k.KnownFrom)
		}
		r.Keys = append(r.Keys, kr)
	}
	later(s.SyncFrom)
	r.Waits = waits(c, s, f, l, now)
	if more := len(r.Waits) - maxWaits; more > 0 {
		r.Waits = append(r.Waits[:maxWaits:maxWaits], fmt.Sprintf("and %d more", more))
	}
	return r
}

// String returns the phase and what it waits for, in one line.
func (r Report) String() string {
	text := string(r.Phase)
	if len(r.Waits) > 0 {
		text += ": " + strings.Join(r.Waits, "; ")
	}
	return text
}

// waits returns what keeps the zone from the next phase.
func waits(c Config, s State, f Facts, l Look, now time.Time) []string {
	switch s.Phase {
	case Collecting:
		return missing(f)
	case Joint:
		return unconverged(s, f, l, now)
	case Insecure:
		if s.ConvergedSince.IsZero() {
			return append(missing(f), unconverged(s, f, l, now)...)
		}
		return nil
	case Converged:
		return unsynced(c, s, f)
	case Synced:
		var why []string
		for _, name := range unheard(s, f) {
			why = append(why, name+" does not answer, so NS may not gain it now")
		}
		if !slices.ContainsFunc(union(f.NS, s.ParentNS), c.own) {
			why = append(why, "which nameserver left before ours came, those in NS know: ask one of them, too")
		}
		return append(why, differs(s, f)...)
	}
	return nil
}

// unheard returns the hosts that NS is to gain and that did not answer when they
// were last asked: that they were as they have to be before does not say that they
// will be.
func unheard(s State, f Facts) []string {
	return slices.DeleteFunc(minus(f.Target, f.NS), func(name string) bool {
		h := s.host(name)
		return h == nil || h.Silent.IsZero()
	})
}

func missing(f Facts) []string {
	var why []string
	for _, m := range f.Missing {
		why = append(why, m.Why)
	}
	return why
}

// unconverged returns what the nameservers lack, and which were not heard.
func unconverged(s State, f Facts, l Look, now time.Time) []string {
	var lacks, silent []string
	for _, name := range hosts(s, f) {
		seen, asked := l.seen(name)
		lacks = append(lacks, seen.Lacks...)
		switch {
		case !asked:
			silent = append(silent, name+" has not been asked yet")
		case seen.Silent && excused(&s, f, name, now):
		case seen.Silent:
			silent = append(silent, seen.Why)
		}
	}
	return append(lacks, silent...)
}

// unsynced returns what the wait for DS and for the caches lacks.
func unsynced(c Config, s State, f Facts) []string {
	switch lacking := Unnamed(c.Zone, s.DS, f.Joint); {
	case s.DSStatus == observe.DSUnread:
		return []string{"the parent's DS has not been read"}
	case s.DSFrom.Before(s.Entered):
		return []string{"the parent's DS has not been read since a key came into CDS, or only from a resolver's cache"}
	case len(lacking) > 0:
		var texts []string
		for _, ref := range lacking {
			texts = append(texts, fmt.Sprintf("the parent's DS lacks key %d (%s)", ref.Tag, algorithm(ref.Algorithm)))
		}
		return texts
	case s.SyncFrom.IsZero():
		var texts []string
		for _, h := range lingering(c, &s, f) {
			text := fmt.Sprintf("NS at %s still names %s", strings.Join(h.ListedBy, ", "), h.Name)
			if len(h.ListedBy) == 0 {
				text = fmt.Sprintf("the parent's NS, which has not been read since, may still name %s", h.Name)
			}
			texts = append(texts, text)
		}
		return texts
	}
	return []string{fmt.Sprintf("caches may hold DS and DNSKEY as they were until %s", stamp(s.SyncFrom))}
}

// differs returns where NS is not the target.
func differs(s State, f Facts) []string {
	var behind []string
	texts := compareNS("the zone's NS", f.NS, f.Target)
	if s.NSAt.IsZero() {
		texts = append(texts, "the parent's NS has not been read")
	} else {
		texts = append(texts, compareNS("the parent's NS", s.ParentNS, f.Target)...)
	}
	for _, h := range s.Hosts {
		if h.Differs && len(texts) == 0 && slices.Contains(f.Target, h.Name) {
			behind = append(behind, h.Name)
		}
	}
	if len(behind) > 0 {
		texts = append(texts, fmt.Sprintf("another NS RRset is served by %s", strings.Join(behind, ", ")))
	}
	return texts
}

// compareNS returns what an NS RRset has less and more than the target.
func compareNS(what string, ns, target []string) []string {
	var texts []string
	if lacks := minus(target, ns); len(lacks) > 0 {
		texts = append(texts, fmt.Sprintf("%s lacks %s", what, strings.Join(lacks, ", ")))
	}
	if more := minus(ns, target); len(more) > 0 {
		texts = append(texts, fmt.Sprintf("%s still names %s", what, strings.Join(more, ", ")))
	}
	return texts
}

func algorithm(number uint8) string {
	if name, ok := dns.AlgorithmToString[number]; ok {
		return name
	}
	return fmt.Sprint(number)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// common returns those of a that are in b, minus those that are not.
func common[T comparable](a, b []T) []T {
	return slices.DeleteFunc(slices.Clone(a), func(v T) bool { return !slices.Contains(b, v) })
}

func minus[T comparable](a, b []T) []T {
	return slices.DeleteFunc(slices.Clone(a), func(v T) bool { return slices.Contains(b, v) })
}
