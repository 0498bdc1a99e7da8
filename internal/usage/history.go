package usage

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// Exists returns nil if a key with this ID exists, regardless of its status. The
// error is models.ErrNotFound or models.ErrUnavailable.
func (s *Service) Exists(ctx context.Context, keyID string) error {
	var exists bool
	err := s.db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM api_keys WHERE id = $1)`, keyID).Scan(&exists)
	if err == nil && !exists {
		err = models.ErrNotFound
	}
	return postgres.Classify("read key", err)
}

// ofSubject selects the rows of all keys that share the counters of key $1: a
// rotated key has the history of its predecessors.
const ofSubject = `key_id = ANY (ARRAY(SELECT id FROM api_keys WHERE subject = (SELECT subject FROM api_keys WHERE id = $1)))`

// history selects the buckets of a width: those of a roll-up, and the seconds that
// are not rolled up yet. $2 and $3 must be multiples of the width.
var history = `
	SELECT start, sum(requests)::bigint AS requests, sum(refused)::bigint AS refused, sum(cost)::bigint AS cost FROM (
		SELECT at AS start, requests, refused, cost FROM %s WHERE ` + ofRange + `
		UNION ALL
		SELECT date_bin($5::interval, at, '2000-01-01T00:00:00Z'), succeeded + rejected + failed + refused, refused, (succeeded + rejected) * unit
		FROM usage_recent WHERE ` + ofRange + `
	) AS counted GROUP BY 1`

const (
	ofRange = ofSubject + ` AND at >= $2 AND at < $3 AND ($4 = '' OR route_group = $4)`

	// policyHistory selects the refusals of one policy.
	policyHistory = `
	SELECT date_bin($5::interval, at, '2000-01-01T00:00:00Z') AS start, sum(refused)::bigint AS refused
	FROM usage_policies WHERE ` + ofRange + ` AND policy = $6 GROUP BY 1`
)

// rollUps maps bucket widths to tables.
var rollUps = map[models.UsageBucket]string{
	models.BucketMinute: "usage_minutes",
	models.BucketHour:   "usage_hours",
	models.BucketDay:    "usage_days",
}

// Usage returns the buckets of a key's history that have requests, oldest first.
// The first bucket contains q.From, and the last one begins before q.To. The error is
// models.ErrUnavailable.
func (s *Service) Usage(ctx context.Context, keyID string, q models.UsageQuery) ([]models.Usage, error) {
	width := q.Bucket.Duration()
	from, to := q.From.UTC().Truncate(width), q.To.UTC().Add(width-1).Truncate(width)
	query := fmt.Sprintf(history, rollUps[q.Bucket]) + ` ORDER BY 1`
	args := []any{keyID, from, to, q.Group, width}
	if q.Policy != "" {
		query = `SELECT u.start, u.requests, COALESCE(p.refused, 0), u.cost
			FROM (` + fmt.Sprintf(history, rollUps[q.Bucket]) + `) AS u LEFT JOIN (` + policyHistory + `) AS p ON p.start = u.start ORDER BY 1`
		args = append(args, q.Policy)
	}
	rows, err := s.db.Query(ctx, query, args...)
	if err != nil {
		return nil, postgres.Classify("read usage", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (models.Usage, error) {
		var u models.Usage
		err := row.Scan(&u.Start, &u.Requests, &u.Refused, &u.Cost)
		u.Start, u.Allowed = u.Start.UTC(), u.Requests-u.Refused
		return u, err
	})
	if err != nil {
		return nil, postgres.Classify("read usage", err)
	}
	return list, nil
}

// Refusals returns up to q.Limit refusals of a key, newest first. The error is
// models.ErrUnavailable.
func (s *Service) Refusals(ctx context.Context, keyID string, q models.RefusalQuery) (models.Page[models.Refusal], error) {
	before, beforeID := any("infinity"), ""
	if q.After != nil {
		at, err := time.Parse(time.RFC3339Nano, q.After.Sort)
		if err != nil {
			return models.Page[models.Refusal]{}, fmt.Errorf("position in refusals: %w", err)
		}
		before, beforeID = at, q.After.ID
	}
	rows, err := s.db.Query(ctx, `
		SELECT id, request_id, at, route, violated, limits FROM refusals
		WHERE `+ofSubject+` AND (at, id) < ($2::timestamptz, $3) AND ($4 = '' OR request_id = $4)
		ORDER BY at DESC, id DESC LIMIT $5`, keyID, before, beforeID, q.RequestID, q.Limit+1)
	if err != nil {
		return models.Page[models.Refusal]{}, postgres.Classify("read refusals", err)
	}
	return postgres.CollectPage("read refusals", rows, q.Limit, pgx.RowToStructByPos[models.Refusal], func(last models.Refusal) models.Position {
		return models.Position{Sort: last.At.Format(time.RFC3339Nano), ID: last.ID}
	})
}
