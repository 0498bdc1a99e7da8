package queue

import (
	"context"
	"time"

	"ratelimiter/internal/postgres"
)

// PruneInterval is how often Prune is to be called.
const PruneInterval = time.Minute

const (
	// inboxRetention is how long a message is known to be done. It exceeds the time
	// that a transport may take to deliver a message again; dead letters aren't
	// done, and may be redriven later.
	inboxRetention = 72 * time.Hour
	// pruneBatch is the rows of one Prune.
	pruneBatch = 10_000
)

// Prune deletes up to 10,000 old rows of the inbox, by the database's clock, and
// reports whether there may be more.
func (q *Queue) Prune(ctx context.Context) (more bool, err error) {
	tag, err := q.db.Exec(ctx, `DELETE FROM queue_inbox WHERE ctid = ANY(ARRAY(
		SELECT ctid FROM queue_inbox WHERE done_at < now() - $1::interval LIMIT $2))`, inboxRetention, pruneBatch)
	return tag.RowsAffected() == pruneBatch, postgres.Classify("prune the inbox", err)
}
