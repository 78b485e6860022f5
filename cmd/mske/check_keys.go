package main

import (
	"cmp"
	"slices"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/observe"
)

// provider is a group of nameservers that sign with the same keys: from outside
// all nameservers are equal, and their keys are what tells providers apart.
type provider struct {
	label string // A, B, ...
	hosts []string
	keys  map[merge.Key]bool // of its own
}

// groupProviders tells the providers apart. Where there are no keys at all, there
// is nothing to tell them by.
func groupProviders(s observe.Sight, announced map[string]fetch.Result) []provider {
	keyless := func(server observe.Server) bool { return len(ownKeys(server, announced[server.Host])) == 0 }
	if !slices.ContainsFunc(s.Servers, func(server observe.Server) bool { return !keyless(server) }) {
		return nil
	}
	var groups []provider
	for _, server := range s.Servers {
		p := provider{hosts: []string{server.Host}, keys: ownKeys(server, announced[server.Host])}
		groups = slices.DeleteFunc(groups, func(other provider) bool {
			if !p.shares(other) {
				return false
			}
			p.hosts = append(other.hosts, p.hosts...)
			for k := range other.keys {
				p.keys[k] = true
			}
			return true
		})
		groups = append(groups, p)
	}
	order := func(host string) int {
		return slices.IndexFunc(s.Servers, func(server observe.Server) bool { return server.Host == host })
	}
	for i := range groups {
		slices.SortFunc(groups[i].hosts, func(a, b string) int { return cmp.Compare(order(a), order(b)) })
	}
	slices.SortFunc(groups, func(a, b provider) int { return cmp.Compare(order(a.hosts[0]), order(b.hosts[0])) })
	for i := range groups {
		groups[i].label = letter(i)
	}
	return groups
}

// ownKeys returns the keys that a nameserver signs the zone with, or announces.
func ownKeys(server observe.Server, res fetch.Result) map[merge.Key]bool {
	keys := make(map[merge.Key]bool)
	for _, addr := range server.Addresses {
		for _, apex := range []observe.Apex{addr.UDP, addr.TCP} {
			for _, k := range slices.Concat(apex.SOA.Signers, apex.DNSKEY.Signers) {
				keys[k] = true
			}
		}
	}
	for _, k := range slices.Concat(res.Announcement.DNSKEY, res.Announcement.CDNSKEY) {
		keys[k] = true
	}
	return keys
}

func (p provider) shares(other provider) bool {
	for k := range p.keys {
		if other.keys[k] {
			return true
		}
	}
	return false
}

func letter(i int) string {
	if i < 26 {
		return string(rune('A' + i))
	}
	return letter(i/26-1) + letter(i%26)
}

// providerOf returns the label of the provider that the host, or the key, is of.
func (a assessment) providerOf(host string) string {
	for _, p := range a.providers {
		if slices.Contains(p.hosts, host) {
			return p.label
		}
	}
	return ""
}

func (a assessment) holder(k merge.Key) string {
	for _, p := range a.providers {
		if p.keys[k] {
			return p.label
		}
	}
	return ""
}

// keyRow is one key in the table.
type keyRow struct {
	entry    observe.Entry
	provider string // its label, "" if it cannot be told
	role     string // KSK, ZSK or CSK
	ds       bool   // the parent's DS names it
	cells    []cell // by server
	step     step
}

// cell is where a key stands at one nameserver.
type cell struct {
	dnskey, cds, announced mark
}

// mark is one of the places where a key may stand at a nameserver.
type mark byte

const (
	markNo      mark = '-' // not there, and not needed there
	markUnknown mark = '?' // the nameserver did not answer
	markMissing mark = '!' // needed there, and not at every address over both transports
	markDNSKEY  mark = 'D'
	markCDS     mark = 'C'
	markAnnounc mark = 'A'
)

// String returns the three marks.
func (c cell) String() string { return string([]byte{byte(c.dnskey), byte(c.cds), byte(c.announced)}) }

// keyRows returns every key that was seen anywhere, by provider and role.
func (a assessment) keyRows(entries []observe.Entry) []keyRow {
	use := a.keyUse(entries)
	var rows []keyRow
	for _, e := range a.allKeys(entries) {
		row := keyRow{
			entry: e, provider: a.holder(e.Key), role: use.role(e),
			ds: slices.ContainsFunc(a.sight.Parent.DS, func(d merge.DS) bool { return isOf(a.sight.Zone, d, e) }),
		}
		for _, server := range a.sight.Servers {
			row.cells = append(row.cells, a.cell(e, server, use))
		}
		rows = append(rows, row)
	}
	last := func(label string) string { return cmp.Or(label, "~") } // the unknown ones
	slices.SortFunc(rows, func(x, y keyRow) int {
		return cmp.Or(cmp.Compare(last(x.provider), last(y.provider)), cmp.Compare(x.role, y.role),
			cmp.Compare(x.entry.Ref().Tag, y.entry.Ref().Tag), cmp.Compare(x.entry.Ref().Algorithm, y.entry.Ref().Algorithm))
	})
	return rows
}

// allKeys returns the keys in DNSKEY, CDS, CDNSKEY and DS and those announced.
func (a assessment) allKeys(entries []observe.Entry) []observe.Entry {
	all := slices.Clone(entries)
	add := func(e observe.Entry) {
		if !slices.Contains(all, e) {
			all = append(all, e)
		}
	}
	for _, server := range a.sight.Servers {
		for _, addr := range server.Addresses {
			for _, k := range slices.Concat(addr.UDP.DNSKEY.Records, addr.TCP.DNSKEY.Records) {
				add(observe.Entry{Key: k})
			}
		}
		res := a.announced[server.Host].Announcement
		for _, k := range slices.Concat(res.DNSKEY, res.CDNSKEY) {
			add(observe.Entry{Key: k})
		}
	}
	for _, d := range a.sight.Parent.DS {
		if !slices.ContainsFunc(all, func(e observe.Entry) bool { return isOf(a.sight.Zone, d, e) }) {
			add(observe.Entry{DS: d})
		}
	}
	return all
}

// keyUse is what keys are used for.
type keyUse struct {
	data  map[merge.Key]bool // announced as DNSKEY, or seen signing data
	entry map[observe.Entry]bool
	need  map[merge.Key]bool // in every DNSKEY RRset
}

func (a assessment) keyUse(entries []observe.Entry) keyUse {
	u := keyUse{data: make(map[merge.Key]bool), entry: make(map[observe.Entry]bool), need: make(map[merge.Key]bool)}
	for _, e := range entries {
		u.entry[e] = true
	}
	for _, server := range a.sight.Servers {
		for _, addr := range server.Addresses {
			for _, apex := range []observe.Apex{addr.UDP, addr.TCP} {
				for _, k := range apex.SOA.Signers {
					u.data[k], u.need[k] = true, true
				}
				for _, k := range apex.DNSKEY.Signers {
					u.entry[observe.Entry{Key: k}] = true
				}
			}
		}
		res := a.announced[server.Host].Announcement
		for _, k := range res.DNSKEY {
			u.data[k] = true
			u.need[k] = u.need[k] || slices.Contains(a.target, server.Host)
		}
		for _, k := range res.CDNSKEY {
			u.entry[observe.Entry{Key: k}] = true
		}
	}
	return u
}

// role is that which a key is used in; by its flags where it is in none.
func (u keyUse) role(e observe.Entry) string {
	switch {
	case e.Key == (merge.Key{}):
		return "KSK"
	case u.data[e.Key] && u.entry[e]:
		return "CSK"
	case u.entry[e]:
		return "KSK"
	case u.data[e.Key]:
		return "ZSK"
	case e.Key.Flags&1 != 0:
		return "KSK"
	}
	return "ZSK"
}

// cell returns where the key stands at a server.
func (a assessment) cell(e observe.Entry, server observe.Server, use keyUse) cell {
	c := cell{dnskey: markNo, cds: markNo, announced: markNo}
	res := a.announced[server.Host].Announcement
	if slices.Contains(res.DNSKEY, e.Key) || slices.Contains(res.CDNSKEY, e.Key) ||
		slices.ContainsFunc(res.CDS, func(d merge.DS) bool { return isOf(a.sight.Zone, d, e) }) {
		c.announced = markAnnounc
	}
	if !server.Answers() {
		c.dnskey, c.cds = markUnknown, markUnknown
		return c
	}
	entry := slices.Contains(a.entries(), e)
	dnskey, cds := everywhere(server, a.sight.Zone, e)
	c.dnskey = markFor(dnskey, use.need[e.Key] && e.Key != merge.Key{}, markDNSKEY)
	c.cds = markFor(cds, entry, markCDS)
	return c
}

// presence is at how many of a nameserver's places something stands.
type presence uint8

const (
	nowhere presence = iota
	somewhere
	throughout
)

func markFor(p presence, needed bool, there mark) mark {
	switch {
	case p == throughout, p == somewhere && !needed:
		return there
	case needed:
		return markMissing
	}
	return markNo
}

// everywhere returns at how many of the server's places that answer the key
// stands in DNSKEY, and in those of CDS and CDNSKEY that there are.
func everywhere(server observe.Server, zone string, e observe.Entry) (dnskey, cds presence) {
	var places, inDNSKEY, inCDS int
	for _, addr := range server.Addresses {
		for _, apex := range []observe.Apex{addr.UDP, addr.TCP} {
			if apex.Err != nil {
				continue
			}
			places++
			if slices.Contains(apex.DNSKEY.Records, e.Key) {
				inDNSKEY++
			}
			if inEntries(apex, zone, e) {
				inCDS++
			}
		}
	}
	count := func(n int) presence {
		switch n {
		case 0:
			return nowhere
		case places:
			return throughout
		}
		return somewhere
	}
	return count(inDNSKEY), count(inCDS)
}

func inEntries(apex observe.Apex, zone string, e observe.Entry) bool {
	cds := slices.ContainsFunc(apex.CDS.Records, func(d merge.DS) bool { return isOf(zone, d, e) })
	cdnskey := slices.Contains(apex.CDNSKEY.Records, e.Key)
	switch {
	case len(apex.CDS.Records) == 0:
		return cdnskey
	case len(apex.CDNSKEY.Records) == 0:
		return cds
	}
	return cds && (cdnskey || e.Key == merge.Key{})
}
