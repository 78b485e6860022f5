//go:build !unix || aix || solaris

package store

import "os"

// unlock does nothing: the file stays locked while the process lives.
func unlock(*os.File) error { return nil }
