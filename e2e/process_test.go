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

// binary builds the program once a run and returns its path.
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

// command is the program with a clean environment, so that the settings of
// whoever runs the tests don't count.
func command(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, env...)
	return cmd
}

// outcome runs the program to its end.
func outcome(t *testing.T, env []string, args ...string) (code int, stdout, stderr string) {
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

// process is a server that runs by itself.
type process struct {
	*testkit.Client
	cmd     *exec.Cmd
	greeted string // what it printed until it was ready
	stderr  *safeBuffer
}

// endOfGreeting is in the last line that dev mode prints when it is ready.
var endOfGreeting = regexp.MustCompile(`curl -i|dev keys are|keys create`)

// startPatience is after what time a server that isn't ready fails the test.
const startPatience = 90 * time.Second

// serveProcess starts the server in dev mode and waits until it says that it
// is ready.
func serveProcess(t *testing.T, env ...string) *process {
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
	patience := time.AfterFunc(startPatience, func() { _ = cmd.Process.Kill() })
	defer patience.Stop()
	lines := bufio.NewScanner(stdout)
	var base string
	for lines.Scan() {
		r.greeted += lines.Text() + "\n"
		if at := regexp.MustCompile(`Docs +(http://\S+)/docs`).FindStringSubmatch(lines.Text()); at != nil {
			base = at[1]
		}
		if endOfGreeting.MatchString(lines.Text()) {
			break
		}
	}
	if base == "" {
		t.Fatalf("the server did not get ready:\n%s%s", r.greeted, r.stderr)
	}
	go func() { _, _ = io.Copy(io.Discard, stdout) }() // ends with the process
	r.Client = testkit.NewClient(t, base)
	return r
}

// end sends a signal and waits for the process's end.
func (r *process) end(signal syscall.Signal) int {
	_ = r.cmd.Process.Signal(signal)
	_ = r.cmd.Wait()
	return r.cmd.ProcessState.ExitCode()
}

// postgresPID is the process of the private Postgres in a data folder.
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

// awaitEnd waits until a process that isn't our child is gone.
func awaitEnd(t *testing.T, pid int) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for syscall.Kill(pid, 0) == nil {
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && strings.Contains(string(stat), ") Z ") {
			return // ended, and only waiting for whoever inherited it
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d is still there", pid)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// devKeysFile is the file of the dev keys in DATA_DIR.
const devKeysFile = "dev-keys.json"

type devKeys struct{ Demo, Admin string }

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
		t.Fatalf("%s has the mode %v", file, info.Mode())
	}
	return keys
}

func TestTheServerKeepsItsDataAndStopsItsPostgresLast(t *testing.T) {
	dir := t.TempDir()
	first := serveProcess(t, "DATA_DIR="+dir)
	keys := readDevKeys(t, dir)
	if !strings.Contains(first.greeted, keys.Demo) || !strings.Contains(first.greeted, keys.Admin) {
		t.Errorf("the first start has to print both keys:\n%s", first.greeted)
	}
	answer := first.As(keys.Demo).Get("/v1/products").Want(http.StatusOK)
	if answer.Header.Get("RateLimit") == "" || answer.Header.Get("RateLimit-Policy") == "" {
		t.Errorf("header %v", answer.Header)
	}
	pid := postgresPID(t, dir)
	if code := first.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d after SIGTERM\n%s", code, first.stderr)
	}
	awaitEnd(t, pid)

	second := serveProcess(t, "DATA_DIR="+dir)
	if strings.Contains(second.greeted, "rl_live_") {
		t.Errorf("the second start must not print keys:\n%s", second.greeted)
	}
	second.As(keys.Admin).Get("/v1/products").Want(http.StatusOK)
	if code := second.end(syscall.SIGINT); code != 0 {
		t.Errorf("exit code %d after SIGINT", code)
	}
	if log := first.stderr.String() + second.stderr.String(); strings.Contains(log, keys.Demo) || strings.Contains(log, keys.Admin) {
		t.Error("a key stands in the log")
	}
}

func TestAKilledServerLeavesNoPostgresBehind(t *testing.T) {
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
	again.As(key).Get("/v1/orders/" + placed.ID).Want(http.StatusOK) // acknowledged, so not lost
}

func TestASecondServerInTheSameFolderIsToldTheWayOut(t *testing.T) {
	dir := t.TempDir()
	server := serveProcess(t, "DATA_DIR="+dir)
	code, _, stderr := outcome(t, []string{"DATA_DIR=" + dir, "HTTP_ADDR=127.0.0.1:0", "OPS_ADDR=127.0.0.1:0"}, "serve", "--dev")
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	for _, part := range []string{strconv.Itoa(server.cmd.Process.Pid), "DATA_DIR", "DATABASE_URL"} {
		if !strings.Contains(stderr, part) {
			t.Errorf("the refusal doesn't say %s: %s", part, stderr)
		}
	}
	server.Get("/readyz").Want(http.StatusOK)
}

func TestARequestUnderWayIsFinishedAfterTheSignal(t *testing.T) {
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
	answers := bufio.NewReader(conn)
	// The server asks for the body when its handler reads it: now the request is
	// under way.
	ask, err := http.ReadResponse(answers, nil)
	if err != nil || ask.StatusCode != http.StatusContinue {
		t.Fatalf("asked for the body: %v, %v", ask, err)
	}
	defer func() { _ = ask.Body.Close() }()
	if err := server.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	awaitRefusal(t, server.Base())
	_, _ = io.WriteString(conn, body)
	answer, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusCreated {
		t.Errorf("status %d; want 201", answer.StatusCode)
	}
	_ = server.cmd.Wait()
	if code := server.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d\n%s", code, server.stderr)
	}
}

// awaitRefusal waits until the server takes no connections any more.
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
			t.Fatal("the server still takes connections")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestKeysAreManagedFromTheCommandLine(t *testing.T) {
	dir := t.TempDir()
	server := serveProcess(t, "DATA_DIR="+dir)
	env := []string{"DATA_DIR=" + dir}

	code, stdout, stderr := outcome(t, env, "keys", "create", "--name", "mine", "--scopes", "products:read", "--json")
	var made struct{ ID, Key string }
	if err := json.Unmarshal([]byte(stdout), &made); err != nil || code != 0 {
		t.Fatalf("exit code %d: %s%s", code, stdout, stderr)
	}
	server.As(made.Key).Get("/v1/products").Want(http.StatusOK)
	server.As(made.Key).Get("/v1/orders").Want(http.StatusForbidden)

	_, stdout, _ = outcome(t, env, "keys", "list", "--json")
	var list struct {
		Data []struct{ ID, Name, Status string }
	}
	if err := json.Unmarshal([]byte(stdout), &list); err != nil || len(list.Data) != 3 || list.Data[0].ID != made.ID || list.Data[0].Status != "active" {
		t.Fatalf("list %s", stdout)
	}
	if strings.Contains(stdout, made.Key) {
		t.Error("a list shows a key")
	}
	if code, _, stderr := outcome(t, env, "keys", "revoke", made.ID); code != 0 {
		t.Fatal(stderr)
	}
	if _, stdout, _ = outcome(t, env, "keys", "list"); !strings.Contains(stdout, made.ID+"  revoked") {
		t.Errorf("list:\n%s", stdout)
	}
	if code, _, stderr := outcome(t, env, "keys", "revoke", "nobody"); code != 1 || !strings.Contains(stderr, "not found") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	code, _, stderr = outcome(t, env, "keys", "create", "--name", "x", "--scopes", "a,products:read,b", "--plan", "none")
	if code != 2 || !strings.Contains(stderr, `--scopes "a"`) || !strings.Contains(stderr, `--scopes "b"`) {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	server.end(syscall.SIGTERM)

	// With nothing running, a command owns the folder for its own short life.
	if code, stdout, stderr := outcome(t, env, "keys", "list"); code != 0 || !strings.Contains(stdout, made.ID) {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
}

func TestSeveralServersCanStartAtOnceOnAnEmptyDatabase(t *testing.T) {
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
				t.Errorf("server %d: %s", i, got.Body)
			}
		})
	}
	starts.Wait()
}

func TestEveryFaultOfTheSettingsIsToldBeforeAnythingStarts(t *testing.T) {
	code, stdout, stderr := outcome(t, []string{
		"DATABASE_URL=mysql://root:hunter2@db/x", "HTTP_ADDR=8080", "OPS_ADDR=127.0.0.1:http:1", "TRUSTED_PROXIES=10.0.0.0/8,10.0.0.0/99,me",
		"CORS_ORIGINS=https://a.example/,null", "CACHE_TTL=1", "CACHE_STALE=99h", "KEY_PEPPER=short",
	}, "serve")
	if code != 2 || stdout != "" {
		t.Errorf("exit code %d: %s", code, stdout)
	}
	for _, part := range []string{"DATABASE_URL", "HTTP_ADDR", "OPS_ADDR", "10.0.0.0/99", `"me"`, "https://a.example/", `"null"`, "CACHE_TTL", "CACHE_STALE", "KEY_PEPPER"} {
		if !strings.Contains(stderr, part) {
			t.Errorf("%s is not told:\n%s", part, stderr)
		}
	}
	if strings.Contains(stderr, "hunter2") || strings.Contains(stderr, "10.0.0.0/8\"") {
		t.Errorf("too much is told:\n%s", stderr)
	}
}

func TestProductionNeedsAPepper(t *testing.T) {
	code, _, stderr := outcome(t, []string{"DATA_DIR=" + t.TempDir()}, "serve")
	if code != 2 || !strings.Contains(stderr, "KEY_PEPPER") || !strings.Contains(stderr, "openssl rand") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestAWrongCommandLineIsAUsageError(t *testing.T) {
	for _, args := range [][]string{{"nonsense"}, {"keys"}, {"keys", "create"}, {"serve", "--no-such-flag"}} {
		if code, _, stderr := outcome(t, nil, args...); code != 2 || !strings.Contains(stderr, "ratelimiter:") {
			t.Errorf("%v: exit code %d: %s", args, code, stderr)
		}
	}
	if code, stdout, _ := outcome(t, nil, "--help"); code != 0 || !strings.Contains(stdout, "DATABASE_URL") {
		t.Errorf("--help: exit code %d: %s", code, stdout)
	}
	if code, stdout, _ := outcome(t, nil, "openapi"); code != 0 || !json.Valid([]byte(stdout)) {
		t.Errorf("openapi: exit code %d", code)
	}
}

func TestAPrivatePostgresThatDiesIsStartedAgain(t *testing.T) {
	dir := t.TempDir()
	server := serveProcess(t, "DATA_DIR="+dir)
	keys := readDevKeys(t, dir)
	known, unknown := server.As(keys.Demo), server.As(keys.Admin)
	known.Get("/v1/products").Want(http.StatusOK)
	died := postgresPID(t, dir)
	if err := syscall.Kill(died, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitEnd(t, died)
	// What the dead one had begun may go on for a moment, and answer.
	startedAgain := func() bool {
		pid, err := readPostgresPID(dir)
		return err == nil && pid != died
	}
	// Whatever is asked now is answered, and never with a 401.
	deadline := time.Now().Add(30 * time.Second)
	for status := 0; status != http.StatusOK || !startedAgain(); {
		if status = unknown.Get("/v1/products").Status; status != http.StatusOK && status != http.StatusServiceUnavailable {
			t.Fatalf("status %d", status)
		}
		if got := known.Get("/v1/products/prd_0y5apuf8zs"); got.Status != http.StatusOK && got.Status != http.StatusServiceUnavailable {
			t.Fatalf("a known key got %d %s", got.Status, got.Body)
		}
		if time.Now().After(deadline) {
			t.Fatalf("Postgres does not come back:\n%s", server.stderr)
		}
	}
	if code := server.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d\n%s", code, server.stderr)
	}
}

func TestDevKeysOfAnotherDatabaseAreKept(t *testing.T) {
	dir := t.TempDir()
	first := serveProcess(t, "DATA_DIR="+dir)
	keys := readDevKeys(t, dir)
	first.end(syscall.SIGTERM)

	second := serveProcess(t, "DATA_DIR="+dir, "DATABASE_URL="+testkit.DatabaseURL(t))
	if readDevKeys(t, dir) == keys {
		t.Fatal("the other database has no keys of its own")
	}
	second.end(syscall.SIGTERM)

	third := serveProcess(t, "DATA_DIR="+dir)
	if strings.Contains(third.greeted, devKeysFile) {
		t.Errorf("the greeting names a file with another database's keys:\n%s", third.greeted)
	}
	kept, err := filepath.Glob(filepath.Join(dir, "dev-keys.until-*.json"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("the first keys are kept in %v", kept)
	}
	data, err := os.ReadFile(kept[0])
	if err != nil || !strings.Contains(string(data), keys.Demo) {
		t.Errorf("kept: %s, %v", data, err)
	}
	third.As(keys.Demo).Get("/v1/products").Want(http.StatusOK)
}

func TestASignalWhileStartingIsNoFailure(t *testing.T) {
	cmd := command(t, []string{"DATA_DIR=" + t.TempDir(), "HTTP_ADDR=127.0.0.1:0", "OPS_ADDR=127.0.0.1:0"}, "serve", "--dev")
	var stderr safeBuffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Signals are listened to from main's first line, long before the pepper is there.
	for deadline := time.Now().Add(20 * time.Second); ; {
		if _, err := os.Stat(filepath.Join(strings.TrimPrefix(cmd.Env[2], "DATA_DIR="), "owner.lock")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it does not start")
		}
		time.Sleep(time.Millisecond)
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d\n%s", code, stderr.String())
	}
}

func TestATakenAddressIsToldAtOnce(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	dir := t.TempDir()
	code, _, stderr := outcome(t, []string{"DATA_DIR=" + dir, "HTTP_ADDR=" + taken.Addr().String(), "OPS_ADDR=127.0.0.1:0"}, "serve", "--dev")
	if code != 1 || !strings.Contains(stderr, "HTTP_ADDR") || !strings.Contains(stderr, "in use") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if made, _ := filepath.Glob(filepath.Join(dir, "postgres-*")); len(made) != 0 {
		t.Errorf("a Postgres was made for nothing: %v", made)
	}
}
