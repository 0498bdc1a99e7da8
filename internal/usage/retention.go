package usage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Intervals of retention. Partitions are created one span ahead, at least a day,
// so an hourly run is early enough.
const (
	retentionInterval = time.Hour
	retentionRetry    = 10 * time.Second // after a failure
	retentionTimeout  = time.Minute
)

// runRetention calls Retain periodically until Close.
func (s *Service) runRetention() {
	for {
		next := retentionInterval
		if err := s.Retain(s.ctx, time.Now()); err != nil && s.ctx.Err() == nil {
			next = retentionRetry
			// Without the function, migrations are still running. They create the
			// first partitions.
			if !isSQLState(err, undefinedFunction) {
				s.log.Warn("usage: partition maintenance failed, will retry", "error", err.Error())
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

// Retain creates the partitions needed next and drops those that have expired at
// now. The table partitioned_tables has the retention of each table.
func (s *Service) Retain(ctx context.Context, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, retentionTimeout)
	defer cancel()
	rows, err := s.db.Query(ctx, `SELECT keep_partitions($1)`, now)
	if err != nil {
		return fmt.Errorf("maintain partitions: %w", err)
	}
	dropped, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("maintain partitions: %w", err)
	}
	if len(dropped) > 0 {
		s.log.Info("usage: dropped expired partitions", "partitions", dropped)
	}
	return nil
}

// SQLSTATEs of Postgres.
const (
	checkViolation    = "23514" // raised for a row without a partition
	undefinedFunction = "42883"
)

func isSQLState(err error, state string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == state
}

// createMissingPartitions creates the partitions that the failed write may have
// missed, so that its retry succeeds. It returns err.
func (s *Service) createMissingPartitions(ctx context.Context, err error) error {
	if isSQLState(err, checkViolation) {
		return errors.Join(err, s.Retain(ctx, time.Now()))
	}
	return err
}
