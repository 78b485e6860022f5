package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/coredns-mske/mske/status"
)

const statusUsage = `Usage: mske status [flags] [ZONE]

Asks the server on this machine how far ZONE is: what it waits for, and when each of our keys may take its next step. Without
ZONE it prints a line for every zone.
Exit status: 0 printed, 1 the server does not answer, or not for ZONE, 2 usage.

Flags:
`

// defaultState is the plugin's default for the option state.
const defaultState = "mske.db"

// statusArgs is what the command line of `mske status` says.
type statusArgs struct {
	zone  string // "" for all
	state string
	json  bool
}

// runStatus prints what the server says and returns the exit status.
func runStatus(args []string, stdout, stderr io.Writer) int {
	a, err := parseStatus(args, stderr)
	if err == flag.ErrHelp {
		return exitOK
	}
	if err != nil {
		fmt.Fprintf(stderr, "mske status: %v\n", err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	zones, err := status.Ask(ctx, a.state, a.zone)
	switch {
	case err != nil:
		err = fmt.Errorf("%w: is it running, and is %q its state file (--state)?", err, a.state)
	case len(zones) == 0 && a.zone != "":
		err = fmt.Errorf("the server does not know zone %s, or nothing of it yet", a.zone)
	default:
		err = printStatus(stdout, a, zones)
	}
	if err != nil {
		fmt.Fprintf(stderr, "mske status: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// parseStatus reads the command line. The error is flag.ErrHelp if all that was
// asked for is help, which it prints.
func parseStatus(args []string, stderr io.Writer) (statusArgs, error) {
	var a statusArgs
	fs := flag.NewFlagSet("status", flag.ContinueOnError)
	fs.StringVar(&a.state, "state", defaultState, "the server's state `FILE`, beside which it listens")
	fs.BoolVar(&a.json, "json", false, "print one JSON object for each zone instead of text")
	words, err := parseWords(fs, args, statusUsage, stderr)
	if err == flag.ErrHelp {
		return a, err
	}
	if err != nil {
		return a, fmt.Errorf("%w: see mske status -h", err)
	}
	if len(words) > 1 {
		return a, errors.New("more than one ZONE: see mske status -h")
	}
	if len(words) == 1 {
		a.zone, err = parseZone(words[0])
	}
	return a, err
}

func printStatus(w io.Writer, a statusArgs, zones []status.Zone) error {
	for i, z := range zones {
		text := ""
		switch {
		case a.json:
			object, err := json.Marshal(z)
			if err != nil {
				return err
			}
			text = string(object) + "\n"
		case a.zone == "":
			text = strings.Join(append([]string{z.Zone, strings.Join(z.Nameservers, ","), z.Phase}, strings.Join(z.Waits, "; ")), "  ")
			text = strings.TrimRight(text, " ") + "\n"
		default:
			if text = statusPage(z); i > 0 {
				text = "\n" + text
			}
		}
		if _, err := io.WriteString(w, text); err != nil {
			return fmt.Errorf("writing the result: %w", err)
		}
	}
	return nil
}

// statusPage returns what there is to say of a zone.
func statusPage(z status.Zone) string {
	var out strings.Builder
	out.WriteString(wrap("", fmt.Sprintf("%s under %s is %s", z.Zone, strings.Join(z.Nameservers, ", "), z.Phase)))
	section := func(title string, lines []string) {
		if len(lines) == 0 {
			return
		}
		out.WriteString("\n" + title + "\n")
		for _, line := range lines {
			out.WriteString(wrap("  ", line))
		}
	}
	section("Waits for", z.Waits)
	if len(z.NS) > 0 {
		text := strings.Join(z.NS, " ")
		if !z.MayAdd {
			text += " (it may not gain hosts now)"
		}
		section("NS may be", []string{text})
	}
	var leaving []string
	for _, l := range z.Leaving {
		leaving = append(leaving, fmt.Sprintf("%s since %s; its keys stay until %s at least", l.Host, clock(l.Since), clock(l.Until)))
	}
	section("Leaving", leaving)
	if !z.Deletable.IsZero() {
		section("To be deleted here", []string{"from " + clock(z.Deletable)})
	}
	var ours []string
	for _, k := range z.Keys {
		ours = append(ours, fmt.Sprintf("%s %d (%s): %s", k.Role, k.Tag, algorithmName(k.Algorithm), strings.Join(keyFacts(k), "; ")))
	}
	section("Our keys", ours)
	section("Warnings", z.Warnings)
	return out.String()
}

// keyFacts returns what is known of when a key may do what.
func keyFacts(k status.Key) []string {
	facts := []string{"not published everywhere yet"}
	if !k.Everywhere.IsZero() {
		facts[0] = "published everywhere since " + clock(k.Everywhere)
	}
	if k.Role != "KSK" {
		switch {
		case k.Signs:
			facts = append(facts, "signs the zone's data")
		case k.SignFrom.IsZero():
			facts = append(facts, "may not sign the zone's data yet")
		default:
			facts = append(facts, "may sign the zone's data from "+clock(k.SignFrom))
		}
	}
	if k.Role != "ZSK" {
		if k.InDS.IsZero() {
			facts = append(facts, "not in the parent's DS")
		} else {
			facts = append(facts, "in the parent's DS since "+clock(k.InDS))
		}
	}
	if !k.GoFrom.IsZero() {
		facts = append(facts, "may go from "+clock(k.GoFrom))
	}
	return facts
}
