//go:build !linux

package devdb

import "syscall"

// SetParentDeathSignal does nothing: only Linux has such a signal. openFolder stops the orphan later.
func SetParentDeathSignal(*syscall.SysProcAttr, syscall.Signal) {}
