package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/observe"
)

// textWidth is how wide text is, where names allow it.
const textWidth = 80

// checkPrinter prints assessments: the first whole, then what changes.
type checkPrinter struct {
	w      io.Writer
	json   bool
	colour bool

	last []string // the statements printed last, nil before the first
}

// print prints a, or what differs from the one printed last, and reports
// whether anything was printed.
func (p *checkPrinter) print(a assessment) (changed bool, err error) {
	statements := append([]string{a.verdict()}, slices.Concat(a.missing(), a.timedChanges(), a.steps(), a.notes(), a.standing())...)
	first := p.last == nil
	gone, come := difference(p.last, statements), difference(statements, p.last)
	p.last = statements
	switch {
	case !first && len(gone)+len(come) == 0:
		return false, nil
	case p.json:
		return true, printCheckJSON(p.w, a)
	case first:
		_, err = io.WriteString(p.w, p.page(a))
		return true, err
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s\n", clock(a.sight.At))
	for _, line := range gone {
		out.WriteString(p.paint(green, wrap("  - ", line)))
	}
	for _, line := range come {
		out.WriteString(p.paint(yellow, wrap("  + ", line)))
	}
	_, err = io.WriteString(p.w, out.String())
	return true, err
}

// timedChanges returns the changes of NS, each with a word on when.
func (a assessment) timedChanges() []string {
	lines := a.changes()
	for i := range lines {
		if !a.mayAdd() {
			lines[i] = "later: " + lines[i]
		}
	}
	return lines
}

// difference returns what of a is not in b.
func difference(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// standing returns what is there, for changes of it to be seen.
func (a assessment) standing() []string {
	lines := []string{"DS at the parent: " + dsTags(a.sight.Parent), "NS at the parent: " + strings.Join(a.sight.Parent.NS, " ")}
	for i, server := range a.sight.Servers {
		var tags []string
		for _, row := range a.keys {
			if row.cells[i].dnskey == markDNSKEY {
				tags = append(tags, fmt.Sprint(row.entry.Ref().Tag))
			}
		}
		lines = append(lines, fmt.Sprintf("DNSKEY at %s: %s", server.Host, strings.Join(tags, " ")))
	}
	return lines
}

// page returns the whole of what was seen.
func (p *checkPrinter) page(a assessment) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s seen from outside at %s\n\n", a.sight.Zone, clock(a.sight.At))
	out.WriteString(parentText(a.sight.Parent))
	out.WriteString("\nNameservers\n" + a.serverText())
	if len(a.keys) > 0 {
		out.WriteString("\n" + p.keyTable(a))
	}
	p.section(&out, "Missing", a.missing())
	if a.mayAdd() {
		p.section(&out, "To change in NS", a.changes())
	} else {
		p.section(&out, "To change in NS, but nothing to add before DS is complete", a.changes())
	}
	p.section(&out, "Keys that are rolled", a.steps())
	p.section(&out, "Note", a.notes())
	p.section(&out, "Next", a.next())
	colour := red
	switch {
	case a.converged:
		colour = green
	case a.phase == phaseSingle || a.phase == phaseInsecure:
		colour = yellow
	}
	out.WriteString("\n" + p.paint(colour, wrap("", a.verdict())))
	return out.String()
}

func (p *checkPrinter) section(out *strings.Builder, title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	out.WriteString("\n" + title + "\n")
	for _, line := range lines {
		out.WriteString(wrap("  ", line))
	}
}

// parentText returns what the parent says.
func parentText(p observe.Parent) string {
	name := p.Name
	if name == "" {
		name = "(not found)"
	}
	ns := strings.Join(p.NS, " ")
	switch {
	case !p.NSRead:
		ns = "not read"
	case ns == "":
		ns = "none"
	}
	return fmt.Sprintf("Parent %s\n%s%s", name, wrap("  DS  ", dsTags(p)), wrap("  NS  ", ns))
}

func dsTags(p observe.Parent) string {
	switch p.DSStatus {
	case observe.DSUnread:
		return "not read"
	case observe.DSDenied:
		return "none, as it proves"
	case observe.DSInsecure:
		return "none that counts: no chain of trust leads to the zone"
	}
	var refs []string
	for _, d := range p.DS {
		refs = append(refs, fmt.Sprintf("%d (%s)", d.KeyTag, algorithmName(d.Algorithm)))
	}
	return strings.Join(slices.Compact(refs), ", ")
}

func algorithmName(algorithm uint8) string {
	if name, ok := dns.AlgorithmToString[algorithm]; ok {
		return name
	}
	return fmt.Sprintf("algorithm %d", algorithm)
}

// serverText returns the nameservers, numbered as in the table of keys.
func (a assessment) serverText() string {
	width := 0
	for _, server := range a.sight.Servers {
		width = max(width, len(server.Host))
	}
	var out strings.Builder
	for i, server := range a.sight.Servers {
		fmt.Fprintf(&out, " %2d  %-2s %-*s  %s\n", i+1, a.providerOf(server.Host), width, server.Host, a.listings(server.Host))
		for _, addr := range server.Addresses {
			out.WriteString(wrap("         ", addressText(addr)))
		}
		if server.Err != nil {
			out.WriteString(wrap("         ", server.Err.Error()))
		}
	}
	return out.String()
}

// listings says which RRsets name the host.
func (a assessment) listings(host string) string {
	var in []string
	if a.targetType == typeCNS && slices.Contains(a.target, host) {
		in = append(in, "CNS")
	}
	if slices.Contains(a.sight.ChildNS(), host) {
		in = append(in, "NS")
	}
	if slices.Contains(a.sight.Parent.NS, host) {
		in = append(in, "parent's NS")
	}
	return strings.Join(in, ", ")
}

// addressText says how an address answers.
func addressText(addr observe.Address) string {
	text := addr.Addr.String()
	switch udp, tcp := addr.UDP.Err, addr.TCP.Err; {
	case addr.NoRoute:
		return text + " no route from here"
	case udp != nil && tcp != nil && udp.Error() == tcp.Error():
		return text + " " + udp.Error()
	case udp != nil && tcp != nil:
		return fmt.Sprintf("%s over UDP %v; over TCP %v", text, udp, tcp)
	case udp != nil:
		return fmt.Sprintf("%s serial %s over TCP; over UDP %v", text, serial(addr.TCP), udp)
	case tcp != nil:
		return fmt.Sprintf("%s serial %s over UDP; over TCP %v", text, serial(addr.UDP), tcp)
	}
	return text + " serial " + serial(addr.UDP)
}

func serial(a observe.Apex) string {
	if len(a.SOA.Records) == 0 {
		return "unknown"
	}
	return fmt.Sprint(a.SOA.Records[0])
}

// keyTable returns the table of keys and nameservers.
func (p *checkPrinter) keyTable(a assessment) string {
	var out strings.Builder
	out.WriteString("Keys                                  DS")
	for i := range a.sight.Servers {
		fmt.Fprintf(&out, "  %3d", i+1)
	}
	out.WriteString("\n")
	for _, row := range a.keys {
		ref, ds := row.entry.Ref(), "-"
		switch {
		case row.ds:
			ds = "DS"
		case slices.Contains(a.lackDS, row.entry) && a.sight.Parent.DSStatus == observe.DSPresent:
			ds = "!"
		}
		fmt.Fprintf(&out, "     %-2s %s  %5d  %-16s %s", row.provider, row.role, ref.Tag, algorithmName(ref.Algorithm), p.marks(fmt.Sprintf("%2s", ds)))
		for _, c := range row.cells {
			out.WriteString("  " + p.marks(c.String()))
		}
		out.WriteString("\n")
	}
	out.WriteString("     D in DNSKEY, C in CDS and CDNSKEY, A announced, ! missing, ? no answer\n")
	return out.String()
}

// marks paints what is missing.
func (p *checkPrinter) marks(s string) string {
	if !p.colour {
		return s
	}
	s = strings.ReplaceAll(s, string(markMissing), p.paint(red, string(markMissing)))
	return strings.ReplaceAll(s, string(markUnknown), p.paint(yellow, string(markUnknown)))
}

// wrap returns text in lines of at most textWidth after a prefix, as far as its
// words allow. Lines after the first are indented by two more.
func wrap(prefix, text string) string {
	var out strings.Builder
	lead := len(text) - len(strings.TrimLeft(text, " "))
	line := prefix + text[:lead]
	indent := strings.Repeat(" ", len(line)) + "  "
	empty := true
	for _, word := range strings.Fields(text) {
		if !empty && len(line)+1+len(word) > textWidth {
			out.WriteString(line + "\n")
			line, empty = indent, true
		}
		if !empty {
			line += " "
		}
		line, empty = line+word, false
	}
	return out.String() + line + "\n"
}

// Colours, as terminals take them (ECMA-48 SGR).
const (
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (p *checkPrinter) paint(colour, text string) string {
	if !p.colour {
		return text
	}
	body := strings.TrimSuffix(text, "\n")
	return "\x1b[" + colour + "m" + body + "\x1b[0m" + text[len(body):]
}

// hasColours reports whether w is to have colours: a terminal that can show
// them, unless its user has none (https://no-color.org).
func hasColours(w io.Writer) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && isTerminal(w)
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
