// Package audit keeps who changed what: one row a change, appended in the
// change's own transaction so that neither is there without the other, and a
// list of them. It decides nothing, and it removes nothing: how long rows are
// kept is another's business.
package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// Append writes the row of one change into tx, with who acted and from where
// as ctx's models.Request has it. When it fails, or nobody acts, so must the
// change.
func Append(ctx context.Context, tx pgx.Tx, change models.Change) error {
	request := models.RequestFrom(ctx)
	if request.ActorName() == "" {
		return fmt.Errorf("audit %s of %s: nobody acts in this context", change.Action, change.Target)
	}
	before, err := encode(change.Before)
	if err != nil {
		return fmt.Errorf("audit %s of %s: %w", change.Action, change.Target, err)
	}
	after, err := encode(change.After)
	if err != nil {
		return fmt.Errorf("audit %s of %s: %w", change.Action, change.Target, err)
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO audit_log (actor, action, target, before, after, ip, request_id)
		VALUES ($1, $2, $3, $4, $5, $6, NULLIF($7, ''))`,
		request.ActorName(), change.Action, change.Target, before, after, address(request.Address), request.ID)
	if err != nil {
		return failure("write the audit", err)
	}
	return nil
}

// encode returns v as JSON, and nil for nil.
func encode(v any) (json.RawMessage, error) {
	if v == nil {
		return nil, nil
	}
	return json.Marshal(v)
}

func address(a netip.Addr) *netip.Addr {
	if !a.IsValid() {
		return nil
	}
	a = a.WithZone("") // Postgres knows no zones
	return &a
}

// Log reads the audit.
type Log struct {
	db *pgxpool.Pool
}

// New returns the audit in db.
func New(db *pgxpool.Pool) *Log { return &Log{db: db} }

// List returns up to limit entries that filter lets through, newest first,
// from behind after (nil: the start). Errors: models.ErrUnavailable.
func (l *Log) List(ctx context.Context, filter models.AuditFilter, after *models.Position, limit int) (models.Page[models.AuditEntry], error) {
	before, id := "infinity", "0"
	if after != nil {
		before, id = after.Sort, after.ID
	}
	rows, err := l.db.Query(ctx, `
		SELECT id::text, at, actor, action, target, before, after, host(ip), request_id
		FROM audit_log
		WHERE ($1 = '' OR actor = $1) AND ($2 = '' OR action = $2) AND ($3 = '' OR target = $3)
		  AND ($4::timestamptz IS NULL OR at >= $4) AND ($5::timestamptz IS NULL OR at < $5)
		  AND (at, id) < ($6::text::timestamptz, $7::text::bigint)
		ORDER BY at DESC, id DESC LIMIT $8`,
		filter.Actor, filter.Action, filter.Target, filter.From, filter.To, before, id, limit+1)
	if err != nil {
		return models.Page[models.AuditEntry]{}, failure("list the audit", err)
	}
	entries, err := pgx.CollectRows(rows, scanEntry)
	if err != nil {
		return models.Page[models.AuditEntry]{}, failure("list the audit", err)
	}
	return models.PageOf(entries, limit, func(last models.AuditEntry) models.Position {
		return models.Position{Sort: last.At.UTC().Format(time.RFC3339Nano), ID: last.ID}
	}), nil
}

func scanEntry(row pgx.CollectableRow) (models.AuditEntry, error) {
	var e models.AuditEntry
	err := row.Scan(&e.ID, &e.At, &e.Actor, &e.Action, &e.Target, &e.Before, &e.After, &e.IP, &e.RequestID)
	return e, err
}

// failure wraps an error of the database; see models.Failure.
func failure(doing string, err error) error {
	return models.Failure(doing, err, postgres.IsUnavailable(err))
}
