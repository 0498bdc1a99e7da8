package devdb

import "syscall"

// setParentDeathSignal has the kernel send s to the child when the thread that started it ends.
func setParentDeathSignal(attr *syscall.SysProcAttr, s syscall.Signal) { attr.Pdeathsig = s }
