package store

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
)

// The pages of a bbolt file: a header of 16 octets (number, flags, count of
// elements, number of further pages), then elements of 16 octets, then what
// they point to.
const (
	pageHeader  = 16
	pageElement = 16
	pageBranch  = 0x01
	pageLeaf    = 0x02
	pageMeta    = 0x04 // a header
	pageFree    = 0x10
	leafBucket  = 0x01 // flag of a leaf's element whose value is a bucket

	noFreeList = ^uint64(0) // it is not stored
	// maxDepth is far more levels than a file of any size has.
	maxDepth = 64
)

// pages checks that every pointer in a file's pages leads to where it may, that keys
// are in order and that each page has one use: all that bbolt's own check finds. It
// goes before all that bbolt does with them: bbolt follows pointers in mapped memory,
// its check in a goroutine of its own, where one that leads astray, or a file that
// is cut off meanwhile, is the end of the process.
type pages struct {
	file io.ReaderAt
	size uint64 // octets of a page
	high uint64 // pages in the file
	seen []bool // by page
}

// checkPages checks the pages that a header leads to.
func checkPages(file io.ReaderAt, header []byte) error {
	number := binary.NativeEndian.Uint64
	p := &pages{
		file: &blocks{file: file},
		size: uint64(binary.NativeEndian.Uint32(header[headerPageSize:])),
		high: number(header[headerPages:]),
	}
	p.seen = make([]bool, p.high)
	free := number(header[headerFree:])
	if free != noFreeList {
		if err := p.freeList(free); err != nil {
			return err
		}
	}
	if _, _, err := p.tree(number(header[headerRoot:]), 0); err != nil {
		return err
	}
	if free != noFreeList && slices.Contains(p.seen[2:], false) {
		return errDamaged("a page is neither in use nor free")
	}
	return nil
}

// read returns a page with those that continue it.
func (p *pages) read(id uint64) ([]byte, error) {
	if id < 2 || id >= p.high {
		return nil, errDamaged("a page number leads astray")
	}
	head := make([]byte, pageHeader)
	if _, err := p.file.ReadAt(head, int64(id*p.size)); err != nil {
		return nil, errDamaged("it ends too early")
	}
	more := uint64(binary.NativeEndian.Uint32(head[12:]))
	if binary.NativeEndian.Uint64(head) != id || id+more >= p.high {
		return nil, errDamaged("a page is not what it says")
	}
	for i := range more + 1 {
		if err := p.once(id + i); err != nil {
			return nil, err
		}
	}
	page := make([]byte, (1+more)*p.size)
	if _, err := p.file.ReadAt(page, int64(id*p.size)); err != nil {
		return nil, errDamaged("it ends too early")
	}
	return page, nil
}

// once notes that a page is in use, or free: it is never both, nor twice. bbolt
// looks only at the first of pages that belong together.
func (p *pages) once(id uint64) error {
	if p.seen[id] {
		return errDamaged("a page has two uses")
	}
	p.seen[id] = true
	return nil
}

// tree checks a page of a bucket and all below it, and returns the first key there
// and the last.
func (p *pages) tree(id uint64, depth int) (first, last []byte, err error) {
	if depth > maxDepth {
		return nil, nil, errDamaged("its pages are nested too deep")
	}
	page, err := p.read(id)
	if err != nil {
		return nil, nil, err
	}
	return p.elements(page, depth)
}

// elements checks the elements of a page, or of one inside a leaf, and returns
// the first key there and the last.
func (p *pages) elements(page []byte, depth int) (first, last []byte, err error) {
	flags, count := binary.NativeEndian.Uint16(page[8:]), int(binary.NativeEndian.Uint16(page[10:]))
	if pageHeader+count*pageElement > len(page) || flags != pageBranch && flags != pageLeaf {
		return nil, nil, errDamaged("a page has no sense")
	}
	for i := range count {
		at, before := pageHeader+i*pageElement, last
		var key []byte
		if flags == pageBranch {
			key, last, err = p.branch(page, at, depth)
		} else {
			key, err = p.leaf(page, at, depth)
			last = key
		}
		if err != nil {
			return nil, nil, err
		}
		if i == 0 {
			first = key
		} else if bytes.Compare(key, before) <= 0 {
			return nil, nil, errDamaged("its keys are in no order")
		}
	}
	return first, last, nil
}

// branch checks an element that leads to another page and returns its key, and the
// last one there. Its key is the first of the other page: bbolt finds what to
// replace by it, and where they differ it would keep both the old page and the new one.
func (p *pages) branch(page []byte, at, depth int) (key, last []byte, err error) {
	offset, size := binary.NativeEndian.Uint32(page[at:]), binary.NativeEndian.Uint32(page[at+4:])
	start := uint64(at) + uint64(offset)
	if start+uint64(size) > uint64(len(page)) {
		return nil, nil, errDamaged("a key lies outside of its page")
	}
	key = page[start : start+uint64(size)]
	first, last, err := p.tree(binary.NativeEndian.Uint64(page[at+8:]), depth+1)
	if err == nil && !bytes.Equal(key, first) {
		err = errDamaged("a key is not the first of the page that it leads to")
	}
	return key, last, err
}

// leaf checks an element that holds a record or a bucket and returns its key.
func (p *pages) leaf(page []byte, at, depth int) ([]byte, error) {
	word := func(i int) uint64 { return uint64(binary.NativeEndian.Uint32(page[at+4*i:])) }
	start := uint64(at) + word(1)
	value := start + word(2)
	end := value + word(3)
	if end > uint64(len(page)) {
		return nil, errDamaged("a record lies outside of its page")
	}
	key := page[start:value]
	if word(0)&leafBucket == 0 {
		return key, nil
	}
	const bucketHeader = 16 // page number and sequence
	if end-value < bucketHeader {
		return nil, errDamaged("a bucket is cut short")
	}
	var err error
	if root := binary.NativeEndian.Uint64(page[value:]); root != 0 {
		_, _, err = p.tree(root, depth+1)
		return key, err
	}
	inline := page[value+bucketHeader : end]
	if len(inline) < pageHeader || depth > maxDepth {
		return nil, errDamaged("a bucket is cut short")
	}
	_, _, err = p.elements(inline, depth+1)
	return key, err
}

// freeList checks that the list of free pages fits its page and the file.
func (p *pages) freeList(id uint64) error {
	page, err := p.read(id)
	if err != nil {
		return err
	}
	ids, count := page[pageHeader:], uint64(binary.NativeEndian.Uint16(page[10:]))
	if count == 0xFFFF { // then the first number is the count
		count, ids = binary.NativeEndian.Uint64(ids), ids[8:]
	}
	if binary.NativeEndian.Uint16(page[8:]) != pageFree || count > uint64(len(ids)/8) {
		return errDamaged("the list of free pages has no sense")
	}
	for i := range count {
		free := binary.NativeEndian.Uint64(ids[8*i:])
		if free < 2 || free >= p.high {
			return errDamaged("the list of free pages leads astray")
		}
		if err := p.once(free); err != nil {
			return err
		}
	}
	return nil
}

// blocks reads a file in blocks: pages that are used one after the other often
// follow one another.
type blocks struct {
	file  io.ReaderAt
	at    int64
	block []byte // from there on
}

// blockSize is how many octets a block has.
const blockSize = 256 << 10

// ReadAt implements [io.ReaderAt].
func (b *blocks) ReadAt(p []byte, off int64) (int, error) {
	if len(p) > blockSize {
		return b.file.ReadAt(p, off)
	}
	if off < b.at || off+int64(len(p)) > b.at+int64(len(b.block)) {
		if b.block == nil {
			b.block = make([]byte, blockSize)
		}
		n, err := b.file.ReadAt(b.block[:blockSize], off)
		if b.at, b.block = off, b.block[:n]; n < len(p) {
			return copy(p, b.block), err
		}
	}
	return copy(p, b.block[off-b.at:]), nil
}
