package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"io"

	"github.com/fxamacker/cbor/v2"
	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/serve"
)

const (
	// recordVersion is the first octet of a record: CBOR (RFC 8949). It changes
	// when the meaning of a field does.
	recordVersion = 2

	// jsonVersion is that of records of earlier versions of mske, which are read.
	jsonVersion = 1

	// maxRecord bounds a record in octets: the most keys of the greatest size
	// that the limits below allow take less.
	maxRecord = 4 << 20

	recordHeader = 5 // version, then the CRC-32C of the rest
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// RecordError says that the stored state of one zone cannot be relied on.
type RecordError struct {
	Key string // see Key
	Err error
}

// Error implements the error interface.
func (e *RecordError) Error() string {
	return fmt.Sprintf("the record of zone %q: %v", e.Key, e.Err)
}

// Unwrap returns the cause.
func (e *RecordError) Unwrap() error { return e.Err }

func encodeAll(zones map[string]Zone) (map[string][]byte, error) {
	records := make(map[string][]byte, len(zones))
	for key, z := range zones {
		record, err := encode(key, z)
		if err != nil {
			return nil, err
		}
		records[key] = record
	}
	return records, nil
}

// encode returns the record of z. What decode would refuse is not written.
func encode(key string, z Zone) ([]byte, error) {
	if err := z.validate(key); err != nil {
		return nil, &RecordError{Key: key, Err: err}
	}
	text, err := encoding.Marshal(z)
	if err == nil && len(text) > maxRecord-recordHeader {
		err = fmt.Errorf("%d octets, more than %d", len(text), maxRecord-recordHeader)
	}
	if err != nil {
		return nil, &RecordError{Key: key, Err: err}
	}
	record := append(make([]byte, 0, recordHeader+len(text)), recordVersion)
	record = binary.BigEndian.AppendUint32(record, crc32.Checksum(text, castagnoli))
	return append(record, text...), nil
}

// Digest identifies what z says, to tell whether it has changed. It is zero for a
// state that cannot be written.
func (z Zone) Digest() (d [16]byte) {
	if text, err := encoding.Marshal(z); err == nil {
		sum := sha256.Sum256(text)
		copy(d[:], sum[:])
	}
	return d
}

// decode returns the state in record, after checking that it is whole, of this
// version, within bounds and about the zone that key says.
func decode(key string, record []byte) (Zone, error) {
	z, err := parse(record)
	if err == nil {
		err = z.validate(key)
	}
	if err != nil {
		return Zone{}, &RecordError{Key: key, Err: err}
	}
	return z, nil
}

func parse(record []byte) (z Zone, err error) {
	switch {
	case len(record) < recordHeader:
		return Zone{}, errors.New("too short")
	case len(record) > maxRecord:
		return Zone{}, fmt.Errorf("%d octets, more than %d", len(record), maxRecord)
	case record[0] != recordVersion && record[0] != jsonVersion:
		return Zone{}, fmt.Errorf("version %d, this version of mske reads those up to %d only", record[0], recordVersion)
	}
	text := record[recordHeader:]
	if binary.BigEndian.Uint32(record[1:]) != crc32.Checksum(text, castagnoli) {
		return Zone{}, errors.New("the checksum is wrong")
	}
	if record[0] == jsonVersion {
		err = unmarshalJSON(text, &z)
	} else {
		err = decoding.Unmarshal(text, &z)
	}
	if err != nil {
		return Zone{}, err
	}
	z.share()
	return z, nil
}

// How records are written and read. What no record of ours has is refused before
// it takes memory.
var (
	encoding = must(cbor.EncOptions{Time: cbor.TimeRFC3339Nano, NaNConvert: cbor.NaNConvertReject, InfConvert: cbor.InfConvertReject}.EncMode())
	decoding = must(cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField, MaxArrayElements: maxJoint, MaxMapPairs: maxFields, MaxNestedLevels: maxNested,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive, UTF8: cbor.UTF8RejectInvalid,
	}.DecMode())
)

const (
	maxFields = 64 // of a structure
	maxNested = 16
)

func must[T any](t T, err error) T {
	if err != nil {
		panic(err) // options that contradict each other
	}
	return t
}

func unmarshalJSON(text []byte, z *Zone) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(z); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows the record")
	}
	return nil
}

// content is a checksum over all records in whatever order. bbolt has none of
// its own: a page that is lost, or is of an earlier time, would take zones or
// keys away without a trace.
type content struct {
	records, sum uint64
}

func recordSum(key, record []byte) uint64 {
	h := fnv.New64a()
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(key))))
	h.Write(key)
	h.Write(record)
	return h.Sum64()
}

func (c content) with(key, record []byte) content {
	return content{c.records + 1, c.sum + recordSum(key, record)}
}

func (c content) without(key, record []byte) content {
	return content{c.records - 1, c.sum - recordSum(key, record)}
}

func (c content) bytes() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, c.records), c.sum)
}

func parseContent(b []byte) (content, error) {
	if len(b) != 16 {
		return content{}, errDamaged("the checksum of the content is missing")
	}
	return content{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}, nil
}

// signature is how a signature is written.
type signature struct {
	_    struct{} `cbor:",toarray"`
	Wire []byte   // the RRSIG record
	Over []byte   // nothing, or a digest
}

// MarshalCBOR implements [cbor.Marshaler].
func (s Signatures) MarshalCBOR() ([]byte, error) {
	sigs := make([]signature, len(s))
	for i, sig := range s {
		wire := make([]byte, dns.Len(sig.RRSIG))
		// Packing writes to the header, and this one is being served.
		n, err := dns.PackRR(dns.Copy(sig.RRSIG), wire, 0, nil, false)
		if err != nil {
			return nil, err
		}
		sigs[i].Wire = wire[:n]
		if sig.Over != (serve.Digest{}) {
			sigs[i].Over = sig.Over[:]
		}
	}
	return encoding.Marshal(sigs)
}

// UnmarshalCBOR implements [cbor.Unmarshaler].
func (s *Signatures) UnmarshalCBOR(text []byte) error {
	var sigs []signature
	if err := decoding.Unmarshal(text, &sigs); err != nil {
		return err
	}
	*s = nil
	for _, one := range sigs {
		sig, err := unpackSignature(one.Wire)
		if err != nil {
			return err
		}
		switch len(one.Over) {
		case 0:
		case len(sig.Over):
			sig.Over = serve.Digest(one.Over)
		default:
			return fmt.Errorf("a digest of %d octets", len(one.Over))
		}
		*s = append(*s, sig)
	}
	return nil
}

// UnmarshalJSON implements [json.Unmarshaler].
func (s *Signatures) UnmarshalJSON(text []byte) error {
	var wires [][]byte
	if err := json.Unmarshal(text, &wires); err != nil {
		return err
	}
	*s = nil
	for _, wire := range wires {
		sig, err := unpackSignature(wire)
		if err != nil {
			return err
		}
		*s = append(*s, sig)
	}
	return nil
}

func unpackSignature(wire []byte) (serve.Signature, error) {
	rr, off, err := dns.UnpackRR(wire, 0)
	if err != nil {
		return serve.Signature{}, err
	}
	sig, ok := rr.(*dns.RRSIG)
	if !ok || off != len(wire) {
		return serve.Signature{}, errors.New("a signature is no RRSIG record")
	}
	return serve.Signature{RRSIG: sig}, nil
}
