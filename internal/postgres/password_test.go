package postgres

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func mustPassword(t *testing.T, dataDir string) string {
	t.Helper()
	password, err := readPassword(dataDir)
	if err != nil {
		t.Fatal(err)
	}
	return password
}

func TestEveryWayInAsksForThePassword(t *testing.T) {
	cfg := madeConfig(t)
	s := start(t, cfg)
	right := mustPassword(t, cfg.DataDir)
	// Through a link, as the socket's own path may be longer than a client can say.
	short, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(short) })
	link := filepath.Join(short, "s")
	if err := os.Symlink(s.folder.path, link); err != nil {
		t.Fatal(err)
	}
	socket := fmt.Sprintf("@/%s?host=%s&port=%d", database, url.QueryEscape(link), s.port)
	network := fmt.Sprintf("@%s:%d/%s", loopback, s.port, database)
	for _, user := range []string{role, superuser} {
		for _, at := range []string{socket, network} {
			for _, password := range []string{"", "wrong", right} {
				conn, err := pgx.Connect(t.Context(), "postgres://"+user+":"+password+at)
				if err == nil {
					_ = conn.Close(t.Context())
				}
				refusal := new(pgconn.PgError)
				switch refused := errors.As(err, &refusal) && strings.HasPrefix(refusal.Code, "28"); {
				case password == right && err != nil:
					t.Errorf("%s%s with the password: %v", user, at, err)
				case password == "wrong" && !refused:
					t.Errorf("%s%s with a wrong password: %v", user, at, err)
				case password == "" && err == nil:
					t.Errorf("%s%s without a password gets in", user, at)
				}
			}
		}
	}
}

func TestNoTrustAnywhere(t *testing.T) {
	cfg := testConfig(t)
	s := start(t, cfg)
	rules, err := os.ReadFile(filepath.Join(s.folder.path, "pg_hba.conf"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(rules)) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "#") && !strings.HasSuffix(line, "scram-sha-256") {
			t.Errorf("pg_hba.conf: %s", line)
		}
	}
}

func TestPasswordFileIsForItsOwnerAlone(t *testing.T) {
	cfg := testConfig(t)
	cfg.DataDir = filepath.Join(cfg.DataDir, "made")
	start(t, cfg)
	for path, want := range map[string]os.FileMode{
		cfg.DataDir: 0o700 | os.ModeDir, passwordPath(cfg.DataDir): 0o600, filepath.Join(cfg.DataDir, "owner.lock"): 0o600,
	} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
		}
	}
}

func TestRemovedPasswordIsSetAnew(t *testing.T) {
	cfg := madeConfig(t)
	before := mustPassword(t, cfg.DataDir)
	if err := os.Remove(passwordPath(cfg.DataDir)); err != nil {
		t.Fatal(err)
	}
	exec1(t, start(t, cfg).URL(), "SELECT 1")
	if mustPassword(t, cfg.DataDir) == before {
		t.Error("the password is the old one")
	}
}

// The password becomes a part of a statement when the data folder is made.
func TestPasswordByHandReachesNoStatement(t *testing.T) {
	cfg := testConfig(t)
	if err := os.WriteFile(passwordPath(cfg.DataDir), []byte("x' SUPERUSER PASSWORD 'y"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("error %v, want one that says to remove the file", err)
	}
}

func TestPasswordsThatAreNotTheRightOne(t *testing.T) {
	for name, text := range map[string]string{
		"another's": strings.Repeat("A", 26), "by hand": "secret'; DROP TABLE users", "empty": "",
	} {
		t.Run(name, func(t *testing.T) {
			cfg := madeConfig(t)
			if err := os.WriteFile(passwordPath(cfg.DataDir), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Start(t.Context(), cfg)
			if err == nil || !strings.Contains(err.Error(), passwordPath(cfg.DataDir)) || !strings.Contains(err.Error(), "remove") {
				t.Fatalf("error %v, want one that says to remove the file", err)
			}
			if text != "" && strings.Contains(err.Error(), text) {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}
