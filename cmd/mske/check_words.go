package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/announce"
	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/observe"
	"github.com/coredns-mske/mske/validate"
)

// verdict returns the phase with what it means.
func (a assessment) verdict() string { return string(a.phase) + ": " + a.meaning() }

func (a assessment) meaning() string {
	switch a.phase {
	case phaseUnseen:
		return "no nameserver that has the zone answers"
	case phaseInsecure:
		if a.converged {
			return "converged, but the parent has no DS, so that nobody validates; NS may change at any time"
		}
		return "nobody validates the zone; NS may change at any time"
	case phaseSingle:
		return "one provider has the zone, with nobody to exchange keys with"
	case phaseCollecting:
		return "not converged, and not every nameserver announces its keys"
	case phaseJoint:
		return "not converged: not every nameserver serves what it has to"
	case phaseConverged:
		return "whichever nameservers a resolver asks, it can validate; the parent's DS has yet to follow"
	case phaseDS:
		return "converged, and the parent's DS names every secure-entry key; NS has yet to follow"
	}
	return "converged, and DS and NS are as they should be at the zone and its parent"
}

// missing returns what is missing where, one line each.
func (a assessment) missing() []string {
	var lines []string
	if !a.signed() && a.phase != phaseUnseen {
		lines = append(lines, "no nameserver has a DNSKEY record: the zone is not signed")
		if a.sight.Parent.DSStatus == observe.DSPresent {
			lines = append(lines, "the parent has DS all the same: no resolver that validates can use the zone")
		}
	}
	lines = append(lines, a.sight.Tell(a.obstacles)...)
	if len(a.providers) > 1 {
		for _, host := range a.target {
			if res := a.announced[host]; res.Verdict != fetch.Secure {
				lines = append(lines, fmt.Sprintf("%s: its announcement is %s: %s", host, res.Verdict, res.Why()))
			}
		}
	}
	lines = append(lines, a.sight.Tell(a.waiting)...)
	switch p := a.sight.Parent; p.DSStatus {
	case observe.DSUnread:
		lines = append(lines, fmt.Sprintf("the parent's DS could not be read: %v", p.DSErr))
	case observe.DSPresent:
		for _, e := range a.lackDS {
			lines = append(lines, fmt.Sprintf("%s: DS lacks %s", p.Name, observe.KeyName(e.Ref())))
		}
	}
	if p := a.sight.Parent; p.Name != "" && !p.NSRead {
		lines = append(lines, fmt.Sprintf("the delegation could not be read: %s", strings.Join(parentErrors(p), "; ")))
	}
	return lines
}

// mayAdd reports whether NS may gain nameservers, but for what caches hold.
func (a assessment) mayAdd() bool {
	return a.phase == phaseDS || a.phase == phaseComplete || a.phase == phaseInsecure
}

// changes returns how NS differs from the target, at the zone and its parent.
func (a assessment) changes() []string {
	p := a.sight.Parent
	if a.phase == phaseUnseen || len(a.target) == 0 {
		return nil
	}
	lines := a.sight.Tell(a.delegation())
	if !p.NSRead {
		return lines
	}
	for _, host := range a.target {
		if !slices.Contains(p.NS, host) {
			lines = append(lines, fmt.Sprintf("%s: NS lacks %s", p.Name, host))
		}
	}
	for _, host := range p.NS {
		if !slices.Contains(a.target, host) {
			lines = append(lines, fmt.Sprintf("%s: NS lists %s", p.Name, host))
		}
	}
	return lines
}

// parentErrors returns why the parent's servers were not heard, once each host.
func parentErrors(p observe.Parent) []string {
	var texts []string
	seen := make(map[string]bool)
	for _, ps := range p.Servers {
		if ps.Err != nil && !seen[ps.Host] {
			seen[ps.Host] = true
			texts = append(texts, fmt.Sprintf("%s %v", ps.Host, ps.Err))
		}
	}
	return texts
}

// notes returns what is good to know, but missing nowhere.
func (a assessment) notes() []string {
	var lines []string
	s := a.sight
	for _, server := range s.Servers {
		if !server.Routed() {
			lines = append(lines, fmt.Sprintf("%s: was not asked, as this machine has no route to its addresses", server.Host))
		}
	}
	for _, host := range a.leaving {
		lines = append(lines, a.leaverNotes(host)...)
	}
	if s.CNS.Status == validate.Bogus {
		lines = append(lines, fmt.Sprintf("CNS does not validate: %v", s.CNS.Err))
	}
	if sets := a.cnsSets(); len(sets) > 1 {
		lines = append(lines, "the nameservers do not have the same CNS: "+strings.Join(sets, ", ")+
			"; each provider goes by its own until all have the new zone")
	}
	for _, d := range a.excessDS {
		lines = append(lines, fmt.Sprintf("%s: DS names %s, which no nameserver's CDS does", s.Parent.Name, observe.KeyName(merge.Ref{Tag: d.KeyTag, Algorithm: d.Algorithm})))
	}
	for _, ps := range s.Parent.Servers {
		if ps.Child {
			lines = append(lines, fmt.Sprintf("%s of %s has the zone itself, so that the NS it gives is the zone's, not the delegation", ps.Host, s.Parent.Name))
			break
		}
	}
	if len(s.Skipped) > 0 {
		lines = append(lines, fmt.Sprintf("more than %d nameservers: %s and %d more were not looked at", observe.MaxHosts, s.Skipped[0], len(s.Skipped)-1))
	}
	return lines
}

// leaverNotes returns where a nameserver that is to go still stands in NS.
func (a assessment) leaverNotes(host string) []string {
	var where []string
	if slices.Contains(a.sight.ChildNS(), host) {
		where = append(where, "the zone's")
	}
	if slices.Contains(a.sight.Parent.NS, host) {
		where = append(where, "the parent's")
	}
	lines := []string{fmt.Sprintf("%s is to leave: it is not in %s, but in %s NS", host, a.targetName(), strings.Join(where, " and "))}
	server, _ := a.sight.Server(host)
	if !server.Answers() && server.Routed() {
		return append(lines, host+" does not answer any more")
	}
	if slices.ContainsFunc(server.Addresses, func(addr observe.Address) bool {
		return slices.Contains(addr.UDP.NS.Records, host) || slices.Contains(addr.TCP.NS.Records, host)
	}) {
		lines = append(lines, fmt.Sprintf("%s itself still lists it in NS: resolvers that ask there keep coming back, and its keys have to stay", host))
	}
	return lines
}

func (a assessment) targetName() string {
	if a.targetType == dns.TypeNS {
		return "the zone's NS"
	}
	return "CNS"
}

// cnsSets returns the different CNS RRsets, each with the first host that has it.
func (a assessment) cnsSets() []string {
	seen := make(map[string]bool)
	var texts []string
	for _, server := range a.sight.Servers {
		for _, addr := range server.Addresses {
			for _, apex := range []observe.Apex{addr.UDP, addr.TCP} {
				set := strings.Join(apex.CNS.Records, " ")
				if apex.Err != nil || apex.CNS.Err != nil || seen[set] {
					continue
				}
				seen[set] = true
				texts = append(texts, fmt.Sprintf("%s has %s", server.Host, cmp.Or(set, "none")))
			}
		}
	}
	return texts
}

// next returns what to do or to wait for now.
func (a assessment) next() []string {
	if a.phase != phaseUnseen && a.phase != phaseInsecure && !a.signed() {
		return []string{"Sign the zone with a key that DS names, or have the parent remove DS."}
	}
	switch a.phase {
	case phaseUnseen:
		if a.sight.Parent.Name == "" {
			return []string{"See that the resolvers can be used: --resolver names others."}
		}
		return []string{"See that the zone is delegated, and that the nameservers that it is delegated to have it."}
	case phaseInsecure:
		return a.nextInsecure()
	case phaseSingle:
		return a.nextSingle()
	case phaseCollecting:
		return []string{fmt.Sprintf("The provider of %s has to publish its keys at %s; the others ask again within an hour by default.",
			strings.Join(a.unannounced(), ", "), a.signalingNames(a.unannounced()))}
	case phaseJoint:
		return a.nextJoint()
	case phaseConverged:
		return a.nextConverged()
	case phaseDS:
		return a.nextDS()
	}
	return []string{"Nothing. With all providers in NS, the CNS record set may stay or go."}
}

func (a assessment) signalingNames(hosts []string) string {
	var names []string
	for _, host := range hosts {
		if name, err := announce.Name(a.sight.Zone, host); err == nil {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "its signaling names (of which a nameserver inside the zone has none)"
	}
	return strings.Join(names, ", ")
}

// nextJoint says for each kind of obstacle what helps.
func (a assessment) nextJoint() []string {
	hosts := func(kinds ...observe.Kind) string {
		var names []string
		for _, f := range a.obstacles {
			if slices.Contains(kinds, f.Kind) && !slices.Contains(names, f.Place.Host) {
				names = append(names, f.Place.Host)
			}
		}
		return strings.Join(names, ", ")
	}
	var lines []string
	if at := hosts(observe.Broken); at != "" {
		lines = append(lines, fmt.Sprintf("Resolvers that ask %s fail now: take it out of NS, or have the parent add its key to DS, at once.", at))
	}
	if at := hosts(observe.Silent); at != "" {
		lines = append(lines, fmt.Sprintf("See that %s answers for the zone, at every address, over UDP and over TCP.", at))
	}
	if at := hosts(observe.Unsigned, observe.Unanchored); at != "" {
		lines = append(lines, fmt.Sprintf("See that %s signs with the keys that it serves and names in CDS, and that its signatures are fresh.", at))
	}
	if at := hosts(observe.Lacking, observe.Unverifiable); at != "" {
		lines = append(lines, fmt.Sprintf("Wait for %s to take up the other providers' keys, which by default takes up to an hour. Until then change neither NS nor DS.", at))
	}
	return lines
}

// nextSingle says what a multi-signer set-up would need.
func (a assessment) nextSingle() []string {
	var lines []string
	for _, server := range a.sight.Servers {
		if res := a.announced[server.Host]; res.Verdict != fetch.Secure {
			lines = append(lines, fmt.Sprintf("For a second provider to join, this one has to announce its keys first: for %s that is %s (%s).", server.Host, res.Verdict, res.Why()))
		}
	}
	if len(a.entries()) == 0 {
		lines = append(lines, "It has to serve CDS and CDNSKEY, so that the parent can learn of the joint keys.")
	}
	return append(lines, "To add a provider: let it load the zone and sign it with keys of its own, and list the nameservers of both in CNS at the zone's apex, with NS as it is.")
}

func (a assessment) nextInsecure() []string {
	if !a.signed() {
		return []string{"To have several providers sign the zone, first let one sign it and serve CDS and CDNSKEY, then give the parent its DS."}
	}
	if a.sight.Parent.DSStatus == observe.DSInsecure {
		return []string{"No chain of trust leads to the zone: one of the zones above it is not signed, or has no DS."}
	}
	lines := []string{"Give the parent the DS records, for resolvers to validate:"}
	if len(a.providers) > 1 && !a.converged {
		lines = []string{"Give the parent these DS records once the zone is converged, not before:"}
	}
	return append(lines, a.dsLines()...)
}

func (a assessment) nextConverged() []string {
	if a.sight.Parent.DSStatus != observe.DSPresent {
		return []string{"See that the parent's DS can be read: without it nobody can tell when NS may change."}
	}
	return append([]string{"The parent may follow CDS by itself (RFC 7344, RFC 8078). If it does not, give it these DS records through the registrar:"}, a.dsLines()...)
}

// dsLines returns the DS RRset that the parent is to have, as records.
func (a assessment) dsLines() []string {
	var lines []string
	for _, d := range a.sight.JointDS() {
		rr := d.CDS(a.sight.Zone, 0).DS
		rr.Hdr.Rrtype = dns.TypeDS
		lines = append(lines, fmt.Sprintf("  %s DS %s", a.sight.Zone, rdataOf(&rr)))
	}
	if len(lines) == 0 {
		lines = append(lines, "  (none: the zone has no CDS and no CDNSKEY)")
	}
	return lines
}

// nextDS says until when caches may hold what was before. How long it has been
// as it is cannot be seen from outside.
func (a assessment) nextDS() []string {
	ds, dnskey := a.sight.Parent.DSTTL, a.sight.TTLs().DNSKEY
	lines := []string{fmt.Sprintf("If DS or DNSKEY changed just now, caches may hold an older DS until %s (TTL %s) and an older DNSKEY until %s (TTL %s): NS may gain hosts after the later of both.",
		clock(a.sight.At.Add(ds)), span(ds), clock(a.sight.At.Add(dnskey)), span(dnskey))}
	if add := a.lackingNS(); len(add) > 0 {
		lines = append(lines, fmt.Sprintf("Then add %s to NS, in the zone and at the parent.", strings.Join(add, ", ")))
	}
	if len(a.leaving) > 0 {
		lines = append(lines, fmt.Sprintf("Take %s out of NS, in the zone and at the parent. Its keys, and the zone at its servers, stay until caches have forgotten: NS for %s, and then what it signed.",
			strings.Join(a.leaving, ", "), span(max(a.sight.Parent.NSTTL, a.sight.TTLs().NS))))
	}
	return lines
}

// lackingNS returns the nameservers of the target that are not in NS everywhere.
func (a assessment) lackingNS() []string {
	var hosts []string
	for _, host := range a.target {
		atChild := !slices.ContainsFunc(a.delegation(), func(f observe.Fault) bool { return f.Kind == observe.Unlisted && f.Name == host })
		if !atChild || !slices.Contains(a.sight.Parent.NS, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// span returns a duration as the Corefile has it, without needless zeros.
func span(d time.Duration) string {
	s := d.Round(time.Second).String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}
