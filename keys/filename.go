package keys

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/coredns-mske/mske/domain"

	"github.com/miekg/dns"
)

const (
	publicExt  = ".key"
	privateExt = ".private"
)

// fileID is what the name of a key file says about the key.
type fileID struct {
	zone      string // canonical
	algorithm uint8
	tag       uint16
}

// baseName returns the name of the files of a key, without .key and .private,
// as BIND writes it: letters in lower case and what is neither letter, digit,
// hyphen nor underscore as %XX.
func (id fileID) baseName() string {
	var b strings.Builder
	b.WriteByte('K')
	for _, label := range dns.SplitDomainName(id.zone) {
		writeLabel(&b, label)
		b.WriteByte('.')
	}
	if id.zone == "." {
		b.WriteByte('.')
	}
	fmt.Fprintf(&b, "+%03d+%05d", id.algorithm, id.tag)
	return b.String()
}

func writeLabel(b *strings.Builder, label string) {
	wire := make([]byte, 65) // a label and the root
	if _, err := dns.PackDomainName(label+".", wire, 0, nil, false); err != nil {
		return // zones are canonical names, which pack
	}
	for _, c := range wire[1 : 1+wire[0]] {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_':
			b.WriteByte(c)
		default:
			fmt.Fprintf(b, "%%%02X", c)
		}
	}
}

var percent = regexp.MustCompile("%[0-9A-Fa-f]{2}")

// parseBase reads the name of a key's files, given without extension. ldns
// and CoreDNS write the zone as in a zone file, BIND with %XX.
func parseBase(name string) (id fileID, ok bool) {
	zone, tail, ok := cutLast(name, 2)
	if !ok || !strings.HasPrefix(zone, "K") {
		return fileID{}, false
	}
	algorithm, tag, _ := strings.Cut(tail, "+")
	a, errA := strconv.ParseUint(algorithm, 10, 8)
	t, errT := strconv.ParseUint(tag, 10, 16)
	if errA != nil || errT != nil || len(algorithm) != 3 || len(tag) != 5 {
		return fileID{}, false
	}
	text := percent.ReplaceAllStringFunc(zone[1:], func(hex string) string {
		c, _ := strconv.ParseUint(hex[1:], 16, 8)
		return fmt.Sprintf("\\%03d", c)
	})
	canonical, err := domain.Canonical(text)
	if err != nil {
		return fileID{}, false
	}
	return fileID{canonical, uint8(a), uint16(t)}, true
}

// cutLast cuts s before the nth plus sign from its end.
func cutLast(s string, n int) (before, after string, ok bool) {
	at := len(s)
	for range n {
		if at = strings.LastIndexByte(s[:at], '+'); at < 0 {
			return "", "", false
		}
	}
	return s[:at], s[at+1:], true
}

// trimExt returns the path of a key's files without extension.
func trimExt(path string) string {
	switch ext := filepath.Ext(path); ext {
	case publicExt, privateExt:
		return strings.TrimSuffix(path, ext)
	}
	return path
}
