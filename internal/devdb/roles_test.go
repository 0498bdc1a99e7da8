package devdb

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func TestServer_RoleIsNoSuperuser(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), mustStart(t, dataConfig(t)).URL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	for _, statement := range []string{"COPY (SELECT 1) TO PROGRAM 'true'", "CREATE DATABASE another"} {
		_, err = conn.Exec(t.Context(), statement)
		if refusal, ok := errors.AsType[*pgconn.PgError](err); !ok || refusal.Code != "42501" {
			t.Errorf("%s: %v, want insufficient_privilege", statement, err)
		}
	}
}

func TestConfig_CreateDB(t *testing.T) {
	cfg := emptyConfig(t)
	cfg.CreateDB = true
	mustExec(t, mustStart(t, cfg).URL(), "CREATE DATABASE another")
}

func TestServer_AsksForPassword(t *testing.T) {
	s := mustStart(t, dataConfig(t))
	// Through a link, because a socket's path may be too long for a client.
	short, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(short) })
	link := filepath.Join(short, "s")
	if err := os.Symlink(s.path, link); err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(int(s.port))
	addresses := []string{
		"@/" + database + "?host=" + url.QueryEscape(link) + "&port=" + port,
		"@" + loopback + ":" + port + "/" + database,
	}
	for _, user := range []string{role, superuser} {
		for _, address := range addresses {
			for _, password := range []string{"", "wrong", s.password} {
				conn, err := pgx.Connect(t.Context(), "postgres://"+user+":"+password+address)
				if err == nil {
					_ = conn.Close(t.Context())
				}
				if (err == nil) != (password == s.password) {
					t.Errorf("%s%s with the password %q: %v", user, address, password, err)
				}
			}
		}
	}
	rules, err := os.ReadFile(filepath.Join(s.path, "pg_hba.conf"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(rules)) {
		if !strings.HasSuffix(line, " scram-sha-256\n") {
			t.Errorf("pg_hba.conf: %s", line)
		}
	}
}
