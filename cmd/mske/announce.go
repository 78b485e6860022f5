package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/coredns-mske/mske/announce"
	"github.com/coredns-mske/mske/cns"
	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/keys"
	"github.com/coredns-mske/mske/merge"
)

const announceUsage = `Usage: mske announce [-d DIR] --ns HOST... ZONE

Prints what we announce for ZONE under our nameservers HOST, from the key files in DIR, in zone-file form: for the zone
_signal.HOST, or one that holds it, where another server has that zone and signs it.
Exit status: 0 printed, 1 failed, 2 usage.

Flags:
`

// announceTTL is the TTL of what is printed, in seconds: the plugin's default.
const announceTTL = 3600

// announceArgs is what the command line of `mske announce` says.
type announceArgs struct {
	zone  string
	hosts []string
	dir   string
}

// runAnnounce prints our announcement for a zone and returns the exit status.
func runAnnounce(args []string, stdout, stderr io.Writer) int {
	a, err := parseAnnounce(args, stderr)
	if err == flag.ErrHelp {
		return exitOK
	}
	if err != nil {
		fmt.Fprintf(stderr, "mske announce: %v\n", err)
		return exitUsage
	}
	text, err := announcement(a, time.Now(), stderr)
	if err == nil {
		_, err = io.WriteString(stdout, text)
	}
	if err != nil {
		fmt.Fprintf(stderr, "mske announce: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// parseAnnounce reads the command line. The error is flag.ErrHelp if all that
// was asked for is help, which it prints.
func parseAnnounce(args []string, stderr io.Writer) (announceArgs, error) {
	var a announceArgs
	fs := flag.NewFlagSet("announce", flag.ContinueOnError)
	fs.StringVar(&a.dir, "d", ".", "`DIR`ectory of the key files")
	fs.Func("ns", "our nameservers, `HOST...` up to the ZONE; may be repeated", func(s string) error {
		a.hosts = append(a.hosts, s)
		return nil
	})
	words, err := parseWords(fs, args, announceUsage, stderr)
	if err != nil {
		return a, err
	}
	if len(a.hosts) == 0 {
		return a, errors.New("no nameserver: write \"mske announce --ns HOST ZONE\" with a nameserver of ours as HOST")
	}
	if len(words) == 0 {
		return a, errors.New("no zone: write \"mske announce --ns HOST ZONE\", the zone last")
	}
	a.hosts = append(a.hosts, words[:len(words)-1]...)
	for i, host := range a.hosts {
		if a.hosts[i], err = cns.HostName(host); err != nil {
			return a, fmt.Errorf("--ns: %w", err)
		}
	}
	a.zone, err = parseZone(words[len(words)-1])
	return a, err
}

// announcement returns the records as a zone file has them.
func announcement(a announceArgs, now time.Time, stderr io.Writer) (string, error) {
	ks, err := readKeys(a.zone, a.dir, now, stderr)
	if err != nil {
		return "", err
	}
	if err := keys.CheckSet(a.zone, ks); err != nil {
		return "", fmt.Errorf("in directory %q: %w", a.dir, err)
	}
	plan := keys.Plan(ks, now, keys.Facts{})
	for _, why := range plan.Why {
		fmt.Fprintf(stderr, "mske announce: %s\n", why)
	}
	own := announce.Own(a.zone, plan)
	if len(own.CDS) == 0 || len(own.DNSKEY) == 0 {
		return "", fmt.Errorf("no peer would take an announcement without both a CDS and a DNSKEY record: "+
			"see the times in the key files of %q with dnssec-settime -p all", a.zone)
	}
	warnMany("announce", a.zone, own, stderr)
	var out strings.Builder
	for _, host := range a.hosts {
		owner, err := announce.Name(a.zone, host)
		if err != nil {
			return "", err
		}
		for _, set := range announce.RRsets(owner, own, announceTTL) {
			for _, rr := range set {
				out.WriteString(rr.String() + "\n")
			}
		}
	}
	if !plan.Next.IsZero() {
		fmt.Fprintf(&out, "; good until %s, when the times in the key files may change it\n", plan.Next.UTC().Format(time.RFC3339))
	}
	return out.String(), nil
}

// warnMany says which types our announcement for zone has more keys of than other
// providers take.
func warnMany(command, zone string, own merge.Announcement, stderr io.Writer) {
	for _, set := range []struct {
		types string
		keys  []merge.Key
	}{
		{"DNSKEY", own.DNSKEY},
		{"CDS and CDNSKEY", own.CDNSKEY},
	} {
		if n := len(set.keys); n > fetch.MaxKeys {
			fmt.Fprintf(stderr, "mske %s: zone %s has %d keys to announce as %s, and other providers refuse more than %d of a type: remove old key files\n",
				command, zone, n, set.types, fetch.MaxKeys)
		}
	}
}
