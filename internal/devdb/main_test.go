package devdb

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// helperVariable holds a DATA_DIR. If it is set, the test binary is a server process on that folder,
// which a test can kill.
const helperVariable = "DEVDB_TEST_HELPER"

func TestMain(m *testing.M) {
	if folder := os.Getenv(helperVariable); folder != "" {
		runHelper(folder)
		return
	}
	// Copying a data folder takes 60 ms in memory and a second on a disk.
	if os.Getenv("TMPDIR") == "" && unix.Access("/dev/shm", unix.W_OK) == nil {
		_ = os.Setenv("TMPDIR", "/dev/shm")
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(templateParent)
		os.Exit(code)
	}))
}

// helperReport is what a helper prints when its Postgres is ready.
type helperReport struct {
	URL    string
	Folder string // of the data
	Error  string
}

// runHelper runs a Postgres until its input ends.
func runHelper(folder string) {
	cfg := Config{DataDir: folder, Settings: fast, Log: slog.New(slog.DiscardHandler)}
	s, err := start(context.Background(), cfg, os.Getenv("DEVDB_TEST_SHORT_LIVED") != "")
	if err != nil {
		_ = json.NewEncoder(os.Stdout).Encode(helperReport{Error: err.Error()})
		return
	}
	_ = json.NewEncoder(os.Stdout).Encode(helperReport{URL: s.URL(), Folder: s.path})
	_, _ = io.Copy(io.Discard, os.Stdin)
	_ = s.Stop(context.Background())
}

// fast are settings without durability. Shared memory is in the data folder, so that a killed
// Postgres leaves none behind.
var fast = map[string]string{
	"fsync": "off", "max_connections": "20", "shared_buffers": "16MB", "dynamic_shared_memory_type": "mmap",
}

// emptyConfig returns a configuration on an empty folder.
func emptyConfig(t *testing.T) Config {
	t.Helper()
	return Config{DataDir: t.TempDir(), Settings: fast, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

// templateParent is the folder around template's.
var templateParent string

// template returns a DATA_DIR with data. Copying it is much faster than initdb.
var template = sync.OnceValues(func() (string, error) {
	var err error
	if templateParent, err = os.MkdirTemp("", "devdb-test-"); err != nil {
		return "", err
	}
	folder := filepath.Join(templateParent, "template")
	s, err := Start(context.Background(), Config{DataDir: folder, Settings: fast, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return "", err
	}
	return folder, s.Stop(context.Background())
})

// dataConfig returns a configuration on a folder that has data.
func dataConfig(t *testing.T) Config {
	t.Helper()
	cfg := emptyConfig(t)
	folder, err := template()
	if err != nil {
		t.Fatalf("create the template: %v", err)
	}
	if out, err := exec.Command("cp", "-a", folder+"/.", cfg.DataDir).CombinedOutput(); err != nil {
		t.Fatalf("copy the template: %v: %s", err, out)
	}
	return cfg
}

// mustStart starts a Postgres that the end of the test stops.
func mustStart(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		_ = s.Stop(ctx)
	})
	return s
}

// mustExec runs a statement on a new connection.
func mustExec(t *testing.T, url, statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// mustNotAnswer checks that no Postgres listens at the address.
func mustNotAnswer(t *testing.T, url string) {
	t.Helper()
	if conn, err := pgx.Connect(t.Context(), url); err == nil {
		_ = conn.Close(t.Context())
		t.Error("the Postgres still runs")
	}
}

// mustSay checks that an error contains the parts.
func mustSay(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v, want one that contains %q", err, part)
		}
	}
}

// helper is a server process that the test can kill.
type helper struct {
	helperReport
	cmd   *exec.Cmd
	input io.Closer
}

// startHelper starts a server process on the folder and waits until its Postgres is ready.
func startHelper(t *testing.T, folder string, environment ...string) *helper {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary)
	cmd.Env = append(append(os.Environ(), helperVariable+"="+folder), environment...)
	cmd.Stderr = os.Stderr
	input, inputErr := cmd.StdinPipe()
	output, outputErr := cmd.StdoutPipe()
	if inputErr != nil || outputErr != nil {
		t.Fatal(inputErr, outputErr)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h := &helper{cmd: cmd, input: input}
	t.Cleanup(h.finish)
	if err := json.NewDecoder(bufio.NewReader(output)).Decode(&h.helperReport); err != nil || h.Error != "" {
		t.Fatalf("helper: %v %s", err, h.Error)
	}
	return h
}

// finish lets the helper stop in order and waits for it.
func (h *helper) finish() {
	_ = h.input.Close()
	_ = h.cmd.Wait()
}

// kill ends the helper with SIGKILL.
func (h *helper) kill() {
	_ = h.cmd.Process.Signal(syscall.SIGKILL)
	_ = h.cmd.Wait()
}
