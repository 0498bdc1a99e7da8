package main

import "syscall"

// setParentDeathSignal has the kernel terminate the command when this process is killed.
func setParentDeathSignal(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGTERM }
