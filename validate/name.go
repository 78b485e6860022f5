package validate

import (
	"strings"

	"github.com/miekg/dns"
)

// parent returns the name without its first label; the root is its own parent.
func parent(name string) string {
	i, end := dns.NextLabel(name, 0)
	if end {
		return "."
	}
	return name[i:]
}

// ancestor returns the ancestor-or-self of name that has n labels.
func ancestor(name string, n int) string {
	for i := dns.CountLabel(name); i > n; i-- {
		name = parent(name)
	}
	return name
}

// isAbove says whether name is a strict ancestor of child.
func isAbove(name, child string) bool { return name != child && within(name, child) }

// within says whether name is the zone or below it, as dns.IsSubDomain does. Both
// are canonical, so that there are no labels to be taken apart: the name ends with
// the zone's, after a dot that is not a label's own.
func within(zone, name string) bool {
	if zone == "." || zone == name {
		return true
	}
	above, ok := strings.CutSuffix(name, zone)
	above, dot := strings.CutSuffix(above, ".")
	escapes := len(above) - len(strings.TrimRight(above, `\`))
	return ok && dot && escapes%2 == 0
}

// wildcard returns the wildcard name whose closest encloser is given.
func wildcard(encloser string) string {
	if encloser == "." {
		return "*."
	}
	return "*." + encloser
}

// countLabels counts labels as RRSIGs do, without a leading "*" (RFC 4034
// section 3.1.3).
func countLabels(name string) int {
	n := dns.CountLabel(name)
	if len(name) >= 2 && name[:2] == "*." {
		n--
	}
	return n
}
