package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// devKeysFile is where dev mode keeps its keys, in DATA_DIR.
const devKeysFile = "dev-keys.json"

// checkDevMode has nothing to say about production without traces of dev mode.
func (d *diagnosis) checkDevMode(context.Context) finding {
	file := filepath.Join(d.cfg.DataDir, devKeysFile)
	_, err := os.Stat(file)
	switch {
	case d.dev && d.cfg.DatabaseURL != "":
		return warning("dev mode creates keys in the database of DATABASE_URL, unless it has keys", "Leave out --dev in production.")
	case d.dev:
		return passed("on, with a private Postgres")
	case err == nil:
		return warning("keys of dev mode, also an admin key, are in "+file, "Before production, revoke them with 'ratelimiter keys revoke', and delete the file.")
	default:
		return finding{}
	}
}

// checkDataDir changes nothing: it looks at the folder, or at the one that serve
// would create it in.
func (d *diagnosis) checkDataDir(context.Context) finding {
	dir, state := d.cfg.DataDir, "writable"
	info, err := os.Stat(dir)
	for errors.Is(err, os.ErrNotExist) && dir != filepath.Dir(dir) {
		dir, state = filepath.Dir(dir), "serve creates it"
		info, err = os.Stat(dir)
	}
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a folder", dir)
	} else if err == nil {
		err = unix.Access(dir, unix.W_OK|unix.X_OK)
	}
	switch {
	case err == nil:
		return passed("%s: %s", d.cfg.DataDir, state)
	case d.cfg.DatabaseURL == "":
		return failure(fmt.Sprintf("%s: %s", d.cfg.DataDir, oneLine(err)), "The private Postgres needs it: set DATA_DIR to a writable folder, or DATABASE_URL.")
	default:
		return warning(fmt.Sprintf("%s: %s", d.cfg.DataDir, oneLine(err)), "A restart forgets the counters in memory: set DATA_DIR to a writable folder.")
	}
}

// checkAddress listens to the address of a setting until doctor ends, so that another
// setting with the same address is found.
func (d *diagnosis) checkAddress(ctx context.Context, setting, addr string) finding {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err == nil {
		d.listeners = append(d.listeners, listener)
		return passed("%s is free", addr)
	}
	another := "Set " + setting + " to another address."
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		pid, program := portOwner(addr)
		switch {
		case pid == os.Getpid():
			return failure(addr+" is the address of another setting", another)
		case pid == 0:
			return failure(addr+" is in use", "Stop what uses it. "+another)
		case program == processName(os.Getpid()):
			return passed("%s is in use by %s (pid %d), which is running", addr, program, pid)
		default:
			return failure(fmt.Sprintf("%s is in use by %s (pid %d)", addr, program, pid), "Stop that program. "+another)
		}
	case errors.Is(err, syscall.EACCES):
		return failure(addr+": this user may not listen to the port", "Choose a port from 1024 on, or grant CAP_NET_BIND_SERVICE.")
	default:
		return failure(oneLine(err), another)
	}
}

// Fields of a line of /proc/net/tcp, and the state of a socket that listens.
const (
	localField, stateField, inodeField = 1, 3, 9
	stateListen                        = "0A"
)

// portOwner returns the process that listens to the port of an address, 0 if that is
// unknown: on other systems than Linux, and for processes of other users.
func portOwner(addr string) (pid int, program string) {
	resolved, err := net.ResolveTCPAddr("tcp", addr) // the port may be a name
	if err != nil {
		return 0, ""
	}
	var sockets []string
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, _ := os.ReadFile(table)
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) > inodeField && fields[stateField] == stateListen && strings.HasSuffix(fields[localField], fmt.Sprintf(":%04X", resolved.Port)) {
				sockets = append(sockets, "socket:["+fields[inodeField]+"]")
			}
		}
	}
	files, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, file := range files {
		if target, err := os.Readlink(file); err == nil && slices.Contains(sockets, target) {
			pid, _ = strconv.Atoi(strings.Split(file, "/")[2])
			return pid, processName(pid)
		}
	}
	return 0, ""
}

// processName returns the name of a process, "" if it is unknown.
func processName(pid int) string {
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return printable(strings.TrimSpace(string(name)))
}

func (d *diagnosis) checkProxies(context.Context) finding {
	if len(d.cfg.TrustedProxies) == 0 {
		return passed("none is trusted: X-Forwarded-For is ignored")
	}
	for _, network := range d.cfg.TrustedProxies {
		if network.Bits() == 0 {
			return warning(fmt.Sprintf("TRUSTED_PROXIES has %s: clients can choose the address that they are seen with", network), "List only the networks of your proxies.")
		}
	}
	return passed("%s trusted", strings.Trim(fmt.Sprint(d.cfg.TrustedProxies), "[]"))
}
