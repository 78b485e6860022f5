package observe

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/merge"
)

// Place is where something is served: an address of a host, over a transport.
type Place struct {
	Host string
	Addr netip.Addr // zero if no address of Host was found
	TCP  bool
}

// String returns the host and, in parentheses, how it was asked.
func (p Place) String() string {
	if !p.Addr.IsValid() {
		return p.Host
	}
	return p.Host + " (" + p.how() + ")"
}

func (p Place) how() string {
	if p.TCP {
		return p.Addr.String() + " over TCP"
	}
	return p.Addr.String() + " over UDP"
}

// Kind is what is wrong with a place.
type Kind uint8

// The kinds of faults.
const (
	// Silent: there is no answer, or none with authority; of the RRset Type
	// alone if that is set.
	Silent Kind = iota
	// Lacking: the RRset Type, DNSKEY, CDS or CDNSKEY, lacks Key.
	Lacking
	// Unverifiable: the data of the host Name, signed by Key, verifies with no
	// key in the DNSKEY RRset here.
	Unverifiable
	// Unsigned: the data here is signed by no key that any nameserver serves.
	Unsigned
	// Unanchored: the DNSKEY RRset is signed by none of the expected
	// secure-entry keys.
	Unanchored
	// Broken: NS sends resolvers here, and they cannot validate what they get,
	// as the DNSKEY RRset is signed by no key in the parent's DS.
	Broken
	// Unlisted: the RRset Type, NS or CNS, lacks the host Name.
	Unlisted
	// Listed: the RRset Type, NS or CNS, lists the host Name, which is not
	// expected there.
	Listed
)

// Fault is one thing that is not as it has to be, at one place.
type Fault struct {
	Place Place
	Kind  Kind
	Type  uint16    // the RRset it is about, 0 if about none
	Key   merge.Ref // the key it is about, zero if about none
	Name  string    // the other host it is about, "" if about none
	Err   error     // Silent: why
}

// String returns the fault with its place, for an operator.
func (f Fault) String() string { return f.Place.String() + ": " + f.What() }

// What returns the fault without its place.
func (f Fault) What() string {
	switch f.Kind {
	case Silent:
		if f.Type != 0 {
			return fmt.Sprintf("asked for %s, it %v", TypeName(f.Type), f.Err)
		}
		return f.Err.Error()
	case Lacking:
		return fmt.Sprintf("%s lacks %s", TypeName(f.Type), KeyName(f.Key))
	case Unverifiable:
		return fmt.Sprintf("its DNSKEY lacks %s, which signs the data of %s", KeyName(f.Key), f.Name)
	case Unsigned:
		return "its data is signed by no key that a nameserver serves"
	case Unanchored:
		return "its DNSKEY is signed by no secure-entry key that counts"
	case Broken:
		return "NS sends resolvers there, and they fail: its DNSKEY is signed by no key that the parent's DS names"
	case Unlisted:
		return fmt.Sprintf("%s lacks %s", TypeName(f.Type), f.Name)
	case Listed:
		return fmt.Sprintf("%s lists %s", TypeName(f.Type), f.Name)
	}
	return fmt.Sprintf("fault %d", f.Kind)
}

// TypeName returns the mnemonic of an RR type that a Sight has. CNS has no
// fixed number: all others that it knows have.
func TypeName(rrtype uint16) string {
	if name, ok := dns.TypeToString[rrtype]; ok {
		return name
	}
	return "CNS"
}

// KeyName names a key as people do.
func KeyName(r merge.Ref) string {
	if r == (merge.Ref{}) {
		return "the wish to delete DS (RFC 8078 section 4)"
	}
	if name, ok := dns.AlgorithmToString[r.Algorithm]; ok {
		return fmt.Sprintf("key %d (%s)", r.Tag, name)
	}
	return fmt.Sprintf("key %d (algorithm %d)", r.Tag, r.Algorithm)
}

// Tell returns faults in plain words, one line for what is wrong at a host in
// the same way: without a place if it is so at all of the host's places.
func (s Sight) Tell(faults []Fault) []string {
	type group struct{ host, what string }
	var order []group
	places := make(map[group][]Place)
	for _, f := range faults {
		g := group{f.Place.Host, f.What()}
		if places[g] == nil {
			order = append(order, g)
		}
		if !slices.Contains(places[g], f.Place) {
			places[g] = append(places[g], f.Place)
		}
	}
	var lines []string
	for _, g := range order {
		lines = append(lines, g.host+s.where(places[g])+": "+g.what)
	}
	return lines
}

// where says which places of a host are meant, "" if all are.
func (s Sight) where(places []Place) string {
	if !places[0].Addr.IsValid() {
		return ""
	}
	all := 0
	for p := range s.apexes() {
		if p.Host == places[0].Host {
			all++
		}
	}
	if len(places) >= all {
		return ""
	}
	texts := make([]string, 0, len(places))
	for _, p := range places {
		other := p
		other.TCP = !p.TCP
		switch {
		case !slices.Contains(places, other):
			texts = append(texts, p.how())
		case !p.TCP:
			texts = append(texts, p.Addr.String())
		}
	}
	return " (" + strings.Join(texts, ", ") + ")"
}
