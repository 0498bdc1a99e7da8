//go:build !linux

package postgres

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// dieWithParent does nothing: only Linux has a signal for orphans. Elsewhere the next owner of the
// data folder stops a Postgres that was left behind.
func dieWithParent(*syscall.SysProcAttr, syscall.Signal) {}

// folderArgument is the folder's path: a directory can't be used through a descriptor here.
func folderArgument(path string, _ int, _ bool) string { return path }

// runsIn tells whether the process is alive and a postgres. Its folder can't be seen here.
func runsIn(pid int, _ os.FileInfo) bool {
	out, err := exec.Command("ps", "-p", strconv.Itoa(pid), "-o", "comm=").Output()
	return err == nil && filepath.Base(strings.TrimSpace(string(out))) == "postgres"
}
