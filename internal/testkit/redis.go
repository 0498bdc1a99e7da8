package testkit

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	// redisTimeout bounds every wait for a Redis server. Servers are ready within 50 ms on an idle
	// machine.
	redisTimeout = 30 * time.Second
	// busOffset is the distance of a port and the port of the cluster bus.
	busOffset = 10_000
)

// RedisServer is one process of Redis or Valkey, with a port and a folder that it keeps.
type RedisServer struct {
	process

	port int
}

// Redis starts a Redis server without persistence: it is empty after a restart. Settings are
// further arguments, such as "--appendonly", "yes". The server is stopped at the end of the test.
// If Redis is not installed, the test fails when REQUIRE_REAL_SERVICES is 1 and is skipped
// otherwise.
func Redis(t testing.TB, settings ...string) *RedisServer {
	t.Helper()
	return newRedis(t, findRedis(t, "redis-server"), settings...)
}

// Valkey is Redis with the server of the Valkey project.
func Valkey(t testing.TB, settings ...string) *RedisServer {
	t.Helper()
	return newRedis(t, findRedis(t, "valkey-server", "/opt/valkey/usr/bin/valkey-server"), settings...)
}

func newRedis(t testing.TB, program string, settings ...string) *RedisServer {
	t.Helper()
	s := &RedisServer{process{t: t, name: "Redis", program: program, folder: serverFolder(t)}, freeRedisPort(t)}
	s.args = append([]string{
		"--bind", "127.0.0.1", "--port", strconv.Itoa(s.port), "--dir", s.folder, "--daemonize", "no",
		"--save", "", "--logfile", filepath.Join(s.folder, "log"),
	}, settings...)
	t.Cleanup(s.stop)
	s.Start()
	return s
}

// serverFolder creates a folder for a server. It isn't t.TempDir, which only the account of the test
// can enter.
func serverFolder(t testing.TB) string {
	t.Helper()
	folder, err := os.MkdirTemp("", folderPrefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	if os.Geteuid() == 0 {
		if err := os.Chown(folder, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// freeRedisPort returns a free port whose port of the cluster bus is free, too.
func freeRedisPort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		a, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := a.Addr().(*net.TCPAddr).Port
		b, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+busOffset))
		_ = a.Close()
		if err == nil {
			_ = b.Close()
			return port
		}
	}
	t.Fatal("no free ports")
	return 0
}

// Addr returns host and port of the server.
func (s *RedisServer) Addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// URL returns the server's URL.
func (s *RedisServer) URL() string { return "redis://" + s.Addr() }

// Start starts the server again after Kill and waits until it serves.
func (s *RedisServer) Start() {
	s.t.Helper()
	s.launch()
	s.wait("PONG", func() (string, error) { return s.do("PING") })
}

// Do sends a command and returns the answer as text; lines of an array are separated by newlines.
// It fails the test if the server can't be reached or answers with an error.
func (s *RedisServer) Do(command ...string) string {
	s.t.Helper()
	answer, err := s.do(command...)
	if err != nil {
		s.t.Fatalf("%s: %v", strings.Join(command, " "), err)
	}
	return answer
}

func (s *RedisServer) do(command ...string) (string, error) {
	conn, err := net.DialTimeout("tcp", s.Addr(), time.Second)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	return respCommand(conn, command)
}

// wait polls until ask answers want.
func (s *RedisServer) wait(want string, ask func() (string, error)) {
	s.t.Helper()
	for deadline := time.Now().Add(redisTimeout); ; time.Sleep(10 * time.Millisecond) {
		got, err := ask()
		if err == nil && strings.Contains(got, want) {
			return
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(s.folder, "log"))
			s.t.Fatalf("%s: got %q, %v, want %q; log:\n%s", s.Addr(), got, err, want, log)
		}
	}
}

// findRedis returns the first of the programs that is installed.
func findRedis(t testing.TB, names ...string) string {
	t.Helper()
	var failures error
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err == nil {
			return path
		}
		failures = errors.Join(failures, err)
	}
	missing := fmt.Sprintf("NOT RUN: this test needs %s; scripts/install-redis.sh installs it (%v)", names[0], failures)
	if os.Getenv("REQUIRE_REAL_SERVICES") == "1" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}
