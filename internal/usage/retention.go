package usage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// How often partitions are looked after: they are made a span ahead, so that an
// hour is early; after a failure sooner, for the schema may be in the making.
const (
	retentionInterval = time.Hour
	retentionRetry    = 10 * time.Second
	retentionTimeout  = time.Minute
)

// keepPartitions makes the partitions that are needed next and drops those
// whose rows have had their life, until Close. What is kept for how long stands
// in the table partitioned_tables.
func (s *Service) keepPartitions() {
	for {
		next := retentionInterval
		if err := s.Retain(s.ctx, time.Now()); err != nil && s.ctx.Err() == nil {
			next = retentionRetry
			if !isSQLState(err, undefinedFunction) { // else the schema is being made, and with it the partitions
				s.log.Warn("usage: partitions could not be looked after; trying again", "error", err.Error())
			}
		}
		timer := time.NewTimer(next)
		select {
		case <-timer.C:
		case <-s.ctx.Done():
			timer.Stop()
			return
		}
	}
}

// Retain makes and drops partitions as of now. Errors: Postgres's.
func (s *Service) Retain(ctx context.Context, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, retentionTimeout)
	defer cancel()
	rows, err := s.db.Query(ctx, `SELECT keep_partitions($1)`, now)
	if err != nil {
		return fmt.Errorf("keep partitions: %w", err)
	}
	dropped, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("keep partitions: %w", err)
	}
	if len(dropped) > 0 {
		s.log.Info("usage: rows that had their life were dropped", "partitions", dropped)
	}
	return nil
}

// SQLSTATEs of Postgres.
const (
	noPartition       = "23514" // the row fits into no partition
	undefinedFunction = "42883"
)

func isSQLState(err error, state string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == state
}

// mend makes the partitions that a failed write misses, so that it passes when
// it is tried again, and returns err.
func (s *Service) mend(ctx context.Context, err error) error {
	if isSQLState(err, noPartition) {
		return errors.Join(err, s.Retain(ctx, time.Now()))
	}
	return err
}
