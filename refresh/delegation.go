package refresh

import (
	"slices"
	"strings"

	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/observe"
	"github.com/coredns-mske/mske/serve"
	"github.com/coredns-mske/mske/store"
)

// delegation is what is answered of NS and CSYNC under `delegation auto`. The
// zero value leaves both to the plugin chain.
type delegation struct {
	store.Delegation
	ttl uint32 // of NS, in seconds
}

// served returns d as a view takes it.
func (d delegation) served() serve.Delegation {
	return serve.Delegation{NS: d.NS, TTL: d.ttl, CSYNC: d.CSYNC}
}

// delegable is what the delegation of a zone depends on.
type delegable struct {
	report lifecycle.Report // what NS may be
	life   lifecycle.State  // what the parent has
	chain  []string         // the plugin chain's NS RRset, sorted
	last   store.Delegation
	signs  bool // there is a key to sign it
}

// decideDelegation returns what NS and CSYNC are to be: the nameservers that the
// owner wants, as soon as the phase allows, and until the parent has followed a
// record that asks it to. What nobody can sign stays as it was.
func decideDelegation(f delegable) store.Delegation {
	if !f.signs || len(f.report.NS) == 0 {
		return f.last
	}
	ns := slices.Compact(slices.Sorted(slices.Values(f.report.NS)))
	asks := f.asks(ns)
	if !asks && slices.Equal(ns, f.chain) {
		return store.Delegation{}
	}
	return store.Delegation{NS: ns, Chain: f.chain, CSYNC: asks}
}

// asks reports whether the parent is to be asked to follow ns: it has another
// RRset, could validate ours, and gains no host that has to wait.
func (f delegable) asks(ns []string) bool {
	if f.life.NSAt.IsZero() || f.life.DSStatus != observe.DSPresent {
		return false
	}
	add, remove := len(beyond(ns, f.life.ParentNS)) > 0, len(beyond(f.life.ParentNS, ns)) > 0
	return add && f.report.MayAdd || !add && remove
}

// beyond returns those of a that are not in b.
func beyond(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(host string) bool { return slices.Contains(b, host) })
}

// delegate adds to d, whose phase is known, what NS and CSYNC are to be.
func (z *zone) delegate(d *decision) {
	s := z.open().facts.state
	switch {
	case z.Whole:
		return
	case !z.Auto:
		d.reportUndone(s)
		return
	case d.view.answer != full:
		return
	}
	next := decideDelegation(delegable{
		report: d.life, life: s.Life, chain: chainNS(s), last: s.Delegation,
		signs: slices.ContainsFunc(d.view.signers.Data, func(k *keys.Key) bool { return k.Signer != nil }),
	})
	d.view.delegation = z.delegation(next)
	switch {
	case len(next.NS) == 0:
		d.find("delegation", levelInfo, "")
	case next.CSYNC:
		d.find("delegation", levelInfo, "NS is %s, and CSYNC asks the parent, which has %s, to follow", strings.Join(next.NS, ", "), strings.Join(s.Life.ParentNS, ", "))
	default:
		d.find("delegation", levelInfo, "NS is %s, in place of %s behind us", strings.Join(next.NS, ", "), strings.Join(next.Chain, ", "))
	}
}

// reportUndone says whom NS lost with the end of `delegation auto`, though the parent
// delegates to them.
func (d *decision) reportUndone(s store.Zone) {
	lost := slices.DeleteFunc(beyond(s.Delegation.NS, s.NS), func(host string) bool { return !slices.Contains(s.Life.ParentNS, host) })
	if len(lost) == 0 {
		d.find("delegation", levelInfo, "")
		return
	}
	d.find("delegation", levelWarning, "NS is %s again, as behind us, without %s, to which the parent delegates: put that into the zone's NS RRset, or use delegation auto",
		strings.Join(s.NS, ", "), strings.Join(lost, ", "))
}

// delegation returns d with the TTL of the chain's NS RRset.
func (z *zone) delegation(d store.Delegation) delegation {
	if len(d.NS) == 0 {
		return delegation{}
	}
	ttl := seconds(z.open().facts.state.NSTTL)
	if ttl == 0 {
		ttl = seconds(z.TTL)
	}
	return delegation{d, ttl}
}

// chainNS returns the NS RRset that the plugin chain was last seen to have.
func chainNS(s store.Zone) []string {
	if len(s.Delegation.NS) > 0 {
		return s.Delegation.Chain
	}
	return s.NS
}

// delegated returns s with d in force: then its NS RRset is the zone's here
// (rule D2). Without `delegation auto` what was in force is remembered, for when the
// option is back.
func (z *Zone) delegated(s store.Zone, d store.Delegation) store.Zone {
	s.NS = chainNS(s)
	if !z.Auto {
		return s
	}
	if s.Delegation = d; len(d.NS) > 0 {
		s.NS = d.NS
	}
	return s
}

// ownNS returns s with what the plugin chain has as NS, which is the zone's own
// unless another one was published since it last changed (rule D2).
func (z *Zone) ownNS(s store.Zone, chain []string) store.Zone {
	if !slices.Equal(chain, chainNS(s)) {
		s.Delegation = store.Delegation{}
	}
	s.NS = chain
	if z.Auto && len(s.Delegation.NS) > 0 {
		s.NS = s.Delegation.NS
	}
	return s
}

// redelegated returns s, which may have been stored without `delegation auto`, with
// what was published as NS under it.
func (z *Zone) redelegated(s store.Zone) store.Zone {
	if !z.Auto || len(s.Delegation.NS) == 0 {
		return s
	}
	s.NS = s.Delegation.NS
	if !s.HasCNS && len(z.CNS) == 0 {
		s.Target = s.NS
	}
	return s
}
