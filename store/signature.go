package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/serve"
)

const (
	maxName    = 255 // octets of a name on the wire (RFC 1035 section 2.3.4)
	fixedAfter = 10  // octets of a record between its owner and its rdata
)

var errNoSignature = errors.New("a signature is no RRSIG record")

// packSignature returns the record that s is in wire format.
func packSignature(s serve.Signature) ([]byte, error) {
	wire := make([]byte, maxName, maxName+fixedAfter+len(s.RDATA()))
	n, err := dns.PackDomainName(s.Owner, wire, 0, nil, false)
	if err != nil {
		return nil, err
	}
	wire = binary.BigEndian.AppendUint16(wire[:n], dns.TypeRRSIG)
	wire = binary.BigEndian.AppendUint16(wire, dns.ClassINET)
	wire = binary.BigEndian.AppendUint32(wire, s.TTL)
	wire = binary.BigEndian.AppendUint16(wire, uint16(len(s.RDATA())))
	return append(wire, s.RDATA()...), nil
}

// unpackSignature returns the signature that wire, a record, is.
func unpackSignature(wire []byte, over serve.Digest) (serve.Signature, error) {
	owner, n, err := dns.UnpackDomainName(wire, 0)
	if err != nil {
		return serve.Signature{}, err
	}
	fixed := wire[n:]
	if len(fixed) < fixedAfter || binary.BigEndian.Uint16(fixed) != dns.TypeRRSIG || binary.BigEndian.Uint16(fixed[2:]) != dns.ClassINET ||
		int(binary.BigEndian.Uint16(fixed[8:])) != len(fixed)-fixedAfter {
		return serve.Signature{}, errNoSignature
	}
	return serve.ParseSignature(owner, binary.BigEndian.Uint32(fixed[4:]), fixed[fixedAfter:], over)
}

// UnmarshalJSON implements [json.Unmarshaler].
func (s *Signatures) UnmarshalJSON(text []byte) error {
	var wires [][]byte
	if err := json.Unmarshal(text, &wires); err != nil {
		return err
	}
	*s = nil
	for _, wire := range wires {
		sig, err := unpackSignature(wire, serve.Digest{})
		if err != nil {
			return err
		}
		*s = append(*s, sig)
	}
	return nil
}
