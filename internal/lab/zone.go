package lab

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Denial is how a zone proves that something does not exist.
type Denial uint8

const (
	NSEC      Denial = iota // a chain of names (RFC 4034)
	NSEC3                   // a chain of hashed names (RFC 5155)
	Compact                 // made for each question, with NXNAME (RFC 9824)
	BlackLies               // as CoreDNS's dnssec plugin does, with its bitmaps
)

const (
	defaultTTL  = 3600
	negativeTTL = 300 // SOA minimum, and the TTL of NSEC and NSEC3
)

// Zone is a zone of the hierarchy. Only Name is needed.
type Zone struct {
	Name      string
	Records   string // in zone-file form, names relative to Name; SOA and NS are added if missing
	Algorithm uint8  // default ECDSAP256SHA256
	CSK       bool   // one key instead of KSK and ZSK
	Keys      []*Key // instead of keys made from Name, Algorithm and CSK
	Unsigned  bool   // no keys, no DS
	NoDS      bool   // signed, but the parent has no DS
	Digest    uint8  // of the DS, default SHA-256

	Denial     Denial
	Salt       string // of NSEC3, in hex
	Iterations uint16
	OptOut     bool // NSEC3 leaves out unsigned delegations

	// Inception and Expiration of signatures; zero: an hour before and two
	// weeks after the lab's time.
	Inception, Expiration time.Time

	// SignRRset, if set, is called instead of Sign for every RRset of the zone.
	SignRRset func(rrs []dns.RR) []dns.RR

	lab    *Lab
	parsed []dns.RR
	built  *built // nil: to be built
}

// built is what is derived from a zone's fields and its neighbours.
type built struct {
	nodes map[string]node // with empty non-terminals and occluded names
	cuts  map[string]bool
	names []string // with data of its own or a delegation, in canonical order
	sigs  map[string][]dns.RR
	nsec3 []*dns.NSEC3 // in hash order
}

// node holds the RRsets of a name; an empty non-terminal has none.
type node map[uint16][]dns.RR

// init parses the zone's records and makes its keys.
func (z *Zone) init() error {
	if z.Algorithm == 0 {
		z.Algorithm = dns.ECDSAP256SHA256
	}
	if z.Digest == 0 {
		z.Digest = dns.SHA256
	}
	if len(z.Keys) == 0 && !z.Unsigned {
		z.Keys = []*Key{NewKey(z.Name, z.Algorithm, 257, "")}
		if !z.CSK {
			z.Keys = append(z.Keys, NewKey(z.Name, z.Algorithm, 256, ""))
		}
	}
	parser := dns.NewZoneParser(strings.NewReader(z.Records), z.Name, "")
	parser.SetDefaultTTL(defaultTTL)
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		rr.Header().Name = dns.CanonicalName(rr.Header().Name)
		if !dns.IsSubDomain(z.Name, rr.Header().Name) {
			return fmt.Errorf("record out of zone: %s", rr)
		}
		z.parsed = append(z.parsed, rr)
	}
	return parser.Err()
}

// build derives the zone's nodes. The lab is locked.
func (z *Zone) build() *built {
	if z.built != nil {
		return z.built
	}
	z.built = &built{nodes: make(map[string]node), cuts: make(map[string]bool), sigs: make(map[string][]dns.RR)}
	for _, rr := range z.parsed {
		z.put(rr)
	}
	z.putApex()
	z.putDelegations()
	z.putEmptyNonTerminals()
	for name, n := range z.built.nodes {
		if name != z.Name && len(n[dns.TypeNS]) > 0 {
			z.built.cuts[name] = true
		}
	}
	for name, n := range z.built.nodes {
		if len(n) > 0 && !z.occluded(name) {
			z.built.names = append(z.built.names, name)
		}
	}
	slices.SortFunc(z.built.names, compareNames)
	if z.Denial == NSEC3 && !z.Unsigned {
		z.buildNSEC3()
	}
	return z.built
}

func (z *Zone) put(rr dns.RR) {
	h := rr.Header()
	n := z.built.nodes[h.Name]
	if n == nil {
		n = make(node)
		z.built.nodes[h.Name] = n
	}
	n[h.Rrtype] = append(n[h.Rrtype], rr)
}

func (z *Zone) putApex() {
	if apex := z.built.nodes[z.Name]; len(apex[dns.TypeSOA]) == 0 {
		z.put(&dns.SOA{
			Hdr: dns.RR_Header{Name: z.Name, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: defaultTTL},
			Ns:  "ns1.example.net.", Mbox: "hostmaster.example.net.",
			Serial: 1, Refresh: 7200, Retry: 3600, Expire: 1209600, Minttl: negativeTTL,
		})
	}
	if apex := z.built.nodes[z.Name]; len(apex[dns.TypeNS]) == 0 {
		z.put(nameserver(z.Name))
	}
	for _, k := range z.Keys {
		z.put(k.DNSKEY)
	}
}

// putDelegations adds NS and DS of the lab's zones that are this one's children.
func (z *Zone) putDelegations() {
	for name, child := range z.lab.zones {
		if name == "." || z.lab.enclosing(parent(name)) != z {
			continue
		}
		if len(z.built.nodes[name][dns.TypeNS]) == 0 {
			z.put(nameserver(name))
		}
		if !child.Unsigned && !child.NoDS && len(z.built.nodes[name][dns.TypeDS]) == 0 {
			for _, ds := range child.DS() {
				z.put(ds)
			}
		}
	}
}

func (z *Zone) putEmptyNonTerminals() {
	for name := range z.built.nodes {
		for name != z.Name && name != "." {
			name = parent(name)
			if z.built.nodes[name] == nil {
				z.built.nodes[name] = make(node)
			}
		}
	}
}

// occluded says whether the name lies below a delegation.
func (z *Zone) occluded(name string) bool {
	for name != z.Name {
		name = parent(name)
		if z.built.cuts[name] {
			return true
		}
	}
	return false
}

// cut returns the delegation at or above the name, "" if there is none.
func (z *Zone) cut(name string) string {
	found := ""
	for ; name != z.Name; name = parent(name) {
		if z.built.cuts[name] {
			found = name
		}
	}
	return found
}

// DS returns the DS records of the zone's secure-entry keys.
func (z *Zone) DS() []dns.RR {
	var rrs []dns.RR
	for _, k := range z.Keys {
		if k.Flags&dns.SEP == 0 {
			continue
		}
		if ds := k.ToDS(z.Digest); ds != nil {
			rrs = append(rrs, ds)
		}
	}
	return rrs
}

// File returns the zone, unsigned, in zone-file form.
func (z *Zone) File() string {
	z.lab.mu.Lock()
	defer z.lab.mu.Unlock()
	b := z.build()
	var text strings.Builder
	names := make([]string, 0, len(b.nodes))
	for name := range b.nodes {
		names = append(names, name)
	}
	slices.SortFunc(names, compareNames)
	for _, name := range names {
		for _, qtype := range b.nodes[name].types() {
			for _, rr := range b.nodes[name][qtype] {
				fmt.Fprintln(&text, rr)
			}
		}
	}
	return text.String()
}

// types returns the types of the node's RRsets in ascending order, SOA first.
func (n node) types() []uint16 {
	types := make([]uint16, 0, len(n))
	for t := range n {
		types = append(types, t)
	}
	slices.SortFunc(types, func(a, b uint16) int {
		if (a == dns.TypeSOA) != (b == dns.TypeSOA) {
			if a == dns.TypeSOA {
				return -1
			}
			return 1
		}
		return int(a) - int(b)
	})
	return types
}

func nameserver(name string) dns.RR {
	return &dns.NS{
		Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: defaultTTL},
		Ns:  "ns1.example.net.",
	}
}

// parent returns the name without its first label.
func parent(name string) string {
	i, end := dns.NextLabel(name, 0)
	if end {
		return "."
	}
	return name[i:]
}

// compareNames orders names as RFC 4034 section 6.1 does.
func compareNames(a, b string) int {
	x, y := dns.SplitDomainName(a), dns.SplitDomainName(b)
	for i := 1; i <= len(x) && i <= len(y); i++ {
		if c := strings.Compare(x[len(x)-i], y[len(y)-i]); c != 0 {
			return c
		}
	}
	return len(x) - len(y)
}
