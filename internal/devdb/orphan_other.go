//go:build !linux

package devdb

import "syscall"

// setParentDeathSignal does nothing: only Linux has such a signal. openFolder stops the orphan later.
func setParentDeathSignal(*syscall.SysProcAttr, syscall.Signal) {}
