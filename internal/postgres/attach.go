package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// attachWait is how long an owner that starts may take until its Postgres can be attached to.
const attachWait = 2 * time.Minute

// OwnOrAttach gives a short command its database: that of the server which runs on this DATA_DIR
// now, or, with nothing running, one that this process starts and owns until Stop. Either way the
// caller must Stop what it gets, which leaves another process's Postgres alone.
func OwnOrAttach(ctx context.Context, cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	cfg.Brief = true
	waiting, cancel := context.WithTimeout(ctx, attachWait)
	defer cancel()
	for {
		s, err := Start(ctx, cfg)
		refused := new(OwnedError)
		if !errors.As(err, &refused) {
			return s, err
		}
		if refused.port != 0 && !refused.brief {
			password, passwordErr := readPassword(cfg.DataDir)
			if passwordErr != nil {
				return nil, passwordErr
			}
			if s, err = attach(waiting, refused.port, password); err == nil {
				return s, nil
			}
		}
		// The owner starts or stops just now.
		if waitErr := pause(waiting, lockPoll); waitErr != nil {
			return nil, fmt.Errorf("%w: its Postgres can't be used either: %w", refused, err)
		}
	}
}

// attach connects to an owner's Postgres once, to see that it answers.
func attach(ctx context.Context, port int, password string) (*Server, error) {
	s := &Server{url: connectionURL(port, password), port: port, done: make(chan struct{})}
	conn, err := pgconn.Connect(ctx, s.url)
	if err != nil {
		return nil, err
	}
	return s, conn.Close(ctx)
}
