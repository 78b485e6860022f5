package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/coredns-mske/mske/yield"
)

const (
	// lockTimeout is how long another process may take to let go of the file:
	// enough for one that is just ending.
	lockTimeout = 2 * time.Second

	// format is the layout of the file. Its records have versions of their own,
	// see recordVersion: an older mske says of which it cannot read.
	format = "mske state 1"
)

var (
	zonesBucket = []byte("zones")
	metaBucket  = []byte("mske")
	formatKey   = []byte("format")
	contentKey  = []byte("content")
)

// file is an open state file.
type file struct {
	path  string
	db    *bolt.DB
	f     *os.File
	stale bool // the last write failed: what the file shows may not be on disk

	// ops is held while bbolt works with the file, by one at a time: where it stumbles
	// over damage it may leave its own locks locked, and nobody is to wait for them.
	ops  sync.Mutex
	dead error // damage that was come upon
	seen int   // the transaction that the file shows: another one is of somebody else

	mu   sync.Mutex
	read map[string]*Zone // what was there when it was opened, until somebody asked for it or wrote
}

func openOrCreate(path string) (*file, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		err = create(path)
	}
	if err != nil {
		return nil, fmt.Errorf("state file %q: %w", path, err)
	}
	return open(path)
}

// create makes a new, empty state file. It appears under its name only once it
// is complete, and never in place of another: a crash leaves no half file that
// the next start would have to refuse.
func create(path string) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("cannot be created: %w", err)
	}
	defer os.Remove(tmp.Name())
	tmp.Close()

	db, err := bolt.Open(tmp.Name(), 0o600, &bolt.Options{Timeout: lockTimeout})
	if err != nil {
		return fmt.Errorf("cannot be created: %w", err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		if _, err := tx.CreateBucket(zonesBucket); err != nil {
			return err
		}
		meta, err := tx.CreateBucket(metaBucket)
		if err != nil {
			return err
		}
		return errors.Join(meta.Put(formatKey, []byte(format)), meta.Put(contentKey, content{}.bytes()))
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("cannot be created: %w", err)
	}
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("cannot be created: %w", err)
	}
	return syncDirectory(filepath.Dir(path))
}

// syncDirectory makes the name of a new file durable.
func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// checkDirectory reports whether a file could be made at path.
func checkDirectory(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("state file %q is a symbolic link to a file that does not exist", path)
	}
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("state file %q: its directory: %w", path, err)
	}
	if !info.IsDir() {
		return fmt.Errorf("state file %q: %q is not a directory", path, filepath.Dir(path))
	}
	return nil
}

// open opens an existing state file for writing, once all of it is verified.
func open(path string) (*file, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("state file %q: %w", path, err)
	}
	zones := takeVerified(info)
	if zones == nil {
		if zones, err = check(path); err != nil {
			return nil, err
		}
	}
	f, err := openBolt(path, false)
	if err != nil {
		return nil, fmt.Errorf("state file %q: %w", path, explain(err))
	}
	f.read = zones
	return f, nil
}

// check verifies all of an existing state file without changing it, and returns
// what it holds.
func check(path string) (zones map[string]*Zone, err error) {
	f, err := openBolt(path, true)
	if err == nil {
		zones, err = f.verify()
		err = errors.Join(err, f.close())
	}
	if err != nil {
		return nil, fmt.Errorf("state file %q: %w", path, explain(err))
	}
	return zones, nil
}

// openBolt opens path with bbolt, which when it only reads looks at nothing but
// the headers yet, so that it cannot stumble over damage while it holds the
// file's lock.
func openBolt(path string, readOnly bool) (*file, error) {
	f := &file{path: path}
	err := guard(func() (err error) {
		f.db, err = bolt.Open(path, 0o600, &bolt.Options{
			Timeout: lockTimeout, ReadOnly: readOnly, FreelistType: bolt.FreelistMapType, MmapFlags: mmapFlags(readOnly),
			OpenFile: func(string, int, os.FileMode) (_ *os.File, err error) {
				f.f, err = openExisting(path)
				return f.f, err
			},
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	newest, err := newestHeader(f.f)
	if err != nil {
		return nil, errors.Join(err, f.close())
	}
	f.seen = int(binary.NativeEndian.Uint64(newest[headerTx:])) // #nosec G115 -- as bbolt does
	return f, nil
}

// openExisting opens the file without ever making one, and refuses what bbolt
// would take for a new one.
func openExisting(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("is not a regular file")
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if info.Size() == 0 {
		f.Close()
		return nil, errDamaged("it is empty")
	}
	return f, nil
}

// The header pages of a bbolt file: each starts with a page header of 16
// octets, then magic, version, page size, flags, root bucket, free list, high
// water mark, transaction number and a checksum of all that.
const (
	headerAt       = 16
	headerSize     = 64
	headerMagic    = 0xED0CDAED
	headerSum      = 56
	headerPageSize = 8
	headerRoot     = 16
	headerFree     = 32
	headerPages    = 40
	headerTx       = 48
)

// checkHeaders verifies both header pages, and the pages that the newest leads
// to. bbolt itself is content with one of the headers and would silently go
// back to the state before the last write.
func checkHeaders(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	newest, err := newestHeader(f)
	if err != nil {
		return err
	}
	size := int64(binary.NativeEndian.Uint32(newest[headerPageSize:]))
	if pages := binary.NativeEndian.Uint64(newest[headerPages:]); pages > uint64(info.Size()/size) {
		return errDamaged("it ends too early")
	}
	return checkPages(f, newest)
}

// newestHeader returns the header that counts, if both are right.
func newestHeader(f *os.File) ([]byte, error) {
	first, err := header(f, 0, 0)
	if err != nil {
		return nil, err
	}
	second, err := header(f, 1, int64(binary.NativeEndian.Uint32(first[headerPageSize:])))
	if err != nil {
		return nil, err
	}
	if binary.NativeEndian.Uint64(second[headerTx:]) > binary.NativeEndian.Uint64(first[headerTx:]) {
		return second, nil
	}
	return first, nil
}

// header returns the header in page id, which is to be at an offset.
func header(f *os.File, id uint64, at int64) ([]byte, error) {
	page := make([]byte, headerAt+headerSize)
	if _, err := f.ReadAt(page, at); errors.Is(err, io.EOF) {
		return nil, errDamaged("it ends too early")
	} else if err != nil {
		return nil, err
	}
	h := page[headerAt:]
	sum := fnv.New64a()
	sum.Write(h[:headerSum])
	if binary.NativeEndian.Uint32(h) != headerMagic {
		return nil, errDamaged("it has no header")
	}
	if binary.NativeEndian.Uint64(h[headerSum:]) != sum.Sum64() || binary.NativeEndian.Uint32(h[headerPageSize:]) < headerAt+headerSize {
		return nil, errDamaged("a header is wrong")
	}
	if binary.NativeEndian.Uint64(page) != id || binary.NativeEndian.Uint16(page[8:]) != pageMeta {
		return nil, errDamaged("a page is not what it says")
	}
	return h, nil
}

// errDamaged is a fault in the file.
type errDamaged string

func (e errDamaged) Error() string { return string(e) }

// tooSmall begins what bbolt says of a file of less than two pages; it has no
// error value for that.
const tooSmall = "file size too small"

// explain says what to do about an error of opening.
func explain(err error) error {
	var damaged errDamaged
	var record *RecordError
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return errors.New("another process has it open: stop that one, or give each its own file with the state option")
	case errors.As(err, &damaged), errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return fmt.Errorf("is damaged or no mske state file (%w): restore it from a backup, or move it away to begin without what it knew of other providers' keys", err)
	case errors.As(err, &record):
		return fmt.Errorf("%w: restore the file from a backup", err)
	case err != nil && strings.HasPrefix(err.Error(), tooSmall):
		return explain(errDamaged("it ends too early"))
	}
	return err
}

// guard runs f and turns bbolt's answers to a damaged file, panics and faults
// in mapped memory, into errors: an errFault.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = errFault{errDamaged(faultText(r))}
		}
	}()
	return f()
}

// faultText returns what a panic's value says of the file.
func faultText(r any) string {
	if _, ok := r.(interface{ Addr() uintptr }); ok { // where a page should be, there is none
		return "a part of it is missing"
	}
	return fmt.Sprint(r)
}

// errFault is damage that bbolt was not prepared for: it is left in an unknown state.
type errFault struct{ error }

func (e errFault) Unwrap() error { return e.error }

// use runs do, which works with bbolt, unless damage was come upon before: somebody has
// overwritten the file while it is in use, say. Then it is not used any more.
func (f *file) use(do func() error) error {
	f.ops.Lock()
	defer f.ops.Unlock()
	if f.dead != nil {
		return f.dead
	}
	err := guard(do)
	var damaged errDamaged
	if errors.As(err, &damaged) {
		f.dead = err
	}
	return err
}

// view calls do in a transaction that only reads.
func (f *file) view(do func(*bolt.Tx) error) error {
	return explainUse(f.look(do))
}

// look calls do in a transaction that only reads, and explains no error.
func (f *file) look(do func(*bolt.Tx) error) error {
	return f.use(func() error {
		return f.db.View(func(tx *bolt.Tx) error {
			if err := f.expect(tx.ID()); err != nil {
				return err
			}
			return do(tx)
		})
	})
}

// expect returns an error if the file shows another transaction than it should: it
// was overwritten, with a backup perhaps, which is whole. But bbolt has in memory which
// pages are free, and would write to those that are not.
func (f *file) expect(id int) error {
	if id != f.seen {
		return errDamaged("it is of another time")
	}
	return nil
}

// explainUse says what to do about an error of a file that was whole when it was
// opened.
func explainUse(err error) error {
	var damaged errDamaged
	if errors.As(err, &damaged) {
		return fmt.Errorf("was damaged or overwritten while in use (%w): restore it from a backup, and restart the server", err)
	}
	return err
}

// verify reads the whole file: headers, structure, format, and every record against its
// checksum, and all of them against that of the content.
func (f *file) verify() (all map[string]*Zone, err error) {
	if err := checkHeaders(f.f); err != nil {
		return nil, err
	}
	err = f.look(func(tx *bolt.Tx) error {
		meta, zones := tx.Bucket(metaBucket), tx.Bucket(zonesBucket)
		if meta == nil {
			return errors.New("holds the data of another program: choose another file with the state option")
		}
		if got := meta.Get(formatKey); string(got) != format {
			return fmt.Errorf("has the format %q, this version of mske reads %q only: use the version that wrote it, or another file with the state option", got, format)
		}
		if zones == nil {
			return errDamaged("the zones are missing")
		}
		all, err = checkContent(meta, zones)
		return err
	})
	return all, err
}

func checkContent(meta, zones *bolt.Bucket) (map[string]*Zone, error) {
	var mu sync.Mutex
	all := make(map[string]*Zone)
	var have content
	err := eachRecord(zones, func(key, record []byte) error {
		if record == nil {
			return errDamaged("a record is of the wrong kind")
		}
		z, err := decode(string(key), record)
		if err != nil {
			return err
		}
		sum := recordSum(key, record)
		mu.Lock()
		defer mu.Unlock()
		all[string(key)] = &z
		have.records, have.sum = have.records+1, have.sum+sum
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(meta.Get(contentKey), have.bytes()) {
		return nil, errDamaged("records are missing or belong to another time")
	}
	return all, nil
}

func (f *file) zones() (map[string]*Zone, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if read := f.read; read != nil {
		f.read = nil
		return read, nil
	}
	var mu sync.Mutex
	zones := make(map[string]*Zone)
	err := f.view(func(tx *bolt.Tx) error {
		return eachRecord(tx.Bucket(zonesBucket), func(key, record []byte) error {
			z, err := decode(string(key), record)
			if err != nil {
				return errDamaged(err.Error()) // it was right when the file was opened, or written
			}
			mu.Lock()
			defer mu.Unlock()
			zones[string(key)] = &z
			return nil
		})
	})
	return zones, err
}

// eachRecord calls do for all records, for several at once: decoding those of a
// fleet takes a while. It returns the error of the first record that has one.
func eachRecord(zones *bolt.Bucket, do func(key, record []byte) error) error {
	type item struct{ key, record []byte }
	var items []item
	if err := zones.ForEach(func(key, record []byte) error {
		yield.ToQueries()
		items = append(items, item{key, record})
		return nil
	}); err != nil {
		return err
	}
	size := len(items)/runtime.GOMAXPROCS(0) + 1
	errs := make([]error, len(items)/size+1)
	var wg sync.WaitGroup
	part := 0
	for some := range slices.Chunk(items, size) {
		err := &errs[part]
		part++
		wg.Go(func() {
			*err = guard(func() error {
				for _, i := range some {
					yield.ToQueries()
					if err := do(i.key, i.record); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// errEqual ends a transaction that would change nothing.
var errEqual = errors.New("nothing to write")

// put writes records by key in one transaction.
func (f *file) put(records map[string][]byte) error {
	f.mu.Lock()
	f.read = nil
	f.mu.Unlock()
	return f.update(func(tx *bolt.Tx) error { return f.write(tx, records) })
}

// update calls do in a transaction. If that returns errEqual, nothing is written.
func (f *file) update(do func(*bolt.Tx) error) error {
	if info, err := os.Stat(f.path); err != nil || !f.is(info) {
		return errors.New("was removed or replaced while in use: restart the server")
	}
	err := f.use(func() error { return f.commit(do) })
	if errors.Is(err, errEqual) {
		return nil
	}
	f.stale = err != nil
	return explainUse(err)
}

// commit calls do in a transaction that writes, and notes which one the file shows after
// that. One that failed may have come as far as the header, which was not synced, say:
// bbolt goes on from there.
func (f *file) commit(do func(*bolt.Tx) error) error {
	err := f.db.Update(func(tx *bolt.Tx) error {
		if err := f.expect(tx.ID() - 1); err != nil {
			return err
		}
		return do(tx)
	})
	if err == nil {
		f.seen++
		return nil
	}
	_ = f.db.View(func(tx *bolt.Tx) error { // where that fails, so does every later one
		if tx.ID() == f.seen+1 {
			f.seen++
		}
		return nil
	})
	return err
}

func (f *file) write(tx *bolt.Tx, records map[string][]byte) error {
	meta, zones := tx.Bucket(metaBucket), tx.Bucket(zonesBucket)
	all, err := parseContent(meta.Get(contentKey))
	if err != nil {
		return err
	}
	changed := f.stale
	for key, record := range records {
		was := zones.Get([]byte(key))
		if bytes.Equal(was, record) {
			continue
		}
		if was != nil {
			all = all.without([]byte(key), was)
		}
		all = all.with([]byte(key), record)
		changed = true
		if err := zones.Put([]byte(key), record); err != nil {
			return err
		}
	}
	if !changed {
		return errEqual
	}
	return meta.Put(contentKey, all.bytes())
}

// is reports whether info describes the open file.
func (f *file) is(info os.FileInfo) bool {
	own, err := f.f.Stat()
	return err == nil && os.SameFile(own, info)
}

// close closes the file. After a fault, bbolt would wait for locks of its own that
// nobody holds any more: only the file itself is closed then, and what is mapped of it
// stays.
func (f *file) close() error {
	f.ops.Lock()
	defer f.ops.Unlock()
	var fault errFault
	if errors.As(f.dead, &fault) {
		return errors.Join(unlock(f.f), f.f.Close())
	}
	return f.db.Close()
}
