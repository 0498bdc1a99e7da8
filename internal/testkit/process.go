package testkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// process is a real server that a test starts as an unprivileged user, in a folder
// that it keeps between starts. Its output goes to the file "output" there.
type process struct {
	t       testing.TB
	name    string // for messages
	program string
	args    []string
	env     []string // nil: the test's
	folder  string
	cmd     *exec.Cmd // nil while it is stopped
}

// launch starts the process with further arguments. It doesn't wait until it serves.
func (p *process) launch(more ...string) {
	p.t.Helper()
	output, err := os.OpenFile(filepath.Join(p.folder, "output"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = output.Close() }()
	p.cmd = exec.Command(p.program, append(p.args, more...)...)
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = p.folder, p.env, output, output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 {
		p.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	if err := p.cmd.Start(); err != nil {
		p.cmd = nil
		p.t.Fatal(err)
	}
}

// awaitReady polls until ready returns nil.
func (p *process) awaitReady(timeout time.Duration, ready func() error) {
	p.t.Helper()
	for deadline := time.Now().Add(timeout); ; time.Sleep(20 * time.Millisecond) {
		err := ready()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			output, _ := os.ReadFile(filepath.Join(p.folder, "output"))
			p.t.Fatalf("%s isn't ready: %v; its output:\n%s", p.name, err, output)
		}
	}
}

// Kill ends the server and its children at once.
func (p *process) Kill() {
	p.t.Helper()
	if p.cmd == nil {
		p.t.Fatalf("%s isn't running", p.name)
	}
	p.stop()
}

func (p *process) stop() {
	if p.cmd != nil {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		_ = p.cmd.Wait()
		p.cmd = nil
	}
}

// Pause makes the server hang: its connections stay open, and nothing is answered.
func (p *process) Pause() { p.signal(syscall.SIGSTOP) }

// Continue ends a Pause.
func (p *process) Continue() { p.signal(syscall.SIGCONT) }

func (p *process) signal(signal syscall.Signal) {
	p.t.Helper()
	if p.cmd == nil {
		p.t.Fatalf("%s isn't running", p.name)
	}
	if err := syscall.Kill(-p.cmd.Process.Pid, signal); err != nil {
		p.t.Fatal(err)
	}
}
