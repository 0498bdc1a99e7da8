// Command cluster starts a private Postgres for tests and runs another command, usually go test,
// with its address in TEST_DATABASE_URL. It forwards signals to the command and exits with the
// command's exit code.
//
//	go run ./internal/testkit/cluster -- go test -race ./...
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"ratelimiter/internal/devdb"
	"ratelimiter/internal/testkit"
)

// Exit codes of this command itself.
const (
	failed = 1
	usage  = 2
)

func main() {
	args := os.Args[1:]
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage: cluster -- COMMAND [ARGUMENT...]")
		os.Exit(usage)
	}
	code, err := run(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		code = max(code, failed)
	}
	os.Exit(code)
}

// run starts a cluster, runs the command, and stops the cluster.
func run(args []string) (code int, err error) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	cluster, err := testkit.StartKeeper()
	if err != nil {
		return failed, err
	}
	defer func() { err = errors.Join(err, cluster.Stop()) }()

	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "TEST_DATABASE_URL="+cluster.URL)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// In a process group of its own, the command and its children get each signal once: from here.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	devdb.SetParentDeathSignal(cmd.SysProcAttr, syscall.SIGTERM)
	runtime.LockOSThread() // the signal is sent when this thread ends
	if err := cmd.Start(); err != nil {
		return failed, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			_ = syscall.Kill(-cmd.Process.Pid, s.(syscall.Signal))
		case err := <-ended:
			return exitCode(cmd, err)
		}
	}
}

// exitCode returns the command's exit code, or 128 plus the number of the signal that ended it.
func exitCode(cmd *exec.Cmd, err error) (int, error) {
	if exit := new(exec.ExitError); !errors.As(err, &exit) {
		return 0, err
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}
