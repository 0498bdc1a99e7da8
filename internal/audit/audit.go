// Package audit records who changed what: one row per change, appended in the
// transaction of the change itself, so that neither exists without the other.
package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// Append adds the rows of changes to tx, in one round trip. The actor, address and
// request id come from ctx's models.Request. Without an actor it fails, and the
// changes must fail with it.
func Append(ctx context.Context, tx pgx.Tx, records ...models.AuditRecord) error {
	request := models.RequestFrom(ctx)
	batch := &pgx.Batch{}
	for _, record := range records {
		before, err := encode(record.Before)
		var after json.RawMessage
		if err == nil {
			after, err = encode(record.After)
		}
		if err == nil && request.ActorName() == "" {
			err = errors.New("the context has no actor")
		}
		if err != nil {
			return fmt.Errorf("audit %s of %s: %w", record.Action, record.Target, err)
		}
		batch.Queue(`
			INSERT INTO audit_log (actor, action, target, before, after, ip, request_id)
			VALUES ($1, $2, $3, $4, $5, $6, NULLIF($7, ''))`,
			request.ActorName(), record.Action, record.Target, before, after, address(request.Address), request.ID)
	}
	return postgres.Classify("write audit entries", tx.SendBatch(ctx, batch).Close())
}

// Bounds of a recorded state, in bytes: of one above maxState, members above
// maxMember are left out. A key can have 60 KB of labels and overrides, and each
// change of one would be recorded with two copies.
const (
	maxState  = 8 << 10
	maxMember = 1 << 10
)

// encode returns v as JSON, with large members replaced by their size, and nil for
// nil.
func encode(v any) (json.RawMessage, error) {
	if v == nil {
		return nil, nil
	}
	data, err := json.Marshal(v)
	if err != nil || len(data) <= maxState {
		return data, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, err
	}
	for name, member := range members {
		if len(member) > maxMember {
			members[name] = fmt.Appendf(nil, `"%d bytes, not recorded"`, len(member))
		}
	}
	return json.Marshal(members)
}

func address(a netip.Addr) *netip.Addr {
	if !a.IsValid() {
		return nil
	}
	a = a.WithZone("") // Postgres knows no zones
	return &a
}

// Log reads audit entries.
type Log struct {
	db *pgxpool.Pool
}

// New returns the log stored in db.
func New(db *pgxpool.Pool) *Log { return &Log{db: db} }

// List returns up to limit entries that match filter, newest first, starting
// after the position after (nil: the start). Errors: models.ErrUnavailable.
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
		return models.Page[models.AuditEntry]{}, postgres.Classify("list audit entries", err)
	}
	return postgres.CollectPage("list audit entries", rows, limit, scanEntry, func(last models.AuditEntry) models.Position {
		return models.Position{Sort: last.At.UTC().Format(time.RFC3339Nano), ID: last.ID}
	})
}

func scanEntry(row pgx.CollectableRow) (models.AuditEntry, error) {
	var e models.AuditEntry
	err := row.Scan(&e.ID, &e.At, &e.Actor, &e.Action, &e.Target, &e.Before, &e.After, &e.IP, &e.RequestID)
	return e, err
}

// Retention is how long entries are kept at least: thirteen months, so that a
// yearly review covers the whole year.
const Retention = 400 * 24 * time.Hour

// PruneInterval is a suitable interval between calls of Prune. There are few
// expired entries a day.
const PruneInterval = time.Hour

// pruneBatch is how many rows one statement deletes; it takes milliseconds. The
// table isn't partitioned because the command line writes to it too, without a
// server that creates partitions.
const pruneBatch = 1_000

// Prune deletes one batch of entries that are older than Retention at now,
// oldest first, and reports whether there may be more. Errors:
// models.ErrUnavailable.
func (l *Log) Prune(ctx context.Context, now time.Time) (more bool, err error) {
	tag, err := l.db.Exec(ctx, `
		DELETE FROM audit_log WHERE (at, id) IN (
			SELECT at, id FROM audit_log WHERE at < $1 ORDER BY at, id LIMIT $2)`, now.Add(-Retention), pruneBatch)
	return tag.RowsAffected() == pruneBatch, postgres.Classify("delete expired audit entries", err)
}
