//go:build unix

package yield

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// newPoll returns a poll that waits for an octet of its own to be seen in a pipe,
// by the one who looks at the sockets too. Callers wait for each other: between
// two looks at the network, one of them goes on.
func newPoll() func() time.Duration {
	r, w, err := os.Pipe()
	if err != nil {
		return gosched
	}
	pipe, err := r.SyscallConn()
	if err != nil {
		return gosched
	}
	wait := func() (waited time.Duration, err error) {
		var began time.Time
		var failed error
		octet := [1]byte{}
		err = pipe.Read(func(fd uintptr) bool {
			if began.IsZero() {
				// Not before now: what the poller saw earlier has been forgotten.
				began = time.Now()
				_, failed = w.Write(octet[:])
				return failed != nil
			}
			for {
				if _, err := syscall.Read(int(fd), octet[:]); err != syscall.EINTR {
					return err != syscall.EAGAIN
				}
			}
		})
		return time.Since(began), errors.Join(err, failed)
	}
	if _, err := wait(); err != nil {
		return gosched // pipes are not waited for in that way here
	}
	return func() time.Duration {
		waited, _ := wait()
		return waited
	}
}
