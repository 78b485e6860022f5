package store

import "syscall"

// mmapFlags returns how a file is mapped into memory. One that is only read is
// verified from end to end: all of it at once takes far less than page by page.
func mmapFlags(readOnly bool) int {
	if readOnly {
		return syscall.MAP_POPULATE
	}
	return 0
}
