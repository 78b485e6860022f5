package merge

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Key is the rdata of a DNSKEY or CDNSKEY record: the identity of a key
// whatever its owner name and TTL. It is comparable, so that sets of keys are
// plain Go maps.
type Key struct {
	Flags     uint16
	Protocol  uint8
	Algorithm uint8
	PublicKey string // base64, without white space
}

// KeyOf returns the identity of k, whichever way its public key was written.
func KeyOf(k *dns.DNSKEY) Key {
	public := k.PublicKey
	if !canonical(public) {
		if octets, err := base64.StdEncoding.DecodeString(public); err == nil {
			public = base64.StdEncoding.EncodeToString(octets)
		}
	}
	return Key{Flags: k.Flags, Protocol: k.Protocol, Algorithm: k.Algorithm, PublicKey: public}
}

// canonical reports whether text is base64 as an encoder writes it. Most is, and a
// fleet has many keys that are asked for their identity again and again.
func canonical(text string) bool {
	digits := strings.TrimSuffix(strings.TrimSuffix(text, "="), "=")
	if len(text)%4 != 0 {
		return false
	}
	last, all := byte(0), byte(0)
	for i := range len(digits) {
		last = digitValues[digits[i]]
		all |= last
	}
	if all&notADigit != 0 {
		return false
	}
	unused := byte(1)<<(2*(len(text)-len(digits))) - 1 // bits of the last digit that no octet has
	return last&unused == 0
}

// notADigit is the value of an octet that is no digit of base64.
const notADigit = 0x80

// digitValues are the values of all octets as digits of base64 (RFC 4648 section 4).
var digitValues = func() (values [256]byte) {
	for i := range values {
		values[i] = notADigit
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		values[c] = byte(i)
	}
	return values
}()

// DNSKEY returns k as a DNSKEY record at owner, ttl in seconds.
func (k Key) DNSKEY(owner string, ttl uint32) *dns.DNSKEY {
	return &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: owner, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: ttl},
		Flags: k.Flags, Protocol: k.Protocol, Algorithm: k.Algorithm, PublicKey: k.PublicKey,
	}
}

// CDNSKEY returns k as a CDNSKEY record at owner (RFC 7344 section 3.2), ttl
// in seconds.
func (k Key) CDNSKEY(owner string, ttl uint32) *dns.CDNSKEY {
	rr := &dns.CDNSKEY{DNSKEY: *k.DNSKEY(owner, ttl)}
	rr.Hdr.Rrtype = dns.TypeCDNSKEY
	return rr
}

// Tag returns the key tag (RFC 4034 appendix B).
func (k Key) Tag() uint16 {
	var room [maxRdata]byte
	rdata, ok := k.appendRdata(room[:0])
	if !ok {
		return 0
	}
	var sum uint32
	for i, b := range rdata {
		if i%2 == 0 {
			sum += uint32(b) << 8
		} else {
			sum += uint32(b)
		}
	}
	return uint16(sum + sum>>16)
}

// maxRdata is the rdata of a key with RSA of 4096 bits and a long exponent: most
// fit into it.
const maxRdata = 640

// appendRdata appends the rdata of k in wire format, and reports whether there is
// one.
func (k Key) appendRdata(buf []byte) ([]byte, bool) {
	buf = binary.BigEndian.AppendUint16(buf, k.Flags)
	buf = append(buf, k.Protocol, k.Algorithm)
	buf, err := base64.StdEncoding.AppendDecode(buf, []byte(k.PublicKey))
	return buf, err == nil
}

// DS returns the digest of k as the key of zone (RFC 4034 section 5.1.4), and
// whether the digest type is one that can be computed here.
func (k Key) DS(zone string, digestType uint8) (DS, bool) {
	if digestType == dns.SHA256 { // nearly always, and again and again
		if sum, ok := k.sha256(zone); ok {
			return DS{KeyTag: k.Tag(), Algorithm: k.Algorithm, DigestType: digestType, Digest: strings.ToUpper(hex.EncodeToString(sum[:]))}, true
		}
	}
	ds := k.DNSKEY(zone, 0).ToDS(digestType)
	if ds == nil {
		return DS{}, false
	}
	return DSOf(ds), true
}

// sha256 returns the digest of k as the key of zone, and reports whether there is
// one.
func (k Key) sha256(zone string) (sum [sha256.Size]byte, ok bool) {
	var room [maxName + maxRdata]byte
	end, err := dns.PackDomainName(dns.CanonicalName(zone), room[:], 0, nil, false)
	if err != nil {
		return sum, false
	}
	wire, ok := k.appendRdata(room[:end])
	return sha256.Sum256(wire), ok
}

// maxName is the longest name in wire format (RFC 1035 section 3.1).
const maxName = 255

// CompareKeys orders keys by rdata in canonical form (RFC 4034 section 6.3).
func CompareKeys(a, b Key) int {
	return cmp.Or(cmp.Compare(a.Flags, b.Flags), cmp.Compare(a.Protocol, b.Protocol),
		cmp.Compare(a.Algorithm, b.Algorithm), comparePublic(a.PublicKey, b.PublicKey))
}

// comparePublic orders two public keys by their octets. Text that is not
// base64 sorts by itself: it can only come from a record that no decoder made.
func comparePublic(a, b string) int {
	if a == b {
		return 0
	}
	var roomA, roomB [maxRdata]byte
	x, errA := base64.StdEncoding.AppendDecode(roomA[:0], []byte(a))
	y, errB := base64.StdEncoding.AppendDecode(roomB[:0], []byte(b))
	if errA != nil || errB != nil {
		return cmp.Compare(a, b)
	}
	return bytes.Compare(x, y)
}

// DS is the rdata of a DS or CDS record. It is comparable.
type DS struct {
	KeyTag     uint16
	Algorithm  uint8
	DigestType uint8
	Digest     string // upper-case hexadecimal
}

// DSOf returns the rdata of ds.
func DSOf(ds *dns.DS) DS {
	return DS{KeyTag: ds.KeyTag, Algorithm: ds.Algorithm, DigestType: ds.DigestType, Digest: strings.ToUpper(ds.Digest)}
}

// CDS returns d as a CDS record at owner (RFC 7344 section 3.1), ttl in
// seconds.
func (d DS) CDS(owner string, ttl uint32) *dns.CDS {
	return &dns.CDS{DS: dns.DS{
		Hdr:    dns.RR_Header{Name: owner, Rrtype: dns.TypeCDS, Class: dns.ClassINET, Ttl: ttl},
		KeyTag: d.KeyTag, Algorithm: d.Algorithm, DigestType: d.DigestType, Digest: d.Digest,
	}}
}

// Names reports whether d is the digest of k as a key of zone.
func (d DS) Names(zone string, k Key) bool {
	if d.Algorithm != k.Algorithm || d.KeyTag != k.Tag() {
		return false
	}
	if d.DigestType == dns.SHA256 { // as DS, without the text
		if sum, ok := k.sha256(zone); ok {
			return isHex(d.Digest, sum[:])
		}
	}
	of, ok := k.DS(zone, d.DigestType)
	return ok && of == d
}

// isHex reports whether text is octets in upper-case hexadecimal.
func isHex(text string, octets []byte) bool {
	const digits = "0123456789ABCDEF"
	if len(text) != 2*len(octets) {
		return false
	}
	for i, b := range octets {
		if text[2*i] != digits[b>>4] || text[2*i+1] != digits[b&15] {
			return false
		}
	}
	return true
}

// CompareDS orders digests by rdata in canonical form (RFC 4034 section 6.3).
func CompareDS(a, b DS) int {
	return cmp.Or(cmp.Compare(a.KeyTag, b.KeyTag), cmp.Compare(a.Algorithm, b.Algorithm),
		cmp.Compare(a.DigestType, b.DigestType), cmp.Compare(a.Digest, b.Digest))
}

// Ref is how a key is named to people and in DS records: tag and algorithm.
// Two keys may share it.
type Ref struct {
	Tag       uint16
	Algorithm uint8
}

// Ref returns the tag and algorithm of k.
func (k Key) Ref() Ref { return Ref{Tag: k.Tag(), Algorithm: k.Algorithm} }

// refs returns the distinct references to ks, sorted.
func refs(ks []Key) []Ref {
	rs := make([]Ref, 0, len(ks))
	for _, k := range ks {
		rs = append(rs, k.Ref())
	}
	return sortRefs(rs)
}

func sortRefs(rs []Ref) []Ref {
	slices.SortFunc(rs, func(a, b Ref) int {
		return cmp.Or(cmp.Compare(a.Tag, b.Tag), cmp.Compare(a.Algorithm, b.Algorithm))
	})
	return slices.Compact(rs)
}
