package usage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// PartitionInterval is a suitable interval between calls of MaintainPartitions.
// Partitions are created one span ahead, at least a day.
const PartitionInterval = time.Hour

// flushRetention is how long the ID of an applied batch is remembered.
const flushRetention = 24 * time.Hour

// MaintainPartitions creates the partitions needed next, drops those that have expired at
// now, and forgets the IDs of old batches. now is the database's time. The table
// partitioned_tables has the retention of each table.
func (s *Service) MaintainPartitions(ctx context.Context, now time.Time) error {
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
	if _, err := s.db.Exec(ctx, `DELETE FROM usage_flushes WHERE at < $1`, now.Add(-flushRetention)); err != nil {
		return fmt.Errorf("forget applied batches: %w", err)
	}
	return nil
}

// MissingPartitions returns the tables without a partition for now, by the database's
// clock, or for the next span.
func MissingPartitions(ctx context.Context, db *pgxpool.Pool) ([]string, error) {
	rows, err := db.Query(ctx, `
		SELECT name FROM partitioned_tables, generate_series(0, 1) ahead
		WHERE to_regclass(name || '_' || to_char(date_trunc(span, now() AT TIME ZONE 'UTC') + ahead * ('1 ' || span)::interval, 'YYYYMMDD')) IS NULL
		GROUP BY name ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("look for partitions: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// checkViolation is the SQLSTATE of a row without a partition.
const checkViolation = "23514"

// createMissingPartitions creates the partitions that the failed write may have
// missed, for now and for what is to be packed, so that its retry succeeds. It
// returns err, or why they can't be created.
func (s *Service) createMissingPartitions(ctx context.Context, err error) error {
	var refusal *pgconn.PgError
	if errors.As(err, &refusal) && refusal.Code == checkViolation {
		if _, failed := s.db.Exec(ctx, `SELECT create_partitions(day) FROM (SELECT now() UNION SELECT date_trunc('day', at) FROM usage_recent) AS needed (day)`); failed != nil {
			return fmt.Errorf("create partitions: %w", failed)
		}
	}
	return err
}
