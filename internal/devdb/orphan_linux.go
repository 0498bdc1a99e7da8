package devdb

import "syscall"

// SetParentDeathSignal has the kernel send s to the child when the thread that started it ends.
func SetParentDeathSignal(attr *syscall.SysProcAttr, s syscall.Signal) { attr.Pdeathsig = s }
