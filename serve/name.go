package serve

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

const (
	maxName  = 255 // octets of a name on the wire (RFC 1035 section 2.3.4)
	maxLabel = 63  // octets of a label
	// maxLabels is how many labels fit into a name, the root's left out.
	maxLabels = maxName / 2
)

// packLower returns name in wire form and lower case (RFC 4034 section 6.2).
func packLower(name string) ([]byte, error) {
	wire, err := pack(make([]byte, maxName), name)
	for off := 0; err == nil && wire[off] != 0; off += 1 + int(wire[off]) {
		label := wire[off+1 : off+1+int(wire[off])]
		for i, b := range label {
			label[i] = lower(b)
		}
	}
	return wire, err
}

// pack returns name in wire form, in wire, which has room for any name.
func pack(wire []byte, name string) ([]byte, error) {
	if name == "" {
		return nil, dns.ErrFqdn
	}
	n, err := dns.PackDomainName(name, wire, 0, nil, false)
	if err != nil {
		return nil, fmt.Errorf("%.1100q is not a domain name: %w", name, err)
	}
	return wire[:n], nil
}

// packName packs name into buf at off, uncompressed, and returns where it ends. It
// does the same as miekg/dns, sooner where nothing is escaped: what a question is
// for is packed into each answer.
func packName(name string, buf []byte, off int) (end int, err error) {
	if name == "" || len(name) >= maxName || len(buf) < off+len(name)+1 || strings.IndexByte(name, '\\') >= 0 {
		return dns.PackDomainName(name, buf, off, nil, false)
	}
	wire := buf[off : off+len(name)+1]
	start := 0 // of the label, in the text; on the wire its length is there
	for i := range len(name) {
		c := name[i]
		wire[i+1] = c
		if c == '.' {
			if n := i - start; n == 0 || n > maxLabel {
				return dns.PackDomainName(name, buf, off, nil, false)
			}
			wire[start] = byte(i - start)
			start = i + 1
		}
	}
	if start < len(name) {
		return dns.PackDomainName(name, buf, off, nil, false)
	}
	wire[start] = 0
	return off + len(name) + 1, nil
}

// lower returns an octet of a label in lower case.
func lower(b byte) byte { return inLower[b] }

// inLower is each octet in lower case.
var inLower = func() (lower [256]byte) {
	for i := range lower {
		lower[i] = byte(i)
	}
	for c := 'A'; c <= 'Z'; c++ {
		lower[c] = byte(c + 'a' - 'A')
	}
	return lower
}()

// sortKey returns what identifies a name, however it is written: its labels,
// the last first, each ended by a zero octet. As octets, keys sort in the
// canonical order of names (RFC 4034 section 6.1), and the key of a name is a
// prefix of the keys of all names below it. For that, the octets 0 and 1 of a
// label are written as 1 1 and 1 2.
func sortKey(name string) ([]byte, error) { return appendKeyOf(make([]byte, 0, maxKey), name) }

// appendKeyOf appends what sortKey returns to key.
func appendKeyOf(key []byte, name string) ([]byte, error) {
	var room [maxName]byte
	wire, err := pack(room[:], name)
	if err != nil {
		return nil, err
	}
	return appendSortKey(key, wire), nil
}

// maxKey is how many octets the key of a name has at most.
const maxKey = 2 * maxName

// appendSortKey is appendKeyOf for a name in wire form.
func appendSortKey(key, wire []byte) []byte {
	var starts [maxLabels]uint8
	n := 0
	for off := 0; wire[off] != 0; off += 1 + int(wire[off]) {
		starts[n] = uint8(off)
		n++
	}
	room := slices.Grow(key, maxKey)[:len(key)+maxKey]
	end := len(key)
	for n--; n >= 0; n-- {
		off := int(starts[n])
		for _, b := range wire[off+1 : off+1+int(wire[off])] {
			if b <= 1 {
				room[end] = 1
				end++
				b++
			}
			room[end] = inLower[b]
			end++
		}
		room[end] = 0
		end++
	}
	return room[:end]
}

// parentKey returns the key of the name above that of key, which is not the
// root's.
func parentKey(key []byte) []byte {
	return key[:bytes.LastIndexByte(key[:len(key)-1], 0)+1]
}

// wildcardKey returns the key of the wildcard below the name of key.
func wildcardKey(key []byte) []byte {
	return append(key[:len(key):len(key)], '*', 0)
}

// successor returns the name that follows name immediately in canonical order
// (RFC 4471 section 3.1.2, the absolute method), in lower case.
func successor(name string) (string, error) {
	wire, err := packLower(name)
	if err != nil {
		return "", err
	}
	if len(wire)+2 <= maxName {
		if name == "." {
			return `\000.`, nil
		}
		return `\000.` + strings.ToLower(name), nil
	}
	// There is no room for names below this one.
	for wire[0] != 0 {
		label, rest := wire[1:1+wire[0]], wire[1+wire[0]:]
		if next := nextLabel(label, len(wire) < maxName); next != nil {
			wire = append([]byte{byte(len(next))}, next...)
			text, _, err := dns.UnpackDomainName(append(wire, rest...), 0)
			return text, err
		}
		wire = rest
	}
	return "", fmt.Errorf("no name follows %q", name)
}

// nextLabel returns the label that follows label, which may grow by an octet
// if there is room in the name, or nil if there is none.
func nextLabel(label []byte, room bool) []byte {
	if room && len(label) < maxLabel {
		return append(bytes.Clone(label), 0)
	}
	label = bytes.Clone(bytes.TrimRight(label, "\xff"))
	if len(label) == 0 {
		return nil
	}
	last := &label[len(label)-1]
	if *last++; *last == 'A' {
		*last = 'Z' + 1 // upper case sorts as lower case
	}
	return label
}
