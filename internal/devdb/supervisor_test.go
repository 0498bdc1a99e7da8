package devdb

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
)

// newPool returns a pool that follows the supervisor.
func newPool(t *testing.T, s *Supervisor) *pgxpool.Pool {
	t.Helper()
	pool, err := postgres.NewPool("postgres://nobody@192.0.2.1/none?sslmode=prefer", postgres.WithBeforeConnect(s.BeforeConnect))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// awaitQuery waits until the pool has a connection to Postgres again. Until then every error is
// one for which a client retries.
func awaitQuery(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	err := poll(t.Context(), func() (bool, error) {
		_, err := pool.Exec(t.Context(), "SELECT 1")
		if err != nil && !postgres.IsUnavailable(err) {
			return false, err
		}
		return err == nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSupervisor_BeforeConnect(t *testing.T) {
	s := NewSupervisor(dataConfig(t))
	pool := newPool(t, s) // before Postgres runs
	if err := pool.Ping(t.Context()); !errors.Is(err, postgres.ErrUnavailable) || !postgres.IsUnavailable(err) {
		t.Errorf("before Start: %v, want ErrUnavailable", err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := postgres.Check(t.Context(), pool); err != nil {
		t.Errorf("after Start: %v", err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("stop: %v", err)
	}
	pool.Reset()
	if err := pool.Ping(t.Context()); !errors.Is(err, postgres.ErrUnavailable) {
		t.Errorf("after Stop: %v, want ErrUnavailable", err)
	}
}

func TestSupervisor_RestartsPostgres(t *testing.T) {
	cfg := dataConfig(t)
	s := NewSupervisor(cfg)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Stop(context.Background()) }()
	pool := newPool(t, s)
	if _, err := pool.Exec(t.Context(), "CREATE TABLE kept AS SELECT 1"); err != nil {
		t.Fatal(err)
	}
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGINT} {
		died := s.running.Load()
		// A new password is found, too.
		if err := errors.Join(os.Remove(passwordPath(cfg.DataDir)), died.child.Process.Signal(signal)); err != nil {
			t.Fatal(err)
		}
		<-died.Done()
		awaitQuery(t, pool)
		if restarted := s.running.Load(); restarted == nil || restarted.password == died.password {
			t.Errorf("Postgres wasn't restarted with a new password after %v", signal)
		}
	}
	if _, err := pool.Exec(t.Context(), "SELECT * FROM kept"); err != nil {
		t.Error(err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("stop: %v", err)
	}
	mustStart(t, cfg) // DATA_DIR is free
}

func TestSupervisor_Stop(t *testing.T) {
	t.Run("before_start", func(t *testing.T) {
		if err := NewSupervisor(emptyConfig(t)).Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("after_failed_start", func(t *testing.T) {
		cfg := dataConfig(t)
		mustStart(t, cfg)
		s := NewSupervisor(cfg)
		if err := s.Start(t.Context()); err == nil {
			t.Error("two owners of one DATA_DIR")
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("while_postgres_does_not_start", func(t *testing.T) {
		cfg := dataConfig(t)
		s := NewSupervisor(cfg)
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		died := s.running.Load()
		t.Setenv("PG_BINDIR", t.TempDir())
		_ = died.child.Process.Kill()
		err := poll(t.Context(), func() (bool, error) { return s.running.Load() == nil, nil })
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
}
