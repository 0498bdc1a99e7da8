package postgres

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// helperVariable, when set, makes the test binary a server process of its own, in the folder that
// it names, instead of running tests: something that can be killed.
const helperVariable = "POSTGRES_TEST_HELPER"

func TestMain(m *testing.M) {
	if folder := os.Getenv(helperVariable); folder != "" {
		runHelper(folder)
		return
	}
	// In memory a data folder is copied in 60 ms, on a disk in a second.
	if os.Getenv("TMPDIR") == "" && unix.Access("/dev/shm", unix.W_OK) == nil {
		_ = os.Setenv("TMPDIR", "/dev/shm")
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(madeParent)
		os.Exit(code)
	}))
}

// helperReport is the line that a helper prints when its server is ready.
type helperReport struct {
	URL    string
	Folder string // of the data
	Error  string
}

// runHelper runs a server until its input ends.
func runHelper(folder string) {
	cfg := Config{DataDir: folder, Settings: fast, Log: slog.New(slog.DiscardHandler)}
	cfg.Brief = os.Getenv("POSTGRES_TEST_BRIEF") != ""
	s, err := Start(context.Background(), cfg)
	if err != nil {
		_ = json.NewEncoder(os.Stdout).Encode(helperReport{Error: err.Error()})
		return
	}
	_ = json.NewEncoder(os.Stdout).Encode(helperReport{URL: s.URL(), Folder: s.folder.path})
	_, _ = io.Copy(io.Discard, os.Stdin)
	_ = s.Stop(context.Background())
}

// fast are settings for servers whose data nobody will miss.
// Those that are killed would leave shared memory of another type behind.
var fast = map[string]string{
	"fsync": "off", "max_connections": "20", "shared_buffers": "16MB", "dynamic_shared_memory_type": "mmap",
}

// testConfig is a configuration on a folder of the test's own.
func testConfig(t *testing.T) Config {
	t.Helper()
	return Config{DataDir: t.TempDir(), Settings: fast, Log: slog.New(slog.NewTextHandler(testWriter{t}, nil))}
}

// madeParent is the folder around made's, to be removed in the end.
var madeParent string

// made is a DATA_DIR with a data folder that was made once: copying it is much faster than initdb.
var made = sync.OnceValues(func() (string, error) {
	var err error
	if madeParent, err = os.MkdirTemp("", "postgres-test-"); err != nil {
		return "", err
	}
	folder := filepath.Join(madeParent, "made")
	s, err := Start(context.Background(), Config{DataDir: folder, Settings: fast, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return "", err
	}
	return folder, s.Stop(context.Background())
})

// madeConfig is testConfig with a data folder that is there already.
func madeConfig(t *testing.T) Config {
	t.Helper()
	cfg := testConfig(t)
	folder, err := made()
	if err != nil {
		t.Fatalf("make a data folder: %v", err)
	}
	if out, err := exec.Command("cp", "-a", folder+"/.", cfg.DataDir).CombinedOutput(); err != nil {
		t.Fatalf("copy the data folder: %v: %s", err, out)
	}
	return cfg
}

// testWriter sends log lines to the test's own.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

// start starts a server that the test's end stops.
func start(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	return s
}

// helper is a server process that the test can kill.
type helper struct {
	helperReport
	cmd   *exec.Cmd
	input io.Closer
}

// startHelper starts a server process on the folder, and waits until it is ready.
func startHelper(t *testing.T, folder string, environment ...string) *helper {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary)
	cmd.Env = append(append(os.Environ(), helperVariable+"="+folder), environment...)
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h := &helper{cmd: cmd, input: input}
	t.Cleanup(func() { h.finish() })
	if err := json.NewDecoder(bufio.NewReader(output)).Decode(&h.helperReport); err != nil {
		t.Fatalf("helper: %v", err)
	}
	if h.Error != "" {
		t.Fatalf("helper: %s", h.Error)
	}
	return h
}

// finish lets the helper stop in order, and waits for it.
func (h *helper) finish() {
	_ = h.input.Close()
	_ = h.cmd.Wait()
}

// kill ends the helper as a crash or an impatient operator would.
func (h *helper) kill() {
	_ = h.cmd.Process.Signal(syscall.SIGKILL)
	_ = h.cmd.Wait()
}

// recorder is a log that keeps each line's level and message.
func recorder(lines *[]string) *slog.Logger {
	return slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			switch a.Key {
			case slog.LevelKey:
				*lines = append(*lines, a.Value.String())
			case slog.MessageKey:
				(*lines)[len(*lines)-1] += " " + a.Value.String()
			}
			return a
		},
	}))
}
