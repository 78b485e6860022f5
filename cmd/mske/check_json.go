package main

import (
	"encoding/json"
	"io"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/merge"
	"github.com/coredns-mske/mske/observe"
)

// checkJSON is the object that `mske check --json` prints. Records are rdata
// strings, TTLs seconds.
type checkJSON struct {
	Zone        string       `json:"zone"`
	Time        string       `json:"time"`
	Phase       phase        `json:"phase"`
	Converged   bool         `json:"converged"`
	Target      targetJSON   `json:"target"`
	Parent      parentJSON   `json:"parent"`
	Nameservers []serverJSON `json:"nameservers"`
	Keys        []keyJSON    `json:"keys"`
	Missing     []string     `json:"missing"`
	Changes     []string     `json:"changes"` // of NS
	Notes       []string     `json:"notes"`
	Next        []string     `json:"next"`
}

type targetJSON struct {
	From  string   `json:"from"` // "CNS" or "NS"
	Hosts []string `json:"hosts"`
}

type parentJSON struct {
	Zone     string   `json:"zone"`
	DSStatus string   `json:"ds_status"` // "present", "denied", "insecure" or "unread"
	DS       []string `json:"ds"`
	DSTTL    int64    `json:"ds_ttl"`
	NSRead   bool     `json:"ns_read"`
	NS       []string `json:"ns"`
	NSTTL    int64    `json:"ns_ttl"`
	Errors   []string `json:"errors"`
}

type serverJSON struct {
	Host         string           `json:"host"`
	Provider     string           `json:"provider"`
	Announcement announcementJSON `json:"announcement"`
	Error        string           `json:"error"`
	Addresses    []addressJSON    `json:"addresses"`
}

type announcementJSON struct {
	Status string `json:"status"`
	Reason string `json:"reason"`
}

type addressJSON struct {
	Address string   `json:"address"`
	Route   bool     `json:"route"`
	UDP     apexJSON `json:"udp"`
	TCP     apexJSON `json:"tcp"`
}

type apexJSON struct {
	Error     string   `json:"error"`
	Serial    uint32   `json:"serial"`
	DNSKEY    []string `json:"dnskey"`
	DNSKEYTTL int64    `json:"dnskey_ttl"`
	CDNSKEY   []string `json:"cdnskey"`
	CDS       []string `json:"cds"`
	NS        []string `json:"ns"`
	CNS       []string `json:"cns"`
}

type keyJSON struct {
	Provider  string                 `json:"provider"`
	Role      string                 `json:"role"`
	Tag       uint16                 `json:"tag"`
	Algorithm uint8                  `json:"algorithm"`
	DS        bool                   `json:"ds"`
	At        map[string]keyCellJSON `json:"at"` // by host

	// At the latest, since that is when this command saw it; "" where it is not so.
	Signs      bool   `json:"signs"` // data
	Everywhere string `json:"published_everywhere_since"`
	SignFrom   string `json:"may_sign_from"`
	GoFrom     string `json:"may_go_from"` // of a secure entry
}

// keyCellJSON is where a key stands at a nameserver: "yes", "no", "missing" or
// "unknown".
type keyCellJSON struct {
	DNSKEY    string `json:"dnskey"`
	CDS       string `json:"cds"`
	Announced string `json:"announced"`
}

func printCheckJSON(w io.Writer, a assessment) error {
	o := checkJSON{
		Zone: a.sight.Zone, Time: a.sight.At.UTC().Format(time.RFC3339), Phase: a.phase, Converged: a.converged,
		Target: targetJSON{From: "CNS", Hosts: list(a.target)}, Parent: parentObject(a.sight.Parent),
		Nameservers: []serverJSON{}, Keys: []keyJSON{},
		Missing: list(a.missing()), Changes: list(a.changes()), Notes: list(a.notes()), Next: list(a.next()),
	}
	if a.targetType == dns.TypeNS {
		o.Target.From = "NS"
	}
	for _, server := range a.sight.Servers {
		o.Nameservers = append(o.Nameservers, a.serverObject(server))
	}
	for _, row := range a.keys {
		o.Keys = append(o.Keys, a.keyObject(row))
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(o)
}

// list returns a list that is never null.
func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func digests(ds []merge.DS) []string {
	texts := []string{}
	for _, d := range ds {
		texts = append(texts, rdataOf(d.CDS(".", 0)))
	}
	return texts
}

func parentObject(p observe.Parent) parentJSON {
	o := parentJSON{
		Zone: p.Name, DSStatus: p.DSStatus.String(), DS: digests(p.DS), DSTTL: seconds(p.DSTTL),
		NSRead: p.NSRead, NS: list(p.NS), NSTTL: seconds(p.NSTTL), Errors: list(parentErrors(p)),
	}
	if p.DSErr != nil {
		o.Errors = append([]string{p.DSErr.Error()}, o.Errors...)
	}
	return o
}

func (a assessment) serverObject(server observe.Server) serverJSON {
	res := a.announced[server.Host]
	o := serverJSON{
		Host: server.Host, Provider: a.providerOf(server.Host), Error: errorText(server.Err), Addresses: []addressJSON{},
		Announcement: announcementJSON{Status: res.Verdict.String(), Reason: res.Why()},
	}
	for _, addr := range server.Addresses {
		o.Addresses = append(o.Addresses, addressJSON{
			Address: addr.Addr.String(), Route: !addr.NoRoute, UDP: apexObject(addr.UDP), TCP: apexObject(addr.TCP),
		})
	}
	return o
}

func apexObject(a observe.Apex) apexJSON {
	o := apexJSON{
		Error: errorText(a.Err), DNSKEY: rdata(a.DNSKEY.Records), DNSKEYTTL: seconds(a.DNSKEY.TTL),
		CDNSKEY: rdata(a.CDNSKEY.Records), CDS: digests(a.CDS.Records), NS: list(a.NS.Records), CNS: list(a.CNS.Records),
	}
	if len(a.SOA.Records) > 0 {
		o.Serial = a.SOA.Records[0]
	}
	return o
}

func (a assessment) keyObject(row keyRow) keyJSON {
	ref := row.entry.Ref()
	o := keyJSON{Provider: row.provider, Role: row.role, Tag: ref.Tag, Algorithm: ref.Algorithm, DS: row.ds, At: make(map[string]keyCellJSON),
		Signs: row.step.signs, Everywhere: moment(row.step.everywhere), SignFrom: moment(row.step.sign), GoFrom: moment(row.step.leave)}
	for i, server := range a.sight.Servers {
		c := row.cells[i]
		o.At[server.Host] = keyCellJSON{DNSKEY: c.dnskey.word(), CDS: c.cds.word(), Announced: c.announced.word()}
	}
	return o
}

// moment returns a time as JSON has it, "" for none.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func (m mark) word() string {
	switch m {
	case markNo:
		return "no"
	case markMissing:
		return "missing"
	case markUnknown:
		return "unknown"
	}
	return "yes"
}
