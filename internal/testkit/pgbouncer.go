package testkit

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// poolerConfig is the configuration of PgBouncer. Any user may connect, and gets the account
	// of the test database.
	poolerConfig = "[databases]\n* = host=%s port=%s user=%s password=%s\n[pgbouncer]\nlisten_addr=127.0.0.1\nlisten_port=%s\nunix_socket_dir=\n" +
		"auth_type=any\npool_mode=transaction\ndefault_pool_size=4\nmax_client_conn=500\nlog_connections=0\nlog_disconnections=0\n%s\n"
	// poolerTimeout bounds the start of PgBouncer.
	poolerTimeout = 20 * time.Second
	// nobody is the account that PgBouncer runs as instead of root, which it refuses.
	nobody = 65534
)

// NewPgBouncer starts a PgBouncer in transaction mode, with 4 connections, in front of a database
// and returns its URL there. It is stopped at the end of the test. Settings are additional lines of
// its configuration. If PgBouncer is not installed, the test fails when REQUIRE_REAL_SERVICES is 1
// and is skipped otherwise.
func NewPgBouncer(t testing.TB, database string, settings ...string) string {
	t.Helper()
	program := findPgBouncer(t)
	server, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pooler := *server
	pooler.Host = listener.Addr().String()
	_ = listener.Close()

	// Not t.TempDir: only the account of the test can enter it.
	folder, err := os.MkdirTemp("", folderPrefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	password, _ := server.User.Password()
	config := filepath.Join(folder, "pgbouncer.ini")
	text := fmt.Sprintf(poolerConfig, server.Hostname(), server.Port(), server.User.Username(), password, pooler.Port(), strings.Join(settings, "\n"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, config)
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		if err := errors.Join(os.Chown(folder, nobody, nobody), os.Chown(config, nobody, nobody)); err != nil {
			t.Fatal(err)
		}
	}
	var output strings.Builder
	cmd.Stderr = &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(poolerTimeout); ; time.Sleep(5 * time.Millisecond) {
		if conn, err := net.Dial("tcp", pooler.Host); err == nil {
			_ = conn.Close()
			return pooler.String()
		}
		if time.Now().After(deadline) {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			t.Fatalf("PgBouncer doesn't start:\n%s", output.String())
		}
	}
}

func findPgBouncer(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"pgbouncer", "/usr/sbin/pgbouncer"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const missing = "NOT RUN: this test needs PgBouncer; scripts/install-pgbouncer.sh installs it"
	if os.Getenv("REQUIRE_REAL_SERVICES") == "1" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}
