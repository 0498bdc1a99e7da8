package devdb

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/postgres"
)

// The pause before a restart doubles, so that a Postgres that can't start isn't tried all the time.
const minRestartPause, maxRestartPause = 100 * time.Millisecond, 10 * time.Second

// Supervisor runs a private Postgres and restarts it when it dies. Connection pools follow it by
// BeforeConnect, which is safe for concurrent use.
type Supervisor struct {
	cfg     Config
	running atomic.Pointer[Server] // nil while Postgres doesn't run
	cancel  context.CancelFunc     // ends supervise
	ended   sync.WaitGroup         // of supervise
}

// NewSupervisor returns a supervisor that hasn't started Postgres. It does no I/O.
func NewSupervisor(cfg Config) *Supervisor {
	return &Supervisor{cfg: cfg, cancel: func() {}}
}

// Name returns the component's name.
func (s *Supervisor) Name() string { return "private Postgres" }

// Start starts Postgres and supervises it until Stop. ctx bounds the start only.
func (s *Supervisor) Start(ctx context.Context) error {
	server, err := Start(ctx, s.cfg)
	if err != nil {
		return err
	}
	s.running.Store(server)
	ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.ended.Go(func() { s.supervise(ctx) })
	return nil
}

// Stop ends the supervision and then Postgres. When ctx ends first, Postgres is killed.
func (s *Supervisor) Stop(ctx context.Context) error {
	s.cancel()
	s.ended.Wait()
	if server := s.running.Swap(nil); server != nil {
		return server.Stop(ctx)
	}
	return nil
}

// BeforeConnect sets the address and the account of the running Postgres, for pgxpool.Config. While
// Postgres doesn't run, the error is postgres.ErrUnavailable.
func (s *Supervisor) BeforeConnect(_ context.Context, conn *pgx.ConnConfig) error {
	server := s.running.Load()
	if server == nil {
		return fmt.Errorf("%w: the private Postgres isn't running", postgres.ErrUnavailable)
	}
	conn.Host, conn.Port, conn.Database, conn.User, conn.Password = loopback, server.port, database, role, server.password
	conn.TLSConfig, conn.Fallbacks = nil, nil // of the pool's own URL
	return nil
}

// supervise restarts Postgres whenever it dies, until ctx ends.
func (s *Supervisor) supervise(ctx context.Context) {
	for server := s.running.Load(); ; {
		select {
		case <-server.Done():
		case <-ctx.Done():
			return
		}
		s.running.Store(nil)
		s.cfg.Log.Error("the private Postgres ended, restarting it", "error", server.Stop(ctx))
		for pause := minRestartPause; s.running.Load() == nil; pause = min(2*pause, maxRestartPause) {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return
			}
			restarted, err := Start(ctx, s.cfg)
			if err != nil {
				s.cfg.Log.Error("the private Postgres doesn't start", "error", err)
				continue
			}
			server = restarted
			s.running.Store(server)
			s.cfg.Log.Info("the private Postgres runs again")
		}
	}
}
