package pgbin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// machine is a made-up machine that a Finder looks at.
type machine struct {
	t    *testing.T
	root string
	env  map[string]string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	return &machine{t: t, root: t.TempDir(), env: map[string]string{}}
}

// install puts programs of the given version below the root, and returns their folder.
func (m *machine) install(dir, version string) string {
	m.t.Helper()
	dir = filepath.Join(m.root, dir)
	m.program(dir, "postgres", fmt.Sprintf("echo 'postgres (PostgreSQL) %s'", version))
	m.program(dir, "initdb", "")
	return dir
}

// program writes a shell script.
func (m *machine) program(dir, name, script string) {
	m.t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		m.t.Fatal(err)
	}
}

// finder sees the machine, which has neither a network nor a package manager.
func (m *machine) finder() Finder {
	return Finder{
		Getenv:  func(name string) string { return m.env[name] },
		Root:    m.root,
		Fetch:   func(context.Context, Want) (Install, error) { return Install{}, errors.New("no network") },
		Package: func(context.Context, Want) (Install, error) { return Install{}, errors.New("no packages") },
	}
}

// mustFind finds an installation in the given folder.
func (m *machine) mustFind(f Finder, want Want, dir string) {
	m.t.Helper()
	found, err := f.Find(m.t.Context(), want)
	if err != nil {
		m.t.Fatalf("find: %v", err)
	}
	if found.Dir != dir {
		m.t.Errorf("found %s, want %s", found.Dir, dir)
	}
}

func TestFindFollowsTheOrder(t *testing.T) {
	m := newMachine(t)
	f := m.finder()
	m.env["PATH"] = filepath.Join(m.root, "path")

	// From the last way to the first: each goes before those that are there already.
	packaged := m.install("packaged", "15.4")
	f.Package = func(ctx context.Context, want Want) (Install, error) { return inspect(ctx, packaged, want) }
	m.mustFind(f, Want{}, packaged)

	fetched := m.install("fetched", "18.3")
	f.Fetch = func(ctx context.Context, want Want) (Install, error) { return inspect(ctx, fetched, want) }
	m.mustFind(f, Want{}, fetched)

	m.mustFind(f, Want{}, m.install("usr/lib/postgresql/9.6/bin", "14.1")) // by what it is, not what it is called
	m.mustFind(f, Want{}, m.install("opt/homebrew/opt/postgresql@16/bin", "16.4 (Homebrew)"))
	m.mustFind(f, Want{}, m.install("usr/lib/postgresql/17/bin", "17beta1"))

	configured := m.install("configured", "14.0")
	m.program(filepath.Join(m.root, "path"), "pg_config", "echo "+configured)
	m.mustFind(f, Want{}, configured)

	named := m.install("named", "15.0")
	m.env["PG_BINDIR"] = named
	m.mustFind(f, Want{}, named)
}

func TestFindOnThePath(t *testing.T) {
	m := newMachine(t)
	m.env["PATH"] = strings.Join([]string{"relative", filepath.Join(m.root, "empty"), filepath.Join(m.root, "path")}, ":")
	m.mustFind(m.finder(), Want{}, m.install("path", "16.1"))
}

func TestFindWantsTheMajorOfTheData(t *testing.T) {
	m := newMachine(t)
	m.install("usr/lib/postgresql/17/bin", "17.2")
	older := m.install("usr/lib/postgresql/15/bin", "15.8")
	m.mustFind(m.finder(), Want{Major: 15}, older)

	_, err := m.finder().Find(t.Context(), Want{Major: 16})
	if _, ok := errors.AsType[*NotFoundError](err); !ok {
		t.Fatalf("error %v, want a *NotFoundError", err)
	}
	for _, part := range []string{"Postgres 16", "DATA_DIR", "PG_BINDIR", "postgresql-16"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not name %s:\n%v", part, err)
		}
	}
}

func TestPgBindirThatWillNotDoIsAnError(t *testing.T) {
	m := newMachine(t)
	m.install("usr/lib/postgresql/17/bin", "17.2")
	for name, dir := range map[string]string{
		"missing": filepath.Join(m.root, "nowhere"),
		"too old": m.install("old", "13.5"),
	} {
		m.env["PG_BINDIR"] = dir
		_, err := m.finder().Find(t.Context(), Want{})
		if err == nil || !strings.Contains(err.Error(), "PG_BINDIR") || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: error %v, want one that names PG_BINDIR and %s", name, err, dir)
		}
	}
}

func TestNothingFoundNamesEveryWay(t *testing.T) {
	m := newMachine(t)
	tooOld := m.install("usr/lib/postgresql/13/bin", "13.5")
	m.program(filepath.Join(m.root, "usr/lib/postgresql/15/bin"), "postgres", "exit 3") // without initdb
	_, err := m.finder().Find(t.Context(), Want{})
	if _, ok := errors.AsType[*NotFoundError](err); !ok {
		t.Fatalf("error %v, want a *NotFoundError", err)
	}
	for _, part := range []string{
		"DATABASE_URL", "PG_BINDIR", "pg_config", "apt-get install", "dnf install", "brew install",
		"no network", "no packages", "as root", tooOld + " has Postgres 13", "15/bin has no initdb",
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q:\n%v", part, err)
		}
	}
}

func TestFindEndsWithItsContext(t *testing.T) {
	m := newMachine(t)
	ctx, cancel := context.WithCancel(t.Context())
	f := m.finder()
	f.Fetch = func(context.Context, Want) (Install, error) {
		cancel()
		return Install{}, errors.New("interrupted")
	}
	f.Package = func(context.Context, Want) (Install, error) {
		t.Error("a package is installed for nobody")
		return Install{}, nil
	}
	if _, err := f.Find(ctx, Want{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

func TestProgramsThatTheAccountCannotReach(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root runs Postgres as somebody else")
	}
	m := newMachine(t) // its root is a temporary folder of mode 0700
	dir := m.install("usr/lib/postgresql/17/bin", "17.2")
	_, err := m.finder().Find(t.Context(), Want{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}})
	if err == nil || !strings.Contains(err.Error(), dir+" can't be executed by user id 65534") {
		t.Errorf("error %v, want one that says who can't execute %s", err, dir)
	}
}
