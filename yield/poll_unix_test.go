//go:build unix

package yield

import (
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// What has come from the network is read after at most a few pieces of the work in
// the background, though there is always some that can go on.
func TestWhatHasComeIsReadFirst(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := net.Dial("udp", server.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()

	var pieces atomic.Int64
	var over atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for !over.Load() {
				for began := time.Now(); time.Since(began) < 2*minTurn; {
				}
				pieces.Add(1)
				ToQueries()
			}
		})
	}
	var waited []int64
	for range 30 {
		sent := make(chan int64, 1)
		wg.Go(func() {
			sent <- pieces.Load()
			client.Write([]byte{0})
		})
		var octet [1]byte
		if _, _, err := server.ReadFrom(octet[:]); err != nil {
			t.Fatal(err)
		}
		waited = append(waited, pieces.Load()-<-sent)
	}
	over.Store(true)
	wg.Wait()
	if slices.Sort(waited); waited[len(waited)/2] > 4 {
		t.Errorf("Expected what was sent to be read after a piece or two, half of the times it took over %d: %v", waited[len(waited)/2], waited)
	}
}
