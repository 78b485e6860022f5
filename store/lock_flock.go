//go:build unix && !aix && !solaris

package store

import (
	"os"
	"syscall"
)

// unlock lets others open f, as bbolt does when it closes a file: closing alone does
// not while something of it is mapped.
func unlock(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) // #nosec G115 -- a file descriptor
}
