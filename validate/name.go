package validate

import "github.com/miekg/dns"

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
func isAbove(name, child string) bool { return name != child && dns.IsSubDomain(name, child) }

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
