//go:build !linux

package main

import "syscall"

// setParentDeathSignal does nothing: only Linux has such a signal.
func setParentDeathSignal(*syscall.SysProcAttr) {}
