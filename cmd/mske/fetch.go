package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/announce"
	"github.com/coredns-mske/mske/domain"
	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/merge"
)

const fetchUsage = `Usage: mske fetch [flags] ZONE HOST

Collects what nameserver HOST announces for ZONE, validates it, and prints it in zone-file form with the verdict.
Exit status: 0 secure, 1 absent, 2 usage, 3 insecure, 4 bogus, 5 unreachable, 6 refused.

Flags:
`

// fetchArgs is what the command line of `mske fetch` says.
type fetchArgs struct {
	networkArgs
	zone, host string
}

// runFetch collects one announcement and returns the exit status.
func runFetch(args []string, stdout, stderr io.Writer) int {
	a, err := parseFetch(args, stderr)
	if err == flag.ErrHelp {
		return 0
	}
	if err != nil {
		return fetchUsageError(stderr, err)
	}
	fetcher, err := a.newFetcher("fetch", stderr)
	if err != nil {
		return fetchUsageError(stderr, err)
	}
	res := fetcher.Fetch(context.Background(), a.zone, a.host, merge.Announcement{})
	if a.json {
		err = printJSON(stdout, res)
	} else {
		err = printZone(stdout, res)
	}
	if err != nil {
		return fetchUsageError(stderr, fmt.Errorf("writing the result: %w", err))
	}
	return res.Verdict.ExitStatus()
}

func fetchUsageError(stderr io.Writer, err error) int {
	fmt.Fprintf(stderr, "mske fetch: %v\n", err)
	return exitUsage
}

// parseFetch reads the command line. The error is flag.ErrHelp if all that was
// asked for is help, which it prints.
func parseFetch(args []string, stderr io.Writer) (fetchArgs, error) {
	var a fetchArgs
	fs := flag.NewFlagSet("fetch", flag.ContinueOnError)
	a.define(fs, fetch.DefaultTimeout)
	words, err := parseWords(fs, args, fetchUsage, stderr)
	if err == flag.ErrHelp {
		return a, err
	}
	if err != nil {
		return a, fmt.Errorf("%w: see mske fetch -h", err)
	}
	if len(words) != 2 {
		return a, fmt.Errorf("expected ZONE and HOST, got %d arguments: see mske fetch -h", len(words))
	}
	if a.zone, err = parseZone(words[0]); err != nil {
		return a, err
	}
	if a.host, err = parseHost(words[1]); err != nil {
		return a, err
	}
	return a, a.networkArgs.check()
}

// parseHost returns the canonical name of the nameserver that an argument names. It
// takes those that are no host names, too: such ones are in NS records.
func parseHost(arg string) (string, error) {
	if _, err := netip.ParseAddr(strings.Trim(arg, "[]")); err == nil {
		return "", fmt.Errorf("HOST %q is an address: give the nameserver's name, as in the zone's NS records", arg)
	}
	host, err := domain.Written(arg)
	if err != nil {
		return "", fmt.Errorf("HOST: %w", err)
	}
	if host == "." {
		return "", fmt.Errorf("HOST %q is not a host name", arg)
	}
	return host, nil
}

// printZone prints the announcement as records at the signaling name, and the
// verdict as a comment, so that all of it is a zone file.
func printZone(w io.Writer, res fetch.Result) error {
	var out strings.Builder
	if owner, err := announce.Name(res.Zone, res.Host); err == nil {
		for _, rr := range records(owner, res) {
			out.WriteString(rr.String() + "\n")
		}
	}
	fmt.Fprintf(&out, "; %s: %s\n", res.Verdict, res.Why())
	_, err := io.WriteString(w, out.String())
	return err
}

// records returns the announcement's records at owner.
func records(owner string, res fetch.Result) []dns.RR {
	ttl := uint32(res.TTL / time.Second) // #nosec G115 -- a TTL
	var rrs []dns.RR
	for _, d := range res.Announcement.CDS {
		rrs = append(rrs, d.CDS(owner, ttl))
	}
	for _, k := range res.Announcement.CDNSKEY {
		rrs = append(rrs, k.CDNSKEY(owner, ttl))
	}
	for _, k := range res.Announcement.DNSKEY {
		rrs = append(rrs, k.DNSKEY(owner, ttl))
	}
	return rrs
}

// fetchJSON is the object that --json prints.
type fetchJSON struct {
	Zone    string   `json:"zone"`
	Host    string   `json:"host"`
	Status  string   `json:"status"`
	Reason  string   `json:"reason"`
	TTL     int64    `json:"ttl"`
	CDS     []string `json:"cds"`
	CDNSKEY []string `json:"cdnskey"`
	DNSKEY  []string `json:"dnskey"`
}

func printJSON(w io.Writer, res fetch.Result) error {
	o := fetchJSON{
		Zone: res.Zone, Host: res.Host, Status: res.Verdict.String(), Reason: res.Why(),
		TTL: int64(res.TTL / time.Second),
		CDS: []string{}, CDNSKEY: rdata(res.Announcement.CDNSKEY), DNSKEY: rdata(res.Announcement.DNSKEY),
	}
	for _, d := range res.Announcement.CDS {
		o.CDS = append(o.CDS, rdataOf(d.CDS(".", 0)))
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(o)
}

// rdata returns the rdata of keys, never nil.
func rdata(ks []merge.Key) []string {
	texts := make([]string, 0, len(ks))
	for _, k := range ks {
		texts = append(texts, rdataOf(k.DNSKEY(".", 0)))
	}
	return texts
}

// rdataOf returns what stands after the header in rr's zone-file form.
func rdataOf(rr dns.RR) string { return strings.TrimPrefix(rr.String(), rr.Header().String()) }
