//go:build !linux

package store

// mmapFlags returns how a file is mapped into memory.
func mmapFlags(bool) int { return 0 }
