// Package devdb is the private Postgres that runs when no DATABASE_URL is given.
package devdb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/postgres"
)

type (
	// Config describes a private Postgres.
	Config = postgres.Config
	// Server is a running private Postgres.
	Server = postgres.Server
)

// Start starts one; OwnOrAttach attaches to a running one.
var (
	Start       = postgres.Start
	OwnOrAttach = postgres.OwnOrAttach
)

// Supervisor restarts.
type Supervisor struct {
	cfg    Config
	server *Server
	target atomic.Pointer[pgx.ConnConfig]
	cancel context.CancelFunc
	ended  sync.WaitGroup
}

// NewSupervisor returns.
func NewSupervisor(cfg Config) *Supervisor { return &Supervisor{cfg: cfg} }

// Name returns.
func (s *Supervisor) Name() string { return "private Postgres" }

func (s *Supervisor) start(ctx context.Context) error {
	server, err := Start(ctx, s.cfg)
	if err != nil {
		return err
	}
	target, err := pgx.ParseConfig(server.URL())
	if err != nil {
		return err
	}
	s.server = server
	s.target.Store(target)
	return nil
}

// Start starts.
func (s *Supervisor) Start(ctx context.Context) error {
	if err := s.start(ctx); err != nil {
		return err
	}
	ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.ended.Go(func() { s.supervise(ctx) })
	return nil
}

func (s *Supervisor) supervise(ctx context.Context) {
	for {
		select {
		case <-s.server.Done():
		case <-ctx.Done():
			return
		}
		s.cfg.Log.Error("the private Postgres ended; starting it again", "error", s.server.Err())
		_ = s.stop(ctx)
		for s.server == nil {
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
				return
			}
			if err := s.start(ctx); err != nil {
				s.cfg.Log.Error("the private Postgres does not start", "error", err)
			}
		}
	}
}

func (s *Supervisor) stop(ctx context.Context) error {
	if s.server == nil {
		return nil
	}
	err := s.server.Stop(ctx)
	s.server = nil
	if err != nil {
		return fmt.Errorf("stop the private Postgres: %w", err)
	}
	return nil
}

// Stop stops.
func (s *Supervisor) Stop(ctx context.Context) error {
	s.cancel()
	s.ended.Wait()
	return s.stop(ctx)
}

// BeforeConnect fills in.
func (s *Supervisor) BeforeConnect(_ context.Context, conn *pgx.ConnConfig) error {
	now := s.target.Load()
	if now == nil {
		return errors.New("the private Postgres is not running")
	}
	conn.Host, conn.Port, conn.User, conn.Password, conn.Database = now.Host, now.Port, now.User, now.Password, now.Database
	return nil
}
