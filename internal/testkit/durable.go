package testkit

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/devdb"
	"ratelimiter/internal/postgres"
)

// DurableCluster is a migrated Postgres on disk, with fsync and
// synchronous_commit on, for proofs that kill it. Its address changes with each
// start; AddressFile always has the current one.
type DurableCluster struct {
	AddressFile string
	folder      string
	server      *devdb.Server
}

// NewDurableCluster starts a cluster that is stopped at the end of the test.
func NewDurableCluster(t testing.TB) *DurableCluster {
	t.Helper()
	c := &DurableCluster{folder: t.TempDir()}
	c.AddressFile = filepath.Join(c.folder, "url")
	if err := c.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.server.Stop(context.Background()) })
	if err := migrate(t.Context(), c.server.URL()); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *DurableCluster) start() error {
	server, err := devdb.Start(context.Background(), devdb.Config{DataDir: filepath.Join(c.folder, "data"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	c.server = server
	if err := os.WriteFile(c.AddressFile+".new", []byte(server.URL()), 0o600); err != nil {
		return err
	}
	return os.Rename(c.AddressFile+".new", c.AddressFile)
}

// Kill kills Postgres with SIGKILL and starts it again.
func (c *DurableCluster) Kill() error {
	files, err := filepath.Glob(filepath.Join(c.folder, "data", "postgres-*", "postmaster.pid"))
	if err != nil || len(files) != 1 {
		return errors.New("no single postmaster.pid")
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.Fields(string(text))[0])
	if err != nil {
		return err
	}
	_ = syscall.Kill(-pid, syscall.SIGKILL)
	<-c.server.Done()
	_ = c.server.Stop(context.Background()) // it says how Postgres ended
	return c.start()
}

// OpenAddressFile returns a pool on the cluster whose address is in a file, now
// and after a restart. The caller closes it.
func OpenAddressFile(path string) (*pgxpool.Pool, error) {
	return postgres.NewPool("postgres://?sslmode=disable", postgres.WithBeforeConnect(func(_ context.Context, cfg *pgx.ConnConfig) error {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		now, err := pgx.ParseConfig(string(text))
		if err == nil {
			cfg.Host, cfg.Port, cfg.User, cfg.Password, cfg.Database = now.Host, now.Port, now.User, now.Password, now.Database
		}
		return err
	}))
}
