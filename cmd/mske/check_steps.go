package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/coredns-mske/mske/observe"
)

// step is when a key may take its next step of a roll, as far as that can be told
// from outside: since this command first saw what it depends on, so that it may
// be true for longer, and the times are the latest ones. They are zero where it is
// not so, or cannot be told.
type step struct {
	signs      bool      // the zone's data, at any nameserver
	everywhere time.Time // every nameserver that is to have it does since
	sign       time.Time // no cache holds DNSKEY without it from then on
	leave      time.Time // another secure entry has taken its place in every cache
}

// memory is what a command that looks again and again saw first.
type memory struct {
	everywhere, replaceable map[observe.Entry]time.Time
}

func newMemory() *memory {
	return &memory{everywhere: make(map[observe.Entry]time.Time), replaceable: make(map[observe.Entry]time.Time)}
}

// note returns since when something is so of an entry; zero if it is not.
func note(since map[observe.Entry]time.Time, e observe.Entry, is bool, now time.Time) time.Time {
	if !is {
		delete(since, e)
		return time.Time{}
	}
	if since[e].IsZero() {
		since[e] = now
	}
	return since[e]
}

// recall works out the steps of all keys, by what m saw before.
func (a *assessment) recall(m *memory) {
	now, ttl := a.sight.At, a.sight.TTLs().DNSKEY
	for i := range a.keys {
		row := &a.keys[i]
		s := step{signs: a.signsData(row.entry)}
		if s.everywhere = note(m.everywhere, row.entry, a.isEverywhere(*row), now); !s.everywhere.IsZero() && row.role != "KSK" {
			s.sign = s.everywhere.Add(ttl)
		}
		if since := note(m.replaceable, row.entry, a.isReplaceable(*row), now); !since.IsZero() {
			s.leave = since.Add(a.sight.Parent.DSTTL + ttl)
		}
		row.step = s
	}
}

// signsData reports whether the zone's data was seen signed with a key.
func (a assessment) signsData(e observe.Entry) bool {
	return slices.ContainsFunc(a.sight.Servers, func(s observe.Server) bool {
		return slices.ContainsFunc(s.Addresses, func(addr observe.Address) bool {
			return slices.Contains(addr.UDP.SOA.Signers, e.Key) || slices.Contains(addr.TCP.SOA.Signers, e.Key)
		})
	})
}

// isEverywhere reports whether a key is in DNSKEY at every nameserver that is to
// have it: all of them for one that signs data, its provider's for another.
func (a assessment) isEverywhere(row keyRow) bool {
	there := false
	for i, server := range a.sight.Servers {
		if row.role == "KSK" && a.providerOf(server.Host) != row.provider {
			continue
		}
		if row.cells[i].dnskey != markDNSKEY {
			return false
		}
		there = true
	}
	return there
}

// isReplaceable reports whether another secure entry of the key's provider, with
// the same algorithm, is in DS and signs DNSKEY at all of its nameservers.
func (a assessment) isReplaceable(row keyRow) bool {
	return slices.ContainsFunc(a.keys, func(o keyRow) bool {
		return o.entry != row.entry && row.ds && o.ds && row.provider != "" && o.provider == row.provider &&
			o.entry.Ref().Algorithm == row.entry.Ref().Algorithm && a.signsKeys(o)
	})
}

// signsKeys reports whether a key signs DNSKEY at all of its provider's
// nameservers.
func (a assessment) signsKeys(row keyRow) bool {
	for _, server := range a.sight.Servers {
		if a.providerOf(server.Host) != row.provider {
			continue
		}
		for _, addr := range server.Addresses {
			for _, apex := range []observe.Apex{addr.UDP, addr.TCP} {
				if !addr.NoRoute && !slices.Contains(apex.DNSKEY.Signers, row.entry.Key) {
					return false
				}
			}
		}
	}
	return true
}

// steps returns what there is to say of keys that are being rolled, a line each.
// Of a key that signs, and that no other is to replace, there is nothing.
func (a assessment) steps() []string {
	var lines []string
	for i, row := range a.keys {
		name := fmt.Sprintf("%s %d (%s)", row.role, row.entry.Ref().Tag, algorithmName(row.entry.Ref().Algorithm))
		if row.provider != "" {
			name += " of " + row.provider
		}
		s := row.step
		switch announced := slices.ContainsFunc(row.cells, func(c cell) bool { return c.announced == markAnnounc }); {
		case row.role == "KSK" || s.signs || !a.signed():
		case s.everywhere.IsZero() && announced:
			lines = append(lines, name+" may not sign data yet: not every nameserver has it")
		case s.everywhere.IsZero():
			lines = append(lines, name+" signs no data; if it did, it may go max_zone_ttl after its last signature")
		default:
			lines = append(lines, fmt.Sprintf("%s is published everywhere since %s, or before, and signs no data: if it is new it may sign from %s at the latest, if it did sign it may go max_zone_ttl after its last signature",
				name, clock(s.everywhere), clock(s.sign)))
		}
		for _, other := range a.keys[i+1:] {
			if other.provider != row.provider || s.leave.IsZero() || other.step.leave.IsZero() || other.entry.Ref().Algorithm != row.entry.Ref().Algorithm {
				continue
			}
			from := s.leave
			if other.step.leave.After(from) {
				from = other.step.leave
			}
			lines = append(lines, fmt.Sprintf("%s and %s are both in DS: the old one may leave CDS, and may go from %s at the latest",
				name, observe.KeyName(other.entry.Ref()), clock(from)))
		}
	}
	return lines
}
