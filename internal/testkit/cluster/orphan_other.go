//go:build !linux

package main

import "syscall"

// endWithParent does nothing: only Linux has a signal for orphans.
func endWithParent(*syscall.SysProcAttr) {}
