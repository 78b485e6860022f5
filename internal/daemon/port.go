package daemon

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

const (
	// firstPort is the lowest port of a server that a test runs.
	firstPort = 10000

	// firstSourcePort is above all ports of such servers. The ephemeral ports of
	// Linux and of gVisor begin there or above it.
	firstSourcePort = 16000

	// blockSize is the number of ports that a process has for its servers, and one
	// that says so.
	blockSize = 100
)

// Lines for resolvers' configurations. They choose the ports that they ask from by
// themselves, and would now and then have the one that a server is about to listen
// at.
var (
	UnboundSourcePorts  = fmt.Sprintf("outgoing-port-avoid: 0-%d\n", firstSourcePort-1)
	RecursorSourcePorts = fmt.Sprintf("udp-source-port-min=%d\n", firstSourcePort)
)

// A block is a range of ports that one process chooses from. Programs of tests
// run side by side, and none can tell which ports another one has found to be
// free and is about to use.
type block struct {
	first int
	lock  net.Listener // at the first port, for as long as the process runs

	mu   sync.Mutex
	used int
}

// takeBlock takes the first block from i on that no process has.
func takeBlock(i int) (*block, error) {
	const blocks = (firstSourcePort - firstPort) / blockSize
	var failed error
	for n := range blocks {
		first := firstPort + (i+n)%blocks*blockSize
		l, err := net.Listen("tcp", ":"+strconv.Itoa(first))
		if err == nil {
			return &block{first: first, lock: l}, nil
		}
		failed = err
	}
	return nil, failed
}

var ownBlock = sync.OnceValues(func() (*block, error) {
	return takeBlock(rand.IntN(firstSourcePort))
})

// next returns the next port of the block that is free for UDP and TCP. After the
// last one it starts anew: the servers of tests that have ended are gone.
func (b *block) next() (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	failed := errors.New("no port")
	for range blockSize {
		port := strconv.Itoa(b.first + 1 + b.used%(blockSize-1))
		b.used++
		if failed = free(port); failed == nil {
			return port, nil
		}
	}
	return "", failed
}

// free returns why a port is not free on all addresses, for UDP and TCP.
func free(port string) error {
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	defer l.Close()
	p, err := net.ListenPacket("udp", ":"+port)
	if err != nil {
		return err
	}
	return p.Close()
}

// FreePort returns a port that is free on all of loopback, for UDP and TCP, and
// that is given neither to another test, in this process or in another one, nor
// to a client as its source port.
func FreePort(tb testing.TB) string {
	tb.Helper()
	b, err := ownBlock()
	if err != nil {
		tb.Fatalf("Found no range of ports for this process' servers from %d to %d: %v", firstPort, firstSourcePort-1, err)
	}
	port, err := b.next()
	if err != nil {
		tb.Fatalf("Found no port that is free for both UDP and TCP from %d to %d: %v", b.first, b.first+blockSize-1, err)
	}
	return port
}
