package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"ratelimiter/internal/postgres/pgbin"
)

// unfinished marks data folders that initdb has not finished.
const unfinished = ".unfinished-"

// cluster is what it takes to run programs on one data folder.
type cluster struct {
	cfg     Config
	install pgbin.Install
	account *account
	// freePort chooses a port for the server.
	freePort func(context.Context) (int, error)
}

// dropped tells whether Postgres runs as another user than this process.
func (c cluster) dropped() bool { return c.account != nil }

// create makes the data folder with its role and database, and opens it. It works under a
// temporary name, so that a folder of the final name is always whole; what an interrupted try left
// is removed.
func (c cluster) create(ctx context.Context, password string) (*folder, error) {
	final := folderPath(c.cfg.DataDir, c.install.Major)
	old, err := filepath.Glob(globQuote(final) + unfinished + "*")
	if err != nil {
		return nil, err
	}
	for _, path := range old {
		if err := os.RemoveAll(path); err != nil {
			return nil, fmt.Errorf("remove an unfinished data folder: %w", err)
		}
	}
	temporary, err := os.MkdirTemp(c.cfg.DataDir, filepath.Base(final)+unfinished)
	if err != nil {
		return nil, fmt.Errorf("make the data folder: %w%s", err, adviceFor(err.Error()))
	}
	f, err := c.fill(ctx, temporary, final, password)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(temporary))
	}
	return f, nil
}

// fill runs initdb in the temporary folder, makes role and database, and gives it its name.
func (c cluster) fill(ctx context.Context, temporary, final, password string) (*folder, error) {
	f, err := openFolder(ctx, temporary, func(int) {})
	if err != nil {
		return nil, err
	}
	err = c.account.own(f.file)
	if err == nil {
		err = c.initdb(ctx, f, password)
	}
	if err == nil {
		err = c.bootstrap(ctx, f, c.roleAndDatabase(password))
	}
	if err == nil {
		err = os.Rename(temporary, final)
	}
	if err != nil {
		return nil, errors.Join(err, f.close())
	}
	f.path = final
	return f, nil
}

// initdb makes an empty cluster: every way in asks for the password.
func (c cluster) initdb(ctx context.Context, f *folder, password string) error {
	secret, err := c.pipe(password + "\n")
	if err != nil {
		return err
	}
	defer func() { _ = secret.Close() }()
	args := []string{
		"--pgdata=" + folderArgument(f.path, 3, c.dropped()), "--pwfile=/dev/fd/4",
		"--username=" + superuser, "--auth=scram-sha-256", "--encoding=UTF8", "--no-instructions",
	}
	args = append(args, localeArguments(c.install.Major)...)
	if !c.cfg.durable() {
		args = append(args, "--no-sync")
	}
	return c.run(ctx, command{
		program: c.install.Program("initdb"), args: args, files: []*os.File{f.file, secret},
	})
}

// localeArguments give the same order of text on every machine (by code point), and letters of
// every language where the machine knows them.
func localeArguments(major int) []string {
	const builtin = 17 // the first version with a UTF-8 locale of its own
	switch {
	case major >= builtin:
		return []string{"--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"}
	case runtime.GOOS == "linux":
		return []string{"--locale=C", "--lc-ctype=C.UTF-8"}
	default:
		return []string{"--locale=C"}
	}
}

// pipe is a pipe that already holds a short text and can be read by the account through /dev/fd.
func (c cluster) pipe(text string) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	_, err = w.WriteString(text)
	if err = errors.Join(err, w.Close(), c.account.own(r)); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// roleAndDatabase are the statements that make the product's role and its database.
func (c cluster) roleAndDatabase(password string) []string {
	rights := "LOGIN"
	if c.cfg.CreateDB {
		rights += " CREATEDB"
	}
	return []string{
		fmt.Sprintf("CREATE ROLE %s %s PASSWORD '%s'", role, rights, password),
		fmt.Sprintf("CREATE DATABASE %s OWNER %s", database, role),
	}
}

// bootstrap runs statements on a stopped cluster in single-user mode, which asks for no password
// and opens no port.
func (c cluster) bootstrap(ctx context.Context, f *folder, statements []string) error {
	args := []string{"--single", "-D", folderArgument(f.path, 3, c.dropped()), "-c", "exit_on_error=true"}
	if !c.cfg.durable() {
		args = append(args, "-c", "fsync=off")
	}
	return c.run(ctx, command{
		program: c.install.Program("postgres"), args: append(args, "postgres"), files: []*os.File{f.file},
		stdin: strings.NewReader(strings.Join(statements, "\n") + "\n"),
	})
}

// run runs a command to its end; what it printed is in the error.
func (c cluster) run(ctx context.Context, cmd command) error {
	var output capture
	cmd.account, cmd.output, cmd.orphaned = c.account, &output, syscall.SIGKILL
	p, err := cmd.start()
	if err != nil {
		return err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		p.kill()
		<-p.done
		return fmt.Errorf("%s: %w", filepath.Base(cmd.program), ctx.Err())
	}
	if p.err != nil {
		text := strings.TrimSpace(output.buf.String())
		return fmt.Errorf("%s failed: %w%s\n%s", filepath.Base(cmd.program), p.err, adviceFor(text), text)
	}
	return nil
}
