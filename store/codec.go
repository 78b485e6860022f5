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
	"sync"
)

const (
	// recordVersion is the first octet of a record: what follows is as in
	// layout.go. It changes when that does.
	recordVersion = 4

	// jsonVersion is that of records of early versions of mske. They are read, as
	// are all between.
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
	record, err := z.append(make([]byte, recordHeader, usualRecord))
	if err == nil && len(record) > maxRecord {
		err = fmt.Errorf("%d octets, more than %d", len(record), maxRecord)
	}
	if err != nil {
		return nil, &RecordError{Key: key, Err: err}
	}
	finish(recordVersion, record)
	return record, nil
}

// finish fills in the header of a record of a version.
func finish(version byte, record []byte) {
	record[0] = version
	binary.BigEndian.PutUint32(record[1:], crc32.Checksum(record[recordHeader:], castagnoli))
}

// errChecksum says that a record is not whole.
var errChecksum = errors.New("the checksum is wrong")

// whole reports whether the checksum of a record, header included, is right.
func whole(record []byte) bool {
	return binary.BigEndian.Uint32(record[1:]) == crc32.Checksum(record[recordHeader:], castagnoli)
}

// Digest identifies what z says, to tell whether it has changed. It is zero for a
// state that cannot be written.
func (z Zone) Digest() (d [16]byte) {
	room := rooms.Get().(*[]byte)
	defer rooms.Put(room)
	if text, err := z.append((*room)[:0]); err == nil {
		sum := sha256.Sum256(text)
		copy(d[:], sum[:])
		*room = text
	}
	return d
}

// rooms are where records were put together for their digests.
var rooms = sync.Pool{New: func() any {
	room := make([]byte, 0, usualRecord)
	return &room
}}

// usualRecord is how many octets most records take.
const usualRecord = 4096

// append appends what z says.
func (z Zone) append(octets []byte) ([]byte, error) {
	c := coder{version: recordVersion, octets: octets, numbers: make(map[string]int)}
	c.zone(&z)
	return c.octets, c.err
}

// parseZone returns what octets say, which is nothing but a zone's state, in the
// layout of a version.
func parseZone(version byte, octets []byte) (z Zone, err error) {
	c := coder{version: version, reading: true, octets: octets}
	if c.zone(&z); c.err == nil && len(c.octets) > 0 {
		c.fail(errAfter)
	}
	if c.err != nil {
		return Zone{}, c.err
	}
	return z, nil
}

var errAfter = errors.New("something follows the record")

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
	case record[0] < jsonVersion || record[0] > recordVersion:
		return Zone{}, fmt.Errorf("version %d, this version of mske reads those up to %d only", record[0], recordVersion)
	}
	if !whole(record) {
		return Zone{}, errChecksum
	}
	text := record[recordHeader:]
	if record[0] == jsonVersion {
		return parseJSON(text)
	}
	return parseZone(record[0], text)
}

func parseJSON(text []byte) (z Zone, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&z); err != nil {
		return Zone{}, err
	}
	if _, err := d.Token(); err != io.EOF {
		return Zone{}, errAfter
	}
	return z, nil
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
