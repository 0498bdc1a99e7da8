// Package devdb runs the private Postgres that is used when no DATABASE_URL is given: a child
// process with its data in DATA_DIR. It finds or gets the programs, creates the data, starts, stops
// and restarts the server. docs/private-postgres.md describes the design.
package devdb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"time"
)

// Config configures a private Postgres.
type Config struct {
	// DataDir is the DATA_DIR: the data, the password and the owner's lock. It is created if
	// missing, readable by the current user only.
	DataDir string
	// Log is required.
	Log *slog.Logger
	// Terminal shows what takes long in a line that changes in place; nil: the log has lines of it.
	Terminal io.Writer
	// Settings are additional server settings. They override the built-in ones.
	Settings map[string]string
	// CreateDB lets the role of a new data folder create databases, as tests need.
	CreateDB bool
}

func (cfg *Config) console() console { return console{log: cfg.Log, terminal: cfg.Terminal} }

// Start claims DATA_DIR, finds or gets the programs of Postgres, creates the data folder if there is
// none, and runs Postgres until it accepts connections. Errors name a way out. The error is an
// *OwnedError if another process owns DATA_DIR. The caller must Stop the server.
func Start(ctx context.Context, cfg Config) (*Server, error) { return start(ctx, cfg, false) }

// OwnOrAttach provides the database of a short command: that of the server that runs on this
// DATA_DIR, otherwise one that this process starts. The caller must Stop what it gets, which
// doesn't affect the Postgres of another process.
func OwnOrAttach(ctx context.Context, cfg Config) (*Server, error) { return start(ctx, cfg, true) }

// start is Start, or OwnOrAttach for a short-lived owner.
func start(ctx context.Context, cfg Config, shortLived bool) (s *Server, err error) {
	if cfg.DataDir, err = filepath.Abs(cfg.DataDir); err != nil {
		return nil, err
	}
	s = &Server{cfg: cfg, shortLived: shortLived, done: make(chan struct{})}
	if err := s.ownOrAttach(ctx); err != nil {
		return nil, withAdvice(err)
	}
	if s.attached {
		return s, nil
	}
	f := newFinder(cfg.console(), presentMajor(cfg.DataDir))
	if f.account, err = chooseAccount(folderPath(cfg.DataDir, f.major)); err == nil {
		s.bin, s.major, err = f.find(ctx)
	}
	if err == nil {
		s.account, s.path = f.account, folderPath(cfg.DataDir, s.major)
		err = withAdvice(s.serve(ctx, f.major > 0))
	}
	if err != nil {
		return nil, errors.Join(err, s.release())
	}
	return s, nil
}

// advice maps the words of the system and of Postgres for a fault to the way out.
var advice = map[string]string{
	"no space left on device":         "the disk is full: free some space, or set DATA_DIR to a folder on another disk",
	"read-only file system":           "the disk is read-only: set DATA_DIR to a folder on a writable disk",
	"permission denied":               "this user may not use the folder: run as its owner, or set DATA_DIR to another folder",
	`"postmaster.pid" already exists`: "a Postgres that was started by hand uses the data folder: stop it first",
}

// withAdvice adds the way out to an error if there is one.
func withAdvice(err error) error {
	for fault, wayOut := range advice {
		if err != nil && strings.Contains(strings.ToLower(err.Error()), fault) {
			return fmt.Errorf("%w\n%s", err, wayOut)
		}
	}
	return err
}

// poll calls try every 10 ms until it reports success or fails, or ctx ends.
func poll(ctx context.Context, try func() (bool, error)) error {
	for {
		if done, err := try(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}
