package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/testkit"
)

// diagnosed is the output of 'doctor --json'.
type diagnosed struct {
	Checks []struct{ Name, Result, Found, Advice string }
}

// result returns "result: found" of a check.
func (d diagnosed) result(name string) string {
	for _, c := range d.Checks {
		if c.Name == name {
			return c.Result + ": " + c.Found
		}
	}
	return ""
}

// doctor runs doctor --json, which must exit with code.
func doctor(t *testing.T, code int, env ...string) (d diagnosed) {
	t.Helper()
	if !strings.Contains(strings.Join(env, " "), "DATA_DIR=") {
		env = append(env, "DATA_DIR="+t.TempDir())
	}
	env = append([]string{"HTTP_ADDR=127.0.0.1:0", "OPS_ADDR=127.0.0.1:0"}, env...) // later ones win
	got, stdout, stderr := runProgram(t, env, "doctor", "--json")
	if strings.Contains(stdout+stderr, "hunter2") {
		t.Errorf("the output contains a password: %s%s", stdout, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), &d); err != nil || got != code {
		t.Fatalf("got exit code %d, error %v; want %d: %s%s", got, err, code, stdout, stderr)
	}
	return d
}

// wants checks results by the beginning of "result: found".
func (d diagnosed) wants(t *testing.T, results map[string]string) {
	t.Helper()
	for name, want := range results {
		if got := d.result(name); !strings.HasPrefix(got, want) || got == "" {
			t.Errorf("%s: got %q; want %q", name, got, want)
		}
	}
}

func execute(t *testing.T, address, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func TestDoctor(t *testing.T) {
	address := testkit.DatabaseURL(t)
	pepper, database := "KEY_PEPPER="+testPepper, "DATABASE_URL="+address
	doctor(t, 0, pepper, database).wants(t, map[string]string{
		"settings": "ok", "versions": "ok: ratelimiter ", "database": "ok: Postgres ", "schema": "ok: version ", "pepper": "ok", "writes": "ok",
		"encoding": "ok: UTF8", "listen": "ok", "changes": "ok: a notification took ", "partitions": "ok", "connections": "ok: ", "data folder": "ok",
		"HTTP_ADDR": "ok: 127.0.0.1:0 is free", "OPS_ADDR": "ok", "proxies": "ok: none is trusted", "clock": "ok", "durability": "warning: off: fsync, synchronous_commit, full_page_writes",
	})
	if code, stdout, stderr := runProgram(t, []string{pepper, database, "HTTP_ADDR=127.0.0.1:0", "OPS_ADDR=127.0.0.1:0"}, "doctor"); code != 0 || stderr != "" || !strings.Contains(stdout, "\ndurability  warning  ") {
		t.Errorf("got exit code %d: %s%s", code, stdout, stderr)
	}
	doctor(t, 1, database).wants(t, map[string]string{"pepper": "failure: KEY_PEPPER is not set"})
	doctor(t, 0, database, "RATELIMITER_DEV=true").wants(t, map[string]string{"pepper": "ok"})
	commandLine{t: t, database: address}.run(0, "keys", "create", "--name", "x")
	execute(t, address, `DO $$ BEGIN EXECUTE 'DROP TABLE usage_packed_' || to_char(now() AT TIME ZONE 'UTC' + interval '1 day', 'YYYYMMDD'); END $$`)
	doctor(t, 0, pepper, database).wants(t, map[string]string{"partitions": "warning: missing for now or soon: usage_packed"})
	doctor(t, 1, database, "KEY_PEPPER=another pepper of some length").wants(t, map[string]string{"pepper": "failure: KEY_PEPPER: v1 is not"})

	execute(t, address, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, true)`)
	doctor(t, 0, pepper, database).wants(t, map[string]string{"schema": "warning: version 99999, newer"})
	execute(t, address, `DROP SCHEMA public CASCADE; CREATE SCHEMA public`)
	doctor(t, 0, pepper, database).wants(t, map[string]string{"schema": "warning: migrations are pending", "pepper": "ok"})
	doctor(t, 1, pepper, database+"&default_transaction_read_only=on").wants(t, map[string]string{"writes": "failure"})

	// Each of them is one line, and the checks that need a database are left out.
	down := doctor(t, 1, pepper, "DATABASE_URL=postgres://u:hunter2@127.0.0.1:1/x")
	down.wants(t, map[string]string{"database": "failure: DATABASE_URL: 127.0.0.1:1: connection refused"})
	if len(down.Checks) != 10 {
		t.Errorf("got %+v; want settings, versions, data folder, two addresses, proxies, database, pepper, payment and mail", down.Checks)
	}
	doctor(t, 1, pepper, strings.Replace(database, "ratelimiter:", "ratelimiter:hunter2", 1)).
		wants(t, map[string]string{"database": "failure: DATABASE_URL: 127.0.0.1:"})
	faults := doctor(t, 1, pepper, "DATABASE_URL=postgres://u:hunter2@127.0.0.1/%zz", "CACHE_TTL=1").result("settings")
	if !strings.Contains(faults, "DATABASE_URL") || !strings.Contains(faults, "CACHE_TTL") {
		t.Errorf("got settings %s; want all faults", faults)
	}
	doctor(t, 1, pepper, "DATABASE_LISTEN_URL="+address).wants(t, map[string]string{"settings": "failure: DATABASE_LISTEN_URL: needs DATABASE_URL"})
}

func TestDoctor_private_Postgres(t *testing.T) {
	dir := t.TempDir()
	doctor(t, 0, "DATA_DIR="+dir, "KEY_PEPPER="+testPepper).wants(t, map[string]string{"database": "ok: private Postgres, which isn't running"})
	if files, _ := filepath.Glob(filepath.Join(dir, "*")); len(files) != 0 {
		t.Errorf("doctor left %v", files)
	}
	server := serveProcess(t, "DATA_DIR="+dir)
	addr := strings.TrimPrefix(server.Base(), "http://")
	doctor(t, 0, "DATA_DIR="+dir, "HTTP_ADDR="+addr).wants(t, map[string]string{
		"database": "ok: Postgres ", "pepper": "ok: is set, and", "durability": "ok", "listen": "ok", "changes": "ok", "partitions": "ok", "connections": "ok",
		"HTTP_ADDR": fmt.Sprintf("ok: %s is in use by ratelimiter (pid %d), which is running", addr, server.cmd.Process.Pid),
		"dev mode":  "warning: keys of dev mode, also an admin key, are in " + dir + "/dev-keys.json",
	})
	doctor(t, 0, "DATA_DIR="+dir, "RATELIMITER_DEV=true").wants(t, map[string]string{"dev mode": "ok"})
	if log := server.stderr.String(); strings.Contains(log, "a crash may lose") {
		t.Errorf("got log %s; want no warning", log)
	}
}

func TestServe_warns_about_durability(t *testing.T) {
	log := newApp(t).log.String()
	for _, name := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
		if strings.Count(log, "the database has "+name+" off: a crash may lose") != 1 {
			t.Errorf("got log %s; want one warning about %s", log, name)
		}
	}
}

func TestDoctor_PgBouncer(t *testing.T) {
	address := emptyDatabase(t)
	pepper, pooler, direct := "KEY_PEPPER="+testPepper, "DATABASE_URL="+testkit.NewPgBouncer(t, address), "DATABASE_LISTEN_URL="+address
	doctor(t, 1, pepper, pooler).wants(t, map[string]string{"listen": "failure: no direct connection", "timeouts": "warning"})
	doctor(t, 0, pepper, pooler, direct).wants(t, map[string]string{"listen": "ok: DATABASE_URL is a connection pooler"})
	file := "DATABASE_LISTEN_URL_FILE=" + writeFile(t, "url", address+"\n")
	doctor(t, 0, pepper, pooler, file).wants(t, map[string]string{"listen": "ok: DATABASE_URL is a connection pooler"})
	doctor(t, 1, pepper, pooler, "DATABASE_LISTEN_URL="+testkit.DatabaseURL(t)).wants(t, map[string]string{"listen": "failure: DATABASE_LISTEN_URL: is not"})
	doctor(t, 1, pepper, pooler, "DATABASE_LISTEN_URL=postgres://u:hunter2@127.0.0.1:1/x").wants(t, map[string]string{"listen": "failure: DATABASE_LISTEN_URL: "})
	if code, _, stderr := runProgram(t, []string{pepper, pooler, direct}, "migrate"); code != 0 {
		t.Fatal(stderr)
	}
	doctor(t, 0, pepper, pooler).wants(t, map[string]string{"listen": "warning: a connection pooler"})
	execute(t, address, fmt.Sprintf(`ALTER ROLE CURRENT_USER IN DATABASE %s SET statement_timeout = '15s'`, pgx.Identifier{strings.Split(strings.Split(address, "/")[3], "?")[0]}.Sanitize()))
	doctor(t, 0, pepper, "DATABASE_URL="+testkit.NewPgBouncer(t, address), direct).wants(t, map[string]string{"timeouts": "ok: statement_timeout is 15s"})
}

func TestSettings_listen_URL_of_another_database(t *testing.T) {
	env := []string{
		"KEY_PEPPER=" + testPepper, "DATABASE_URL=" + testkit.DatabaseURL(t), "DATABASE_LISTEN_URL=" + testkit.DatabaseURL(t),
		"HTTP_ADDR=127.0.0.1:0", "OPS_ADDR=127.0.0.1:0", "DATA_DIR=" + t.TempDir(),
	}
	const fault = "DATABASE_LISTEN_URL: is not the database of DATABASE_URL"
	if code, _, stderr := runProgram(t, env, "migrate"); code != 1 || !strings.Contains(stderr, fault) {
		t.Errorf("migrate: got exit code %d: %s", code, stderr)
	}
	server := command(t, env, "serve")
	var stderr safeBuffer
	server.Stderr = &stderr
	defer time.AfterFunc(startTimeout, func() { _ = server.Process.Kill() }).Stop()
	if err := server.Run(); err == nil || server.ProcessState.ExitCode() != 1 || !strings.Contains(stderr.String(), fault) {
		t.Errorf("serve: got %v: %s", err, stderr.String())
	}
	doctor(t, 1, env...).wants(t, map[string]string{"listen": "failure: DATABASE_LISTEN_URL: is not"})
}

// Addresses that serve can't listen to, and the programs that use them.
func TestDoctor_addresses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	addr := taken.Addr().String()
	name, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Skip(err)
	}
	want := fmt.Sprintf("failure: %s is in use by %s (pid %d)", addr, strings.TrimSpace(string(name)), os.Getpid())
	doctor(t, 1, "KEY_PEPPER="+testPepper, "HTTP_ADDR="+addr).wants(t, map[string]string{"HTTP_ADDR": want, "OPS_ADDR": "ok"})
	_ = taken.Close()
	doctor(t, 1, "KEY_PEPPER="+testPepper, "HTTP_ADDR="+addr, "OPS_ADDR="+addr).wants(t, map[string]string{"HTTP_ADDR": "ok", "OPS_ADDR": "failure: " + addr + " is the address of another setting"})
}

func TestDoctor_Redis(t *testing.T) {
	env := []string{"KEY_PEPPER=" + testPepper, "DATABASE_URL=" + testkit.DatabaseURL(t)}
	good := testkit.Redis(t, "--appendonly", "yes")
	good.Do("CONFIG", "SET", "requirepass", "hunter2")
	url := strings.Replace(good.URL(), "redis://", "redis://:hunter2@", 1)
	for _, c := range []struct {
		url, want string
	}{
		{url, "ok: Redis 7"},
		{good.URL(), "warning: REDIS_URL: "},
		{strings.Replace(good.URL(), "redis://", "redis://:hunter22@", 1), "warning: REDIS_URL: "},
		{testkit.Redis(t, "--maxmemory-policy", "volatile-lru").URL(), "warning: Redis 7"},
		{"redis://u:hunter2@127.0.0.1:1", "warning: REDIS_URL: "},
	} {
		d := doctor(t, 0, append(env, "REDIS_URL="+c.url)...)
		d.wants(t, map[string]string{"redis": c.want})
	}
	file := "REDIS_URL_FILE=" + writeFile(t, "url", url+"\n")
	doctor(t, 0, append(env, file)...).wants(t, map[string]string{"redis": "ok: Redis 7"})
	doctor(t, 1, append(env, "REDIS_URL=http://:hunter2@cache", "REDIS_TIMEOUT=1ms")...).
		wants(t, map[string]string{"settings": "failure: REDIS_URL: must look like redis://"})
	if got := doctor(t, 0, env...).result("redis"); got != "" {
		t.Errorf("without REDIS_URL: got %s", got)
	}
}

func TestDoctor_mail(t *testing.T) {
	env := []string{"KEY_PEPPER=" + testPepper, "DATABASE_URL=" + testkit.DatabaseURL(t)}
	server := testkit.NewMailServer(t)
	url := "smtp://" + server.Addr() + "?from=shop@example.com"
	for _, c := range []struct{ setting, want string }{
		{"", "warning: SMTP_URL is not set: emails about orders wait"},
		{"RATELIMITER_DEV=true", "ok: dev mode writes emails to /"},
		{"SMTP_URL=" + url, "ok: the mail server at 127.0.0.1:"},
		{"SMTP_URL_FILE=" + writeFile(t, "url", url+"\n"), "ok: the mail server at 127.0.0.1:"},
		{"SMTP_URL=" + strings.Replace(url, "//", "//u:hunter2@", 1), "warning: SMTP_URL: 127.0.0.1:"},
		{"SMTP_URL=smtp://127.0.0.1:1?from=shop@example.com", "warning: SMTP_URL: 127.0.0.1:1: "},
	} {
		doctor(t, 0, append(env, c.setting)...).wants(t, map[string]string{"mail": c.want})
	}
	doctor(t, 1, append(env, "SMTP_URL=smtp://u:hunter2@mail")...).wants(t, map[string]string{"settings": "failure: SMTP_URL: needs the sender's address"})
}
