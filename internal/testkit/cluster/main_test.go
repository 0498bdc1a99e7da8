package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// TestMain runs the command if a test started this binary as the command.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "--" {
		main()
	}
	m.Run()
}

// command returns this program with a shell script to run.
func command(t *testing.T, script string) *exec.Cmd {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "--", "sh", "-c", script)
	cmd.Stderr = os.Stderr
	return cmd
}

// begin starts the command and reads its first line.
func begin(t *testing.T, cmd *exec.Cmd) (line string) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("read the command's output: %v", err)
	}
	return strings.TrimSpace(line)
}

func TestRun_ExitCode(t *testing.T) {
	cmd := command(t, `echo "$TEST_DATABASE_URL"; read wait; exit 7`)
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	url := begin(t, cmd)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatalf("connect to the cluster: %v", err)
	}
	_ = conn.Close(t.Context())
	_, _ = io.WriteString(input, "\n")
	if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("%v, want the command's exit code 7", cmd.ProcessState)
	}
	if conn, err := pgx.Connect(t.Context(), url); err == nil {
		_ = conn.Close(t.Context())
		t.Error("the cluster still runs")
	}
}

func TestRun_Signals(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		code   int
	}{
		"handled":   {`trap 'exit 9' TERM; echo ready; while :; do read wait || sleep 0.01; done`, 9},
		"unhandled": {`echo ready; exec sleep 600`, 128 + int(syscall.SIGTERM)},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := command(t, c.script)
			begin(t, cmd)
			_ = cmd.Process.Signal(syscall.SIGTERM)
			if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != c.code {
				t.Errorf("%v, want exit code %d", cmd.ProcessState, c.code)
			}
		})
	}
}

// The Postgres of a killed run ends.
func TestRun_Killed(t *testing.T) {
	cmd := command(t, `echo "$TEST_DATABASE_URL"; exec sleep 600`)
	conn, err := pgx.Connect(t.Context(), begin(t, cmd))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	_ = cmd.Process.Signal(syscall.SIGKILL)
	_ = cmd.Wait()
	if _, err := conn.WaitForNotification(t.Context()); err == nil {
		t.Error("got a notification, want the end of the connection")
	}
}

func TestRun_UnusableCommand(t *testing.T) {
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"--"}, usage},
		{[]string{"--", "/nowhere/at/all"}, failed},
	} {
		cmd := exec.Command(binary, c.args...)
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != c.code || len(out) == 0 {
			t.Errorf("%v: exit code %d with output %q, want %d and a reason", c.args, code, out, c.code)
		}
	}
}
