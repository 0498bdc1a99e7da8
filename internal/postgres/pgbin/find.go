package pgbin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// usualFolders are where packages put the server's programs, as patterns below the root folder.
var usualFolders = []string{
	"/usr/lib/postgresql/*/bin",                               // Debian, Ubuntu
	"/usr/pgsql-*/bin",                                        // RPMs of the Postgres project
	"/opt/homebrew/opt/postgresql@*/bin",                      // Homebrew on Apple silicon
	"/opt/homebrew/opt/postgresql/bin",                        //
	"/usr/local/opt/postgresql@*/bin",                         // Homebrew on Intel
	"/usr/local/opt/postgresql/bin",                           //
	"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",         // Homebrew on Linux
	"/Applications/Postgres.app/Contents/Versions/[0-9]*/bin", // Postgres.app
	"/usr/libexec/postgresql*",                                // Alpine
	"/usr/lib/postgresql*/bin",                                // openSUSE
	"/usr/local/pgsql/bin",                                    // built from source
	"/usr/local/bin",                                          // FreeBSD, container images
	"/usr/bin",                                                // Fedora, RHEL, Arch
}

// Finder looks for an installation and gets one where there is none. Its fields are what it sees
// of the machine, so that tests can show it another one.
type Finder struct {
	// Getenv reads PG_BINDIR and PATH.
	Getenv func(string) string
	// Root is put before the usual install folders; "" on a real machine.
	Root string
	// Fetch downloads a build.
	Fetch func(context.Context, Want) (Install, error)
	// Package installs the distribution's package.
	Package func(context.Context, Want) (Install, error)
}

// System is the finder of the machine that this runs on.
func System() Finder {
	return Finder{Getenv: os.Getenv, Fetch: fetchBuild, Package: installPackage}
}

// Find returns the first installation that will do, in the order: PG_BINDIR, pg_config, the usual
// install folders (highest major version first), a cached or downloaded build, the distribution's
// package. A PG_BINDIR that will not do is an error at once, as it was asked for by name. With
// nothing found the error is a *NotFoundError.
func (f Finder) Find(ctx context.Context, want Want) (Install, error) {
	if dir := f.Getenv("PG_BINDIR"); dir != "" {
		install, err := inspect(ctx, dir, want)
		if err != nil {
			return Install{}, fmt.Errorf("PG_BINDIR: %w; set it to a folder with postgres and initdb of %s, or unset it",
				err, want.version())
		}
		return install, nil
	}
	missing := &NotFoundError{Want: want}
	ways := []struct {
		find func(context.Context, Want) (Install, error)
		why  *error
	}{
		{f.byPgConfig, &missing.PgConfig},
		{f.byFolder, &missing.Folders},
		{f.Fetch, &missing.Fetch},
		{f.Package, &missing.Package},
	}
	for _, way := range ways {
		install, err := way.find(ctx, want)
		if err == nil {
			return install, nil
		}
		if ctx.Err() != nil {
			return Install{}, fmt.Errorf("looking for Postgres: %w", ctx.Err())
		}
		*way.why = err
	}
	return Install{}, missing
}

// byPgConfig asks the pg_config on the PATH. Debian has one without a server beside it, so that
// what it names is inspected like any other folder.
func (f Finder) byPgConfig(ctx context.Context, want Want) (Install, error) {
	program := f.onPath("pg_config")
	if program == "" {
		return Install{}, errors.New("pg_config is not on the PATH")
	}
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "--bindir").Output()
	if err != nil {
		return Install{}, fmt.Errorf("%s --bindir: %w", program, err)
	}
	return inspect(ctx, strings.TrimSpace(string(out)), want)
}

// byFolder looks through the usual install folders and the PATH.
func (f Finder) byFolder(ctx context.Context, want Want) (Install, error) {
	var dirs []string
	for _, pattern := range usualFolders {
		found, err := filepath.Glob(f.Root + pattern)
		if err != nil {
			return Install{}, fmt.Errorf("pattern %s: %w", pattern, err)
		}
		for _, dir := range found {
			if _, err := os.Stat(filepath.Join(dir, "postgres")); err == nil {
				dirs = append(dirs, dir)
			}
		}
	}
	if program := f.onPath("postgres"); program != "" {
		dirs = append(dirs, filepath.Dir(program))
	}
	return best(ctx, dirs, want)
}

// onPath is the path of an executable in the finder's PATH, "" without one.
func (f Finder) onPath(name string) string {
	for _, dir := range filepath.SplitList(f.Getenv("PATH")) {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 && filepath.IsAbs(path) {
			return path
		}
	}
	return ""
}
