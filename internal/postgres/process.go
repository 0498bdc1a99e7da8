package postgres

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// outputWait is how long a dead process's output is still read: its own children may hold the pipe
// open for a moment after it.
const outputWait = 5 * time.Second

// command is one program of the installation, to be run on a data folder.
type command struct {
	program string
	args    []string
	account *account
	stdin   io.Reader
	output  io.Writer
	// files are handed down as descriptors 3, 4, ...
	files []*os.File
	// orphaned is the signal that the program gets when this process dies (Linux).
	orphaned syscall.Signal
}

// process is a started program.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended and its output is read
	err  error         // of Wait; readable once done is closed
}

// start runs the command in a process group of its own, so that a Ctrl-C in the terminal reaches
// the server alone, which then stops its Postgres in order.
//
// The signal for orphans follows the thread that started the child, not the whole process, so that
// one goroutine keeps its thread from the start to the child's end. It never unlocks: the thread
// ends with the goroutine.
func (c command) start() (*process, error) {
	cmd := exec.Command(c.program, c.args...) //nolint:noctx // a server is stopped by its signals, in order
	cmd.Dir = "/"                             // the present folder may be closed to the account, which the programs complain of
	cmd.Env = childEnvironment(os.Environ())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.stdin, c.output, c.output
	cmd.ExtraFiles = c.files
	cmd.WaitDelay = outputWait
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: c.account.credential()}
	dieWithParent(cmd.SysProcAttr, c.orphaned)

	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", c.program, err)
	}
	return p, nil
}

// signal sends a signal to the process itself; to one that has ended, nothing happens.
func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// kill ends the process and all that it started.
func (p *process) kill() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }

// childEnvironment is what the programs of Postgres see of the environment: where things are, and
// nothing that could redirect them (PGDATA, PGPORT) or that they have no business with (secrets).
func childEnvironment(environ []string) []string {
	env := []string{"LC_ALL=C"} // messages in English: start reads one of them
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		switch name {
		case "PATH", "TMPDIR", "TZDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH":
			env = append(env, entry)
		}
	}
	return env
}

// capture keeps the end of what a program printed, for the error if it fails.
type capture struct{ buf bytes.Buffer }

// captureLimit in bytes is plenty for the last lines of initdb or of a failed start.
const captureLimit = 8 << 10

// Write keeps the last captureLimit bytes.
func (c *capture) Write(p []byte) (int, error) {
	c.buf.Write(p)
	if extra := c.buf.Len() - captureLimit; extra > 0 {
		c.buf.Next(extra)
	}
	return len(p), nil
}
