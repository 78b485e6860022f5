package validate

import (
	"bytes"

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

// compareNames orders two canonical names as NSEC chains are ordered: label by
// label from the right, as octets (RFC 4034 section 6.1).
func compareNames(a, b string) int {
	x, y := labels(a), labels(b)
	for i := 1; i <= len(x) && i <= len(y); i++ {
		if c := bytes.Compare(x[len(x)-i], y[len(y)-i]); c != 0 {
			return c
		}
	}
	return len(x) - len(y)
}

// labels returns a name's labels as octets, without escapes.
func labels(name string) [][]byte {
	wire := make([]byte, 256)
	end, err := dns.PackDomainName(name, wire, 0, nil, false)
	if err != nil {
		return nil // no name that came in a message
	}
	var out [][]byte
	for i := 0; i < end && wire[i] != 0; i += int(wire[i]) + 1 {
		out = append(out, wire[i+1:i+1+int(wire[i])])
	}
	return out
}
