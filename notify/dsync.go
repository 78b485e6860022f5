package notify

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/domain"
)

// TypeDSYNC is the type of DSYNC (RFC 9859 section 2), which miekg/dns takes for
// an unknown one.
const TypeDSYNC uint16 = 66

// SchemeNotify is the scheme of endpoints that take NOTIFY messages.
const SchemeNotify uint8 = 1

// DSYNC is the rdata of a DSYNC record: where the parent wants to be told of
// changes.
type DSYNC struct {
	RRtype uint16 // of what: CDS, or CSYNC
	Scheme uint8
	Port   uint16
	Target string // canonical
}

const (
	fixedDSYNC = 5   // octets before Target
	maxName    = 255 // octets (RFC 1035 section 2.3.4)
)

var errDSYNC = errors.New("malformed DSYNC record")

// ParseDSYNC reads a record as miekg/dns hands out those of unknown types. The
// name in it is not compressed (RFC 3597 section 4), and nothing follows it.
func ParseDSYNC(rr dns.RR) (DSYNC, error) {
	unknown, ok := rr.(*dns.RFC3597)
	if !ok || rr.Header().Rrtype != TypeDSYNC || len(unknown.Rdata) > 2*(fixedDSYNC+maxName) {
		return DSYNC{}, errDSYNC
	}
	rdata, err := hex.DecodeString(unknown.Rdata)
	if err != nil {
		return DSYNC{}, errDSYNC
	}
	return decodeDSYNC(rdata)
}

func decodeDSYNC(rdata []byte) (DSYNC, error) {
	if len(rdata) <= fixedDSYNC {
		return DSYNC{}, errDSYNC
	}
	name := rdata[fixedDSYNC:]
	if !plainName(name) {
		return DSYNC{}, errDSYNC
	}
	target, _, err := dns.UnpackDomainName(name, 0)
	if err != nil {
		return DSYNC{}, errDSYNC
	}
	if target, err = domain.Canonical(target); err != nil {
		return DSYNC{}, errDSYNC
	}
	return DSYNC{
		RRtype: binary.BigEndian.Uint16(rdata), Scheme: rdata[2],
		Port: binary.BigEndian.Uint16(rdata[3:]), Target: target,
	}, nil
}

// plainName reports whether b is one name, not compressed.
func plainName(b []byte) bool {
	for off := 0; off < len(b) && b[off] <= 63; off += 1 + int(b[off]) {
		if b[off] == 0 {
			return off+1 == len(b)
		}
	}
	return false
}

// RR returns d as a record at owner, ttl in seconds.
func (d DSYNC) RR(owner string, ttl uint32) (dns.RR, error) {
	rdata := make([]byte, fixedDSYNC+maxName)
	binary.BigEndian.PutUint16(rdata, d.RRtype)
	rdata[2] = d.Scheme
	binary.BigEndian.PutUint16(rdata[3:], d.Port)
	end, err := dns.PackDomainName(d.Target, rdata, fixedDSYNC, nil, false)
	if err != nil {
		return nil, fmt.Errorf("target %.300q: %w", d.Target, err)
	}
	return &dns.RFC3597{
		Hdr:   dns.RR_Header{Name: owner, Rrtype: TypeDSYNC, Class: dns.ClassINET, Ttl: ttl, Rdlength: uint16(end)}, // #nosec G115 -- 260 at most
		Rdata: hex.EncodeToString(rdata[:end]),
	}, nil
}
