package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/testkit"
)

// binary builds the program once and returns its path.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "ratelimiter-test-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "ratelimiter")
	out, err := exec.Command("go", "build", "-o", path, "..").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

// command returns a command of the program with only env, PATH and HOME in its
// environment.
func command(t testing.TB, env []string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, env...)
	return cmd
}

// runProgram runs the program until it exits.
func runProgram(t *testing.T, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := command(t, env, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, exited := err.(*exec.ExitError); err != nil && !exited { //nolint:errorlint // Run returns it bare
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// process is a server in its own process.
type process struct {
	*testkit.Client
	cmd      *exec.Cmd
	greeting string // output until the server was ready
	stderr   *safeBuffer
}

// endOfGreeting matches the last line of the greeting in dev mode.
var endOfGreeting = regexp.MustCompile(`; done$|dev keys are|keys create`)

// startTimeout bounds the start of a server.
const startTimeout = 90 * time.Second

// serveProcess starts a server in dev mode and waits until it is ready.
func serveProcess(t testing.TB, env ...string) *process {
	t.Helper()
	cmd := command(t, append([]string{"HTTP_ADDR=127.0.0.1:0", "OPS_ADDR=127.0.0.1:0"}, env...), "serve", "--dev")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r := &process{cmd: cmd, stderr: &safeBuffer{}}
	cmd.Stderr = r.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	timeout := time.AfterFunc(startTimeout, func() { _ = cmd.Process.Kill() })
	defer timeout.Stop()
	lines := bufio.NewScanner(stdout)
	var base string
	for lines.Scan() {
		r.greeting += lines.Text() + "\n"
		if at := regexp.MustCompile(`Docs +(http://\S+)/docs`).FindStringSubmatch(lines.Text()); at != nil {
			base = at[1]
		}
		if endOfGreeting.MatchString(lines.Text()) {
			break
		}
	}
	if base == "" {
		t.Fatalf("the server isn't ready:\n%s%s", r.greeting, r.stderr)
	}
	go func() { _, _ = io.Copy(io.Discard, stdout) }() // ends with the process
	r.Client = testkit.NewClient(t, base)
	return r
}

// end sends a signal, waits for the process and returns its exit code.
func (r *process) end(signal syscall.Signal) int {
	_ = r.cmd.Process.Signal(signal)
	_ = r.cmd.Wait()
	return r.cmd.ProcessState.ExitCode()
}

// postgresPID returns the process ID of the private Postgres in a data folder.
func postgresPID(t *testing.T, dataDir string) int {
	t.Helper()
	pid, err := readPostgresPID(dataDir)
	if err != nil {
		t.Fatalf("no running Postgres in %s: %v", dataDir, err)
	}
	return pid
}

func readPostgresPID(dataDir string) (int, error) {
	files, err := filepath.Glob(filepath.Join(dataDir, "postgres-*", "postmaster.pid"))
	if err != nil || len(files) != 1 {
		return 0, fmt.Errorf("%d pid files: %w", len(files), err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.SplitN(string(data), "\n", 2)[0])
}

// awaitEnd waits for the end of a process that isn't a child of this one.
func awaitEnd(t *testing.T, pid int) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for syscall.Kill(pid, 0) == nil {
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && strings.Contains(string(stat), ") Z ") {
			return // a zombie: it has ended
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d is still running", pid)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// devKeysFile is the name of the file with the dev keys in DATA_DIR.
const devKeysFile = "dev-keys.json"

type devKeys struct{ Demo, Tiny, Admin string }

func readDevKeys(t *testing.T, dataDir string) devKeys {
	t.Helper()
	file := filepath.Join(dataDir, devKeysFile)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var keys devKeys
	if err := json.Unmarshal(data, &keys); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("got mode %[2]v of %[1]s; want 0600", file, info.Mode())
	}
	return keys
}

func TestServer_restart_keeps_data(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := serveProcess(t, "DATA_DIR="+dir)
	keys := readDevKeys(t, dir)
	if !strings.Contains(first.greeting, keys.Demo) || !strings.Contains(first.greeting, keys.Admin) {
		t.Errorf("first start: want both keys in\n%s", first.greeting)
	}
	response := first.As(keys.Demo).Get("/v1/products").Want(http.StatusOK)
	if response.Header.Get("RateLimit") == "" || response.Header.Get("RateLimit-Policy") == "" {
		t.Errorf("got header %v; want RateLimit and RateLimit-Policy", response.Header)
	}
	pid := postgresPID(t, dir)
	if code := first.end(syscall.SIGTERM); code != 0 {
		t.Errorf("SIGTERM: got exit code %d; want 0\n%s", code, first.stderr)
	}
	awaitEnd(t, pid)

	second := serveProcess(t, "DATA_DIR="+dir)
	if strings.Contains(second.greeting, "rl_live_") {
		t.Errorf("second start: want no keys in\n%s", second.greeting)
	}
	second.As(keys.Admin).Get("/v1/products").Want(http.StatusOK)
	if code := second.end(syscall.SIGINT); code != 0 {
		t.Errorf("SIGINT: got exit code %d; want 0", code)
	}
	if log := first.stderr.String() + second.stderr.String(); strings.Contains(log, keys.Demo) || strings.Contains(log, keys.Admin) {
		t.Error("the log contains a key")
	}
}

func TestServer_killed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := serveProcess(t, "DATA_DIR="+dir)
	key := readDevKeys(t, dir).Demo
	var placed struct{ ID string }
	body := server.As(key).Post("/v1/orders", order(`{"product_id":"prd_0y5apuf8zs","quantity":1}`)).Want(http.StatusCreated).Body
	if err := json.Unmarshal(body, &placed); err != nil {
		t.Fatal(err)
	}
	pid := postgresPID(t, dir)
	server.end(syscall.SIGKILL)
	awaitEnd(t, pid)

	again := serveProcess(t, "DATA_DIR="+dir)
	again.As(key).Get("/v1/orders/" + placed.ID).Want(http.StatusOK)
}

func TestServer_data_folder_in_use(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := serveProcess(t, "DATA_DIR="+dir)
	code, _, stderr := runProgram(t, []string{"DATA_DIR=" + dir, "HTTP_ADDR=127.0.0.1:0", "OPS_ADDR=127.0.0.1:0"}, "serve", "--dev")
	if code != 1 {
		t.Errorf("got exit code %d; want 1", code)
	}
	for _, part := range []string{strconv.Itoa(server.cmd.Process.Pid), "DATA_DIR", "DATABASE_URL"} {
		if !strings.Contains(stderr, part) {
			t.Errorf("got error %s; want it to contain %s", stderr, part)
		}
	}
	server.Get("/readyz").Want(http.StatusOK)
}

func TestServer_shutdown_completes_requests(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := serveProcess(t, "DATA_DIR="+dir)
	conn, err := net.Dial("tcp", strings.TrimPrefix(server.Base(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	body := order(`{"product_id":"prd_0y5apuf8zs","quantity":1}`)
	_, _ = fmt.Fprintf(conn, "POST /v1/orders HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n",
		readDevKeys(t, dir).Demo, len(body))
	responses := bufio.NewReader(conn)
	// net/http sends 100 Continue when the handler reads the body.
	interim, err := http.ReadResponse(responses, nil)
	if err != nil || interim.StatusCode != http.StatusContinue {
		t.Fatalf("got response %v, error %v; want 100", interim, err)
	}
	defer func() { _ = interim.Body.Close() }()
	if err := server.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	awaitRefusal(t, server.Base())
	_, _ = io.WriteString(conn, body)
	response, err := http.ReadResponse(responses, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusCreated {
		t.Errorf("got status %d; want 201", response.StatusCode)
	}
	_ = server.cmd.Wait()
	if code := server.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("got exit code %d; want 0\n%s", code, server.stderr)
	}
}

// awaitRefusal waits until the server refuses connections.
func awaitRefusal(t *testing.T, base string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
		if err != nil {
			return
		}
		_ = conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("the server still accepts connections")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestKeysCommand_process(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := serveProcess(t, "DATA_DIR="+dir)
	env := []string{"DATA_DIR=" + dir}

	code, stdout, stderr := runProgram(t, env, "keys", "create", "--name", "mine", "--scopes", "products:read", "--json")
	var created createdKey
	if err := json.Unmarshal([]byte(stdout), &created); err != nil || code != 0 {
		t.Fatalf("got exit code %d: %s%s", code, stdout, stderr)
	}
	server.As(created.Key).Get("/v1/products").Want(http.StatusOK)
	server.As(created.Key).Get("/v1/orders").Want(http.StatusForbidden)

	_, stdout, _ = runProgram(t, env, "keys", "list", "--json")
	var list struct {
		Data []struct{ ID, Name, Status string }
	}
	if err := json.Unmarshal([]byte(stdout), &list); err != nil || len(list.Data) != 4 || list.Data[0].ID != created.ID || list.Data[0].Status != "active" {
		t.Fatalf("got list %s", stdout)
	}
	if strings.Contains(stdout, created.Key) {
		t.Error("the list contains a key")
	}
	if code, _, stderr := runProgram(t, env, "keys", "revoke", created.ID); code != 0 {
		t.Fatal(stderr)
	}
	if _, stdout, _ = runProgram(t, env, "keys", "list"); !strings.Contains(stdout, created.ID+"  revoked") {
		t.Errorf("got list\n%s", stdout)
	}
	if code, _, stderr := runProgram(t, env, "keys", "revoke", "unknown"); code != 1 || !strings.Contains(stderr, "not found") {
		t.Errorf("unknown key: got exit code %d: %s", code, stderr)
	}
	code, _, stderr = runProgram(t, env, "keys", "create", "--name", "x", "--scopes", "a,products:read,b", "--plan", "none")
	if code != 2 || !strings.Contains(stderr, `--scopes "a"`) || !strings.Contains(stderr, `--scopes "b"`) {
		t.Errorf("got exit code %d: %s", code, stderr)
	}
	server.end(syscall.SIGTERM)

	// Without a server, the command starts Postgres itself.
	if code, stdout, stderr := runProgram(t, env, "keys", "list"); code != 0 || !strings.Contains(stdout, created.ID) {
		t.Errorf("got exit code %d: %s%s", code, stdout, stderr)
	}
}

func TestServer_concurrent_migration(t *testing.T) {
	address := testkit.DatabaseURL(t)
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `DROP SCHEMA public CASCADE; CREATE SCHEMA public`); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var starts sync.WaitGroup
	for i := range 3 {
		dir := t.TempDir()
		starts.Go(func() {
			server := serveProcess(t, "DATA_DIR="+dir, "DATABASE_URL="+address, "KEY_PEPPER=a pepper for these servers")
			if got := server.Get("/readyz"); got.Status != http.StatusOK {
				t.Errorf("server %d: got %s; want it ready", i, got.Body)
			}
		})
	}
	starts.Wait()
}

func TestSettings_faults(t *testing.T) {
	code, stdout, stderr := runProgram(t, []string{
		"DATABASE_URL=mysql://root:hunter2@db/x", "HTTP_ADDR=8080", "OPS_ADDR=127.0.0.1:http:1", "TRUSTED_PROXIES=10.0.0.0/8,10.0.0.0/99,me",
		"CORS_ORIGINS=https://a.example/,null", "CACHE_KEYS=5", "CACHE_TTL=1", "CACHE_STALE=99h", "RETRY_CAP=1s", "RETRY_BASE=2s", "RETRY_MAX_ATTEMPTS=0", "SHUTDOWN_DELAY=6m", "KEY_PEPPER=short",
	}, "serve")
	if code != 2 || stdout != "" {
		t.Errorf("got exit code %d, output %s; want 2", code, stdout)
	}
	for _, part := range []string{"DATABASE_URL", "HTTP_ADDR", "OPS_ADDR", "10.0.0.0/99", `"me"`, "https://a.example/", `"null"`, "CACHE_KEYS", "CACHE_TTL", "CACHE_STALE", "RETRY_BASE: 2s must be from 1ms to 1s", "RETRY_MAX_ATTEMPTS", "SHUTDOWN_DELAY: 6m0s must be from 0s to 5m0s", "KEY_PEPPER"} {
		if !strings.Contains(stderr, part) {
			t.Errorf("want %s in the error\n%s", part, stderr)
		}
	}
	if strings.Contains(stderr, "hunter2") || strings.Contains(stderr, "10.0.0.0/8\"") {
		t.Errorf("want no password and no valid value in the error\n%s", stderr)
	}
}

func TestSettings_pepper_required(t *testing.T) {
	code, _, stderr := runProgram(t, []string{"DATA_DIR=" + t.TempDir()}, "serve")
	if code != 2 || !strings.Contains(stderr, "KEY_PEPPER") || !strings.Contains(stderr, "openssl rand") {
		t.Errorf("got exit code %d: %s", code, stderr)
	}
}

func TestCommandLine_usage(t *testing.T) {
	for _, args := range [][]string{{"nonsense"}, {"keys"}, {"keys", "create"}, {"serve", "--no-such-flag"}} {
		if code, _, stderr := runProgram(t, nil, args...); code != 2 || !strings.Contains(stderr, "ratelimiter:") {
			t.Errorf("%v: got exit code %d: %s", args, code, stderr)
		}
	}
	if code, stdout, _ := runProgram(t, nil, "--help"); code != 0 || !strings.Contains(stdout, "DATABASE_URL") {
		t.Errorf("--help: got exit code %d: %s", code, stdout)
	}
	if code, stdout, _ := runProgram(t, nil, "openapi"); code != 0 || !json.Valid([]byte(stdout)) {
		t.Errorf("openapi: got exit code %d", code)
	}
}

func TestServer_restarts_postgres(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := serveProcess(t, "DATA_DIR="+dir)
	keys := readDevKeys(t, dir)
	cached, uncached := server.As(keys.Demo), server.As(keys.Admin)
	cached.Get("/v1/products").Want(http.StatusOK)
	killed := postgresPID(t, dir)
	if err := syscall.Kill(killed, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitEnd(t, killed)
	// Backends of the killed postmaster may still respond for a moment.
	restarted := func() bool {
		pid, err := readPostgresPID(dir)
		return err == nil && pid != killed
	}
	// Every request gets a response, and never a 401.
	deadline := time.Now().Add(30 * time.Second)
	for status := 0; status != http.StatusOK || !restarted(); {
		got := uncached.Get("/v1/products")
		if status = got.Status; status != http.StatusOK && status != http.StatusServiceUnavailable {
			t.Fatalf("uncached key: got %d %s; want 200 or 503\n%s", status, got.Body, server.stderr)
		}
		switch got := cached.Get("/v1/products/prd_0y5apuf8zs"); got.Status {
		case http.StatusOK, http.StatusServiceUnavailable, http.StatusTooManyRequests: // its burst is 20
		default:
			t.Fatalf("cached key: got %d %s; want 200 or 503", got.Status, got.Body)
		}
		if time.Now().After(deadline) {
			t.Fatalf("Postgres was not restarted:\n%s", server.stderr)
		}
	}
	if code := server.end(syscall.SIGTERM); code != 0 {
		t.Errorf("got exit code %d; want 0\n%s", code, server.stderr)
	}
}

func TestDevKeys_other_database(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := serveProcess(t, "DATA_DIR="+dir)
	keys := readDevKeys(t, dir)
	first.end(syscall.SIGTERM)

	second := serveProcess(t, "DATA_DIR="+dir, "DATABASE_URL="+testkit.DatabaseURL(t))
	if readDevKeys(t, dir) == keys {
		t.Fatal("the other database has the same dev keys")
	}
	second.end(syscall.SIGTERM)

	third := serveProcess(t, "DATA_DIR="+dir)
	if strings.Contains(third.greeting, devKeysFile) {
		t.Errorf("the greeting names the file of the other database:\n%s", third.greeting)
	}
	kept, err := filepath.Glob(filepath.Join(dir, "dev-keys.until-*.json"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("got files %v with the first keys; want one", kept)
	}
	data, err := os.ReadFile(kept[0])
	if err != nil || !strings.Contains(string(data), keys.Demo) {
		t.Errorf("got file %s, error %v; want the first keys", data, err)
	}
	third.As(keys.Demo).Get("/v1/products").Want(http.StatusOK)
}

// TestDevKeys_new_folder starts a server with a DATA_DIR that doesn't exist, and that
// nothing but the dev keys needs.
func TestDevKeys_new_folder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	server := serveProcess(t, "DATA_DIR="+dir, "DATABASE_URL="+testkit.DatabaseURL(t), "KEY_PEPPER="+testPepper)
	server.As(readDevKeys(t, dir).Demo).Get("/v1/products").Want(http.StatusOK)
}

func TestServer_signal_during_start(t *testing.T) {
	t.Parallel()
	cmd := command(t, []string{"DATA_DIR=" + t.TempDir(), "HTTP_ADDR=127.0.0.1:0", "OPS_ADDR=127.0.0.1:0"}, "serve", "--dev")
	var stderr safeBuffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// The signal handler is installed before the lock file is created.
	for deadline := time.Now().Add(20 * time.Second); ; {
		if _, err := os.Stat(filepath.Join(strings.TrimPrefix(cmd.Env[2], "DATA_DIR="), "owner.lock")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the server doesn't start")
		}
		time.Sleep(time.Millisecond)
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("got exit code %d; want 0\n%s", code, stderr.String())
	}
}

func TestServer_address_in_use(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	dir := t.TempDir()
	code, _, stderr := runProgram(t, []string{"DATA_DIR=" + dir, "HTTP_ADDR=" + taken.Addr().String(), "OPS_ADDR=127.0.0.1:0"}, "serve", "--dev")
	if code != 1 || !strings.Contains(stderr, "is in use: 'ratelimiter doctor' names the program; or set another HTTP_ADDR\n") || strings.Contains(stderr, "draining") {
		t.Errorf("got exit code %d: %s", code, stderr)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "postgres-*")); len(files) != 0 {
		t.Errorf("got %v; want no Postgres started", files)
	}
}
