package app

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"ratelimiter/ratelimit/memory"
)

// savedCounters is a component that keeps the counters of a memory store over an
// orderly restart, in a file in DATA_DIR. A crash loses them: a start removes the
// file before it reads it, so that a later one never reads an older state.
type savedCounters struct {
	store *memory.Store
	path  string
	log   *slog.Logger
	now   func() time.Time // the limiter's clock
}

// Name returns "counters".
func (*savedCounters) Name() string { return "counters" }

// Start reads the counters. Without a usable file they begin fresh.
func (c *savedCounters) Start(context.Context) error {
	file, err := os.Open(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		c.log.Warn("counters not restored", "file", c.path, "error", err.Error())
		return nil
	}
	subjects := 0
	if err = os.Remove(c.path); err == nil {
		subjects, err = c.store.Load(file, c.now().UnixNano())
	}
	if err = errors.Join(err, file.Close()); err != nil {
		c.log.Warn("counters not restored", "file", c.path, "error", err.Error())
		return nil
	}
	c.log.Info("counters restored", "subjects", subjects)
	return nil
}

// Stop writes the counters. It must be called after the last take. A folder that
// can't be written is no failure of the shutdown.
func (c *savedCounters) Stop(context.Context) error {
	if err := c.save(); err != nil {
		c.log.Warn("counters not saved", "file", c.path, "error", err.Error())
	}
	return nil
}

func (c *savedCounters) save() error {
	if err := os.MkdirAll(filepath.Dir(c.path), 0o700); err != nil {
		return err
	}
	// Always the same name, so that interrupted stops don't fill the disk.
	file, err := os.OpenFile(c.path+".unfinished", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(c.store.Save(file, c.now().UnixNano()), file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), c.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}
