package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
)

// stopTimeout bounds the end of the private Postgres; after it, it is killed.
const stopTimeout = 15 * time.Second

// Bounds of the pause before a Postgres that has died is started again: the
// first try is nearly at once, and one that can't work isn't tried all the time.
const (
	minRestartPause = 100 * time.Millisecond
	maxRestartPause = 10 * time.Second
)

// privatePostgres is the Postgres that runs when no DATABASE_URL is given. One
// that dies is started again, and the pool finds it where it listens then.
type privatePostgres struct {
	cfg    postgres.Config
	server *postgres.Server // nil while there is none; supervise's until it has ended
	target atomic.Pointer[pgx.ConnConfig]
}

// startPrivate provides a private Postgres by get: postgres.Start to own it,
// postgres.OwnOrAttach to use it briefly.
func startPrivate(ctx context.Context, cfg postgres.Config,
	get func(context.Context, postgres.Config) (*postgres.Server, error),
) (*privatePostgres, error) {
	p := &privatePostgres{cfg: cfg}
	return p, p.start(ctx, get)
}

func (p *privatePostgres) start(ctx context.Context, get func(context.Context, postgres.Config) (*postgres.Server, error)) error {
	server, err := get(ctx, p.cfg)
	if err != nil {
		return err
	}
	target, err := pgx.ParseConfig(server.URL())
	if err != nil {
		return err
	}
	p.server = server
	p.target.Store(target)
	return nil
}

// follow makes a pool connect to where the Postgres listens now.
func (p *privatePostgres) follow(pool *pgxpool.Config) {
	pool.BeforeConnect = func(_ context.Context, conn *pgx.ConnConfig) error {
		now := p.target.Load()
		conn.Host, conn.Port, conn.Password = now.Host, now.Port, now.Password
		return nil
	}
}

// supervise starts the Postgres again whenever it ends by itself, until ctx
// ends. Meanwhile keys that are cached are served.
func (p *privatePostgres) supervise(ctx context.Context) {
	for {
		select {
		case <-p.server.Done():
		case <-ctx.Done():
			return
		}
		p.cfg.Log.Error("the private Postgres ended; starting it again", "error", p.server.Err())
		_ = p.stop() // what went wrong is told above; it gives the folder up, so that the next one can own it
		for pause := minRestartPause; p.server == nil; pause = min(2*pause, maxRestartPause) {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return
			}
			if err := p.start(ctx, postgres.Start); err != nil {
				p.cfg.Log.Error("the private Postgres does not start", "error", err)
			}
		}
		p.cfg.Log.Info("the private Postgres runs again")
	}
}

// stop ends the Postgres, if there is one that is ours, and returns why it did
// not end well.
func (p *privatePostgres) stop() error {
	if p.server == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	err := p.server.Stop(ctx)
	p.server = nil
	if err != nil {
		return fmt.Errorf("stop the private Postgres: %w", err)
	}
	return nil
}
