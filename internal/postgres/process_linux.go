package postgres

import (
	"fmt"
	"os"
	"syscall"
)

// dieWithParent has the kernel send the signal to the child when the thread that started it ends.
func dieWithParent(attr *syscall.SysProcAttr, s syscall.Signal) { attr.Pdeathsig = s }

// folderArgument is how a program names a data folder that was handed down as a descriptor. An
// account that this process dropped to can't walk to a folder below a home of mode 0700, but it
// can use one that is open already.
func folderArgument(path string, descriptor int, dropped bool) string {
	if !dropped {
		return path
	}
	return fmt.Sprintf("/proc/self/fd/%d", descriptor)
}

// runsIn tells whether the process is alive and works in the folder, as the Postgres of a data
// folder does.
func runsIn(pid int, folder os.FileInfo) bool {
	cwd, err := os.Stat(fmt.Sprintf("/proc/%d/cwd", pid))
	return err == nil && os.SameFile(cwd, folder)
}
