// Package cns is the CNS resource record type of
// draft-thomassen-dnsop-mske: at a zone's apex, the names of the nameservers
// that the zone is to have. Its format is that of NS (RFC 1035 section
// 3.3.11), but as a type that DNS software need not know its name is never
// compressed (RFC 3597 section 4).
//
// # Limitations
//
// miekg/dns gives the text of a private type no origin, so that names in zone
// files have to be absolute.
package cns

import (
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"github.com/miekg/dns"
)

// DefaultType is the type number of CNS until IANA assigns one. It is in the
// range for private use (RFC 6895 section 3.1).
const DefaultType uint16 = 65302

// maxName is the longest a name may be on the wire, in octets (RFC 1035
// section 2.3.4).
const maxName = 255

// Explain, if set, is called with every error of Parse. It exists because
// miekg/dns v1.1.73 reports no more than the line when the text of a private
// type is wrong: ZoneParser drops the error that Parse returned. It is to be
// set before zone files are read.
var Explain func(error)

// CNS is the rdata of a CNS record. Its zero value is the empty rdata of a
// dynamic update that deletes an RRset (RFC 2136 section 2.5.2).
type CNS struct {
	Host string // absolute, in the case it was written in
}

var _ dns.PrivateRdata = (*CNS)(nil)

var register = sync.OnceFunc(func() {
	dns.PrivateHandle("CNS", DefaultType, func() dns.PrivateRdata { return new(CNS) })
})

// Register makes miekg/dns know the mnemonic CNS and the format of
// DefaultType. It writes to that package's global tables without a lock: it
// is for init functions and the start of main. Calls after the first do
// nothing.
func Register() { register() }

// String returns the rdata as in a zone file.
func (c *CNS) String() string { return c.Host }

// Parse reads the rdata from the fields of a zone file's record. Its errors
// say what to write instead.
func (c *CNS) Parse(fields []string) error {
	host, err := parse(fields)
	if err != nil {
		if Explain != nil {
			Explain(err)
		}
		return err
	}
	c.Host = host
	return nil
}

func parse(fields []string) (string, error) {
	switch {
	case len(fields) == 0 || fields[0] == "":
		return "", errors.New("CNS record without a name: write the host name of one nameserver, as in \"CNS ns1.example.net.\"")
	case len(fields) > 1:
		return "", fmt.Errorf("CNS record with %d names (%q, %q ...): write one record for each nameserver", len(fields), fields[0], fields[1])
	case !dns.IsFqdn(fields[0]):
		return "", fmt.Errorf("CNS record with the relative name %.300q: write the whole host name with a dot at its end, as in \"CNS ns1.example.net.\"", fields[0])
	}
	if _, err := HostName(fields[0]); err != nil {
		return "", fmt.Errorf("CNS record: %w", err)
	}
	return fields[0], nil
}

// Pack writes the rdata to buf and returns its length in octets.
func (c *CNS) Pack(buf []byte) (int, error) {
	return dns.PackDomainName(c.Host, buf, 0, nil, false)
}

// Unpack reads the rdata from the start of buf, which goes on to the end of
// the message, and returns its length in octets. It takes any name, as NS
// does: that a record is of no use must not make the message that it came in
// unreadable.
func (c *CNS) Unpack(buf []byte) (int, error) {
	n, err := nameLen(buf)
	if err != nil {
		return 0, err
	}
	host, _, err := dns.UnpackDomainName(buf[:n], 0)
	if err != nil {
		return 0, fmt.Errorf("CNS rdata: %w", err)
	}
	c.Host = host
	return n, nil
}

// nameLen returns the length in octets of the uncompressed name at the start
// of buf.
func nameLen(buf []byte) (int, error) {
	for n := 0; n < len(buf); {
		switch label := int(buf[n]); {
		case label == 0:
			return n + 1, nil
		case label > 63:
			return 0, errors.New("CNS rdata: the name is compressed, which only types of RFC 1035 may be (RFC 3597 section 4)")
		default:
			n += 1 + label
		}
	}
	return 0, errors.New("CNS rdata: the name does not end")
}

// Copy copies the rdata to dst, which is a *CNS.
func (c *CNS) Copy(dst dns.PrivateRdata) error {
	d, ok := dst.(*CNS)
	if !ok {
		return fmt.Errorf("CNS rdata cannot be copied to a %T", dst)
	}
	*d = *c
	return nil
}

// Len returns the length of the packed rdata in octets.
func (c *CNS) Len() int {
	n, err := c.Pack(make([]byte, maxName))
	if err != nil {
		return maxName
	}
	return n
}

// Host returns the canonical host name that rr, a CNS record, holds. A CNS
// record under a type number other than DefaultType is a *dns.RFC3597; which
// number that is, is for the caller to know.
func Host(rr dns.RR) (string, error) {
	c, err := rdata(rr)
	if err != nil {
		return "", err
	}
	return HostName(c.Host)
}

func rdata(rr dns.RR) (*CNS, error) {
	switch rr := rr.(type) {
	case *dns.PrivateRR:
		if c, ok := rr.Data.(*CNS); ok {
			return c, nil
		}
	case *dns.RFC3597:
		if hex.DecodedLen(len(rr.Rdata)) > maxName {
			return nil, fmt.Errorf("CNS rdata: longer than the %d octets of a name", maxName)
		}
		wire, err := hex.DecodeString(rr.Rdata)
		if err != nil {
			return nil, fmt.Errorf("CNS rdata: %w", err)
		}
		c := new(CNS)
		n, err := c.Unpack(wire)
		if err == nil && n != len(wire) {
			err = fmt.Errorf("CNS rdata: %d octets after the name", len(wire)-n)
		}
		return c, err
	}
	return nil, fmt.Errorf("a %T is not a CNS record", rr)
}
